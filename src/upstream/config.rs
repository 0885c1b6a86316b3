//! The settings of an upstream.

use std::time::Duration;

/// The settings of `[timeouts]` and `[pool]` that concern upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// The time for DNS, TCP, the proxy and TLS together.
    pub connect: Duration,
    /// The time from the request being sent to the head of the response.
    pub first_byte: Duration,
    /// The time between two pieces of a response.
    pub idle: Duration,
    /// How long an idle connection is kept.
    pub pool_idle: Duration,
    pub pool_max_idle: usize,
    /// How long a connection accepts new requests.
    pub pool_max_age: Duration,
    /// Bytes of a response that upstream may send before the client reads them.
    pub window: u32,
}
