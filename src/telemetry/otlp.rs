//! Sends ended spans to an OpenTelemetry collector, by OTLP over HTTP (protobuf).
//!
//! Spans wait in a bounded queue, from which a separate thread sends them in batches. Requests never
//! wait for it: spans that the collector does not accept in time are dropped and counted, which is
//! logged at most once a minute. When the process ends, [`FLUSH_TIMEOUT`] limits how long sending the
//! remaining spans may take.

mod queue;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter as OtlpExporter, WithExportConfig as _,
    WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{
    EnvResourceDetector, SdkProvidedResourceDetector, TelemetryResourceDetector,
};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use super::error_chain::error_chain;
use super::tasks::{Task, caught, caught_blocking};
use crate::trusted_file::{self, FileError, Rules};
use queue::{Bounded, Counted, Queue};

/// `[traces]` of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    /// The collector's URL for traces.
    pub endpoint: Uri,
    /// The fraction of the traces that start here to export. For other traces, the parent decides.
    pub ratio: f64,
    /// A file with headers for the collector, one `name: value` per line.
    pub headers_file: Option<PathBuf>,
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("traces.headers_file: line {line} of {path:?} is not `name: value`")]
    Header { path: PathBuf, line: usize },
    #[error("traces.headers_file: {0:?} cannot be read")]
    HeadersFile(PathBuf, #[source] FileError),
    #[error(
        "traces.headers_file: {0:?} is accessible to other users (mode {1:03o}). Run: chmod 600 {0:?}"
    )]
    Mode(PathBuf, u32),
    #[error("traces: the exporter cannot be created")]
    Exporter(#[source] ExporterBuildError),
    #[error("traces: the system's certificate authorities cannot be read")]
    Roots(#[source] rustls_native_certs::Error),
    #[error("traces: TLS cannot be configured")]
    Tls(#[source] rustls::Error),
}

/// Exports spans until it is flushed.
#[derive(Debug)]
pub struct Export {
    provider: SdkTracerProvider,
    /// The collector's scheme, host and port.
    origin: String,
    queue: Arc<Queue>,
}

/// The group may read the file, because Kubernetes gives processes that are not root access to secrets
/// in this way.
const RULES: Rules = Rules {
    forbidden: 0o037,
    limit: 64 * 1024,
};
/// The maximum number of spans in a batch.
const BATCH: usize = 512;
/// The interval between batches that are not full.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long sending a batch may take, including all retries.
const BATCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long sending the remaining spans may take when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum size of a response of the collector in bytes.
const MAX_RESPONSE: usize = 64 * 1024;

impl Export {
    /// Reads the files that [`Export::new`] reads: the file of headers and, for `https`, the system's
    /// certificate authorities.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn check(config: &TraceConfig) -> Result<(), TraceError> {
        if let Some(path) = &config.headers_file {
            headers(path)?;
        }
        client(&config.endpoint).map(|_| ())
    }

    /// Starts the export. Requests to the collector run on `runtime`.
    ///
    /// # Errors
    /// See [`TraceError`].
    pub fn new(config: &TraceConfig, runtime: Handle) -> Result<Self, TraceError> {
        let headers = match &config.headers_file {
            Some(path) => headers(path)?,
            None => HeaderMap::new(),
        };
        let queue = Arc::new(Queue::default());
        let collector = Collector {
            client: client(&config.endpoint)?,
            headers,
            runtime,
            queue: Arc::clone(&queue),
        };
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_endpoint(config.endpoint.to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(BATCH_TIMEOUT)
            .build()
            .map_err(TraceError::Exporter)?;
        let exporter = Counted {
            exporter,
            queue: Arc::clone(&queue),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(queue::MAX_WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(BATCH_INTERVAL)
            .build();
        let processor = Bounded {
            batches: BatchSpanProcessor::builder(exporter)
                .with_batch_config(batches)
                .build(),
            queue: Arc::clone(&queue),
        };
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.ratio)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler)
            .with_resource(resource())
            .build();
        let endpoint = &config.endpoint;
        let scheme = endpoint.scheme_str().unwrap_or_default();
        let authority = endpoint.authority().map_or("", Authority::as_str);
        Ok(Self {
            provider,
            origin: format!("{scheme}://{authority}"),
            queue,
        })
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("countersign")
    }

    /// Sends the remaining spans within [`FLUSH_TIMEOUT`] and ends the export.
    pub async fn flush(self) {
        let Self {
            provider, queue, ..
        } = self;
        // It blocks, and the requests to the collector run on this runtime, which may have one thread.
        let ended = move || {
            let _ = provider.shutdown_with_timeout(FLUSH_TIMEOUT);
            queue.abandon();
        };
        let _ = tokio::task::spawn_blocking(move || caught_blocking(Task::Traces, ended)).await;
    }
}

/// Returns the OpenTelemetry resource. Its service name is `countersign`, unless OTEL_SERVICE_NAME or
/// OTEL_RESOURCE_ATTRIBUTES set another name.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let detected = || {
        Resource::builder_empty()
            .with_attribute(version.clone())
            .with_detectors(&[
                Box::new(TelemetryResourceDetector),
                Box::new(EnvResourceDetector::new()),
                Box::new(SdkProvidedResourceDetector),
            ])
    };
    let name = detected()
        .build()
        .get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named {
        detected().build()
    } else {
        detected().with_service_name("countersign").build()
    }
}

// === impl Collector ===

/// Sends batches to the collector.
#[derive(Debug)]
struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// The values are sensitive.
    headers: HeaderMap,
    /// Runs the requests, because the thread that sends batches belongs to no runtime.
    runtime: Handle,
    queue: Arc<Queue>,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = request.map(Full::new);
        request.headers_mut().extend(self.headers.clone());
        let client = self.client.clone();
        let exchange = async move {
            let (head, body) = client.request(request).await?.into_parts();
            let body = Limited::new(body, MAX_RESPONSE).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
        };
        let exchange = async move { tokio::time::timeout(BATCH_TIMEOUT, exchange).await };
        // The task is awaited below, so it needs no tracker.
        let answered = match self.runtime.spawn(caught(Task::Traces, exchange)).await {
            Ok(Ok(Ok(answered))) => answered,
            Ok(Ok(Err(elapsed))) => Err(elapsed.into()),
            Ok(Err(panicked)) => Err(panicked.into()),
            Err(stopped) => Err(stopped.into()),
        };
        match &answered {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self
                .queue
                .set_cause(format!("the collector answered {}", answer.status())),
            Err(error) => self.queue.set_cause(error_chain(error.as_ref())),
        }
        answered
    }
}

/// Returns a client that does not follow redirects, because the headers may contain a key.
fn client(
    endpoint: &Uri,
) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, TraceError> {
    let mut roots = RootCertStore::empty();
    if endpoint.scheme_str() == Some("https") {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if let (true, Some(error)) = (roots.is_empty(), found.errors.into_iter().next()) {
            return Err(TraceError::Roots(error));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TraceError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    // One connection, which stays open until the runtime ends, because the last spans are sent after
    // everything else has ended.
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(1)
        .build(connector))
}

fn headers(path: &Path) -> Result<HeaderMap, TraceError> {
    let unreadable = |error| TraceError::HeadersFile(path.to_owned(), error);
    let bytes = trusted_file::read(path, RULES).map_err(|error| match error {
        FileError::Mode(mode) => TraceError::Mode(path.to_owned(), mode),
        FileError::Io(_)
        | FileError::NotRegular
        | FileError::TooLong(_)
        | FileError::Owner { .. } => unreadable(error),
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| unreadable(io::Error::other("it is not in UTF-8").into()))?;
    let mut headers = HeaderMap::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = header(line).ok_or_else(|| TraceError::Header {
            path: path.to_owned(),
            line: at + 1,
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim().parse().ok()?;
    let mut value: HeaderValue = value.trim().parse().ok()?;
    value.set_sensitive(true);
    Some((name, value))
}
