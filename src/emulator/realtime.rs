//! The messages of one GraphQL realtime connection.
//!
//! Responses go through the hub's outbox; `socket` owns the socket.

use super::appsync::AppSync;
use super::appsync_error::AppSyncError;
use super::graphql::{Operation, SubscribeError};
use super::hub::{Admission, AdmissionRules, StartOptions};
use super::message_handler::{Keepalive, MessageHandler};
use super::messages::{self, ClientMessage, Start};
use super::sigv4::Headers;

/// The phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Every message except `connection_init` is ignored.
    Connected,
    Acknowledged,
}

pub(super) struct GraphqlSession<'a> {
    api: &'a AppSync,
    connection: u64,
    phase: Phase,
}

/// The error of a `start`: the frame for the client, and the summary for the ledger.
struct StartError {
    summary: String,
    frame: String,
}

// === impl GraphqlSession ===

impl<'a> GraphqlSession<'a> {
    pub(super) fn new(api: &'a AppSync, connection: u64) -> Self {
        Self {
            api,
            connection,
            phase: Phase::Connected,
        }
    }

    fn acknowledge(&mut self) {
        self.phase = Phase::Acknowledged;
        self.send(messages::connection_ack(self.api.context.timeout_ms()));
        if !self.api.context.switches.settings().stop_ka {
            self.send(messages::ka());
        }
    }

    async fn start(&self, start: Start) {
        self.api
            .context
            .ledger
            .count(|counts| counts.starts_total += 1);
        let Err(error) = self.admit(&start).await else {
            return;
        };
        self.api
            .context
            .ledger
            .record_refusal_summary(error.summary);
        self.send(error.frame);
    }

    async fn admit(&self, start: &Start) -> Result<(), StartError> {
        let settings = self.api.context.switches.settings();
        if settings.throttle {
            return Err(StartError::new(
                "LimitExceededError",
                messages::limit_exceeded(),
            ));
        }
        let Some(authorization) = &start.authorization else {
            return Err(StartError::appsync(
                &start.id,
                &AppSyncError::OtherAuthorization,
            ));
        };
        let headers = Headers::from_json(authorization);
        let verified = self
            .api
            .verify_realtime("/graphql", &headers, start.data.as_bytes())
            .map_err(|error| StartError::appsync(&start.id, &error))?;
        let operation = Operation::parse(start.data.as_bytes())
            .map_err(|error| StartError::appsync(&start.id, &error))?;
        self.api
            .check_field_policies(&operation)
            .map_err(|error| StartError::appsync(&start.id, &error))?;
        let pending = self
            .api
            .graphql
            .subscribe(operation, headers, &verified.signed_headers)
            .await
            .map_err(|error| match error {
                SubscribeError::NotASubscription => {
                    StartError::new("UnsupportedOperation", messages::unsupported())
                }
                SubscribeError::Invalid(errors) => StartError::new(
                    "Validation error",
                    messages::validation_errors(&start.id, &errors),
                ),
            })?;

        let options = StartOptions {
            rules: AdmissionRules {
                limit: settings.max_subscriptions,
                acknowledge: !settings.no_start_ack,
                refuse: !settings.refuse_start.is_empty(),
            },
            first_event: pending.first_event,
        };
        let hub = &self.api.hub;
        match hub.start(self.connection, &start.id, pending.live, options) {
            Admission::Started => Ok(()),
            Admission::Duplicate => {
                let message = format!("Duplicated operation with id {}", start.id);
                let error_type = "DuplicatedOperationError";
                Err(StartError::new(
                    error_type,
                    messages::error(&start.id, error_type, &message),
                ))
            }
            Admission::Full => Err(StartError::new(
                "MaxSubscriptionsReachedError",
                messages::too_many_subscriptions(&start.id, settings.max_subscriptions),
            )),
            Admission::RefusedBySwitch => {
                let id = (!settings.refuse_start_without_id).then_some(start.id.as_str());
                Err(StartError::new(
                    "error on request",
                    messages::error_with(id, &settings.refuse_start),
                ))
            }
        }
    }

    fn send(&self, text: String) {
        self.api.hub.send(self.connection, text);
    }
}

impl MessageHandler for GraphqlSession<'_> {
    async fn handle(&mut self, text: &str) -> Keepalive {
        match (self.phase, messages::parse(text)) {
            (Phase::Connected, ClientMessage::ConnectionInit) => {
                self.acknowledge();
                return Keepalive::Restart;
            }
            (
                Phase::Connected,
                ClientMessage::Start(_) | ClientMessage::Stop { .. } | ClientMessage::Unsupported,
            )
            | (Phase::Acknowledged, ClientMessage::ConnectionInit) => {}
            (Phase::Acknowledged, ClientMessage::Start(start)) => self.start(start).await,
            (Phase::Acknowledged, ClientMessage::Stop { id }) => {
                self.api.hub.stop(self.connection, &id);
            }
            (Phase::Acknowledged, ClientMessage::Unsupported) => self.unsupported(),
        }
        Keepalive::Unchanged
    }

    fn unsupported(&self) {
        self.send(messages::unsupported());
    }

    fn sends_keepalives(&self) -> bool {
        self.phase == Phase::Acknowledged
    }
}

// === impl StartError ===

impl StartError {
    fn new(summary: &str, frame: String) -> Self {
        Self {
            summary: summary.to_owned(),
            frame,
        }
    }

    fn appsync(id: &str, error: &AppSyncError) -> Self {
        Self {
            summary: error.summary(),
            frame: messages::appsync_error(id, error),
        }
    }
}
