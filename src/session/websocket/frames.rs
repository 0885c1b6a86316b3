//! The frames that are being written to a client's WebSocket.
//!
//! Short frames are written from one buffer. The payload of a long event is neither copied nor
//! fragmented: it is written from the buffer that upstream's frame was read into, which the clients of
//! the same event share. Nothing is allocated while nothing is being written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use countersign_protocol::dialect::EventFrame;
use tokio::io::AsyncWrite;

/// Text frames that have not been written completely.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Parts of frames, in order.
    parts: VecDeque<Bytes>,
    /// The part after those.
    last: Vec<u8>,
}

/// A text up to this length is copied, because another part of a write costs more.
const COPIED: usize = 1024;
/// The maximum number of parts that are written at once.
const MAX_PARTS: usize = 16;
/// The first byte of a text frame that is a complete message (RFC 6455, section 5.2).
const TEXT: u8 = 0x81;
/// Values of the second byte for a length in two and in eight bytes.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
const MAX_HEADER: usize = 10;

impl Frames {
    pub(super) fn push_text(&mut self, text: String) {
        self.push_header(text.len(), copied(text.len()));
        self.push(text.into());
    }

    pub(super) fn push_event(&mut self, frame: EventFrame) {
        let EventFrame {
            head,
            payload,
            tail,
        } = frame;
        let around = head.len() + tail.len();
        self.push_header(around + payload.len(), around + copied(payload.len()));
        self.last.extend_from_slice(head.as_bytes());
        self.push(payload.to_bytes());
        self.last.extend_from_slice(tail.as_bytes());
    }

    /// Begins a frame of `length`, of which `copied` bytes will be copied.
    fn push_header(&mut self, length: usize, copied: usize) {
        if self.last.is_empty() {
            self.last.reserve_exact(MAX_HEADER + copied);
        } else {
            self.last.reserve(MAX_HEADER + copied);
        }
        self.last.push(TEXT);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < LENGTH_16 => self.last.push(short),
            (_, Ok(medium)) => {
                self.last.push(LENGTH_16);
                self.last.extend_from_slice(&medium.to_be_bytes());
            }
            (_, Err(_)) => {
                self.last.push(LENGTH_64);
                self.last.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
    }

    fn push(&mut self, text: Bytes) {
        if copied(text.len()) == text.len() {
            self.last.extend_from_slice(&text);
        } else {
            self.seal();
            self.parts.push_back(text);
        }
    }

    fn seal(&mut self) {
        if !self.last.is_empty() {
            self.parts.push_back(std::mem::take(&mut self.last).into());
        }
    }

    /// Writes the frames. Cancel safe.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        self.seal();
        while let Some(first) = self.parts.front() {
            let writer = Pin::new(&mut *writer);
            let written = if self.parts.len() == 1 {
                ready!(writer.poll_write(cx, first))?
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_PARTS];
                for (slice, part) in slices.iter_mut().zip(&self.parts) {
                    *slice = IoSlice::new(part);
                }
                let count = self.parts.len().min(MAX_PARTS);
                let slices = slices.get(..count).unwrap_or_default();
                ready!(writer.poll_write_vectored(cx, slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        self.parts = VecDeque::new();
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.parts.front_mut() {
            if written < first.len() {
                return first.advance(written);
            }
            written -= first.len();
            self.parts.pop_front();
        }
    }
}

/// Returns how many bytes of a text of this length are copied.
fn copied(length: usize) -> usize {
    if length <= COPIED { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use countersign_protocol::graphql::Json;
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    fn json(length: usize) -> Json {
        let text = format!("\"{}\"", "x".repeat(length - 2));
        Json::parse(Bytes::from(text)).unwrap()
    }

    fn event(payload: &Json) -> EventFrame {
        EventFrame {
            head: "{\"payload\":".to_owned(),
            payload: payload.clone(),
            tail: "}",
        }
    }

    /// Writes frames to a client through a pipe of this size. Returns the texts that it receives.
    async fn received(mut frames: Frames, pipe: usize) -> Vec<String> {
        let (mut ours, theirs) = duplex(pipe);
        let writing = async move {
            poll_fn(|cx| frames.poll_write(cx, &mut ours))
                .await
                .unwrap();
            ours.shutdown().await.unwrap();
        };
        let reading = async {
            let mut socket = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
            let mut texts = Vec::new();
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else {
                    panic!("{message:?}");
                };
                texts.push(text.to_string());
            }
            texts
        };
        tokio::join!(writing, reading).1
    }

    #[tokio::test]
    async fn frames_of_all_lengths_arrive_as_they_were_written() {
        for pipe in [7, 1 << 20] {
            let mut frames = Frames::default();
            let mut expected = Vec::new();
            let edges = [
                2,
                113,
                114,
                115,
                COPIED,
                COPIED + 1,
                0xffff - 12,
                0xffff,
                0x1_0000,
            ];
            for length in edges {
                frames.push_event(event(&json(length)));
                expected.push(String::from(event(&json(length))));
                let text = "y".repeat(length);
                expected.push(text.clone());
                frames.push_text(text);
            }
            assert_eq!(received(frames, pipe).await, expected, "{pipe}");
        }
    }

    #[test]
    fn clients_of_an_event_share_its_payload() {
        let payload = json(100_000);
        let mut frames = Frames::default();
        frames.push_event(event(&payload));
        frames.push_event(event(&payload));
        let shared = frames
            .parts
            .iter()
            .filter(|part| part.as_ptr() == payload.as_bytes().as_ptr());
        assert_eq!(shared.count(), 2);
        let copied: usize = frames.parts.iter().map(Bytes::len).sum();
        assert!(copied + frames.last.len() < 200_100);
    }

    #[tokio::test]
    async fn written_frames_leave_no_memory() {
        let mut frames = Frames::default();
        frames.push_text("a".to_owned());
        frames.push_event(event(&json(COPIED + 1)));
        poll_fn(|cx| frames.poll_write(cx, &mut tokio::io::sink()))
            .await
            .unwrap();
        assert_eq!((frames.parts.capacity(), frames.last.capacity()), (0, 0));
    }
}
