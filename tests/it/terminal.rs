//! The log on a terminal, for people: what a user of countersign sees.

use std::process::Stdio;

use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{JSON, Socket, World, demo_key, get, post, within};

const SUBSCRIPTION: &str = "subscription OnMessage { onMessage(room: \"lobby\") { room body } }";

/// The program on a pseudoterminal.
struct Terminal {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What has been read, as it was written.
    text: String,
}

impl Terminal {
    fn start(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run(
            world,
            "",
            &[&["--admin", "off"], arguments].concat(),
            environment,
        )
    }

    /// Starts the program after a command for the shell.
    fn run(world: &World, first: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut words = vec![env!("CARGO_BIN_EXE_countersign").to_owned()];
        let all = [&["--listen", "127.0.0.1:0"], arguments].concat();
        words.extend(world.arguments(&all));
        let words: Vec<_> = words
            .iter()
            .map(|word| shlex::try_quote(word).unwrap().into_owned())
            .collect();
        let mut child = Command::new("script")
            .args([
                "-qfec",
                &format!("{first}exec {}", words.join(" ")),
                "/dev/null",
            ])
            .env_clear()
            .envs(demo_key())
            .env("PATH", "/usr/bin:/bin")
            .env("SHELL", "/bin/sh")
            .env("HOME", world.path(""))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            text: String::new(),
        }
    }

    /// Reads up to a line that contains `text`, and returns it without its time.
    async fn line(&mut self, text: &str) -> String {
        loop {
            let line = self.next().await;
            let line = line.unwrap_or_else(|| panic!("no {text:?}:\n{}", self.text));
            if line.contains(text) {
                return line.get(10..).unwrap_or_default().to_owned();
            }
        }
    }

    async fn next(&mut self) -> Option<String> {
        let line = within("a line", self.lines.next_line()).await.unwrap()?;
        let line = line.trim_end_matches('\r');
        self.text.push_str(line);
        self.text.push('\n');
        Some(line.to_owned())
    }

    async fn address(&mut self) -> std::net::SocketAddr {
        self.line("http://127.").await;
        let line = self.text.lines().last().unwrap();
        let (_, address) = line.split_once("http://").unwrap();
        let end = address.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')));
        address[..end.unwrap_or(address.len())].parse().unwrap()
    }

    async fn press(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).await.unwrap();
    }

    /// Reads the rest.
    async fn ended(&mut self) -> i32 {
        while self.next().await.is_some() {}
        let status = within("the end", self.child.wait()).await.unwrap();
        status.code().unwrap_or(-1)
    }
}

/// Checks that a line is `start`, a duration, and `end`.
#[track_caller]
fn check(line: &str, start: &str, end: &str) {
    let rest = line
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(end));
    let (number, unit) = rest
        .and_then(|took| took.split_once(' '))
        .unwrap_or_else(|| panic!("expected {start}TIME{end}: {line:?}"));
    assert!(
        number.parse::<f64>().is_ok() && ["ms", "s"].contains(&unit),
        "{line}"
    );
}

#[tokio::test]
async fn each_operation_is_one_line_and_errors_are_visible() {
    let world = World::new().await;
    let mut terminal = Terminal::start(&world, &[], &[("NO_COLOR", "1")]);
    let addr = terminal.address().await;
    let query = async |text: &str| {
        let body = json!({ "query": text }).to_string();
        post(addr, "/graphql", &[JSON], &body).await.status
    };

    assert_eq!(query("query ListRooms { rooms { id } }").await, 200);
    let line = terminal.line("query").await;
    check(&line, "query ListRooms  200  ", "");

    assert_eq!(query("{ romms { id } }").await, 200);
    let line = terminal.line("query").await;
    check(&line, "query  200, 1 error  ", "");
    let message = terminal.next().await.unwrap();
    assert!(
        message.starts_with("          ") && message.contains("romms"),
        "{message}"
    );

    let mut socket = Socket::open(addr, &[]).await;
    socket.init().await;
    assert_eq!(terminal.line("WebSocket").await, "WebSocket graphql opened");
    socket.subscribe("s", SUBSCRIPTION).await;
    assert_eq!(
        terminal.line("subscription").await,
        "subscription OnMessage started"
    );
    let mutation = "mutation Post { postMessage(room: \"lobby\", body: \"hi\") { room body } }";
    assert_eq!(query(mutation).await, 200);
    assert_eq!(socket.next_of("s").await["type"], "next");
    check(&terminal.line("mutation").await, "mutation Post  200  ", "");
    socket.send(json!({ "id": "s", "type": "complete" })).await;
    let line = terminal.line("subscription").await;
    check(
        &line,
        "subscription OnMessage  1 event, ",
        ", ended by the client",
    );

    let refused = get(addr, "/nowhere", &[]).await;
    assert_eq!(refused.status, 404);
    check(&terminal.line("404").await, "GET  404 NO_ROUTE  ", "");
    let why = terminal.next().await.unwrap();
    assert!(why.starts_with("          no route matches"), "{why}");

    terminal.press("\u{3}").await;
    assert_eq!(terminal.ended().await, 0, "{}", terminal.text);
    assert!(!terminal.text.contains('\u{1b}'), "{}", terminal.text);
    assert!(!terminal.text.contains("request_id"), "{}", terminal.text);
}

/// Replaces what differs between runs: times, durations and addresses.
fn steady(line: &str, replacements: &[(String, &str)]) -> String {
    let replace = |line: String, (from, to): &(String, &str)| line.replace(from, to);
    let line = replacements.iter().fold(line.to_owned(), replace);
    let is_time =
        |word: &str| word.len() == 8 && word.replace(|c: char| c.is_ascii_digit(), "") == "::";
    let mut words: Vec<&str> = line.split(' ').collect();
    for at in 0..words.len() {
        let word = words[at].trim_start_matches("^C");
        if is_time(word) {
            words[at] = "TIME";
        }
        let unit = words.get(at + 1).map(|unit| unit.trim_end_matches(','));
        if word.parse::<f64>().is_ok() && matches!(unit, Some("ms" | "s")) {
            words[at] = "NUMBER";
            words[at + 1] = "UNIT";
        }
    }
    words.join(" ")
}

#[tokio::test]
async fn a_session_in_80_columns_is_as_its_page_shows() {
    const PAGE: &str = include_str!("../../docs/reference/logs.md");
    let world = World::new().await;
    let arguments = ["--inspect", "--admin", "127.0.0.1:0"];
    let plain = [("NO_COLOR", "1")];
    let mut terminal = Terminal::run(&world, "stty rows 24 columns 80; ", &arguments, &plain);
    let addr = terminal.address().await;
    terminal.line("inspector ").await;
    let inspector = terminal.text.lines().last().unwrap();
    let (_, admin) = inspector.split_once("http://").unwrap();
    let admin = admin.strip_suffix("/inspect/").unwrap().to_owned();
    let query = async |text: &str, headers: &[(&str, &str)]| {
        let body = json!({ "query": text }).to_string();
        let headers = [&[JSON], headers].concat();
        post(addr, "/graphql", &headers, &body).await.status
    };
    const LIST: &str = "query ListRooms { rooms { id } }";
    const POST: &str =
        "mutation Post { postMessage(room: \"lobby\", body: \"hello\") { room body } }";

    terminal.line("credentials loaded").await;
    assert_eq!(query(LIST, &[]).await, 200);
    terminal.line("query ListRooms").await;
    assert_eq!(query("{ romms { id } }", &[]).await, 200);
    terminal.line("1 error").await;
    assert_eq!(query(LIST, &[("origin", "https://app.example")]).await, 403);
    terminal.line("could then act").await;
    let mut socket = Socket::open(addr, &[]).await;
    socket.init().await;
    terminal.line("WebSocket").await;
    socket.subscribe("first", SUBSCRIPTION).await;
    terminal.line("subscription").await;
    assert_eq!(query(POST, &[]).await, 200);
    assert_eq!(socket.next_of("first").await["type"], "next");
    terminal.line("mutation").await;
    socket
        .send(json!({ "id": "first", "type": "complete" }))
        .await;
    terminal.line("ended by the client").await;
    world.switch(
        json!({ "policy": json!({ "Version": "2012-10-17", "Statement": [] }).to_string() }),
    );
    assert_eq!(query(LIST, &[]).await, 401);
    terminal.line("countersign policy").await;
    world.switch(json!({ "policy": "" }));
    socket.subscribe("second", SUBSCRIPTION).await;
    terminal.line("subscription").await;
    terminal.press("\u{3}").await;
    assert_eq!(terminal.ended().await, 0, "{}", terminal.text);

    let shown = PAGE.split("```text\n$ countersign").nth(1).unwrap();
    let (_, shown) = shown.split_once('\n').unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let replacements = [
        (addr.to_string(), "127.0.0.1:4100"),
        (admin, "127.0.0.1:4101"),
        (
            world.expand("$API"),
            "ID.appsync-api.us-east-1.amazonaws.com",
        ),
    ];
    let steady = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| steady(line, &replacements))
            .collect()
    };
    assert_eq!(steady(&terminal.text), steady(shown), "{}", terminal.text);
}

#[tokio::test]
async fn the_time_is_local() {
    let world = World::new().await;
    let mut terminal = Terminal::start(&world, &[], &[("NO_COLOR", "1"), ("TZ", "XXX-5:30")]);
    let addr = terminal.address().await;
    get(addr, "/nowhere", &[]).await;
    terminal.line("404").await;
    let line = terminal
        .text
        .lines()
        .find(|line| line.contains("404"))
        .unwrap();
    let (time, _) = line.split_once("  ").unwrap();
    let parts: Vec<i64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    let shown = parts[0] * 3_600 + parts[1] * 60 + parts[2];
    let now = OffsetDateTime::now_utc().unix_timestamp() + 19_800;
    let behind = (now - shown).rem_euclid(86_400);
    assert!(behind < 120, "{line}");
}

#[tokio::test]
async fn colours_follow_the_option_and_the_environment() {
    let world = World::new().await;
    for (arguments, environment, is_colored) in [
        (&[][..], ("TERM", "xterm"), true),
        (&[], ("TERM", "dumb"), false),
        (&[], ("NO_COLOR", "1"), false),
        (&["--color", "always"], ("NO_COLOR", "1"), true),
        (&["--color", "never"], ("TERM", "xterm"), false),
        (&["--log-format", "text"], ("TERM", "xterm"), false),
    ] {
        let mut terminal = Terminal::start(&world, arguments, &[environment]);
        let addr = terminal.address().await;
        get(addr, "/nowhere", &[]).await;
        terminal.line("404").await;
        let text = &terminal.text;
        assert_eq!(
            text.contains("\u{1b}["),
            is_colored,
            "{arguments:?} {environment:?}: {text}"
        );
    }
}

#[tokio::test]
async fn messages_of_graphql_errors_are_logged_for_machines_only_if_they_are_asked_for() {
    let world = World::new().await;
    let body = json!({ "query": "{ romms { id } }" }).to_string();
    for (setting, is_logged) in [("auto", false), ("always", true), ("never", false)] {
        let variables = [("COUNTERSIGN_LOG__GRAPHQL_ERRORS", setting)];
        let variables = [&demo_key()[..], &variables].concat();
        let mut daemon = world.daemon(&[], &variables);
        let addr = daemon.address().await;
        assert_eq!(post(addr, "/graphql", &[JSON], &body).await.status, 200);
        let line = daemon.line("total_ms").await;
        assert_eq!(
            line.contains(" graphql_errors=1 graphql_error=\""),
            is_logged,
            "{line}"
        );
        assert_eq!(line.contains("romms"), is_logged, "{line}");
    }
}

#[tokio::test]
async fn the_banner_says_what_is_served_where_and_how_to_stop_it() {
    let world = World::new().await;
    let scratch = world.home.file("token", &"t".repeat(40));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&scratch, mode).unwrap();
    let host = world.expand("$API");
    for (arguments, access) in [
        (vec![], vec!["programs on this machine"]),
        (
            vec!["--allow-origin", "http://localhost:3000", "--read-only"],
            vec![
                "programs on this machine",
                "web pages of http://localhost:3000",
            ],
        ),
        (
            vec!["--token-file", &scratch],
            vec!["programs on this machine, with a token"],
        ),
    ] {
        let mut terminal = Terminal::start(&world, &arguments, &[]);
        let addr = terminal.address().await;
        while terminal.next().await.unwrap() != "" {}
        while terminal.next().await.unwrap() != "" {}
        let read_only = if access.len() > 1 { ", read-only" } else { "" };
        let expected = format!(
            "countersign {} (Ctrl-C stops it)\n\n  http://{addr}/graphql\n\
             \x20   ->           https://{host}/graphql\n\
             \x20   signed for   AppSync GraphQL, region us-east-1, service appsync{read_only}\n\
             \x20   credentials  default chain\n\n",
            env!("CARGO_PKG_VERSION")
        );
        let access: String = access
            .iter()
            .map(|access| format!("    access       {access}\n"))
            .collect();
        assert_eq!(terminal.text, format!("{expected}{access}\n"));
        assert!(!terminal.text.contains("listening on"), "{}", terminal.text);
    }
}

#[tokio::test]
async fn interrupting_with_open_streams_does_not_warn_and_a_second_interrupt_ends_at_once() {
    let world = World::new().await;
    let mut terminal = Terminal::start(&world, &[], &[("COUNTERSIGN_DRAIN__DELAY", "1h")]);
    let addr = terminal.address().await;
    let mut socket = Socket::open(addr, &[]).await;
    socket.init().await;
    socket.subscribe("s", SUBSCRIPTION).await;
    terminal.line("subscription OnMessage started").await;
    terminal.press("\u{3}").await;
    terminal
        .line("stopping; serving requests for drain.delay")
        .await;
    assert!(!terminal.text.contains("warning"), "{}", terminal.text);
    terminal.press("\u{3}").await;
    assert_eq!(terminal.ended().await, 0, "{}", terminal.text);
    let ended = ", ended by the shutdown";
    assert!(terminal.text.contains(ended), "{}", terminal.text);
}
