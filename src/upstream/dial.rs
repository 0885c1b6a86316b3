//! Opens a TLS connection to an upstream, directly or through a proxy.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::Address;
use super::error::DialError;
use super::proxy_rules::{ProxyRules, uri};
use crate::net::{Resolver, TlsRoots};
use crate::telemetry::metrics::RouteMetrics;

/// How the connections of a route are opened, and the metrics that count them.
#[derive(Clone, Debug)]
pub struct ConnectorOptions {
    pub roots: TlsRoots,
    pub proxy: ProxyRules,
    pub resolver: Resolver,
    pub metrics: Arc<RouteMetrics>,
}

/// Opens connections to one address, and verifies that the certificate is valid for one name.
#[derive(Clone)]
pub struct Dialer {
    address: Address,
    tls_name: ServerName<'static>,
    tls: TlsConnector,
    roots: TlsRoots,
    resolver: Resolver,
    proxy: Option<Intercept>,
    timeout: Duration,
    metrics: Arc<RouteMetrics>,
}

/// An open connection, and how long it took to open, with the dials that failed before.
pub(super) struct Dialled {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) took: Duration,
}

/// How often a dial that failed is repeated.
const MAX_REPEATS: u32 = 2;
/// The mean pause before a dial is repeated.
const REPEAT_PAUSE: Duration = Duration::from_millis(100);

// === impl Dialer ===

impl Dialer {
    /// Creates a dialer that offers the protocols in `alpn`, in order of preference.
    ///
    /// # Errors
    /// When `tls_name` is not a valid name for a certificate, or the proxy cannot be used.
    pub fn new(
        address: Address,
        tls_name: &str,
        alpn: &[&[u8]],
        options: &ConnectorOptions,
        timeout: Duration,
    ) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(options.roots.store())
            .with_no_client_auth();
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = tls_name.trim_start_matches('[').trim_end_matches(']');
        let tls_name = ServerName::try_from(name.to_owned()).map_err(|_| {
            let text = format!("{tls_name:?} is not a valid name for a certificate");
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        let proxy = options.proxy.proxy_for(&address)?;
        Ok(Self {
            address,
            tls_name,
            tls: TlsConnector::from(Arc::new(tls)),
            roots: options.roots.clone(),
            resolver: options.resolver.clone(),
            proxy,
            timeout,
            metrics: Arc::clone(&options.metrics),
        })
    }

    /// Returns the address of upstream that is dialled.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the host and port of the proxy, if connections are opened through one.
    pub fn proxy(&self) -> Option<String> {
        self.proxy.as_ref().map(|proxy| host_and_port(proxy.uri()))
    }

    /// Returns the name that is looked up, and its addresses: those of the proxy if there is one.
    ///
    /// The caller has to set a time limit, here and in [`Self::open`].
    ///
    /// # Errors
    /// When the name has no address.
    pub async fn look_up(&self) -> (&str, io::Result<Vec<IpAddr>>) {
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.uri().host());
        let host = proxy.unwrap_or(&self.address.host);
        (host, self.resolver.addresses(host).await)
    }

    /// Completes a TLS handshake on an open connection, with `verifier` in place of the own one.
    ///
    /// # Errors
    /// When the handshake fails.
    pub(super) async fn handshake_with(
        &self,
        tcp: TcpStream,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut tls = ClientConfig::clone(self.tls.config());
        tls.dangerous().set_certificate_verifier(verifier);
        let tls = TlsConnector::from(Arc::new(tls));
        tls.connect(self.tls_name.clone(), tcp).await
    }

    pub(super) fn roots(&self) -> &TlsRoots {
        &self.roots
    }

    pub(super) fn metrics(&self) -> &RouteMetrics {
        &self.metrics
    }

    /// Opens a connection and counts the outcome.
    ///
    /// # Errors
    /// [`DialError`], whose variant is the step that failed. No request was sent.
    pub(super) async fn dial(&self) -> Result<Dialled, DialError> {
        self.dial_until(Instant::now() + self.timeout).await
    }

    /// Does the same, and repeats it if it failed and may succeed soon. The time limit is that of one
    /// dial.
    ///
    /// # Errors
    /// That of the last dial.
    pub(super) async fn dial_with_repeats(&self) -> Result<Dialled, DialError> {
        let started = Instant::now();
        let deadline = started + self.timeout;
        let mut repeats = 0;
        loop {
            // Random, so that dials which failed together are not repeated together.
            let pause = REPEAT_PAUSE.mul_f64(0.5 + fastrand::f64());
            match self.dial_until(deadline).await {
                Ok(Dialled { stream, .. }) => {
                    let took = started.elapsed();
                    return Ok(Dialled { stream, took });
                }
                Err(error)
                    if repeats < MAX_REPEATS
                        && error.is_transient()
                        && Instant::now() + pause < deadline =>
                {
                    repeats += 1;
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn dial_until(&self, deadline: Instant) -> Result<Dialled, DialError> {
        let dialled = self.connect(deadline).await;
        self.metrics.dialled(match &dialled {
            Ok(_) => "ok",
            Err(DialError::Connect { .. }) => "connect",
            Err(DialError::Timeout { .. }) => "timeout",
            Err(DialError::Tls { .. }) => "tls",
            Err(DialError::Tunnel { .. }) => "proxy",
        });
        if let Ok(dialled) = &dialled {
            let (_, tls) = dialled.stream.get_ref();
            self.metrics
                .count_tls_handshake(match tls.handshake_kind() {
                    Some(HandshakeKind::Resumed) => "resumed",
                    Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) | None => {
                        "full"
                    }
                });
        }
        dialled
    }

    async fn connect(&self, deadline: Instant) -> Result<Dialled, DialError> {
        let started = Instant::now();
        let mut peer = None;
        let opened = tokio::time::timeout_at(deadline.into(), async {
            let tcp = self.open().await?;
            peer = tcp.peer_addr().ok();
            let stream = self.tls.connect(self.tls_name.clone(), tcp).await;
            stream.map_err(|source| DialError::Tls {
                tls_name: self.tls_name.to_str().into_owned(),
                source,
            })
        });
        let opened = opened.await;
        let handshake_failed = match &opened {
            Err(_) => true,
            // An untrusted certificate or a TLS alert shows that the address is reachable.
            Ok(Err(DialError::Tls { source, .. })) => source.kind() != io::ErrorKind::InvalidData,
            Ok(_) => false,
        };
        if handshake_failed
            && self.proxy.is_none()
            && let Some(peer) = peer
        {
            self.resolver.avoid(&self.address.host, peer.ip());
        }
        let stream = opened.map_err(|_| DialError::Timeout {
            address: self.address.to_string(),
            after: self.timeout,
        })??;
        Ok(Dialled {
            stream,
            took: started.elapsed(),
        })
    }

    /// Opens a TCP connection to upstream, directly or through the proxy.
    ///
    /// # Errors
    /// [`DialError::Connect`] or [`DialError::Tunnel`].
    pub async fn open(&self) -> Result<TcpStream, DialError> {
        let address = self.address.to_string();
        let bad_address = || DialError::Connect {
            address: address.clone(),
            source: "not an address".into(),
        };
        let Some(proxy) = &self.proxy else {
            let Address { host, port } = &self.address;
            let opened = self.resolver.connect(host, *port).await;
            return opened.map_err(|source| DialError::Connect {
                address,
                source: source.into(),
            });
        };
        let destination = uri(&self.address).ok_or_else(bad_address)?;
        let mut tunnel = Tunnel::new(proxy.uri().clone(), ProxyConnector(self.resolver.clone()));
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let opened: Result<TokioIo<TcpStream>, _> = tunnel.call(destination).await;
        match opened {
            Ok(stream) => Ok(stream.into_inner()),
            Err(source) => Err(DialError::Tunnel {
                proxy: host_and_port(proxy.uri()),
                address,
                source: source.into(),
            }),
        }
    }
}

/// Opens TCP connections to a proxy.
struct ProxyConnector(Resolver);

impl Service<Uri> for ProxyConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let resolver = self.0.clone();
        Box::pin(async move {
            let host = proxy.host().unwrap_or_default();
            let port = proxy.port_u16().unwrap_or(80);
            resolver.connect(host, port).await.map(TokioIo::new)
        })
    }
}

/// Returns the host and port of a proxy, without the user and password that its URL may contain.
fn host_and_port(proxy: &Uri) -> String {
    let host = proxy.host().unwrap_or_default();
    match proxy.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("address", &self.address)
            .field("tls_name", &self.tls_name)
            .finish_non_exhaustive()
    }
}
