//! Builds the program from its configuration, binds, serves, and drains.

mod check;
mod inspect;
mod listen;
mod policy;
mod presign;
mod routes;
mod start_error;
mod targets;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use check::{UnusableFile, unusable_files};
pub use inspect::PageUrl;
pub use policy::graphql_apis;
pub use presign::{Presign, PresignError, Presigned, presign};
pub use start_error::StartError;
pub use targets::check_targets;

use inspect::Addresses;
use routes::{RouteBuilder, upstreams};

use crate::admin::{Admin, Health, HealthSources};
use crate::config::{Config, Credentials, DrainConfig};
use crate::guard::Guard;
use crate::iam::Recording;
use crate::inspector::Inspector;
use crate::lifecycle::{BackgroundTasks, ClientTasks};
use crate::memory::{Memory, ResourceLimits};
use crate::outbox::OutboxBudget;
use crate::proxy::Proxy;
use crate::server::{Listen, Passed, Server, ServerConfig};
use crate::session::Sessions;
use crate::sign::credentials::CredentialSource;
use crate::telemetry::BANNER_TARGET;

/// A running countersign.
#[derive(Debug)]
pub struct App {
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    inspector: Option<PageUrl>,
    credential_sources: Vec<Arc<CredentialSource>>,
    drain: DrainConfig,
    lifecycle: Lifecycle,
}

/// The tasks of the process, and the steps of its end.
#[derive(Clone, Debug, Default)]
struct Lifecycle {
    clients: ClientTasks,
    background: BackgroundTasks,
    /// Cancelled when a request to the admin listener stops the process.
    quit: CancellationToken,
    /// Cancelled when the process begins to stop, by a signal or the admin listener.
    stopping: CancellationToken,
}

/// Maximum time for the final responses after the drain's deadline, and again for the background tasks
/// to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

impl App {
    /// Binds all addresses, then serves.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, Vec::new()).await
    }

    /// Does the same with inherited sockets, which are used for the addresses that they are bound to.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start_on(config: Config, mut passed: Vec<Passed>) -> Result<Self, StartError> {
        let listeners = listen::bind(&config, &mut passed)?;
        let admin = listen::bind_admin(&config, &mut passed).await?;
        let tls = listen::tls(&config).await?;
        let has_tls = tls.is_some();
        let memory = Memory::new(config.memory);
        let limits = memory.fit(ResourceLimits {
            connections: config.server.connections,
            queued_events: config.outbox_total,
            buffered_responses: config.server.buffered,
        });
        let server_config = ServerConfig {
            connections: limits.connections,
            buffered: limits.buffered_responses,
            ..config.server
        };
        let lifecycle = Lifecycle::default();
        let mut recording = config.record.as_deref().map(Recording::open).transpose()?;
        let mut builder = RouteBuilder::new(
            &lifecycle.clients,
            &lifecycle.background,
            &memory,
            recording.as_mut(),
        );
        let routes = builder.routes(&config)?;
        let sources = builder.credential_sources();
        if let Some(recording) = recording {
            let BackgroundTasks { tracker, stop } = &lifecycle.background;
            tracker.spawn(recording.keep(stop.clone()));
        }
        let sessions = Sessions::new(
            config.session,
            OutboxBudget::new(limits.queued_events),
            memory.clone(),
            lifecycle.clients.clone(),
        );
        let inspector = if config.inspect.is_enabled {
            Inspector::recording(config.inspect.memory)
        } else {
            Inspector::default()
        };
        let sessions = sessions.with_inspector(inspector.clone());
        let admin_address = admin.as_ref().and_then(|admin| admin.local_addr().ok());
        let mut guard_config = config.guard.clone();
        if config.inspect.is_enabled {
            // GraphiQL is a page of the inspector, and uses the proxied port.
            let origins = admin_address.into_iter().flat_map(inspect::origins);
            guard_config.allow_origins.extend(origins);
        }
        let guard = Guard::new(guard_config)?;
        let upstreams = upstreams(&routes);
        let shown_routes = inspect::routes(&routes);
        let proxy = Proxy::new(guard.clone(), routes, sessions)
            .with_inspector(inspector.clone(), admin_address);
        let server = Server::new(proxy, server_config, tls, memory, lifecycle.clients.clone());
        let mut bound = Vec::new();
        for listener in listeners {
            bound.extend(listener.address());
            server.listen(listener);
        }
        let mut inspector_url = None;
        if let Some(listener) = admin {
            let health = HealthSources {
                listeners: bound.iter().map(Listen::to_string).collect(),
                identities: sources.clone(),
                upstreams,
                connections: server.connections(),
                stopping: lifecycle.stopping.clone(),
            };
            let mut inspect_api = None;
            if let Some(address) = admin_address {
                info!(target: BANNER_TARGET, "health and metrics on http://{address}");
                let addresses = Addresses {
                    bound: &bound,
                    admin: address,
                    has_tls,
                };
                let api = inspect::api(&inspector, shown_routes, &health, &guard, &addresses);
                (inspect_api, inspector_url) = api.unzip();
            }
            let health = Health::new(health);
            let admin = Admin::new(guard.without_browsers(), health, lifecycle.quit.clone())
                .with_inspector(inspect_api);
            admin.serve(listener, lifecycle.background.clone());
        }
        for route in &config.routes {
            match route.credentials {
                Credentials::Provider(_) => info!(target: BANNER_TARGET, "{}", route.decision()),
                // The demo's banner shows its routes.
                Credentials::Fixed(_) => debug!("{}", route.decision()),
            }
        }
        listen::log_addresses(&config, has_tls, &bound);
        let addresses = bound.iter().filter_map(|listen| match listen {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
        Ok(Self {
            addresses: addresses.collect(),
            admin: admin_address,
            inspector: inspector_url,
            credential_sources: sources,
            drain: config.drain,
            lifecycle,
        })
    }

    /// Returns the TCP addresses that are bound.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the address of the admin listener, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Returns the URL of the inspector's page, if the inspector is on.
    pub fn inspector(&self) -> Option<&PageUrl> {
        self.inspector.as_ref()
    }

    /// Returns a token that is cancelled when the process begins to stop.
    pub fn stopping(&self) -> CancellationToken {
        self.lifecycle.stopping.clone()
    }

    /// Resolves when all credential sources have credentials.
    pub fn credentials(&self) -> impl Future<Output = ()> + use<> {
        let sources = self.credential_sources.clone();
        async move {
            for source in sources {
                source.loaded().await;
            }
        }
    }

    /// Runs until `signal` resolves or a request to the admin listener stops the process. After a
    /// signal, requests are served as before for the drain's delay; a request to the admin listener
    /// skips the delay. Then the process drains: no new work is accepted, work in progress finishes,
    /// sockets are closed. `second_signal` ends both phases at once, as the drain's deadline does.
    pub async fn run(
        self,
        signal: impl Future<Output = ()>,
        second_signal: impl Future<Output = ()>,
    ) {
        let Lifecycle {
            clients,
            background,
            quit,
            stopping,
        } = self.lifecycle;
        let DrainConfig { delay, timeout } = self.drain;
        let mut second_signal = pin!(second_signal);
        let mut stops_at_once = false;
        tokio::select! {
            biased;
            // Polled from the start: two signals that arrive before the first poll count as one.
            () = second_signal.as_mut() => stops_at_once = true,
            () = signal => {}
            () = quit.cancelled() => {}
        }
        stopping.cancel();
        let drained = async {
            if !delay.is_zero() && !quit.is_cancelled() {
                info!(?delay, "stopping; serving requests for drain.delay");
                quit.run_until_cancelled(tokio::time::sleep(delay)).await;
            }
            info!(?timeout, "draining");
            clients.draining.cancel();
            clients.tracker.close();
            if tokio::time::timeout(timeout, clients.tracker.wait())
                .await
                .is_err()
            {
                warn!("drain deadline exceeded (drain.timeout)");
            }
        };
        tokio::select! {
            biased;
            () = async { if !stops_at_once { second_signal.await } } => {
                info!("stopping at once: second signal received");
            }
            () = drained => {}
        }
        clients.draining.cancel();
        clients.tracker.close();
        clients.expired.cancel();
        let _ = tokio::time::timeout(STOP_TIMEOUT, clients.tracker.wait()).await;
        background.stop.cancel();
        background.tracker.close();
        let _ = tokio::time::timeout(STOP_TIMEOUT, background.tracker.wait()).await;
        info!("stopped");
    }
}
