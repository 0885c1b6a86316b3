//! One GraphQL or Events operation, whatever protocol it came by: inspect, admit, execute.
//!
//! *Inspect*: a body or an operation is read once, into an
//! [`Inspected`](countersign_protocol::graphql::Inspected). *Admit*: [`admit()`] refuses the operation
//! while memory is short, or if an operation policy does not allow it. *Execute*: [`exchange()`] sends one
//! signed HTTP request, and [`AppSyncApi`] runs a query, mutation or publish to its end, or starts a
//! subscription in the realtime pool. Nothing here knows a client protocol.

mod admit;
mod api;
mod exchange;

pub use admit::{NotAdmitted, RequestedOperation, admit};
pub use api::{AppSyncApi, read_error, response_errors};
pub use exchange::{ExchangeError, UpstreamRequest, exchange, record_response, record_timing};
