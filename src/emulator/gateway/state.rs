//! The gateway's state: its names, and the open connections of its WebSocket API.

use std::sync::Arc;

use bytes::BytesMut;

use super::sites::HostNames;
use super::sockets::Sockets;
use crate::context::Context;

/// API Gateway and the other services.
pub(crate) struct Gateway {
    pub(crate) context: Arc<Context>,
    pub(crate) names: HostNames,
    pub(crate) sockets: Sockets,
}

// === impl Gateway ===

impl Gateway {
    pub(crate) fn new(context: Arc<Context>, names: HostNames) -> Self {
        Self {
            context,
            names,
            sockets: Sockets::default(),
        }
    }

    /// Returns whether a host name belongs to the gateway, and not to AppSync.
    pub(crate) fn serves_host(&self, host: &str) -> bool {
        self.names.site(host).is_some()
    }

    /// Returns whether the first bytes of a connection are a request for the gateway.
    pub(crate) fn is_for_gateway(&self, read: &BytesMut) -> bool {
        let host = host_line(read);
        host.is_some_and(|host| self.serves_host(host.trim()))
    }
}

/// Returns the value of the first `host` line of a head.
fn host_line(read: &[u8]) -> Option<&str> {
    let mut lines = read.split(|byte| *byte == b'\n').skip(1);
    let line = lines.find(|line| {
        let name = line.get(..5).unwrap_or_default();
        name.eq_ignore_ascii_case(b"host:")
    })?;
    std::str::from_utf8(&line[5..]).ok()
}
