//! The messages of one Events realtime connection.
//!
//! Responses go through the hub's outbox. Each `subscribe` and each `publish` is signed, and verified as
//! a `POST /event`.

use serde_json::{Map, Value};

use super::channels::Pattern;
use super::messages::{self, ClientMessage, Escape, Publish, Subscribe};
use super::publish::{EventsError, publish};
use crate::appsync::AppSync;
use crate::appsync_error::AppSyncError;
use crate::hub::{Admission, AdmissionRules};
use crate::message_handler::{Keepalive, MessageHandler};
use crate::messages::ka;
use crate::protocol::Protocol;
use crate::sigv4::Headers;

pub(crate) struct EventsSession<'a> {
    api: &'a AppSync,
    connection: u64,
    is_acknowledged: bool,
}

/// The reason why a message is rejected: type and message of the only error in the response.
struct MessageError {
    error_type: &'static str,
    message: Option<String>,
    summary: String,
}

// === impl EventsSession ===

impl<'a> EventsSession<'a> {
    pub(crate) fn new(api: &'a AppSync, connection: u64) -> Self {
        Self {
            api,
            connection,
            is_acknowledged: false,
        }
    }

    /// Acknowledges the connection. A client may skip `connection_init`; it is not acknowledged then.
    fn acknowledge(&mut self) -> Keepalive {
        if self.is_acknowledged {
            return Keepalive::Unchanged;
        }
        self.is_acknowledged = true;
        self.send(messages::connection_ack(self.api.context.timeout_ms()));
        if !self.api.context.switches.settings().stop_ka {
            self.send(ka());
        }
        Keepalive::Restart
    }

    fn subscribe(&self, subscribe: &Subscribe) {
        self.api
            .context
            .ledger
            .count(|counts| counts.events.subscribes_total += 1);
        match self.admit(subscribe) {
            Ok(()) => {}
            Err(None) => {
                let settings = self.api.context.switches.settings();
                let id = (!settings.refuse_start_without_id).then_some(subscribe.id.as_str());
                self.count_refusal("subscribe_error on request");
                let payload = &settings.refuse_start;
                self.send(messages::with_members("subscribe_error", id, payload));
            }
            Err(Some(error)) => self.reject("subscribe_error", &subscribe.id, &error),
        }
    }

    /// Returns `Err(None)` if the subscription could be admitted, but a switch rejects it.
    fn admit(&self, subscribe: &Subscribe) -> Result<(), Option<MessageError>> {
        self.authorize(
            &subscribe.id,
            subscribe.authorization.as_ref(),
            &subscribe.signed_body(),
        )?;
        let pattern = Pattern::parse(&subscribe.channel)
            .map_err(|error| MessageError::events(error.into()))?;
        self.api
            .check_policy("appsync:EventSubscribe", &pattern.resource())
            .map_err(|_| MessageError::events(EventsError::NotPermitted))?;
        let settings = self.api.context.switches.settings();
        let rules = AdmissionRules {
            limit: settings.max_subscriptions,
            acknowledge: !settings.no_start_ack,
            refuse: !settings.refuse_start.is_empty(),
        };
        let hub = &self.api.hub;
        match hub.subscribe(self.connection, &subscribe.id, pattern, &rules) {
            Admission::Started => Ok(()),
            Admission::Duplicate => Err(Some(MessageError::duplicate(&subscribe.id))),
            Admission::Full => Err(Some(MessageError::new(
                "MaxSubscriptionsReachedError",
                Some(format!(
                    "Max number of {} subscriptions reached",
                    rules.limit
                )),
            ))),
            Admission::RefusedBySwitch => Err(None),
        }
    }

    fn publish(&self, publish: &Publish) {
        self.api
            .context
            .ledger
            .count(|counts| counts.events.publishes += 1);
        match self.accept(publish) {
            Ok(response) => self.send(response),
            Err(error) => self.reject("publish_error", &publish.id, &error),
        }
    }

    fn accept(&self, message: &Publish) -> Result<String, MessageError> {
        let escape = if self.api.context.switches.settings().escape_events {
            Escape::Html
        } else {
            Escape::None
        };
        self.authorize(
            &message.id,
            message.authorization.as_ref(),
            &message.signed_body(escape),
        )?;
        // Ids are unique on a connection. The stricter assumption is that a publish cannot have the id
        // of a subscription either.
        if self.api.hub.has_subscription(self.connection, &message.id) {
            return Err(MessageError::duplicate(&message.id));
        }
        let outcome =
            publish(self.api, &message.channel, &message.events).map_err(MessageError::events)?;
        Ok(messages::publish_success(&message.id, &outcome))
    }

    fn unsubscribe(&self, id: &str) {
        self.api
            .context
            .ledger
            .count(|counts| counts.events.unsubscribes_total += 1);
        if self.api.hub.unsubscribe(self.connection, id) {
            self.send(messages::unsubscribe_success(id));
        } else {
            let message = Some(format!("Unknown operation id {id}"));
            let error = MessageError::new("UnknownOperationError", message);
            self.reject("unsubscribe_error", id, &error);
        }
    }

    /// Checks the throttling, the id and the signature of a message. The error types for an invalid id
    /// and for throttling are assumed.
    fn authorize(
        &self,
        id: &str,
        authorization: Option<&Map<String, Value>>,
        body: &str,
    ) -> Result<(), MessageError> {
        if self.api.context.switches.settings().throttle {
            let message = Some("Rate limit exceeded".to_owned());
            return Err(MessageError::new("LimitExceededError", message));
        }
        if !is_id(id) {
            let message = Some("Invalid operation id".to_owned());
            return Err(MessageError::new("InvalidInputError", message));
        }
        let Some(authorization) = authorization else {
            return Err(MessageError::appsync(&AppSyncError::OtherAuthorization));
        };
        let headers = Headers::from_json(authorization);
        let path = Protocol::Events.http_path();
        self.api
            .verify_realtime(path, &headers, body.as_bytes())
            .map(|_| ())
            .map_err(|error| MessageError::appsync(&error))
    }

    fn reject(&self, message_type: &str, id: &str, error: &MessageError) {
        self.count_refusal(&error.summary);
        let message = error.message.as_deref();
        self.send(messages::error(message_type, id, error.error_type, message));
    }

    fn count_refusal(&self, summary: &str) {
        self.api
            .context
            .ledger
            .count(|counts| counts.events.refused += 1);
        self.api
            .context
            .ledger
            .record_refusal_summary(summary.to_owned());
    }

    fn send(&self, text: String) {
        self.api.hub.send(self.connection, text);
    }
}

impl MessageHandler for EventsSession<'_> {
    async fn handle(&mut self, text: &str) -> Keepalive {
        match messages::parse(text) {
            ClientMessage::ConnectionInit => return self.acknowledge(),
            ClientMessage::Subscribe(message) => self.subscribe(&message),
            ClientMessage::Publish(message) => self.publish(&message),
            ClientMessage::Unsubscribe { id } => self.unsubscribe(&id),
            ClientMessage::Unsupported => self.unsupported(),
        }
        Keepalive::Unchanged
    }

    fn unsupported(&self) {
        self.send(messages::unsupported());
    }

    /// AppSync sends keepalives even without a `connection_init`.
    fn sends_keepalives(&self) -> bool {
        true
    }
}

/// Returns whether an id matches `^[a-zA-Z0-9-_+]{1,128}$`.
fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+".contains(&byte);
    (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(is_allowed)
}

// === impl MessageError ===

impl MessageError {
    fn new(error_type: &'static str, message: Option<String>) -> Self {
        Self {
            error_type,
            message,
            summary: error_type.to_owned(),
        }
    }

    fn appsync(error: &AppSyncError) -> Self {
        Self {
            error_type: error.realtime_type(),
            message: Some(error.to_string()),
            summary: error.summary(),
        }
    }

    fn events(error: EventsError) -> Self {
        let message = Some(error.to_string()).filter(|message| !message.is_empty());
        Self::new(error.realtime_type(), message)
    }

    fn duplicate(id: &str) -> Self {
        let message = Some(format!("Duplicated operation with id {id}"));
        Self::new("DuplicatedOperationError", message)
    }
}

const MAX_ID_LENGTH: usize = 128;

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn ids_are_validated() {
        let long = "x".repeat(129);
        for id in ["a", "a-B_9+", &long[..128]] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "a b", "a.b", "ä", &long] {
            assert!(!is_id(id), "{id}");
        }
    }
}
