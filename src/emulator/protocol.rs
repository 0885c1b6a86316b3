//! What AppSync is asked for: which of its protocols, and by which of its names.

/// By which of its names a client addresses the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnName {
    /// `….appsync-api.…`
    Api,
    /// `….appsync-realtime-api.…`
    Realtime,
    /// A loopback name. It plays the part of a custom domain, where HTTP and realtime are one host.
    Custom,
}

/// What the API can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    GraphQl,
    Events,
}

// === impl Protocol ===

impl Protocol {
    /// What is served on a path by HTTP.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        [Self::GraphQl, Self::Events]
            .into_iter()
            .find(|protocol| protocol.http_path() == path)
    }

    /// Where requests go, and what is signed for subscriptions, too.
    pub(super) fn http_path(self) -> &'static str {
        match self {
            Self::GraphQl => "/graphql",
            Self::Events => "/event",
        }
    }

    /// What is signed for a realtime connect. No upgrade goes there.
    pub(super) fn connect_path(self) -> &'static str {
        match self {
            Self::GraphQl => "/graphql/connect",
            Self::Events => "/event",
        }
    }

    pub(super) fn subprotocol(self) -> &'static str {
        match self {
            Self::GraphQl => "graphql-ws",
            Self::Events => "aws-appsync-event-ws",
        }
    }
}
