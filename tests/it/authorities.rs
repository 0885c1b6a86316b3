//! The certificate authorities of files and of the environment, beside curl.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::{World, command, demo_key, within};

/// Runs OpenSSL.
async fn openssl(arguments: &[&str]) {
    let run = Command::new("openssl").args(arguments).output();
    let output = within("openssl", run).await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Returns whether curl accepts the emulator's certificate.
async fn curl_trusts(world: &World, ca_file: &str) -> bool {
    let run = Command::new("curl")
        .args([
            "-s",
            "-o",
            "/dev/null",
            "--noproxy",
            "*",
            "--cacert",
            ca_file,
        ])
        .arg("--connect-to")
        .arg(format!("::{}", world.emulator.addr()))
        .arg(format!("https://{}/graphql", world.emulator.api_host()))
        .stdin(Stdio::null())
        .status();
    within("curl", run).await.unwrap().success()
}

/// Returns whether countersign reaches the emulator, or why it does not start.
async fn trusts(
    world: &World,
    flags: &[&str],
    environment: &[(&str, &str)],
) -> Result<bool, String> {
    let (host, connect) = (world.emulator.api_host(), world.emulator.addr().to_string());
    let target = format!("https://{host}/graphql");
    let home = world.home.0.display().to_string();
    let listen = ["--listen", "127.0.0.1:0", "--connect", &connect];
    let arguments = [&listen[..], flags, &[&target]].concat();
    let environment = [&[("HOME", home.as_str())], &demo_key()[..], environment].concat();
    let mut daemon = crate::support::Daemon::spawn(&mut command(&arguments, &environment));
    let line = daemon.line("").await;
    if line.starts_with("countersign: ") && !line.contains("listening") {
        let code = daemon.exited().await;
        assert_eq!(code, 3, "{}", daemon.log);
        return Err(daemon.log.clone());
    }
    let addr = daemon.address().await;
    let body = "{\"query\":\"{ rooms { id } }\"}";
    let answer = crate::support::post(addr, "/graphql", &[crate::support::JSON], body).await;
    Ok(answer.status == 200)
}

#[tokio::test]
async fn ca_files_are_read_as_openssl_reads_them() {
    let world = World::new().await;
    let plain = world.ca_file();
    let pem = std::fs::read_to_string(&plain).unwrap();
    let other = {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.self_signed(&key).unwrap().pem()
    };
    let trusted = |name: &'static str, flags: &'static [&'static str]| {
        let path = world.path(name).display().to_string();
        let plain = plain.clone();
        async move {
            let all = ["x509", "-in", &plain, "-out", &path, "-trustout"];
            openssl(&[&all[..], flags].concat()).await;
            path
        }
    };
    let server = trusted("server.pem", &["-addtrust", "serverAuth"]).await;
    let alias = trusted("alias.pem", &["-setalias", "mine"]).await;
    let client = trusted("client.pem", &["-addtrust", "clientAuth"]).await;
    let reject = trusted("reject.pem", &["-addreject", "serverAuth"]).await;
    let crlf = world.home.file("crlf.pem", &pem.replace('\n', "\r\n"));
    let text = world
        .home
        .file("text.pem", &format!("# mine\nsubject=x\n\n{pem}"));
    let marked = world.home.file("marked.pem", &format!("\u{feff}{pem}"));
    let mixed = std::fs::read_to_string(&server).unwrap() + &other;
    let mixed = world.home.file("mixed.pem", &mixed);
    for (path, expected) in [
        (&plain, true),
        (&crlf, true),
        (&text, true),
        (&marked, true),
        (&server, true),
        (&alias, true),
        (&mixed, true),
        (&client, false),
        (&reject, false),
    ] {
        assert_eq!(curl_trusts(&world, path).await, expected, "curl: {path}");
        let found = trusts(&world, &["--ca-file", path], &[]).await;
        match found {
            Ok(found) => assert_eq!(found, expected, "{path}"),
            Err(error) => {
                assert!(!expected, "{path}: {error}");
                assert!(error.contains("trust settings"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn authorities_of_the_environment_are_trusted() {
    let world = World::new().await;
    let ca_file = world.ca_file();
    let missing = world.path("nothing.pem").display().to_string();
    let empty = world.home.file("empty.pem", "no certificate");
    for (flags, environment, expected) in [
        (&[][..], vec![("AWS_CA_BUNDLE", ca_file.as_str())], Ok(true)),
        (&[], vec![("SSL_CERT_FILE", &ca_file)], Ok(true)),
        (&[], vec![("SSL_CERT_FILE", "~/upstream.pem")], Ok(true)),
        (
            &[],
            vec![("AWS_CA_BUNDLE", ""), ("SSL_CERT_FILE", &ca_file)],
            Ok(true),
        ),
        (
            &[],
            vec![("AWS_CA_BUNDLE", &ca_file), ("SSL_CERT_FILE", &missing)],
            Ok(true),
        ),
        // A shell does not expand it after an equals sign or in a file.
        (&["--ca-file", "~/upstream.pem"], vec![], Ok(true)),
        (
            &["--ca-file", &ca_file],
            vec![("AWS_CA_BUNDLE", &missing)],
            Ok(true),
        ),
        (
            &[],
            vec![("AWS_CA_BUNDLE", &missing)],
            Err(format!("AWS_CA_BUNDLE names {missing:?}")),
        ),
        (
            &[],
            vec![("SSL_CERT_FILE", &missing)],
            Err(format!("SSL_CERT_FILE names {missing:?}")),
        ),
        (
            &[],
            vec![("SSL_CERT_FILE", &empty)],
            Err("it contains no PEM certificate".to_owned()),
        ),
        (
            &[],
            vec![("SSL_CERT_DIR", "/nowhere")],
            Err("SSL_CERT_DIR names \"/nowhere\"".to_owned()),
        ),
        (
            &[],
            vec![("SSL_CERT_FILE", "")],
            Err("SSL_CERT_FILE is empty".to_owned()),
        ),
    ] {
        let found = trusts(&world, flags, &environment).await;
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{flags:?} {environment:?}"),
            (Err(error), Err(expected)) => {
                assert!(error.contains(&expected), "{environment:?}: {error}");
            }
            (found, expected) => {
                panic!("{flags:?} {environment:?}: {found:?} instead of {expected:?}")
            }
        }
    }
}

/// A byte order mark hid the first certificate.
#[tokio::test]
async fn byte_order_mark_in_files_of_the_listener_is_ignored() {
    let world = World::new().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    let plain = world.home.file("plain.pem", &certificate);
    let marked = |name: &str, pem: &str| {
        let path = world.home.file(name, &format!("\u{feff}{pem}"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    };
    let cert = marked("cert.pem", &certificate);
    let key = marked("key.pem", &key.serialize_pem());
    let mut daemon = world.daemon(&["--tls-cert", &cert, "--tls-key", &key], &demo_key());
    let addr = daemon.address().await;
    let run = Command::new("curl")
        .args([
            "-s",
            "--noproxy",
            "*",
            "--cacert",
            &plain,
            "-w",
            "%{http_code}",
        ])
        .args(["--resolve", &format!("localhost:{}:127.0.0.1", addr.port())])
        .args([
            "-H",
            "content-type: application/json",
            "-d",
            "{\"query\":\"{ rooms { id } }\"}",
        ])
        .arg(format!("https://localhost:{}/graphql", addr.port()))
        .stdin(Stdio::null())
        .output();
    let output = within("curl", run).await.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.ends_with("200"), "{output:?}");
}
