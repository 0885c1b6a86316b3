//! `countersign policy` from documents and from recordings, and the proof that the policy
//! is sufficient and minimal, by an emulator that allows nothing else.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use countersign_emulator::{ACCOUNT, DEMO_SESSION_TOKEN, Emulator};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::explain::run;
use crate::support::{
    Daemon, JSON, Scratch, Socket, World, command, demo_key, get, post, raw, within,
};

/// The result of the command.
struct Ended {
    code: i32,
    output: String,
    notes: String,
}

async fn policy(arguments: &[&str], input: &str) -> Ended {
    let mut command = command(&[&["policy"], arguments].concat(), &[]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that does not read standard input may have exited.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = within("the command", child.wait_with_output())
        .await
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        output: String::from_utf8(output.stdout).unwrap(),
        notes: String::from_utf8(output.stderr).unwrap(),
    }
}

// === documents ===

/// The fix that `explain` prints for a denied field is a command line that prints the policy for it.
#[tokio::test]
async fn the_command_that_explains_a_denied_field_prints_its_policy() {
    let user = "User: arn:aws:sts::111122223333:assumed-role/r/s is not authorized to perform: appsync:GraphQL \
                on resource: arn:aws:appsync:eu-central-1:111122223333:apis/abc/types/Subscription/fields/onMessage";
    let any = "arn:aws:appsync:*:*:apis/*/types/Query/fields/rooms";
    for (answer, resource) in [
        (user, user.split_once("resource: ").unwrap().1),
        ("Not Authorized to access rooms on type Query", any),
    ] {
        let mut explain = command(&["explain", "--json"], &[]);
        let explained = run(&mut explain, answer).await;
        let explained: Value = serde_json::from_slice(&explained.stdout).unwrap();
        let fix = explained["fix"].as_str().unwrap();
        let mut lines = fix.lines().map(str::trim);
        let printed = lines.find(|line| line.contains("| countersign policy "));
        let binary = Path::new(env!("CARGO_BIN_EXE_countersign"));
        let directory = binary.parent().unwrap().display();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", printed.unwrap()])
            .env("PATH", format!("{directory}:/usr/bin:/bin"));
        let output = run(&mut shell, "").await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed:?}: {errors}");
        let policy: Value = serde_json::from_slice(&output.stdout).unwrap();
        let statement = json!({
            "Effect": "Allow", "Action": "appsync:GraphQL", "Resource": [resource],
        });
        assert_eq!(policy["Statement"], json!([statement]), "{printed:?}");
    }
}

#[tokio::test]
async fn a_policy_is_derived_from_documents() {
    let scratch = Scratch::new("policy-documents");
    std::fs::create_dir(scratch.0.join("src")).unwrap();
    scratch.file(
        "src/rooms.graphql",
        "query Rooms { all: rooms { id messages { id } } ...One }\n\
         mutation Post($body: String!) { postMessage(room: \"lobby\", body: $body) { id } }\n",
    );
    scratch.file(
        "src/shared.gql",
        "fragment One on Query { ... { room(id: \"lobby\") { id } } }\n\
         subscription { onMessage { id } }\n",
    );
    scratch.file("src/schema.json", "this is not a document");
    let directory = scratch.0.join("src").display().to_string();
    let named = [
        "--account",
        "123456789012",
        "--api-id",
        "abc",
        "--region",
        "eu-central-1",
    ];
    let ended = policy(
        &[&[directory.as_str(), "-"], &named[..]].concat(),
        "{ echo(text: \"x\") }",
    )
    .await;
    let expected = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "appsync:GraphQL",
      "Resource": [
        "arn:aws:appsync:eu-central-1:123456789012:apis/abc/types/Mutation/fields/postMessage",
        "arn:aws:appsync:eu-central-1:123456789012:apis/abc/types/Query/fields/echo",
        "arn:aws:appsync:eu-central-1:123456789012:apis/abc/types/Query/fields/room",
        "arn:aws:appsync:eu-central-1:123456789012:apis/abc/types/Query/fields/rooms",
        "arn:aws:appsync:eu-central-1:123456789012:apis/abc/types/Subscription/fields/onMessage"
      ]
    }
  ]
}
"#;
    assert_eq!((ended.code, ended.notes.as_str()), (0, ""));
    assert_eq!(ended.output, expected);
}

#[tokio::test]
async fn unknown_ids_become_wildcards_with_a_warning() {
    let url = "https://x.appsync-api.cn-north-1.amazonaws.com.cn/graphql";
    let ended = policy(&[url, "-"], "{ a __schema { types { name } } }").await;
    assert_eq!(ended.code, 0, "{}", ended.notes);
    let printed: Value = serde_json::from_str(&ended.output).unwrap();
    let resources = &printed["Statement"][0]["Resource"];
    let base = "arn:aws-cn:appsync:cn-north-1:*:apis/*/types/Query/fields";
    assert_eq!(
        *resources,
        json!([format!("{base}/__schema"), format!("{base}/a")])
    );
    let ended_without_url = policy(&["-"], "{ a }").await;
    let arn = "\"arn:aws:appsync:*:*:apis/*/types/Query/fields/a\"";
    assert!(
        ended_without_url.output.contains(arn),
        "{}",
        ended_without_url.output
    );
    for (notes, told) in [
        (&ended.notes, "for any account: narrow it with --account ID"),
        (
            &ended.notes,
            "route graphql: the policy is for any API: narrow it with --api-id ID",
        ),
        (&ended.notes, "does not document what introspection"),
        (
            &ended_without_url.notes,
            "the documents: the policy is for any region: narrow it with --region",
        ),
    ] {
        assert!(notes.contains(told), "{told}: {notes}");
    }
}

#[tokio::test]
async fn a_policy_too_large_for_iam_is_reported() {
    for (count, is_large) in [(80, false), (120, true)] {
        let fields: Vec<String> = (0..count).map(|at| format!("field{at}")).collect();
        let ended = policy(&["-"], &format!("{{ {} }}", fields.join(" "))).await;
        assert_eq!(ended.code, 0);
        // No value contains white space.
        let size = ended.output.split_whitespace().collect::<String>().len();
        assert_eq!(size > 6_144, is_large, "{size}");
        let told = format!("the policy has {size} characters, and IAM accepts 6144");
        assert_eq!(ended.notes.contains(&told), is_large, "{}", ended.notes);
    }
}

#[tokio::test]
async fn every_mistake_is_reported_and_no_policy_is_printed() {
    let scratch = Scratch::new("policy-mistakes");
    let first = scratch.file("first.graphql", "query A {\n  a(\n}\n");
    let second = scratch.file("second.graphql", "{ ok }\n\n  query B { ...Nowhere }\n");
    let config = scratch.file(
        "countersign.toml",
        "[route.one]\ntarget = \"https://a.appsync-api.us-east-1.amazonaws.com/graphql\"\n\
         [route.two]\npath = \"/two\"\ntarget = \"https://b.appsync-api.us-east-1.amazonaws.com/graphql\"\n\
         [route.rest]\ntarget = \"https://c.execute-api.us-east-1.amazonaws.com/prod\"\n",
    );
    let documents = format!(
        "countersign: {first}:3:1: expected an Argument\n\
         countersign: {first}:3:1: expected \")\"\n\
         countersign: {second}:3:3: no file defines the fragment Nowhere\n"
    );
    let gateway = "https://c.execute-api.us-east-1.amazonaws.com/prod";
    let cases: [(&[&str], &str); 8] = [
        (&[&first, &second], &documents),
        (
            &[],
            "countersign: there is nothing to allow yet: pass GraphQL documents, as in: countersign policy query.graphql. Or a recording: --recorded FILE\n",
        ),
        (
            &["/nowhere.graphql"],
            "/nowhere.graphql does not exist: correct the path",
        ),
        (
            &["--config", &config, "-"],
            "--route: is needed: documents can be for one, two",
        ),
        (
            &["--config", &config, "--route", "rest", "-"],
            "--route: must be a route of AppSync GraphQL: one, two",
        ),
        (
            &[gateway, "-"],
            "GraphQL documents need a route to AppSync GraphQL",
        ),
        (&["--account", "1", "-"], "an account has 12 digits"),
        (
            &["--api-id", "two=x", "-"],
            "--api-id: no route is named two",
        ),
    ];
    for (arguments, told) in cases {
        let ended = policy(arguments, "{ a }").await;
        assert_eq!(
            (ended.code, ended.output.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(ended.notes.contains(told), "{arguments:?}: {}", ended.notes);
    }
    let ended = policy(&["--config", &config, "--route", "two", "-"], "{ a }").await;
    assert_eq!(ended.code, 0, "{}", ended.notes);
}

// === recordings, and the proof ===

/// A daemon with routes of every kind, and the emulator behind it.
struct RecordingWorld {
    world: World,
    config: String,
    record: String,
}

impl RecordingWorld {
    async fn new() -> Self {
        let world = World::new().await;
        let record = world.path("asked.json").display().to_string();
        let search = "https://domain.us-east-1.es.amazonaws.com";
        let config = [
            format!("pool.linger = \"1ms\"\niam.record = \"{record}\"\n"),
            "log.filter = \"info,countersign::iam=debug\"\n".to_owned(),
            world.route("graphql", "https://$API/graphql", ""),
            world.route("event", "https://$API/event", ""),
            world.route("rest", "https://$REST/prod", ""),
            world.route("http", "https://$HTTP/", ""),
            world.route("ws", "https://$WS/prod", ""),
            world.route("search", search, ""),
        ];
        Self {
            config: world.home.file("countersign.toml", &config.concat()),
            world,
            record,
        }
    }

    async fn daemon(&self) -> (Daemon, SocketAddr) {
        let arguments = ["--listen", "127.0.0.1:0", "--config", &self.config];
        let mut daemon = Daemon::start(&arguments, &demo_key());
        let addr = daemon.address().await;
        (daemon, addr)
    }

    /// Runs `countersign policy` on the recording, with the emulator's account and ids.
    async fn policy(&self) -> Ended {
        let id = self.world.emulator.api_id();
        let (graphql, event) = (format!("graphql={id}"), format!("event={id}"));
        let named = [
            "--account",
            ACCOUNT,
            "--api-id",
            &graphql,
            "--api-id",
            &event,
        ];
        policy(
            &[&["--recorded", self.record.as_str()], &named[..]].concat(),
            "",
        )
        .await
    }

    fn allow(&self, policy: &str) {
        self.world.switch(json!({ "policy": policy }));
    }

    fn appsync(&self, resource: &str) -> String {
        let id = self.world.emulator.api_id();
        format!("arn:aws:appsync:us-east-1:{ACCOUNT}:apis/{id}{resource}")
    }

    fn field(&self, field: &str) -> String {
        let (root, field) = field.split_once('.').unwrap();
        self.appsync(&format!("/types/{root}/fields/{field}"))
    }

    fn gateway(&self, host: &str, resource: &str) -> String {
        let (id, _) = host.split_once('.').unwrap();
        format!("arn:aws:execute-api:us-east-1:{ACCOUNT}:{id}/{resource}")
    }

    /// Returns the steps that clients take, each with the resources that it needs.
    fn steps(&self) -> Vec<(Step, Vec<String>)> {
        let field = |name| self.field(name);
        let of = |step: Step| match step {
            Step::Query => vec![field("Query.rooms"), field("Query.large")],
            Step::Get => vec![field("Query.room")],
            Step::Batch => vec![field("Query.echo")],
            Step::BatchedMutation => vec![field("Mutation.createRoom")],
            Step::Fragments => vec![field("Query.messages"), field("Query.headers")],
            Step::Introspection => vec![field("Query.__schema"), field("Query.__typename")],
            Step::Socket => vec![
                field("Mutation.postMessage"),
                field("Subscription.onMessage"),
            ],
            Step::Stream => vec![field("Subscription.onHeaders")],
            Step::Publish => vec![self.appsync("/channelNamespace/default")],
            Step::PublishBare => vec![self.appsync("/channelNamespace/inbox")],
            Step::Listen => vec![self.appsync(""), self.appsync("/channelNamespace/default")],
            Step::EventsSocket => vec![self.appsync(""), self.appsync("/channelNamespace/inbox")],
            Step::Rest => vec![self.gateway(self.world.emulator.rest_host(), "prod/GET/items/7")],
            Step::Star => vec![self.gateway(self.world.emulator.rest_host(), "prod/GET/star/${*}")],
            Step::Escaped => {
                vec![self.gateway(self.world.emulator.rest_host(), "prod/PUT/files/*")]
            }
            Step::RestPost => {
                vec![self.gateway(self.world.emulator.rest_host(), "prod/POST/items")]
            }
            Step::ManyUsers => {
                vec![self.gateway(self.world.emulator.rest_host(), "prod/GET/users/*")]
            }
            Step::Http => {
                vec![self.gateway(self.world.emulator.http_host(), "$default/GET/pets/1")]
            }
            Step::Tunnel => {
                let host = self.world.emulator.websocket_host();
                vec![
                    self.gateway(host, "prod/$connect"),
                    self.gateway(host, "prod/POST/@connections/*"),
                ]
            }
            Step::Search => Vec::new(),
        };
        Step::ALL.iter().map(|step| (*step, of(*step))).collect()
    }

    /// Takes all steps and returns those that AWS rejected.
    async fn refused(&self, addr: SocketAddr) -> BTreeSet<Step> {
        let mut refused = BTreeSet::new();
        for step in Step::ALL {
            if !step.run(addr, &self.world.emulator).await {
                refused.insert(step);
            }
        }
        let idle = self
            .world
            .emulator
            .wait_for(|stats| stats.events.connections == 0 && stats.realtime.connections == 0);
        within("connections that nobody needs to be closed", idle).await;
        refused
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Query,
    Get,
    Batch,
    BatchedMutation,
    Fragments,
    Introspection,
    Socket,
    Stream,
    Publish,
    PublishBare,
    Listen,
    EventsSocket,
    Rest,
    Star,
    Escaped,
    RestPost,
    ManyUsers,
    Http,
    Tunnel,
    Search,
}

impl Step {
    const ALL: [Self; 20] = [
        Self::Query,
        Self::Get,
        Self::Batch,
        Self::BatchedMutation,
        Self::Fragments,
        Self::Introspection,
        Self::Socket,
        Self::Stream,
        Self::Publish,
        Self::PublishBare,
        Self::Listen,
        Self::EventsSocket,
        Self::Rest,
        Self::Star,
        Self::Escaped,
        Self::RestPost,
        Self::ManyUsers,
        Self::Http,
        Self::Tunnel,
        Self::Search,
    ];

    /// Returns whether AWS accepted the step.
    async fn run(self, addr: SocketAddr, emulator: &Emulator) -> bool {
        let query =
            |body: Value| async move { post(addr, "/graphql", &[JSON], &body.to_string()).await };
        match self {
            Self::Query => {
                let text = "query Q($s: Int!) { rooms { id } large(bytes: $s) }";
                let body =
                    json!({"query": text, "variables": {"s": 7}, "extensions": {"s": SECRET}});
                has_data(&query(body).await.body)
            }
            Self::Get => {
                let path = "/graphql?query=%7Broom(id%3A%22lobby%22)%7Bid%7D%7D";
                has_data(&get(addr, path, &[]).await.body)
            }
            Self::Batch | Self::BatchedMutation => {
                let body = json!([
                    {"query": format!("{{ echo(text: \"{SECRET}\") }}")},
                    {"query": "mutation { createRoom(name: \"x\") { id } }"},
                ]);
                let answer = query(body).await.json();
                let at = usize::from(self == Self::BatchedMutation);
                has_data(&answer[at].to_string())
            }
            Self::Fragments => {
                let text = "query Q { ...F } fragment F on Query { m: messages(room: \"lobby\") { id } ... { h: headers(names: []) } }";
                has_data(&query(json!({ "query": text })).await.body)
            }
            Self::Introspection => has_data(
                &query(json!({"query": "{ __schema { queryType { name } } __typename }"}))
                    .await
                    .body,
            ),
            Self::Socket => socket(addr).await,
            Self::Stream => stream(addr).await,
            Self::Publish => {
                let body = json!({"channel": "/default/room", "events": [SECRET_EVENT]});
                post(addr, "/event", &[JSON], &body.to_string())
                    .await
                    .status
                    == 200
            }
            Self::PublishBare => {
                post(addr, "/event/inbox/me", &[JSON], SECRET_EVENT)
                    .await
                    .status
                    == 200
            }
            Self::Listen => {
                let request = format!(
                    "GET /event?channel=/default/room HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\n\r\n"
                );
                read_until(addr, &request, "\r\n\r\n")
                    .await
                    .starts_with("HTTP/1.1 200")
            }
            Self::EventsSocket => events_socket(addr).await,
            Self::Rest => {
                let path = format!("/rest/items/7?token={SECRET}");
                get(addr, &path, &[("x-token", SECRET)]).await.status == 200
            }
            Self::Star => get(addr, "/rest/star/*", &[]).await.status == 200,
            Self::Escaped => {
                let request = format!(
                    "PUT /rest/files/a%2Fb HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                );
                raw(addr, request.as_bytes()).await.status == 200
            }
            Self::RestPost => {
                post(addr, "/rest/items", &[JSON], SECRET_EVENT)
                    .await
                    .status
                    == 200
            }
            Self::ManyUsers => {
                let mut all = true;
                for user in 0..21 {
                    all &= get(addr, &format!("/rest/users/{user}"), &[]).await.status == 200;
                }
                all
            }
            Self::Http => get(addr, "/http/pets/1", &[]).await.status == 200,
            Self::Tunnel => tunnel(addr, emulator).await,
            Self::Search => get(addr, &format!("/search/{SECRET}"), &[]).await.status == 200,
        }
    }
}

/// A text that is sent in variables, arguments, headers, queries and bodies.
const SECRET: &str = "hunter2";
const SECRET_EVENT: &str = "{\"password\":\"hunter2\"}";

fn has_data(answer: &str) -> bool {
    let answer: Value = serde_json::from_str(answer).unwrap();
    answer["data"].is_object() && answer["errors"].is_null()
}

/// A subscription, and the mutation that publishes its event.
async fn socket(addr: SocketAddr) -> bool {
    let mut socket = Socket::open(addr, &[]).await;
    socket.init().await;
    socket
        .subscribe("s", "subscription { onMessage(room: \"lobby\") { room } }")
        .await;
    let mutation = "mutation { postMessage(room: \"lobby\", body: \"x\") { room } }";
    socket.subscribe("m", mutation).await;
    let (mut is_posted, mut is_told) = (None, None);
    while is_posted.is_none() || (is_posted == Some(true) && is_told.is_none()) {
        let frame = socket.next().await;
        let verdict = match frame["type"].as_str() {
            Some("next") => frame["payload"]["errors"].is_null(),
            Some("error") => false,
            _ => continue,
        };
        match frame["id"].as_str() {
            Some("m") => is_posted = Some(verdict),
            _ => is_told = Some(verdict),
        }
    }
    let _ = socket.0.close(None).await;
    is_posted == Some(true) && is_told == Some(true)
}

async fn stream(addr: SocketAddr) -> bool {
    let body = json!({"query": "subscription { onHeaders }"}).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let text = read_until(addr, &request, "data: {").await;
    !text.contains("\"errors\"")
}

/// Reads the response up to `end`.
async fn read_until(addr: SocketAddr, request: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        let is_whole = text
            .split_once(end)
            .is_some_and(|(_, rest)| end == "\r\n\r\n" || rest.contains("\n"));
        if is_whole {
            return text;
        }
        let more = within(end, stream.read_buf(&mut read)).await.unwrap();
        assert!(more > 0, "{text}");
    }
}

async fn events_socket(addr: SocketAddr) -> bool {
    let mut socket = Socket::dial(addr, "/event/realtime", "aws-appsync-event-ws", &[]).await;
    socket.send(json!({"type": "connection_init"})).await;
    let subscribe = json!({"type": "subscribe", "id": "1", "channel": "/inbox/me"});
    socket.send(subscribe).await;
    loop {
        // While upstream rejects connections, new sockets are closed.
        let Some(Ok(Message::Text(told))) = within("a frame", socket.0.next()).await else {
            return false;
        };
        let frame: Value = serde_json::from_str(&told).unwrap();
        match frame["type"].as_str() {
            Some("subscribe_success") => {
                let _ = socket.0.close(None).await;
                return true;
            }
            Some("subscribe_error") => return false,
            _ => {}
        }
    }
}

/// Opens a socket and lets the emulator send it a message.
async fn tunnel(addr: SocketAddr, emulator: &Emulator) -> bool {
    let url = format!("ws://{addr}/ws?token={SECRET}");
    let Ok((mut socket, _)) = within("an upgrade", connect_async(url)).await else {
        return false;
    };
    let open = emulator.wait_for(|stats| !stats.gateway.connections.is_empty());
    let stats = within("a connection", open).await;
    let path = format!("/ws/@connections/{}", stats.gateway.connections[0]);
    let sent = post(addr, &path, &[JSON], SECRET_EVENT).await.status == 200;
    let _ = socket.close(None).await;
    let _ = socket.flush().await;
    let closed = async { while let Some(Ok(_)) = socket.next().await {} };
    within("the tunnel's end", closed).await;
    let gone = emulator.wait_for(|stats| stats.gateway.connections.is_empty());
    within("the connection's end", gone).await;
    sent
}

#[tokio::test]
async fn a_recorded_policy_allows_exactly_what_was_used() {
    let recorded = RecordingWorld::new().await;
    let (mut daemon, addr) = recorded.daemon().await;
    assert_eq!(recorded.refused(addr).await, BTreeSet::new());
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);

    let kept = std::fs::read_to_string(&recorded.record).unwrap();
    for secret in [SECRET, DEMO_SESSION_TOKEN, "lobby", "/me"] {
        assert!(!kept.contains(secret), "{secret}: {kept}");
    }
    let mode = std::fs::metadata(&recorded.record)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let ended = recorded.policy().await;
    assert_eq!(ended.code, 0, "{}", ended.notes);
    assert!(
        ended.notes.contains("route search: not in the policy"),
        "{}",
        ended.notes
    );
    assert!(
        ended
            .notes
            .contains("route http: the URL does not show whether its path begins with the stage"),
        "{}",
        ended.notes
    );
    let printed: Value = serde_json::from_str(&ended.output).unwrap();
    // The HTTP API's path, with its first segment read as a stage.
    let other_reading = recorded.gateway(recorded.world.emulator.http_host(), "pets/GET/1");
    let expected = expected(&recorded, &other_reading);
    assert_eq!(printed, expected);

    let (mut daemon, addr) = recorded.daemon().await;
    recorded.allow(&ended.output);
    assert_eq!(
        recorded.refused(addr).await,
        BTreeSet::new(),
        "the policy is not enough"
    );
    never_asked(addr).await;

    // The permission to connect is tested last, because a rejected connection causes a backoff.
    let mut removals: Vec<(usize, usize)> = Vec::new();
    let statements = printed["Statement"].as_array().unwrap();
    for (at, statement) in statements.iter().enumerate().rev() {
        let count = statement["Resource"].as_array().unwrap().len();
        removals.extend((0..count).map(|resource| (at, resource)));
    }
    for (at, resource) in removals {
        let mut less = printed.clone();
        let action = less["Statement"][at]["Action"].as_str().unwrap().to_owned();
        let resources = less["Statement"][at]["Resource"].as_array_mut().unwrap();
        let removed = resources.remove(resource);
        let removed = removed.as_str().unwrap();
        recorded.allow(&less.to_string());
        let needing = recorded.steps().into_iter().filter(|(step, needs)| {
            let is_of_events = match action.as_str() {
                "appsync:EventPublish" => matches!(step, Step::Publish | Step::PublishBare),
                "appsync:EventSubscribe" | "appsync:EventConnect" => {
                    matches!(step, Step::Listen | Step::EventsSocket)
                }
                _ => true,
            };
            is_of_events && needs.iter().any(|need| need == removed)
        });
        let needing: BTreeSet<Step> = needing.map(|(step, _)| step).collect();
        assert_eq!(needing.is_empty(), removed == other_reading, "{removed}");
        assert_eq!(
            recorded.refused(addr).await,
            needing,
            "without {action} on {removed}"
        );
    }
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    within("the emulator's end", recorded.world.emulator.shutdown()).await;
}

/// Steps that did not happen during the recording stay forbidden.
async fn never_asked(addr: SocketAddr) {
    for query in [
        "{ failing }",
        "mutation { rooms }",
        "{ rooms { id } failing }",
    ] {
        let body = json!({ "query": query }).to_string();
        let answer = post(addr, "/graphql", &[JSON], &body).await;
        assert_eq!(answer.status, 401, "{query}: {answer:?}");
        assert!(answer.body.contains("Permission denied"), "{answer:?}");
    }
    for path in [
        "/rest/star/other",
        "/rest/items/8",
        "/rest/items/7/parts",
        "/http/pets",
    ] {
        let answer = get(addr, path, &[]).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    let posted = post(addr, "/rest/items/7", &[JSON], "{}").await;
    assert_eq!(posted.status, 403, "{posted:?}");
    let told = "is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:";
    assert!(posted.body.contains(told), "{posted:?}");
}

fn expected(recorded: &RecordingWorld, other_reading: &str) -> Value {
    let mut fields: Vec<String> = Vec::new();
    let mut invoked = vec![other_reading.to_owned()];
    for (_, needs) in recorded.steps() {
        for need in needs {
            if need.contains("/fields/") {
                fields.push(need);
            } else if need.contains(":execute-api:") && !need.contains("@connections") {
                invoked.push(need);
            }
        }
    }
    fields.sort();
    invoked.sort();
    let namespaces = [
        recorded.appsync("/channelNamespace/default"),
        recorded.appsync("/channelNamespace/inbox"),
    ];
    let host = recorded.world.emulator.websocket_host();
    let connections = recorded.gateway(host, "prod/POST/@connections/*");
    let statement = |action: &str, resources: &[String]| json!({"Effect": "Allow", "Action": action, "Resource": resources});
    json!({"Version": "2012-10-17", "Statement": [
        statement("appsync:EventConnect", &[recorded.appsync("")]),
        statement("appsync:EventPublish", &namespaces),
        statement("appsync:EventSubscribe", &namespaces),
        statement("appsync:GraphQL", &fields),
        statement("execute-api:Invoke", &invoked),
        statement("execute-api:ManageConnections", &[connections]),
    ]})
}

#[tokio::test]
async fn a_recording_is_written_soon_and_grows_across_restarts() {
    let recorded = RecordingWorld::new().await;
    let query = |addr, text: &'static str| async move {
        let body = json!({ "query": text }).to_string();
        assert!(has_data(&post(addr, "/graphql", &[JSON], &body).await.body));
    };
    let (mut daemon, addr) = recorded.daemon().await;
    query(addr, "{ rooms { id } }").await;
    daemon.line("recording written").await;
    let soon = recorded.policy_of("graphql").await;
    assert_eq!(soon, [recorded.field("Query.rooms")]);
    daemon.child.start_kill().unwrap();
    daemon.exited().await;

    let (mut daemon, addr) = recorded.daemon().await;
    query(addr, "{ room(id: \"lobby\") { id } }").await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    let both = recorded.policy_of("graphql").await;
    assert_eq!(
        both,
        [recorded.field("Query.room"), recorded.field("Query.rooms")]
    );

    // The configuration names the recording too, and --route requires a recorded route.
    let by_config = policy(&["--config", &recorded.config], "").await;
    assert_eq!(by_config.code, 0, "{}", by_config.notes);
    let other = policy(&["--recorded", &recorded.record, "--route", "rest"], "").await;
    assert_eq!(other.code, 2);
    assert!(
        other
            .notes
            .contains("rest is not in the recording, which has graphql"),
        "{}",
        other.notes
    );
}

impl RecordingWorld {
    /// Returns the resources of the only action.
    async fn policy_of(&self, route: &str) -> Vec<String> {
        let id = self.world.emulator.api_id();
        let arguments = [
            "--recorded",
            &self.record,
            "--route",
            route,
            "--account",
            ACCOUNT,
            "--api-id",
            id,
        ];
        let ended = policy(&arguments, "").await;
        assert_eq!((ended.code, ended.notes.as_str()), (0, ""));
        let printed: Value = serde_json::from_str(&ended.output).unwrap();
        serde_json::from_value(printed["Statement"][0]["Resource"].clone()).unwrap()
    }
}

#[tokio::test]
async fn a_file_that_is_not_a_recording_is_neither_read_nor_overwritten() {
    let scratch = Scratch::new("policy-no-recording");
    let other = scratch.file("other.json", "{\"mine\":1}");
    let ended = policy(&["--recorded", &other], "").await;
    assert_eq!((ended.code, ended.output.as_str()), (2, ""));
    assert!(
        ended.notes.contains("is not a recording of countersign"),
        "{}",
        ended.notes
    );
    let url = "https://x.appsync-api.us-east-1.amazonaws.com/graphql";
    let nowhere = scratch.0.join("nowhere/asked.json").display().to_string();
    for (file, told) in [
        (&other, "is not a recording"),
        (&nowhere, "cannot be written"),
    ] {
        let arguments = ["--listen", "127.0.0.1:0", "--record", file, url];
        let mut daemon = Daemon::start(&arguments, &demo_key());
        assert_eq!(daemon.exited().await, 3, "{}", daemon.log);
        assert!(daemon.log.contains(told), "{}", daemon.log);
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "{\"mine\":1}");
}
