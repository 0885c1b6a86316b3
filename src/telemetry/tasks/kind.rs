//! The kinds of tasks, by which panics are counted.

/// The kinds of tasks that a panic can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Accept,
    Admin,
    Connection,
    Credentials,
    Operation,
    Orphans,
    /// A thread, or a task of a library.
    Other,
    Realtime,
    Recorder,
    Request,
    Signing,
    Socket,
    Stream,
    Systemd,
    Traces,
    Tunnel,
    Upstream,
}

impl Task {
    pub const ALL: [Self; 17] = [
        Self::Accept,
        Self::Admin,
        Self::Connection,
        Self::Credentials,
        Self::Operation,
        Self::Orphans,
        Self::Other,
        Self::Realtime,
        Self::Recorder,
        Self::Request,
        Self::Signing,
        Self::Socket,
        Self::Stream,
        Self::Systemd,
        Self::Traces,
        Self::Tunnel,
        Self::Upstream,
    ];

    /// Returns the value of the label `task`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Admin => "admin",
            Self::Connection => "connection",
            Self::Credentials => "credentials",
            Self::Operation => "operation",
            Self::Orphans => "orphans",
            Self::Other => "other",
            Self::Realtime => "realtime",
            Self::Recorder => "recorder",
            Self::Request => "request",
            Self::Signing => "signing",
            Self::Socket => "socket",
            Self::Stream => "stream",
            Self::Systemd => "systemd",
            Self::Traces => "traces",
            Self::Tunnel => "tunnel",
            Self::Upstream => "upstream",
        }
    }
}
