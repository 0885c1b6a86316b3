//! Transcripts up to the first start.

use super::super::transcripts::{Harness, LIMITS, TIMES};
use super::*;

fn bench() -> Harness<GraphqlWs> {
    Harness::new(|now| GraphqlWs::new(now, TIMES, LIMITS, Documents::default()))
}

#[test]
fn first_start_selects_the_protocol() {
    let legacy = r#"
        > {"id":"1","type":"start","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        . started 1
        . next 1 {"data":1}
        < {"id":"1","type":"data","payload":{"data":1}}
    "#;
    let native = r#"
        > {"id":"1","type":"start","payload":{"data":"{\"query\":\"subscription { a }\"}"}}
        ! start 1 subscription {"query":"subscription { a }"}
        . started 1
        < {"id":"1","type":"start_ack"}
        . next 1 {"data":1}
        < {"id":"1","type":"data","payload":{"data":1}}
    "#;
    for transcript in [legacy, native] {
        bench().check(transcript);
        bench().ready().check(transcript);
    }
}

#[test]
fn both_protocols_are_served_before_the_first_start() {
    bench().check(
        r#"
        > {"type":"ping"}
        > {"type":"stop","id":"1"}
        > {"type":"connection_init","payload":{"a":1}}
        ! init
        . accept
        < {"type":"connection_ack","payload":{"connectionTimeoutMs":300000}}
        < {"type":"ka"}
        > {"type":"connection_init"}
        < {"type":"connection_ack","payload":{"connectionTimeoutMs":300000}}
        . wait 14s
        . wait 1s
        < {"type":"ka"}
        . wait 15s
        < {"type":"ka"}
        . next 1 {"data":1}
        "#,
    );
}

#[test]
fn malformed_message_is_answered_by_the_legacy_protocol() {
    bench().ready().check(
        r#"
        > nonsense
        < {"type":"connection_error","payload":{"message":"the message is not a JSON object with a type"}}
        "#,
    );
    bench().ready().check(
        r#"
        > {"type":"subscribe","id":"1","payload":{"query":"{ a }"}}
        < {"id":"1","type":"error","payload":{"message":"Invalid message type!"}}
        "#,
    );
}

#[test]
fn upstream_that_is_down_is_reported_in_both_protocols() {
    bench().check(
        r#"
        > {"type":"connection_init"}
        ! init
        . close 1013 down
        < {"payload":{"errors":[{"errorCode":503,"errorType":"ServiceUnavailable","message":"down"}],"message":"down"},"type":"connection_error"}
        ! close 1013 down
        > {"type":"connection_init"}
        . wait 1m
        "#,
    );
}

#[test]
fn binary_message_closes_and_no_start_is_accepted_while_closing() {
    bench().ready().check(
        r"
        . binary
        ! close 4400 Invalid message received: binary message
        . close 1012 late
        ",
    );
    for start in [
        r#"{"id":"1","type":"start","payload":{"query":"{"}}"#,
        r#"{"id":"1","type":"start","payload":{"data":"{"}}"#,
    ] {
        let mut bench = bench().ready();
        bench.input(&format!("> {start}"));
        bench.outputs();
        bench.check(". binary\n! close 4400 Invalid message received: binary message");
    }
    bench().ready().check(
        r#"
        . closing
        > {"id":"1","type":"start","payload":{"query":"{ a }"}}
        . close 1012 bye
        ! close 1012 bye
        "#,
    );
}

/// The message was taken for one of the legacy protocol, and the native start after it was
/// rejected.
#[test]
fn unknown_message_before_the_first_start_selects_no_protocol() {
    bench().ready().check(
        r#"
        > {"type":"future","id":"9"}
        < {"id":"9","type":"error","payload":{"message":"Invalid message type!"}}
        > {"id":"1","type":"start","payload":{"data":"{\"query\":\"subscription { a }\"}"}}
        ! start 1 subscription {"query":"subscription { a }"}
        . started 1
        < {"id":"1","type":"start_ack"}
        "#,
    );
}

#[test]
fn silent_socket_is_closed_after_the_timeout() {
    bench().check(
        r#"
        > {"type":"ping"}
        . wait 9s
        . wait 1s
        ! close 4408 Connection initialisation timeout
        "#,
    );
    bench().check(
        r#"
        > {"id":"1","type":"start","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        . wait 20s
        "#,
    );
}

/// Such a session used to lose its deadline, so a client without a token could keep it open
/// forever.
#[test]
fn rejected_start_keeps_the_deadline() {
    bench().check(
        r#"
        > {"type":"start","payload":{"query":"{ a }"}}
        < {"type":"error","payload":{"message":"start needs an id"}}
        . wait 10s
        ! close 4408 Connection initialisation timeout
        "#,
    );
    bench().check(
        r#"
        > {"id":"1","type":"start","payload":{"data":"{\"query\":\"{ a\"}"}}
        < {"id":"1","type":"error","payload":{"errors":[{"errorInfo":{"code":"BAD_DOCUMENT","sent":"no"},"errorType":"BAD_DOCUMENT","locations":[{"column":4,"line":1}],"message":"syntax error at line 1, column 4: expected \"}\""}]}}
        . wait 10s
        ! close 4408 Connection initialisation timeout
        "#,
    );
}
