//! Channels to publish to, and patterns of channels to subscribe to.
//!
//! <https://docs.aws.amazon.com/appsync/latest/eventapi/event-api-concepts.html>

use std::fmt;

/// The segments of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel(Vec<String>);

/// A channel, or all channels below it if it ends in `/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    path: Channel,
    is_wildcard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelError {
    /// The text does not consist of one to five segments of letters, digits and dashes.
    Malformed,
    /// The first segment is not a namespace of the API.
    UnknownNamespace,
}

// === impl Channel ===

impl Channel {
    /// Returns the part of the channel's ARN after that of the API.
    pub(super) fn resource(&self) -> String {
        format!("/channelNamespace/{}", self.0[0])
    }

    pub(super) fn parse(text: &str) -> Result<Self, ChannelError> {
        Self::from_segments(segments(text))
    }

    fn from_segments(segments: Vec<&str>) -> Result<Self, ChannelError> {
        let is_segment = |segment: &&str| {
            (1..=MAX_SEGMENT_LENGTH).contains(&segment.len())
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !(1..=MAX_SEGMENTS).contains(&segments.len()) || !segments.iter().all(is_segment) {
            return Err(ChannelError::Malformed);
        }
        if !NAMESPACES.contains(&segments[0]) {
            return Err(ChannelError::UnknownNamespace);
        }
        Ok(Self(segments.into_iter().map(str::to_owned).collect()))
    }
}

// === impl Pattern ===

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, ChannelError> {
        let mut segments = segments(text);
        // The wildcard counts as one of the five segments.
        if segments.len() > MAX_SEGMENTS {
            return Err(ChannelError::Malformed);
        }
        let is_wildcard = segments.pop_if(|last| *last == "*").is_some();
        Ok(Self {
            path: Channel::from_segments(segments)?,
            is_wildcard,
        })
    }

    pub(super) fn resource(&self) -> String {
        self.path.resource()
    }

    /// Returns whether `channel` matches. A wildcard matches all channels below it at any depth, but
    /// not the channel itself.
    pub(crate) fn matches(&self, channel: &Channel) -> bool {
        let Some(below) = channel.0.strip_prefix(self.path.0.as_slice()) else {
            return false;
        };
        below.is_empty() != self.is_wildcard
    }
}

/// Writes the form that `GET /state` shows.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.path.0.join("/"))?;
        f.write_str(if self.is_wildcard { "/*" } else { "" })
    }
}

/// Splits a channel into its segments. A slash before the first is optional.
fn segments(text: &str) -> Vec<&str> {
    text.strip_prefix('/').unwrap_or(text).split('/').collect()
}

const NAMESPACES: [&str; 2] = ["default", "inbox"];
const MAX_SEGMENTS: usize = 5;
const MAX_SEGMENT_LENGTH: usize = 50;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, channel: &str, expected: bool) {
        let (parsed, channel) = (Pattern::parse(pattern), Channel::parse(channel).unwrap());
        assert_eq!(parsed.unwrap().matches(&channel), expected, "{pattern}");
    }

    #[test]
    fn patterns_match_channels() {
        check("/default/room-1", "default/room-1", true);
        check("default", "/default", true);
        check("/default/room-1", "/default/room-2", false);
        check("/default/room", "/default/room/1", false);
        check("/default/*", "/default/room-1", true);
        check("/default/*", "/default/a/b/c/d", true);
        check("/default/*", "/default", false);
        check("/default/*", "/inbox/a", false);
        check("/default/a/*", "/default/b/c", false);
        assert_eq!(
            Pattern::parse("default/a/*").unwrap().to_string(),
            "/default/a/*"
        );
    }

    #[test]
    fn malformed_channels_are_rejected() {
        let long = format!("default/{}", "x".repeat(51));
        for text in [
            "",
            "/",
            "//default",
            "default/",
            "default//a",
            "default/a b",
            "default/ä",
            "default/a_b",
            "default/*",
            "default/a/b/c/d/e",
            &long,
        ] {
            assert_eq!(Channel::parse(text), Err(ChannelError::Malformed), "{text}");
        }
        for text in ["*", "/*", "default/*/a", "default/a/b/c/d/*", "default/a*"] {
            assert_eq!(Pattern::parse(text), Err(ChannelError::Malformed), "{text}");
        }
        assert!(Channel::parse(&long[..long.len() - 1]).is_ok());
        assert!(Channel::parse("default/a/b/c/d").is_ok());
        assert!(Pattern::parse("default/a/b/c/*").is_ok());
        for text in ["other/a", "Default/a"] {
            let refused = Err(ChannelError::UnknownNamespace);
            assert_eq!(Channel::parse(text), refused, "{text}");
        }
    }
}
