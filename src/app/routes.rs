//! Builds the routes of a configuration.

use std::io;
use std::sync::Arc;

use super::policy;
use super::start_error::StartError;
use crate::config::{Config, Credentials, RouteConfig, Trust};
use crate::iam::Recording;
use crate::lifecycle::{BackgroundTasks, ClientTasks};
use crate::memory::Memory;
use crate::net::{Resolver, TlsRoots};
use crate::operation::AppSyncApi;
use crate::proxy::Route;
use crate::realtime::Pool;
use crate::sign::Signer;
use crate::sign::credentials::CredentialSource;
use crate::telemetry::metrics::RouteMetrics;
use crate::upstream::{ConnectorOptions, Dialer, ProxyRules, Upstream, UpstreamConfig};

/// Builds routes that share credential sources, system roots and proxy rules.
pub(super) struct RouteBuilder<'a> {
    clients: &'a ClientTasks,
    background: &'a BackgroundTasks,
    memory: &'a Memory,
    sources: Vec<(Credentials, Arc<CredentialSource>)>,
    system_roots: Option<TlsRoots>,
    proxy_rules: ProxyRules,
    recording: Option<&'a mut Recording>,
}

impl<'a> RouteBuilder<'a> {
    pub(super) fn new(
        clients: &'a ClientTasks,
        background: &'a BackgroundTasks,
        memory: &'a Memory,
        recording: Option<&'a mut Recording>,
    ) -> Self {
        Self {
            clients,
            background,
            memory,
            sources: Vec::new(),
            system_roots: None,
            proxy_rules: ProxyRules::from_env(),
            recording,
        }
    }

    pub(super) fn routes(&mut self, config: &Config) -> Result<Vec<Route>, StartError> {
        config
            .routes
            .iter()
            .map(|route| self.route(route))
            .collect()
    }

    /// Returns the credential sources of the routes built.
    pub(super) fn credential_sources(self) -> Vec<Arc<CredentialSource>> {
        let sources = self.sources.into_iter();
        sources.map(|(_, source)| source).collect()
    }

    fn route(&mut self, config: &RouteConfig) -> Result<Route, StartError> {
        let in_route = |source| StartError::Route {
            route: config.name.clone(),
            source,
        };
        let (mut upstream, realtime_dialer) = self.upstream(config)?;
        if let Some(recording) = &mut self.recording {
            let recorder = recording.recorder(&config.name, policy::api(&config.endpoint));
            upstream = upstream.with_recorder(recorder);
        }
        let upstream = Arc::new(upstream);
        let api = match realtime_dialer {
            None => None,
            Some(dialer) => {
                let pool = Pool::new(
                    Arc::clone(&upstream),
                    dialer,
                    config.realtime,
                    self.background.clone(),
                );
                let limit = config.requests.response_body;
                let policy = config.headers.clone();
                let api = AppSyncApi::new(Arc::clone(&upstream), pool, policy, limit);
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
            expired: self.clients.expired.clone(),
            memory: self.memory.clone(),
            browser: config.browser,
            keepalive: config.keepalive.clone(),
        })
    }

    /// Builds the upstream of a route, and the dialer of its realtime endpoint if it has one.
    pub(super) fn upstream(
        &mut self,
        config: &RouteConfig,
    ) -> Result<(Upstream, Option<Dialer>), StartError> {
        let in_route = |source| StartError::Route {
            route: config.name.clone(),
            source,
        };
        let connector = ConnectorOptions {
            roots: self.roots(config)?,
            proxy: if config.is_dialled_directly {
                ProxyRules::none()
            } else {
                self.proxy_rules.clone()
            },
            resolver: Resolver::system(),
            metrics: RouteMetrics::new(&config.name),
        };
        let source = self.shared_credential_source(config);
        let endpoint = config.endpoint.clone();
        let signer = Signer::new(
            endpoint.signing_scope(),
            endpoint.style,
            endpoint.wire_host.clone(),
            source,
        );
        let dialer = endpoint.realtime.as_ref().map(|realtime| {
            Dialer::new(
                realtime.address.clone(),
                &realtime.tls_name,
                &[b"http/1.1"],
                &connector,
                config.upstream.connect,
            )
        });
        let dialer = dialer.transpose().map_err(in_route)?;
        let upstream = Upstream::new(
            endpoint,
            signer,
            UpstreamConfig {
                window: self.memory.window(),
                ..config.upstream
            },
            &connector,
            self.background.clone(),
        );
        Ok((upstream.map_err(in_route)?, dialer))
    }

    fn shared_credential_source(&mut self, config: &RouteConfig) -> Arc<CredentialSource> {
        let credentials = &config.credentials;
        let mut known = self.sources.iter();
        if let Some((_, source)) = known.find(|(of, _)| of == credentials) {
            return Arc::clone(source);
        }
        let mut name = credentials.name();
        // Two sources may differ only in the region of their STS endpoints.
        if self.sources.iter().any(|(_, taken)| taken.name() == name) {
            name = format!("{name}, {}", config.endpoint.scope.region);
        }
        let source = Arc::new(credential_source(credentials, name, self.background));
        self.sources
            .push((credentials.clone(), Arc::clone(&source)));
        source
    }

    fn roots(&mut self, config: &RouteConfig) -> Result<TlsRoots, StartError> {
        match &config.trust {
            Trust::File(path) => TlsRoots::file(path).map_err(|error| StartError::CaFile {
                route: config.name.clone(),
                path: path.clone(),
                error,
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

/// Returns a new source of these credentials.
pub(super) fn credential_source(
    credentials: &Credentials,
    name: String,
    background: &BackgroundTasks,
) -> CredentialSource {
    match credentials {
        Credentials::Provider(config) => CredentialSource::spawn(name, config.clone(), background),
        Credentials::Fixed(credentials) => CredentialSource::from_credentials(credentials.clone()),
    }
}

/// Returns the upstreams of the routes, by the name of the route.
pub(super) fn upstreams(routes: &[Route]) -> Vec<(String, Arc<Upstream>)> {
    let upstreams = routes.iter();
    upstreams
        .map(|route| (route.name.clone(), Arc::clone(&route.upstream)))
        .collect()
}
