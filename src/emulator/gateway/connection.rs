//! An HTTP/1.1 connection, read from its raw bytes: heads, bodies, responses, and upgrades.
//!
//! No HTTP library is used, so that signatures are verified over the bytes that were sent. Requests are
//! read one at a time. Nothing is read after a malformed request.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::body::{Chunks, GatewayBody, GatewayResponse};
use super::error::GatewayError;
use super::head::{self, Framing, Head, MalformedRequest};
use super::request::{MAX_BODY, handle_request};
use super::sockets;
use super::state::Gateway;
use super::websocket::RequestOutcome;

struct Connection<S> {
    stream: S,
    /// Bytes that were read but not yet consumed.
    buffer: BytesMut,
}

/// The reason why a body could not be read.
enum BodyError {
    TooLarge,
    Malformed(MalformedRequest),
    Io(io::Error),
}

/// Serves requests until either side ends the connection. `read` holds the bytes of the first
/// request that were already read.
pub(crate) async fn serve<S>(gateway: &Gateway, stream: S, read: BytesMut)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let connection = Connection {
        stream,
        buffer: read,
    };
    if let Err(error) = run(gateway, connection).await {
        tracing::debug!(exception.message = %error, "gateway connection ended");
    }
}

/// Reads up to the end of the first head, or as much of it as the client sends.
pub(crate) async fn read_first_head<S>(stream: &mut S) -> io::Result<BytesMut>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = BytesMut::new();
    while head::end(&buffer).is_none() && buffer.len() < MAX_HEAD {
        let read = tokio::time::timeout(HEAD_TIMEOUT, stream.read_buf(&mut buffer)).await??;
        if read == 0 {
            break;
        }
    }
    Ok(buffer)
}

async fn run<S>(gateway: &Gateway, mut connection: Connection<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        let head = match connection.read_head().await? {
            Some(Ok(head)) => head,
            Some(Err(error)) => return connection.reject(&error).await,
            None => return Ok(()),
        };
        if gateway.context.switches.settings().refuse_connections {
            return Ok(());
        }
        let body = match connection.read_body(&head).await {
            Ok(body) => Ok(body),
            Err(BodyError::TooLarge) => Err(GatewayError::TooLarge),
            Err(BodyError::Malformed(error)) => return connection.reject(&error).await,
            Err(BodyError::Io(error)) => return Err(error),
        };
        let is_body_read = body.is_ok();
        match handle_request(gateway, &head, body).await {
            RequestOutcome::Response(response) => {
                let close_after = !is_body_read || head.has_item("connection", "close");
                connection
                    .write(&head.method, response, close_after)
                    .await?;
                if close_after {
                    return connection.close().await;
                }
            }
            RequestOutcome::Upgrade(upgrade) => {
                connection.write_upgrade(&upgrade.headers).await?;
                let read = connection.buffer.split().freeze();
                let (context, open) = (&gateway.context, &gateway.sockets);
                sockets::drive(context, open, connection.stream, read, upgrade.service).await;
                return Ok(());
            }
        }
    }
}

// === impl Connection ===

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Reads a head. Returns `None` if the client sends no further request.
    async fn read_head(&mut self) -> io::Result<Option<Result<Head, MalformedRequest>>> {
        loop {
            if let Some(end) = head::end(&self.buffer) {
                let raw = self.buffer.split_to(end);
                return Ok(Some(Head::parse(&raw)));
            }
            if self.buffer.len() > MAX_HEAD {
                return Ok(Some(Err(MalformedRequest("head too large"))));
            }
            let read = self.fill(HEAD_TIMEOUT).await?;
            match (read, self.buffer.is_empty()) {
                (0, true) => return Ok(None),
                (0, false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }

    async fn read_body(&mut self, head: &Head) -> Result<Bytes, BodyError> {
        let framing = head.framing().map_err(BodyError::Malformed)?;
        if framing == Framing::Length(0) {
            return Ok(Bytes::new());
        }
        if matches!(framing, Framing::Length(length) if length > MAX_BODY) {
            return Err(BodyError::TooLarge);
        }
        if head.has_item("expect", "100-continue") {
            let sent = self
                .stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await;
            sent.map_err(BodyError::Io)?;
            self.stream.flush().await.map_err(BodyError::Io)?;
        }
        match framing {
            Framing::Length(length) => self.read_exact(length).await.map_err(BodyError::Io),
            Framing::Chunked => self.read_chunked_body().await,
        }
    }

    async fn read_chunked_body(&mut self) -> Result<Bytes, BodyError> {
        let mut body = BytesMut::new();
        loop {
            let line = self.read_line().await.map_err(BodyError::Io)?;
            let size = String::from_utf8_lossy(&line);
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| BodyError::Malformed(MalformedRequest("bad chunk size")))?;
            if size == 0 {
                break;
            }
            if body.len().saturating_add(size) > MAX_BODY {
                return Err(BodyError::TooLarge);
            }
            body.extend(self.read_exact(size).await.map_err(BodyError::Io)?);
            if !self.read_line().await.map_err(BodyError::Io)?.is_empty() {
                return Err(BodyError::Malformed(MalformedRequest("bad chunk")));
            }
        }
        // Trailers are read and ignored.
        while !self.read_line().await.map_err(BodyError::Io)?.is_empty() {}
        Ok(body.freeze())
    }

    async fn read_exact(&mut self, length: usize) -> io::Result<Bytes> {
        while self.buffer.len() < length {
            if self.fill(BODY_TIMEOUT).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn read_line(&mut self) -> io::Result<Bytes> {
        loop {
            let end = self.buffer.windows(2).position(|window| window == b"\r\n");
            if let Some(end) = end {
                let line = self.buffer.split_to(end).freeze();
                self.buffer.advance(2);
                return Ok(line);
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.fill(BODY_TIMEOUT).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn fill(&mut self, limit: Duration) -> io::Result<usize> {
        let reading = self.stream.read_buf(&mut self.buffer);
        tokio::time::timeout(limit, reading).await?
    }

    async fn reject(&mut self, error: &MalformedRequest) -> io::Result<()> {
        tracing::info!(reason = error.0, "bad request");
        let body = format!(r#"{{"message":"Bad Request: {}"}}"#, error.0);
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.close().await
    }

    async fn write(
        &mut self,
        method: &Method,
        response: GatewayResponse,
        close_after: bool,
    ) -> io::Result<()> {
        let (parts, body) = response.into_parts();
        let is_bodiless = matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        let mut head = status_line(parts.status);
        for (name, value) in &parts.headers {
            head.extend(name.as_str().as_bytes());
            head.extend(b": ");
            head.extend(value.as_bytes());
            head.extend(b"\r\n");
        }
        match &body {
            _ if is_bodiless => {}
            GatewayBody::Full(bytes) => {
                head.extend(format!("content-length: {}\r\n", bytes.len()).as_bytes());
            }
            GatewayBody::Chunked(_) => head.extend(b"transfer-encoding: chunked\r\n"),
        }
        if close_after {
            head.extend(b"connection: close\r\n");
        }
        head.extend(b"\r\n");
        self.stream.write_all(&head).await?;
        match body {
            _ if is_bodiless || *method == Method::HEAD => {}
            GatewayBody::Full(bytes) => self.stream.write_all(&bytes).await?,
            GatewayBody::Chunked(chunks) => self.write_chunks(chunks).await?,
        }
        self.stream.flush().await
    }

    /// Writes the chunks, and stops when the client closes the connection.
    async fn write_chunks(&mut self, mut chunks: Chunks) -> io::Result<()> {
        self.stream.flush().await?;
        loop {
            let can_read = self.buffer.len() < MAX_HEAD;
            tokio::select! {
                chunk = chunks.next() => match chunk {
                    Some(chunk) => {
                        let chunk = chunk?;
                        let size = format!("{:x}\r\n", chunk.len());
                        let framed = [size.as_bytes(), &chunk, b"\r\n"].concat();
                        self.stream.write_all(&framed).await?;
                        self.stream.flush().await?;
                    }
                    None => break,
                },
                read = self.stream.read_buf(&mut self.buffer), if can_read => {
                    if !matches!(read, Ok(1..)) {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
            }
        }
        self.stream.write_all(b"0\r\n\r\n").await
    }

    async fn write_upgrade(&mut self, headers: &http::HeaderMap) -> io::Result<()> {
        let mut head = status_line(StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in headers {
            head.extend(name.as_str().as_bytes());
            head.extend(b": ");
            head.extend(value.as_bytes());
            head.extend(b"\r\n");
        }
        head.extend(b"\r\n");
        self.stream.write_all(&head).await?;
        self.stream.flush().await
    }

    /// Closes the connection, after reading what the client still sends: unread bytes would cause a
    /// reset, which could discard the last response.
    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let drain = async {
            self.buffer.clear();
            while matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                self.buffer.clear();
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, drain).await;
        Ok(())
    }
}

fn status_line(status: StatusCode) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes()
}

/// API Gateway accepts 10,240 bytes. More are accepted here so that the echo shows what was sent.
const MAX_HEAD: usize = 64 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
