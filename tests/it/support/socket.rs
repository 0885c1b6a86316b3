//! A client WebSocket.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use super::within;

/// A client WebSocket that speaks graphql-transport-ws by hand.
pub struct Socket<S = MaybeTlsStream<TcpStream>>(pub WebSocketStream<S>);

/// Builds the upgrade request.
fn upgrade(url: &str, headers: &[(&str, &str)]) -> http::Request<()> {
    let mut request = url.into_client_request().unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

impl Socket {
    pub async fn open(addr: SocketAddr, headers: &[(&str, &str)]) -> Self {
        Self::dial(addr, "/graphql", "graphql-transport-ws", headers).await
    }

    /// Opens a socket of another protocol.
    pub async fn dial(
        addr: SocketAddr,
        path: &str,
        protocol: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let mut request = upgrade(&format!("ws://{addr}{path}"), headers);
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol.parse().unwrap());
        let (socket, _) = within("an upgrade", connect_async(request)).await.unwrap();
        Self(socket)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Opens a socket on an existing connection.
    pub async fn open_on(stream: S, url: &str, headers: &[(&str, &str)]) -> Self {
        let opened = client_async(upgrade(url, headers), stream);
        let (socket, _) = within("an upgrade", opened).await.unwrap();
        Self(socket)
    }

    pub async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub async fn init(&mut self) {
        self.send(json!({ "type": "connection_init" })).await;
        assert_eq!(self.next().await["type"], "connection_ack");
    }

    pub async fn subscribe(&mut self, id: &str, query: &str) {
        let payload = json!({ "query": query });
        self.send(json!({ "id": id, "type": "subscribe", "payload": payload }))
            .await;
    }

    /// Returns the next text frame. Pings do not extend the timeout.
    pub async fn next(&mut self) -> Value {
        let text = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("no text frame but {other:?}"),
                }
            }
        };
        within("a frame", text).await
    }

    /// Returns the next frame with this id and skips the others.
    pub async fn next_of(&mut self, id: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["id"] == id {
                return frame;
            }
        }
    }

    /// Returns the close frame and skips text frames before it.
    pub async fn closed(&mut self) -> CloseFrame {
        let close = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return frame,
                    Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("no close but {other:?}"),
                }
            }
        };
        within("a close", close).await
    }
}
