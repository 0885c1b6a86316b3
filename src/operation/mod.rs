//! Runs one GraphQL or Events operation of any client protocol: inspect, admit, execute.
//!
//! *Inspect*: a body or an operation is parsed once, into an
//! [`Inspected`](countersign_protocol::graphql::Inspected). *Admit*: [`admit()`] refuses the operation
//! while memory is short, or if an operation policy does not allow it. *Execute*: [`exchange()`] sends one
//! signed HTTP request, and [`AppSyncApi`] runs a query, mutation or publish to its end, or starts a
//! subscription in the realtime pool. Nothing here depends on a
//! client protocol.
//!
//! The limits of one client are not checked here: its protocol machine bounds its own operations
//! (`limits.operations`, `limits.subscriptions`), because it would otherwise have to remember each one
//! that is refused until the client has read the refusal.

mod admit;
mod api;
mod client_headers;
mod error_response;
mod exchange;
mod field_denial;
mod filters;
mod identified;

pub use admit::{NotAdmitted, RequestedOperation, admit};
pub use api::{AppSyncApi, LiveSubscription, read_error, record_denial};
pub use client_headers::{HeaderError, from_entries};
pub use error_response::ErrorResponse;
pub use exchange::{ExchangeError, exchange, record_response, record_timing};
pub use field_denial::FieldDenials;
pub use identified::{identified, identify_own};
