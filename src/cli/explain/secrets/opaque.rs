//! Masks what looks like a secret in quoted parts of the inputs, whatever its name is: letters and digits
//! that are mixed without being a word, a date, a hash, or a name of AWS.

use crate::diagnose::display::MASK;

/// The shortest text that is masked, and the shortest part that is masked beside another one.
const MIN_OPAQUE: usize = 16;
const MIN_PART: usize = 5;
/// A word of this length in small letters is not a part of a secret.
const MIN_WORD: usize = 5;
/// How the names of hosts of AWS end, and the identifiers of its principals begin.
const HOSTS: [&str; 3] = [".amazonaws.com", ".on.aws", ".api.aws"];
const IDENTIFIERS: [&str; 6] = ["AKIA", "ASIA", "AROA", "AIDA", "AGPA", "ANPA"];

/// What a text is quoted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    /// It shows what the input is.
    Line,
    /// It is compared, so hashes and the characters between parts stay.
    Difference,
}

/// How a part without separators looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A long word in small letters.
    Word,
    /// A name, a number, a date.
    Plain,
    /// It may be a part of a secret.
    Neutral,
    Opaque,
}

struct Part {
    start: usize,
    end: usize,
    kind: Kind,
}

/// Returns the text with everything masked that looks like a secret.
pub(super) fn masked(text: &str, quote: Quote) -> String {
    let bytes = text.as_bytes();
    // Ranges, and whether each is masked.
    let mut spans: Vec<(usize, usize, bool)> = Vec::new();
    let mut at = 0;
    for run in bytes.split(|byte| !is_of_run(*byte)) {
        let is_arn = is_in_arn(bytes, at);
        if !is_arn {
            spans_of_run(bytes, at, at + run.len(), quote, &mut spans);
        }
        at += run.len() + 1;
    }
    // A secret may be broken over lines.
    for index in 1..spans.len() {
        join(bytes, &mut spans, index - 1, index);
    }
    for index in (1..spans.len()).rev() {
        join(bytes, &mut spans, index, index - 1);
    }
    let mut out = String::with_capacity(text.len());
    let mut written = 0;
    for (start, end, _) in spans.iter().filter(|span| span.2) {
        out.push_str(text.get(written..*start).unwrap_or_default());
        match quote {
            Quote::Line => out.push_str(MASK),
            Quote::Difference => {
                for part in parts(bytes, *start, *end) {
                    out.push_str(
                        text.get(written.max(*start)..part.start)
                            .unwrap_or_default(),
                    );
                    if part.end > part.start {
                        out.push_str(MASK);
                    }
                    written = part.end;
                }
            }
        }
        written = *end;
    }
    out.push_str(text.get(written..).unwrap_or_default());
    out
}

fn is_of_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-.~%".contains(&byte)
}

/// Returns whether the word in which a run begins is an ARN.
fn is_in_arn(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`,()[]{}<>".contains(byte);
    let near = before.len().saturating_sub(256);
    let before = before.get(near..).unwrap_or_default();
    let word = before.rsplit(is_end).next().unwrap_or_default();
    word.starts_with(b"arn:aws")
}

/// Masks a range if it continues a masked one.
fn join(bytes: &[u8], spans: &mut [(usize, usize, bool)], from: usize, to: usize) {
    let (Some(one), Some(other)) = (spans.get(from).copied(), spans.get(to).copied()) else {
        return;
    };
    let between = bytes.get(one.1.min(other.1)..one.0.max(other.0));
    let is_break = |byte: &u8| byte.is_ascii_whitespace() || b">|\"'\\".contains(byte);
    let is_joined = between.is_some_and(|between| between.iter().all(is_break));
    if one.2
        && is_joined
        && other.1 - other.0 >= MIN_PART
        && let Some(span) = spans.get_mut(to)
    {
        span.2 = true;
    }
}

/// Appends the ranges of a run that look like secrets or parts of them.
fn spans_of_run(
    bytes: &[u8],
    start: usize,
    end: usize,
    quote: Quote,
    spans: &mut Vec<(usize, usize, bool)>,
) {
    let mut parts = parts(bytes, start, end);
    except_hosts(bytes, start, end, &mut parts);
    if quote == Quote::Difference {
        except_hashes(bytes, &mut parts);
    }
    let is_end = |part: &Part| {
        part.kind == Kind::Word || part.end > part.start && ends_text(bytes.get(part.end))
    };
    for group in parts.split_inclusive(is_end) {
        let is_opaque = |part: &&Part| part.kind == Kind::Opaque;
        let (Some(first), Some(last)) = (
            group.iter().position(|part| is_opaque(&part)),
            group.iter().rposition(|part| is_opaque(&part)),
        ) else {
            continue;
        };
        let is_like = |part: &&Part| part.kind == Kind::Neutral || part.start == part.end;
        let before = group.iter().take(first).rev().take_while(is_like).count();
        let after = group.iter().skip(last + 1).take_while(is_like).count();
        let range = group.get(first - before..=last + after).unwrap_or_default();
        let mut whole = range.iter().filter(|part| part.end > part.start);
        let start = whole.next().map_or(0, |part| part.start);
        let end = whole.next_back().map_or_else(
            || group.get(last).map_or(start, |part| part.end),
            |part| part.end,
        );
        // A secret may be cut.
        let is_cut = bytes
            .get(end..)
            .is_some_and(|rest| rest.starts_with("…".as_bytes()));
        let shortest = if is_cut { MIN_PART } else { MIN_OPAQUE };
        spans.push((start, end, end - start >= shortest));
    }
}

/// Returns whether the text before a separator is not continued after it.
fn ends_text(separator: Option<&u8>) -> bool {
    matches!(separator, Some(b'.' | b'~'))
}

/// Splits a run at each separator, which may be encoded.
fn parts(bytes: &[u8], start: usize, end: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut from = start;
    let mut at = start;
    let mut push = |from: usize, to: usize| {
        let kind = kind(bytes.get(from..to).unwrap_or_default());
        parts.push(Part {
            start: from,
            end: to,
            kind,
        });
    };
    while at < end {
        let byte = bytes.get(at).copied().unwrap_or_default();
        if byte.is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        push(from, at);
        at += 1;
        let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        if byte == b'%' && at + 1 < end && is_hex(at) && is_hex(at + 1) {
            at += 2;
        }
        from = at;
    }
    push(from, end);
    parts
}

fn kind(part: &[u8]) -> Kind {
    let has = |is_of: fn(&u8) -> bool| part.iter().any(is_of);
    let rest = part.get(1..).unwrap_or_default();
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    let is_word = |text: &[u8]| {
        let rest = text.get(1..).unwrap_or_default();
        rest.iter().all(u8::is_ascii_lowercase) || text.iter().all(u8::is_ascii_uppercase)
    };
    if !has(u8::is_ascii_digit) {
        let is_mixed = rest.iter().any(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
        return if is_mixed {
            Kind::Neutral
        } else if part.len() >= MIN_WORD && has(u8::is_ascii_lowercase) {
            Kind::Word
        } else {
            Kind::Plain
        };
    }
    let letters = part.iter().take_while(|byte| byte.is_ascii_alphabetic());
    let (word, number) = part.split_at(letters.count());
    let is_numbered = part.len() < MIN_OPAQUE && is_word(word) && digits(number);
    let is_time = matches!(part, [date @ .., b'T', _, _, _, _, _, _, b'Z'] if digits(date));
    let is_identifier = IDENTIFIERS
        .iter()
        .any(|start| part.starts_with(start.as_bytes()))
        && !has(u8::is_ascii_lowercase)
        && part.len() <= 2 * MIN_OPAQUE;
    if digits(part) || is_numbered || is_time || is_identifier {
        Kind::Plain
    } else {
        Kind::Opaque
    }
}

/// The labels of a host of AWS are not secret.
fn except_hosts(bytes: &[u8], start: usize, end: usize, parts: &mut [Part]) {
    let run = bytes.get(start..end).unwrap_or_default();
    let mut at = start;
    for component in run.split(|byte| *byte == b'/') {
        let text = std::str::from_utf8(component).unwrap_or_default();
        let lower = text.to_ascii_lowercase();
        if HOSTS.iter().any(|host| lower.contains(host)) {
            let is_inside = |part: &&mut Part| part.start >= at && part.end <= at + text.len();
            for part in parts.iter_mut().filter(is_inside) {
                part.kind = Kind::Word;
            }
        }
        at += component.len() + 1;
    }
}

/// Neither are hashes, and UUIDs.
fn except_hashes(bytes: &[u8], parts: &mut [Part]) {
    let is_hex = |part: &Part, length: usize| {
        let text = bytes.get(part.start..part.end).unwrap_or_default();
        text.len() == length && text.iter().all(u8::is_ascii_hexdigit)
    };
    for part in &mut *parts {
        if is_hex(part, 64) {
            part.kind = Kind::Word;
        }
    }
    let lengths = [8, 4, 4, 4, 12];
    for start in 0..parts.len() {
        let Some(parts) = parts.get_mut(start..start + lengths.len()) else {
            return;
        };
        if parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| is_hex(part, length))
        {
            for part in parts {
                part.kind = Kind::Word;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        let key = "Zq9xLmP3vT+K8bWn/RtYc5hJdGfAs2QeUi7OoXzB";
        for text in [
            key,
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "InR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0",
            "3f2a9c1d8e7b6a5f4c3d2e1f0a9b8c7d",
            "Zq9xLmP3vT+K8bWn/RtYc\n> 5hJdGfAs2QeUi7OoXzB",
            "Zq9xLmP3vT+K8bWn/RtYc5hJdGfA s2QeUi7OoXzB",
            "Zq9xLmP3vT%2BK8bWn%2FRtYc5hJdGfAs2QeUi7OoXzB",
        ] {
            for quote in [Quote::Line, Quote::Difference] {
                let masked = masked(&format!("it is {text}: x"), quote);
                assert!(masked.starts_with("it is [redacted]"), "{masked}");
                assert!(masked.ends_with("[redacted]: x"), "{masked}");
                for piece in text.as_bytes().windows(6) {
                    let piece = String::from_utf8_lossy(piece);
                    assert!(!masked.contains(&*piece), "{text}\n→ {masked}");
                }
            }
        }
    }

    #[test]
    fn encodings_between_masked_parts_stay_comparable() {
        let masked = |text| masked(text, Quote::Difference);
        assert_eq!(
            masked("c=Zq9xLmP3vT%2BK8bWnRtYc5%3D&a=1"),
            "c=[redacted]%2B[redacted]%3D&a=1"
        );
        assert_eq!(
            masked("c=Zq9xLmP3vT+K8bWnRtYc5=&a=1"),
            "c=[redacted]+[redacted]=&a=1"
        );
    }

    #[test]
    fn names_of_aws_dates_and_words_stay() {
        for text in [
            "AKIAIOSFODNN7EXAMPLE/20260115/us-east-1/appsync/aws4_request",
            "20260115T120000Z",
            "Thu, 15 Jan 2026 12:00:00 GMT",
            "AWS4-HMAC-SHA256",
            "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "https://abcdefghij1234567890klmnop.appsync-api.us-east-1.amazonaws.com/graphql",
            "vpce-0a1b2c3d4e5f67890-abcdefgh.execute-api.us-east-1.vpce.amazonaws.com",
            "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Admin_1a2b3c4d5e6f7a8b/x1y2z3a4b5c6d7e8f9",
            "host;x-amz-content-sha256;x-amz-date;x-amz-security-token",
            "application/json; charset=utf-8",
            "/prod/v1/customers/12ab/orders/9f3c",
            "Boto3/1.28.1 md/Botocore#1.31.1 os/linux#5.15.0-1034-aws md/arch#x86_64 lang/python#3.11.4",
            "An error occurred (UnrecognizedClientException) when calling the ListRoomsByOrganization operation",
        ] {
            for quote in [Quote::Line, Quote::Difference] {
                assert_eq!(masked(text, quote), text);
            }
        }
        for text in [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "/prod/rooms/550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert_eq!(masked(text, Quote::Difference), text);
        }
    }
}
