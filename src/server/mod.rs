//! Accepts client connections and speaks HTTP/1.1 with them, plain or by TLS, until the drain.
//!
//! The accept loop never waits for a peer and no accept error ends it.

mod dev_ca;
mod listener;
mod tls;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

pub use dev_ca::DevCaError;
use listener::Accepted;
pub use listener::{BindError, Listen, Listener};
pub use tls::{Certificate, Tls, TlsConfig, TlsError};
use tls::{Opened, open};

use crate::proxy::{Client, Local, Proxy, Scheme};

/// Bounds of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    pub connections: usize,
    /// Bytes of a request's head.
    pub request_head: usize,
    /// Also from a connection's beginning to its first byte, and through its TLS handshake.
    pub request_head_timeout: Duration,
}

/// Serves a proxy on any number of listeners.
#[derive(Clone, Debug)]
pub struct Server {
    proxy: Arc<Proxy>,
    config: ServerConfig,
    tls: Option<Tls>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    draining: CancellationToken,
    expired: CancellationToken,
}

/// For what clients are told at the drain's deadline to reach them.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// After an accept error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl Server {
    /// Connections finish their request once `draining` is cancelled, and end with `expired`.
    pub fn new(
        proxy: Proxy,
        config: ServerConfig,
        tls: Option<Tls>,
        tasks: TaskTracker,
        draining: CancellationToken,
        expired: CancellationToken,
    ) -> Self {
        Self {
            proxy: Arc::new(proxy),
            config,
            tls,
            permits: Arc::new(Semaphore::new(config.connections)),
            tasks,
            draining,
            expired,
        }
    }

    /// Starts to accept on a bound listener.
    pub fn listen(&self, listener: Listener) {
        let server = self.clone();
        self.tasks.spawn(async move {
            let draining = server.draining.clone();
            draining.run_until_cancelled(server.accept(listener)).await;
        });
    }

    async fn accept(&self, listener: Listener) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let server = self.clone();
                    self.tasks
                        .spawn(async move { server.serve(accepted, permit).await });
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(&self, accepted: Accepted, permit: OwnedSemaphorePermit) {
        let permit = Arc::new(permit);
        let client = |local, scheme| Client {
            local,
            scheme,
            permit,
        };
        let stream = match accepted {
            Accepted::Tcp(stream) => stream,
            Accepted::Unix(stream) => {
                return self
                    .serve_http(stream, &client(Local::Unix, Scheme::Http))
                    .await;
            }
        };
        let Ok(local) = prepare(&stream) else {
            return;
        };
        let opening = tokio::time::timeout(
            self.config.request_head_timeout,
            open(stream, self.tls.as_ref()),
        );
        let opened = match self.draining.run_until_cancelled(opening).await {
            Some(Ok(Ok(opened))) => opened,
            Some(Ok(Err(error))) => {
                return debug!(%error, "a client connection was not opened");
            }
            Some(Err(_)) => {
                return debug!("a client connection took too long to open (timeouts.request_head)");
            }
            None => return,
        };
        match opened {
            Opened::Plain(stream) => {
                self.serve_http(stream, &client(local, Scheme::Http)).await;
            }
            Opened::Tls(stream) => {
                self.serve_http(stream, &client(local, Scheme::Https)).await;
            }
        }
    }

    async fn serve_http<S>(&self, stream: S, client: &Client)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| async move {
            Ok::<_, Infallible>(self.proxy.handle(request, client).await)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.request_head_timeout)
            .preserve_header_case(true)
            .max_buf_size(self.config.request_head)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match self.expired.run_until_cancelled(connection.as_mut()).await {
                    Some(ended) => ended,
                    None => match tokio::time::timeout(LAST_WORDS, connection).await {
                        Ok(ended) => ended,
                        Err(_) => return,
                    },
                }
            }
        };
        if let Err(error) = ended {
            debug!(%error, "a client connection ended badly");
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<Local> {
    stream.set_nodelay(true)?;
    stream.local_addr().map(|address| Local::Tcp(address.ip()))
}
