//! AWS as a route sees it: where it is, how to reach it, and how to send it a signed request.
//!
//! Everything about the address comes from configuration ([`Endpoint`]); nothing in a request can
//! change it. TLS name, wire Host and dialled address are three separate things. A request is
//! signed last, when its bytes are final, and sent exactly as signed. Redirects are not followed
//! and nothing is sent a second time.

mod client;
mod clock_skew;
mod dial;
mod endpoint;
mod error;
mod framing;
mod headers;
mod pool;
mod read_to_end;
mod rejection;
mod service_profile;
mod tunnel;
mod websocket;

pub use client::{ResponseBody, Timing, Upstream, UpstreamConfig};
pub use dial::{ConnectorOptions, Dialer, ProxyRules, TlsRoots};
pub use endpoint::{Address, Endpoint, EndpointError, Overrides, RealtimeEndpoint, UpstreamKind};
pub use error::{DialError, Error, Sent};
pub use framing::FramingError;
pub use headers::{HeaderPolicy, filter_response_headers};
pub use pool::UpstreamBody;
pub use read_to_end::read_to_end;
pub use rejection::{Rejection, rejection};
pub use websocket::{Handshake, Socket};
