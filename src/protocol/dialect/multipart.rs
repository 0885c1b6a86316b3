//! Apollo's multipart subscription protocol over HTTP.
//!
//! Each delimiter is written together with the part before it, because clients show an event only
//! when they have received its end. Source: Apollo Router docs, "Multipart protocol for GraphQL
//! subscriptions".

use std::collections::VecDeque;

use super::payload::{errors, result};
use super::{Close, Output, StreamDialect};
use crate::error_code::{Code, Sent};
use crate::graphql::{Event, GraphqlError, OperationKey};

/// The framing of one subscription's events.
#[derive(Debug, Default)]
pub struct Multipart {
    out: VecDeque<Output>,
}

const DELIMITER: &str = "\r\n--graphql";
const PART: &str = "\r\ncontent-type: application/json\r\n\r\n";

impl StreamDialect for Multipart {
    fn content_type(&self) -> &'static str {
        r#"multipart/mixed;boundary="graphql";subscriptionSpec=1.0"#
    }

    fn open(&mut self) {
        self.out.push_back(Output::Send(DELIMITER.to_owned()));
        self.heartbeat();
    }

    fn handle_event(&mut self, _key: OperationKey, event: &Event) {
        match event {
            Event::Next(json) => {
                let payload = format!(r#"{{"payload":{}}}"#, result(json.as_str()));
                self.part(&payload, "");
            }
            Event::Error(list) => {
                let payload = format!(r#"{{"payload":{{"errors":{}}}}}"#, errors(list));
                self.end(&payload);
            }
            Event::Complete => self.end(r#"{"payload":null}"#),
            Event::Started | Event::Missed(_) | Event::Lost => {}
        }
    }

    fn heartbeat(&mut self) {
        self.part("{}", "");
    }

    fn lose(&mut self, reason: &'static str) {
        let error = GraphqlError::coded(reason, Code::SubscriptionLost, Sent::Yes);
        let body = format!(r#"{{"payload":null,"errors":{}}}"#, errors(&[error]));
        self.end(&body);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

impl Multipart {
    fn part(&mut self, json: &str, end: &str) {
        let text = [PART, json, DELIMITER, end].concat();
        self.out.push_back(Output::Send(text));
    }

    fn end(&mut self, json: &str) {
        self.part(json, "--\r\n");
        let close = Close::new(Close::NORMAL, "");
        self.out.push_back(Output::Close(close));
    }
}
