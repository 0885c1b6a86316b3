//! Opens one realtime connection up to its acknowledgement, and closes it, to find out whether AppSync
//! accepts it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use countersign_protocol::realtime::connection::{Connection, Output};
use countersign_protocol::realtime::{Failure, Redaction};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::sleep_until;
use tokio_tungstenite::tungstenite::Message;

use super::RealtimeConfig;
use super::connector::RealtimeConnector;
use crate::upstream::{Dialer, Error, Upstream};

/// Why a realtime connection was not acknowledged.
pub enum AttemptError {
    /// The WebSocket could not be opened.
    Upstream(Error),
    /// AppSync sent `connection_error`.
    Refused {
        /// Not masked: they can echo the session token.
        failures: Vec<Failure>,
        /// The `Sec-WebSocket-Protocol` that was sent, with the signature.
        protocols: String,
    },
    /// The connection ended before it was acknowledged, for this reason.
    Lost(&'static str),
}

/// A diagnosis compares what AWS echoes with what was sent.
const UNMASKED: Redaction = Redaction {
    payload: |text| Cow::Borrowed(text),
    message: |text| Cow::Borrowed(text),
};

/// Opens a realtime connection to `upstream` and waits until it is acknowledged, with the code that serves
/// subscriptions. Nothing is repeated or renewed. The caller has to set a time limit.
///
/// # Errors
/// See [`AttemptError`].
pub async fn attempt(
    upstream: &Arc<Upstream>,
    dialer: Dialer,
    config: &RealtimeConfig,
) -> Result<(), AttemptError> {
    let connector = RealtimeConnector::new(Arc::clone(upstream), dialer, config.handshake);
    let endpoint = upstream.endpoint();
    let Some(realtime) = &endpoint.realtime else {
        return Err(AttemptError::Lost("this route has no realtime endpoint"));
    };
    let authorization = connector.authorize_connect(endpoint).await;
    let authorization = authorization.map_err(AttemptError::Upstream)?;
    let protocols = connector.protocol.subprotocols(&authorization);
    let socket = connector.open_socket(realtime, &authorization).await;
    let mut socket = socket.map_err(AttemptError::Upstream)?;
    let now = Instant::now();
    let mut machine: Connection<()> = Connection::new(
        connector.protocol,
        now,
        now + config.handshake,
        config.start_ack,
        config.keepalive,
        UNMASKED,
    );
    loop {
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Ready => {
                    let _ = socket.close(None).await;
                    return Ok(());
                }
                Output::Refused(failures) => {
                    return Err(AttemptError::Refused {
                        failures,
                        protocols,
                    });
                }
                Output::Lost(reason) => return Err(AttemptError::Lost(reason)),
                // They belong to subscriptions, and there are none.
                Output::Sign(..)
                | Output::Renew { .. }
                | Output::Started { .. }
                | Output::Event(..)
                | Output::Ended(..)
                | Output::Interrupted(..)
                | Output::Unanswered(..)
                | Output::Released(_)
                | Output::Full(_) => {}
            }
        }
        if let Some(frame) = machine.poll_frame() {
            if socket.send(Message::text(frame)).await.is_err() {
                machine.handle_closed();
            }
            continue;
        }
        let due_at = machine.poll_timeout().unwrap_or(now + config.handshake);
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let _ = machine.handle_frame(Instant::now(), &Bytes::from(text));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => machine.handle_closed(),
                Some(Ok(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                )) => {}
            },
            () = sleep_until(due_at.into()) => machine.handle_timeout(Instant::now()),
        }
    }
}

/// Shows neither the signature nor what AppSync echoes.
impl fmt::Debug for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(error) => f.debug_tuple("Upstream").field(error).finish(),
            Self::Refused { .. } => f.write_str("Refused"),
            Self::Lost(reason) => f.debug_tuple("Lost").field(reason).finish(),
        }
    }
}
