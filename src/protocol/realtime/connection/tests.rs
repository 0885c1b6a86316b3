//! Transcripts, and random ones whose outcome is checked against rules.
//!
//! A transcript's lines: `.` is an input of the driver (or time that passes), `<` a frame of AppSync,
//! `>` a frame of the machine, `!` an output for the driver. Outputs follow the input that caused them. Wire
//! ids are `$KEY`; the id of a second attempt is `$KEY'`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::error::Category;

use super::*;

const ACK: Duration = Duration::from_secs(10);
const START_ACK: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(150);
const REDACTION: Redaction = Redaction {
    payload: |text| Cow::Borrowed(text),
    message: |text| Cow::Borrowed(text),
};
const AUTHORIZATION: &str = r#"{"host":"h"}"#;

struct Bench {
    machine: Connection<()>,
    now: Instant,
    /// Names (`$KEY` or `$KEY'`) and the wire ids that they stand for.
    ids: Vec<(String, Uuid)>,
    shown: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            machine: Connection::new(
                Protocol::Graphql,
                now,
                now + ACK,
                START_ACK,
                KEEPALIVE,
                REDACTION,
            ),
            now,
            ids: Vec::new(),
            shown: Vec::new(),
        }
    }

    fn ready() -> Self {
        let mut bench = Self::new();
        bench.input("< ack");
        bench.outputs();
        bench
    }

    fn subscribe(&mut self, key: u64) {
        let id = Uuid::from_u64_pair(0xa000, key);
        self.ids.push((format!("${key}"), id));
        self.machine.subscribe(Key(key), id, start(key), ());
    }

    /// Lets time pass, and calls the machine whenever its timeout is due, as a driver does.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            if self.machine.postpone_if_late(self.now, None).is_none() {
                self.machine.handle_timeout(self.now);
            }
            self.drain();
            // A throttled start is due beside a deadline that was postponed.
            if self.machine.poll_timeout().is_some_and(|at| at <= self.now) {
                assert_eq!(self.machine.postpone_if_late(self.now, None), None);
                self.machine.handle_timeout(self.now);
                self.drain();
            }
            let next = self.machine.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "woken in a loop");
        }
        self.now = until;
    }

    fn input(&mut self, line: &str) {
        if let Some(frame) = line.strip_prefix("< ") {
            let frame = Bytes::from(self.frame(frame));
            self.machine.handle_frame(self.now, &frame);
            return;
        }
        if line == "<" {
            self.machine.handle_frame(self.now, &Bytes::new());
            return;
        }
        let mut words = line.trim_start_matches(". ").split(' ');
        let (verb, argument) = (words.next(), words.next().unwrap_or_default());
        let number = argument.parse().unwrap_or_default();
        match verb.unwrap_or_default() {
            "subscribe" => self.subscribe(number),
            "signed" => self.sign(number, Ok(AUTHORIZATION.to_owned())),
            "unsigned" => self.sign(number, Err(vec![GraphqlError::new("no credentials")])),
            "stop" => self.machine.stop(self.now, Key(number)),
            "closed" => self.machine.handle_closed(),
            "wait" => self.wait(humantime::parse_duration(argument).unwrap()),
            // The driver notices all deadlines late.
            "stall" => self.now += humantime::parse_duration(argument).unwrap(),
            _ => panic!("no such line: {line}"),
        }
    }

    fn sign(&mut self, key: u64, signed: Result<String, Vec<GraphqlError>>) {
        self.machine.handle_signed(self.now, Key(key), signed);
    }

    /// Returns the frame for `TYPE $KEY PAYLOAD`. Other texts are frames already.
    fn frame(&self, text: &str) -> String {
        let mut words = text.splitn(3, ' ');
        let (kind, id) = (words.next().unwrap(), words.next().unwrap_or_default());
        let frame = match (kind, words.next()) {
            ("ack", _) => r#"{"type":"connection_ack"}"#.to_owned(),
            (kind, None) if id.starts_with('$') => format!(r#"{{"type":"{kind}","id":"{id}"}}"#),
            (kind, Some(payload)) if id.starts_with('$') => {
                format!(r#"{{"id":"{id}","type":"{kind}","payload":{payload}}}"#)
            }
            _ => text.to_owned(),
        };
        // Longer names come first, because `$1` is a part of `$1'`.
        let longest_first = self.ids.iter().rev();
        longest_first.fold(frame, |frame, (name, id)| {
            frame.replace(name.as_str(), &id.to_string())
        })
    }

    fn outputs(&mut self) -> Vec<String> {
        self.drain();
        std::mem::take(&mut self.shown)
    }

    fn drain(&mut self) {
        let outputs = std::iter::from_fn(|| self.machine.poll_output());
        self.shown.extend(outputs.map(|output| show(&output)));
        while let Some(frame) = self.machine.poll_frame() {
            let shown = self.show_frame(&frame);
            self.shown.push(shown);
        }
    }

    /// Checks the whole frame, and returns its short form, such as `> start $KEY`.
    fn show_frame(&mut self, text: &str) -> String {
        let frame: serde_json::Value = serde_json::from_str(text).unwrap();
        let kind = frame["type"].as_str().unwrap();
        let Some(id) = frame["id"].as_str() else {
            assert_eq!(text, r#"{"type":"connection_init"}"#);
            return format!("> {kind}");
        };
        let id: Uuid = id.parse().unwrap();
        if kind == "start" {
            let data = frame["payload"]["data"].as_str().unwrap();
            assert_eq!(text, Protocol::Graphql.start(id, data, AUTHORIZATION));
            if !self.ids.iter().any(|(_, known)| *known == id) {
                let key = data.trim_start_matches("data of ");
                self.ids.push((format!("${key}'"), id));
            }
        } else {
            assert_eq!(text, Protocol::Graphql.stop(id));
        }
        let name = self.ids.iter().find(|(_, known)| *known == id);
        format!("> {kind} {}", name.unwrap().0)
    }
}

fn start(key: u64) -> Arc<Start> {
    Arc::new(Start {
        data: format!("data of {key}"),
        headers: Vec::new(),
    })
}

fn show(output: &Output) -> String {
    let event = |Key(key): &Key, event: &Event| match event {
        Event::Started => panic!("an output of its own"),
        Event::Next(json) => format!("next {key} {}", json.as_str()),
        Event::Error(errors) => format!("error {key} {}", serde_json::to_string(errors).unwrap()),
        Event::Complete => format!("complete {key}"),
        Event::Lost => format!("lost {key}"),
        Event::Missed(errors) => format!("missed {key} {}", errors[0].message),
    };
    match output {
        Output::Sign(Key(key), signed) => {
            assert_eq!(*signed, start(*key));
            format!("! sign {key}")
        }
        Output::Renew {
            key: Key(key),
            start: signed,
            failures,
            ..
        } => {
            assert_eq!(*signed, start(*key));
            format!("! renew {key} {}", Failure::summary(failures))
        }
        Output::Started { key: Key(key), .. } => format!("! event started {key}"),
        Output::Event(key, what) => format!("! event {}", event(key, what)),
        Output::Ended(key, what) => format!("! ended {}", event(key, what)),
        Output::Interrupted(key, what) => format!("! interrupted {}", event(key, what)),
        Output::Unanswered(key, what) => format!("! unanswered {}", event(key, what)),
        Output::Released(Key(key)) => format!("! released {key}"),
        Output::Full(Key(key)) => format!("! full {key}"),
        Output::Ready => "! ready".to_owned(),
        Output::Refused(failures) => {
            let errors: Vec<GraphqlError> = failures.iter().map(Failure::to_graphql).collect();
            format!("! refused {}", serde_json::to_string(&errors).unwrap())
        }
        Output::Lost(reason) => format!("! lost: {reason}"),
    }
}

/// Plays the inputs of a transcript, and compares the outputs.
#[track_caller]
fn check_from(mut bench: Bench, transcript: &str) {
    let lines = || transcript.lines().map(str::trim).filter(|l| !l.is_empty());
    let mut played = Vec::new();
    for line in lines().filter(|line| line.starts_with(['<', '.'])) {
        played.push(line.to_owned());
        bench.input(line);
        played.extend(bench.outputs());
    }
    let expected: Vec<&str> = lines().collect();
    assert_eq!(played.join("\n"), expected.join("\n"));
}

/// Checks a transcript that starts with the open socket.
#[track_caller]
fn check(transcript: &str) {
    check_from(Bench::new(), transcript);
}

/// Checks a transcript that starts with the acknowledged connection.
#[track_caller]
fn check_ready(transcript: &str) {
    check_from(Bench::ready(), transcript);
}

/// Checks a transcript that starts with subscription 1 live.
#[track_caller]
fn check_live(transcript: &str) {
    let mut bench = Bench::ready();
    for line in [". subscribe 1", ". signed 1", "< start_ack $1"] {
        bench.input(line);
    }
    bench.outputs();
    check_from(bench, transcript);
}

#[test]
fn a_subscription_is_signed_after_the_acknowledgement() {
    check(
        r#"
        . subscribe 1
        > connection_init
        < ka
        . subscribe 2
        < {"type":"connection_ack","payload":{"connectionTimeoutMs":300000}}
        ! ready
        ! sign 1
        ! sign 2
        . signed 2
        > start $2
        . signed 1
        > start $1
        < {"id":"$1","type":"start_ack"}
        ! event started 1
        < {"id":"$2","type":"start_ack","payload":{}}
        ! event started 2
        < {"id":"$1","type":"data","payload":{"data":{ "a": 1.0 }} }
        ! event next 1 {"data":{ "a": 1.0 }}
        . subscribe 3
        ! sign 3
        < {"type":"connection_ack"}
        "#,
    );
}

#[test]
fn a_stop_before_the_acknowledgement_releases_at_once() {
    check(
        r#"
        . subscribe 1
        > connection_init
        . stop 1
        ! released 1
        < ack
        ! ready
        . stop 1
        "#,
    );
}

#[test]
fn a_stop_while_signing_releases_and_the_signature_is_dropped() {
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . stop 1
        ! released 1
        . signed 1
        . unsigned 1
        "#,
    );
}

#[test]
fn a_start_that_cannot_be_signed_fails_alone() {
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . subscribe 2
        ! sign 2
        . unsigned 1
        ! interrupted error 1 [{"message":"no credentials"}]
        . signed 2
        > start $2
        . signed 1
        . stop 1
        "#,
    );
}

/// AppSync authenticates a start before it runs it.
#[test]
fn a_start_whose_signature_is_rejected_is_signed_again_under_a_new_id() {
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . subscribe 2
        ! sign 2
        . signed 1
        > start $1
        . signed 2
        > start $2
        < start_ack $2
        ! event started 2
        < error $1 {"errors":[{"errorType":"ExpiredTokenException","message":"is expired"}]}
        ! renew 1 ExpiredTokenException: is expired
        < start_ack $1
        . signed 1
        > start $1'
        < error $1' {"errors":[{"errorType":"BadRequestException","message":"Signature expired: x"}]}
        ! renew 1 BadRequestException: Signature expired: x
        . signed 1
        > start $1'
        < error $1 {"errors":[{"message":"of an earlier try"}]}
        < error $1' {"errors":[{"message":"no such field"}]}
        ! ended error 1 [{"message":"no such field"}]
        "#,
    );
}

#[test]
fn a_start_is_signed_again_twice_at_most_and_only_if_that_may_help() {
    let expired = r#"{"errors":[{"errorType":"ExpiredTokenException"}]}"#;
    let mut bench = Bench::ready();
    bench.subscribe(1);
    bench.outputs();
    for renewals in 0..=2 {
        bench.input(". signed 1");
        bench.outputs();
        let id = bench.machine.subscriptions.get(Key(1)).unwrap().wire();
        bench.input(
            &format!(r#"{{"id":"{id}","type":"error","payload":{expired}}}"#)
                .replacen('{', "< {", 1),
        );
        let expected = if renewals < 2 {
            "! renew 1 "
        } else {
            "! interrupted error 1 "
        };
        let shown = bench.outputs();
        assert!(
            shown.len() == 1 && shown[0].starts_with(expected),
            "{renewals}: {shown:?}"
        );
    }
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        < error $1 {"errors":[{"errorType":"UnauthorizedException","message":"Permission denied"}]}
        ! ended error 1 [{"message":"Permission denied","extensions":{"errorType":"UnauthorizedException"}}]
        "#,
    );
}

#[test]
fn a_stop_while_a_rejected_start_is_signed_again_releases_at_once() {
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        < error $1 {"errors":[{"errorType":"UnrecognizedClientException"}]}
        ! renew 1 UnrecognizedClientException: UnrecognizedClientException
        . stop 1
        ! released 1
        . signed 1
        "#,
    );
}

#[test]
fn unacknowledged_start_is_retried_once_under_a_new_id() {
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        . wait 4999ms
        . wait 1ms
        ! sign 1
        > stop $1
        . wait 1m
        < start_ack $1
        < complete $1
        . signed 1
        > start $1'
        < data $1 {"data":"of the first try"}
        < start_ack $1'
        ! event started 1
        < data $1' {"data":"of the second"}
        ! event next 1 {"data":"of the second"}
        . wait 1m
        . stop 1
        > stop $1'
        < complete $1'
        ! released 1
        "#,
    );
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        . wait 5s
        ! sign 1
        > stop $1
        . signed 1
        > start $1'
        . wait 5s
        ! unanswered error 1 [{"message":"upstream did not acknowledge the subscription (pool.start_ack)","extensions":{"code":"UPSTREAM_TIMEOUT","sent":"maybe"}}]
        > stop $1'
        < start_ack $1'
        < data $1' {"data":1}
        "#,
    );
}

#[test]
fn full_connection_returns_the_subscription() {
    for payload in [
        r#"{"errors":{"errorType":"MaxSubscriptionsReachedError","message":"Max number of 100 subscriptions reached"}}"#,
        r#"{"errors":[{"errorType":"MaxSubscriptionsReachedError"}]}"#,
        r#"{"errorType":"MaxSubscriptionsReachedException"}"#,
    ] {
        check_ready(&format!(
            "
            . subscribe 1
            ! sign 1
            . subscribe 2
            ! sign 2
            . signed 1
            > start $1
            . signed 2
            > start $2
            < error $1 {payload}
            ! full 1
            < start_ack $1
            . stop 1
            < start_ack $2
            ! event started 2
            "
        ));
    }
}

const LIMITED: &str = r#"{"payload":{"errors":{"errorType":"LimitExceededError","message":"Rate limit exceeded"}},"type":"error"}"#;

#[test]
fn throttled_starts_wait_and_are_signed_again() {
    check_live(&format!(
        r#"
        . subscribe 2
        ! sign 2
        . signed 2
        > start $2
        < {LIMITED}
        . subscribe 3
        < data $1 {{"data":1}}
        ! event next 1 {{"data":1}}
        . wait 499ms
        . wait 1ms
        ! sign 2
        ! sign 3
        > stop $2
        . signed 3
        > start $3
        . signed 2
        > start $2'
        < {LIMITED}
        < start_ack $2
        . wait 999ms
        . wait 1ms
        ! sign 2
        ! sign 3
        > stop $2'
        > stop $3
        . signed 2
        > start $2'
        < start_ack $2'
        ! event started 2
        . signed 3
        > start $3'
        < {LIMITED}
        . wait 500ms
        ! sign 3
        > stop $3'
        "#
    ));
}

#[test]
fn throttled_starts_fail_after_six_retries() {
    let mut bench = Bench::ready();
    bench.input(". subscribe 1");
    let mut start = "> start $1";
    for wait in [500, 1_000, 2_000, 4_000, 8_000, 16_000] {
        assert!(bench.outputs().contains(&"! sign 1".to_owned()));
        bench.input(". signed 1");
        assert_eq!(bench.outputs(), [start]);
        start = "> start $1'";
        bench.input(&format!("< {LIMITED}"));
        bench.input(&format!(". wait {}ms", wait - 1));
        assert_eq!(bench.outputs(), [""; 0], "{wait}");
        bench.input(". wait 1ms");
    }
    check_from(
        bench,
        &format!(
            r#"
            . signed 1
            ! sign 1
            > stop $1'
            > start $1'
            < {LIMITED}
            ! interrupted error 1 [{{"message":"Rate limit exceeded","extensions":{{"errorType":"LimitExceededError"}}}}]
            > stop $1'
            . subscribe 2
            ! sign 2
            . signed 2
            > start $2
            < {LIMITED}
            . wait 500ms
            ! sign 2
            > stop $2
            "#
        ),
    );
}

/// Only one of AppSync's names for it was known; the others ended all starts.
#[test]
fn each_kind_of_throttling_makes_starts_wait() {
    for payload in [
        r#"{"errorType":"LimitExceededException"}"#,
        r#"{"errors":[{"errorType":"com.amazonaws#ThrottlingException","errorCode":400}]}"#,
        r#"{"errorType":"TooManyRequestsException"}"#,
        r#"{"message":"slow down","errorCode":429}"#,
    ] {
        check_ready(&format!(
            r#"
            . subscribe 1
            ! sign 1
            . signed 1
            > start $1
            < {{"type":"error","payload":{payload}}}
            . wait 500ms
            ! sign 1
            > stop $1
            "#
        ));
    }
}

/// Each error of a burst counted as a retry, so one burst used up all of them.
#[test]
fn a_burst_of_throttled_starts_counts_once() {
    let mut bench = Bench::ready();
    for key in 1..=8 {
        bench.input(&format!(". subscribe {key}"));
        bench.input(&format!(". signed {key}"));
    }
    for _ in 1..=8 {
        bench.input(&format!("< {LIMITED}"));
    }
    bench.outputs();
    bench.input(". wait 500ms");
    let signs = (1..=8).map(|key| format!("! sign {key}"));
    let stops = (1..=8).map(|key| format!("> stop ${key}"));
    assert_eq!(bench.outputs(), signs.chain(stops).collect::<Vec<_>>());
}

/// The end of throttling sent starts although the connection was not acknowledged.
#[test]
fn throttling_signs_nothing_before_the_acknowledgement() {
    check(&format!(
        "
        . subscribe 1
        > connection_init
        < {LIMITED}
        . wait 9s
        < ack
        ! ready
        ! sign 1
        "
    ));
}

/// The error belonged to another start. The acknowledgement of this one was ignored, and it was
/// started twice.
#[test]
fn an_acknowledgement_while_throttled_counts() {
    let throttled = format!(
        "
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        < {LIMITED}
        "
    );
    check_ready(&format!(
        "
        {throttled}
        < start_ack $1
        ! event started 1
        . wait 1m
        "
    ));
    check_ready(&format!(
        "
        {throttled}
        . wait 500ms
        ! sign 1
        > stop $1
        < start_ack $1
        . signed 1
        > start $1'
        < start_ack $1'
        ! event started 1
        . wait 1m
        "
    ));
    check_ready(&format!(
        r#"
        {throttled}
        < data $1 {{"data":1}}
        ! event started 1
        ! event next 1 {{"data":1}}
        "#
    ));
}

/// AppSync may have accepted this start and throttled another one. Without a stop, the subscription
/// stayed alive upstream.
#[test]
fn a_stop_while_throttled_reaches_upstream() {
    check_ready(&format!(
        "
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        < {LIMITED}
        . stop 1
        > stop $1
        < start_ack $1
        < complete $1
        ! released 1
        . wait 1m
        "
    ));
}

/// AppSync may have accepted one of the starts that end. Without a stop, it stayed alive upstream.
#[test]
fn an_error_without_id_ends_only_starts_that_are_not_acknowledged() {
    for id in ["", r#""id":"","#, r#""id":null,"#] {
        check_live(&format!(
            r#"
            . subscribe 2
            ! sign 2
            . subscribe 3
            ! sign 3
            . subscribe 4
            ! sign 4
            . signed 3
            > start $3
            . signed 2
            > start $2
            < {{{id}"type":"error","payload":{{"errors":[{{"errorType":"UnsupportedOperation","message":"x"}}]}}}}
            ! ended error 2 [{{"message":"x","extensions":{{"errorType":"UnsupportedOperation"}}}}]
            ! ended error 3 [{{"message":"x","extensions":{{"errorType":"UnsupportedOperation"}}}}]
            > stop $2
            > stop $3
            < complete $2
            < start_ack $3
            . signed 4
            > start $4
            < data $1 {{"data":1}}
            ! event next 1 {{"data":1}}
            "#
        ));
    }
    check_live(r#"< {"type":"error","payload":{"errors":[{"message":"x"}]}}"#);
}

#[test]
fn an_error_with_an_id_ends_that_subscription() {
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        . subscribe 2
        ! sign 2
        . signed 2
        > start $2
        < error $1 {"errors":[{"errorType":"UnauthorizedException","message":"Permission denied"},{"message":"more"}]}
        ! ended error 1 [{"message":"Permission denied","extensions":{"errorType":"UnauthorizedException"}},{"message":"more"}]
        < error $1 {"errors":[{"message":"again"}]}
        < start_ack $2
        ! event started 2
        < error $2 null
        ! ended error 2 [{"message":"AppSync error"}]
        "#,
    );
    check_live(
        r#"
        < error $1
        ! ended error 1 [{"message":"AppSync error"}]
        "#,
    );
}

#[test]
fn response_to_a_stop_releases_the_subscription() {
    for answer in [
        "complete $1",
        "complete $1 {}",
        r#"error $1 {"errors":[{"message":"x"}]}"#,
        r#"error $1 {"errorType":"MaxSubscriptionsReachedException"}"#,
    ] {
        check_live(&format!(
            r#"
            . stop 1
            > stop $1
            . stop 1
            < data $1 {{"data":"late"}}
            < start_ack $1
            < {answer}
            ! released 1
            < {answer}
            . wait 1m
            "#
        ));
    }
}

#[test]
fn unconfirmed_stop_is_released_after_the_timeout() {
    check_live(
        "
        . stop 1
        > stop $1
        . wait 9999ms
        . wait 1ms
        ! released 1
        < complete $1
        ",
    );
}

#[test]
fn start_stopped_before_its_acknowledgement_is_not_retried() {
    check_ready(
        "
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        . stop 1
        > stop $1
        . wait 9s
        < start_ack $1
        . wait 1s
        ! released 1
        ",
    );
}

#[test]
fn an_unsolicited_complete_ends_the_subscription() {
    check_live(
        r#"
        < complete $1
        ! ended complete 1
        < complete $1
        < data $1 {"data":1}
        . stop 1
        "#,
    );
}

#[test]
fn data_before_its_acknowledgement_acknowledges() {
    check_ready(
        r#"
        . subscribe 1
        ! sign 1
        . signed 1
        > start $1
        < data $1 {"data":1}
        ! event started 1
        ! event next 1 {"data":1}
        < start_ack $1
        . wait 1m
        "#,
    );
}

#[test]
fn subscriptions_share_the_payload_of_the_same_event() {
    let mut bench = Bench::ready();
    for key in [1, 2] {
        bench.subscribe(key);
        bench.sign(key, Ok(AUTHORIZATION.to_owned()));
    }
    bench.outputs();
    for event in ["$1 {\"data\":1}", "$2 {\"data\":1}", "$1 {\"data\":2}"] {
        let frame = Bytes::from(bench.frame(&format!("data {event}")));
        bench.machine.handle_frame(bench.now, &frame);
    }
    let outputs = std::iter::from_fn(|| bench.machine.poll_output());
    let payloads = outputs.filter_map(|output| {
        let Output::Event(_, Event::Next(json)) = output else {
            return None;
        };
        Some(json)
    });
    let payloads: Vec<Json> = payloads.collect();
    let addresses: Vec<*const u8> = payloads
        .iter()
        .map(|json| json.as_bytes().as_ptr())
        .collect();
    assert_eq!(
        payloads.iter().map(Json::as_str).collect::<Vec<_>>(),
        [r#"{"data":1}"#, r#"{"data":1}"#, r#"{"data":2}"#,]
    );
    assert_eq!(addresses[0], addresses[1]);
    assert_ne!(addresses[0], addresses[2]);
}

#[test]
fn no_event_follows_a_stop() {
    let mut bench = Bench::ready();
    for line in [". subscribe 1", ". signed 1", "< data $1 {\"data\":1}"] {
        bench.input(line);
    }
    bench.input(". stop 1");
    assert_eq!(bench.outputs(), ["! sign 1", "> start $1", "> stop $1"]);
}

#[test]
fn the_time_to_the_acknowledgement_counts_from_the_latest_signature() {
    let mut bench = Bench::ready();
    for line in [". subscribe 1", ". wait 1s", ". signed 1", ". wait 5s"] {
        bench.input(line);
    }
    for line in [". signed 1", ". wait 2s"] {
        bench.input(line);
    }
    bench.outputs();
    let acknowledged_at = bench.now;
    bench.input("< start_ack $1'");
    let Some(Output::Started {
        key: Key(1),
        signed_at,
        took,
    }) = bench.machine.poll_output()
    else {
        panic!("not started");
    };
    assert_eq!(took, Duration::from_secs(2));
    assert_eq!(signed_at + took, acknowledged_at);
}

#[test]
fn refused_connection_reports_only_its_errors() {
    let cases = [
        (
            r#"{"errors":[{"errorType":"com.amazonaws.deepdish.graphql.auth#UnauthorizedException","message":"You are not authorized to make this call.","errorCode":400}]}"#,
            r#"[{"message":"You are not authorized to make this call.","extensions":{"errorCode":400,"errorType":"UnauthorizedException"}}]"#,
        ),
        (
            r#"{"errors":{"message":"NoProtocolError","errorCode":400}}"#,
            r#"[{"message":"NoProtocolError","extensions":{"errorCode":400}}]"#,
        ),
        (
            r#"{"errorType":"BadRequest","errorCode":400}"#,
            r#"[{"message":"BadRequest","extensions":{"errorCode":400,"errorType":"BadRequest"}}]"#,
        ),
        (r#"{"errors":[]}"#, r#"[{"message":"AppSync error"}]"#),
        ("null", r#"[{"message":"AppSync error"}]"#),
    ];
    for (payload, errors) in cases {
        check(&format!(
            r#"
            . subscribe 1
            > connection_init
            < {{"payload":{payload},"type":"connection_error"}}
            ! refused {errors}
            < {{"payload":{payload},"type":"connection_error"}}
            < ack
            . signed 1
            . closed
            . wait 1h
            "#
        ));
    }
}

#[test]
fn a_connection_error_after_the_acknowledgement_is_a_loss() {
    check_live(
        r#"
        < {"type":"connection_error","payload":{"errors":[{"message":"x"}]}}
        ! lost: upstream ended the connection with an error
        < data $1 {"data":1}
        "#,
    );
}

#[test]
fn a_connection_that_is_not_acknowledged_is_lost() {
    check(
        "
        . subscribe 1
        > connection_init
        < ka
        . wait 9999ms
        . wait 1ms
        ! lost: upstream did not acknowledge in time (pool.handshake)
        < ack
        ",
    );
}

#[test]
fn a_silent_connection_is_lost_unless_a_frame_arrives() {
    check_live(
        r#"
        . wait 149s
        < ka
        . wait 149s
        < data $1 {"data":1}
        ! event next 1 {"data":1}
        . wait 149s
        < not even JSON
        . wait 149999ms
        . wait 1ms
        ! lost: upstream sent nothing for too long (pool.keepalive)
        . wait 1h
        "#,
    );
}

/// A process that was stopped for a while closed connections whose keepalives waited to be read.
#[test]
fn time_in_which_the_process_did_not_run_does_not_count() {
    check_live(
        r#"
        . wait 149s
        . stall 20s
        . wait 1999ms
        . wait 1ms
        ! lost: upstream sent nothing for too long (pool.keepalive)
        "#,
    );
    check_live(
        r#"
        . wait 149s
        . stall 20s
        . wait 500ms
        < ka
        . wait 149s
        . subscribe 2
        ! sign 2
        . signed 2
        > start $2
        . stop 1
        > stop $1
        . stall 20s
        < ka
        . wait 1s
        < start_ack $2
        ! event started 2
        . wait 5999ms
        . wait 1ms
        ! released 1
        "#,
    );
    check(
        "
        . stall 20s
        > connection_init
        . wait 1s
        < ack
        ! ready
        ",
    );
}

/// Its end was taken for a deadline of upstream, and postponed for ever without being moved.
#[test]
fn throttled_starts_are_sent_after_a_time_in_which_the_process_did_not_run() {
    for before in ["0s", "149s"] {
        check_live(&format!(
            "
            . wait {before}
            . subscribe 2
            ! sign 2
            . signed 2
            > start $2
            < {LIMITED}
            . stall 200s
            . wait 0s
            ! sign 2
            > stop $2
            "
        ));
    }
}

#[test]
fn a_process_that_is_always_late_loses_a_silent_connection() {
    check_live(
        r#"
        . wait 149s
        . stall 20s
        . wait 0s
        . stall 4s
        . wait 0s
        < ka
        . stall 170s
        . wait 0s
        . stall 4s
        . wait 0s
        . stall 4s
        . wait 0s
        . stall 4s
        . wait 0s
        . stall 4s
        . wait 0s
        ! lost: upstream sent nothing for too long (pool.keepalive)
        "#,
    );
}

#[test]
fn the_acknowledgement_shortens_the_keepalive_and_never_lengthens_it() {
    let cases = [
        (r#"{"connectionTimeoutMs":30000}"#, 30),
        (r#"{"connectionTimeoutMs":300000}"#, 150),
        (r#"{"connectionTimeoutMs":0}"#, 150),
        (r#"{"connectionTimeoutMs":-1}"#, 150),
        (r#"{"connectionTimeoutMs":18446744073709551615}"#, 150),
        (r#"{"connectionTimeoutMs":"30000"}"#, 150),
        (r#"{"connectionTimeoutMs":null}"#, 150),
        ("{}", 150),
        ("[]", 150),
        ("null", 150),
    ];
    for (payload, seconds) in cases {
        check(&format!(
            r#"
            < {{"type":"connection_ack","payload":{payload}}}
            ! ready
            > connection_init
            . wait {}ms
            . wait 1ms
            ! lost: upstream sent nothing for too long (pool.keepalive)
            "#,
            seconds * 1_000 - 1
        ));
    }
}

/// A signature or a stop still had an effect after the loss.
#[test]
fn nothing_follows_a_loss() {
    check_live(
        r#"
        . subscribe 2
        ! sign 2
        . subscribe 3
        ! sign 3
        . subscribe 4
        ! sign 4
        . closed
        ! lost: upstream closed the connection
        . closed
        . signed 2
        . unsigned 3
        . stop 1
        . stop 4
        . subscribe 5
        . stop 5
        < data $1 {"data":1}
        < complete $1
        < ack
        . wait 1h
        "#,
    );
}

#[test]
fn ignored_frames_are_returned_for_the_log() {
    let ignored = |frame: &'static str| {
        let mut bench = Bench::ready();
        let bytes = Bytes::from_static(frame.as_bytes());
        bench.machine.handle_frame(bench.now, &bytes)
    };
    let malformed = |class| Some(Ignored::Malformed(class));
    assert_eq!(ignored("{"), malformed(Category::Eof));
    assert_eq!(ignored("secret"), malformed(Category::Syntax));
    assert_eq!(ignored("{\"type\":1}"), malformed(Category::Data));
    let unknown = Some(Ignored::UnknownType("pong".to_owned()));
    assert_eq!(ignored("{\"type\":\"pong\"}"), unknown);
    assert_eq!(ignored("{\"type\":\"ka\"}"), None);
}

#[test]
fn unknown_ids_and_garbage_are_ignored() {
    let unknown = "0e2b1ee1-1c0d-4a7e-9d3b-0123456789ab";
    for frame in [
        "",
        "{}",
        "[]",
        "null",
        "\"ka\"",
        "{\"type\":null}",
        "{\"type\":\"ka\"",
        "{\"type\":\"pong\"}",
        "{\"type\":\"start_ack\"}",
        "{\"type\":\"data\",\"payload\":{\"data\":1}}",
        "{\"type\":\"data\",\"id\":1,\"payload\":{\"data\":1}}",
        "{\"type\":\"complete\",\"id\":\"1\"}",
        "{\"type\":\"error\",\"id\":\"1\",\"payload\":{\"errors\":[{\"message\":\"x\"}]}}",
        "{\"type\":\"complete\",\"id\":null}",
    ] {
        check_live(&format!("< {frame}"));
    }
    for kind in ["start_ack", "data", "complete", "error"] {
        check_live(&format!(
            r#"< {{"type":"{kind}","id":"{unknown}","payload":{{"data":1}}}}"#
        ));
    }
    check_live("< data $1");
}

// === random transcripts ===

const ERROR: &str = r#"{"errors":[{"message":"x"}]}"#;
const FULL: &str = r#"{"errors":{"errorType":"MaxSubscriptionsReachedError"}}"#;
const KEYS: u64 = 6;

/// A transcript's line, with the key of its subscription if it concerns one.
fn line() -> impl Strategy<Value = (Option<u64>, String)> {
    let of_key = prop_oneof![
        8 => Just(". signed K"),
        1 => Just(". unsigned K"),
        3 => Just(". stop K"),
        6 => Just("< start_ack $K"),
        4 => Just("< data $K {\"data\":1}"),
        2 => Just("< complete $K"),
        1 => Just("< error $K ERROR"),
        1 => Just("< error $K FULL"),
        1 => Just("< start_ack $K'"),
        1 => Just("< complete $K'"),
    ];
    let of_all = prop_oneof![
        3 => Just("< ack"),
        1 => Just("< ka"),
        4 => Just("< LIMITED"),
        1 => Just("< {\"type\":\"error\",\"payload\":ERROR}"),
        2 => Just(". wait 400ms"),
        2 => Just(". wait 4s"),
        1 => Just(". wait 11s"),
    ];
    let last = prop_oneof![
        Just("< {\"type\":\"connection_error\",\"payload\":ERROR}"),
        Just(". closed"),
        Just(". wait 200s"),
    ];
    let fill = |line: &str| {
        line.replace("ERROR", ERROR)
            .replace("FULL", FULL)
            .replace("LIMITED", LIMITED)
    };
    prop_oneof![
        60 => (1..=KEYS, of_key).prop_map(move |(key, line)| {
            (Some(key), fill(&line.replace('K', &key.to_string())))
        }),
        20 => of_all.prop_map(move |line| (None, fill(line))),
        1 => last.prop_map(move |line| (None, fill(line))),
        2 => "\\PC{0,20}".prop_map(|text| (None, format!("< {text}"))),
        10 => Just((None, ". subscribe".to_owned())),
    ]
}

/// The rules that drivers rely on, whatever AppSync sends.
#[derive(Default)]
struct Rules {
    is_ready: bool,
    is_over: bool,
    keys: BTreeMap<u64, Seen>,
}

/// The state of one subscription according to the outputs.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    is_signing: bool,
    was_sent: bool,
    is_started: bool,
    is_stopped: bool,
    is_over: bool,
}

impl Rules {
    fn see(&mut self, line: &str) {
        assert!(!self.is_over, "{line} after the end");
        match line {
            "! ready" => self.is_ready = true,
            _ if line.starts_with("! lost") || line.starts_with("! refused") => {
                self.is_over = true;
            }
            _ => self.see_of_key(line),
        }
    }

    fn see_of_key(&mut self, line: &str) {
        let is_retry = line.ends_with('\'');
        let seen = self.keys.get_mut(&key_of(line)).unwrap();
        let is_running = !seen.is_over && !seen.is_stopped;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["!", "sign", _] => {
                assert!(self.is_ready && is_running && !seen.is_signing, "{line}");
                assert!(!seen.is_started, "{line}, though it was started");
                seen.is_signing = true;
            }
            [">", "start", _] => {
                assert!(is_running && seen.is_signing, "{line}");
                seen.is_signing = false;
                seen.was_sent = true;
            }
            [">", "stop", _] => assert!(seen.was_sent || is_retry, "{line}, never started"),
            ["!", "event", "started", _] => {
                assert!(is_running && !seen.is_started, "{line}");
                seen.is_started = true;
                seen.is_signing = false;
            }
            ["!", "event", "next", ..] => assert!(is_running && seen.is_started, "{line}"),
            ["!", "ended" | "interrupted" | "unanswered", ..] | ["!", "full", _] => {
                assert!(is_running, "{line}");
                seen.is_over = true;
            }
            ["!", "released", _] => {
                assert!(seen.is_stopped && !seen.is_over, "{line}");
                seen.is_over = true;
            }
            _ => panic!("{line}"),
        }
    }

    fn running(&self) -> impl Iterator<Item = (u64, &Seen)> {
        let all = self.keys.iter().map(|(key, seen)| (*key, seen));
        all.filter(|(_, seen)| !seen.is_over && !seen.is_stopped)
    }
}

/// Returns the key of the subscription that an output names.
fn key_of(line: &str) -> u64 {
    let words = line.split([' ', '$', '\'']);
    words.filter_map(|word| word.parse().ok()).next().unwrap()
}

/// A bench whose outputs are checked against the rules.
struct Checked {
    bench: Bench,
    rules: Rules,
}

impl Checked {
    fn new() -> Self {
        let mut bench = Bench::new();
        assert_eq!(bench.outputs(), ["> connection_init"]);
        Self {
            bench,
            rules: Rules::default(),
        }
    }

    fn play(&mut self, key: Option<u64>, line: &str) {
        let seen = key.and_then(|key| self.rules.keys.get(&key).copied());
        match line {
            ". subscribe" => {
                let key = self.rules.keys.len() as u64 + 1;
                self.rules.keys.insert(key, Seen::default());
                self.bench.input(&format!(". subscribe {key}"));
            }
            line => self.bench.input(line),
        }
        if let (true, Some(seen)) = (
            line.starts_with(". stop"),
            key.and_then(|key| self.rules.keys.get_mut(&key)),
        ) {
            seen.is_stopped = true;
        }
        let outputs = self.bench.outputs();
        if let Some(key) = key {
            self.check_alone(key, &outputs);
        }
        if let Some(seen) = seen.filter(|seen| seen.is_signing && !seen.is_stopped && !seen.is_over)
            && line.starts_with(". signed")
            && !self.rules.is_over
        {
            assert_eq!(outputs.len(), 1, "{seen:?}: a signature leads to a start");
        }
        if line.contains("\"type\":\"error\"") {
            self.check_not_acknowledged(&outputs);
        }
        for output in &outputs {
            self.rules.see(output);
        }
        if !self.rules.is_over {
            let known = self.rules.keys.values().filter(|seen| !seen.is_over);
            assert_eq!(self.bench.machine.count(), known.count());
        }
    }

    /// Promise 7: an input that concerns one subscription has no effect on another.
    fn check_alone(&self, key: u64, outputs: &[String]) {
        let touched: BTreeSet<u64> = outputs.iter().map(|line| key_of(line)).collect();
        assert!(
            touched.iter().all(|touched| *touched == key),
            "{key}: {outputs:?}"
        );
    }

    fn check_not_acknowledged(&self, outputs: &[String]) {
        for line in outputs.iter().filter(|line| line.starts_with("! ended")) {
            let seen = self.rules.keys[&key_of(line)];
            assert!(seen.was_sent && !seen.is_started, "{line}");
        }
    }

    /// AppSync acknowledges everything and the driver does its work: each subscription starts, stops
    /// and is released.
    fn settle(&mut self) {
        self.play(None, "< ack");
        for _ in 0..4 {
            for key in self.keys(|seen| seen.is_signing) {
                self.play(Some(key), &format!(". signed {key}"));
            }
            for key in self.keys(|seen| seen.was_sent && !seen.is_started) {
                let line = format!("< start_ack {}", self.id(key));
                self.play(Some(key), &line);
            }
            if self.keys(|seen| !seen.is_started).is_empty() {
                break;
            }
            self.play(None, "< ka");
            self.play(None, ". wait 17s");
        }
        assert_eq!(self.keys(|seen| !seen.is_started), [0; 0], "never started");
        for key in self.keys(|_| true) {
            self.play(Some(key), &format!(". stop {key}"));
        }
        for key in self.rules.keys.clone().into_keys() {
            let line = format!("< complete {}", self.id(key));
            self.play(Some(key), &line);
        }
        assert_eq!(self.bench.machine.count(), 0);
    }

    fn keys(&self, is_match: impl Fn(&Seen) -> bool) -> Vec<u64> {
        let found = self.rules.running().filter(|(_, seen)| is_match(seen));
        found.map(|(key, _)| key).collect()
    }

    /// Returns the latest wire id.
    fn id(&self, key: u64) -> String {
        let retried = format!("${key}'");
        let is_known = self.bench.ids.iter().any(|(name, _)| *name == retried);
        if is_known { retried } else { format!("${key}") }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_whatever_the_upstream_sends(
        is_acknowledged in prop::bool::weighted(0.8),
        lines in prop::collection::vec(line(), 0..80),
    ) {
        let mut checked = Checked::new();
        if is_acknowledged {
            checked.play(None, "< ack");
        }
        for (key, line) in &lines {
            checked.play(*key, line);
        }
        if !checked.rules.is_over {
            checked.settle();
        }
    }

    #[test]
    fn an_early_timeout_changes_nothing(
        lines in prop::collection::vec(line(), 0..40),
        early in 1..400_u64,
    ) {
        let mut bench = Bench::ready();
        let mut last = 0;
        for (_, line) in &lines {
            match line.as_str() {
                ". subscribe" => {
                    last += 1;
                    bench.subscribe(last);
                }
                line => bench.input(line),
            }
            bench.outputs();
            if let Some(at) = bench.machine.poll_timeout() {
                let before = at - Duration::from_millis(early);
                bench.machine.handle_timeout(before.min(at));
                prop_assert_eq!(bench.outputs(), [""; 0]);
                prop_assert_eq!(bench.machine.poll_timeout(), Some(at));
            }
        }
    }
}
