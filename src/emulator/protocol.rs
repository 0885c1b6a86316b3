//! AppSync's protocols, and the kinds of host names of the API.

/// The kind of host name that a client uses for the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostKind {
    /// `….appsync-api.…`
    Api,
    /// `….appsync-realtime-api.…`
    Realtime,
    /// A loopback name. It is treated as a custom domain, where HTTP and realtime share one host.
    Custom,
}

/// One of AppSync's two APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    GraphQl,
    Events,
}

// === impl Protocol ===

impl Protocol {
    /// Returns the protocol that a path serves over HTTP.
    pub(super) fn from_path(path: &str) -> Option<Self> {
        [Self::GraphQl, Self::Events]
            .into_iter()
            .find(|protocol| protocol.http_path() == path)
    }

    /// Returns the path of HTTP requests. Messages on a realtime connection sign it, too.
    pub(super) fn http_path(self) -> &'static str {
        match self {
            Self::GraphQl => "/graphql",
            Self::Events => "/event",
        }
    }

    /// Returns the path that is signed for a realtime connect. The upgrade request has another path.
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
