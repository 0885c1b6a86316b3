//! `countersign demo`, as a newcomer meets it: what it prints, and its commands as pasted.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{JSON, Scratch, World, get, post, within};

const README: &str = include_str!("../../README.md");
/// The listeners of the demo in the README: of countersign, its admin listener, the emulator and its
/// control listener.
const ADDRESSES: [&str; 4] = [
    "127.0.0.1:4100",
    "127.0.0.1:4101",
    "127.0.0.1:33207",
    "127.0.0.1:44861",
];

/// A running demo, with its output and its log in one stream, as on a terminal.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The lines of the log before the banner.
    log: Vec<String>,
    banner: String,
}

impl Demo {
    async fn start(admin: &str) -> Self {
        Self::with(admin, &[]).await
    }

    /// Starts a demo with more arguments.
    async fn with(admin: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
            .arg(env!("CARGO_BIN_EXE_countersign"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env_clear()
            .envs((!admin.is_empty()).then_some(("COUNTERSIGN_ADMIN", admin)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut demo = Self {
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            log: Vec::new(),
            banner: String::new(),
        };
        let mut line = demo.line().await;
        while !line.starts_with("countersign demo: ") {
            demo.log.push(line);
            line = demo.line().await;
        }
        while !line.starts_with("  faults ") {
            demo.banner.push_str(&line);
            demo.banner.push('\n');
            line = demo.line().await;
        }
        demo.banner.push_str(&line);
        assert_eq!(demo.line().await, "");
        demo
    }

    async fn line(&mut self) -> String {
        let line = within("a line of the demo", self.lines.next_line()).await;
        line.unwrap().expect("the demo is running")
    }

    /// Returns the address in the line of the banner that begins with `name`.
    fn address(&self, name: &str) -> SocketAddr {
        let mut lines = self.banner.lines();
        let line = lines.find(|line| line.starts_with(&format!("  {name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name}: {}", self.banner));
        let (_, url) = line.split_once("://").unwrap();
        let end = url.find('/').unwrap();
        url[..end].parse().unwrap()
    }

    /// Resolves when the emulator has started a subscription.
    async fn started(&self) {
        let control = self.address("faults");
        let started = async {
            let state = async || get(control, "/state", &[]).await.json();
            while state().await["requests"]["subscriptions_started"] != 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the subscription", started).await;
    }

    /// Returns the commands of the banner.
    fn commands(&self) -> Vec<&str> {
        let paragraphs = self.banner.split("\n\n");
        paragraphs
            .filter(|paragraph| paragraph.starts_with("curl "))
            .collect()
    }
}

/// Returns a command that runs `text` as it is pasted into a shell.
fn pasted(text: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-c", text])
        .env("no_proxy", "*")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn output(text: &str) -> String {
    let output = within(text, pasted(text).output()).await.unwrap();
    assert!(output.status.success(), "{text}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_banner_comes_first_fits_80_columns_and_is_in_the_readme() {
    let demo = Demo::start("127.0.0.1:0").await;
    assert!(demo.log.is_empty(), "{:?}", demo.log);
    let long: Vec<&str> = demo
        .banner
        .lines()
        .filter(|line| line.chars().count() > 80)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
    let mut expected = demo.banner.clone();
    let names = ["WebSocket", "health", "emulator", "faults"];
    for (name, address) in names.iter().zip(ADDRESSES) {
        expected = expected.replace(&demo.address(name).to_string(), address);
    }
    assert!(
        README.contains(&format!("```text\n{expected}\n```")),
        "the README shows another banner than\n{expected}"
    );
}

/// 1 KB of fragments, each with two spreads of the next, makes 2^30 selections.
#[tokio::test]
async fn doubling_fragments_are_rejected_at_once() {
    let world = World::builder().in_process().await;
    for root in ["Query", "Mutation", "Subscription"] {
        let double = |n: usize| format!("fragment F{n} on {root} {{ ...F{0} ...F{0} }} ", n + 1);
        let fragments: String = (0..30).map(double).collect();
        let fragments = format!("{fragments}fragment F30 on {root} {{ __typename }}");
        let query = format!("{} {{ ...F0 }} {fragments}", root.to_lowercase());
        let message = "Validation error of type InvalidSyntax: Query is too complex.";
        let begun = std::time::Instant::now();
        if root != "Subscription" {
            let answer = world.query(&query).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json()["errors"][0]["message"], message, "{answer:?}");
        }
        let mut socket = world.acked().await;
        socket.subscribe("s", &query).await;
        let answer = socket.next_of("s").await;
        let text = answer["payload"].to_string();
        assert!(text.contains("Query is too complex."), "{answer}");
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
    let rooms = world
        .query("{ ...A } fragment A on Query { rooms { id } }")
        .await;
    assert_eq!(rooms.json()["data"]["rooms"][0]["id"], "lobby", "{rooms:?}");
    world.drained().await;
}

/// Two demos on one machine, each with the default admin address.
#[tokio::test]
async fn the_commands_of_a_second_demo_work_as_pasted() {
    let first = Demo::start("").await;
    let mut demo = Demo::start("").await;
    assert!(demo.log.len() <= 1, "{:?}", demo.log);
    for name in ["WebSocket", "health", "emulator", "faults"] {
        assert_ne!(first.address(name), demo.address(name), "{name}");
    }
    let ready = get(demo.address("health"), "/readyz", &[]).await;
    assert_eq!(ready.status, 200, "{ready:?}");

    let commands = demo.commands();
    let [subscription, mutation, query] = commands[..] else {
        panic!("{commands:?}");
    };
    let mut subscriber = pasted(subscription).spawn().unwrap();
    let mut events = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    demo.started().await;
    let posted = output(mutation).await;
    let expected = r#"{"data":{"postMessage":{"room":"lobby","body":"hello"}}}"#;
    assert_eq!(posted, format!("{expected}\n"));
    let received = async {
        let expected = r#"data: {"data":{"onMessage":{"room":"lobby","body":"hello"}}}"#;
        while events.next_line().await.unwrap().as_deref() != Some(expected) {}
    };
    within("the event", received).await;
    let rooms = output(query).await;
    let expected =
        r#"{"data":{"rooms":[{"id":"lobby","name":"Lobby"},{"id":"garden","name":"Garden"}]}}"#;
    assert_eq!(rooms, format!("{expected}\n"));
    assert!(README.contains(expected), "the README shows other rooms");

    let pid = demo.child.id().unwrap().to_string();
    assert_eq!(output(&format!("kill -INT {pid}")).await, "");
    let status = within("the demo's end", demo.child.wait()).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn the_commands_of_a_demo_with_a_token_work_as_pasted() {
    let scratch = Scratch::new("demo");
    let token = "t".repeat(40);
    let file = scratch.file("a token", &format!("# for the demo\n{token}\n"));
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    let demo = Demo::with("off", &["--token-file", &file]).await;
    assert!(!demo.banner.contains(&token), "{}", demo.banner);
    let address = demo.address("WebSocket");
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    assert_eq!(post(address, "/graphql", &[JSON], &body).await.status, 401);
    let commands = demo.commands();
    let mut subscriber = pasted(commands[0]).spawn().unwrap();
    demo.started().await;
    let mut events = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    let posted = output(commands[1]).await;
    assert!(posted.contains(r#""body":"hello""#), "{posted}");
    let received = async { while !events.next_line().await.unwrap().unwrap().contains("hello") {} };
    within("the event", received).await;
    let rooms = output(commands[2]).await;
    assert!(rooms.contains(r#""id":"lobby""#), "{rooms}");
}

/// A subscription that filters gets nothing if the mutation does not select the fields of its arguments.
#[tokio::test]
async fn the_log_explains_why_a_subscription_is_silent() {
    let mut demo = Demo::start("off").await;
    let address = demo.address("WebSocket");
    let subscription = demo.commands()[0].to_owned();
    let mut subscriber = pasted(&subscription).spawn().unwrap();
    demo.started().await;
    let mut events = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    for body in ["first", "second"] {
        let query =
            format!("mutation {{ postMessage(room: \"lobby\", body: \"{body}\") {{ id body }} }}");
        let body = json!({ "query": query }).to_string();
        assert_eq!(post(address, "/graphql", &[JSON], &body).await.status, 200);
    }
    let mutation = demo.commands()[1].to_owned();
    output(&mutation).await;
    let received = async {
        loop {
            let line = events.next_line().await.unwrap().unwrap();
            if line.starts_with("data: ") {
                return line;
            }
        }
    };
    // The first event is that of the mutation that selects the field.
    let received = within("the event", received).await;
    assert!(received.contains("hello"), "{received}");

    let pid = demo.child.id().unwrap().to_string();
    output(&format!("kill -INT {pid}")).await;
    let mut log = Vec::new();
    while let Some(line) = within("the log", demo.lines.next_line()).await.unwrap() {
        log.push(line);
    }
    for (message, names) in [
        (
            " INFO subscription may get no event: the mutation does not select the fields by which the subscription filters",
            r#" route="graphql" subscription="onMessage" mutation="postMessage" fields="room""#,
        ),
        (
            " WARN event not sent: the mutation does not select the fields by which the subscription filters, ",
            r#" mutation="postMessage" subscription="onMessage" fields="room""#,
        ),
    ] {
        let mut found = log.iter().filter(|line| line.contains(message));
        let line = found
            .next()
            .unwrap_or_else(|| panic!("{message}: {log:#?}"));
        assert!(line.ends_with(names), "{line}");
        assert_eq!(found.next(), None, "once");
    }
}
