//! The API behind one route, as a check reaches it.

use std::sync::Arc;

use crate::realtime::RealtimeConfig;
use crate::sign::credentials::CredentialSourceConfig;
use crate::upstream::{Dialer, Upstream};

/// The API behind one route.
#[derive(Debug)]
pub struct Target {
    /// The name of the route.
    pub route: String,
    /// Where the route leads and how it is signed, in one line.
    pub decision: String,
    pub upstream: Arc<Upstream>,
    /// What opens its realtime connections; `None` if it has none.
    pub realtime: Option<(Dialer, RealtimeConfig)>,
    /// The source of its credentials; `None` if they are fixed.
    pub credentials: Option<CredentialSourceConfig>,
}
