//! Transcripts, and random ones that are compared with a model.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::super::transcripts::{Harness, LIMITS, TIMES, error, next};
use super::*;
use crate::graphql::OperationKind;

fn bench() -> Harness<TransportWs> {
    Harness::new(|now| TransportWs::new(now, TIMES, LIMITS, Documents::default()))
}

/// Starts at the opening of the socket.
#[track_caller]
fn check(transcript: &str) {
    bench().check(transcript);
}

/// Starts at the acknowledgement.
#[track_caller]
fn check_ready(transcript: &str) {
    bench().ready().check(transcript);
}

#[test]
fn a_socket_is_acknowledged_once_the_session_accepts() {
    check(
        r#"
        > {"type":"connection_init"}
        ! init
        . accept
        < {"type":"connection_ack"}
        . accept
        "#,
    );
    check(
        r#"
        > { "payload" : null, "type" : "connection_init", "id": "sgqlc" }
        ! init
        . close 1013 upstream is unavailable
        ! close 1013 upstream is unavailable
        . accept
        "#,
    );
    check(". accept");
}

#[test]
fn an_init_payload_may_be_any_object() {
    for payload in ["{}", "null", r#"{"authorization":"Bearer x","n":[1]}"#] {
        check(&format!(
            "> {{\"type\":\"connection_init\",\"payload\":{payload}}}\n! init"
        ));
    }
    for payload in ["[]", "1", "\"x\"", "true"] {
        check(&format!(
            "> {{\"type\":\"connection_init\",\"payload\":{payload}}}
             ! close 4400 Invalid message received: payload must be an object"
        ));
    }
}

#[test]
fn pings_are_answered_at_any_time_with_their_payload() {
    let pings = r#"
        > {"type":"ping"}
        < {"type":"pong"}
        > {"type":"ping","payload":null}
        < {"type":"pong"}
        > {"type":"ping","payload": {"a": [1.0, "\u003c"]} }
        < {"type":"pong","payload":{"a": [1.0, "\u003c"]}}
        > {"type":"pong"}
        > {"type":"pong","payload":{"a":1}}
    "#;
    check(pings);
    check_ready(pings);
    check_ready(&format!(". closing\n{pings}"));
}

/// Spring's `WebSocketGraphQlClient` writes every member, also those that are null.
#[test]
fn members_that_are_null_count_as_missing() {
    check(
        r#"
        > {"id":null,"type":"connection_init","payload":{}}
        ! init
        . accept
        < {"type":"connection_ack"}
        > {"id":"1","type":"subscribe","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        > {"id":null,"type":"pong","payload":null}
        > {"id":null,"type":"ping","payload":null}
        < {"type":"pong"}
        > {"id":"1","type":"complete","payload":null}
        ! stop 1
        "#,
    );
}

#[test]
fn a_second_init_closes_4429() {
    let close = "! close 4429 Too many initialisation requests";
    check(&format!(
        r#"
        > {{"type":"connection_init"}}
        ! init
        > {{"type":"connection_init"}}
        {close}
        . accept
        "#
    ));
    check_ready(&format!("> {{\"type\":\"connection_init\"}}\n{close}"));
}

#[test]
fn missing_init_closes_4408() {
    check(
        r#"
        > {"type":"ping"}
        < {"type":"pong"}
        . wait 9999ms
        . wait 1ms
        ! close 4408 Connection initialisation timeout
        . wait 10s
        > {"type":"connection_init"}
        "#,
    );
    check("> {\"type\":\"connection_init\"}\n! init\n. wait 1h");
}

#[test]
fn malformed_messages_close_4400() {
    let no_frame = "the message is not a JSON object with a type";
    let cases = [
        ("", no_frame),
        ("hello", no_frame),
        ("null", no_frame),
        ("[]", no_frame),
        (r#"[{"type":"ping"}]"#, no_frame),
        (r#"["ping"]"#, no_frame),
        ("{}", no_frame),
        (r#"{"type":null}"#, no_frame),
        (r#"{"type":7}"#, "type must be a string"),
        (
            r#"{"type":"\ud83d"}"#,
            "type has an invalid Unicode escape, half of a surrogate pair",
        ),
        (r#"{"type":"ping","type":"ping"}"#, no_frame),
        (r#"{"type":"ping"} {"type":"ping"}"#, no_frame),
        (r#"{"type":"ping""#, no_frame),
        (r#"{"type":"complete","id":1}"#, "id must be a string"),
        (
            r#"{"type":"subscribe","id":1,"payload":{"query":"{ a }"}}"#,
            "id must be a string",
        ),
        (r#"{"type":""}"#, "unknown type"),
        (r#"{"type":"start","id":"1"}"#, "unknown type"),
        (r#"{"type":"next","id":"1"}"#, "unknown type"),
        (r#"{"type":"connection_ack"}"#, "unknown type"),
        (r#"{"type":"connection_terminate"}"#, "unknown type"),
        (
            r#"{"type":"ping","payload":[]}"#,
            "payload must be an object",
        ),
        (
            r#"{"type":"pong","payload":0}"#,
            "payload must be an object",
        ),
        (
            r#"{"type":"complete"}"#,
            "complete needs an id, a non-empty string",
        ),
        (
            r#"{"type":"complete","id":""}"#,
            "complete needs an id, a non-empty string",
        ),
    ];
    for (frame, reason) in cases {
        let close = format!("! close 4400 Invalid message received: {reason}");
        for mut bench in [bench(), bench().ready()] {
            bench.machine.handle_text(bench.now, frame);
            assert_eq!(bench.outputs(), [close.as_str()], "{frame}");
        }
    }
    check(". binary\n! close 4400 Invalid message received: binary message");
}

/// Two hundred active ones of a megabyte, each stored twice, used 400 MiB.
#[test]
fn overlong_id_is_rejected() {
    let subscribe = |length: usize| {
        let (id, payload) = ("x".repeat(length), r#"{"query":"{ a }"}"#);
        format!(r#"> {{"id":"{id}","type":"subscribe","payload":{payload}}}"#)
    };
    check_ready(&format!(
        "{}\n! start 1 query {{\"query\":\"{{ a }}\",\"variables\":{{}}}}",
        subscribe(1_024)
    ));
    check_ready(&format!(
        "{}\n! close 4400 Invalid message received: the id is longer than 1024 bytes",
        subscribe(1_025)
    ));
}

#[test]
fn bad_operations_close_4400() {
    let query = "payload needs a query, and its other members must have the right types";
    let id = "subscribe needs an id, a non-empty string";
    let cases = [
        (r#""payload":{"query":"{a}"}"#, id),
        (r#""id":null,"payload":{"query":"{a}"}"#, id),
        (r#""id":"","payload":{"query":"{a}"}"#, id),
        (r#""id":"1""#, "the operation needs a payload"),
        (
            r#""id":"1","payload":null"#,
            "the operation needs a payload",
        ),
        (
            r#""id":"1","payload":[{"query":"{a}"}]"#,
            "payload must be an object",
        ),
        (r#""id":"1","payload":"{a}""#, "payload must be an object"),
        (r#""id":"1","payload":{}"#, query),
        (r#""id":"1","payload":{"query":null}"#, query),
        (r#""id":"1","payload":{"query":1}"#, query),
        (
            r#""id":"1","payload":{"query":"{a}","operationName":1}"#,
            query,
        ),
        (
            r#""id":"1","payload":{"query":"{a}","variables":[]}"#,
            "payload.variables must be an object",
        ),
        (
            r#""id":"1","payload":{"query":"{a}","variables":"{}"}"#,
            "payload.variables must be an object",
        ),
        (
            r#""id":"1","payload":{"query":"{a}","extensions":1}"#,
            "payload.extensions must be an object",
        ),
    ];
    for (members, reason) in cases {
        check_ready(&format!(
            "> {{\"type\":\"subscribe\",{members}}}\n! close 4400 Invalid message received: {reason}"
        ));
    }
}

/// The socket was closed, with all its operations.
#[test]
fn an_invalid_unicode_escape_fails_its_own_operation() {
    let failed = |id: &str, message: &str| {
        let extensions = r#""extensions":{"code":"BAD_MESSAGE","sent":"no"}"#;
        format!(
            r#"< {{"id":{id},"type":"error","payload":[{{"message":"{message}",{extensions}}}]}}"#
        )
    };
    let at = |column: usize| {
        format!(
            "payload: invalid Unicode escape at line 1, column {column}: half of a surrogate pair"
        )
    };
    let id = "id has an invalid Unicode escape, half of a surrogate pair";
    for (members, answer) in [
        (
            r#""id":"2","payload":{"query":"{ a(b: \"\ud83d\") }"}"#,
            failed(r#""2""#, &at(27)),
        ),
        (
            r#""id":"2","payload":{"query":"{ a }","operationName":"\udd25"}"#,
            failed(r#""2""#, &at(40)),
        ),
        (
            r#""id":"\ud83d","payload":{"query":"{ a }"}"#,
            failed(r#""\ud83d""#, id),
        ),
        // AppSync decides about variables.
        (
            r#""id":"2","payload":{"query":"{ a }","variables":{"b":"\ud83d"}}"#,
            r#"! start 2 query {"query":"{ a }","variables":{"b":"\ud83d"}}"#.to_owned(),
        ),
    ] {
        check_ready(&format!(
            r#"
            > {{"type":"subscribe","id":"1","payload":{{"query":"{{ a }}"}}}}
            ! start 1 query {{"query":"{{ a }}","variables":{{}}}}
            > {{"type":"subscribe",{members}}}
            {answer}
            > {{"type":"complete","id":"\ud83d"}}
            . complete 1
            < {{"id":"1","type":"complete"}}
            "#
        ));
    }
    // Such a message has the rights of any other.
    check(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"\ud83d"}}
        ! close 4401 Unauthorized
        "#,
    );
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        ! start 1 query {"query":"{ a }","variables":{}}
        > {"type":"subscribe","id":"1","payload":{"query":"\ud83d"}}
        ! close 4409 Subscriber for 1 already exists
        "#,
    );
}

#[test]
fn an_operation_before_the_acknowledgement_closes_4401() {
    check(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        ! close 4401 Unauthorized
        "#,
    );
    check(
        r#"
        > {"type":"connection_init"}
        ! init
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        ! close 4401 Unauthorized
        . accept
        "#,
    );
}

#[test]
fn operations_of_all_kinds_run_at_once_and_end_once() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"q","payload":{"query":"{ a }","variables":null,"operationName":null}}
        ! start 1 query {"query":"{ a }","variables":{}}
        > {"type":"subscribe","id":"s","payload":{"query":"subscription S { b }","variables":{ "n": 1.0 },"extensions":{"x":1}}}
        ! start 2 subscription {"query":"subscription S { b }","variables":{ "n": 1.0 },"extensions":{"x":1}}
        > {"type":"subscribe","id":"m","payload":{"query":"mutation M { c } query Q { a }","operationName":"M"}}
        ! start 3 mutation {"query":"mutation M { c } query Q { a }","variables":{},"operationName":"M"}
        . started 2
        . next 2 {"data":{"b":1}}
        < {"id":"s","type":"next","payload":{"data":{"b":1}}}
        . next 1 {"data":{"a":1},"errors":[{"message":"partly"}]}
        < {"id":"q","type":"next","payload":{"data":{"a":1},"errors":[{"message":"partly"}]}}
        . complete 1
        < {"id":"q","type":"complete"}
        . error 3 refused
        < {"id":"m","type":"error","payload":[{"message":"refused"}]}
        . next 2 {"data":{"b":2}}
        < {"id":"s","type":"next","payload":{"data":{"b":2}}}
        . complete 2
        < {"id":"s","type":"complete"}
        "#,
    );
}

#[test]
fn nothing_follows_an_end() {
    for end in ["complete 1", "error 1 x"] {
        let mut bench = bench().ready();
        bench.input(r#"> {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}"#);
        bench.input(&format!(". {end}"));
        assert_eq!(bench.outputs().len(), 2, "{end}");
        for late in ["next 1 {\"data\":1}", "error 1 y", "complete 1", "lost 1"] {
            bench.input(&format!(". {late}"));
            assert_eq!(bench.outputs(), [""; 0], "{late} after {end}");
        }
    }
}

#[test]
fn a_live_id_used_again_closes_4409() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        ! close 4409 Subscriber for 1 already exists
        . next 1 {"data":{"a":1}}
        . complete 1
        "#,
    );
}

#[test]
fn active_id_conflicts_even_with_an_invalid_document() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"é","payload":{"query":"{ a }"}}
        ! start 1 query {"query":"{ a }","variables":{}}
        > {"type":"subscribe","id":"\u00e9","payload":{"query":"no document"}}
        ! close 4409 Subscriber for é already exists
        "#,
    );
}

#[test]
fn an_id_is_free_after_every_kind_of_end() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        ! start 1 query {"query":"{ a }","variables":{}}
        . complete 1
        < {"id":"1","type":"complete"}
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        ! start 2 query {"query":"{ a }","variables":{}}
        . error 2 x
        < {"id":"1","type":"error","payload":[{"message":"x"}]}
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        ! start 3 query {"query":"{ a }","variables":{}}
        > {"type":"complete","id":"1"}
        ! stop 3
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        ! start 4 query {"query":"{ a }","variables":{}}
        . next 3 {"data":{"a":"of the old one"}}
        . complete 3
        . complete 4
        < {"id":"1","type":"complete"}
        "#,
    );
}

#[test]
fn a_clients_complete_stops_and_is_not_echoed() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        > {"type":"complete","id":"1"}
        ! stop 1
        > {"type":"complete","id":"1"}
        . next 1 {"data":{"a":1}}
        . complete 1
        . error 1 late
        "#,
    );
}

#[test]
fn unknown_ids_and_keys_are_ignored() {
    check_ready(
        r#"
        > {"type":"complete","id":"never"}
        . next 7 {"data":null}
        . complete 7
        . error 7 x
        . lost 7
        "#,
    );
    check(r#"> {"type":"complete","id":"before the acknowledgement"}"#);
}

#[test]
fn a_bad_document_is_an_error_of_the_operation() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"{"}}
        < {"id":"1","type":"error","payload":[{"message":"syntax error at line 1, column 2: expected at least one Selection in Selection Set","locations":[{"column":2,"line":1}],"extensions":{"code":"BAD_DOCUMENT","sent":"no"}}]}
        > {"type":"subscribe","id":"1","payload":{"query":"fragment F on T { a }"}}
        < {"id":"1","type":"error","payload":[{"message":"the document has no operation","extensions":{"code":"BAD_DOCUMENT","sent":"no"}}]}
        > {"type":"subscribe","id":"1","payload":{"query":"query A { a } query B { b }"}}
        < {"id":"1","type":"error","payload":[{"message":"the document has several operations: set operationName to one of them","extensions":{"code":"BAD_DOCUMENT","sent":"no"}}]}
        > {"type":"subscribe","id":"1","payload":{"query":"query A { a }","operationName":"\"C\""}}
        < {"id":"1","type":"error","payload":[{"message":"the document has no operation named \"\\\"C\\\"\"","extensions":{"code":"BAD_DOCUMENT","sent":"no"}}]}
        > {"type":"subscribe","id":"1","payload":{"query":"query A { a }"}}
        ! start 1 query {"query":"query A { a }","variables":{}}
        "#,
    );
}

#[test]
fn operation_limits_apply_to_each_kind() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        > {"type":"subscribe","id":"2","payload":{"query":"subscription { a }"}}
        ! start 2 subscription {"query":"subscription { a }","variables":{}}
        > {"type":"subscribe","id":"3","payload":{"query":"subscription { a }"}}
        < {"id":"3","type":"error","payload":[{"message":"too many operations: the maximum for one client is 2 (limits.subscriptions)","extensions":{"code":"TOO_MANY_OPERATIONS","sent":"no"}}]}
        > {"type":"subscribe","id":"4","payload":{"query":"{ a }"}}
        ! start 3 query {"query":"{ a }","variables":{}}
        > {"type":"subscribe","id":"5","payload":{"query":"mutation { a }"}}
        ! start 4 mutation {"query":"mutation { a }","variables":{}}
        > {"type":"subscribe","id":"6","payload":{"query":"{ a }"}}
        < {"id":"6","type":"error","payload":[{"message":"too many operations: the maximum for one client is 2 (limits.operations)","extensions":{"code":"TOO_MANY_OPERATIONS","sent":"no"}}]}
        > {"type":"complete","id":"1"}
        ! stop 1
        > {"type":"subscribe","id":"3","payload":{"query":"subscription { a }"}}
        ! start 5 subscription {"query":"subscription { a }","variables":{}}
        "#,
    );
}

#[test]
fn no_operation_starts_while_closing_and_running_ones_may_end() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"mutation { a }"}}
        ! start 1 mutation {"query":"mutation { a }","variables":{}}
        > {"type":"subscribe","id":"2","payload":{"query":"subscription { a }"}}
        ! start 2 subscription {"query":"subscription { a }","variables":{}}
        . closing
        > {"type":"subscribe","id":"3","payload":{"query":"{ a }"}}
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        > {"type":"connection_init"}
        . next 1 {"data":{"a":1}}
        < {"id":"1","type":"next","payload":{"data":{"a":1}}}
        . complete 1
        < {"id":"1","type":"complete"}
        > {"type":"complete","id":"2"}
        ! stop 2
        . close 1012 restart
        ! close 1012 restart
        "#,
    );
    check(
        r#"
        . closing
        > {"type":"connection_init"}
        . accept
        . wait 1h
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        "#,
    );
    check(
        r#"
        > {"type":"connection_init"}
        ! init
        . closing
        . accept
        "#,
    );
}

#[test]
fn lost_upstream_is_reported_by_the_sessions_close() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        . lost 1
        . close 1012 the upstream connection was lost
        ! close 1012 the upstream connection was lost
        "#,
    );
}

#[test]
fn nothing_follows_a_close() {
    check_ready(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        . close 1012 restart
        ! close 1012 restart
        . close 1012 again
        . next 1 {"data":{"a":1}}
        . complete 1
        . closing
        . accept
        . binary
        . wait 1h
        > {"type":"ping"}
        > {"type":"connection_init"}
        > {"type":"complete","id":"1"}
        > garbage
        "#,
    );
}

#[test]
fn a_result_without_members_becomes_null_data() {
    for empty in ["{}", "{ }", "null", "[]", "\"x\"", "7"] {
        check_ready(&format!(
            r#"
            > {{"type":"subscribe","id":"1","payload":{{"query":"{{ a }}"}}}}
            ! start 1 query {{"query":"{{ a }}","variables":{{}}}}
            . next 1 {empty}
            < {{"id":"1","type":"next","payload":{{"data":null}}}}
            "#
        ));
    }
}

/// AppSync's response was not recognised as an object, and its data was dropped.
#[test]
fn white_space_around_a_result_keeps_its_data() {
    let mut bench = bench().ready();
    bench.input(r#"> {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}"#);
    bench.outputs();
    let event = next("\r\n {\"data\":{\"a\":1}}\n");
    bench.machine.handle_event(OperationKey(1), &event);
    assert_eq!(
        bench.outputs(),
        [r#"< {"id":"1","type":"next","payload":{"data":{"a":1}}}"#]
    );
}

#[test]
fn a_close_reason_fits_its_frame_and_ends_between_characters() {
    for (id, kept) in [("x", 400), ("é", 400), ("🦀", 200), ("€", 37)] {
        let mut bench = bench().ready();
        let frame = serde_json::json!({
            "type": "subscribe", "id": id.repeat(kept), "payload": {"query": "{ a }"},
        });
        bench.machine.handle_text(bench.now, &frame.to_string());
        bench.machine.handle_text(bench.now, &frame.to_string());
        let Some(Output::Close(close)) = std::iter::from_fn(|| bench.machine.poll_output()).last()
        else {
            panic!("not closed");
        };
        assert_eq!(close.code, 4409);
        assert!(
            (120..=123).contains(&close.reason.len()),
            "{}",
            close.reason
        );
        assert!(close.reason.starts_with(&format!("Subscriber for {id}")));
    }
}

// === random transcripts ===

#[derive(Clone, Debug)]
enum Step {
    Init,
    Ping,
    Subscribe(usize, usize),
    ClientComplete(usize),
    Text(String),
    Accept,
    Next(u64),
    Error(u64),
    Complete(u64),
    Lost(u64),
    Wait(u64),
    Closing,
    Close,
}

const IDS: [&str; 4] = ["1", "a\"\\", "é🦀", "0"];
/// A document and its kind; `None` is rejected.
const DOCUMENTS: [(&str, Option<OperationKind>); 4] = [
    ("{ a }", Some(OperationKind::Query)),
    ("mutation { a }", Some(OperationKind::Mutation)),
    ("subscription { a }", Some(OperationKind::Subscription)),
    ("{ a", None),
];

fn subscribe(id: usize, document: usize) -> String {
    serde_json::json!({
        "type": "subscribe", "id": IDS[id], "payload": {"query": DOCUMENTS[document].0},
    })
    .to_string()
}

fn completion(id: usize) -> String {
    serde_json::json!({"type": "complete", "id": IDS[id]}).to_string()
}

/// The complete messages of a client.
fn valid() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#"{"type":"connection_init","payload":{}}"#.to_owned()),
        Just(r#"{"type":"ping","payload":{"a":1}}"#.to_owned()),
        Just(r#"{"type":"pong"}"#.to_owned()),
        (0..IDS.len(), 0..DOCUMENTS.len()).prop_map(|(id, document)| subscribe(id, document)),
        (0..IDS.len()).prop_map(completion),
    ]
}

/// Returns a valid frame with one part replaced.
fn mutated() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        Just("null".to_owned()),
        Just("[".to_owned()),
        Just("\"id\":1,".to_owned()),
        "\\PC{0,3}",
    ];
    (valid(), any::<prop::sample::Index>(), 0..4_usize, piece).prop_map(
        |(frame, at, length, piece)| {
            let chars: Vec<char> = frame.chars().collect();
            let at = at.index(chars.len());
            let end = (at + length).min(chars.len());
            let (head, tail) = (&chars[..at], &chars[end..]);
            head.iter()
                .copied()
                .chain(piece.chars())
                .chain(tail.iter().copied())
                .collect()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..12_u64;
    prop_oneof![
        2 => Just(Step::Init),
        2 => Just(Step::Accept),
        1 => Just(Step::Ping),
        12 => (0..IDS.len(), 0..DOCUMENTS.len()).prop_map(|(id, document)| Step::Subscribe(id, document)),
        6 => (0..IDS.len()).prop_map(Step::ClientComplete),
        6 => key().prop_map(Step::Next),
        3 => key().prop_map(Step::Error),
        4 => key().prop_map(Step::Complete),
        1 => key().prop_map(Step::Lost),
        1 => (0..8_u64).prop_map(Step::Wait),
        1 => Just(Step::Closing),
        1 => Just(Step::Close),
    ]
}

fn chaos() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => step(),
        1 => valid().prop_map(Step::Text),
        1 => mutated().prop_map(Step::Text),
        1 => "\\PC{0,12}".prop_map(Step::Text),
    ]
}

/// Most random transcripts start as a client does.
fn steps(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<Step>> {
    let begin = prop_oneof![
        4 => Just(vec![Step::Init, Step::Accept]),
        1 => Just(Vec::new()),
    ];
    (begin, prop::collection::vec(step, 0..60)).prop_map(|(mut begin, rest)| {
        begin.extend(rest);
        begin
    })
}

impl Harness<TransportWs> {
    fn play(&mut self, step: &Step) {
        let now = self.now;
        let machine = &mut self.machine;
        match step {
            Step::Init => machine.handle_text(now, r#"{"type":"connection_init"}"#),
            Step::Ping => machine.handle_text(now, r#"{"type":"ping"}"#),
            Step::Subscribe(id, document) => machine.handle_text(now, &subscribe(*id, *document)),
            Step::ClientComplete(id) => machine.handle_text(now, &completion(*id)),
            Step::Text(text) => machine.handle_text(now, text),
            Step::Accept => machine.accept(now),
            Step::Next(key) => machine.handle_event(OperationKey(*key), &next(r#"{"data":1}"#)),
            Step::Error(key) => machine.handle_event(OperationKey(*key), &error("x")),
            Step::Complete(key) => machine.handle_event(OperationKey(*key), &Event::Complete),
            Step::Lost(key) => machine.handle_event(OperationKey(*key), &Event::Lost),
            Step::Wait(seconds) => self.pass(Duration::from_secs(*seconds)),
            Step::Closing => machine.begin_closing(),
            Step::Close => machine.close(Close::new(Close::RESTART, "x")),
        }
    }
}

/// A second, minimal implementation of the protocol. It returns the first words of the outputs.
#[derive(Default)]
struct Model {
    is_initialised: bool,
    is_ready: bool,
    is_closing: bool,
    is_closed: bool,
    seconds: u64,
    last_key: u64,
    live: BTreeMap<usize, (u64, OperationKind)>,
}

impl Model {
    fn play(&mut self, step: &Step) -> Vec<String> {
        if self.is_closed {
            return Vec::new();
        }
        let answer = match step {
            Step::Init if self.is_closing => None,
            Step::Init if self.is_initialised => self.close(4429),
            Step::Init => {
                self.is_initialised = true;
                Some("! init".to_owned())
            }
            Step::Accept if self.is_initialised && !self.is_ready && !self.is_closing => {
                self.is_ready = true;
                Some(r#"< {"type":"connection_ack"}"#.to_owned())
            }
            Step::Ping => Some(r#"< {"type":"pong"}"#.to_owned()),
            Step::Subscribe(..) if self.is_closing => None,
            Step::Subscribe(..) if !self.is_ready => self.close(4401),
            Step::Subscribe(id, _) if self.live.contains_key(id) => self.close(4409),
            Step::Subscribe(id, document) => self.start(*id, DOCUMENTS[*document].1),
            Step::ClientComplete(id) => {
                let stopped = self.live.remove(id);
                stopped.map(|(key, _)| format!("! stop {key}"))
            }
            Step::Next(key) => self.find(*key).map(|id| format!("< next {id}")),
            Step::Error(key) => self.end(*key).map(|id| format!("< error {id}")),
            Step::Complete(key) => self.end(*key).map(|id| format!("< complete {id}")),
            Step::Wait(seconds) => {
                self.seconds += seconds;
                let is_late = !self.is_initialised && !self.is_closing && self.seconds >= 10;
                if is_late { self.close(4408) } else { None }
            }
            Step::Closing => {
                self.is_closing = true;
                None
            }
            Step::Close => self.close(1012),
            Step::Accept | Step::Lost(_) | Step::Text(_) => None,
        };
        answer.into_iter().collect()
    }

    fn start(&mut self, id: usize, kind: Option<OperationKind>) -> Option<String> {
        let is_subscription = |kind: OperationKind| kind == OperationKind::Subscription;
        let same_kind = |expected: OperationKind| {
            let kinds = self.live.values().map(|(_, kind)| *kind);
            let same_kind =
                kinds.filter(|kind| is_subscription(*kind) == is_subscription(expected));
            same_kind.count()
        };
        match kind {
            Some(kind) if same_kind(kind) < 2 => {
                self.last_key += 1;
                self.live.insert(id, (self.last_key, kind));
                Some(format!("! start {}", self.last_key))
            }
            Some(_) | None => Some(format!("< error {id}")),
        }
    }

    fn close(&mut self, code: u16) -> Option<String> {
        self.is_closed = true;
        Some(format!("! close {code}"))
    }

    fn find(&self, key: u64) -> Option<usize> {
        let mut live = self.live.iter();
        live.find(|(_, (live, _))| *live == key).map(|(id, _)| *id)
    }

    fn end(&mut self, key: u64) -> Option<usize> {
        let id = self.find(key)?;
        self.live.remove(&id);
        Some(id)
    }
}

/// Returns an output in the model's form.
fn brief(output: &str) -> String {
    if let Some(Ok(frame)) = output.strip_prefix("< ").map(serde_json::from_str::<Value>)
        && let Some(id) = frame["id"].as_str()
    {
        let id = IDS.iter().position(|known| *known == id).unwrap();
        return format!("< {} {id}", frame["type"].as_str().unwrap());
    }
    if output.starts_with('<') {
        return output.to_owned();
    }
    output.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Checks the rules that hold for every client, however it behaves.
#[derive(Default)]
struct Rules {
    acks: usize,
    is_closed: bool,
    last_key: u64,
    live: BTreeMap<u64, String>,
}

impl Rules {
    fn see(&mut self, output: &Output, refused: Option<&str>) {
        assert!(!self.is_closed, "{output:?} after a close");
        match output {
            Output::Init(_) => {}
            Output::Start(OperationKey(key), ..) => {
                assert!(*key > self.last_key, "key {key} was used before");
                self.last_key = *key;
                self.live.insert(*key, refused.unwrap().to_owned());
            }
            Output::Stop(OperationKey(key)) => {
                assert!(self.live.remove(key).is_some(), "stop of {key}, not live");
            }
            Output::Close(close) => {
                assert!(close.reason.len() <= 123);
                self.is_closed = true;
            }
            Output::Send(frame) => self.see_frame(frame, refused),
            Output::SendEvent(frame) => {
                let text = format!("{}{}{}", frame.head, frame.payload.as_str(), frame.tail);
                self.see_frame(&text, refused);
            }
            Output::Subscribe(..) | Output::Publish(..) => panic!("{output:?}"),
        }
    }

    /// `subscribed` is the id of the `subscribe` that is being handled, if any.
    fn see_frame(&mut self, text: &str, subscribed: Option<&str>) {
        let frame: Value = serde_json::from_str(text).unwrap();
        let kind = frame["type"].as_str().unwrap();
        let id = frame["id"].as_str();
        let live = self.live.iter().find(|(_, live)| Some(live.as_str()) == id);
        let live = live.map(|(key, _)| *key);
        match kind {
            "connection_ack" => self.acks += 1,
            "pong" => assert_eq!(id, None),
            "next" => {
                assert!(live.is_some(), "next for {id:?}, not live");
                assert!(frame["payload"].is_object());
            }
            "complete" | "error" => {
                let is_refusal = kind == "error" && subscribed == id;
                match live {
                    Some(key) => drop(self.live.remove(&key)),
                    None => assert!(is_refusal, "{kind} for {id:?}, not live"),
                }
                if kind == "error" {
                    assert!(frame["payload"][0]["message"].is_string());
                }
            }
            other => panic!("unknown type {other}"),
        }
        assert!(self.acks <= 1, "acknowledged twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_transcript_is_the_models(steps in steps(step())) {
        let mut bench = bench();
        let mut model = Model::default();
        for step in &steps {
            let expected = model.play(step);
            bench.play(step);
            let played: Vec<String> = bench.outputs().iter().map(|line| brief(line)).collect();
            prop_assert_eq!(played, expected, "{:?}", step);
            if !model.is_closed {
                let mut live = bench.machine.active.pairs();
                let mut expected: Vec<(&str, u64)> = model.live.iter()
                    .map(|(id, (key, _))| (IDS[*id], *key)).collect();
                live.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(live, expected);
            }
        }
    }

    #[test]
    fn no_client_breaks_the_rules(steps in steps(chaos())) {
        let mut bench = bench();
        let mut rules = Rules::default();
        for step in &steps {
            bench.play(step);
            let text = match step {
                Step::Subscribe(id, document) => subscribe(*id, *document),
                Step::Text(text) => text.clone(),
                Step::Init | Step::Ping | Step::ClientComplete(_) | Step::Accept | Step::Next(_)
                | Step::Error(_) | Step::Complete(_) | Step::Lost(_) | Step::Wait(_)
                | Step::Closing | Step::Close => String::new(),
            };
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            while let Some(output) = bench.machine.poll_output() {
                rules.see(&output, frame["id"].as_str());
            }
        }
    }
}
