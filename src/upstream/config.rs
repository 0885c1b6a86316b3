//! The settings of an upstream.

use std::time::Duration;

/// The settings of `[timeouts]` and `[pool]` that concern upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// The time limit for DNS, TCP, the proxy and TLS together.
    pub connect: Duration,
    /// The time limit from sending a request to the head of its response.
    pub first_byte: Duration,
    /// The time limit between two pieces of a response.
    pub idle: Duration,
    /// How long an idle connection is kept open.
    pub pool_idle: Duration,
    /// The maximum number of idle connections in a pool.
    pub pool_max_idle: usize,
    /// How long a connection is used for new requests.
    pub pool_max_age: Duration,
    /// The bytes of one response that upstream may send before the client reads any of it.
    pub window: u32,
}
