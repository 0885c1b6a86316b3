//! Builds what `countersign check` checks, without starting the proxy.

use std::sync::Arc;

use super::routes::RouteBuilder;
use super::start_error::StartError;
use crate::check::Target;
use crate::config::{Config, Credentials, RouteConfig};
use crate::lifecycle::{BackgroundTasks, ClientTasks};
use crate::memory::Memory;

/// Returns the target of each route. Their tasks run in `background`.
///
/// # Errors
/// When the certificate authorities or the proxy of a route cannot be used.
pub fn check_targets(
    config: &Config,
    background: &BackgroundTasks,
) -> Result<Vec<Target>, StartError> {
    let clients = ClientTasks::default();
    let memory = Memory::new(config.memory);
    let mut builder = RouteBuilder::new(&clients, background, &memory, None);
    let mut target = |route: &RouteConfig| -> Result<Target, StartError> {
        let (upstream, dialer) = builder.upstream(route)?;
        Ok(Target {
            route: route.name.clone(),
            decision: route.decision(),
            upstream: Arc::new(upstream),
            realtime: dialer.map(|dialer| (dialer, route.realtime)),
            credentials: match &route.credentials {
                Credentials::Provider(source) => Some(source.clone()),
                Credentials::Fixed(_) => None,
            },
        })
    };
    config.routes.iter().map(&mut target).collect()
}
