//! Transcripts of the legacy protocol.

use super::super::graphql_ws::{GraphqlWs, GraphqlWsProtocol};
use super::super::transcripts::{Harness, LIMITS, TIMES};
use super::*;

fn bench() -> Harness<GraphqlWs> {
    Harness::new(|_| GraphqlWs::with_protocol(GraphqlWsProtocol::Legacy, TIMES, LIMITS))
}

#[track_caller]
fn check(transcript: &str) {
    bench().ready().check(transcript);
}

#[test]
fn a_start_may_come_before_the_acknowledgement() {
    bench().check(
        r#"
        > {"id":"1","type":"start","payload":{"query":"{ a }"}}
        ! start 1 query {"query":"{ a }","variables":{}}
        > {"type":"connection_init"}
        ! init
        . accept
        < {"type":"connection_ack","payload":{"connectionTimeoutMs":300000}}
        < {"type":"ka"}
        . next 1 {"data":{"a":1}}
        < {"id":"1","type":"data","payload":{"data":{"a":1}}}
        . complete 1
        < {"id":"1","type":"complete"}
        "#,
    );
}

#[test]
fn an_error_is_one_object() {
    check(
        r#"
        > {"id":"1","type":"start","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        . error 1 denied
        < {"id":"1","type":"error","payload":{"message":"denied"}}
        . complete 1
        . next 1 {}
        "#,
    );
}

#[test]
fn several_errors_are_all_reported() {
    let two = [GraphqlError::new("a"), GraphqlError::new("b")];
    assert_eq!(
        error_payload(&two),
        r#"{"errors":[{"message":"a"},{"message":"b"}],"message":"a"}"#
    );
    assert_eq!(error_payload(&[]), r#"{"message":"unknown error"}"#);
}

#[test]
fn stop_is_answered_with_complete() {
    check(
        r#"
        > {"id":"1","type":"start","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        > {"id":"1","type":"stop"}
        ! stop 1
        < {"id":"1","type":"complete"}
        . next 1 {"data":1}
        . complete 1
        > {"id":"1","type":"stop"}
        > {"type":"stop"}
        "#,
    );
}

#[test]
fn start_with_an_active_id_restarts_the_operation() {
    check(
        r#"
        > {"id":"1","type":"start","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        > {"id":"1","type":"start","payload":{"query":"subscription { b }"}}
        ! stop 1
        < {"id":"1","type":"complete"}
        ! start 2 subscription {"query":"subscription { b }","variables":{}}
        . next 1 {"data":1}
        . next 2 {"data":2}
        < {"id":"1","type":"data","payload":{"data":2}}
        "#,
    );
}

#[test]
fn ids_are_echoed_as_they_were_written() {
    check(
        r#"
        > {"id":7,"type":"start","payload":{"query":"{ a }"}}
        ! start 1 query {"query":"{ a }","variables":{}}
        . complete 1
        < {"id":7,"type":"complete"}
        > {"id":"\u0041","type":"start","payload":{"query":"{ a }"}}
        ! start 2 query {"query":"{ a }","variables":{}}
        . complete 2
        < {"id":"\u0041","type":"complete"}
        > {"id":"\ud83d","type":"start","payload":{"query":"{ a }"}}
        ! start 3 query {"query":"{ a }","variables":{}}
        . complete 3
        < {"id":"\ud83d","type":"complete"}
        "#,
    );
}

#[test]
fn invalid_messages_leave_the_socket_open() {
    check(
        r#"
        > [
        < {"type":"connection_error","payload":{"message":"the message is not a JSON object with a type"}}
        > {"id":"1"}
        < {"type":"connection_error","payload":{"message":"the message is not a JSON object with a type"}}
        > {"id":"1","type":"ping"}
        < {"id":"1","type":"error","payload":{"message":"Invalid message type!"}}
        > {"type":"start","payload":{"query":"{ a }"}}
        < {"type":"error","payload":{"message":"start needs an id"}}
        > {"id":"","type":"start","payload":{"query":"{ a }"}}
        < {"type":"error","payload":{"message":"start needs an id"}}
        > {"id":{},"type":"start","payload":{"query":"{ a }"}}
        < {"type":"error","payload":{"message":"id must be a string"}}
        > {"id":"1","type":7}
        < {"type":"connection_error","payload":{"message":"type must be a string"}}
        > {"id":"1","type":"start","payload":{"query":"{ a(b: \"\ud83d\") }"}}
        < {"id":"1","type":"error","payload":{"extensions":{"code":"BAD_MESSAGE","sent":"no"},"message":"payload: invalid Unicode escape at line 1, column 27: half of a surrogate pair"}}
        > {"id":"1","type":"start","payload":{"query":"{ a }","operationName":"\ud83d"}}
        < {"id":"1","type":"error","payload":{"extensions":{"code":"BAD_MESSAGE","sent":"no"},"message":"payload: invalid Unicode escape at line 1, column 41: half of a surrogate pair"}}
        > {"id":"1","type":"start"}
        < {"id":"1","type":"error","payload":{"extensions":{"code":"BAD_MESSAGE","sent":"no"},"message":"the operation needs a payload"}}
        > {"id":"1","type":"start","payload":{"query":"{ a }","variables":[]}}
        < {"id":"1","type":"error","payload":{"extensions":{"code":"BAD_MESSAGE","sent":"no"},"message":"payload.variables must be an object"}}
        > {"id":"1","type":"start","payload":{"query":"{"}}
        < {"id":"1","type":"error","payload":{"extensions":{"code":"BAD_DOCUMENT","sent":"no"},"locations":[{"column":2,"line":1}],"message":"syntax error at line 1, column 2: expected at least one Selection in Selection Set"}}
        > {"id":"1","type":"start","payload":{"query":"{ a }"}}
        ! start 1 query {"query":"{ a }","variables":{}}
        "#,
    );
}

#[test]
fn overlong_id_is_rejected() {
    let (fits, long) = ("x".repeat(1_024), "x".repeat(1_025));
    check(&format!(
        r#"
        > {{"id":"{long}","type":"start","payload":{{"query":"{{ a }}"}}}}
        < {{"id":"{long}","type":"error","payload":{{"extensions":{{"code":"BAD_MESSAGE","sent":"no"}},"message":"the id is longer than 1024 bytes"}}}}
        > {{"id":"{fits}","type":"start","payload":{{"query":"{{ a }}"}}}}
        ! start 1 query {{"query":"{{ a }}","variables":{{}}}}
        "#
    ));
}

#[test]
fn too_many_operations_are_rejected() {
    check(
        r#"
        > {"id":"1","type":"start","payload":{"query":"{ a }"}}
        ! start 1 query {"query":"{ a }","variables":{}}
        > {"id":"2","type":"start","payload":{"query":"{ a }"}}
        ! start 2 query {"query":"{ a }","variables":{}}
        > {"id":"3","type":"start","payload":{"query":"{ a }"}}
        < {"id":"3","type":"error","payload":{"extensions":{"code":"TOO_MANY_OPERATIONS","sent":"no"},"message":"too many operations: the maximum for one client is 2 (limits.operations)"}}
        "#,
    );
}

#[test]
fn appsync_messages_never_appear() {
    check(
        r#"
        > {"id":"1","type":"start","payload":{"query":"subscription { a }"}}
        ! start 1 subscription {"query":"subscription { a }","variables":{}}
        . started 1
        . missed 1 x
        . next 1 {}
        < {"id":"1","type":"data","payload":{"data":null}}
        . lost 1
        "#,
    );
}

#[test]
fn the_client_ends_the_connection() {
    check(
        r#"
        > {"type":"connection_terminate"}
        ! close 1000
        > {"type":"connection_init"}
        . wait 1m
        "#,
    );
}

#[test]
fn no_operation_starts_while_closing_and_running_ones_may_end() {
    check(
        r#"
        > {"id":"1","type":"start","payload":{"query":"{ a }"}}
        ! start 1 query {"query":"{ a }","variables":{}}
        . closing
        > {"id":"2","type":"start","payload":{"query":"{ a }"}}
        . complete 1
        < {"id":"1","type":"complete"}
        . close 1012 bye
        ! close 1012 bye
        "#,
    );
}
