//! Opens a WebSocket to a realtime endpoint, over TLS that offers HTTP/1.1 only.

use std::time::Duration;

use http::header::{HOST, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{Dialer, Error, RealtimeEndpoint};

/// An open WebSocket connection to upstream.
pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// The parameters of a WebSocket handshake.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    /// The complete value of `Sec-WebSocket-Protocol`, which may contain a signature.
    pub protocols: &'a str,
    /// The maximum size of a message from upstream, in bytes.
    pub max_message: usize,
    /// The time limit for the handshake, without the dial.
    pub timeout: Duration,
}

impl Handshake<'_> {
    /// Opens a WebSocket to `endpoint`, over a connection that `dialer` opens.
    ///
    /// # Errors
    /// When the connection cannot be opened, or upstream does not complete the handshake in time.
    pub async fn open(self, endpoint: &RealtimeEndpoint, dialer: &Dialer) -> Result<Socket, Error> {
        let stream = dialer.dial().await?.stream;
        let failed = |error| Error::Handshake(Box::new(error));
        let uri = format!("wss://{}{}", endpoint.wire_host, endpoint.path);
        let mut request = uri.into_client_request().map_err(failed)?;
        let header = |text: &str| {
            let value = HeaderValue::from_str(text);
            value.map_err(|error| failed(http::Error::from(error).into()))
        };
        let mut protocols = header(self.protocols)?;
        protocols.set_sensitive(true);
        let headers = request.headers_mut();
        headers.insert(HOST, header(&endpoint.wire_host)?);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols);

        let config = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .write_buffer_size(4 * 1024)
            .max_write_buffer_size(self.max_message.saturating_mul(2).max(64 * 1024))
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        let handshake = client_async_with_config(request, stream, Some(config));
        match tokio::time::timeout(self.timeout, handshake).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error @ tungstenite::Error::Http(_))) => Err(failed(error)),
            // Upstream rejected nothing: the connection was lost, or its bytes are not a response.
            Ok(Err(error)) => Err(Error::HandshakeBroken(Box::new(error))),
            Err(_) => Err(Error::HandshakeTimeout {
                after: self.timeout,
            }),
        }
    }
}
