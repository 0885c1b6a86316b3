//! An operation that a route does not allow is never sent upstream, in whichever protocol it arrives.
//!
//! A row is an operation and its result under a policy. It is sent in every protocol that can
//! carry it, beside an allowed sibling where the protocol carries several. The emulator counts.

use std::collections::HashMap;

use countersign_protocol::graphql::{OperationKind, select};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The protocol in which an operation arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Post,
    Get,
    Batch,
    TransportWs,
    Legacy,
    /// AppSync's own `graphql-ws`.
    Native,
    Sse,
    SseSingle,
    /// Subscriptions only.
    Multipart,
}

const WAYS: [Way; 9] = [
    Way::Post,
    Way::Get,
    Way::Batch,
    Way::TransportWs,
    Way::Legacy,
    Way::Native,
    Way::Sse,
    Way::SseSingle,
    Way::Multipart,
];

/// The result of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Data,
    /// Refused by the policy, with this text in the message.
    Denied(&'static str),
    /// Refused by whichever check finds the mistake first.
    Refused,
}

use End::{Data, Denied, Refused};

use crate::support::{
    Answer, GATEWAY, JSON, Running, Socket, World, command, get, post, raw, within,
};

struct Row {
    query: &'static str,
    name: Option<&'static str>,
    end: End,
}

const fn row(query: &'static str, end: End) -> Row {
    Row {
        query,
        name: None,
        end,
    }
}

const fn named(query: &'static str, name: &'static str, end: End) -> Row {
    Row {
        query,
        name: Some(name),
        end,
    }
}

/// An operation that every policy allows.
const SIBLING: &str = "query Sibling { rooms { id } }";
const CREATE: &str = "mutation Make { createRoom(name: \"canary\") { id } }";
const LISTEN: &str = "subscription Listen { onMessage { id } }";
const BOTH: &str = "query A { rooms { id } } mutation B { createRoom(name: \"canary\") { id } }";
const CODE: &str = "OPERATION_NOT_ALLOWED";

/// The kind of operation that is sent upstream, if any.
fn kind(row: &Row) -> OperationKind {
    select(row.query, row.name).map_or(OperationKind::Query, |selected| selected.kind)
}

impl Way {
    /// Returns whether a sibling is sent along.
    fn carries_several(self) -> bool {
        match self {
            Self::Batch | Self::TransportWs | Self::Legacy | Self::Native | Self::SseSingle => true,
            Self::Post | Self::Get | Self::Sse | Self::Multipart => false,
        }
    }

    /// Sends an operation and returns its result, `{"data"}` or `{"errors"}`.
    async fn ask(self, world: &Running, request: &Value) -> Value {
        let (addr, body) = (world.addr, request.to_string());
        match self {
            Self::Post => {
                let answer = post(addr, "/graphql", &[JSON], &body).await;
                check_status(&answer)
            }
            Self::Get => {
                let mut path = format!("/graphql?query={}", encode(request["query"].as_str()));
                if let Some(name) = request["operationName"].as_str() {
                    path.push_str(&format!("&operationName={}", encode(Some(name))));
                }
                check_status(&get(addr, &path, &[]).await)
            }
            Self::Batch => {
                let body = json!([request, { "query": SIBLING }]).to_string();
                let answer = post(addr, "/graphql", &[JSON], &body).await;
                let list = answer.json();
                assert!(list[1]["data"].is_object(), "{list}");
                list[0].clone()
            }
            Self::TransportWs | Self::Legacy | Self::Native => self.frames(world, request).await,
            Self::Sse => {
                let accept = ("accept", "text/event-stream");
                let answer = post(addr, "/graphql", &[JSON, accept], &body).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let mut lines = answer.body.lines();
                let next = lines.find_map(|line| line.strip_prefix("data: "));
                serde_json::from_str(next.unwrap()).unwrap()
            }
            Self::SseSingle => single(world, request).await,
            Self::Multipart => {
                let accept = ("accept", "multipart/mixed;subscriptionSpec=1.0");
                let answer = post(addr, "/graphql", &[JSON, accept], &body).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let mut lines = answer.body.lines();
                let part = lines.find(|line| line.contains("payload")).unwrap();
                serde_json::from_str::<Value>(part).unwrap()["payload"].clone()
            }
        }
    }

    /// Sends the operation as 1 and its sibling as 2.
    async fn frames(self, world: &Running, request: &Value) -> Value {
        let mut socket = self.socket(world).await;
        for (id, request) in [("1", request), ("2", &json!({ "query": SIBLING }))] {
            socket.send(self.start(id, &request.to_string())).await;
        }
        let mut results: HashMap<String, Value> = HashMap::new();
        while results.len() < 2 {
            let frame = socket.next().await;
            let result = match frame["type"].as_str() {
                Some("next" | "data") => frame["payload"].clone(),
                Some("error") if self == Self::TransportWs => json!({ "errors": frame["payload"] }),
                Some("error") if self == Self::Legacy => json!({ "errors": [frame["payload"]] }),
                Some("error") => {
                    let error = &frame["payload"]["errors"][0];
                    let extensions = error["errorInfo"].clone();
                    json!({"errors": [{"message": error["message"], "extensions": extensions}]})
                }
                _ => continue,
            };
            results.insert(frame["id"].as_str().unwrap().to_owned(), result);
        }
        assert!(results["2"]["data"].is_object(), "{results:?}");
        results["1"].clone()
    }

    async fn socket(self, world: &Running) -> Socket {
        let path = match self == Self::Native {
            true => "/graphql/realtime",
            false => "/graphql",
        };
        let protocol = match self == Self::TransportWs {
            true => "graphql-transport-ws",
            false => "graphql-ws",
        };
        let mut socket = Socket::dial(world.addr, path, protocol, &[]).await;
        socket.send(json!({ "type": "connection_init" })).await;
        socket
    }

    /// Returns the frame that starts an operation. `request` is text, so that it may be invalid.
    fn start(self, id: &str, request: &str) -> Value {
        if self == Self::Native {
            let payload = json!({ "data": request, "extensions": { "authorization": {} } });
            return json!({ "id": id, "type": "start", "payload": payload });
        }
        let kind = match self == Self::TransportWs {
            true => "subscribe",
            false => "start",
        };
        let payload: Value = serde_json::from_str(request).unwrap();
        json!({ "id": id, "type": kind, "payload": payload })
    }
}

fn encode(text: Option<&str>) -> String {
    let bytes = text.unwrap().bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}

/// Checks that the status fits the code.
fn check_status(answer: &Answer) -> Value {
    let json = answer.json();
    if json["errors"][0]["extensions"]["code"] == CODE {
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.headers["x-countersign-error"], CODE);
    }
    json
}

/// Sends an operation and a sibling on a stream of graphql-sse's single connection mode.
async fn single(world: &Running, request: &Value) -> Value {
    let addr = world.addr;
    let put = format!("PUT /graphql HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    let path = format!("/graphql?token={}", raw(addr, put.as_bytes()).await.body);
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let open = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(open.as_bytes()).await.unwrap();
    for (id, request) in [("1", request), ("2", &json!({ "query": SIBLING }))] {
        let mut request = request.clone();
        request["extensions"] = json!({ "operationId": id });
        let answer = post(addr, &path, &[JSON], &request.to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let mut text = String::new();
    let reading = async {
        while text.matches("event: complete").count() < 2 {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "the stream is cut: {text}");
            text.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    };
    within("both ends", reading).await;
    let result = |id: &str| {
        let start = format!("data: {{\"id\":\"{id}\",\"payload\":");
        let (_, rest) = text.split_once(&start).unwrap();
        let rest = rest.lines().next().unwrap().strip_suffix('}').unwrap();
        serde_json::from_str::<Value>(rest).unwrap()
    };
    assert!(result("2")["data"].is_object(), "{text}");
    result("1")
}

/// Sends every row in every protocol. The emulator must see the allowed operations and nothing else.
async fn check(settings: &[(&str, &str)], rows: &[Row]) {
    let world = World::builder().settings(settings).in_process().await;
    let (mut queries, mut mutations) = (0, 0);
    for row in rows {
        for way in WAYS {
            let kind = kind(row);
            let is_subscription = kind == OperationKind::Subscription;
            // Subscriptions keep running, and are tested below.
            if (way == Way::Multipart && !is_subscription) || (is_subscription && row.end == Data) {
                continue;
            }
            let mut request = json!({ "query": row.query });
            if let Some(name) = row.name {
                request["operationName"] = name.into();
            }
            let result = way.ask(&world, &request).await;
            let place = format!("{way:?} {}: {result}", row.query);
            let error = &result["errors"][0];
            let code = error["extensions"]["code"].as_str();
            let has_one_answer = matches!(way, Way::Post | Way::Get | Way::Batch);
            let other = match kind {
                OperationKind::Mutation if way == Way::Get => Some("MUTATION_BY_GET"),
                OperationKind::Subscription if has_one_answer => Some("SUBSCRIPTION_OVER_HTTP"),
                OperationKind::Query | OperationKind::Mutation | OperationKind::Subscription => {
                    None
                }
            };
            let mut is_run = false;
            match (row.end, other) {
                (Data | Denied(_), Some(other)) => assert_eq!(code, Some(other), "{place}"),
                (Data, None) => {
                    assert!(result["data"].is_object(), "{place}");
                    is_run = true;
                }
                (Denied(part), None) => {
                    assert_eq!(code, Some(CODE), "{place}");
                    let message = error["message"].as_str().unwrap();
                    assert!(message.contains(part), "{place}");
                    assert!(message.contains("route.graphql"), "{place}");
                }
                (Refused, _) => assert!(code.is_some(), "{place}"),
            }
            if !is_run {
                assert_eq!(error["extensions"]["sent"], "no", "{place}");
                assert!(result["data"].is_null(), "{place}");
                assert!(!result.to_string().contains("canary"), "{place}");
            }
            queries += u64::from(way.carries_several());
            match kind {
                OperationKind::Mutation => mutations += u64::from(is_run),
                OperationKind::Query | OperationKind::Subscription => queries += u64::from(is_run),
            }
        }
    }
    assert!(world.query(SIBLING).await.json()["data"].is_object());
    let seen = world.emulator.stats();
    assert_eq!(seen.requests.queries, queries + 1);
    assert_eq!(seen.requests.mutations, mutations);
    assert_eq!(seen.requests.http, queries + mutations + 1);
    assert_eq!(seen.requests.refused, 0);
    assert_eq!(seen.realtime.starts_total, 0);
    world.drained().await;
}

#[tokio::test]
async fn a_read_only_route_sends_no_mutation_from_any_protocol() {
    let settings = [("route.graphql.read_only", "true")];
    let by_setting = "To allow it, change route.graphql.read_only";
    let rows = [
        row("{ rooms { id } }", Data),
        row("query mutation { mutation: rooms { id } }", Data),
        row("# mutation { a }\n{ echo(text: \"mutation { a }\") }", Data),
        named(BOTH, "A", Data),
        row(CREATE, Denied(by_setting)),
        named(CREATE, "Make", Denied(by_setting)),
        named(BOTH, "B", Denied(by_setting)),
        row(
            "\t,mutation{rooms:createRoom(name:\"canary\"){id}}",
            Denied(by_setting),
        ),
        row(
            "# { a }\rmutation { ...F } fragment F on Mutation { createRoom(name: \"canary\") { id } }",
            Denied(by_setting),
        ),
        row(
            "query { ...F } fragment F on Mutation { createRoom(name: \"canary\") { id } }",
            Denied("fragment on Mutation"),
        ),
        named(
            "query A { rooms { id } } #\u{2028} mutation B { createRoom(name: \"canary\") { id } }\n",
            "A",
            Refused,
        ),
        row(BOTH, Refused),
        named(BOTH, "", Refused),
        named(BOTH, "C", Refused),
        row("query { rooms { id }", Refused),
        row(
            "\u{200b}mutation { createRoom(name: \"canary\") { id } }",
            Refused,
        ),
        named(
            "query A { rooms { id } } mutation A { createRoom(name: \"canary\") { id } }",
            "A",
            Refused,
        ),
    ];
    check(&settings, &rows).await;
}

#[tokio::test]
async fn operations_that_are_not_allowed_are_refused_in_every_protocol() {
    let settings = [
        (
            "route.graphql.operations.fields",
            "Query.rooms,Query.room,Query.echo,Mutation.createRoom",
        ),
        ("route.graphql.operations.introspection", "false"),
        ("route.graphql.operations.depth", "3"),
        ("route.graphql.operations.aliases", "2"),
        ("route.graphql.operations.size", "150B"),
    ];
    let rows = [
        row("{ rooms { id } __typename }", Data),
        row(CREATE, Data),
        row("{ a: echo(text: \"1\") b: echo(text: \"2\") }", Data),
        row("{ headers }", Denied("Query.headers is not")),
        row("{ rooms: headers }", Denied("operations.fields")),
        row(
            "{ rooms { id } ...F } fragment F on Query { ... @skip(if: true) { headers } }",
            Denied("operations.fields"),
        ),
        row(
            "mutation { postMessage(room: \"lobby\", body: \"canary\") { id } }",
            Denied("Mutation.postMessage"),
        ),
        row(LISTEN, Denied("Subscription.onMessage")),
        row(
            "{ __schema { types { name } } }",
            Denied("operations.introspection"),
        ),
        row(
            "{ __type(name: \"canary\") { name } }",
            Denied("operations.introspection"),
        ),
        row(
            "{ rooms { ...A } } fragment A on Room { ...B } fragment B on Room { a { b { c } } }",
            Denied("4 levels deep, but at most 3"),
        ),
        row(
            "{ a: echo(text: \"1\") b: echo(text: \"2\") c: echo(text: \"3\") }",
            Denied("operations.aliases"),
        ),
        row(
            "{ echo(text: \"canary, canary, canary, canary, canary, canary, canary, canary, canary, \
             canary, canary, canary, canary, canary, canary, canary, canary, canary, canary, canary, \
             canary\") }",
            Denied("operations.size"),
        ),
    ];
    check(&settings, &rows).await;
}

#[tokio::test]
async fn operations_are_allowed_by_name_or_by_hash() {
    let settings = [("route.graphql.operations.names", "Sibling,Make")];
    let rows = [
        row(SIBLING, Data),
        row(CREATE, Data),
        row("{ rooms { id } }", Denied("operations.names")),
        row(
            "query Other { rooms { id } }",
            Denied("the operation Other is not"),
        ),
        row(LISTEN, Denied("operations.names")),
    ];
    check(&settings, &rows).await;
    let hash = |text: &str| -> String {
        let hash = Sha256::digest(text);
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let known = [hash(SIBLING), hash(CREATE).to_uppercase()].join(",");
    let settings = [("route.graphql.operations.sha256", known.as_str())];
    let rows = [
        row(SIBLING, Data),
        row(CREATE, Data),
        row(
            "query Sibling { rooms { id } } ",
            Denied("operations.sha256"),
        ),
        row(
            "query Sibling { rooms { name } }",
            Denied("operations.sha256"),
        ),
        row(LISTEN, Denied("operations.sha256")),
    ];
    check(&settings, &rows).await;
}

#[tokio::test]
async fn allowed_subscriptions_run() {
    let world = World::builder()
        .settings(&[
            ("route.graphql.read_only", "true"),
            ("route.graphql.operations.fields", "Subscription.onMessage"),
        ])
        .in_process()
        .await;
    let request = json!({ "query": LISTEN }).to_string();
    for way in [Way::TransportWs, Way::Legacy, Way::Native] {
        let mut socket = way.socket(&world).await;
        socket.send(way.start("1", &request)).await;
        world.subscriptions(1).await;
        drop(socket);
        world.subscriptions(0).await;
    }
    for accept in ["text/event-stream", "multipart/mixed;subscriptionSpec=1.0"] {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: {accept}\r\ncontent-length: {}\r\n\r\n{request}",
            world.addr,
            request.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        world.subscriptions(1).await;
        drop(stream);
        world.subscriptions(0).await;
    }
    world.drained().await;
}

/// A mutation is hidden for a parser that ends a comment, a string or the text elsewhere.
#[tokio::test]
async fn a_document_that_parsers_read_differently_is_refused_in_every_protocol() {
    let hide = |piece: &str| {
        format!(
            "query A {{ rooms {{ id }} }} #{piece} mutation B {{ createRoom(name: \"canary\") {{ id }} }}\n"
        )
    };
    let mut rows: Vec<(String, String)> = ["2028", "2029", "0085", "000B", "000C", "0000", "FEFF"]
        .iter()
        .map(|code| {
            let c = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
            let part = format!("U+{code} at line 1, column 27,");
            (hide(&c.to_string()), part)
        })
        .collect();
    let block =
        "query A { rooms(x: \"\"\"\\\"\"\") { id } } #\"\"\") { id } } mutation B { createRoom }";
    rows.push((block.to_owned(), "block string".to_owned()));
    for is_read_only in [false, true] {
        let settings = [(
            "route.graphql.read_only",
            if is_read_only { "true" } else { "false" },
        )];
        let world = World::builder().settings(&settings).in_process().await;
        let mut passed = 0;
        for (query, part) in &rows {
            for way in WAYS {
                let request = json!({ "query": query, "operationName": "A" });
                if way == Way::Post && !is_read_only {
                    // A `POST` may carry any document. AppSync answers it.
                    let answer = post(world.addr, "/graphql", &[JSON], &request.to_string()).await;
                    assert!(!answer.body.contains("BAD_DOCUMENT"), "{answer:?}");
                    passed += 1;
                    let accept = ("accept", "application/json, text/event-stream");
                    let text = request.to_string();
                    let answer = post(world.addr, "/graphql", &[JSON, accept], &text).await;
                    assert_eq!(answer.code(), "BAD_DOCUMENT", "{answer:?}");
                    assert!(answer.body.contains(part), "{answer:?}");
                    continue;
                }
                if way == Way::Multipart {
                    let accept = (
                        "accept",
                        "multipart/mixed;subscriptionSpec=1.0, application/json",
                    );
                    let text = request.to_string();
                    let answer = post(world.addr, "/graphql", &[JSON, accept], &text).await;
                    assert_eq!(answer.status, 400, "{answer:?}");
                    assert_eq!(answer.code(), "BAD_DOCUMENT", "{answer:?}");
                    continue;
                }
                let result = way.ask(&world, &request).await;
                let place = format!("{way:?} {query:?}: {result}");
                passed += u64::from(way.carries_several());
                if way == Way::Batch && !is_read_only {
                    passed += 1;
                    continue;
                }
                let error = &result["errors"][0];
                let expected = match matches!(way, Way::Post | Way::Batch) {
                    true => CODE,
                    false => "BAD_DOCUMENT",
                };
                assert_eq!(error["extensions"]["code"], expected, "{place}");
                assert_eq!(error["extensions"]["sent"], "no", "{place}");
                let message = error["message"].as_str().unwrap();
                assert!(message.contains(part), "{place}");
                assert!(!message.contains("canary"), "{place}");
            }
        }
        let seen = world.emulator.stats();
        assert_eq!(seen.requests.http, passed, "read_only = {is_read_only}");
        assert_eq!(seen.requests.mutations, 0);
        assert_eq!(seen.realtime.starts_total, 0);
        world.drained().await;
    }
}

/// Only the text of the document is checked, and values of variables may contain any text.
#[tokio::test]
async fn odd_characters_in_variables_pass_in_every_protocol() {
    let world = World::builder()
        .settings(&[("route.graphql.read_only", "true")])
        .in_process()
        .await;
    let query = "query A($x: String) { rooms { id } __type(name: $x) { name } }";
    let text = "\u{2028} \u{2029} \u{85} \u{b} \u{c} \u{feff} \u{a0} \u{3000} # } mutation B { b }";
    for way in WAYS.into_iter().filter(|way| *way != Way::Multipart) {
        let request = json!({ "query": query, "variables": { "x": text } });
        let result = way.ask(&world, &request).await;
        assert!(result["data"].is_object(), "{way:?}: {result}");
    }
    world.drained().await;
}

/// Requests that two parsers could read differently, in the protocols that forward them unchanged
/// and in those that parse them first.
#[tokio::test]
async fn an_ambiguous_request_is_refused_in_every_protocol() {
    let world = World::builder()
        .settings(&[("route.graphql.read_only", "true")])
        .in_process()
        .await;
    let make = "mutation { createRoom(name: \\\"canary\\\") { id } }";
    let both = BOTH.replace('"', "\\\"");
    let rooms = "\"query\":\"{ rooms { id } }\"";
    let denied = [
        format!(r#"{{{rooms},"query":"{make}"}}"#),
        format!(r#"{{"query":"{make}",{rooms}}}"#),
        format!(r#"{{{rooms},"\u0071uery":"{make}"}}"#),
        format!(r#"{{"\u0071uery":"{make}",{rooms}}}"#),
        format!(r#"{{{rooms},"Query":"{make}"}}"#),
        format!(r#"{{{rooms},"mutation":"{make}"}}"#),
        r#"{"query":"\u006dutation{createRoom(name:\"canary\"){id}}"}"#.to_owned(),
        format!(r#"{{"query":["{make}"]}}"#),
        format!(r#"{{"query":{{"a":"{make}"}}}}"#),
        format!(r#"{{"query":"{both}","operationName":null}}"#),
        format!(r#"{{"query":"{both}","operationName":["A"]}}"#),
        format!(r#"{{"query":"{both}","operationName":"A","operationName":"B"}}"#),
        format!(r#"{{"query":"{both}","operationName":"B","operation\u004eame":"A"}}"#),
        format!(r#"{{{rooms},"variables":["canary"]}}"#),
        format!(r#"{{{rooms},"variables":{{"a":1,"a":"canary"}}}}"#),
        "{\"query\":null}".to_owned(),
        "{}".to_owned(),
        "\"canary\"".to_owned(),
    ];
    for body in &denied {
        let answer = post(world.addr, "/graphql", &[JSON], body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, CODE),
            "{body}"
        );
        assert!(!answer.body.contains("canary"), "{answer:?}");
        let batch = format!(r#"[{body},{{"query":"{SIBLING}"}}]"#);
        let answer = post(world.addr, "/graphql", &[JSON], &batch).await;
        let list = answer.json();
        assert_eq!(list[0]["errors"][0]["extensions"]["code"], CODE, "{body}");
        assert!(list[1]["data"].is_object(), "{list}");
    }
    for (body, code) in [
        (format!("{{{rooms}}} {{\"query\":\"{make}\"}}"), "BAD_JSON"),
        (format!("{{{rooms}}},"), "BAD_JSON"),
        (
            r#"{"documentId":"canary"}"#.to_owned(),
            "DOCUMENT_ID_NOT_SUPPORTED",
        ),
        (
            r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"0"}}}"#.to_owned(),
            "PERSISTED_QUERY_NOT_SUPPORTED",
        ),
    ] {
        let answer = post(world.addr, "/graphql", &[JSON], &body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, code),
            "{body}"
        );
    }
    // A byte order mark hides no member.
    let marked = format!("\u{feff}{{\"query\":\"{make}\"}}");
    let answer = post(world.addr, "/graphql", &[JSON], &marked).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, CODE));
    // The `data` string of AppSync's clients is sent unchanged.
    let mut socket = Way::Native.socket(&world).await;
    for (at, body) in denied.iter().enumerate() {
        let id = format!("n{at}");
        socket.send(Way::Native.start(&id, body)).await;
        let error = loop {
            let frame = socket.next_of(&id).await;
            if frame["type"] != "start_ack" {
                break frame;
            }
        };
        assert_eq!(error["type"], "error", "{body}: {error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    // An allowed subscription, in a string that also contains another one.
    let listen = "\"query\":\"subscription { onMessage { id } }\"";
    for (id, data) in [
        ("s1", format!(r#"{{{listen},"Query":"{make}"}}"#)),
        ("s2", format!(r#"{{{listen},"variables":[]}}"#)),
    ] {
        socket.send(Way::Native.start(id, &data)).await;
        let error = socket.next_of(id).await;
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(error["payload"]["errors"][0]["errorType"], CODE, "{error}");
    }
    let seen = world.emulator.stats();
    assert_eq!(seen.requests.http, denied.len() as u64, "the siblings");
    // Only known members of a stream's request are forwarded, and those are checked.
    for body in &denied {
        let accept = ("accept", "text/event-stream");
        let answer = post(world.addr, "/graphql", &[JSON, accept], body).await;
        assert!(!answer.body.contains("createRoom"), "{body}: {answer:?}");
    }
    assert_eq!(world.emulator.stats().requests.mutations, 0);
    drop(socket);
    world.drained().await;
}

#[tokio::test]
async fn a_persisted_query_with_its_text_is_checked_by_the_text() {
    let world = World::builder()
        .settings(&[("route.graphql.read_only", "true")])
        .in_process()
        .await;
    let extensions = json!({ "persistedQuery": { "version": 1, "sha256Hash": "0" } });
    for (query, status) in [(SIBLING, 200), (CREATE, 403)] {
        let body = json!({ "query": query, "extensions": extensions }).to_string();
        let answer = post(world.addr, "/graphql", &[JSON], &body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(world.emulator.stats().requests.http, 1);
    world.drained().await;
}

/// Upstream would have decompressed bytes that were checked uncompressed.
#[tokio::test]
async fn a_content_encoding_is_not_forwarded_with_a_plain_body() {
    let world = World::builder().in_process().await;
    let query = "{ headers(names: [\"content-encoding\"]) }";
    let body = json!({ "query": query }).to_string();
    for coding in ["deflate", "gzip", "identity, br", "x"] {
        let headers = [JSON, ("content-encoding", coding)];
        let answer = post(world.addr, "/graphql", &headers, &body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (415, "UNSUPPORTED_MEDIA_TYPE")
        );
    }
    assert_eq!(world.emulator.stats().requests.http, 0);
    let none = json!({ "headers": "{}" });
    for coding in ["identity", "amz-1.0"] {
        let headers = [JSON, ("content-encoding", coding)];
        let answer = post(world.addr, "/graphql", &headers, &body).await;
        assert_eq!(answer.json()["data"], none, "{answer:?}");
    }
    let path = format!("/graphql?query={}", encode(Some(query)));
    let answer = get(world.addr, &path, &[("content-encoding", "deflate")]).await;
    assert_eq!(answer.json()["data"], none, "{answer:?}");
    let mut socket = Socket::open(world.addr, &[("content-encoding", "deflate")]).await;
    socket.init().await;
    socket.subscribe("1", query).await;
    assert_eq!(socket.next_of("1").await["payload"]["data"], none);
    drop(socket);
    world.drained().await;
}

#[tokio::test]
async fn a_read_only_route_publishes_no_event() {
    let world = World::builder()
        .routes(&["event"])
        .settings(&[("route.event.read_only", "true")])
        .in_process()
        .await;
    let body = json!({ "channel": "/default/a", "events": ["\"canary\""] }).to_string();
    for (path, body) in [
        ("/event", body.as_str()),
        ("/event/default/a", "\"canary\""),
    ] {
        let answer = post(world.addr, path, &[JSON], body).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, CODE));
        assert!(answer.body.contains("route.event.read_only"), "{answer:?}");
        assert!(!answer.body.contains("canary"), "{answer:?}");
    }
    let protocol = "aws-appsync-event-ws";
    let mut socket = Socket::dial(world.addr, "/event/realtime", protocol, &[]).await;
    socket.send(json!({ "type": "connection_init" })).await;
    let publish = json!({
        "type": "publish", "id": "p", "channel": "/default/a", "events": ["\"canary\""],
    });
    socket.send(publish).await;
    let error = socket.next_of("p").await;
    assert_eq!(error["type"], "publish_error", "{error}");
    assert_eq!(error["errors"][0]["errorType"], CODE, "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
    // Subscriptions still work.
    socket
        .send(json!({ "type": "subscribe", "id": "s", "channel": "/default/a" }))
        .await;
    assert_eq!(socket.next_of("s").await["type"], "subscribe_success");
    let seen = world.emulator.stats();
    assert_eq!((seen.events.publishes, seen.events.accepted), (0, 0));
    assert_eq!(seen.events.subscribed, 1);
    drop(socket);
    world.drained().await;
}

#[tokio::test]
async fn a_read_only_route_forwards_only_safe_methods() {
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&[
            ("route.http.read_only", "true"),
            ("route.ws.read_only", "true"),
        ])
        .in_process()
        .await;
    let addr = world.addr;
    let ask = async |method: &str, more: &str| {
        let request = format!(
            "{method} /http/a?b=c HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n{more}\r\n"
        );
        raw(addr, request.as_bytes()).await
    };
    for method in ["GET", "HEAD", "OPTIONS"] {
        let answer = ask(method, "").await;
        assert!(
            !answer.headers.contains_key("x-countersign-error"),
            "{method}: {answer:?}"
        );
    }
    assert_eq!(world.emulator.stats().gateway.requests, 3);
    for method in ["POST", "PUT", "PATCH", "DELETE", "get", "QUERY", "PROPFIND"] {
        let answer = ask(method, "content-length: 0\r\n").await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (403, &json!(CODE)),
            "{method}"
        );
        assert_eq!(answer.json()["sent"], "no");
        assert!(answer.body.contains("route.http.read_only"), "{answer:?}");
    }
    for header in [
        "X-HTTP-Method-Override",
        "x-http-method",
        "x-method-override",
        "X_HTTP_METHOD_OVERRIDE",
        "X.HTTP.Method.Override",
        "XHTTPMethodOverride",
        "x-http--method",
        "X-Original-Method",
        "X_Method",
    ] {
        let answer = ask("GET", &format!("{header}: DELETE\r\n")).await;
        assert_eq!(answer.status, 403, "{header}");
    }
    for path in ["/ws", "/http/a"] {
        let upgrade = format!(
            "GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let answer = raw(addr, upgrade.as_bytes()).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (403, &json!(CODE)),
            "{path}"
        );
    }
    assert_eq!(world.emulator.stats().gateway.requests, 3);
    // A route without the restriction is not affected.
    let request = format!(
        "POST /rest/a HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    raw(addr, request.as_bytes()).await;
    assert_eq!(world.emulator.stats().gateway.requests, 4);
    world.drained().await;
}

/// Headers that no operation may bring upstream in any protocol, and one that it may.
const NAMED: [(&str, &str); 9] = [
    ("x-team", "kept"),
    ("x_team", "canary"),
    ("X.Team", "canary"),
    ("x_api_key", "canary"),
    ("X_Amz_Date", "canary"),
    ("X_Amz_Security_Token", "canary"),
    ("X_Forwarded_For", "canary"),
    ("x-original-url", "canary"),
    ("X_Countersign_Token", "canary"),
];

#[tokio::test]
async fn ambiguous_headers_are_not_forwarded_with_operations() {
    let world = World::builder().in_process().await;
    let check = |seen: &str, by: &str| {
        assert!(
            seen.contains("kept") && !seen.contains("canary"),
            "{by}: {seen}"
        );
    };
    let body = json!({ "query": "{ headers }" });
    let headers: Vec<_> = NAMED.iter().copied().chain([JSON]).collect();
    let answer = post(world.addr, "/graphql", &headers, &body.to_string()).await;
    check(&answer.body, "POST");
    let batch = json!([body, body]).to_string();
    check(
        &post(world.addr, "/graphql", &headers, &batch).await.body,
        "batch",
    );
    let sse = [&headers[..], &[("accept", "text/event-stream")]].concat();
    let answer = post(world.addr, "/graphql", &sse, &body.to_string()).await;
    check(&answer.body, "server-sent events");
    let listen = json!({ "query": "subscription { onHeaders }" });
    for document in [&body, &listen] {
        // Headers of the upgrade are sent with every operation.
        let mut socket = Socket::open(world.addr, &NAMED).await;
        socket.init().await;
        let payload = document.clone();
        socket
            .send(json!({ "id": "1", "type": "subscribe", "payload": payload }))
            .await;
        check(&socket.next_of("1").await.to_string(), "upgrade");
        // In AppSync's own protocol, entries are sent with the operation that they came with.
        let mut socket = Way::Native.socket(&world).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        let entries: serde_json::Map<String, Value> = NAMED
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let mut start = Way::Native.start("1", &document.to_string());
        start["payload"]["extensions"]["authorization"] = json!(entries);
        socket.send(start).await;
        let seen = loop {
            let frame = socket.next_of("1").await;
            if frame["type"] != "start_ack" {
                break frame.to_string();
            }
        };
        check(&seen, "entries");
    }
    world.drained().await;
}

#[tokio::test]
async fn a_daemon_for_one_url_can_be_read_only() {
    let url = "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql";
    let output = command(&["config", "--read-only", url], &[]).output().await;
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("route.graphql.read_only"));
    assert!(
        line.is_some_and(|line| line.ends_with("# --read-only")),
        "{text}"
    );
    assert!(text.contains(", read-only\n"), "{text}");
    let output = command(&["config", "--read-only"], &[]).output().await;
    assert_eq!(output.unwrap().status.code(), Some(2));
}
