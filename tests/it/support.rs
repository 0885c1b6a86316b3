//! What the behaviour tests share: a stage in this process, the built binary as a daemon, plain
//! sockets, and the scripts around other people's clients.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use countersign::app::App;
use countersign::config::{self, Config, Credentials, Flag, Sources, Trust};
use countersign_emulator::{self as emulator, Emulator};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

/// Nothing that is waited for takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `future`, and fails with `what` if it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// countersign and an emulator behind it, in this process.
pub struct Stage {
    pub emulator: Emulator,
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    hurry: Option<oneshot::Sender<()>>,
    done: JoinHandle<()>,
}

impl Stage {
    /// With the defaults.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With a route to the emulator's Events, too.
    pub async fn with_events(settings: &[(&str, &str)]) -> Self {
        let emulator = Emulator::start(emulator::Options::default()).await.unwrap();
        let target = format!("https://{}/event", emulator.api_host());
        let connect = emulator.addr().to_string();
        let mut all = vec![
            ("route.event.target", target.as_str()),
            ("route.event.connect", &connect),
        ];
        all.extend(settings);
        Self::over(emulator, &all).await
    }

    /// With routes to the emulator's REST API (`/rest`), its HTTP API (`/http`) and its WebSocket API
    /// (`/ws`). Paths below the routes are what follows the stage.
    ///
    /// In the values of settings `$API`, `$REST`, `$HTTP`, `$WS` and `$ANALYZER` stand for the
    /// emulator's names, and every route with a target is connected to the emulator.
    pub async fn with_gateway(settings: &[(&str, &str)]) -> Self {
        Self::with_gateway_on(emulator::Options::default(), settings).await
    }

    pub async fn with_gateway_on(options: emulator::Options, settings: &[(&str, &str)]) -> Self {
        let emulator = Emulator::start(options).await.unwrap();
        let names = [
            ("$API", emulator.api_host()),
            ("$REST", emulator.rest_host()),
            ("$HTTP", emulator.http_host()),
            ("$WS", emulator.websocket_host()),
            ("$ANALYZER", emulator.analyzer_host()),
        ];
        let own = [
            ("route.rest.target", "https://$REST/prod"),
            ("route.http.target", "https://$HTTP/"),
            ("route.ws.target", "https://$WS/prod"),
        ];
        let mut all: Vec<(String, String)> = Vec::new();
        for (key, value) in own.iter().chain(settings) {
            let value = names
                .iter()
                .fold((*value).to_owned(), |value, (name, host)| {
                    value.replace(name, host)
                });
            if let Some(route) = key.strip_suffix(".target") {
                all.push((format!("{route}.connect"), emulator.addr().to_string()));
            }
            all.push(((*key).to_owned(), value));
        }
        let all: Vec<(&str, &str)> = all
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        Self::over(emulator, &all).await
    }

    /// With settings by dotted key; `,` separates the items of a list. A key in capitals is a
    /// variable of the environment, such as XDG_STATE_HOME, in which `tls.dev` keeps its CA.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(emulator::Options::default(), settings).await
    }

    pub async fn on(options: emulator::Options, settings: &[(&str, &str)]) -> Self {
        let emulator = Emulator::start(options).await.unwrap();
        Self::over(emulator, settings).await
    }

    async fn over(emulator: Emulator, settings: &[(&str, &str)]) -> Self {
        let config = stage_config(&emulator, settings);
        let app = App::start(config).await.unwrap();
        let addr = app.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let (hurry, hurried) = oneshot::channel();
        let done = tokio::task::spawn(app.run(
            async {
                let _ = stopped.await;
            },
            async {
                if hurried.await.is_err() {
                    std::future::pending::<()>().await;
                }
            },
        ));
        Self {
            emulator,
            addr,
            stop: Some(stop),
            hurry: Some(hurry),
            done,
        }
    }

    /// Sends the first signal: the drain begins.
    pub fn begin_drain(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Sends the second signal.
    pub fn hurry(&mut self) {
        let _ = self.hurry.take().unwrap().send(());
    }

    /// Waits for the end of the drain.
    pub async fn drained(mut self) {
        if self.stop.is_some() {
            self.begin_drain();
        }
        within("the drain", self.done).await.unwrap();
        within("the emulator's end", self.emulator.shutdown()).await;
    }

    /// Turns the emulator's switches, as its control listener would.
    pub fn switch(&self, change: Value) {
        let change = serde_json::from_value(change).unwrap();
        self.emulator.switches().apply(&change).unwrap();
    }

    /// Waits until the emulator has seen what is wanted.
    pub async fn saw(
        &self,
        what: &str,
        wanted: impl FnMut(&emulator::Stats) -> bool,
    ) -> emulator::Stats {
        match tokio::time::timeout(PATIENCE, self.emulator.wait_for(wanted)).await {
            Ok(stats) => stats,
            Err(_) => panic!(
                "the emulator did not see {what}: {:?}",
                self.emulator.stats()
            ),
        }
    }

    pub async fn subscriptions(&self, count: usize) -> emulator::Stats {
        let what = format!("{count} subscriptions");
        self.saw(&what, |stats| stats.realtime.subscriptions == count)
            .await
    }

    /// `POST /graphql` with a query and no variables.
    pub async fn query(&self, query: &str) -> Answer {
        let body = json!({ "query": query }).to_string();
        post(self.addr, "/graphql", &[JSON], &body).await
    }

    pub async fn socket(&self) -> Socket {
        Socket::open(self.addr, &[]).await
    }

    /// A socket that has been acknowledged.
    pub async fn acked(&self) -> Socket {
        let mut socket = self.socket().await;
        socket.init().await;
        socket
    }
}

pub fn flag(key: &str, value: &str) -> Flag {
    let is_list = value.contains(',') || key.ends_with("hosts") || key.ends_with("origins");
    Flag {
        key: key.to_owned(),
        name: "test",
        values: value.split(',').map(str::to_owned).collect(),
        is_list: is_list || key == "listen",
    }
}

/// A configuration whose one route leads to `emulator`.
pub fn stage_config(emulator: &Emulator, settings: &[(&str, &str)]) -> Config {
    let target = format!("https://{}/graphql", emulator.api_host());
    let connect = emulator.addr().to_string();
    let mut flags = vec![
        flag("listen", "127.0.0.1:0"),
        flag("admin", "off"),
        flag("route.graphql.target", &target),
        flag("route.graphql.connect", &connect),
    ];
    let mut environment = Vec::new();
    for &(key, value) in settings {
        if key.starts_with(|first: char| first.is_ascii_uppercase()) {
            environment.push((key.to_owned(), value.to_owned()));
        } else {
            flags.push(flag(key, value));
        }
    }
    let sources = Sources {
        flags,
        environment,
        ..Sources::default()
    };
    let (_, mut config) = config::load(&sources).unwrap();
    for route in &mut config.routes {
        route.trust = Trust::Pem(emulator.ca_pem().to_owned());
        route.credentials = Credentials::Fixed(aws_credential_types::Credentials::new(
            emulator::DEMO_ACCESS_KEY_ID,
            emulator::DEMO_SECRET_ACCESS_KEY,
            Some(emulator::DEMO_SESSION_TOKEN.to_owned()),
            None,
            "fixed",
        ));
    }
    config
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `extensions.code` of the first error.
    pub fn code(&self) -> String {
        let json = self.json();
        let code = &json["errors"][0]["extensions"]["code"];
        code.as_str()
            .unwrap_or_else(|| panic!("{self:?}"))
            .to_owned()
    }
}

pub const JSON: (&str, &str) = ("content-type", "application/json");

pub async fn post(addr: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    raw(addr, request.as_bytes()).await
}

pub async fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    raw(addr, request.as_bytes()).await
}

/// Sends exactly these bytes and reads to the end.
pub async fn raw(addr: SocketAddr, request: &[u8]) -> Answer {
    raw_on(TcpStream::connect(addr).await.unwrap(), request).await
}

/// The same, on an open connection.
pub async fn raw_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Answer {
    // What we are refused for may come before the last byte has left.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let _ = within("an answer", stream.read_to_end(&mut bytes)).await;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.and_then(|status| status.parse().ok());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let is_chunked = headers
        .get("transfer-encoding")
        .is_some_and(|value| value == "chunked");
    let body = if is_chunked {
        dechunk(body)
    } else {
        body.to_owned()
    };
    Answer {
        status: status.unwrap_or(0),
        headers,
        body,
    }
}

fn dechunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// A client WebSocket that speaks graphql-transport-ws by hand.
pub struct Socket<S = MaybeTlsStream<TcpStream>>(pub WebSocketStream<S>);

/// The request that opens one.
fn upgrade(url: &str, headers: &[(&str, &str)]) -> http::Request<()> {
    let mut request = url.into_client_request().unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

impl Socket {
    pub async fn open(addr: SocketAddr, headers: &[(&str, &str)]) -> Self {
        Self::dial(addr, "/graphql", "graphql-transport-ws", headers).await
    }

    /// A socket of another dialect.
    pub async fn dial(
        addr: SocketAddr,
        path: &str,
        protocol: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let mut request = upgrade(&format!("ws://{addr}{path}"), headers);
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol.parse().unwrap());
        let (socket, _) = within("an upgrade", connect_async(request)).await.unwrap();
        Self(socket)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// On an open connection.
    pub async fn open_on(stream: S, url: &str, headers: &[(&str, &str)]) -> Self {
        let opened = client_async(upgrade(url, headers), stream);
        let (socket, _) = within("an upgrade", opened).await.unwrap();
        Self(socket)
    }

    pub async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub async fn init(&mut self) {
        self.send(json!({ "type": "connection_init" })).await;
        assert_eq!(self.next().await["type"], "connection_ack");
    }

    pub async fn subscribe(&mut self, id: &str, query: &str) {
        let payload = json!({ "query": query });
        self.send(json!({ "id": id, "type": "subscribe", "payload": payload }))
            .await;
    }

    /// The next text frame. Pings do not prolong the wait.
    pub async fn next(&mut self) -> Value {
        let text = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("no text frame but {other:?}"),
                }
            }
        };
        within("a frame", text).await
    }

    /// The next frame of this id; frames of others are passed over.
    pub async fn next_of(&mut self, id: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["id"] == id {
                return frame;
            }
        }
    }

    /// The close frame; text frames before it are passed over.
    pub async fn closed(&mut self) -> CloseFrame {
        let close = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return frame,
                    Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("no close but {other:?}"),
                }
            }
        };
        within("a close", close).await
    }
}

/// The built binary.
pub struct Daemon {
    pub child: Child,
    stderr: BufReader<ChildStderr>,
    pub log: String,
}

impl Daemon {
    /// Starts it with nothing of this process's environment but what is given.
    pub fn start(arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> Self {
        Self::spawn(&mut command(arguments, environment))
    }

    /// The same by a command of the test's own.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            stderr,
            log: String::new(),
        }
    }

    /// Reads the log up to a line with this text, and returns the line.
    pub async fn line(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = within(text, self.stderr.read_line(&mut line))
                .await
                .unwrap();
            self.log.push_str(&line);
            if line.contains(text) {
                return line;
            }
            assert!(read > 0, "the daemon ended without {text:?}:\n{}", self.log);
        }
    }

    /// The address it listens on, whatever the format of the log.
    pub async fn address(&mut self) -> SocketAddr {
        let line = self.line("listening on http://127.").await;
        let (_, address) = line.trim().rsplit_once("http://").unwrap();
        let end = address.find(['"', ' ']).unwrap_or(address.len());
        address[..end].parse().unwrap()
    }

    /// The address of its admin listener, asked for before [`Self::address`].
    pub async fn admin(&mut self) -> SocketAddr {
        let line = self.line("health and metrics on http://").await;
        let (_, address) = line.trim().rsplit_once("http://").unwrap();
        let end = address.find(['"', ' ']).unwrap_or(address.len());
        address[..end].parse().unwrap()
    }

    pub fn pid(&self) -> String {
        self.child.id().unwrap().to_string()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Reads the log to its end, and the exit code.
    pub async fn exited(&mut self) -> i32 {
        let read = self.stderr.read_to_string(&mut self.log);
        within("the daemon's end", read).await.unwrap();
        let status = within("the daemon's end", self.child.wait()).await.unwrap();
        status.code().unwrap_or(-1)
    }
}

pub fn command(arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(arguments)
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        // Tests run side by side.
        .env("COUNTERSIGN_ADMIN", "off")
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command
}

/// The environment with the emulator's key.
pub fn demo_key() -> Vec<(&'static str, &'static str)> {
    vec![
        ("AWS_ACCESS_KEY_ID", emulator::DEMO_ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", emulator::DEMO_SECRET_ACCESS_KEY),
        ("AWS_SESSION_TOKEN", emulator::DEMO_SESSION_TOKEN),
    ]
}

/// An emulator for daemons of the built binary, and a directory of the test's own.
pub struct Backstage {
    pub emulator: Emulator,
    pub home: Scratch,
}

impl Backstage {
    pub async fn new(name: &str) -> Self {
        Self {
            emulator: Emulator::start(emulator::Options::default()).await.unwrap(),
            home: Scratch::new(name),
        }
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.0.join(name)
    }

    /// The path of its certificate authority's certificate.
    pub fn ca_file(&self) -> String {
        self.home.file("upstream.pem", self.emulator.ca_pem())
    }

    /// What leads a daemon to the emulator's GraphQL API, after `more`.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        let connect = self.emulator.addr().to_string();
        let target = format!("https://{}/graphql", self.emulator.api_host());
        let own = ["--connect", &connect, "--ca-file", &self.ca_file(), &target];
        let all = more.iter().chain(&own);
        all.map(|&argument| argument.to_owned()).collect()
    }

    /// A daemon before the emulator, on a port of its own. Its home directory is ours.
    pub fn start(&self, more: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let home = self.home.0.display().to_string();
        let environment = [&[("HOME", home.as_str())], environment].concat();
        let listen = ["--listen", "127.0.0.1:0"];
        Daemon::start(&self.arguments(&[&listen, more].concat()), &environment)
    }
}

/// A directory of this test's own, gone at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("countersign-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Node with a script of tests/clients.
pub fn node(script: &str) -> Command {
    let clients = clients();
    let modules = clients.join("node_modules");
    assert!(modules.is_dir(), "no {}: run tests/run", modules.display());
    let mut command = Command::new("node");
    command.arg(clients.join(script)).kill_on_drop(true);
    command
}

/// Python with a script of tests/clients.
pub fn python(script: &str) -> Command {
    let interpreter = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients-venv/bin/python");
    let shown = interpreter.display();
    assert!(interpreter.is_file(), "no {shown}: run tests/run");
    let mut command = Command::new(interpreter);
    command.arg(clients().join(script)).kill_on_drop(true);
    command
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What a script of checks has told.
pub struct Checks {
    pub passed: usize,
    /// Those that failed, as they are said to.
    pub differing: usize,
}

/// Runs a script of checks: it must pass all of at least `least`.
pub async fn passes(mut command: Command, arguments: &[&str], least: usize) -> Checks {
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = tokio::time::timeout(Duration::from_secs(150), output);
    let output = output.await.expect("the script did not end").unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{errors}");
    let count = |verdict| {
        let lines = shown.lines();
        lines.filter(|line| line.starts_with(verdict)).count()
    };
    let passed = count("ok - ");
    assert!(
        passed >= least,
        "only {passed} checks ran:\n{shown}\n{errors}"
    );
    Checks {
        passed,
        differing: count("differs - "),
    }
}
