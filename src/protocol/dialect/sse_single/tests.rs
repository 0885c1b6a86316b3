//! Transcripts of requests about a stream.

use super::super::transcripts::{LIMITS, error, next, show};
use super::*;

struct Harness(SseSingle);

impl Harness {
    fn new() -> Self {
        Self(SseSingle::new(LIMITS, Documents::default()))
    }

    fn start(&mut self, json: &str) -> StreamResponse {
        self.0.start(serde_json::from_str(json).unwrap())
    }

    fn event(&mut self, key: u64, event: &Event) {
        self.0.handle_event(OperationKey(key), event);
    }

    #[track_caller]
    fn check_outputs(&mut self, expected: &[&str]) {
        let outputs: Vec<String> = std::iter::from_fn(|| self.0.poll_output())
            .map(|output| show(&output))
            .collect();
        assert_eq!(outputs, expected);
    }
}

const SUBSCRIPTION: &str = r#"{"query":"subscription { a }","extensions":{"operationId":"a"}}"#;
const QUERY: &str = r#"{"query":"{ a }","extensions":{"operationId":"b"}}"#;

#[test]
fn operations_run_concurrently() {
    let mut bench = Harness::new();
    assert_eq!(bench.start(SUBSCRIPTION), StreamResponse::Started);
    assert_eq!(bench.start(QUERY), StreamResponse::Started);
    bench.check_outputs(&[
        r#"! start 1 subscription {"query":"subscription { a }","variables":{},"extensions":{"operationId":"a"}}"#,
        r#"! start 2 query {"query":"{ a }","variables":{},"extensions":{"operationId":"b"}}"#,
    ]);
    bench.event(2, &next("{\"data\":\n1}"));
    bench.event(2, &Event::Complete);
    bench.event(1, &next(r#"{"data":2}"#));
    bench.event(1, &error("x"));
    bench.event(1, &next(r#"{"data":3}"#));
    bench.check_outputs(&[
        "< event: next\ndata: {\"id\":\"b\",\"payload\":{\"data\": 1}}\n\n",
        "< event: complete\ndata: {\"id\":\"b\"}\n\n",
        "< event: next\ndata: {\"id\":\"a\",\"payload\":{\"data\":2}}\n\n",
        "< event: next\ndata: {\"id\":\"a\",\"payload\":{\"errors\":[{\"message\":\"x\"}]}}\n\n",
        "< event: complete\ndata: {\"id\":\"a\"}\n\n",
    ]);
    assert_eq!(bench.start(SUBSCRIPTION), StreamResponse::Started);
}

#[test]
fn active_id_conflicts_and_stopped_id_is_free() {
    let mut bench = Harness::new();
    bench.start(SUBSCRIPTION);
    assert_eq!(bench.start(SUBSCRIPTION), StreamResponse::DuplicateId);
    assert_eq!(bench.0.stop("a"), StreamResponse::Stopped);
    assert_eq!(bench.0.stop("a"), StreamResponse::Stopped);
    assert_eq!(bench.start(SUBSCRIPTION), StreamResponse::Started);
    bench.event(1, &next(r#"{"data":1}"#));
    bench.check_outputs(&[
        r#"! start 1 subscription {"query":"subscription { a }","variables":{},"extensions":{"operationId":"a"}}"#,
        "! stop 1",
        r#"! start 2 subscription {"query":"subscription { a }","variables":{},"extensions":{"operationId":"a"}}"#,
    ]);
}

#[test]
fn an_operation_needs_an_id() {
    let mut bench = Harness::new();
    for json in [
        r#"{"query":"{ a }"}"#,
        r#"{"query":"{ a }","extensions":{}}"#,
        r#"{"query":"{ a }","extensions":{"operationId":""}}"#,
        r#"{"query":"{ a }","extensions":{"operationId":null}}"#,
    ] {
        assert_eq!(bench.start(json), StreamResponse::NoOperationId, "{json}");
    }
    for (id, reason) in [
        ("1", "must be a string"),
        ("[]", "must be a string"),
        (
            r#""\ud83d""#,
            "has an invalid Unicode escape, half of a surrogate pair",
        ),
    ] {
        let json = format!(r#"{{"query":"{{ a }}","extensions":{{"operationId":{id}}}}}"#);
        let expected = StreamResponse::BadOperationId(reason);
        assert_eq!(bench.start(&json), expected, "{json}");
    }
}

/// graphql-sse sends the operation again after a response that is not 202.
#[test]
fn an_invalid_unicode_escape_is_reported_in_the_stream() {
    let mut bench = Harness::new();
    let mut post = |query: &str, id: &str| {
        let json = format!(r#"{{"query":"{query}","extensions":{{"operationId":{id}}}}}"#);
        let request = StreamRequest::parse(json.as_bytes()).unwrap();
        bench.0.handle(request)
    };
    assert_eq!(post(r"\ud83d", r#""a""#), StreamResponse::Started);
    assert_eq!(
        post(r"\ud83d", "7"),
        StreamResponse::BadOperationId("must be a string")
    );
    assert_eq!(post("{ a }", r#""b""#), StreamResponse::Started);
    assert_eq!(post(r"\ud83d", r#""b""#), StreamResponse::DuplicateId);
    bench.check_outputs(&[
        "< event: next\ndata: {\"id\":\"a\",\"payload\":{\"errors\":[{\"message\":\"the body: invalid Unicode escape at line 1, column 17: half of a surrogate pair\",\"extensions\":{\"code\":\"BAD_JSON\",\"sent\":\"no\"}}]}}\n\n",
        "< event: complete\ndata: {\"id\":\"a\"}\n\n",
        r#"! start 1 query {"query":"{ a }","variables":{},"extensions":{"operationId":"b"}}"#,
    ]);
    for malformed in [
        r#"{"query":"\ud83d"}"#,
        r#"{"query":"#,
        r#"{"query":1,"extensions":{}}"#,
    ] {
        assert!(
            StreamRequest::parse(malformed.as_bytes()).is_err(),
            "{malformed}"
        );
    }
}

#[test]
fn overlong_operation_id_is_rejected() {
    let mut bench = Harness::new();
    let operation = |length: usize| {
        let extensions = format!(r#"{{"operationId":"{}"}}"#, "x".repeat(length));
        format!(r#"{{"query":"{{ a }}","extensions":{extensions}}}"#)
    };
    assert_eq!(
        bench.start(&operation(1_025)),
        StreamResponse::BadOperationId("is longer than 1024 bytes")
    );
    assert_eq!(bench.start(&operation(1_024)), StreamResponse::Started);
}

#[test]
fn bad_document_is_reported_in_the_stream_and_the_queue_is_bounded() {
    let mut bench = Harness::new();
    let bad = r#"{"query":"query A { a } query B { b }","extensions":{"operationId":"x"}}"#;
    let answers: Vec<StreamResponse> = (0..5).map(|_| bench.start(bad)).collect();
    assert_eq!(answers[0], StreamResponse::Started);
    assert_eq!(answers[4], StreamResponse::TooManyQueued);
    let text = show(&bench.0.poll_output().unwrap());
    assert!(text.contains(r#""code":"BAD_DOCUMENT""#), "{text}");
    let text = show(&bench.0.poll_output().unwrap());
    assert_eq!(text, "< event: complete\ndata: {\"id\":\"x\"}\n\n");
}

#[test]
fn comment_comes_first_and_a_loss_interrupts() {
    let mut bench = Harness::new();
    bench.start(QUERY);
    bench.0.open();
    bench.0.heartbeat();
    bench.0.lose("gone");
    bench.check_outputs(&[
        "< :\n\n",
        r#"! start 1 query {"query":"{ a }","variables":{},"extensions":{"operationId":"b"}}"#,
        "< :\n\n",
        "! close 1012 gone",
    ]);
}
