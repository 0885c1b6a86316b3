//! WebSockets on routes that are not AppSync's, with other people's clients, and with the emulator's API
//! Gateway or an upstream of npm ws behind them.

use std::path::Path;
use std::process::Stdio;

use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Daemon, GATEWAY, Socket, World, node, passes, python, within};

const HOST: &str = "upstream.example.com";

/// Writes the certificate of a CA, and a key and certificate for `HOST` from it, to files.
fn certificates(world: &World) -> [String; 3] {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own_key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let own = params.signed_by(&own_key, &issuer).unwrap();
    [
        world.home.file("upstream-ca.pem", &ca.pem()),
        world.home.file("key.pem", &own_key.serialize_pem()),
        world.home.file("cert.pem", &own.pem()),
    ]
}

/// Starts a daemon with routes to the WebSocket API, `/api` with the emulator's key and `/wrong` with
/// another, and with `more` lines of configuration.
fn start(world: &World, more: &str) -> Daemon {
    let keys = "[wrong]\naws_access_key_id = AKIDUNKNOWN\naws_secret_access_key = secret\n";
    let keys = world.home.file("credentials", keys);
    let api = world.route("api", "https://$WS/prod", "");
    let wrong = world.route("wrong", "https://$WS/prod", "profile = \"wrong\"");
    let files = [("AWS_SHARED_CREDENTIALS_FILE", keys.as_str())];
    world.serve(&format!("{api}{wrong}{more}"), &files)
}

/// A script that is an upstream itself, and waits for commands.
struct Script {
    lines: Lines<BufReader<ChildStdout>>,
    stdin: ChildStdin,
    child: Child,
    shown: String,
}

impl Script {
    fn start(mut command: Command, arguments: &[&str]) -> Self {
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            stdin: child.stdin.take().unwrap(),
            child,
            shown: String::new(),
        }
    }

    /// Reads up to the line with this prefix, and returns the rest of the line.
    async fn line(&mut self, wanted: &str) -> String {
        // A script that hangs ends by its own deadline.
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.shown.push_str(&line);
            self.shown.push('\n');
            if let Some(rest) = line.strip_prefix(wanted) {
                return rest.trim().to_owned();
            }
        }
        panic!("the script ended without {wanted:?}:\n{}", self.shown);
    }

    async fn tell(&mut self, line: &str) {
        self.stdin.write_all(line.as_bytes()).await.unwrap();
        self.stdin.write_all(b"\n").await.unwrap();
    }

    /// Reads to the end. At least `least` checks must have run, and all must have passed.
    async fn passed(&mut self, least: usize) {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.shown.push_str(&line);
            self.shown.push('\n');
        }
        let status = within("the script's end", self.child.wait()).await.unwrap();
        assert!(status.success(), "{}", self.shown);
        let passed = self.shown.lines().filter(|line| line.starts_with("ok - "));
        assert!(passed.count() >= least, "{}", self.shown);
    }
}

/// Returns a route to the script's upstream on `port`.
fn route(name: &str, port: &str, ca_file: &str, more: &str) -> String {
    format!(
        "[route.{name}]\ntarget = \"https://{HOST}/base\"\nconnect = \"127.0.0.1:{port}\"\n\
         ca_file = \"{ca_file}\"\nservice = \"execute-api\"\nregion = \"eu-west-1\"\n{more}\n"
    )
}

#[tokio::test]
async fn a_tunnel_works_with_npm_ws_at_both_ends() {
    let world = World::new().await;
    let [ca_file, key, cert] = certificates(&world);
    let mut script = Script::start(node("tunnel.mjs"), &[&key, &cert]);
    let port = script.line("port ").await;
    let alive = "keepalive_message = '{\"alive\":true}'\ntimeouts.keepalive = \"150ms\"";
    let routes = [
        route("echo", &port, &ca_file, ""),
        route("alive", &port, &ca_file, alive),
    ];
    let mut daemon = start(&world, &routes.concat());
    let base = format!("ws://{}", daemon.address().await);
    let urls = json!({
        "echo": format!("{base}/echo"),
        "alive": format!("{base}/alive"),
        "api": format!("{base}/api"),
        "wrong": format!("{base}/wrong"),
        "control": world.control(),
    });
    script.tell(&urls.to_string()).await;
    script.line("drain").await;
    daemon.signal("-TERM");
    script.passed(30).await;
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    assert!(!daemon.log.contains("deadline"), "{}", daemon.log);
    let stats = world.emulator.stats().gateway;
    assert_eq!(stats.refused["unrecognized_client"], 1, "{stats:?}");
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_tunnel_works_with_python_websockets() {
    let world = World::new().await;
    let mut daemon = start(&world, "");
    let address = daemon.address().await.to_string();
    let control = world.control();
    let mut command = python("tunnel.py");
    command.stderr(Stdio::piped());
    passes(command, &[&address, &control], 40).await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    world.emulator.shutdown().await;
}

/// An endless message keeps a tunnel open until the drain deadline, and not longer.
#[tokio::test]
async fn an_endless_message_does_not_delay_the_drain() {
    let world = World::new().await;
    let mut daemon = start(&world, "drain.timeout = \"500ms\"");
    let addr = daemon.address().await;
    let mut socket = Socket::dial(addr, "/api", "p", &[]).await;
    let begun = OpCode::Data(Data::Text);
    let frame = Frame::message("begun", begun, false);
    socket.0.send(Message::Frame(frame)).await.unwrap();
    socket.0.send(Message::Ping("a".into())).await.unwrap();
    let pong = within("the pong", socket.0.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("a".into()));
    daemon.signal("-TERM");
    assert_eq!(u16::from(socket.closed().await.code), 1012);
    drop(socket);
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    assert!(daemon.log.contains("deadline"), "{}", daemon.log);
    world.emulator.shutdown().await;
}

#[tokio::test]
async fn a_tunnel_works_with_websocat() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let websocat = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/websocat");
    assert!(
        websocat.is_file(),
        "no {}: run tests/run",
        websocat.display()
    );
    let mut child = Command::new(websocat)
        .arg(format!("ws://{}/ws", world.addr))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stdin = child.stdin.take().unwrap();
    for message in [
        "{\"action\":\"echo\",\"n\":1}",
        "{\"action\":\"echo\",\"n\":2}",
    ] {
        stdin.write_all(message.as_bytes()).await.unwrap();
        stdin.write_all(b"\n").await.unwrap();
        let line = within("the echo", lines.next_line()).await.unwrap();
        assert_eq!(line.as_deref(), Some(message));
    }
    drop(stdin);
    assert!(within("its end", child.wait()).await.unwrap().success());
    world.drained().await;
}
