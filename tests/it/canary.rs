//! Secrets do not leak: unique strings are sent as credentials, headers, variables and
//! texts, and none appears in a log at any level, in an error of ours, or in a span.

mod everything;
mod explain;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use countersign_emulator::Key;
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::collector::Collector;
use crate::fakes::Endpoint;
use crate::support::{
    Answer, ClosedPort, Daemon, JSON, Socket, World, command, get, post, raw, within,
};

const KEY_ID: &str = "AKIDCANARYKEYID00001";
const SECRET: &str = "canary/Secret+Key0002";
const TOKEN: &str = "canary/Session+Token0003==";
const BEARER: &str = "canary-bearer-0004";
const COOKIE: &str = "canary-cookie-0005";
const API_KEY: &str = "da2-canary-api-key-0006";
const VARIABLE: &str = "canary variable 0007";
const TEXT: &str = "canary text 0008";
const BY_GET: &str = "canary by get 0009";
const ARGUMENT: &str = "canary-argument-0010";
const GUARD_TOKEN: &str = "canary-guard-token-0011-abcdefghijkl";
const BODY: &str = "canary body 0012";
const QUERY: &str = "canary query 0013";
const PATH: &str = "canary-path-0014";
const MESSAGE: &str = "canary message 0015";
const CHANNEL: &str = "canary-channel-0016";
const TRACE_STATE: &str = "canary-tracestate-0017";
const COLLECTOR_KEY: &str = "canary-collector-key-0018";
const CANARIES: [&str; 18] = [
    KEY_ID,
    SECRET,
    TOKEN,
    BEARER,
    COOKIE,
    API_KEY,
    VARIABLE,
    TEXT,
    BY_GET,
    ARGUMENT,
    GUARD_TOKEN,
    BODY,
    QUERY,
    PATH,
    MESSAGE,
    CHANNEL,
    TRACE_STATE,
    COLLECTOR_KEY,
];
/// Secrets that no response may contain, ours or upstream's. A key's id is public: AWS quotes it.
const CREDENTIALS: [&str; 2] = [SECRET, TOKEN];

/// What authenticates somebody. No setting puts it into the log.
const AUTHENTICATION: [&str; 8] = [
    KEY_ID,
    SECRET,
    TOKEN,
    BEARER,
    COOKIE,
    API_KEY,
    GUARD_TOKEN,
    COLLECTOR_KEY,
];

/// Asks for TRACE from every crate. countersign must keep the logs of other crates off.
const FILTER: &str = "trace,hyper=trace,h2=trace,rustls=trace,tungstenite=trace,\
                      tokio_tungstenite=trace,aws_config=trace,aws_sigv4=trace,\
                      aws_smithy_runtime=trace,log=trace";

/// Headers with the client's secrets, which we drop or forward.
fn client_secrets() -> Vec<(&'static str, String)> {
    vec![
        ("authorization", format!("Bearer {BEARER}")),
        ("cookie", format!("session={COOKIE}")),
        ("x-api-key", API_KEY.to_owned()),
        ("x-countersign-token", GUARD_TOKEN.to_owned()),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        ),
        ("tracestate", format!("vendor={TRACE_STATE}")),
    ]
}

/// Returns a secret unchanged, percent-encoded, escaped in JSON, and in base64 at any offset
/// of a longer text.
fn forms(canary: &str) -> Vec<String> {
    let percent = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    let upper: String = canary.bytes().map(percent).collect();
    let lower = upper.replace("%2F", "%2f").replace("%2B", "%2b");
    let lower = lower.replace("%3D", "%3d");
    let mut forms = vec![
        canary.to_owned(),
        upper,
        lower,
        canary.replace('/', "\\/"),
        canary.replace(' ', "+"),
    ];
    for offset in 0..3 {
        // The first and last characters depend on the neighbouring bytes.
        let padded = ["x".repeat(offset).as_str(), canary].concat();
        let whole = padded.len() / 3 * 3;
        let text = STANDARD_NO_PAD.encode(&padded[..whole]);
        let text = text[if offset == 0 { 0 } else { 4 }..].to_owned();
        forms.push(text.replace('+', "-").replace('/', "_"));
        forms.push(text);
    }
    forms
}

#[track_caller]
fn check_absent(what: &str, text: &str) {
    check_absent_of(&CANARIES, what, text);
}

#[track_caller]
fn check_absent_of(canaries: &[&str], what: &str, text: &str) {
    for canary in canaries {
        for form in forms(canary) {
            if let Some(at) = text.find(&form) {
                let start = text[..at].rfind('\n').map_or(0, |start| start + 1);
                let line = text[start..].lines().next().unwrap_or_default();
                panic!("{what} holds {canary:?} as {form:?}:\n{line}");
            }
        }
    }
}

/// Checks an error of ours, or an error of AWS that we forward.
#[track_caller]
fn check_error(what: &str, answer: &Answer) {
    assert!(answer.status >= 400, "{what}: {answer:?}");
    check_absent(what, &format!("{:?}\n{}", answer.headers, answer.body));
}

#[test]
fn the_search_finds_every_encoding_of_a_secret() {
    for text in [
        "key AKIDCANARYKEYID00001.".to_owned(),
        "a=canary%2fSecret%2bKey0002".to_owned(),
        format!(
            "header-{}",
            STANDARD_NO_PAD.encode("{\"x\":\"canary/Secret+Key0002\"}")
        ),
        format!(
            "header-{}",
            STANDARD_NO_PAD.encode("{\"xy\":\"canary/Secret+Key0002\"}")
        ),
        format!(
            "header-{}",
            STANDARD_NO_PAD.encode("{\"xyz\":\"canary/Secret+Key0002\"}")
        ),
    ] {
        assert!(
            std::panic::catch_unwind(|| check_absent("it", &text)).is_err(),
            "{text}"
        );
    }
    check_absent("it", "nothing of the kind");
}

struct Run {
    daemon: Daemon,
    collector: Collector,
    addr: SocketAddr,
    admin: SocketAddr,
    is_pretty: bool,
    /// Requests are recorded, and shown on the admin listener.
    has_inspector: bool,
    /// The log has the messages of GraphQL errors, which quote what the client sent.
    has_messages: bool,
}

/// The paths of the admin listener.
const PAGES: [&str; 5] = ["/livez", "/startupz", "/readyz", "/readyz?deep", "/metrics"];

impl Run {
    async fn start(format: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0", "--log", FILTER];
        let (format, errors) = match format {
            PRETTY_WITH_MESSAGES => ("pretty", "auto"),
            format => (format, "never"),
        };
        all.extend(["--log-format", format]);
        all.extend(arguments);
        let collector = Collector::start().await;
        let (endpoint, key) = (collector.url(), format!("x-key={COLLECTOR_KEY}"));
        let mut variables = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_HEADERS", &key),
            ("PATH", "/usr/bin:/bin"),
            ("RUST_LOG", "trace"),
            ("COUNTERSIGN_ADMIN", "127.0.0.1:0"),
            ("COUNTERSIGN_LOG__GRAPHQL_ERRORS", errors),
        ];
        let has_inspector = format == "text";
        if has_inspector {
            variables.push(("COUNTERSIGN_INSPECT__ENABLED", "true"));
        }
        variables.extend(environment);
        let mut daemon = Daemon::start(&all, &variables);
        let admin = daemon.admin().await;
        let addr = daemon.address().await;
        Self {
            daemon,
            collector,
            addr,
            admin,
            is_pretty: format == "pretty",
            has_inspector,
            has_messages: errors == "auto",
        }
    }

    async fn post(&self, body: &str) -> Answer {
        let secrets = client_secrets();
        let secrets = secrets.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<(&str, &str)> = std::iter::once(JSON).chain(secrets).collect();
        post(self.addr, "/graphql", &headers, body).await
    }

    /// Opens a socket whose upgrade and `connection_init` carry the client's secrets.
    async fn socket(&self) -> Socket {
        let (bearer, cookie) = (format!("Bearer {BEARER}"), format!("session={COOKIE}"));
        let headers = [
            ("authorization", bearer.as_str()),
            ("cookie", &cookie),
            ("x-api-key", API_KEY),
        ];
        let mut socket = Socket::open(self.addr, &headers).await;
        let payload = json!({ "authorization": bearer, "x-api-key": API_KEY });
        socket
            .send(json!({ "type": "connection_init", "payload": payload }))
            .await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket
    }

    /// Drains the daemon and checks everything it has written. At least `requests` lines are of requests.
    async fn end(mut self, what: &str, requests: usize) {
        for path in PAGES {
            let page = get(self.admin, path, &[]).await;
            let text = format!("{:?}\n{}", page.headers, page.body);
            check_absent(&format!("{path} of {what}"), &text);
        }
        if self.has_inspector {
            self.check_inspector(what, requests).await;
        }
        self.daemon.signal("-TERM");
        assert_eq!(self.daemon.exited().await, 0, "{}", self.daemon.log);
        let mut stdout = String::new();
        let mut pipe = self.daemon.child.stdout.take().unwrap();
        within("standard output", pipe.read_to_string(&mut stdout))
            .await
            .unwrap();
        let log = &self.daemon.log;
        let lines = log.lines().filter(|line| line.contains("total_ms"));
        // For people, the line of a request that has a line of its own elsewhere is left out.
        let count = if self.is_pretty { 0 } else { lines.count() };
        assert!(
            count >= requests || self.is_pretty,
            "{count} requests in\n{log}"
        );
        let batches = self.collector.batches();
        let spans: usize = batches.iter().map(|batch| batch.spans().len()).sum();
        assert!(spans >= count, "{spans} spans of {count} requests");
        for batch in batches {
            assert!(batch.head.contains(COLLECTOR_KEY), "{}", batch.head);
            let text = format!("{:?}", batch.decoded());
            check_absent(&format!("a batch of spans of {what}"), &text);
        }
        // Anything else that a process writes belongs into this list.
        let of_log = if self.has_messages {
            &AUTHENTICATION[..]
        } else {
            &CANARIES
        };
        check_absent_of(of_log, &format!("the log of {what}"), log);
        check_absent(&format!("the standard output of {what}"), &stdout);
    }
}

/// Contents of bodies, messages and queries, which no list shows.
const CONTENTS: [&str; 6] = [VARIABLE, TEXT, BY_GET, BODY, QUERY, MESSAGE];
/// What it never stores. Contents may quote the rest: an API that returns the headers it has received.
const NEVER: [&str; 4] = [SECRET, TOKEN, GUARD_TOKEN, COLLECTOR_KEY];

impl Run {
    /// Checks everything that the inspector shows of at least `requests` requests.
    async fn check_inspector(&self, what: &str, requests: usize) {
        // The key of the page: a token, if clients need one.
        let key = ("x-countersign-inspector", GUARD_TOKEN);
        let read = async |path: &str, absent: &[&str]| {
            let answer = get(self.admin, &format!("/inspect/{path}"), &[key]).await;
            assert_eq!(answer.status, 200, "{path} of {what}: {answer:?}");
            let text = format!("{:?}\n{}", answer.headers, answer.body);
            check_absent_of(absent, &format!("{path} of {what}"), &text);
            answer
        };
        read("api/state", &AUTHENTICATION).await;
        let list = read("api/entries?limit=1000", &AUTHENTICATION).await;
        check_absent_of(&CONTENTS, &format!("the list of {what}"), &list.body);
        let list = list.json();
        let entries = list["entries"].as_array().unwrap();
        assert!(entries.len() >= requests, "{} entries", entries.len());
        for entry in entries {
            let path = format!("api/entries/{}", entry["id"]);
            let hidden = read(&path, &AUTHENTICATION).await;
            check_hidden(&hidden.json(), &format!("{path} of {what}"));
            read(&format!("{path}?reveal=bodies"), &NEVER).await;
        }
        let har = read("api/har", &NEVER).await.json();
        assert_eq!(
            har["log"]["entries"].as_array().unwrap().len(),
            entries.len()
        );
    }
}

/// Checks that no contents of a body, message or query are in an answer. Headers are.
#[track_caller]
fn check_hidden(answer: &Value, what: &str) {
    match answer {
        Value::Object(members) => {
            for (name, value) in members {
                assert!(name != "text" && name != "base64", "{what}: {answer}");
                check_hidden(value, what);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_hidden(item, what)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A world with the canary key, and the format of its daemons' logs.
struct CanaryWorld {
    world: World,
    format: &'static str,
}

impl CanaryWorld {
    async fn new(format: &'static str) -> Self {
        let key = Key {
            access_key_id: KEY_ID.to_owned(),
            secret_access_key: SECRET.to_owned(),
            session_token: Some(TOKEN.to_owned()),
        };
        let world = World::builder().keys(vec![key]).start().await;
        std::fs::create_dir_all(world.path(".aws")).unwrap();
        Self { world, format }
    }

    async fn run(&self, more: &[&str], environment: &[(&str, &str)]) -> Run {
        let connect = self.world.emulator.addr();
        self.run_before(connect, more, environment).await
    }

    /// Starts a daemon with this configuration.
    async fn serve(&self, config: &str, environment: &[(&str, &str)]) -> Run {
        let config = self.world.home.file("countersign.toml", config);
        self.start(&["--config".to_owned(), config], environment)
            .await
    }

    async fn run_before(
        &self,
        connect: SocketAddr,
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> Run {
        let target = "https://$API/graphql";
        let arguments = self.world.arguments_to(target, connect, more);
        self.start(&arguments, environment).await
    }

    async fn start(&self, arguments: &[String], environment: &[(&str, &str)]) -> Run {
        let home = self.world.home.0.display().to_string();
        let variables = [&[("HOME", home.as_str())], environment].concat();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Run::start(self.format, &arguments, &variables).await
    }
}

fn environment(secret: &str) -> [(&'static str, &str); 3] {
    [
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_SESSION_TOKEN", TOKEN),
    ]
}

fn echo() -> String {
    let query =
        format!("query Echo($text: String!) {{ echo(text: $text) b: echo(text: {TEXT:?}) }}");
    json!({ "query": query, "variables": { "text": VARIABLE } }).to_string()
}

/// The format for people with its default settings.
const PRETTY_WITH_MESSAGES: &str = "pretty with messages";

const FORMATS: [&str; 3] = ["text", "json", "pretty"];

#[tokio::test]
async fn served_and_refused_requests_leak_no_secret() {
    for format in FORMATS {
        let canary = CanaryWorld::new(format).await;
        let run = canary.run(&[], &environment(SECRET)).await;
        let answer = run.post(&echo()).await;
        assert_eq!(answer.json()["data"]["echo"], VARIABLE, "{answer:?}");

        // By GET: a valid document, an invalid one, and text that is not a document.
        let by_get = BY_GET.replace(' ', "%20");
        let path = |query: &str| format!("/graphql?query={}", query.replace(' ', "%20"));
        let right = path(&format!("{{echo(text:%22{by_get}%22)}}"));
        assert_eq!(get(run.addr, &right, &[]).await.status, 200);
        for (status, path) in [
            (
                405,
                path(&format!(
                    "mutation{{createRoom(name:%22{by_get}%22){{id}}}}"
                )),
            ),
            (400, path(&format!("{{echo(text%20%22{by_get}%22)}}"))),
            (400, path(&format!("{{echo(text:%22{by_get})}}"))),
            (400, path(&format!("%22{by_get}%22"))),
            (
                400,
                format!("/graphql?query={{a}}&variables=%22{by_get}%22"),
            ),
            (400, format!("/graphql?query={{a}}&variables={{%22{by_get}")),
            (400, format!("/graphql?query={by_get}%FF")),
            (404, format!("/absent?query={by_get}")),
        ] {
            let answer = get(run.addr, &path, &[]).await;
            assert_eq!(answer.status, status, "{path}: {answer:?}");
            check_error(&path, &answer);
        }

        // Invalid bodies.
        let whole = echo();
        for body in [
            &whole[..whole.len() - 2],
            &format!("{{\"query\":{VARIABLE}}}"),
            &format!("{{\"query\":\"\\x{TEXT}\"}}"),
            &format!(
                "{{\"query\":\"subscription {{ onMessage(room: \\\"{TEXT}\\\") {{ id }} }}\"}}"
            ),
        ] {
            check_error(body, &run.post(body).await);
        }
        let headers = [("content-type", "text/plain")];
        let answer = post(run.addr, "/graphql", &headers, &whole).await;
        check_error("another type", &answer);
        let bearer = format!("Bearer {BEARER}");
        let headers = [
            JSON,
            ("origin", "https://evil.example"),
            ("authorization", &bearer),
        ];
        let answer = post(run.addr, "/graphql", &headers, &whole).await;
        assert_eq!(answer.status, 403);
        check_error("another origin", &answer);
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\ncookie: {COOKIE}\r\n\r\n"
        );
        check_error("two hosts", &raw(run.addr, request.as_bytes()).await);
        let garbage = format!("{TEXT}\r\n{VARIABLE}\r\n\r\n");
        check_absent("garbage", &raw(run.addr, garbage.as_bytes()).await.body);

        let mut socket = run.socket().await;
        let payload: Value = serde_json::from_str(&whole).unwrap();
        socket
            .send(json!({ "id": "q", "type": "subscribe", "payload": payload }))
            .await;
        assert_eq!(socket.next_of("q").await["type"], "next");
        let query = "subscription S($room: String) { onMessage(room: $room) { body } }";
        let payload = json!({ "query": query, "variables": { "room": "lobby", "x": VARIABLE } });
        socket
            .send(json!({ "id": "s", "type": "subscribe", "payload": payload }))
            .await;
        let subscribed = canary
            .world
            .emulator
            .wait_for(|stats| stats.realtime.subscriptions == 1);
        within("a subscription", subscribed).await;
        let query = format!(
            "mutation {{ postMessage(room: \"lobby\", body: {TEXT:?}) {{ id room body }} }}"
        );
        socket.subscribe("m", &query).await;
        let event = socket.next_of("s").await;
        assert_eq!(event["payload"]["data"]["onMessage"]["body"], TEXT);
        let query = format!("{{ echo(text {TEXT:?}) }}");
        socket.subscribe("e", &query).await;
        let error = socket.next_of("e").await;
        assert_eq!(error["type"], "error", "{error}");
        check_absent("an error frame", &error.to_string());

        // An invalid frame closes the socket, and the reason does not quote the frame.
        for text in [
            json!({ "id": "x", "type": TEXT }).to_string(),
            json!({ "id": "x", "type": "subscribe", "payload": { "query": [TEXT] } }).to_string(),
            json!({ "id": "x", "type": "subscribe", "payload": TEXT }).to_string(),
            json!(TEXT).to_string(),
            TEXT.to_owned(),
        ] {
            let mut other = run.socket().await;
            other.0.send(Message::text(text)).await.unwrap();
            let close = other.closed().await;
            check_absent("a close reason", &close.reason);
        }
        // A subscription is live during the drain.
        run.end("what succeeds", 20).await;
    }
}

#[tokio::test]
async fn rejections_by_upstream_leak_no_secret() {
    for format in FORMATS {
        let canary = CanaryWorld::new(format).await;
        // The key comes from a profile, because the SDK logs about profiles.
        let section = format!(
            "[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}wrong\n\
             aws_session_token = {TOKEN}\n"
        );
        canary.world.home.file(".aws/credentials", &section);
        let run = canary.run(&[], &[]).await;
        let answer = run.post(&echo()).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        check_error("a bad signature", &answer);
        let mut socket = run.socket().await;
        for query in [
            format!("{{ echo(text: {TEXT:?}) }}"),
            format!("mutation {{ createRoom(name: {TEXT:?}) {{ id }} }}"),
            format!("subscription {{ onMessage(room: {TEXT:?}) {{ id }} }}"),
        ] {
            socket.subscribe("x", &query).await;
            let frame = socket.next_of("x").await;
            assert_eq!(frame["type"], "error", "{frame}");
            check_absent("an error frame", &frame.to_string());
        }
        run.end("refusals", 4).await;
    }
}

#[tokio::test]
async fn an_unreachable_upstream_leaks_no_secret() {
    for format in FORMATS {
        let canary = CanaryWorld::new(format).await;
        let closed = ClosedPort::new();
        let environment = environment(SECRET);
        let run = canary.run_before(closed.addr, &[], &environment).await;
        let answer = run.post(&echo()).await;
        assert_eq!(answer.status, 502, "{answer:?}");
        check_error("no connection", &answer);
        let mut socket = run.socket().await;
        for query in [
            format!("{{ echo(text: {TEXT:?}) }}"),
            format!("subscription {{ onMessage(room: {TEXT:?}) {{ id }} }}"),
        ] {
            socket.subscribe("x", &query).await;
            let frame = socket.next_of("x").await;
            assert_eq!(frame["type"], "error", "{frame}");
            check_absent("an error frame", &frame.to_string());
        }
        run.end("no connection", 3).await;
    }
}

#[tokio::test]
async fn a_failing_credential_provider_leaks_no_secret() {
    let lines = format!("{KEY_ID} {SECRET} {TOKEN}");
    let json = format!(r#"{{"Version":1,"AccessKeyId":"{KEY_ID}","SecretAccessKey":"{SECRET}""#);
    for format in FORMATS {
        for (name, script) in [
            ("stderr", format!("echo '{lines}' >&2; exit 1")),
            (
                "both",
                format!("echo '{lines}' >&2; echo '{lines}'; exit 1"),
            ),
            ("garbage", format!("echo '{lines}'")),
            ("cut", format!("echo '{}'", &json[..json.len() - 1])),
            (
                "expiry",
                format!("echo '{json},\"Expiration\":\"{TOKEN}\"}}'"),
            ),
            ("version", format!("echo '{json},\"Version\":2}}'")),
        ] {
            let canary = CanaryWorld::new(format).await;
            let script = canary.world.home.file("process.sh", &script);
            let config = format!("[default]\ncredential_process = /bin/sh {script} {ARGUMENT}\n");
            canary.world.home.file(".aws/config", &config);
            let run = canary.run(&[], &[]).await;
            let answer = run.post(&echo()).await;
            assert_eq!(answer.status, 503, "{name}: {answer:?}");
            check_error(name, &answer);
            run.end(name, 1).await;
        }
    }
}

/// The error of STS quotes everything it received, including what was signed.
#[tokio::test]
async fn a_rejection_by_sts_leaks_no_secret() {
    for format in FORMATS {
        let canary = CanaryWorld::new(format).await;
        let sts = Endpoint::start(|_| {
            let canonical = format!("POST\n/\n\nx-amz-security-token:{TOKEN}\n\n");
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>\
                 <Message>The Canonical String should have been '{canonical}'</Message></Error>\
                 </ErrorResponse>"
            );
            (403, body)
        })
        .await;
        let url = sts.url();
        let mut variables = environment(SECRET).to_vec();
        variables.push(("AWS_ENDPOINT_URL_STS", &url));
        let role = "arn:aws:iam::123456789012:role/the-role";
        let run = canary.run(&["--assume-role", role], &variables).await;
        let answer = run.post(&echo()).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        check_error("a refusal of STS", &answer);
        run.end("a refusal of STS", 1).await;
    }
}

/// Both STS and the API quote everything that they received.
#[tokio::test]
async fn checks_show_no_secret() {
    let sts = Endpoint::start(|_| {
        let body = format!(
            "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>no match for {TOKEN}\n\
             x-amz-security-token:{TOKEN}</Message></Error></ErrorResponse>"
        );
        (403, body)
    })
    .await;
    let canary = CanaryWorld::new("text").await;
    let home = canary.world.home.0.display().to_string();
    let url = sts.url();
    let wrong = format!("{SECRET}wrong");
    let query = format!("{{ echo(text: {ARGUMENT:?}) }}");
    for (secret, code, step) in [
        (SECRET, 1, "✗ identity"),
        (&wrong, 1, "✗ request"),
        ("", 1, "✗ credentials"),
    ] {
        for form in ["--json", "--read-only"] {
            let arguments = ["check", form, "--query", &query].map(str::to_owned);
            let arguments = [&arguments[..], &canary.world.arguments(&[])].concat();
            let own = [
                ("HOME", home.as_str()),
                ("AWS_ENDPOINT_URL_STS", url.as_str()),
            ];
            let mut command = command(&arguments, &[&own, &environment(secret)[..]].concat());
            let output = within("the check", command.output()).await.unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            let (stdout, stderr) = (text(output.stdout), text(output.stderr));
            assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
            assert!(form == "--json" || stdout.contains(step), "{stdout}");
            let secrets = [KEY_ID, SECRET, TOKEN];
            check_absent_of(
                &secrets,
                "the output of a check",
                &format!("{stdout}{stderr}"),
            );
        }
    }
}

/// The SDK quoted the whole request when the endpoint was not a URL, and 35 characters of the token
/// were shown.
#[tokio::test]
async fn tokens_do_not_appear_when_an_endpoint_is_not_a_url() {
    const ROLE: &str = "arn:aws:iam::123456789012:role/r";
    let world = World::builder()
        .file("jwt", &format!("{TOKEN}.{SECRET}"))
        .file(
            ".aws/config",
            "[profile sso]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n\
             sso_account_id = 123456789012\nsso_role_name = Dev\n",
        )
        .file(
            // SHA-1 of the start URL.
            ".aws/sso/cache/e8be5486177c5b5392bd9aa76563515b29358e6e.json",
            &json!({
                "startUrl": "https://example.awsapps.com/start",
                "region": "eu-west-1",
                "accessToken": format!("{TOKEN}.{SECRET}"),
                "expiresAt": "2099-01-01T00:00:00Z",
            })
            .to_string(),
        )
        .start()
        .await;
    let token_file = world.path("jwt").display().to_string();
    for url in [
        "not a url",
        "sts.example.com",
        "http://",
        "http://[::1",
        "ftp://127.0.0.1",
        "",
    ] {
        for name in [
            "AWS_ENDPOINT_URL_STS",
            "AWS_ENDPOINT_URL_SSO",
            "AWS_ENDPOINT_URL",
        ] {
            let web = [
                (name, url),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token_file.as_str()),
                ("AWS_ROLE_ARN", ROLE),
                // A request that is sent is refused.
                ("https_proxy", "http://127.0.0.1:9"),
            ];
            for (arguments, environment) in
                [(&[][..], &web[..]), (&["--profile", "sso"], &web[..1])]
            {
                let arguments = [&["--log", FILTER], arguments].concat();
                let mut daemon = world.daemon(&arguments, environment);
                let addr = daemon.address().await;
                let body = "{\"query\":\"{ rooms { id } }\"}";
                let answer = post(addr, "/graphql", &[JSON], body).await;
                assert_eq!(answer.status, 503, "{name}={url:?}: {answer:?}");
                check_error(&format!("{name}={url:?}"), &answer);
                daemon.signal("-TERM");
                daemon.exited().await;
                check_absent(&format!("the log of {name}={url:?}"), &daemon.log);
                assert!(!daemon.log.contains("panicked"), "{}", daemon.log);
            }
        }
    }
}
