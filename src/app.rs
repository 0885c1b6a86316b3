//! Builds every part from the configuration, binds, runs, and drains.

mod check;
mod listen;
mod policy;
mod presign;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use check::{UnusableFile, unusable_files};
pub use policy::graphql_apis;
pub use presign::{Presign, PresignError, Presigned, presign};

use crate::admin::{Admin, Health, HealthSources};
use crate::config::{Config, Credentials, DrainConfig, RouteConfig, Trust};
use crate::guard::{Guard, TokenError};
use crate::iam::{RecordError, Recording};
use crate::memory::Memory;
use crate::net::Resolver;
use crate::operation::Api;
use crate::outbox::OutboxBudget;
use crate::proxy::{Proxy, Route};
use crate::realtime::Pool;
use crate::server::{BindError, Listen, Passed, Server, ServerConfig, TlsError};
use crate::session::Sessions;
use crate::sign::Signer;
use crate::sign::credentials::CredentialSource;
use crate::telemetry::metrics::RouteMetrics;
use crate::upstream::{ConnectorOptions, Dialer, ProxyRules, TlsRoots, Upstream, UpstreamConfig};

/// A running countersign.
#[derive(Debug)]
pub struct App {
    addresses: Vec<SocketAddr>,
    identities: Vec<Arc<CredentialSource>>,
    drain: DrainConfig,
    lifecycle: Lifecycle,
}

/// Why the program could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    // The text contains the cause, so the cause is not a source, too.
    #[error("{}", listen::admin_not_bound(*address, error))]
    Admin {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("{}", listen::not_bound(listen, error))]
    Bind { listen: Listen, error: BindError },
    #[error("route {route}: the certificate authorities of {path:?} cannot be used: {source}")]
    CaFile {
        route: String,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("route {route}: {source}")]
    Route { route: String, source: io::Error },
    #[error("{0}")]
    SystemRoots(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("guard: {0}")]
    Token(#[from] TokenError),
}

/// The tasks of the process, and the steps of their end.
#[derive(Clone, Debug, Default)]
struct Lifecycle {
    /// Client connections, sessions and their operations.
    clients: TaskTracker,
    /// Upstream connections and credential refreshers.
    background: TaskTracker,
    /// Somebody asks for the end by the admin listener.
    quit: CancellationToken,
    /// The end was asked for.
    stopping: CancellationToken,
    /// No new work.
    draining: CancellationToken,
    /// Clients end at once.
    expired: CancellationToken,
    /// The background ends.
    stop: CancellationToken,
}

/// How long the final responses after the drain's deadline may take, and how long the background
/// tasks may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

impl App {
    /// Binds all addresses, then serves.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, Vec::new()).await
    }

    /// The same; what of its addresses others have bound, they have `passed`.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start_on(config: Config, mut passed: Vec<Passed>) -> Result<Self, StartError> {
        let listeners = listen::bind(&config, &mut passed)?;
        let admin = listen::bind_admin(&config, &mut passed).await?;
        let tls = listen::tls(&config).await?;
        let tls_too = tls.is_some();
        let memory = Memory::new(config.memory);
        let wanted = (config.server.connections, config.outbox_total);
        let (connections, outbox_total) = memory.cap(wanted);
        let server_config = ServerConfig {
            connections,
            buffered: memory.answers(config.server.buffered),
            ..config.server
        };
        let lifecycle = Lifecycle::default();
        let mut recording = config.record.as_deref().map(Recording::open).transpose()?;
        let mut builder = Builder::new(&lifecycle, &memory, recording.as_mut());
        let routes = builder.routes(&config)?;
        let identities = builder.identities.into_iter();
        let identities: Vec<_> = identities.map(|(_, identity)| identity).collect();
        if let Some(recording) = recording {
            let kept = recording.keep(lifecycle.stop.clone());
            lifecycle.background.spawn(kept);
        }
        let sessions = Sessions::new(
            config.session,
            OutboxBudget::new(outbox_total),
            memory.clone(),
            lifecycle.clients.clone(),
            lifecycle.draining.clone(),
            lifecycle.expired.clone(),
        );
        let guard = Guard::new(config.guard.clone())?;
        let upstreams = upstreams(&routes);
        let proxy = Proxy::new(guard.clone(), routes, sessions);
        let server = Server::new(
            proxy,
            server_config,
            tls,
            memory,
            lifecycle.clients.clone(),
            lifecycle.draining.clone(),
            lifecycle.expired.clone(),
        );
        let mut bound = Vec::new();
        for listener in listeners {
            bound.extend(listener.address());
            server.listen(listener);
        }
        if let Some(listener) = admin {
            let health = Health::new(HealthSources {
                listeners: bound.iter().map(Listen::to_string).collect(),
                identities: identities.clone(),
                upstreams,
                connections: server.connections(),
                stopping: lifecycle.stopping.clone(),
            });
            if let Ok(address) = listener.local_addr() {
                info!("health and metrics on http://{address}");
            }
            let admin = Admin::new(guard.without_browsers(), health, lifecycle.quit.clone());
            admin.serve(listener, &lifecycle.background, lifecycle.stop.clone());
        }
        for route in &config.routes {
            info!("{}", route.decision());
        }
        listen::tell(&config, tls_too, &bound);
        let addresses = bound.iter().filter_map(|listen| match listen {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
        Ok(Self {
            addresses: addresses.collect(),
            identities,
            drain: config.drain,
            lifecycle,
        })
    }

    /// The TCP addresses bound.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Cancelled when the end was asked for.
    pub fn stopping(&self) -> CancellationToken {
        self.lifecycle.stopping.clone()
    }

    /// Resolves when all identities have credentials.
    pub fn credentials(&self) -> impl Future<Output = ()> + use<> {
        let identities = self.identities.clone();
        async move {
            for identity in identities {
                identity.loaded().await;
            }
        }
    }

    /// Runs until `signal` resolves or the admin listener is asked for the end. After a signal all
    /// is served as before for the drain's delay; who asks the admin listener says that nobody needs
    /// it any more. Then it drains: no new work, what runs finishes, sockets are closed. `again`
    /// ends both at once, as the drain's deadline does.
    pub async fn run(self, signal: impl Future<Output = ()>, again: impl Future<Output = ()>) {
        let Lifecycle {
            clients,
            background,
            quit,
            stopping,
            draining,
            expired,
            stop,
        } = self.lifecycle;
        let DrainConfig { delay, timeout } = self.drain;
        let mut again = pin!(again);
        let mut is_hurried = false;
        tokio::select! {
            biased;
            // Watched from the start: signals that come at once are seen as one by who looks later.
            () = again.as_mut() => is_hurried = true,
            () = signal => {}
            () = quit.cancelled() => {}
        }
        stopping.cancel();
        let drained = async {
            if !delay.is_zero() && !quit.is_cancelled() {
                info!(
                    ?delay,
                    "stopping: all is served as before for now (drain.delay)"
                );
                quit.run_until_cancelled(tokio::time::sleep(delay)).await;
            }
            info!(?timeout, "draining");
            draining.cancel();
            clients.close();
            if tokio::time::timeout(timeout, clients.wait()).await.is_err() {
                warn!("the drain's deadline has passed (drain.timeout)");
            }
        };
        tokio::select! {
            biased;
            () = async { if !is_hurried { again.await } } => {
                warn!("stopping at once: a second signal came");
            }
            () = drained => {}
        }
        draining.cancel();
        clients.close();
        expired.cancel();
        let _ = tokio::time::timeout(STOP_TIMEOUT, clients.wait()).await;
        stop.cancel();
        background.close();
        let _ = tokio::time::timeout(STOP_TIMEOUT, background.wait()).await;
        info!("stopped");
    }
}

/// Makes routes that share what can be shared: identities, system roots, proxy rules.
struct Builder<'a> {
    lifecycle: &'a Lifecycle,
    memory: &'a Memory,
    identities: Vec<(Credentials, Arc<CredentialSource>)>,
    system_roots: Option<TlsRoots>,
    proxy_rules: ProxyRules,
    recording: Option<&'a mut Recording>,
}

impl<'a> Builder<'a> {
    fn new(
        lifecycle: &'a Lifecycle,
        memory: &'a Memory,
        recording: Option<&'a mut Recording>,
    ) -> Self {
        Self {
            lifecycle,
            memory,
            identities: Vec::new(),
            system_roots: None,
            proxy_rules: ProxyRules::from_env(),
            recording,
        }
    }

    fn routes(&mut self, config: &Config) -> Result<Vec<Route>, StartError> {
        config
            .routes
            .iter()
            .map(|route| self.route(route))
            .collect()
    }

    fn route(&mut self, config: &RouteConfig) -> Result<Route, StartError> {
        let in_route = |source| StartError::Route {
            route: config.name.clone(),
            source,
        };
        let connector = ConnectorOptions {
            roots: self.roots(config)?,
            proxy: match config.is_dialled_directly {
                true => ProxyRules::none(),
                false => self.proxy_rules.clone(),
            },
            resolver: Resolver::system(),
            metrics: RouteMetrics::new(&config.name),
        };
        let identity = self.identity(config);
        let endpoint = config.endpoint.clone();
        let signer = Signer::new(
            endpoint.signing_scope(),
            endpoint.style,
            endpoint.wire_host.clone(),
            identity,
        );
        let upstream = Upstream::new(
            endpoint.clone(),
            signer,
            UpstreamConfig {
                window: self.memory.window(),
                ..config.upstream
            },
            &connector,
            self.lifecycle.background.clone(),
            self.lifecycle.stop.clone(),
        );
        let mut upstream = upstream.map_err(in_route)?;
        if let Some(recording) = &mut self.recording {
            let recorder = recording.recorder(&config.name, policy::api(&endpoint));
            upstream = upstream.recorded(recorder);
        }
        let upstream = Arc::new(upstream);
        let api = match &endpoint.realtime {
            None => None,
            Some(realtime) => {
                let dialer = Dialer::new(
                    realtime.address.clone(),
                    &realtime.tls_name,
                    &[b"http/1.1"],
                    &connector,
                    config.upstream.connect,
                );
                let pool = Pool::new(
                    Arc::clone(&upstream),
                    dialer.map_err(in_route)?,
                    config.realtime,
                    self.lifecycle.background.clone(),
                    self.lifecycle.stop.clone(),
                );
                let limit = config.requests.response_body;
                let policy = config.headers.clone();
                let api = Api::new(Arc::clone(&upstream), pool, policy, limit);
                Some(Arc::new(
                    api.map_err(|error| in_route(io::Error::other(error)))?,
                ))
            }
        };
        Ok(Route {
            name: config.name.clone(),
            path: config.path.clone(),
            upstream,
            headers: config.headers.clone(),
            requests: config.requests,
            policies: config.policy.clone().into_iter().collect(),
            api,
            expired: self.lifecycle.expired.clone(),
            memory: self.memory.clone(),
            browser: config.browser,
            keepalive: config.keepalive.clone(),
        })
    }

    fn identity(&mut self, config: &RouteConfig) -> Arc<CredentialSource> {
        let credentials = &config.credentials;
        let mut known = self.identities.iter();
        if let Some((_, identity)) = known.find(|(of, _)| of == credentials) {
            return Arc::clone(identity);
        }
        let mut name = credentials.name();
        // Another may differ by the region of its STS alone.
        if self
            .identities
            .iter()
            .any(|(_, taken)| taken.name() == name)
        {
            name = format!("{name}, {}", config.endpoint.scope.region);
        }
        let Lifecycle {
            background, stop, ..
        } = self.lifecycle;
        let identity = Arc::new(identity_of(credentials, name, background, stop));
        self.identities
            .push((credentials.clone(), Arc::clone(&identity)));
        identity
    }

    fn roots(&mut self, config: &RouteConfig) -> Result<TlsRoots, StartError> {
        match &config.trust {
            Trust::File(path) => TlsRoots::file(path).map_err(|source| StartError::CaFile {
                route: config.name.clone(),
                path: path.clone(),
                source,
            }),
            Trust::Pem(pem) => TlsRoots::pem(pem.as_bytes()).map_err(|source| StartError::Route {
                route: config.name.clone(),
                source,
            }),
            Trust::System => match &self.system_roots {
                Some(roots) => Ok(roots.clone()),
                None => {
                    let roots = TlsRoots::system().map_err(StartError::SystemRoots)?;
                    Ok(self.system_roots.insert(roots).clone())
                }
            },
        }
    }
}

fn identity_of(
    credentials: &Credentials,
    name: String,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> CredentialSource {
    match credentials {
        Credentials::Provider(config) => {
            CredentialSource::spawn(name, config.clone(), tasks, stop.clone())
        }
        Credentials::Fixed(credentials) => CredentialSource::from_credentials(credentials.clone()),
    }
}

fn upstreams(routes: &[Route]) -> Vec<(String, Arc<Upstream>)> {
    let upstreams = routes.iter();
    upstreams
        .map(|route| (route.name.clone(), Arc::clone(&route.upstream)))
        .collect()
}
