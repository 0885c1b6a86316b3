//! The upstream of a route: its address, its connections, and the exchange of signed requests.
//!
//! The address comes only from the configuration ([`Endpoint`]); nothing in a request can change it.
//! The TLS name, the `Host` header and the dialled address are configured separately. A request is
//! signed last, when its bytes are final, and is sent exactly as it was signed. Redirects are not
//! followed. A request is sent again after a rejection by AWS, whose cause was renewed, if upstream did not
//! process it, or if upstream may process it twice.

mod client;
mod clock_skew;
mod config;
mod dial;
mod endpoint;
mod error;
mod explanation;
mod foreign_page;
mod framing;
mod headers;
mod inspect_tls;
mod partition;
mod pool;
mod proxy_rules;
mod read_to_end;
mod recovery;
mod rejection;
mod repeat;
mod response_body;
mod service_profile;
mod tasks;
mod tunnel;
mod websocket;

pub use client::{Timing, Upstream, UpstreamRequest};
pub use clock_skew::current_date;
pub use config::UpstreamConfig;
pub use dial::{ConnectorOptions, Dialer};
pub use endpoint::{
    Address, DefaultRegion, Endpoint, EndpointError, Overrides, RealtimeEndpoint, UpstreamKind,
    is_api_id, of_example, usual_path,
};
pub use error::{DialError, Error};
pub use explanation::{Explanation, NOT_AWS, OTHER_SERVER, RealtimeRequest, SentRequest, WAF};
pub use foreign_page::{ForeignPage, first_line, one_line};
pub use framing::FramingError;
pub use headers::{HeaderPolicy, filter_response_headers, set_length_of_empty_body};
pub use inspect_tls::TlsInspection;
pub use pool::UpstreamBody;
pub use proxy_rules::ProxyRules;
pub use read_to_end::read_to_end;
pub use rejection::{
    ERROR_TYPE, MAX_REJECTION, Rejection, Renewals, may_be_rejection, rejection, server_time,
};
pub use repeat::Repeat;
pub use response_body::ResponseBody;
pub use websocket::{Handshake, Socket};
