//! The listeners: TCP, TLS, and HTTP/1.1 or HTTP/2.
//!
//! An accept loop never fails and never waits for a peer. Every task is tracked and ends at shutdown.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::Context;
use super::control;
use super::gateway::{self, GatewayBody};
use super::http as appsync_http;
use super::responses::Body;
use super::services::Services;

/// Spawns hyper's HTTP/2 streams in the task tracker, so that shutdown waits for them.
#[derive(Debug, Clone)]
struct TrackedExecutor {
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Serves the API until shutdown.
pub(super) async fn serve_api(
    services: Arc<Services>,
    listener: TcpListener,
    acceptor: TlsAcceptor,
) {
    accept(&services.context, listener, |stream| {
        let refuse = services.context.switches.settings().refuse_connections;
        let (services, acceptor) = (Arc::clone(&services), acceptor.clone());
        (!refuse).then(|| serve_tls(services, stream, acceptor))
    })
    .await;
}

/// Serves the control listener until shutdown.
pub(super) async fn serve_control(services: Arc<Services>, listener: TcpListener) {
    accept(&services.context, listener, |stream| {
        let services = Arc::clone(&services);
        Some(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let services = Arc::clone(&services);
                async move {
                    let response = control::handle_request(&services, request).await;
                    Ok::<Response<Body>, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(exception.message = %error, "control connection ended");
            }
        })
    })
    .await;
}

async fn accept<F, C>(context: &Context, listener: TcpListener, connection: F)
where
    F: Fn(TcpStream) -> Option<C>,
    C: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = async {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(exception.message = %error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&slots).try_acquire_owned() else {
                tracing::warn!("connection dropped: too many connections");
                continue;
            };
            let _ = stream.set_nodelay(true);
            let Some(connection) = connection(stream) else {
                continue;
            };
            let shutdown = context.shutdown.clone();
            context.tasks.spawn(async move {
                let _permit = permit;
                shutdown.run_until_cancelled(connection).await;
            });
        }
    };
    let _: Option<Infallible> = context.shutdown.run_until_cancelled(accepting).await;
}

async fn serve_tls(services: Arc<Services>, stream: TcpStream, acceptor: TlsAcceptor) {
    let mut stream = match tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return tracing::debug!(exception.message = %error, "TLS handshake failed");
        }
        Err(_) => return tracing::debug!("TLS handshake timed out"),
    };
    let sni: Option<Arc<str>> = stream.get_ref().1.server_name().map(Arc::from);
    // HTTP/1.1 requests to the gateway are read without hyper.
    let read = match gateway::read_first_head(&mut stream).await {
        Ok(read) => read,
        Err(error) => {
            return tracing::debug!(exception.message = %error, "connection ended without a request");
        }
    };
    if services.gateway.is_for_gateway(&read) {
        return gateway::serve(&services.gateway, stream, read).await;
    }
    let (reader, writer) = tokio::io::split(stream);
    let stream = tokio::io::join(Cursor::new(read).chain(reader), writer);

    let service = service_fn(|request| route_request(Arc::clone(&services), sni.clone(), request));
    let mut builder = auto::Builder::new(TrackedExecutor {
        tasks: services.context.tasks.clone(),
        shutdown: services.context.shutdown.clone(),
    });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(exception.message = %error, "connection ended");
    }
}

/// Routes a request that hyper has read: to AppSync or, over HTTP/2, to the gateway.
async fn route_request(
    services: Arc<Services>,
    sni: Option<Arc<str>>,
    request: Request<Incoming>,
) -> io::Result<Response<UnsyncBoxBody<Bytes, io::Error>>> {
    let is_h2 = request.version() == Version::HTTP_2;
    if is_h2 && services.gateway.serves_host(&appsync_http::host(&request)) {
        if services.context.switches.settings().refuse_connections {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let response = gateway::handle_http2_request(&services.gateway, request).await;
        return Ok(response.map(GatewayBody::into_body));
    }
    let api = Arc::clone(&services.appsync);
    let response = appsync_http::handle_request(api, sni, request).await?;
    Ok(response.map(|body| body.map_err(|never| match never {}).boxed_unsync()))
}

// === impl TrackedExecutor ===

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            shutdown.run_until_cancelled(future).await;
        });
    }
}

/// The largest number of concurrent connections of each listener.
const CONNECTIONS: usize = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const HEADER_BYTES: usize = 64 << 10;
