//! TLS on the port of plain HTTP, over real sockets and with other people's clients.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{
    Answer, Daemon, Running, Scratch, Socket, World, node, passes, raw_on, within,
};

const QUERY: &str = r#"{"query":"{ rooms { id } }"}"#;
/// The record header of a ClientHello that is never completed.
const HALF_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1];

/// Starts countersign with a local CA in its own directory.
async fn dev_world(name: &str, settings: &[(&str, &str)]) -> (Running, Scratch) {
    let scratch = Scratch::new(name);
    let state = scratch.0.display().to_string();
    let mut all = vec![("tls.dev", "true"), ("XDG_STATE_HOME", state.as_str())];
    all.extend(settings);
    (World::builder().settings(&all).in_process().await, scratch)
}

fn ca_file(scratch: &Scratch) -> PathBuf {
    scratch.0.join("countersign/ca.pem")
}

pub fn client(ca: &Path, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let pem = fs::read(ca).unwrap();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Connects, and trusts only the CA file.
async fn connect(addr: SocketAddr, name: &str, ca: &Path) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let shaken = client(ca, &["h2", "http/1.1"]).connect(name, stream);
    within("a TLS handshake", shaken).await.unwrap()
}

/// Sends `POST /graphql` over TLS.
async fn query(addr: SocketAddr, ca: &Path, origin: Option<&str>) -> Answer {
    let stream = connect(addr, "127.0.0.1", ca).await;
    let origin = origin.map_or(String::new(), |origin| format!("origin: {origin}\r\n"));
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n{origin}content-type: application/json\r\ncontent-length: {}\r\n\r\n{QUERY}",
        QUERY.len()
    );
    raw_on(stream, request.as_bytes()).await
}

/// Reads until the peer closes in any way, and returns the bytes.
async fn until_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = within("a close", stream.read_to_end(&mut bytes)).await;
    bytes
}

#[tokio::test]
async fn https_and_http_share_a_port() {
    let (world, scratch) = dev_world("tls-both", &[]).await;
    let ca = ca_file(&scratch);
    for _ in 0..2 {
        let answer = query(world.addr, &ca, None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["data"]["rooms"][0]["id"], "lobby");
        assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    }
    for name in ["localhost", "127.0.0.1", "::1"] {
        let stream = connect(world.addr, name, &ca).await;
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    world.drained().await;
}

#[tokio::test]
async fn a_subscription_works_over_wss() {
    let (world, scratch) = dev_world("tls-wss", &[]).await;
    let stream = connect(world.addr, "localhost", &ca_file(&scratch)).await;
    let url = format!("wss://localhost:{}/graphql", world.addr.port());
    let mut socket = Socket::open_on(stream, &url, &[]).await;
    socket.init().await;
    socket
        .subscribe("1", "subscription { onMessage { body } }")
        .await;
    world.subscriptions(1).await;
    let mutation = r#"mutation { postMessage(room: "lobby", body: "hi") { body } }"#;
    assert_eq!(world.query(mutation).await.status, 200);
    let next = socket.next_of("1").await;
    assert_eq!(next["payload"]["data"]["onMessage"]["body"], "hi");
    drop(socket);
    world.subscriptions(0).await;
    world.drained().await;
}

#[tokio::test]
async fn origins_are_checked_over_https_too() {
    let (world, scratch) = dev_world("tls-origin", &[]).await;
    let (ca, addr) = (ca_file(&scratch), world.addr);
    let own = format!("https://{addr}");
    assert_eq!(query(addr, &ca, Some(&own)).await.status, 200);
    let other = format!("https://127.0.0.1:{}", addr.port() ^ 1);
    let refused = query(addr, &ca, Some(&other)).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (403, "ORIGIN_NOT_ALLOWED")
    );
    world.drained().await;
}

#[tokio::test]
async fn tls_to_a_plain_port_is_closed() {
    let world = World::builder().in_process().await;
    for hello in [HALF_HELLO, &HALF_HELLO[..1]] {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(hello).await.unwrap();
        assert_eq!(until_closed(stream).await, b"");
    }
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    world.drained().await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_ca_does_not_disturb_others() {
    let (world, scratch) = dev_world("tls-untrusted", &[]).await;
    let other = scratch.file("other.pem", &self_signed().0);
    let stream = TcpStream::connect(world.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let shaken = client(Path::new(&other), &[]).connect(name, stream);
    assert!(within("a refusal", shaken).await.is_err());
    // A client that speaks only HTTP/2 is refused too.
    let stream = TcpStream::connect(world.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let shaken = client(&ca_file(&scratch), &["h2"]).connect(name, stream);
    assert!(within("a refusal", shaken).await.is_err());
    assert_eq!(
        query(world.addr, &ca_file(&scratch), None).await.status,
        200
    );
    world.drained().await;
}

/// Opens connections that never send a request: silent, one byte, half a ClientHello.
async fn unfinished(addr: SocketAddr) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for bytes in [b"", &HALF_HELLO[..1], HALF_HELLO, b""] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn connections_without_a_request_are_closed_after_the_timeout() {
    let settings = [
        ("timeouts.request_head", "500ms"),
        ("timeouts.idle_client", "500ms"),
    ];
    let (world, scratch) = dev_world("tls-slow", &settings).await;
    let streams = unfinished(world.addr).await;
    assert_eq!(
        query(world.addr, &ca_file(&scratch), None).await.status,
        200
    );
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    for stream in streams {
        until_closed(stream).await;
    }
    world.drained().await;
}

/// Their timeout is a minute, and the drain deadline is longer than the timeout of this test.
#[tokio::test]
async fn a_drain_does_not_wait_for_connections_without_a_request() {
    let (world, scratch) = dev_world("tls-drain", &[]).await;
    let streams = unfinished(world.addr).await;
    let silent = connect(world.addr, "localhost", &ca_file(&scratch)).await;
    // The earlier connections have been accepted too.
    assert_eq!(
        query(world.addr, &ca_file(&scratch), None).await.status,
        200
    );
    world.drained().await;
    for stream in streams {
        until_closed(stream).await;
    }
    until_closed(silent.into_inner().0).await;
}

/// Returns a certificate for localhost and its key as PEM.
fn self_signed() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[tokio::test]
async fn certificates_are_read_from_files() {
    let scratch = Scratch::new("tls-files");
    let (cert_pem, key_pem) = self_signed();
    let cert = scratch.file("cert.pem", &cert_pem);
    // A PKCS#8 key of P-256 ends with the SEC1 key.
    let pkcs8 = KeyPair::from_pem(&key_pem).unwrap().serialize_der();
    let sec1 = STANDARD.encode(&pkcs8[29..]);
    let sec1 = format!("-----BEGIN EC PRIVATE KEY-----\n{sec1}\n-----END EC PRIVATE KEY-----\n");
    for key_pem in [key_pem, sec1] {
        let key = scratch.file("key.pem", &key_pem);
        let world = World::builder()
            .settings(&[("tls.cert", &cert), ("tls.key", &key)])
            .in_process()
            .await;
        connect(world.addr, "localhost", Path::new(&cert)).await;
        world.drained().await;
    }
}

/// cert-manager renewed the certificate, and clients got the old one until a restart.
#[tokio::test]
async fn a_renewed_certificate_needs_no_restart() {
    let scratch = Scratch::new("tls-renewed");
    let (first_pem, first_key) = self_signed();
    let (second_pem, second_key) = self_signed();
    let first = scratch.file("first.pem", &first_pem);
    let second = scratch.file("second.pem", &second_pem);
    let cert = scratch.file("cert.pem", &first_pem);
    let key = scratch.file("key.pem", &first_key);
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        URL,
    ];
    let mut daemon = Daemon::start(&flags, &[]);
    let addr = daemon.address().await;
    let is_shown = async |ca: &str| {
        let stream = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        client(Path::new(ca), &[])
            .connect(name, stream)
            .await
            .is_ok()
    };
    // New connections cause a check of the files.
    let wait_for_log = async |daemon: &mut Daemon, text: &str| {
        let coming = async {
            loop {
                is_shown(&first).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = coming => {}
            _ = daemon.line(text) => {}
        }
    };
    assert!(is_shown(&first).await);
    // The files are replaced one after the other, and do not match in between.
    fs::write(&cert, second_pem).unwrap();
    wait_for_log(&mut daemon, "certificate not reloaded").await;
    assert!(is_shown(&first).await && !is_shown(&second).await);
    fs::write(&key, second_key).unwrap();
    wait_for_log(&mut daemon, "certificate reloaded").await;
    assert!(is_shown(&second).await && !is_shown(&first).await);
    fs::write(&cert, "").unwrap();
    wait_for_log(&mut daemon, "contains no certificate").await;
    assert!(is_shown(&second).await);
    // A file that could not be read, such as without free file descriptors, is read again.
    fs::remove_file(&cert).unwrap();
    fs::create_dir(&cert).unwrap();
    for _ in 0..2 {
        wait_for_log(&mut daemon, "cannot be read").await;
    }
    assert!(is_shown(&second).await);
}

#[tokio::test]
async fn unusable_files_are_named() {
    let scratch = Scratch::new("tls-unusable");
    let (cert_pem, key_pem) = self_signed();
    let (_, other_key) = self_signed();
    let pem = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
    let cases = [
        (
            cert_pem.clone(),
            other_key,
            "tls.key: \"KEY\" is not the key of the first certificate in \"CERT\"",
        ),
        (
            key_pem.clone(),
            key_pem.clone(),
            "tls.cert: \"CERT\" contains no certificate in PEM",
        ),
        (
            cert_pem.clone(),
            cert_pem.clone(),
            "tls.key: \"KEY\" contains no private key in PEM (PKCS#8, PKCS#1 or SEC1, not encrypted)",
        ),
        (
            cert_pem.clone(),
            pem("ENCRYPTED PRIVATE KEY"),
            "tls.key: \"KEY\" contains no private key in PEM (PKCS#8, PKCS#1 or SEC1, not encrypted)",
        ),
        (
            cert_pem[..cert_pem.len() / 2].to_owned(),
            key_pem.clone(),
            "tls.cert: \"CERT\" is not valid PEM",
        ),
        (
            cert_pem.clone(),
            key_pem[..key_pem.len() / 2].to_owned(),
            "tls.key: \"KEY\" is not valid PEM",
        ),
        (
            cert_pem,
            pem("PRIVATE KEY"),
            "tls: \"CERT\" with the key \"KEY\" cannot be used: unexpected error: failed to parse private key as RSA, ECDSA, or EdDSA",
        ),
        (
            pem("CERTIFICATE"),
            key_pem,
            "tls: \"CERT\" with the key \"KEY\" cannot be used: invalid peer certificate: BadEncoding",
        ),
    ];
    for (cert_pem, key_pem, expected) in cases {
        let cert = scratch.file("cert.pem", &cert_pem);
        let key = scratch.file("key.pem", &key_pem);
        let expected = expected.replace("CERT", &cert).replace("KEY", &key);
        let ended = ended(&["--tls-cert", &cert, "--tls-key", &key]).await;
        assert_eq!(ended, (3, format!("countersign: {expected}\n")));
    }
    let cert = scratch.file("cert.pem", "");
    let missing = scratch.0.join("none.pem").display().to_string();
    for (flags, expected) in [
        (
            vec!["--tls-cert", &cert, "--tls-key", &missing],
            format!("--tls-key: {missing} does not exist: correct the path"),
        ),
        (
            vec!["--tls-cert", &cert],
            "--tls-cert: needs the private key, too: --tls-key FILE (in a file: `key`)".to_owned(),
        ),
    ] {
        assert_eq!(
            ended(&flags).await,
            (2, format!("countersign: {expected}\n"))
        );
    }
}

const URL: &str = "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql";

/// Returns the exit code and the log of a daemon that does not start.
async fn ended(flags: &[&str]) -> (i32, String) {
    let arguments = [flags, &["--listen", "127.0.0.1:0", URL]].concat();
    let mut daemon = Daemon::start(&arguments, &[]);
    (daemon.exited().await, daemon.log)
}

/// Starts a daemon with a local CA and a TRACE log.
fn dev_daemon(scratch: &Scratch) -> Daemon {
    let state = scratch.0.display().to_string();
    Daemon::start(
        &[
            "--log",
            "trace",
            "--listen",
            "127.0.0.1:0",
            "--tls-dev",
            URL,
        ],
        &[("XDG_STATE_HOME", &state)],
    )
}

#[tokio::test]
async fn simultaneous_starts_share_one_ca() {
    let scratch = Scratch::new("tls-at-once");
    let mut daemons: Vec<Daemon> = (0..4).map(|_| dev_daemon(&scratch)).collect();
    for daemon in &mut daemons {
        let addr = daemon.address().await;
        connect(addr, "127.0.0.1", &ca_file(&scratch)).await;
    }
    let ca = fs::read_to_string(ca_file(&scratch)).unwrap();
    let made = |daemon: &Daemon| daemon.log.contains("creating a local CA");
    assert_eq!(daemons.iter().filter(|daemon| made(daemon)).count(), 1);

    let mut again = dev_daemon(&scratch);
    let addr = again.address().await;
    assert!(!made(&again));
    assert_eq!(fs::read_to_string(ca_file(&scratch)).unwrap(), ca);
    connect(addr, "127.0.0.1", &ca_file(&scratch)).await;
    let path = ca_file(&scratch).display().to_string();
    for way in ["NODE_EXTRA_CA_CERTS=", "curl --cacert ", "SSL_CERT_FILE="] {
        assert!(again.log.contains(&format!("{way}{path}")), "{}", again.log);
    }
    assert!(
        again
            .log
            .contains(&format!("listening on http://{addr} and https://{addr}\n"))
    );

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = scratch.0.join("countersign");
    assert_eq!(mode(&directory), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["ca-key.pem", "ca.lock", "ca.pem"]);

    daemons.push(again);
    let key = fs::read_to_string(directory.join("ca-key.pem")).unwrap();
    for mut daemon in daemons {
        daemon.signal("-TERM");
        assert_eq!(daemon.exited().await, 0);
        for line in key.lines() {
            assert!(!daemon.log.contains(line), "{}", daemon.log);
        }
    }
}

#[tokio::test]
async fn curl_works_with_each_version_of_tls() {
    let (world, scratch) = dev_world("tls-curl", &[]).await;
    let ca = ca_file(&scratch).display().to_string();
    let url = format!("https://localhost:{}/graphql", world.addr.port());
    for (version, flags) in [
        ("TLSv1.2", vec!["--tls-max", "1.2"]),
        ("TLSv1.3", vec!["--tlsv1.3"]),
    ] {
        let mut curl = tokio::process::Command::new("curl");
        let output = curl
            .args(["-sSv", "-4", "--noproxy", "*", "-m", "20", "--cacert", &ca])
            .args(flags)
            .args(["-H", "content-type: application/json", "-d", QUERY, &url])
            .output();
        let output = within("curl", output).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let connection_log = String::from_utf8_lossy(&output.stderr);
        assert!(
            connection_log.contains(&format!("SSL connection using {version}")),
            "{connection_log}"
        );
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["data"]["rooms"][0], json!({ "id": "lobby" }));
    }
    world.drained().await;
}

#[tokio::test]
async fn npm_graphql_ws_works_over_wss() {
    let (world, scratch) = dev_world("tls-node", &[]).await;
    let url = format!("wss://127.0.0.1:{}/graphql", world.addr.port());
    let control = format!("http://{}", world.emulator.control_addr());
    let mut command = node("graphql-ws.mjs");
    command.env("NODE_EXTRA_CA_CERTS", ca_file(&scratch));
    passes(command, &[&url, &control], 22).await;
    world.drained().await;
}

#[tokio::test]
async fn the_demo_prints_its_https_address() {
    let scratch = Scratch::new("tls-demo");
    let state = scratch.0.display().to_string();
    let mut daemon = Daemon::start(
        &["demo", "--listen", "127.0.0.1:0", "--tls-dev"],
        &[("XDG_STATE_HOME", &state)],
    );
    let addr = daemon.address().await;
    let mut stdout = daemon.child.stdout.take().unwrap();
    let wanted = format!("https://{addr}/graphql, wss://{addr}/graphql");
    let mut banner = Vec::new();
    while !String::from_utf8_lossy(&banner).contains(&wanted) {
        let read = within("the banner", stdout.read_buf(&mut banner)).await;
        assert_ne!(read.unwrap(), 0, "{}", String::from_utf8_lossy(&banner));
    }
    assert_eq!(query(addr, &ca_file(&scratch), None).await.status, 200);
}
