//! The socket of one realtime connection after its upgrade, for both protocols.
//!
//! It passes the client's frames to the [`MessageHandler`], and sends the frames of the hub's outbox,
//! keepalives and the close frame. The hub drops a connection whose client does not read. An error of
//! the WebSocket protocol ends the connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::appsync::AppSync;
use super::connect_error::ConnectError;
use super::events;
use super::hub::Frame;
use super::message_handler::{Keepalive, MessageHandler};
use super::messages;
use super::protocol::Protocol;
use super::realtime;

/// Serves a connection until either side ends it.
pub(super) async fn drive<S>(
    api: &Arc<AppSync>,
    socket: S,
    protocol: Protocol,
    result: Result<(), ConnectError>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = Some(config(protocol));
    let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, config).await;
    if let Err(error) = result {
        reject(api, &mut socket, protocol, &error).await;
        return;
    }

    let mut registration = api.hub.register(protocol);
    let (id, outbox) = (registration.id, &mut registration.outbox);
    let running = async {
        match protocol {
            Protocol::GraphQl => {
                let mut session = realtime::GraphqlSession::new(api, id);
                run(api, &mut session, &mut socket, outbox).await
            }
            Protocol::Events => {
                let mut session = events::EventsSession::new(api, id);
                run(api, &mut session, &mut socket, outbox).await
            }
        }
    };
    match registration
        .disconnect
        .clone()
        .run_until_cancelled(running)
        .await
    {
        None => tracing::debug!("realtime connection dropped"),
        Some(Ok(())) => tracing::debug!("realtime connection closed"),
        Some(Err(error)) => {
            tracing::debug!(exception.message = %error, "realtime connection failed")
        }
    }
}

/// Sends the frame for a rejected connect, then closes.
async fn reject<S>(
    api: &AppSync,
    socket: &mut WebSocketStream<S>,
    protocol: Protocol,
    error: &ConnectError,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let summary = error.summary();
    tracing::info!(reason = %summary, "realtime connect rejected");
    let prefix = if api.context.switches.settings().error_type_prefix {
        ERROR_TYPE_PREFIX
    } else {
        ""
    };
    let frame = error.frame(protocol, prefix);
    let sent = socket.send(Message::text(frame)).await;
    if protocol == Protocol::Events {
        api.context
            .ledger
            .count(|counts| counts.events.refused += 1);
    }
    api.context.ledger.record_refusal_summary(summary);
    if sent.is_ok() {
        close(socket, 1000).await;
    }
}

async fn run<D, S>(
    api: &AppSync,
    handler: &mut D,
    socket: &mut WebSocketStream<S>,
    outbox: &mut mpsc::Receiver<Frame>,
) -> Result<(), tungstenite::Error>
where
    D: MessageHandler,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let started = Instant::now();
    let lifetime = tokio::time::sleep(api.context.options.connection_lifetime);
    tokio::pin!(lifetime);
    let period = api
        .context
        .options
        .ka_interval
        .clamp(MIN_KA_INTERVAL, MAX_KA_INTERVAL);
    let mut keepalive = tokio::time::interval_at(started + period, period);
    keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        tokio::select! {
            // Queued frames are sent before the client's next message is read.
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
            _ = keepalive.tick(), if handler.sends_keepalives() => {
                if !api.context.switches.settings().stop_ka {
                    socket.send(Message::text(messages::ka())).await?;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => match handler.handle(&text).await {
                    Keepalive::Restart => keepalive.reset(),
                    Keepalive::Unchanged => {}
                },
                Some(Ok(Message::Binary(_))) => handler.unsupported(),
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(error),
            },
        }
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

fn config(protocol: Protocol) -> WebSocketConfig {
    let max_size = match protocol {
        Protocol::GraphQl => MAX_MESSAGE,
        Protocol::Events => MAX_PUBLISH,
    };
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(4 << 10)
        .max_write_buffer_size(max_size)
        .max_message_size(Some(max_size))
        .max_frame_size(Some(max_size))
}

const ERROR_TYPE_PREFIX: &str = "com.amazonaws.deepdish.graphql.auth#";
const MAX_MESSAGE: usize = 1 << 20;
/// Large enough for five events of 240 KB each in JSON, with an authorization.
const MAX_PUBLISH: usize = 3 << 20;
/// Tokio's interval panics for a period of zero, and for one that overflows an instant.
const MIN_KA_INTERVAL: Duration = Duration::from_millis(1);
const MAX_KA_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
