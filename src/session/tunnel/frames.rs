//! Finds the boundaries of WebSocket frames and messages in a stream of bytes (RFC 6455, section 5.2).
//! It neither changes nor validates them: in bytes that are not WebSocket frames it may find none.

/// Follows one direction of a WebSocket.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    /// How many bytes of the current payload have not arrived.
    remaining: u64,
    is_in_message: bool,
}

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// This opcode and higher ones are control frames, which may occur within a message.
const CONTROL: u8 = 0x8;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;

impl Frames {
    /// Reads the next bytes.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = usize::try_from(self.remaining)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            bytes = &bytes[skipped..];
            self.remaining -= skipped as u64;
            let Some((byte, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            self.header.push(*byte);
            if let Some(length) = payload_length(&self.header) {
                self.remaining = length;
                self.end_header();
            }
        }
    }

    fn end_header(&mut self) {
        if let Some(first) = self.header.first()
            && first & OPCODE < CONTROL
        {
            self.is_in_message = first & FIN == 0;
        }
        self.header.clear();
    }

    /// Returns whether a message or a control frame may be inserted at this point.
    pub(super) fn is_between_messages(&self) -> bool {
        self.remaining == 0 && self.header.is_empty() && !self.is_in_message
    }
}

/// Returns the length of the payload; `None` while the header is incomplete.
fn payload_length(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let extended = match second & LENGTH {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    if header.len() < 2 + extended + mask {
        return None;
    }
    let big_endian = |bytes: &[u8]| {
        let step = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        bytes.iter().fold(0, step)
    };
    Some(match extended {
        0 => u64::from(second & LENGTH),
        _ => big_endian(&header[2..2 + extended]),
    })
}

/// Returns a close frame; with a masking key, as a client sends it.
pub(super) fn close(code: u16, mask: Option<[u8; 4]>) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes(), mask)
}

/// Returns a text message in one frame; with a masking key, as a client sends it.
pub(super) fn text(text: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    frame(TEXT, text.as_bytes(), mask)
}

fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![FIN | opcode];
    let masked = if mask.is_some() { MASKED } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < 126 => frame.push(masked | length),
        (_, Ok(length)) => {
            frame.push(masked | 126);
            frame.extend(length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(masked | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    frame.extend(mask.iter().flatten());
    let masked = payload.iter().zip(key.iter().cycle());
    frame.extend(masked.map(|(byte, key)| byte ^ key));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks after which bytes another message may begin, whether they are read one by one or at once.
    #[track_caller]
    fn check(bytes: &[u8], expected: &[usize]) {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            frames.advance(&[*byte]);
            if frames.is_between_messages() {
                found.push(at + 1);
            }
        }
        assert_eq!(found, expected, "{bytes:02x?}");
        let mut whole = Frames::default();
        whole.advance(bytes);
        assert_eq!(
            whole.is_between_messages(),
            found.last() == Some(&bytes.len()),
            "{bytes:02x?} at once"
        );
    }

    #[test]
    fn messages_end_with_their_last_frame() {
        let key = Some([1, 2, 3, 4]);
        check(&text("ab", None), &[4]);
        check(&text("ab", key), &[8]);
        check(&text("", None), &[2]);
        check(&text("", key), &[6]);
        check(&close(1012, None), &[4]);
        check(&[text("a", None), text("b", None)].concat(), &[3, 6]);
        // A ping within a fragmented message.
        check(&[0x01, 1, b'a', 0x89, 0, 0x00, 0, 0x80, 1, b'b'], &[10]);
        // Compressed.
        check(&[0xc1, 1, 0], &[3]);
    }

    #[test]
    fn every_length_is_followed() {
        for length in [125, 126, 127, 65_535, 65_536, 70_000] {
            for mask in [None, Some([9, 8, 7, 6])] {
                let bytes = text(&"x".repeat(length), mask);
                let mut frames = Frames::default();
                frames.advance(&bytes[..bytes.len() - 1]);
                assert!(!frames.is_between_messages(), "{length}");
                frames.advance(&bytes[bytes.len() - 1..]);
                assert!(frames.is_between_messages(), "{length}");
            }
        }
    }

    #[test]
    fn a_frame_that_never_ends_is_followed() {
        let mut frames = Frames::default();
        frames.advance(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]);
        frames.advance(&[0; 4096]);
        assert!(!frames.is_between_messages());
    }
}
