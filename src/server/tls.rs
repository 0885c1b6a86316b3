//! TLS on the port of plain HTTP. The first byte of a connection determines which of the two it uses.
//!
//! The certificate comes from the user's files, which are reloaded when they change, or from the
//! local authority of [`super::dev_ca`], which issues one at each start. Keys are never logged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{Error as PemError, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::dev_ca::{self, DevCaError};
use super::write_timeout::WriteTimeout;
use crate::telemetry::error_chain;
use crate::telemetry::metrics::{OutcomeLabel, metrics};
use crate::trusted_file::{self, FileError, Reload, Reloaded, Rules};

/// `[tls]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    pub certificate: Certificate,
    /// A PEM file of authorities. Clients need a certificate that one of them has issued.
    pub client_ca: Option<PathBuf>,
}

/// The source of the server certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// PEM files: the chain, which begins with the server certificate, and the key.
    Files { cert: PathBuf, key: PathBuf },
    /// A local authority, kept in this directory.
    Dev { state: PathBuf },
}

/// The TLS settings of the proxied port.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Offer>);

#[derive(Debug)]
struct Offer {
    config: TlsConfig,
    settings: Reloaded<Arc<ServerConfig>>,
}

/// Only the owner may write the files, because they decide which server clients see and which clients are
/// trusted. Others may read them, because Kubernetes mounts secrets with such a mode by default.
const RULES: Rules = Rules {
    forbidden: 0o022,
    limit: 1024 * 1024,
};

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.{key}: {path:?} cannot be read: {source}")]
    Read {
        key: &'static str,
        path: PathBuf,
        source: FileError,
    },
    #[error("tls.{key}: {path:?} contains no certificate in PEM")]
    NoCertificate { key: &'static str, path: PathBuf },
    #[error(
        "tls.key: {0:?} contains no private key in PEM (PKCS#8, PKCS#1 or SEC1, not encrypted)"
    )]
    NoKey(PathBuf),
    #[error("tls.{key}: {path:?} is not valid PEM")]
    BrokenPem { key: &'static str, path: PathBuf },
    #[error("tls.key: {key:?} is not the key of the first certificate in {cert:?}")]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("tls: {cert:?} with the key {key:?} cannot be used: {source}")]
    Unusable {
        cert: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("tls.client_ca: the authorities of {path:?} cannot be used: {source}")]
    UnusableAuthority {
        path: PathBuf,
        source: rustls::Error,
    },
    #[error("tls.client_ca: client certificates cannot be checked: {0}")]
    Verifier(#[source] VerifierBuilderError),
    #[error("tls.dev: {0}")]
    Dev(#[from] DevCaError),
    #[error("tls.dev: its certificate cannot be used: {0}")]
    DevUnusable(#[source] rustls::Error),
}

/// A client connection that is ready for HTTP.
pub(super) enum Opened {
    Plain(WriteTimeout<TcpStream>),
    /// Boxed, so that plain connections don't pay for its size.
    Tls(Box<TlsStream<WriteTimeout<TcpStream>>>),
}

/// Why a connection ended before HTTP began on it.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("the client closed it before its first byte")]
    Empty,
    #[error("the client sent nothing (timeouts.idle_client)")]
    Idle,
    #[error("the drain began")]
    Draining,
    #[error("the TLS handshake took too long (timeouts.request_head)")]
    Slow,
    #[error("evicted because the connection limit was reached (limits.connections)")]
    Evicted,
    #[error(
        "the client speaks TLS (https:// or wss://), but this port serves plain HTTP only. Use http:// or ws://, or allow TLS with --tls-dev, or tls.cert and tls.key"
    )]
    NotConfigured,
    #[error("{0}")]
    Socket(#[source] io::Error),
    #[error(
        "the client offers only protocols that this port does not serve, such as HTTP/2 (ALPN `h2`). It serves HTTP/1.1"
    )]
    Protocol,
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
}

/// The content type of a handshake record, which is the first byte of a ClientHello ([RFC 8446,
/// 5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)). No HTTP method begins with it.
const HANDSHAKE: u8 = 0x16;

impl Tls {
    /// Loads the certificate, or lets the local authority issue one for those of `names` that are
    /// loopback names.
    ///
    /// # Errors
    /// When the files, or those of the local authority, cannot be used.
    pub async fn load(
        config: &TlsConfig,
        names: &[String],
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let settings = match &config.certificate {
            Certificate::Files { cert, key } => {
                let client_ca = config.client_ca.as_deref();
                let paths = [cert, key].into_iter().chain(&config.client_ca);
                Reloaded::load(paths.cloned().collect(), || {
                    Ok::<_, TlsError>(Arc::new(of_files(cert, key, client_ca)?))
                })?
            }
            Certificate::Dev { state } => {
                let clients = verifier(config.client_ca.as_deref())?;
                let issued = dev_ca::certificate(state, names, now).await?;
                let ca = issued.ca_file.display();
                info!(
                    "TLS uses a certificate of the local CA {ca}. To trust it: \
                     NODE_EXTRA_CA_CERTS={ca} (Node.js); curl --cacert {ca}; SSL_CERT_FILE={ca} \
                     (Python); for browsers `sudo trust anchor {ca}` (Fedora, Arch), \
                     `sudo cp {ca} /usr/local/share/ca-certificates/countersign.crt && \
                     sudo update-ca-certificates` (Debian, Ubuntu) or \
                     `security add-trusted-cert -p ssl {ca}` (macOS)"
                );
                let settings = settings(clients, vec![issued.certificate], issued.key);
                Reloaded::fixed(Arc::new(settings.map_err(TlsError::DevUnusable)?))
            }
        };
        Ok(Self(Arc::new(Offer {
            config: config.clone(),
            settings,
        })))
    }

    /// Reads the files that [`Tls::load`] reads, and writes nothing. Returns the setting below
    /// `tls` and the error of each that cannot be used.
    pub fn check(config: &TlsConfig) -> Vec<(&'static str, TlsError)> {
        let mut found = Vec::new();
        let clients = verifier(config.client_ca.as_deref());
        match &config.certificate {
            Certificate::Files { cert, key } => match (read_chain("cert", cert), read_key(key)) {
                (Ok(chain), Ok(private_key)) => {
                    let used = of_pair(cert, key, None, chain, private_key);
                    found.extend(used.err().map(|error| ("cert", error)));
                }
                (chain, private_key) => {
                    found.extend(chain.err().map(|error| ("cert", error)));
                    found.extend(private_key.err().map(|error| ("key", error)));
                }
            },
            Certificate::Dev { state } => {
                let checked = dev_ca::check(state).map_err(TlsError::Dev);
                found.extend(checked.err().map(|error| ("dev", error)));
            }
        }
        found.extend(clients.err().map(|error| ("client_ca", error)));
        found
    }

    /// Returns the settings for a new connection; files that have changed are read again.
    fn current(&self) -> Arc<ServerConfig> {
        let Offer { config, settings } = &*self.0;
        settings.with(|settings| reload(config, settings), Arc::clone)
    }
}

/// Reads changed files. While they cannot be used, for example between two writes, the previous settings
/// stay in use.
fn reload(config: &TlsConfig, settings: &mut Arc<ServerConfig>) -> Reload {
    let Certificate::Files { cert, key } = &config.certificate else {
        return Reload::Done;
    };
    match of_files(cert, key, config.client_ca.as_deref()) {
        Ok(found) => {
            info!(cert = %cert.display(), "certificate reloaded");
            *settings = Arc::new(found);
            Reload::Done
        }
        Err(error) => {
            warn!(
                exception.message = error_chain(&error),
                "certificate not reloaded; the previous one stays in use"
            );
            if matches!(error, TlsError::Read { .. }) {
                Reload::Retry
            } else {
                Reload::Done
            }
        }
    }
}

fn of_files(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<ServerConfig, TlsError> {
    let clients = verifier(client_ca)?;
    let (chain, private_key) = (read_chain("cert", cert)?, read_key(key)?);
    of_pair(cert, key, clients, chain, private_key)
}

/// Returns the settings with the content of `cert` and `key`.
fn of_pair(
    cert: &Path,
    key: &Path,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    chain: Vec<CertificateDer<'static>>,
    private_key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    settings(clients, chain, private_key).map_err(|source| {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        if source == InconsistentKeys::KeyMismatch.into() {
            return TlsError::Mismatch { cert, key };
        }
        TlsError::Unusable { cert, key, source }
    })
}

/// Detects TLS by the first byte and completes its handshake. `write` is the timeout for a client that
/// does not read.
///
/// # Errors
/// When HTTP cannot begin, so that the connection must be closed.
pub(super) async fn open(
    stream: TcpStream,
    tls: Option<&Tls>,
    write: Duration,
) -> Result<Opened, OpenError> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) => return Err(OpenError::Empty),
        Ok(_) if first == [HANDSHAKE] => {}
        Ok(_) => return Ok(Opened::Plain(WriteTimeout::new(stream, write, reset))),
        Err(error) => return Err(OpenError::Socket(error)),
    }
    let Some(tls) = tls else {
        return Err(OpenError::NotConfigured);
    };
    let acceptor = TlsAcceptor::from(tls.current());
    let stream = acceptor
        .accept(WriteTimeout::new(stream, write, reset))
        .await;
    let outcome = if stream.is_ok() { "ok" } else { "failed" };
    let handshakes = &metrics().client_tls_handshakes;
    handshakes.get_or_create(&OutcomeLabel { outcome }).inc();
    let stream = stream.map_err(OpenError::of_handshake)?;
    Ok(Opened::Tls(Box::new(stream)))
}

impl OpenError {
    fn of_handshake(error: io::Error) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        match cause {
            Some(rustls::Error::NoApplicationProtocol) => Self::Protocol,
            Some(_) | None => Self::Handshake(error),
        }
    }
}

/// Returns the verifier of client certificates, if clients need a certificate.
fn verifier(path: Option<&Path>) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_chain("client_ca", path)? {
        let path = path.to_owned();
        roots
            .add(certificate)
            .map_err(|source| TlsError::UnusableAuthority { path, source })?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = builder.build().map_err(TlsError::Verifier)?;
    Ok(Some(verifier))
}

/// Makes the socket discard unsent data when it is closed.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

fn settings(
    clients: Option<Arc<dyn ClientCertVerifier>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read_chain(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate {
            key,
            path: path.to_owned(),
        }),
        Ok(chain) => Ok(chain),
        Err(_) => Err(TlsError::BrokenPem {
            key,
            path: path.to_owned(),
        }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let path = path.to_owned();
        if matches!(error, PemError::NoItemsFound) {
            return TlsError::NoKey(path);
        }
        // The text of the error is omitted, because it quotes lines of the key.
        TlsError::BrokenPem { key: "key", path }
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = trusted_file::read(path, RULES).map_err(|source| TlsError::Read {
        key,
        path: path.to_owned(),
        source,
    });
    let mut pem = read?;
    // A byte order mark would hide the first certificate.
    if pem.starts_with(b"\xef\xbb\xbf") {
        pem.drain(..3);
    }
    Ok(pem)
}
