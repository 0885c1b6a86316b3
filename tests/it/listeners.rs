//! Listeners: unix sockets, TLS with client certificates, and addresses beyond this
//! machine.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as BlockingUnixListener;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::UnixStream;

use crate::support::{Daemon, Socket, World, command, demo_key, raw_on, within};

const QUERY: &str = r#"{"query":"{ rooms { id } }"}"#;

fn start(world: &World, more: &[&str], environment: &[(&str, &str)]) -> Daemon {
    let environment = [&demo_key(), environment].concat();
    Daemon::start(&world.arguments(more), &environment)
}

/// Runs the program to its end and returns its exit code and standard error.
async fn refused(world: &World, more: &[&str]) -> (i32, String) {
    let output = command(&world.arguments(more), &demo_key()).output();
    let output = within("the end", output).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), text)
}

async fn ask(path: &Path, host: &str) -> u16 {
    let stream = UnixStream::connect(path).await.unwrap();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{QUERY}",
        QUERY.len()
    );
    raw_on(stream, request.as_bytes()).await.status
}

#[tokio::test]
async fn a_unix_socket_serves_only_its_owner() {
    let world = World::new().await;
    let path = world.path("countersign.sock");
    let listen = format!("unix:{}", path.display());
    let mut daemon = start(&world, &["--listen", &listen], &[]);
    daemon.line(&format!("listening on {listen}")).await;
    let found = fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    // Browsers cannot reach a unix socket, so any Host is accepted.
    for host in ["localhost", "docker", "evil.com", ""] {
        assert_eq!(ask(&path, host).await, 200, "{host:?}");
    }
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut socket = Socket::open_on(stream, "ws://localhost/graphql", &[]).await;
    socket.init().await;
    socket
        .subscribe("1", "subscription { onMessage(room: \"a\") { body } }")
        .await;
    let curl = tokio::process::Command::new("curl")
        .args(["-sS", "--max-time", "10", "--unix-socket"])
        .arg(&path)
        .args(["-H", "content-type: application/json", "-d", QUERY])
        .arg("http://localhost/graphql")
        .output();
    let answer = within("curl", curl).await.unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains("\"data\""), "{answer}");
    daemon.signal("-TERM");
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    assert!(!path.exists(), "the socket's file is left");
    let left: Vec<_> = fs::read_dir(&world.home.0).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn only_a_stale_socket_is_replaced() {
    let world = World::new().await;
    let path = world.path("countersign.sock");
    let listen = format!("unix:{}", path.display());
    drop(BlockingUnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut daemon = start(&world, &["--listen", &listen], &[]);
    daemon.line("listening on unix:").await;
    assert_eq!(ask(&path, "localhost").await, 200);

    let (code, text) = refused(&world, &["--listen", &listen]).await;
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("another process listens on it"), "{text}");
    assert_eq!(ask(&path, "localhost").await, 200, "it was taken over");

    // A killed daemon leaves its file, and the next one replaces it.
    daemon.signal("-KILL");
    daemon.exited().await;
    assert!(path.exists());
    let mut daemon = start(&world, &["--listen", &listen], &[]);
    daemon.line("listening on unix:").await;
    assert_eq!(ask(&path, "localhost").await, 200);
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0);

    fs::write(&path, "precious").unwrap();
    let (code, text) = refused(&world, &["--listen", &listen]).await;
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("the path exists and is not a socket"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = format!("unix:{}/none/x.sock", world.home.0.display());
    let (code, text) = refused(&world, &["--listen", &nowhere]).await;
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("cannot listen on unix:"), "{text}");
}

/// Only root can act as another user.
#[tokio::test]
async fn other_users_are_admitted_by_peer_credentials() {
    let world = World::new().await;
    let mine = fs::metadata(&world.home.0).unwrap().uid();
    for (uids, expected) in [("65001", true), ("65002", false)] {
        let path = world.path("countersign.sock");
        let listen = format!("unix:{}", path.display());
        let allowed = [("COUNTERSIGN_GUARD__PEER_UIDS", uids)];
        let mut daemon = start(&world, &["--listen", &listen], &allowed);
        daemon.line("listening on unix:").await;
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        assert_eq!(ask(&path, "localhost").await, 200, "our own user");
        if mine == 0 {
            let mut curl = tokio::process::Command::new("curl");
            let curl = curl
                .uid(65001)
                .args(["-sS", "--max-time", "10", "--unix-socket"]);
            let curl = curl
                .arg(&path)
                .args(["-d", QUERY, "-H", "content-type: application/json"]);
            let answer = within("curl", curl.arg("http://localhost/graphql").output()).await;
            let answer = String::from_utf8_lossy(&answer.unwrap().stdout).into_owned();
            assert_eq!(answer.contains("\"data\""), expected, "{uids}: {answer}");
            if !expected {
                daemon.line("allow the user with guard.peer_uids").await;
            }
        }
        daemon.signal("-TERM");
        assert_eq!(daemon.exited().await, 0);
    }
}

/// A certificate authority that issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Returns a certificate and its key as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn client_certificates_are_required_when_configured() {
    let world = World::new().await;
    let file = |name: &str, text: &str| world.home.file(name, text);
    let (ours, theirs, foreign) = (
        Authority::new("ours"),
        Authority::new("clients"),
        Authority::new("foreign"),
    );
    let (cert, key) = ours.issue("localhost");
    let (cert, key) = (file("cert.pem", &cert), file("key.pem", &key));
    let (ca, clients) = (file("ca.pem", &ours.pem), file("clients.pem", &theirs.pem));
    let pair = |name: &str, authority: &Authority| {
        let (cert, key) = authority.issue("app");
        (
            file(&format!("{name}.pem"), &cert),
            file(&format!("{name}.key"), &key),
        )
    };
    let (good, bad) = (pair("good", &theirs), pair("bad", &foreign));
    let unix = format!("unix:{}", world.path("x.sock").display());
    let listen = ["--listen", "127.0.0.1:0", "--listen", unix.as_str()];
    let tls = ["--tls-cert", cert.as_str(), "--tls-key", key.as_str()];
    let environment = [("COUNTERSIGN_TLS__CLIENT_CA", clients.as_str())];
    let mut daemon = start(&world, &[listen, tls].concat(), &environment);
    let addr = daemon.address().await;
    let curl = async |scheme: &str, pair: Option<&(String, String)>| {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-sS", "--max-time", "10", "--cacert", &ca, "-d", QUERY]);
        curl.args(["-H", "content-type: application/json", "-w", "%{http_code}"]);
        if let Some((cert, key)) = pair {
            curl.args(["--cert", cert, "--key", key]);
        }
        curl.arg(format!("{scheme}://localhost:{}/graphql", addr.port()));
        curl.args(["--resolve", &format!("localhost:{}:127.0.0.1", addr.port())]);
        let output = within("curl", curl.output()).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        (answer, errors)
    };
    let (answer, _) = curl("http", None).await;
    assert!(
        answer.ends_with("403") && answer.contains("CERTIFICATE_MISSING"),
        "{answer}"
    );
    for (pair, alert) in [(None, "certificate required"), (Some(&bad), "unknown ca")] {
        let (answer, errors) = curl("https", pair).await;
        assert_eq!(answer, "000", "{errors}");
        assert!(errors.contains(alert), "{errors}");
    }
    assert_eq!(world.emulator.stats().requests.http, 0);
    let (answer, errors) = curl("https", Some(&good)).await;
    assert!(
        answer.ends_with("200") && answer.contains("\"data\""),
        "{answer} {errors}"
    );
    assert_eq!(ask(&world.path("x.sock"), "localhost").await, 200);
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0);
}

#[tokio::test]
async fn other_machines_are_served_only_when_configured() {
    let world = World::new().await;
    let listen = ["--listen", "0.0.0.0:0", "--listen", "127.0.0.1:0"];
    let (code, text) = refused(&world, &listen).await;
    assert_eq!(code, 2, "{text}");
    assert!(
        text.contains("0.0.0.0:0 is not a loopback address"),
        "{text}"
    );
    assert!(
        text.contains("COUNTERSIGN_GUARD__NON_LOOPBACK=token"),
        "{text}"
    );

    let open = [("COUNTERSIGN_GUARD__NON_LOOPBACK", "open")];
    let mut daemon = start(&world, &listen, &open);
    daemon
        .line("is open: every client that can reach it acts with the IAM identity")
        .await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0);

    let token = world.home.file("token", &"t".repeat(40));
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let proven = [("COUNTERSIGN_GUARD__NON_LOOPBACK", "token")];
    let arguments = [listen.as_slice(), &["--token-file", &token]].concat();
    let mut daemon = start(&world, &arguments, &proven);
    daemon.address().await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0);
    assert!(!daemon.log.contains("is open"), "{}", daemon.log);
}
