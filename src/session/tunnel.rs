//! Relays the bytes of a WebSocket unchanged: frames, masks, pings, compression and close codes are
//! those of its two ends.
//!
//! countersign adds frames of its own only between two messages: a close frame when the process drains
//! and, if the route configures it, a message that keeps an idle connection open.

mod frames;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::deadline::timeout;
use crate::inspector::Capture;
use crate::telemetry::metrics::{GaugeGuard, RouteMetrics};
use crate::telemetry::{Record, RequestId};
use frames::Frames;

/// A message that is sent upstream when the client has been silent for the time `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub text: String,
    pub after: Duration,
}

/// A tunnel whose ends have switched protocols, or are about to.
#[derive(Debug)]
pub struct Tunnel {
    pub client: OnUpgrade,
    pub upstream: OnUpgrade,
    pub metrics: Arc<RouteMetrics>,
    pub keepalive: Option<Keepalive>,
    /// Counts the client's connection.
    pub permit: Arc<OwnedSemaphorePermit>,
    /// The address of the client; `None` on a unix socket.
    pub client_address: Option<SocketAddr>,
    pub request_id: RequestId,
    /// The entry of the tunnel in the inspector.
    pub capture: Capture,
}

/// One direction of a tunnel.
struct Pump<'a> {
    from: ReadHalf<TokioIo<Upgraded>>,
    to: WriteHalf<TokioIo<Upgraded>>,
    /// The frame that is written when the process drains.
    close_frame: Vec<u8>,
    keepalive: Option<&'a Keepalive>,
    relayed: usize,
    /// Cancelled when the last message of this direction has been relayed.
    idle: CancellationToken,
    /// The same for the other direction.
    other_idle: CancellationToken,
}

/// The signals of a shutdown.
struct Shutdown {
    draining: CancellationToken,
    expired: CancellationToken,
}

/// The close codes "Service Restart" and "Going Away" (RFC 6455, section 7.4, and its IANA registry).
const TO_CLIENT: u16 = 1012;
const TO_UPSTREAM: u16 = 1001;
const BUFFER: usize = 8 * 1024;
/// How long one end may take to close after the other.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the close frames may be written after the drain's deadline.
const SHUTDOWN_FLUSH: Duration = Duration::from_secs(1);

/// Relays bytes until both ends are closed, or the process drains.
pub(super) async fn serve(tunnel: Tunnel, draining: CancellationToken, expired: CancellationToken) {
    let mut record = Record::new("TUNNEL");
    record.id = tunnel.request_id.clone();
    record.client_address = tunnel.client_address;
    record.capture = tunnel.capture.clone();
    record.set_route(&tunnel.metrics);
    let _open = GaugeGuard::new(&tunnel.metrics.tunnels);
    record.status = 101;
    record.show();
    let late = expired.clone();
    let late = async {
        late.cancelled().await;
        sleep(SHUTDOWN_FLUSH).await;
    };
    let shutdown = Shutdown { draining, expired };
    let ended = tokio::select! {
        ended = relay(tunnel, shutdown, &mut record) => ended,
        // An end that does not read cannot delay the shutdown.
        () = late => Ok(()),
    };
    if let Err(error) = ended {
        record.error = Some(error.to_string());
    }
    record.write();
}

/// Relays bytes in both directions.
async fn relay(tunnel: Tunnel, shutdown: Shutdown, record: &mut Record) -> io::Result<()> {
    let opened = async { tokio::try_join!(tunnel.client, tunnel.upstream) };
    let Some(opened) = shutdown.expired.run_until_cancelled(opened).await else {
        return Ok(());
    };
    let (client, upstream) = opened.map_err(|error| {
        debug!(exception.message = %error, "opening tunnel failed");
        io::Error::other(error)
    })?;
    let (client_read, client_write) = split(TokioIo::new(client));
    let (upstream_read, upstream_write) = split(TokioIo::new(upstream));
    let (up_idle, down_idle) = (CancellationToken::new(), CancellationToken::new());
    let mut up = Pump {
        from: client_read,
        to: upstream_write,
        close_frame: frames::close(TO_UPSTREAM, Some(mask())),
        keepalive: tunnel.keepalive.as_ref(),
        relayed: 0,
        idle: up_idle.clone(),
        other_idle: down_idle.clone(),
    };
    let mut down = Pump {
        from: upstream_read,
        to: client_write,
        close_frame: frames::close(TO_CLIENT, None),
        keepalive: None,
        relayed: 0,
        idle: down_idle,
        other_idle: up_idle,
    };
    let ended = {
        let (mut up, mut down) = (
            std::pin::pin!(up.run(&shutdown)),
            std::pin::pin!(down.run(&shutdown)),
        );
        // When one end has closed, the other has some time to send its final messages.
        tokio::select! {
            ended = up.as_mut() => match timeout(PATIENCE, down).await {
                Ok(other) => ended.and(other),
                Err(_) => ended,
            },
            ended = down.as_mut() => match timeout(PATIENCE, up).await {
                Ok(other) => ended.and(other),
                Err(_) => ended,
            },
        }
    };
    record.bytes_in = up.relayed;
    record.bytes_out = down.relayed;
    if shutdown.draining.is_cancelled() {
        // Unread bytes would turn the close into a reset, which may overtake the close frame.
        let ends = async { tokio::join!(up.discard(), down.discard()) };
        let _ = timeout(PATIENCE, ends).await;
    }
    ended
}

impl Pump<'_> {
    /// Relays bytes until the source ends or the close frame is written, and then shuts the other end
    /// down.
    async fn run(&mut self, shutdown: &Shutdown) -> io::Result<()> {
        let ended = self.relay(shutdown).await;
        self.idle.cancel();
        let shut_down = self.to.shutdown().await;
        ended.and(shut_down)
    }

    /// Relays bytes until the source ends or the close frame is written.
    async fn relay(&mut self, shutdown: &Shutdown) -> io::Result<()> {
        let mut frames = Frames::default();
        let mut buffer = vec![0; BUFFER];
        let mut silent_since = Instant::now();
        loop {
            let may_insert = frames.is_between_messages();
            let keepalive = self.keepalive.filter(|_| may_insert);
            let due = keepalive.map(|keepalive| silent_since + keepalive.after);
            tokio::select! {
                biased;
                () = shutdown.draining.cancelled(), if may_insert => {
                    // An end that receives a close frame sends nothing more, so the message in the
                    // other direction must be complete first.
                    self.idle.cancel();
                    let other = self.other_idle.cancelled();
                    let _ = shutdown.expired.run_until_cancelled(other).await;
                    return self.to.write_all(&self.close_frame).await;
                }
                () = shutdown.expired.cancelled() => return Ok(()),
                read = self.from.read(&mut buffer) => {
                    let read = match read {
                        // TLS without a close_notify: many servers close that way.
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                        read => read?,
                    };
                    if read == 0 {
                        return Ok(());
                    }
                    silent_since = Instant::now();
                    let bytes = &buffer[..read];
                    frames.advance(bytes);
                    self.relayed += read;
                    self.to.write_all(bytes).await?;
                    self.to.flush().await?;
                }
                () = async { sleep_until(due.unwrap_or(silent_since)).await }, if due.is_some() => {
                    silent_since = Instant::now();
                    let text = keepalive.map_or("", |keepalive| &keepalive.text);
                    self.to.write_all(&frames::text(text, Some(mask()))).await?;
                    self.to.flush().await?;
                }
            }
        }
    }

    /// Reads to the end of the source, and discards the bytes.
    async fn discard(&mut self) {
        let mut buffer = [0; 512];
        while matches!(self.from.read(&mut buffer).await, Ok(read) if read > 0) {}
    }
}

/// Returns a random masking key (RFC 6455, section 5.3).
fn mask() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}
