//! How to provoke each error.

use countersign_protocol::error_code::{Code, Sent};
use serde_json::{Value, json};

use super::{Ask, Row};

const J: &str = "content-type: application/json";
const EVENTS: &str = "accept: text/event-stream";
const PARTS: &str = "accept: multipart/mixed;subscriptionSpec=1.0";
const QUERY: &str = "{ rooms { id } }";
const MUTATION: &str = "mutation { postMessage(room: \"lobby\", body: \"b\") { id } }";
const SUBSCRIPTION: &str = "subscription { onMessage { id } }";
const TRANSPORT_WS: &str = "graphql-transport-ws";

/// A row with the usual status and `sent` of the code.
fn row(code: Code, ask: Ask) -> Row {
    let (status, sent) = code.defaults();
    Row {
        code,
        sent,
        status: status.as_u16(),
        when: json!({}),
        then: None,
        ask,
    }
}

impl Row {
    fn sent(self, sent: Sent) -> Self {
        Self { sent, ..self }
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn when(self, when: Value) -> Self {
        Self { when, ..self }
    }

    fn then(self, then: Value) -> Self {
        let then = Some(then);
        Self { then, ..self }
    }
}

/// The change that undoes [`Row::when`].
pub(super) fn switched_off() -> Value {
    json!({
        "answer_http": null, "connect_delay_ms": 0, "gate": false, "no_start_ack": false,
        "refuse_connect": "", "refuse_realtime": false, "refuse_start": "",
    })
}

/// A request on a connection of its own. `$ADDR` becomes the address.
fn request(line: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!("{line} HTTP/1.1\r\nhost: $ADDR\r\nconnection: close\r\n");
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}

fn http(line: &str, headers: &[&str], body: &str) -> Ask {
    Ask::Http(request(line, headers, body))
}

fn post(headers: &[&str], body: &str) -> Ask {
    http("POST /graphql", &[&[J], headers].concat(), body)
}

fn body(query: &str) -> String {
    json!({ "query": query }).to_string()
}

/// An operation by `POST`, whose response is a stream.
fn stream(accept: &str, query: &str) -> Ask {
    Ask::Inside(request("POST /graphql", &[J, accept], &body(query)))
}

fn batch(query: &str) -> Ask {
    let text = json!([{ "query": query }]).to_string();
    Ask::Inside(request("POST /graphql", &[J], &text))
}

fn socket_at(path: &'static str, queries: &[&str]) -> Ask {
    let frames = queries.iter().enumerate().map(|(id, query)| {
        let payload = json!({ "query": query });
        json!({ "id": id.to_string(), "type": "subscribe", "payload": payload })
    });
    Ask::Socket {
        protocol: TRANSPORT_WS,
        path,
        frames: frames.collect(),
    }
}

fn socket(query: &str) -> Ask {
    socket_at("/graphql", &[query])
}

/// An operation of the other protocols on sockets: the older one, AppSync's own, and Events.
fn other_sockets(query: &str) -> [Ask; 3] {
    let data = body(query);
    let start = |payload: Value| json!({ "id": "1", "type": "start", "payload": payload });
    let frames = |protocol, path, frame| Ask::Socket {
        protocol,
        path,
        frames: vec![frame],
    };
    [
        frames("graphql-ws", "/graphql", start(json!({ "query": query }))),
        frames(
            "graphql-ws",
            "/graphql/realtime",
            start(json!({ "data": data })),
        ),
        frames(
            "aws-appsync-event-ws",
            "/event/realtime",
            json!({ "id": "1", "type": "subscribe", "channel": "/default/a" }),
        ),
    ]
}

/// An error that any operation can have: over HTTP, in a batch, on a stream and on a socket.
pub(super) fn operations(code: Code, sent: Sent) -> Vec<Row> {
    let asks = [
        post(&[], &body(QUERY)),
        batch(QUERY),
        stream(EVENTS, QUERY),
        socket(QUERY),
        socket(SUBSCRIPTION),
        stream(EVENTS, SUBSCRIPTION),
        stream(PARTS, SUBSCRIPTION),
    ];
    asks.map(|ask| row(code, ask).sent(sent)).into()
}

/// A fixed response of the emulator.
fn answer(status: u16, kind: Option<&str>, body: &str) -> Value {
    json!({ "answer_http": {
        "status": status, "content_type": "application/json", "body": body, "error_type": kind,
    }})
}

/// Errors that countersign finds by itself, and those of one operation.
pub(super) fn ours() -> Vec<Row> {
    let get = |headers: &[&str]| http("GET /graphql?query=%7Brooms%7Bid%7D%7D", headers, "");
    let query = body(QUERY);
    let query = query.as_str();
    let reserved = |is_open, requests: &[String]| Ask::Reserved {
        is_open,
        requests: requests.to_vec(),
    };
    let token = "x-graphql-event-stream-token: $TOKEN";
    let with_id = |id: &str, query: &str| {
        let body = json!({ "query": query, "extensions": { "operationId": id } });
        request("POST /graphql", &[J, token], &body.to_string())
    };
    let by_hash =
        json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "0" } } });
    let long = "x".repeat(2_000);
    let large = answer(200, None, &json!({ "data": long }).to_string());
    let larger = answer(403, Some("X"), &"x".repeat(300_000));
    let mut rows = vec![
        row(Code::BadBatch, post(&[], "[{},{},{}]")),
        row(Code::BadDocument, http("GET /graphql?query=%7B", &[], "")),
        row(Code::BadDocument, stream(EVENTS, "{")),
        row(Code::BadDocument, socket("{")),
        row(Code::BadEvents, http("POST /event/default/a", &[J], "[]")),
        row(Code::BadExpectation, post(&["expect: tea"], query)),
        row(Code::BadFraming, post(&["transfer-encoding: chunked"], "2")),
        row(Code::BadJson, post(&[], "{\"query\": ")),
        row(Code::BadMessage, other_start(json!(5))),
        row(Code::BadParameter, http("GET /graphql", &[], "")),
        row(
            Code::BadHead,
            Ask::Http("GET /graphql HTTP/1.1\r\nnonsense\r\n\r\n".to_owned()),
        ),
        row(
            Code::BadUpgrade,
            http(
                "GET /graphql",
                &["connection: upgrade", "upgrade: websocket"],
                "",
            ),
        ),
        row(
            Code::BodyBroken,
            Ask::Http(request("POST /graphql", &[J, "transfer-encoding: chunked"], "") + "zz\r\n"),
        ),
        row(
            Code::BodyTimeout,
            Ask::Http(request("POST /graphql", &[J, "content-length: 9"], "")),
        ),
        row(Code::BodyTooLarge, post(&[], &body(&long))),
        row(
            Code::Cancelled,
            Ask::Abandoned(request("POST /graphql", &[J], &body("{ slow(ms: 0) }"))),
        )
        .when(json!({ "gate": true })),
        row(Code::CrossSite, get(&["sec-fetch-site: cross-site"])),
        row(
            Code::DocumentIdNotSupported,
            post(&[], &json!({ "documentId": "a" }).to_string()),
        ),
        row(
            Code::EventsNotAcceptable,
            http("GET /event?channel=/default/a", &[], ""),
        ),
        row(Code::Forwarded, get(&["x-forwarded-for: 10.0.0.1"])),
        row(
            Code::HeaderNotForwardable,
            other_start(json!({
                "data": body(SUBSCRIPTION),
                "extensions": { "authorization": { "x-team": "a\u{1}b" } },
            })),
        ),
        row(
            Code::HeaderNotSignable,
            http("GET /rest/orders", &["x-amz-meta: a  b"], ""),
        ),
        row(
            Code::HeadTooLarge,
            get(&[&format!("x: {}", "x".repeat(40_000))]),
        ),
        row(
            Code::HostMalformed,
            Ask::Http("GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned()),
        ),
        row(
            Code::HostNotAllowed,
            Ask::Http(
                "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_owned(),
            ),
        ),
        row(
            Code::HttpVersion,
            Ask::Http("GET / HTTP/1.0\r\nhost: $ADDR\r\n\r\n".to_owned()),
        ),
        row(Code::MethodNotAllowed, http("DELETE /graphql", &[], "")),
        row(
            Code::MutationByGet,
            http("GET /graphql?query=mutation%7Ba%7D", &[], ""),
        ),
        row(
            Code::Navigation,
            get(&[
                "sec-fetch-site: none",
                "sec-fetch-mode: navigate",
                "sec-fetch-dest: document",
            ]),
        ),
        row(Code::NoQuery, post(&[EVENTS], "{}")),
        row(Code::NoRoute, http("GET /nowhere", &[], "")),
        row(Code::NotAcceptable, post(&["accept: text/html"], query)),
        row(
            Code::OperationIdExists,
            reserved(true, &[with_id("a", SUBSCRIPTION), with_id("a", QUERY)]),
        ),
        row(
            Code::OperationIdMissing,
            reserved(false, &[request("POST /graphql", &[J, token], query)]),
        ),
        row(
            Code::OperationNotAllowed,
            http("POST /ro", &[J], &body(MUTATION)),
        ),
        row(Code::OperationNotAllowed, socket_at("/ro", &[MUTATION])),
        row(
            Code::OriginNotAllowed,
            get(&["origin: https://evil.example"]),
        ),
        row(Code::PathAmbiguous, http("GET /http/../graphql", &[], "")),
        row(
            Code::PersistedQueryNotSupported,
            post(&[], &by_hash.to_string()),
        ),
        row(
            Code::SimpleContentType,
            http(
                "POST /rest/orders",
                &["sec-fetch-site: same-origin", "content-type: text/plain"],
                "a",
            ),
        ),
        row(
            Code::StreamAlreadyOpen,
            reserved(true, &[request("GET /graphql", &[EVENTS, token], "")]),
        ),
        row(
            Code::StreamAlreadyRegistered,
            reserved(false, &[request("PUT /graphql", &[token], "")]),
        ),
        row(
            Code::StreamNotFound,
            http(
                "GET /graphql",
                &[EVENTS, "x-graphql-event-stream-token: none"],
                "",
            ),
        ),
        row(
            Code::StreamNotOpened,
            reserved(false, &["a", "b", "c"].map(|id| with_id(id, "{"))),
        ),
        row(Code::SubscriptionOverHttp, post(&[], &body(SUBSCRIPTION))),
        row(Code::SubscriptionOverHttp, batch(SUBSCRIPTION)),
        row(
            Code::TargetForm,
            http("GET http://evil.example/graphql", &[], ""),
        ),
        row(
            Code::TargetNotSignable,
            http("GET /rest/orders//1", &[], ""),
        ),
        row(
            Code::TooManyOperations,
            socket_at("/graphql", &[SUBSCRIPTION, SUBSCRIPTION]),
        ),
        row(
            Code::TransferCoding,
            Ask::Http(request(
                "POST /graphql",
                &[J, "transfer-encoding: gzip, chunked"],
                "",
            )),
        ),
        row(
            Code::UnsupportedMediaType,
            http("POST /graphql", &["content-type: text/plain"], query),
        ),
        row(
            Code::UploadNotSupported,
            http(
                "POST /graphql",
                &["content-type: multipart/form-data; boundary=x"],
                "--x--",
            ),
        ),
        row(Code::UpstreamResponseTooLarge, post(&[], query)).when(larger),
        row(Code::UpstreamResponseTooLarge, socket(QUERY)).when(large.clone()),
        row(Code::UpstreamResponseTooLarge, stream(EVENTS, QUERY)).when(large.clone()),
        row(Code::UpstreamResponseTooLarge, batch(QUERY)).when(large),
    ];
    for (status, sent) in [(400, Sent::No), (500, Sent::Maybe), (302, Sent::Yes)] {
        for ask in [socket(QUERY), stream(EVENTS, QUERY), batch(QUERY)] {
            let when = answer(status, None, "{\"message\":\"m\"}");
            rows.push(row(Code::UpstreamStatus, ask).sent(sent).when(when));
        }
        for ask in [socket(QUERY), stream(EVENTS, QUERY), batch(QUERY)] {
            let when = answer(status, None, "<html>");
            rows.push(row(Code::UpstreamNotJson, ask).sent(sent).when(when));
        }
    }
    rows
}

/// A start of the older protocol.
fn other_start(payload: Value) -> Ask {
    Ask::Socket {
        protocol: "graphql-ws",
        path: "/graphql",
        frames: vec![json!({ "id": "1", "type": "start", "payload": payload })],
    }
}

/// AWS's own errors, which are passed on.
pub(super) fn rejections() -> Vec<Row> {
    let signature = "InvalidSignatureException";
    let rows = [
        (
            Code::AccessDenied,
            "AccessDeniedException",
            "User: a is not authorized to perform: execute-api:Invoke",
        ),
        (Code::Forbidden, "ForbiddenException", "Forbidden"),
        (
            Code::NoSuchRoute,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        ),
        (
            Code::ScopeWrong,
            signature,
            "Credential should be scoped to a valid region.",
        ),
        (
            Code::SignatureExpired,
            signature,
            "Signature expired: 1 is now earlier than 2",
        ),
        (
            Code::SignatureIncomplete,
            "IncompleteSignatureException",
            "Authorization header requires 'Signature' parameter.",
        ),
        (
            Code::SignatureMismatch,
            signature,
            "The request signature we calculated does not match the signature you provided.",
        ),
        (
            Code::SignatureNotYetCurrent,
            signature,
            "Signature not yet current: 2 is still later than 1",
        ),
        (
            Code::TokenExpired,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ),
        (
            Code::TokenInvalid,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
    ];
    let rows = rows.into_iter().flat_map(|(code, kind, message)| {
        let body = json!({ "errors": [{ "errorType": kind, "message": message }] });
        let over_http = Ask::Logged(request("POST /graphql", &[J], &self::body(QUERY)));
        let asks = [
            over_http,
            socket(QUERY),
            stream(EVENTS, QUERY),
            batch(QUERY),
        ];
        asks.map(|ask| {
            row(code, ask)
                .status(403)
                .when(answer(403, Some(kind), &body.to_string()))
        })
    });
    rows.collect()
}

/// Errors of subscriptions, of which AppSync's realtime endpoint is the cause.
pub(super) fn realtime() -> Vec<Row> {
    let refused = |kind: &str| {
        let error = json!({ "errors": [{ "errorType": kind, "message": "m" }] });
        json!({ "refuse_start": error.to_string() })
    };
    let connect = json!({ "errors": [{ "errorType": "UnauthorizedException", "message": "m" }] });
    let connect = json!({ "refuse_connect": connect.to_string() });
    let channel = || http("GET /event?channel=/default/a", &[EVENTS], "");
    let slow = json!({ "gate": true });
    let mut rows = vec![
        row(Code::EventsRefused, channel()).when(refused("BadRequest")),
        row(Code::EventsRefused, channel())
            .status(403)
            .when(refused("UnauthorizedException")),
        row(Code::EventsRefused, channel())
            .status(503)
            .when(json!({ "refuse_realtime": true })),
        row(Code::SubscriptionLost, stream(PARTS, SUBSCRIPTION)).then(json!({ "close_all": true })),
        row(Code::UpstreamTimeout, post(&[], &body("{ slow(ms: 0) }"))).when(slow.clone()),
        row(Code::UpstreamTimeout, batch("{ slow(ms: 0) }")).when(slow.clone()),
        row(Code::UpstreamTimeout, stream(EVENTS, "{ slow(ms: 0) }")).when(slow.clone()),
        row(Code::UpstreamTimeout, socket("{ slow(ms: 0) }")).when(slow),
    ];
    let subscriptions = || {
        let standard = [
            socket(SUBSCRIPTION),
            stream(EVENTS, SUBSCRIPTION),
            stream(PARTS, SUBSCRIPTION),
        ];
        standard.into_iter().chain(other_sockets(SUBSCRIPTION))
    };
    for ask in subscriptions() {
        rows.push(row(Code::UpstreamFull, ask).when(refused("MaxSubscriptionsReachedError")));
    }
    for ask in subscriptions() {
        rows.push(row(Code::UpstreamRefused, ask).when(connect.clone()));
    }
    for ask in subscriptions() {
        let row = row(Code::UpstreamTimeout, ask).sent(Sent::Maybe);
        rows.push(row.when(json!({ "no_start_ack": true })));
    }
    for ask in subscriptions() {
        let row = row(Code::UpstreamTimeout, ask).sent(Sent::No);
        rows.push(row.when(json!({ "connect_delay_ms": 60_000 })));
    }
    rows
}

/// Errors of a port that requires a token.
pub(super) fn tokens() -> Vec<Row> {
    let wrong = "authorization: Bearer none";
    vec![
        row(Code::TokenMissing, post(&[], &body(QUERY))),
        row(Code::TokenWrong, post(&[wrong], &body(QUERY))),
    ]
}

/// Errors of a port that requires a client certificate.
pub(super) fn certificates() -> Vec<Row> {
    vec![row(Code::CertificateMissing, post(&[], &body(QUERY)))]
}

/// Errors of a fake upstream, by the name of its fault.
pub(super) fn responses() -> Vec<Row> {
    let mut rows = vec![
        row(
            Code::UpstreamErrorUnreadable,
            post(&[], &body("{ compressed }")),
        )
        .status(403),
    ];
    for (query, sent) in [("{ broken }", Sent::Maybe), ("{ interrupted }", Sent::Yes)] {
        let asks = [
            post(&[], &body(query)),
            batch(query),
            stream(EVENTS, query),
            socket(query),
        ];
        rows.extend(asks.map(|ask| row(Code::UpstreamBroken, ask).sent(sent)));
    }
    rows
}

const STALLED: &str = "{ stalled }";

/// A request to the fake upstream whose response holds all buffers.
pub(super) fn post_stalled() -> String {
    request("POST /graphql", &[J], &body(STALLED))
}

/// Errors while the buffers have no capacity for another response.
pub(super) fn buffers() -> Vec<Row> {
    let asks = [
        post(&[], &body(STALLED)),
        batch(STALLED),
        stream(EVENTS, STALLED),
    ];
    asks.map(|ask| row(Code::BuffersFull, ask)).into()
}
