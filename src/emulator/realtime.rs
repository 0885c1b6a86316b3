//! One realtime connection, after its upgrade.
//!
//! In flow client frames and what the hub puts in the outbox; out flow AppSync's frames. A peer that
//! stops reading is cut by the hub, one that breaks the WebSocket protocol by its own error.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::api::Api;
use super::graphql::{Operation, SubscribeError};
use super::handshake::ConnectRefusal;
use super::hub::{Admission, Frame, Opening};
use super::messages::{self, Incoming, Start};
use super::refusal::Refusal;
use super::sigv4::Headers;

/// What AppSync has been told on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Everything but `connection_init` is ignored.
    Connected,
    Acknowledged,
}

struct Session<'a> {
    api: &'a Api,
    connection: u64,
    phase: Phase,
}

/// Serves a connection until either side ends it.
pub(super) async fn drive<S>(api: &Arc<Api>, socket: S, verdict: Result<(), ConnectRefusal>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config())).await;
    if let Err(refusal) = verdict {
        let summary = refusal.summary();
        tracing::info!(reason = %summary, "realtime connect refused");
        let prefix = if api.switches.settings().error_type_prefix {
            PREFIX
        } else {
            ""
        };
        let told = socket.send(Message::text(refusal.frame(prefix))).await;
        api.ledger.refused_with(summary);
        if told.is_ok() {
            close(&mut socket, 1000).await;
        }
        return;
    }

    let mut member = api.hub.join();
    let session = Session {
        api,
        connection: member.id,
        phase: Phase::Connected,
    };
    let ended = member
        .cut
        .clone()
        .run_until_cancelled(session.run(&mut socket, &mut member.outbox))
        .await;
    match ended {
        None => tracing::debug!("realtime connection cut"),
        Some(Ok(())) => tracing::debug!("realtime connection closed"),
        Some(Err(error)) => tracing::debug!(%error, "realtime connection failed"),
    }
}

async fn close<S>(socket: &mut WebSocketStream<S>, code: u16)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code: CloseCode::from(code),
        reason: "".into(),
    };
    let closing = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(4 << 10)
        .max_write_buffer_size(1 << 20)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE))
}

// === impl Session ===

impl Session<'_> {
    async fn run<S>(
        mut self,
        socket: &mut WebSocketStream<S>,
        outbox: &mut tokio::sync::mpsc::Receiver<Frame>,
    ) -> Result<(), tungstenite::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let started = Instant::now();
        let lifetime = tokio::time::sleep(self.api.options.connection_lifetime);
        tokio::pin!(lifetime);
        let period = self.api.options.ka_interval.clamp(SHORTEST_KA, LONGEST_KA);
        let mut keepalive = tokio::time::interval_at(started + period, period);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);

        loop {
            tokio::select! {
                // What the client is owed goes out before it may ask for more.
                biased;
                frame = outbox.recv() => match frame {
                    Some(Frame::Text(text)) => socket.send(Message::text(text)).await?,
                    Some(Frame::Close(code)) => {
                        close(socket, code).await;
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                () = &mut lifetime => {
                    close(socket, 1000).await;
                    return Ok(());
                }
                _ = keepalive.tick(), if self.phase == Phase::Acknowledged => {
                    if !self.api.switches.settings().stop_ka {
                        socket.send(Message::text(messages::ka())).await?;
                    }
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if self.handle(&text).await {
                            keepalive.reset();
                        }
                    }
                    Some(Ok(Message::Binary(_))) => self.send(messages::unsupported()),
                    Some(Ok(Message::Close(_))) | None => return Ok(()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Err(error)) => return Err(error),
                },
            }
        }
    }

    /// Whether the message began the keepalive.
    async fn handle(&mut self, text: &str) -> bool {
        match (self.phase, messages::parse(text)) {
            (Phase::Connected, Incoming::ConnectionInit) => {
                self.phase = Phase::Acknowledged;
                let timeout = self.api.options.connection_timeout;
                let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                self.send(messages::connection_ack(timeout));
                if !self.api.switches.settings().stop_ka {
                    self.send(messages::ka());
                }
                return true;
            }
            (
                Phase::Connected,
                Incoming::Start(_) | Incoming::Stop { .. } | Incoming::Unsupported,
            )
            | (Phase::Acknowledged, Incoming::ConnectionInit) => {}
            (Phase::Acknowledged, Incoming::Start(start)) => self.start(start).await,
            (Phase::Acknowledged, Incoming::Stop { id }) => {
                self.api.hub.stop(self.connection, &id);
            }
            (Phase::Acknowledged, Incoming::Unsupported) => self.send(messages::unsupported()),
        }
        false
    }

    async fn start(&self, start: Start) {
        self.api.ledger.count(|counts| counts.starts_total += 1);
        let Err(refused) = self.admit(&start).await else {
            return;
        };
        self.api.ledger.refused_with(refused.summary);
        self.send(refused.frame);
    }

    async fn admit(&self, start: &Start) -> Result<(), Refused> {
        let settings = self.api.switches.settings();
        if settings.throttle {
            return Err(Refused::new(
                "LimitExceededError",
                messages::limit_exceeded(),
            ));
        }
        let Some(authorization) = &start.authorization else {
            return Err(Refused::by(&start.id, &Refusal::OtherAuthorization));
        };
        let headers = Headers::of_json(authorization);
        let verified = self
            .api
            .verify_unsent("/graphql", &headers, start.data.as_bytes())
            .map_err(|refusal| Refused::by(&start.id, &refusal))?;
        let operation = Operation::parse(start.data.as_bytes())
            .map_err(|refusal| Refused::by(&start.id, &refusal))?;
        let wanted = self
            .api
            .graphql
            .subscribe(operation, headers, &verified.signed_headers)
            .await
            .map_err(|error| match error {
                SubscribeError::NotASubscription => {
                    Refused::new("UnsupportedOperation", messages::unsupported())
                }
                SubscribeError::Invalid(errors) => Refused::new(
                    "Validation error",
                    messages::validation_errors(&start.id, &errors),
                ),
            })?;

        let opening = Opening {
            limit: settings.max_subscriptions,
            acknowledge: !settings.no_start_ack,
            first: wanted.first,
        };
        let hub = &self.api.hub;
        match hub.start(self.connection, &start.id, wanted.live, opening) {
            Admission::Started => Ok(()),
            Admission::Duplicate => {
                let message = format!("Duplicated operation with id {}", start.id);
                let kind = "DuplicatedOperationError";
                Err(Refused::new(
                    kind,
                    messages::error(&start.id, kind, &message),
                ))
            }
            Admission::Full => Err(Refused::new(
                "MaxSubscriptionsReachedError",
                messages::too_many_subscriptions(&start.id, settings.max_subscriptions),
            )),
        }
    }

    fn send(&self, text: String) {
        self.api.hub.send(self.connection, text);
    }
}

/// A `start` that was not admitted: what the client reads, and what the ledger keeps.
struct Refused {
    summary: String,
    frame: String,
}

// === impl Refused ===

impl Refused {
    fn new(summary: &str, frame: String) -> Self {
        Self {
            summary: summary.to_owned(),
            frame,
        }
    }

    fn by(id: &str, refusal: &Refusal) -> Self {
        Self {
            summary: refusal.summary(),
            frame: messages::refused(id, refusal),
        }
    }
}

const PREFIX: &str = "com.amazonaws.deepdish.graphql.auth#";
const LARGEST_MESSAGE: usize = 1 << 20;
/// A timer takes no zero, and no sum that overflows.
const SHORTEST_KA: Duration = Duration::from_millis(1);
const LONGEST_KA: Duration = Duration::from_secs(24 * 60 * 60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
