//! Reads a body into memory.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;

/// The maximum initial capacity, in bytes. The length that a peer announces must not cause a larger
/// allocation.
const MAX_INITIAL_CAPACITY: usize = 256 * 1024;

/// Reads a body to its end.
///
/// Copies each piece when it arrives. Many small pieces, kept until the end, would fragment the heap, which
/// would then not shrink. A body that consists of a single piece is not copied.
///
/// # Errors
/// The error of the body.
pub async fn read_to_end<B>(mut body: B) -> Result<Bytes, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        if first.is_empty() && all.is_empty() {
            first = piece;
            continue;
        }
        if all.is_empty() {
            let remaining =
                usize::try_from(body.size_hint().lower()).unwrap_or(MAX_INITIAL_CAPACITY);
            all.reserve(
                (first.len() + piece.len())
                    .saturating_add(remaining)
                    .min(MAX_INITIAL_CAPACITY),
            );
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&piece);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    async fn joined(pieces: &[&'static str]) -> Bytes {
        let frames: Vec<Result<Frame<Bytes>, Infallible>> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        let trailers = Ok(Frame::trailers(http::HeaderMap::new()));
        let frames = frames.into_iter().chain([trailers]);
        read_to_end(StreamBody::new(stream::iter(frames)))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn pieces_are_joined_in_order() {
        assert_eq!(joined(&[]).await, "");
        assert_eq!(joined(&["ab"]).await, "ab");
        assert_eq!(joined(&["ab", "", "c", "def"]).await, "abcdef");
        assert_eq!(joined(&["", "ab", ""]).await, "ab");
    }

    #[tokio::test]
    async fn a_single_piece_is_not_copied() {
        let piece = Bytes::from_static(b"abc");
        let body = http_body_util::Full::new(piece.clone());
        assert_eq!(read_to_end(body).await.unwrap().as_ptr(), piece.as_ptr());
    }
}
