//! The neutral types of AppSync Events: channels, publishes, subscriptions.
//!
//! This module is independent of sockets and signatures. Source: AppSync Events guide, "Event API
//! concepts".

use crate::graphql::push_json_string;

/// A channel, such as `/default/room-1`; to subscribe, it may end in `/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel(String);

/// Why a text is not a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a channel is one to five segments of letters, digits and `-`, separated by `/`, such as \
     /default/room-1; to subscribe, the last one may be `*`"
)]
pub struct ChannelError;

/// A subscription to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    pub channel: Channel,
    /// The client's own headers for this subscription.
    pub headers: Vec<(String, String)>,
}

/// Events for a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    pub channel: Channel,
    /// Each event is a JSON text.
    pub events: Vec<String>,
    /// The client's own headers for this publish.
    pub headers: Vec<(String, String)>,
}

const MAX_SEGMENTS: usize = 5;
const MAX_SEGMENT: usize = 50;

impl Channel {
    /// Parses a channel to publish to.
    ///
    /// # Errors
    /// If AppSync would not accept the channel.
    pub fn exact(text: &str) -> Result<Self, ChannelError> {
        let is_plain = |segment: &str| {
            (1..=MAX_SEGMENT).contains(&segment.len())
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let mut segments = text.strip_prefix('/').unwrap_or(text).split('/');
        let is_channel = segments.clone().count() <= MAX_SEGMENTS && segments.all(is_plain);
        if is_channel {
            Ok(Self(text.to_owned()))
        } else {
            Err(ChannelError)
        }
    }

    /// Parses a channel, or all channels below it, to subscribe to.
    ///
    /// # Errors
    /// If AppSync would not accept the channel.
    pub fn pattern(text: &str) -> Result<Self, ChannelError> {
        Self::exact(text.strip_suffix("/*").unwrap_or(text))?;
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Subscribe {
    /// Returns the text that is signed: `{"channel":"…"}`.
    pub fn to_data(&self) -> String {
        format!(r#"{{"channel":"{}"}}"#, self.channel.as_str())
    }
}

impl Publish {
    /// Returns the body of a `POST` to the API: `{"channel":"…","events":["…"]}`.
    pub fn to_body(&self) -> String {
        let mut body = format!(r#"{{"channel":"{}","events":["#, self.channel.as_str());
        for (at, event) in self.events.iter().enumerate() {
            if at > 0 {
                body.push(',');
            }
            push_json_string(&mut body, event);
        }
        body.push_str("]}");
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_validated() {
        for text in ["default", "/default/room-1", "a/b/c/d/e", "/A/0-9"] {
            assert!(Channel::exact(text).is_ok(), "{text}");
            assert!(Channel::pattern(text).is_ok(), "{text}");
        }
        let long = "x".repeat(51);
        let bad = [
            "",
            "/",
            "//a",
            "a//b",
            "a/",
            "a b",
            "a\"b",
            "é",
            "a/b/c/d/e/f",
            &long,
            "*",
            "a*",
        ];
        for text in bad {
            assert_eq!(Channel::exact(text), Err(ChannelError), "{text}");
            assert_eq!(Channel::pattern(text), Err(ChannelError), "{text}");
        }
        assert_eq!(Channel::exact("/default/*"), Err(ChannelError));
        assert!(Channel::pattern("/default/*").is_ok());
    }

    #[test]
    fn signed_text_is_compact_and_in_order() {
        let channel = Channel::exact("/default/room-1").unwrap();
        let subscribe = Subscribe {
            channel: channel.clone(),
            headers: Vec::new(),
        };
        assert_eq!(subscribe.to_data(), r#"{"channel":"/default/room-1"}"#);
        let publish = Publish {
            channel,
            events: vec![r#"{"msg":"a<b"}"#.to_owned(), "1".to_owned()],
            headers: Vec::new(),
        };
        assert_eq!(
            publish.to_body(),
            r#"{"channel":"/default/room-1","events":["{\"msg\":\"a<b\"}","1"]}"#
        );
    }
}
