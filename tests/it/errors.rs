//! How a client of each protocol sees every error that AppSync is known to send.
//!
//! Each row is one shape of error, with the result for standard clients (GraphQL errors) and for
//! AppSync's own clients (its form). [`Client::frames`] defines how a protocol frames the two.

use serde_json::{Value, json};

use crate::support::{JSON, Running, Socket, World, get, post};

/// The client that subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    TransportWs,
    Legacy,
    Native,
    Sse,
    Multipart,
    /// `aws-appsync-event-ws`
    Events,
}

const GRAPHQL: [Client; 5] = [
    Client::TransportWs,
    Client::Legacy,
    Client::Native,
    Client::Sse,
    Client::Multipart,
];

/// Names of AppSync's frames and members that no standard client may see.
const FOREIGN: [&str; 6] = [
    "start_ack",
    "connectionTimeoutMs",
    "\"errorType\":\"com.",
    "\"ka\"",
    "\"connection_error\"",
    "deepdish",
];

const SUBSCRIPTION: &str = "subscription { onMessage { id } }";

struct Row {
    what: &'static str,
    /// The emulator's switches.
    when: Value,
    /// GraphQL errors.
    standard: Value,
    /// AppSync's form of them.
    native: Value,
}

impl Client {
    /// Returns the frames after the acknowledgement that report an error.
    fn frames(self, row: &Row) -> Vec<Value> {
        let (standard, native) = (&row.standard, &row.native);
        match self {
            Self::TransportWs => vec![json!({"id": "1", "type": "error", "payload": standard})],
            Self::Legacy => vec![json!({"id": "1", "type": "error", "payload": standard[0]})],
            Self::Native => {
                vec![json!({"id": "1", "type": "error", "payload": {"errors": native}})]
            }
            Self::Sse => vec![
                json!({"event": "next", "data": {"errors": standard}}),
                json!({"event": "complete", "data": null}),
            ],
            Self::Multipart => vec![json!({"payload": {"errors": standard}})],
            Self::Events => {
                vec![json!({"id": "1", "type": "subscribe_error", "errors": native})]
            }
        }
    }

    async fn sees(self, world: &Running, count: usize) -> Vec<Value> {
        let (protocol, path, subscribe) = match self {
            Self::TransportWs => (
                "graphql-transport-ws",
                "/graphql",
                json!({"id": "1", "type": "subscribe", "payload": {"query": SUBSCRIPTION}}),
            ),
            Self::Legacy => (
                "graphql-ws",
                "/graphql",
                json!({"id": "1", "type": "start", "payload": {"query": SUBSCRIPTION}}),
            ),
            Self::Native => {
                let data = json!({"query": SUBSCRIPTION}).to_string();
                let start = json!({"id": "1", "type": "start", "payload": {"data": data}});
                ("graphql-ws", "/graphql/realtime", start)
            }
            Self::Events => (
                "aws-appsync-event-ws",
                "/event/realtime",
                json!({"id": "1", "type": "subscribe", "channel": "/default/a"}),
            ),
            Self::Sse => return self.streamed(world, "text/event-stream").await,
            Self::Multipart => {
                let accept = "multipart/mixed;subscriptionSpec=1.0";
                return self.streamed(world, accept).await;
            }
        };
        let mut socket = Socket::dial(world.addr, path, protocol, &[]).await;
        socket.send(json!({"type": "connection_init"})).await;
        let is_greeting =
            |frame: &Value| frame["type"] == "connection_ack" || frame["type"] == "ka";
        let mut seen = Vec::new();
        socket.send(subscribe).await;
        while seen.len() < count {
            let frame = socket.next().await;
            if !is_greeting(&frame) {
                seen.push(frame);
            }
        }
        seen
    }

    /// Reads a response to its end.
    async fn streamed(self, world: &Running, accept: &str) -> Vec<Value> {
        let body = json!({"query": SUBSCRIPTION}).to_string();
        let answer = post(world.addr, "/graphql", &[JSON, ("accept", accept)], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        match self {
            Self::Sse => {
                let events = answer
                    .body
                    .split("\n\n")
                    .filter(|text| !text.starts_with(':'));
                let events = events.filter_map(|text| text.strip_prefix("event: "));
                let event = |text: &str| {
                    let (name, data) = text.split_once("\ndata:").unwrap();
                    json!({"event": name, "data": parse(data)})
                };
                events.map(event).collect()
            }
            Self::TransportWs | Self::Legacy | Self::Native | Self::Multipart | Self::Events => {
                assert!(answer.body.ends_with("\r\n--graphql--\r\n"), "{answer:?}");
                let parts = answer.body.split("\r\n--graphql").map(str::trim);
                let bodies = parts.filter_map(|part| part.split_once("\r\n\r\n"));
                let bodies = bodies.map(|(_, body)| parse(body));
                bodies.filter(|body| *body != json!({})).collect()
            }
        }
    }
}

/// A connection that AppSync rejects.
fn connect(what: &'static str, error: Value, message: &str, kind: Option<&str>) -> Row {
    let mut extensions = json!({"code": "UPSTREAM_REFUSED", "sent": "no"});
    let mut native = json!({
        "errorType": "UPSTREAM_REFUSED",
        "message": message,
        "errorInfo": {"code": "UPSTREAM_REFUSED", "sent": "no"},
    });
    if let Some(kind) = kind {
        extensions["errorType"] = kind.into();
        native["errorType"] = kind.into();
    }
    if let Some(code) = error.get("errorCode") {
        extensions["errorCode"] = code.clone();
        native["errorCode"] = code.clone();
    }
    Row {
        what,
        when: json!({"refuse_connect": json!({"errors": [error]}).to_string()}),
        standard: json!([{"message": message, "extensions": extensions}]),
        native: json!([native]),
    }
}

/// A start that AppSync rejects.
fn start(what: &'static str, payload: Value, standard: Value, native: Value) -> Row {
    Row {
        what,
        when: json!({"refuse_start": payload.to_string()}),
        standard: json!([standard]),
        native: json!([native]),
    }
}

/// Shapes of `connection_error`, from the AppSync developer guide and from reports of clients.
fn connects() -> Vec<Row> {
    let signature = "The request signature we calculated does not match the signature you provided.\n\nThe Canonical String for this request should have been\n'POST\n/graphql/connect\n\nhost:h\nx-amz-security-token:SECRET-TOKEN\n\nhost;x-amz-security-token\nabc'";
    let redacted = signature.replace("SECRET-TOKEN", "[redacted]");
    let denied = "You are not authorized to make this call.";
    let invalid = "The security token included in the request is invalid.";
    let header =
        "'content-length' is named as a SignedHeader, but it does not exist in the HTTP request.";
    let prefixed = |name: &str| format!("com.amazonaws.deepdish.graphql.auth#{name}");
    let row = |what, kind: &str, message: &str| {
        let error = json!({"errorType": kind, "message": message, "errorCode": 400});
        let plain = kind.rsplit('#').next().unwrap();
        let shown = if message == signature {
            redacted.as_str()
        } else {
            message
        };
        connect(what, error, shown, Some(plain))
    };
    let nameless = |what, message: &str| {
        let error = json!({"message": message, "errorCode": 400});
        connect(what, error, message, None)
    };
    vec![
        row("bad signature", &prefixed("BadRequestException"), signature),
        row("denied", &prefixed("UnauthorizedException"), denied),
        row("denied, current", "UnauthorizedException", denied),
        row("unknown key", "UnrecognizedClientException", invalid),
        row(
            "listed header missing",
            "IncompleteSignatureException",
            header,
        ),
        nameless("no protocol", "NoProtocolError"),
        nameless("no auth, 2024", "Required headers are missing."),
        connect(
            "no message",
            json!({"errorType": "BadRequest", "errorCode": 400}),
            "BadRequest",
            Some("BadRequest"),
        ),
        connect(
            "no code",
            json!({"errorType": "UnauthorizedException", "message": denied}),
            denied,
            Some("UnauthorizedException"),
        ),
    ]
}

/// Errors of one operation, after the acknowledgement.
fn starts() -> Vec<Row> {
    let typed = |what, kind: &str, message: &str| {
        start(
            what,
            json!({"errors": [{"errorType": kind, "message": message}]}),
            json!({"message": message, "extensions": {"errorType": kind}}),
            json!({"errorType": kind, "message": message}),
        )
    };
    vec![
        typed(
            "denied by IAM",
            "UnauthorizedException",
            "Permission denied",
        ),
        typed(
            "wrong kind of auth",
            "UnauthorizedException",
            "Valid authorization header not provided.",
        ),
        typed(
            "field denied",
            "Unauthorized",
            "Not Authorized to access onX on type Subscription",
        ),
        typed(
            "wrong signature",
            "BadRequestException",
            "The request signature we calculated does not match the signature you provided.",
        ),
        typed(
            "duplicate",
            "DuplicatedOperationError",
            "Duplicated operation with id 1",
        ),
        start(
            "validation",
            json!({"errors": [{"message": "Validation error of type X", "locations": [{"line": 1, "column": 2}], "path": null}]}),
            json!({"message": "Validation error of type X", "locations": [{"line": 1, "column": 2}]}),
            json!({"message": "Validation error of type X", "locations": [{"line": 1, "column": 2}]}),
        ),
        start(
            "an object for a list",
            json!({"errors": {"errorType": "InternalFailure", "message": "oops"}}),
            json!({"message": "oops", "extensions": {"errorType": "InternalFailure"}}),
            json!({"errorType": "InternalFailure", "message": "oops"}),
        ),
        start(
            "straight in the payload",
            json!({"errorType": "OperationDisabled"}),
            json!({"message": "OperationDisabled", "extensions": {"errorType": "OperationDisabled"}}),
            json!({"errorType": "OperationDisabled", "message": "OperationDisabled"}),
        ),
        start(
            "nothing at all",
            json!({}),
            json!({"message": "AppSync error"}),
            json!({"message": "AppSync error"}),
        ),
        start(
            "with code and info",
            json!({"errors": [{"errorType": "T", "message": "m", "errorCode": 401, "errorInfo": {"a": 1}}]}),
            json!({"message": "m", "extensions": {"errorType": "T", "errorCode": 401, "errorInfo": {"a": 1}}}),
            json!({"errorType": "T", "message": "m", "errorCode": 401, "errorInfo": {"a": 1}}),
        ),
        // The start is moved to other connections, and fails when they are full too.
        start(
            "full",
            json!({"errors": {"errorType": "MaxSubscriptionsReachedError", "message": "Max number of 100 subscriptions reached"}}),
            full(),
            full_native(),
        ),
        start(
            "full, older",
            json!({"errorType": "MaxSubscriptionsReachedException"}),
            full(),
            full_native(),
        ),
        Row {
            when: json!({
                "refuse_start": json!({"errors": [{"errorType": "UnsupportedOperation", "message": "unknown not supported through the realtime channel"}]}).to_string(),
                "refuse_start_without_id": true,
            }),
            ..typed(
                "without an id",
                "UnsupportedOperation",
                "unknown not supported through the realtime channel",
            )
        },
    ]
}

fn full() -> Value {
    json!({
        "message": "AppSync accepts no more subscriptions (pool.subscriptions)",
        "extensions": {"code": "UPSTREAM_FULL", "sent": "no"},
    })
}

fn full_native() -> Value {
    json!({
        "errorType": "UPSTREAM_FULL",
        "message": "AppSync accepts no more subscriptions (pool.subscriptions)",
        "errorInfo": {"code": "UPSTREAM_FULL", "sent": "no"},
    })
}

/// Removes what `rejections` and `request_ids` test: why AWS rejected the request, and its id.
fn remove_explanation(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in ["extensions", "errorInfo"] {
                if let Some(Value::Object(added)) = members.get_mut(name) {
                    added.remove("requestId");
                }
            }
            if let Some(Value::Object(extensions)) = members.get_mut("extensions") {
                for name in ["cause", "confidence", "hint", "denied"] {
                    extensions.remove(name);
                }
            }
            members.values_mut().for_each(remove_explanation);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_explanation),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn check(clients: &[Client], rows: Vec<Row>) {
    let (mut world, mut checked) = (World::builder().routes(&["event"]).in_process().await, 0);
    for row in rows {
        for client in clients {
            world.switch(
                json!({"refuse_connect": "", "refuse_start": "", "refuse_start_without_id": false}),
            );
            world.switch(row.when.clone());
            let expected = client.frames(&row);
            let mut seen = client.sees(&world, expected.len()).await;
            seen.iter_mut().for_each(remove_explanation);
            assert_eq!(seen, expected, "{client:?}: {}", row.what);
            let text = json!(seen).to_string();
            if !matches!(client, Client::Native | Client::Events) {
                for word in FOREIGN {
                    assert!(!text.contains(word), "{client:?}: {}: {text}", row.what);
                }
            }
            assert!(!text.contains("SECRET-TOKEN"), "{client:?}: {text}");
            println!("{:<24} {:<12} {text}", row.what, format!("{client:?}"));
            checked += 1;
        }
        // A lingering connection would be used again without a new handshake.
        if row.when.get("refuse_connect").is_none() {
            world.drained().await;
            world = World::builder().routes(&["event"]).in_process().await;
        }
    }
    assert!(checked >= 2 * clients.len());
    world.drained().await;
}

#[tokio::test]
async fn a_rejected_connection_reaches_clients_of_every_protocol() {
    check(&GRAPHQL, connects()).await;
}

#[tokio::test]
async fn a_rejected_start_reaches_clients_of_every_protocol() {
    check(&GRAPHQL, starts()).await;
}

#[tokio::test]
async fn a_rejected_events_connection_reaches_the_client() {
    check(&[Client::Events], connects()).await;
}

#[tokio::test]
async fn a_rejected_events_subscription_reaches_the_client() {
    check(&[Client::Events], starts()).await;
}

/// Over plain SSE, a rejection is an HTTP status.
#[tokio::test]
async fn a_rejected_events_subscription_reaches_the_client_over_sse() {
    let world = World::builder().routes(&["event"]).in_process().await;
    let rows = [
        ("UnauthorizedException", 403),
        ("AccessDeniedException", 403),
        ("SubscriptionProcessingError", 400),
        ("MaxSubscriptionsReachedError", 503),
    ];
    for (kind, status) in rows {
        let payload = json!({"errors": [{"errorType": kind, "message": "m"}]});
        world.switch(json!({"refuse_start": payload.to_string()}));
        let accept = ("accept", "text/event-stream");
        let answer = get(world.addr, "/event?channel=/default/a", &[accept]).await;
        assert_eq!(answer.status, status, "{kind}: {answer:?}");
        assert_eq!(answer.code(), "EVENTS_REFUSED");
    }
    world.drained().await;
}

/// AWS's gateways send some errors as plain text.
#[tokio::test]
async fn plain_texts_of_aws_are_kept_in_the_message() {
    let world = World::builder().in_process().await;
    let mut socket = world.acked().await;
    for (status, reason, text) in [
        (
            413,
            "Payload Too Large",
            "HTTP content length exceeded 10485760 bytes.",
        ),
        (429, "Too Many Requests", "Rate exceeded"),
        (503, "Service Unavailable", "Service Unavailable"),
    ] {
        let answer = json!({ "status": status, "content_type": "text/plain", "body": text });
        world.switch(json!({ "answer_http": answer }));
        let expected = format!("upstream responded {status} {reason}: {text}");
        let answer = world.query("{ rooms { id } }").await;
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.json()["errors"][0]["message"],
            expected,
            "{answer:?}"
        );
        socket.subscribe("q", "{ rooms { id } }").await;
        let frame = socket.next_of("q").await;
        assert_eq!(frame["payload"][0]["message"], expected, "{frame}");
    }
    world.drained().await;
}
