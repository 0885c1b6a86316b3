//! AWS as a route sees it: where it is, how to reach it, and how to send it a signed request.
//!
//! Everything about the address comes from configuration ([`Endpoint`]); nothing in a request can
//! change it. TLS name, wire Host and dialled address are three separate things. A request is
//! signed last, when its bytes are final, and sent exactly as signed. Redirects are not followed
//! and nothing is sent a second time.

mod client;
mod clocks;
mod denial;
mod dial;
mod endpoint;
mod error;
mod framing;
mod headers;
mod pool;
mod recipe;
mod tunnel;
mod websocket;
mod whole;

pub use client::{ResponseBody, Timing, Upstream, UpstreamConfig};
pub use denial::{Denial, denial};
pub use dial::{Dialer, ProxyRules, TlsRoots, Way};
pub use endpoint::{Address, Endpoint, EndpointError, Kind, Overrides, RealtimeEndpoint};
pub use error::{DialError, Error, Sent};
pub use framing::FramingError;
pub use headers::{HeaderPolicy, response_headers};
pub use pool::OpenBody;
pub use websocket::{Handshake, Socket};
pub use whole::whole;
