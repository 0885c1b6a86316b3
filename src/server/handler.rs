//! What surrounds the handling of every request on the proxied port.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::connection::TrackedBody;
use super::connection_state::ConnectionState;
use super::framing::{self, has_odd_body};
use crate::memory::Memory;
use crate::proxy::{Client, Error, Proxy, RefusedRequest, RoutedRequest};
use crate::telemetry::tasks::{Panicked, Task, caught};

/// What the requests of one connection have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestHandler<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) memory: &'a Memory,
    pub(super) client: &'a Client,
    pub(super) state: &'a Arc<ConnectionState>,
    pub(super) connection_limit: usize,
}

impl<'a> RequestHandler<'a> {
    /// Returns the response to a request.
    pub(super) fn respond(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<TrackedBody>, Infallible>> + Send + use<'a> {
        // First, so that a request has a record, which becomes its log line, its span and its metrics, even
        // if it is refused. Not in the future, which would hold the request twice.
        let request = self.proxy.begin(request, self.client);
        // On the heap, because hyper keeps room for the future as long as the connection is open.
        Box::pin(self.handle(request))
    }

    async fn handle(
        self,
        mut request: Box<RoutedRequest>,
    ) -> Result<Response<TrackedBody>, Infallible> {
        // The connection's timers rest until the body of the response has been sent.
        let in_progress = self.state.begin();
        // The bytes after a request may not be a request: then the connection is closed.
        let is_odd = has_odd_body(request.http()) || request.asks_for_websocket();
        let (id, error_format) = (request.id(), request.error_format());
        // A panic is an error of its own request alone.
        let mut handled = Err(Panicked);
        let handling = async {
            // Runs code of the exporter.
            request.trace();
            handled = Ok(match self.check(&request) {
                Ok(()) => {
                    let _in_flight = self.client.slot.guard();
                    self.proxy.handle(request, self.client).await
                }
                // Errors become responses, in the format that the clients of the route expect.
                Err(error) => self.proxy.refuse(request.refuse(error)),
            });
        };
        // The response is not the output of this future, because each poll would copy it. `pin!` saves the copy of
        // the future that `await` makes.
        let _ = pin!(caught(Task::Request, handling)).await;
        let mut response = handled.unwrap_or_else(|panicked| {
            let refused = RefusedRequest::by_panic(panicked, id, error_format);
            self.proxy.refuse(refused)
        });
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.state.upgrade();
        } else if is_odd {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Ok(response.map(|body| TrackedBody::new(body, in_progress)))
    }

    /// Refuses a request before anything acts on it.
    fn check(self, request: &RoutedRequest) -> Result<(), Error> {
        // It must be clear where the request ends.
        framing::check(request.http(), self.state.is_ambiguous())?;
        // A connection beyond the limit is accepted only for this response.
        if self.state.is_spare() {
            return Err(Error::TooManyClients(self.connection_limit));
        }
        // While memory is short, no body is read.
        if self.memory.is_short() {
            return Err(Error::MemoryShort);
        }
        // Refused at once, but the request takes its slot only when its body has arrived (see `proxy::slot`), so
        // that slow bodies hold none.
        self.client.slot.check()
    }
}
