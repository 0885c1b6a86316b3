//! A request that is about to be handled, or that is refused.

use std::sync::Arc;

use http::{Method, Request, Uri};
use hyper::body::Incoming;

use super::accept::Accept;
use super::error::{Error, ErrorFormat};
use super::locate::Located;
use super::route::Route;
use crate::telemetry::tasks::Panicked;
use crate::telemetry::{Record, RequestId, Trace, UNKNOWN_METHOD, method_name};

/// A request with its record, its route and what its head determines.
#[derive(Debug)]
pub struct RoutedRequest {
    /// On the heap, because it passes many futures.
    pub(super) request: Box<Request<Incoming>>,
    pub(super) record: Box<Record>,
    pub(super) located: Option<Located>,
    pub(super) accept: Accept,
    /// The client asks for a WebSocket.
    pub(super) is_websocket: bool,
    pub(super) error_format: ErrorFormat,
}

/// A request that is not handled, and why.
#[derive(Debug)]
pub struct RefusedRequest {
    pub(super) error: Error,
    pub(super) record: Box<Record>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) error_format: ErrorFormat,
}

impl RoutedRequest {
    /// Returns the request as it was received.
    pub fn http(&self) -> &Request<Incoming> {
        &self.request
    }

    /// Returns whether the client asks for a WebSocket.
    pub fn asks_for_websocket(&self) -> bool {
        self.is_websocket
    }

    /// Starts the span of the request.
    pub fn trace(&mut self) {
        self.record.trace = Trace::begin(self.request.headers());
    }

    /// Returns the id of the request.
    pub fn id(&self) -> RequestId {
        self.record.id.clone()
    }

    /// Returns the format of errors for this request.
    pub fn error_format(&self) -> ErrorFormat {
        self.error_format
    }

    /// Refuses the request.
    pub fn refuse(self, error: Error) -> RefusedRequest {
        RefusedRequest {
            error,
            record: self.record,
            route: self.located.map(|located| located.route),
            error_format: self.error_format,
        }
    }
}

impl RefusedRequest {
    /// Returns the refusal of a request whose record was written when a panic dropped it.
    pub fn by_panic(panicked: Panicked, id: RequestId, error_format: ErrorFormat) -> Self {
        let mut record = Box::new(Record::new(UNKNOWN_METHOD));
        record.id = id;
        record.discard();
        Self {
            error: panicked.into(),
            record,
            route: None,
            error_format,
        }
    }
}

/// Returns the method of a request line as the log names it, and the path of its target, as far as they
/// are valid. The line may be incomplete.
pub(super) fn request_line(line: &[u8]) -> (&'static str, Option<Uri>) {
    let mut words = line.split(|byte| byte.is_ascii_whitespace());
    let method = words.next().and_then(|word| Method::from_bytes(word).ok());
    let path = words
        .next()
        .and_then(|word| word.split(|byte| *byte == b'?').next());
    let path = path.and_then(|path| Uri::try_from(path).ok());
    let name = method.as_ref().map_or(UNKNOWN_METHOD, method_name);
    (name, path)
}
