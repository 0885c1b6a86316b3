//! Accepts client connections and speaks HTTP/1.1 with them, until the drain.
//!
//! The accept loop never waits for a peer and no accept error ends it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::proxy::{Client, Proxy, Scheme};

/// Bounds of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    pub connections: usize,
    /// Bytes of a request's head.
    pub request_head: usize,
    pub request_head_timeout: Duration,
}

/// Serves a proxy on any number of listeners.
#[derive(Clone, Debug)]
pub struct Server {
    proxy: Arc<Proxy>,
    config: ServerConfig,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    draining: CancellationToken,
    expired: CancellationToken,
}

/// After an accept error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl Server {
    /// Connections finish their request once `draining` is cancelled, and end with `expired`.
    pub fn new(
        proxy: Proxy,
        config: ServerConfig,
        tasks: TaskTracker,
        draining: CancellationToken,
        expired: CancellationToken,
    ) -> Self {
        Self {
            proxy: Arc::new(proxy),
            config,
            permits: Arc::new(Semaphore::new(config.connections)),
            tasks,
            draining,
            expired,
        }
    }

    /// Starts to accept on a bound listener.
    pub fn listen(&self, listener: TcpListener) {
        let server = self.clone();
        self.tasks.spawn(async move {
            let draining = server.draining.clone();
            draining.run_until_cancelled(server.accept(listener)).await;
        });
    }

    async fn accept(&self, listener: TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    self.tasks
                        .spawn(async move { server.serve(stream, permit).await });
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let Ok(local) = prepare(&stream) else {
            return;
        };
        let client = Client {
            local: local.ip(),
            scheme: Scheme::Http,
            permit: Arc::new(permit),
        };
        let service = service_fn(|request| {
            let client = client.clone();
            async move { Ok::<_, Infallible>(self.proxy.handle(request, &client).await) }
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
                match self.expired.run_until_cancelled(connection).await {
                    Some(ended) => ended,
                    None => return,
                }
            }
        };
        if let Err(error) = ended {
            debug!(%error, "a client connection ended badly");
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<SocketAddr> {
    stream.set_nodelay(true)?;
    stream.local_addr()
}
