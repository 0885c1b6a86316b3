//! Transcripts of AppSync's own protocol.

use super::super::graphql_ws::{GraphqlWs, GraphqlWsProtocol};
use super::super::transcripts::{Harness, LIMITS, TIMES};

fn bench() -> Harness<GraphqlWs> {
    Harness::new(|_| GraphqlWs::with_protocol(GraphqlWsProtocol::Native, TIMES, LIMITS))
}

#[track_caller]
fn check(transcript: &str) {
    bench().ready().check(transcript);
}

#[test]
fn a_subscription_runs_with_its_bytes_and_its_own_headers() {
    check(
        r#"
        > {"id":"a","type":"start","payload":{"data":"{ \"variables\":{\"n\":1.0},\"query\":\"subscription { a }\" }","extensions":{"authorization":{"Authorization":"AWS4-HMAC-SHA256 x","host":"h","accept":"*","content-type":"c","content-encoding":"amz-1.0","X-Team":"blue","n":1,"z":null}}}}
        ! start 1 subscription { "variables":{"n":1.0},"query":"subscription { a }" } authorization=AWS4-HMAC-SHA256 x x-team=blue n=1
        . started 1
        < {"id":"a","type":"start_ack"}
        . next 1 {"data":{"a":1},"errors":[]}
        < {"id":"a","type":"data","payload":{"data":{"a":1},"errors":[]}}
        > {"id":"a","type":"stop"}
        ! stop 1
        < {"id":"a","type":"complete"}
        . complete 1
        . next 1 {"data":1}
        "#,
    );
}

#[test]
fn queries_and_mutations_run_too() {
    check(
        r#"
        > {"id":"a","type":"start","payload":{"data":"{\"query\":\"mutation { a }\"}"}}
        ! start 1 mutation {"query":"mutation { a }"}
        < {"id":"a","type":"start_ack"}
        . next 1 {"data":{"a":1}}
        < {"id":"a","type":"data","payload":{"data":{"a":1}}}
        . complete 1
        < {"id":"a","type":"complete"}
        "#,
    );
}

#[test]
fn errors_have_appsyncs_form() {
    check(
        r#"
        > {"id":"a","type":"start","payload":{"data":"{\"query\":\"subscription { a }\"}"}}
        ! start 1 subscription {"query":"subscription { a }"}
        . error 1 {"message":"Permission denied","errorType":"UnauthorizedException","errorCode":401}
        < {"id":"a","type":"error","payload":{"errors":[{"errorCode":401,"errorType":"UnauthorizedException","message":"Permission denied"}]}}
        > {"id":"b","type":"start","payload":{"data":"{\"query\":\"subscription { a }\"}"}}
        ! start 2 subscription {"query":"subscription { a }"}
        . error 2 {"message":"m","code":"SLOW_CONSUMER","sent":"yes"}
        < {"id":"b","type":"error","payload":{"errors":[{"errorInfo":{"code":"SLOW_CONSUMER","sent":"yes"},"errorType":"SLOW_CONSUMER","message":"m"}]}}
        > {"id":"c","type":"start","payload":{"data":"{\"query\":\"subscription { a }\"}"}}
        ! start 3 subscription {"query":"subscription { a }"}
        . error 3 {"message":"Validation error","locations":[{"line":1}],"path":["a"]}
        < {"id":"c","type":"error","payload":{"errors":[{"locations":[{"line":1}],"message":"Validation error","path":["a"]}]}}
        "#,
    );
}

#[test]
fn rejections_have_appsyncs_messages() {
    check(
        r#"
        > {"id":"a","type":"start","payload":{"data":"{\"query\":\"subscription { a }\"}"}}
        ! start 1 subscription {"query":"subscription { a }"}
        > {"id":"a","type":"start","payload":{"data":"{\"query\":\"subscription { a }\"}"}}
        < {"id":"a","type":"error","payload":{"errors":[{"errorType":"DuplicatedOperationError","message":"Duplicated operation with id a"}]}}
        > {"id":"b","type":"start","payload":{"query":"subscription { a }"}}
        < {"id":"b","type":"error","payload":{"errors":[{"errorType":"UnsupportedOperation","message":"unknown not supported through the realtime channel"}]}}
        > {"id":"b","type":"start","payload":{"data":"nonsense"}}
        < {"id":"b","type":"error","payload":{"errors":[{"errorType":"BadRequestException","message":"the data string is not a GraphQL request"}]}}
        > {"id":"b","type":"start","payload":{"data":"{\"query\":\"{ a(b: \\\"\\ud83d\\\") }\"}"}}
        < {"id":"b","type":"error","payload":{"errors":[{"errorType":"BadRequestException","message":"the data string: invalid Unicode escape at line 1, column 27: half of a surrogate pair"}]}}
        > {"id":"b","type":"start","payload":{"data":"\ud83d"}}
        < {"id":"b","type":"error","payload":{"errors":[{"errorType":"BadRequestException","message":"payload: invalid Unicode escape at line 1, column 16: half of a surrogate pair"}]}}
        > {"id":true,"type":"start","payload":{"data":"{}"}}
        < {"type":"error","payload":{"errors":[{"errorType":"BadRequestException","message":"id must be a string"}]}}
        > {"id":"b","type":false}
        < {"type":"error","payload":{"errors":[{"errorType":"BadRequestException","message":"type must be a string"}]}}
        > {"type":"start","payload":{"data":"{}"}}
        < {"type":"error","payload":{"errors":[{"errorType":"UnsupportedOperation","message":"unknown not supported through the realtime channel"}]}}
        > nonsense
        < {"type":"error","payload":{"errors":[{"errorType":"UnsupportedOperation","message":"unknown not supported through the realtime channel"}]}}
        > {"type":"subscribe","id":"c"}
        < {"id":"c","type":"error","payload":{"errors":[{"errorType":"UnsupportedOperation","message":"unknown not supported through the realtime channel"}]}}
        > {"type":"stop"}
        < {"type":"error","payload":{"errors":[{"errorType":"UnsupportedOperation","message":"unknown not supported through the realtime channel"}]}}
        > {"id":"d","type":"start","payload":{"data":"{\"query\":\"{\"}"}}
        < {"id":"d","type":"error","payload":{"errors":[{"errorInfo":{"code":"BAD_DOCUMENT","sent":"no"},"errorType":"BAD_DOCUMENT","locations":[{"column":2,"line":1}],"message":"syntax error at line 1, column 2: expected at least one Selection in Selection Set"}]}}
        "#,
    );
}

#[test]
fn overlong_id_is_rejected() {
    let (fits, long) = ("x".repeat(1_024), "x".repeat(1_025));
    let payload = r#"{"data":"{\"query\":\"subscription { a }\"}"}"#;
    check(&format!(
        r#"
        > {{"id":"{long}","type":"start","payload":{payload}}}
        < {{"id":"{long}","type":"error","payload":{{"errors":[{{"errorType":"BadRequestException","message":"the id is longer than 1024 bytes"}}]}}}}
        > {{"id":"{fits}","type":"start","payload":{payload}}}
        ! start 1 subscription {{"query":"subscription {{ a }}"}}
        "#
    ));
}

#[test]
fn stop_of_an_unknown_id_is_completed_and_pings_are_ignored() {
    check(
        r#"
        > {"id":"x","type":"stop"}
        < {"id":"x","type":"complete"}
        > {"type":"ping"}
        > {"type":"pong"}
        . lost 1
        . missed 1 x
        "#,
    );
}

#[test]
fn no_operation_starts_while_closing() {
    check(
        r#"
        . closing
        > {"id":"a","type":"start","payload":{"data":"{\"query\":\"subscription { a }\"}"}}
        . close 1012 bye
        ! close 1012 bye
        > {"id":"a","type":"stop"}
        "#,
    );
}
