//! Publishing to a channel.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use thiserror::Error;
use uuid::Uuid;

use super::channels::{Channel, ChannelError};
use super::messages;
use super::outcome::{FailedEvent, PublishOutcome, SuccessfulEvent};
use crate::appsync::AppSync;
use crate::appsync_error::AppSyncError;

/// The reason why a publish or a subscription is rejected as a whole. `Display` writes the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum EventsError {
    #[error("input exceeded {MAX_EVENTS} event limit")]
    TooManyEvents,
    /// This text and the next two are assumed.
    #[error("input has no events")]
    NoEvents,
    #[error("event exceeded 240 KB limit")]
    EventTooLarge,
    #[error("invalid channel format")]
    Channel,
    /// AppSync was observed to send no message for this error.
    #[error("")]
    UnknownNamespace,
    /// The IAM policy does not allow it.
    #[error("Permission denied")]
    NotPermitted,
}

/// Publishes the events of a `POST /event`, and returns the body of the response.
pub(crate) fn handle_publish(api: &AppSync, body: &[u8]) -> Result<String, AppSyncError> {
    api.context
        .ledger
        .count(|counts| counts.events.publishes += 1);
    // The text is assumed, because that of GraphQL's `MalformedHttpRequestException` mentions queries.
    let malformed = || AppSyncError::BadRequest("Unable to parse the request body.".to_owned());
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| malformed())?;
    let channel = object.get("channel").and_then(Value::as_str);
    let events = object.get("events").and_then(messages::strings);
    let (channel, events) = channel.zip(events).ok_or_else(malformed)?;
    let outcome = publish(api, channel, &events).map_err(EventsError::into_appsync)?;
    serde_json::to_string(&outcome).map_err(|_| AppSyncError::Internal)
}

/// Publishes events to every subscriber of the channel.
pub(super) fn publish(
    api: &AppSync,
    channel: &str,
    events: &[String],
) -> Result<PublishOutcome, EventsError> {
    let channel = Channel::parse(channel)?;
    api.check_policy("appsync:EventPublish", &channel.resource())
        .map_err(|_| EventsError::NotPermitted)?;
    if events.len() > MAX_EVENTS {
        return Err(EventsError::TooManyEvents);
    }
    if events.is_empty() {
        return Err(EventsError::NoEvents);
    }
    if events.iter().any(|event| event.len() > MAX_EVENT) {
        return Err(EventsError::EventTooLarge);
    }

    let mut outcome = PublishOutcome {
        failed: Vec::new(),
        successful: Vec::new(),
    };
    let mut accepted = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let identifier = Uuid::new_v4().to_string();
        if serde_json::from_str::<IgnoredAny>(event).is_ok() {
            outcome
                .successful
                .push(SuccessfulEvent { identifier, index });
            accepted.push(event.as_str());
        } else {
            // The values are assumed: only the names of the members are known.
            outcome.failed.push(FailedEvent {
                identifier,
                index,
                code: 400,
                message: "Event is not valid JSON.".to_owned(),
            });
        }
    }
    api.hub.broadcast(&channel, &accepted);
    api.context.ledger.count(|counts| {
        counts.events.accepted += outcome.successful.len() as u64;
        counts.events.failed += outcome.failed.len() as u64;
    });
    Ok(outcome)
}

// === impl EventsError ===

impl EventsError {
    /// Returns the error for HTTP, where messages begin with a capital letter.
    fn into_appsync(self) -> AppSyncError {
        let message = self.to_string();
        match self {
            Self::TooManyEvents | Self::NoEvents | Self::EventTooLarge | Self::Channel => {
                let (first, rest) = message.split_at(1);
                AppSyncError::BadRequest(format!("{}{rest}", first.to_ascii_uppercase()))
            }
            Self::UnknownNamespace => AppSyncError::UnknownNamespace,
            Self::NotPermitted => AppSyncError::PermissionDenied,
        }
    }

    /// Returns the error type in realtime frames. The type for a malformed channel is assumed.
    pub(super) fn realtime_type(self) -> &'static str {
        match self {
            Self::TooManyEvents | Self::NoEvents | Self::EventTooLarge => "InvalidInputError",
            Self::Channel => "BadRequestException",
            Self::UnknownNamespace | Self::NotPermitted => "UnauthorizedException",
        }
    }
}

impl From<ChannelError> for EventsError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Malformed => Self::Channel,
            ChannelError::UnknownNamespace => Self::UnknownNamespace,
        }
    }
}

const MAX_EVENTS: usize = 5;
/// AppSync's quota is 240 KB. A kilobyte of 1,000 bytes is the stricter assumption.
const MAX_EVENT: usize = 240_000;
