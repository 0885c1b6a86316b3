//! Transcripts of channels and publishes.

use super::super::transcripts::{Harness, LIMITS, TIMES};
use super::*;

fn bench() -> Harness<EventsWs> {
    Harness::new(|now| EventsWs::new(now, TIMES, LIMITS))
}

#[track_caller]
fn check(transcript: &str) {
    bench().ready().check(transcript);
}

#[test]
fn acknowledgement_has_its_members_next_to_the_type() {
    bench().check(
        r#"
        > {"type":"connection_init"}
        ! init
        . accept
        < {"type":"connection_ack","connectionTimeoutMs":300000}
        < {"type":"ka"}
        . wait 15s
        < {"type":"ka"}
        "#,
    );
    bench().check(
        r#"
        > {"type":"connection_init"}
        ! init
        . close 1013 down
        < {"errors":[{"errorCode":503,"errorType":"ServiceUnavailable","message":"down"}],"type":"connection_error"}
        ! close 1013 down
        "#,
    );
}

#[test]
fn channel_is_subscribed_to_and_unsubscribed_from() {
    bench().check(
        r#"
        > {"type":"subscribe","id":"a","channel":"/default/room","authorization":{"Authorization":"x","host":"h"}}
        ! subscribe 1 {"channel":"/default/room"}
        . started 1
        < {"id":"a","type":"subscribe_success"}
        . next 1 "{\"m\":1}"
        < {"id":"a","type":"data","event":"{\"m\":1}"}
        . next 1 ["1","2"]
        < {"id":"a","type":"data","event":["1","2"]}
        . missed 1 oversize
        < {"id":"a","type":"broadcast_error","errors":[{"message":"oversize"}]}
        > {"type":"unsubscribe","id":"a"}
        ! stop 1
        < {"id":"a","type":"unsubscribe_success"}
        . next 1 "1"
        > {"type":"unsubscribe","id":"a"}
        < {"id":"a","type":"unsubscribe_error","errors":[{"errorType":"UnknownOperationError","message":"Unknown operation id a"}]}
        "#,
    );
}

/// Members of the response used to be copied into the message, besides the client's id and type.
#[test]
fn response_members_do_not_replace_id_and_type() {
    check(
        r#"
        > {"type":"publish","id":"p","channel":"a","events":["1"]}
        ! publish 1 {"channel":"a","events":["1"]}
        . next 1 {"type":"ka","successful":[ ],"id":"q","failed":[]}
        < {"id":"p","type":"publish_success","failed":[],"successful":[ ]}
        "#,
    );
}

#[test]
fn publish_response_has_the_form_of_the_socket() {
    check(
        r#"
        > {"type":"publish","id":"p","channel":"default/a","events":["{\"m\":\"<&>\"}"],"payload":{"channel":"x"}}
        ! publish 1 {"channel":"default/a","events":["{\"m\":\"<&>\"}"]}
        . next 1 {"failed":[],"successful":[{"identifier":"i","index":0}]}
        < {"id":"p","type":"publish_success","failed":[],"successful":[{"identifier":"i","index":0}]}
        . complete 1
        > {"type":"publish","id":"p","channel":"default/a","events":[]}
        ! publish 2 {"channel":"default/a","events":[]}
        . error 2 {"message":"no","errorType":"BadRequestException"}
        < {"id":"p","type":"publish_error","errors":[{"errorType":"BadRequestException","message":"no"}]}
        > {"type":"publish","id":"q","channel":"default/a","events":["1"]}
        ! publish 3 {"channel":"default/a","events":["1"]}
        . next 3 {}
        < {"id":"q","type":"publish_success"}
        > {"type":"unsubscribe","id":"q"}
        < {"id":"q","type":"unsubscribe_error","errors":[{"errorType":"UnknownOperationError","message":"Unknown operation id q"}]}
        "#,
    );
}

#[test]
fn rejections_have_appsyncs_messages() {
    let channel = "a channel is one to five segments of letters, digits and `-`, separated by `/`, such as /default/room-1; to subscribe, the last one may be `*`";
    check(&format!(
        r#"
        > {{"type":"subscribe","id":"a","channel":"/default/*"}}
        ! subscribe 1 {{"channel":"/default/*"}}
        > {{"type":"subscribe","id":"a","channel":"/default/b"}}
        < {{"id":"a","type":"subscribe_error","errors":[{{"errorType":"DuplicatedOperationError","message":"Duplicated operation with id a"}}]}}
        > {{"type":"subscribe","id":"b","channel":"/de fault"}}
        < {{"id":"b","type":"subscribe_error","errors":[{{"errorType":"BadRequestException","message":"{channel}"}}]}}
        > {{"type":"publish","id":"b","channel":"/default/*","events":["1"]}}
        < {{"id":"b","type":"publish_error","errors":[{{"errorType":"BadRequestException","message":"{channel}"}}]}}
        > {{"type":"subscribe","id":"b"}}
        < {{"id":"b","type":"subscribe_error","errors":[{{"errorType":"BadRequestException","message":"{channel}"}}]}}
        > {{"type":"subscribe","id":"b d","channel":"/default/a"}}
        < {{"id":"b d","type":"error","errors":[{{"errorType":"BadRequestException","message":"the id is malformed"}}]}}
        > {{"type":"start","id":"b"}}
        < {{"id":"b","type":"error","errors":[{{"errorType":"UnsupportedOperation","message":"Operation not supported through the realtime channel"}}]}}
        > {{"type":"publish","id":"b","channel":"/default/a","events":["\ud83d"]}}
        < {{"id":"b","type":"publish_error","errors":[{{"errorType":"BadRequestException","message":"the message: invalid Unicode escape at line 1, column 68: half of a surrogate pair"}}]}}
        > {{"type":"subscribe","id":"b","channel":"\ud83d"}}
        < {{"id":"b","type":"subscribe_error","errors":[{{"errorType":"BadRequestException","message":"the message: invalid Unicode escape at line 1, column 47: half of a surrogate pair"}}]}}
        > {{"type":"publish","id":"b","channel":"/default/a","events":[{{}}]}}
        < {{"id":"b","type":"publish_error","errors":[{{"errorType":"BadRequestException","message":"channel must be a string, events an array of strings, and authorization an object"}}]}}
        > {{"type":"subscribe","id":"\ud83d","channel":"/default/a"}}
        < {{"id":"\ud83d","type":"error","errors":[{{"errorType":"BadRequestException","message":"id has an invalid Unicode escape, half of a surrogate pair"}}]}}
        > {{"type":"subscribe","id":7,"channel":"/default/a"}}
        < {{"id":7,"type":"error","errors":[{{"errorType":"BadRequestException","message":"id must be a string"}}]}}
        > {{"type":7}}
        < {{"type":"error","errors":[{{"errorType":"BadRequestException","message":"type must be a string"}}]}}
        > {{"type":"subscribe","channel":"/default/a"}}
        < {{"type":"error","errors":[{{"errorType":"UnsupportedOperation","message":"Operation not supported through the realtime channel"}}]}}
        > nonsense
        < {{"type":"error","errors":[{{"errorType":"UnsupportedOperation","message":"Operation not supported through the realtime channel"}}]}}
        > {{"type":"pong"}}
        . error 1 {{"message":"denied","errorType":"UnauthorizedException"}}
        < {{"id":"a","type":"subscribe_error","errors":[{{"errorType":"UnauthorizedException","message":"denied"}}]}}
        "#
    ));
}

#[test]
fn no_operation_starts_while_closing() {
    check(
        r#"
        . closing
        > {"type":"subscribe","id":"a","channel":"/default/a"}
        > {"type":"publish","id":"b","channel":"/default/a","events":["1"]}
        . close 1012 bye
        ! close 1012 bye
        > {"type":"subscribe","id":"a","channel":"/default/a"}
        "#,
    );
}
