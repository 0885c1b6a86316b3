//! The upstream of one route: its signer, its connections, and the exchange of requests.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Body as _;

use super::clock_skew::ClockSkew;
use super::config::UpstreamConfig;
use super::dial::ConnectorOptions;
use super::error::DialError;
use super::headers::{signed_values, single_content_type};
use super::pool::{ConnectionPool, UpstreamBody};
use super::rejection::{Renewals, is_rejection_status};
use super::repeat::{Attempts, Failed, Repeat};
use super::tasks::TaskExecutor;
use super::{Dialer, Endpoint, Error, ResponseBody, UpstreamKind, framing};
use crate::deadline::timeout;
use crate::iam::Recorder;
use crate::lifecycle::BackgroundTasks;
use crate::sign::{RequestTarget, Signable, SignaturePlacement, Signer, TargetError};
use crate::telemetry::metrics::RouteMetrics;

/// How long the steps of an exchange took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Obtaining credentials and signing.
    pub signing: Duration,
    /// Opening a connection; zero if a pooled one was used.
    pub connect: Duration,
    /// The rest of the time from the start of the exchange to the head of the response.
    pub first_byte: Duration,
    /// Whether a connection was asked to send the request.
    pub is_sending: bool,
    /// The time of the last signature.
    pub signed_at: Option<SystemTime>,
    /// How many times the request was signed.
    pub attempts: u32,
}

/// A request before it is signed. Its headers may go upstream: they contain no authentication and no
/// hop-by-hop headers.
#[derive(Debug)]
pub struct UpstreamRequest<'a> {
    pub method: Method,
    pub target: &'a RequestTarget,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether upstream may process it twice.
    pub repeat: Repeat,
}

/// The upstream of one route.
#[derive(Debug)]
pub struct Upstream {
    endpoint: Endpoint,
    authority: Authority,
    signer: Signer,
    pool: ConnectionPool,
    /// Offers HTTP/1.1 only, for WebSockets.
    http1_dialer: Dialer,
    tasks: TaskExecutor,
    config: UpstreamConfig,
    recorder: Recorder,
    metrics: Arc<RouteMetrics>,
    clock_skew: ClockSkew,
}

impl Upstream {
    /// Creates an upstream without connecting to it. Its connections are closed when the background tasks
    /// are stopped.
    ///
    /// # Errors
    /// When a name of the endpoint is not valid for TLS or as a `Host`.
    pub fn new(
        endpoint: Endpoint,
        signer: Signer,
        config: UpstreamConfig,
        options: &ConnectorOptions,
        background: BackgroundTasks,
    ) -> io::Result<Self> {
        let dialer = |alpn: &[&[u8]]| {
            Dialer::new(
                endpoint.address.clone(),
                &endpoint.tls_name,
                alpn,
                options,
                config.connect,
            )
        };
        let pooled = dialer(&[b"h2", b"http/1.1"])?;
        let http1_dialer = dialer(&[b"http/1.1"])?;
        let tasks = TaskExecutor(background);
        let authority = endpoint.wire_host.parse().map_err(|_| {
            io::Error::other(format!("{:?} is not a valid Host", endpoint.wire_host))
        })?;
        let pool = ConnectionPool::new(pooled, &tasks, &config);
        Ok(Self {
            endpoint,
            authority,
            signer,
            pool,
            http1_dialer,
            tasks,
            config,
            recorder: Recorder::default(),
            metrics: Arc::clone(&options.metrics),
            clock_skew: ClockSkew::default(),
        })
    }

    /// Records every request with `recorder`.
    pub fn with_recorder(mut self, recorder: Recorder) -> Self {
        self.recorder = recorder;
        self
    }

    /// Returns the endpoint that requests are sent to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the signer of the route.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Returns the recorder of the operations that clients use.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Returns the metrics of the route.
    pub fn metrics(&self) -> &Arc<RouteMetrics> {
        &self.metrics
    }

    /// Returns the settings of connections and timeouts.
    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// Opens a connection and closes it, to check that upstream is reachable and that its certificate
    /// is valid.
    ///
    /// # Errors
    /// [`DialError`], whose variant is the step that failed.
    pub async fn check_reachable(&self) -> Result<(), DialError> {
        self.http1_dialer.dial().await.map(drop)
    }

    /// Returns the dialer for WebSockets, which offers HTTP/1.1 only.
    pub fn http1_dialer(&self) -> &Dialer {
        &self.http1_dialer
    }

    pub(super) fn clock_skew(&self) -> &ClockSkew {
        &self.clock_skew
    }

    pub(super) fn tasks(&self) -> &TaskExecutor {
        &self.tasks
    }

    /// Signs a request and sends it. The signature covers the headers for which AWS requires it, and the
    /// content type if there is a body.
    ///
    /// A request that AWS rejected because of its credentials or its time is signed and sent once more
    /// after these have been renewed.
    ///
    /// A request that upstream provably did not process is sent again on another connection (RFC 9113,
    /// section 8.7). With [`Repeat::Safe`], so is a request whose connection had been used before and was
    /// lost before a response arrived. It is signed again each time. All attempts together wait for a
    /// response for `timeouts.first_byte`.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::sent`] returns whether upstream may have acted on the request.
    pub async fn send(
        &self,
        request: &UpstreamRequest<'_>,
        timing: &mut Timing,
    ) -> Result<Response<ResponseBody>, Error> {
        let (method, target, body) = (&request.method, request.target, &request.body);
        match self.endpoint.kind {
            UpstreamKind::Graphql => self.recorder.operation(body),
            UpstreamKind::Events => self.recorder.publish(body),
            UpstreamKind::Http => self.recorder.request(method.as_str(), target.as_str()),
        }
        let mut signed_at = Instant::now();
        let mut attempts = Attempts::new(signed_at, request.repeat);
        let mut renewals = Renewals::new(request.repeat == Repeat::Safe);
        loop {
            let now = self.next_signing_time(renewals);
            timing.signed_at = Some(now);
            timing.attempts += 1;
            let attempted = self.attempt(request, now, &mut attempts, timing).await;
            let mut response = match attempted {
                Ok(response) => response,
                Err(failed) => {
                    let next = attempts.next(failed);
                    let next = next.map_err(|error| error.with_headers(&request.headers))?;
                    self.metrics.replayed(next);
                    signed_at = Instant::now();
                    continue;
                }
            };
            let is_final = self.is_final(&mut response, signed_at, &mut renewals);
            if is_final.await.map_err(|error| attempts.last(error))? {
                if is_rejection_status(response.status()) {
                    // Signed again: at the same time, the signature is the same.
                    let headers = request.headers.clone();
                    let again = self.signed_request(method, target, headers, body, now);
                    if let Ok((uri, headers)) = Box::pin(again).await {
                        let sent = self.sent_request(method.clone(), &uri, headers, body.clone());
                        response.extensions_mut().insert(sent);
                    }
                }
                return Ok(response);
            }
            signed_at = Instant::now();
        }
    }

    /// Returns the headers of a request that is signed at `now`, without sending it.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn signed_headers(
        &self,
        method: &Method,
        target: &RequestTarget,
        headers: HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<HeaderMap, Error> {
        let signed = self.signed_request(method, target, headers, body, now);
        signed.await.map(|(_, headers)| headers)
    }

    /// Returns the URI and the headers of a request that is signed at `now`, without sending it.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn signed_request(
        &self,
        method: &Method,
        target: &RequestTarget,
        mut headers: HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(Uri, HeaderMap), Error> {
        let mut timing = Timing::default();
        let signing = self.sign(method, target, &mut headers, body, now, &mut timing);
        signing.await.map(|uri| (uri, headers))
    }

    /// Signs the final bytes of a request at `now`, adds the headers of the signature, and returns the URI to
    /// send the request to.
    pub(super) async fn sign(
        &self,
        method: &Method,
        target: &RequestTarget,
        headers: &mut HeaderMap,
        body: &[u8],
        now: SystemTime,
        timing: &mut Timing,
    ) -> Result<Uri, Error> {
        let started = Instant::now();
        let credentials = self.signer.credentials(now).await.map_err(|error| {
            timing.signing += started.elapsed();
            Error::Sign(error.into())
        })?;
        let content_type = single_content_type(headers, !body.is_empty());
        let must_be_signed = self.must_be_signed(content_type);
        let signable = Signable {
            method: method.as_str(),
            target: target.as_str(),
            headers: &signed_values(headers, must_be_signed)?,
            body,
        };
        let signed = self.signer.sign(&credentials, &signable, now);
        timing.signing += started.elapsed();
        let signed = signed?;
        let uri = self.uri(&signed.target(target))?;
        for (name, value) in signed.headers {
            headers.insert(name, value);
        }
        Ok(uri)
    }

    /// Returns a predicate for the headers that must be signed: every `x-amz-*` header (IAM user guide,
    /// "Create a signed AWS API request"), and `x-apigw-api-id`, because it selects the API.
    fn must_be_signed(&self, has_content_type: bool) -> impl Fn(&HeaderName) -> bool {
        let signs_headers = self.signer.style().placement == SignaturePlacement::Headers;
        let configured = &self.endpoint.signed_headers;
        move |name| {
            let is_required = name.as_str().starts_with("x-amz-") || name == "x-apigw-api-id";
            let is_content_type = has_content_type && name == CONTENT_TYPE;
            (signs_headers && (is_required || is_content_type)) || configured.contains(name)
        }
    }

    /// Signs a request at `now`, and sends it on a pooled connection.
    async fn attempt(
        &self,
        request: &UpstreamRequest<'_>,
        now: SystemTime,
        attempts: &mut Attempts,
        timing: &mut Timing,
    ) -> Result<Response<ResponseBody>, Failed> {
        let (method, target, body) = (&request.method, request.target, &request.body);
        let mut signed = Request::new(body.clone());
        signed.method_mut().clone_from(method);
        signed.headers_mut().clone_from(&request.headers);
        let headers = signed.headers_mut();
        let uri = self.sign(method, target, headers, body, now, timing);
        *signed.uri_mut() = uri.await?;
        let started = attempts.started;
        let leasing = Instant::now();
        let lease = self.pool.lease(attempts.dialled_after, leasing).await?;
        let dial = lease.dial();
        let is_new = dial.started >= started;
        if dial.started + dial.took > leasing {
            timing.connect += leasing.elapsed();
        }
        if is_new {
            self.metrics.requests_on_new.inc();
        } else {
            self.metrics.requests_on_reused.inc();
        }
        timing.is_sending = true;
        let sending = Instant::now();
        let after = self.config.first_byte;
        let remaining = after.saturating_sub(attempts.waited);
        let answered = timeout(remaining, lease.send(signed, request.repeat)).await;
        let answered_at = Instant::now();
        attempts.waited += answered_at - sending;
        let failed = match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Failed::new(error, dial.started, !is_new)),
            Err(_) => Err(Failed::from(Error::FirstByteTimeout { after })),
        };
        let mut response = failed.inspect_err(|failed| {
            if failed.is_timeout() && !lease.is_heard_since(sending) {
                self.pool.remove_silent_since(sending);
            }
        })?;
        let normalized = framing::normalize(&mut response)?;
        if normalized.is_ambiguous {
            lease.retire();
        }
        if let Some(offset) = self.clock_skew.measure(response.headers()) {
            self.metrics.clock_offset_seconds.set(offset);
        }
        let spent = timing.signing + timing.connect;
        timing.first_byte = (answered_at - started).saturating_sub(spent);
        let idle = self.config.idle;
        let (mut parts, body) = response.into_parts();
        // Over HTTP/2, hyper does not report data beyond a length of 0 as an error.
        if parts.version == Version::HTTP_2
            && !body.is_end_stream()
            && parts
                .headers
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length == "0")
            && parts.status != StatusCode::RESET_CONTENT
        {
            parts.headers.remove(CONTENT_LENGTH);
        }
        parts.version = Version::HTTP_11;
        let body = (!normalized.is_bodiless).then_some(body);
        let body = ResponseBody::new(UpstreamBody::new(body, lease), idle);
        Ok(Response::from_parts(parts, body))
    }

    fn uri(&self, target: &str) -> Result<Uri, Error> {
        let path: PathAndQuery = target.parse().map_err(|_| TargetError::Invalid)?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Ok(Uri::from_parts(parts).map_err(|_| TargetError::Invalid)?)
    }
}
