//! The log (format, filter, error chains), metrics and traces.

pub mod build;
mod error_chain;
mod graphql_errors;
mod log;
pub mod metrics;
mod otlp;
mod record;
mod record_code;
mod request_id;
pub mod tasks;
mod trace;

pub use error_chain::error_chain;
pub use graphql_errors::{ErrorSearch, GraphqlErrors};
pub use log::{
    BANNER_TARGET, HeldLines, LogConfig, LogFormat, LogGuard, Terminal, When, init, init_held,
    parse_filter,
};
pub use otlp::{Export, TraceConfig, TraceError};
pub use record::{EndedBy, Record, RecordedRejection, UNKNOWN_METHOD, method_name};
pub use record_code::RecordCode;
pub use request_id::{RequestId, X_REQUEST_ID};
pub use trace::{TRACEPARENT, TRACESTATE, Trace, UpstreamSpan};
