//! The session's side of a subscription.

use std::sync::Arc;

use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::{Event, GraphqlError, OperationKey};
use countersign_protocol::realtime::Start;
use countersign_protocol::realtime::connection::Connection;
use countersign_protocol::realtime::placement::SubscriptionEnd;

use super::connector::RealtimeConnector;
use crate::inspector::{Capture, Direction, Side, message_id};
use crate::outbox::{Outbox, Overflow};
use crate::telemetry::metrics::metrics;

/// The request of a subscription, and the session's queue for its events.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) start: Arc<Start>,
    pub(super) outbox: Outbox,
    pub(super) operation: OperationKey,
    pub(super) connector: Arc<RealtimeConnector>,
    pub(super) capture: Capture,
}

/// The maximum number of connections of a pool that are open or being opened.
pub(super) const MAX_CONNECTIONS: usize = 256;

impl Subscriber {
    /// Queues an event for the session, without waiting.
    ///
    /// # Errors
    /// When the client reads too slowly.
    pub(super) fn offer(&self, event: Event) -> Result<(), Overflow> {
        self.outbox.offer(self.operation, event)
    }

    fn explained(&self, errors: Vec<GraphqlError>, start: Option<&str>) -> Event {
        let errors = errors.into_iter();
        let errors = errors.map(|error| self.connector.explained(error, start));
        Event::Error(errors.collect())
    }

    /// Reports the end of the subscription to the session. Must be called once.
    pub(super) fn end(&self, why: SubscriptionEnd) {
        let event = match why {
            SubscriptionEnd::Upstream(Event::Error(errors)) => {
                self.explained(errors, Some(&self.start.data))
            }
            SubscriptionEnd::Upstream(event) => event,
            SubscriptionEnd::Lost => Event::Lost,
            SubscriptionEnd::Refused(errors) => self.explained(errors, None),
            SubscriptionEnd::Unreachable(error) => Event::Error(vec![error]),
            SubscriptionEnd::NotResumed { patience, cause } => {
                let mut message = format!(
                    "the realtime connection was lost, and the subscription could not be resumed \
                     within {patience:?} (timeouts.resume)"
                );
                if let Some(cause) = cause {
                    message.push_str(": ");
                    message.push_str(&cause.message);
                }
                failed(message, Code::SubscriptionLost, Sent::Yes)
            }
            SubscriptionEnd::Overflow => failed(
                "the subscription was ended because its events were not read in time (limits.outbox)",
                Code::SlowConsumer,
                Sent::Yes,
            ),
            SubscriptionEnd::Full => failed(
                "AppSync accepts no more subscriptions (pool.subscriptions)",
                Code::UpstreamFull,
                Sent::No,
            ),
            SubscriptionEnd::TooManyConnections => {
                metrics().refused(Code::TooManyConnections);
                let message = format!(
                    "{MAX_CONNECTIONS} realtime connections are open or being opened, and none can \
                     carry another subscription (pool.subscriptions)"
                );
                failed(message, Code::TooManyConnections, Sent::No)
            }
        };
        self.outbox.end(self.operation, event);
    }
}

/// Shows a message of a connection to the inspector.
pub(super) fn show(machine: &Connection<Arc<Subscriber>>, direction: Direction, text: &str) {
    if let Some(id) = message_id(text)
        && let Some(subscriber) = machine.subscriber_of(&id)
    {
        subscriber.capture.frame(Side::Upstream, direction, text);
    }
}

fn failed(message: impl Into<String>, code: Code, sent: Sent) -> Event {
    Event::Error(vec![GraphqlError::coded(message, code, sent)])
}
