//! Transcripts up to the first start.

use super::super::transcripts::{Bench, LIMITS, TIMES};
use super::*;

fn bench() -> Bench<GraphqlWs> {
    Bench::new(|now| GraphqlWs::new(now, TIMES, LIMITS))
}

#[test]
fn the_first_start_decides() {
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
fn until_then_both_are_content() {
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
fn what_is_no_message_is_answered_in_the_older_words() {
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
fn an_upstream_that_is_down_is_told_in_both_protocols_words() {
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
fn binary_messages_and_ends() {
    bench().ready().check(
        r"
        . binary
        ! close 4400 Invalid message received: binary message
        . close 1012 late
        ",
    );
    bench().ready().check(
        r#"
        . closing
        > {"id":"1","type":"start","payload":{"query":"{ a }"}}
        . close 1012 bye
        ! close 1012 bye
        "#,
    );
}

/// It was taken for the older protocol, and the native start after it was refused.
#[test]
fn an_unknown_message_before_the_first_start_decided_for_the_older_protocol() {
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
fn a_socket_that_says_nothing_was_kept_for_ever() {
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

/// It had no deadline any more, and whoever had no token could keep it for ever.
#[test]
fn a_start_that_starts_nothing_was_a_beginning() {
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
        < {"id":"1","type":"error","payload":{"errors":[{"errorInfo":{"code":"BAD_DOCUMENT","sent":"no"},"errorType":"BAD_DOCUMENT","locations":[{"column":4,"line":1}],"message":"syntax error at line 1, column 4: expected R_CURLY"}]}}
        . wait 10s
        ! close 4408 Connection initialisation timeout
        "#,
    );
}
