//! A route: a local path prefix, its upstream and its settings.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio_util::sync::CancellationToken;

use crate::guard::{BrowserRules, OperationPolicies};
use crate::memory::Memory;
use crate::operation::AppSyncApi;
use crate::session::Keepalive;
use crate::sign::{PathHandling, RequestTarget, TargetError};
use crate::upstream::{HeaderPolicy, Upstream};

/// A local path prefix and its upstream.
#[derive(Debug)]
pub struct Route {
    pub name: String,
    /// Without a trailing slash; empty for the root.
    pub path: String,
    pub upstream: Arc<Upstream>,
    pub headers: HeaderPolicy,
    pub requests: RequestLimits,
    /// Which operations are allowed.
    pub policies: OperationPolicies,
    /// AppSync only.
    pub api: Option<Arc<AppSyncApi>>,
    /// Cancelled at the drain's deadline. Requests then stop waiting for upstream.
    pub expired: CancellationToken,
    /// While memory is short, no body is read, and no operation of a batch is sent.
    pub memory: Memory,
    /// Which requests of browsers are allowed beside those of scripts.
    pub browser: BrowserRules,
    /// The keepalive of tunnels, on routes that are not AppSync's.
    pub keepalive: Option<Keepalive>,
}

/// The limits of requests on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    pub body: usize,
    /// How long a client may be silent while it sends its body.
    pub body_timeout: Duration,
    /// How long a body may take.
    pub body_total: Duration,
    /// The largest response to a query or mutation that must be buffered.
    pub response_body: usize,
    /// The maximum number of operations in one request.
    pub batch: usize,
    /// AppSync's request errors get the status of the GraphQL over HTTP specification.
    pub is_strict: bool,
    /// How paths are normalised on routes that are not AppSync's.
    pub paths: PathHandling,
}

impl Route {
    /// Returns the upstream target for the local `uri`.
    pub(super) fn target(&self, uri: &Uri) -> Result<RequestTarget, TargetError> {
        let base = &self.upstream.endpoint().path;
        let below = uri.path().strip_prefix(self.path.as_str());
        RequestTarget::below(
            base,
            below.unwrap_or_default(),
            uri.query(),
            self.requests.paths,
        )
    }
}
