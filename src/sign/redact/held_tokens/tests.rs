//! Tests that tokens are masked in every encoding, in one piece and in several.

use super::*;

const TOKEN: &str = "IQoJb3JpZ2luKNOWN/ab+cd/EF0123456789zyxwvutsrqponm/q+==";

/// Returns the token in all encodings.
fn forms() -> Vec<String> {
    let percent = |text: &str, case: fn(String) -> String| {
        let bytes = text.bytes().map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => case(format!("%{byte:02X}")),
        });
        bytes.collect::<String>()
    };
    let each = |form: &dyn Fn(u8) -> String| TOKEN.bytes().map(form).collect::<String>();
    let once = percent(TOKEN, |text| text);
    let mut forms = vec![
        TOKEN.to_owned(),
        percent(TOKEN, |text| text.to_ascii_lowercase()),
        percent(&once, |text| text),
        percent(&percent(&once, |text| text), |text| text),
        once,
        each(&|byte| format!("%{byte:02x}")),
        TOKEN.replace('/', "\\/"),
        TOKEN.replace('/', "\\\\/").replace('+', "\\\\u002B"),
        TOKEN
            .replace('/', "\\/")
            .replace('+', "\\u002b")
            .replace('=', "\\u003d"),
        each(&|byte| format!("\\u00{byte:02x}")),
        TOKEN.replace('+', "\\x2b").replace('=', "\\x3D"),
        TOKEN
            .replace('+', "&#43;")
            .replace('/', "&#x2F;")
            .replace('=', "&#61;"),
        TOKEN
            .replace('+', "&plus;")
            .replace('/', "&sol;")
            .replace('=', "&equals;"),
        TOKEN.replace('+', "&amp;#43;").replace('/', "&amp;#x2f;"),
        TOKEN.replace('+', "-").replace('/', "_"),
        TOKEN[..MIN_PREFIX].to_owned(),
    ];
    for before in ["", "{\"x\":\"", "{\"xy\":\"", "{\"xyz\":\""] {
        let text = STANDARD_NO_PAD.encode(format!("{before}{TOKEN}\"}}"));
        forms.push(text.replace('+', "-").replace('/', "_"));
        forms.push(text);
    }
    forms
}

/// Checks that no decodable part of the token remains.
#[track_caller]
fn check_clean(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let encoded = STANDARD_NO_PAD.encode(TOKEN);
    for part in [
        "KNOWN",
        "23456789zyx",
        "\\u004e\\u004f",
        "%4e%4f%57",
        &encoded[20..40],
    ] {
        assert!(!text.contains(part), "{what}: {text}");
    }
}

#[test]
fn every_encoding_of_a_known_token_is_masked() {
    register(TOKEN);
    for form in forms() {
        for (before, after) in [
            ("", ""),
            ("x=", "&y"),
            ("{\"message\":\"\\n", "\\n\"}"),
            ("I", "I"),
            ("%", "%2"),
            ("", "\\u00"),
        ] {
            let text = format!("{before}{form}{after}");
            let masked = mask_known(text.as_bytes());
            check_clean(&text, &masked);
            assert_eq!(masked.len(), text.len(), "{text}");
            assert!(masked.starts_with(before.as_bytes()), "{text}");
            let again = mask_known(&masked).into_owned();
            assert_eq!(again, *masked, "{text}");
            assert!(masked.ends_with(after.as_bytes()), "{text}");
        }
    }
}

#[test]
fn tokens_that_are_split_between_pieces_are_masked() {
    register(TOKEN);
    for form in forms() {
        let text = format!("before {form} after");
        for size in [1, 2, 3, 5, 7, 16, 31, 64, 1000] {
            let mut stream = MaskingStream::default();
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
            }
            out.extend_from_slice(&stream.finish());
            assert!(stream.is_empty());
            assert_eq!(out.len(), text.len(), "{text}");
            check_clean(&format!("{size}: {text}"), &out);
            assert!(
                out.starts_with(b"before ") && out.ends_with(b" after"),
                "{text}"
            );
        }
    }
}

#[test]
fn other_text_is_unchanged() {
    register(TOKEN);
    register("short");
    for text in [
        "",
        "short",
        "IQoJ",
        "IQoJb3JpZ2luOTHER/ab+cd",
        "{\"data\":{\"a\":\"I\\u0051\\/ %49 &#73; &amp;\"}}",
        "100%",
        "%zz %2 \\u \\",
        "&#x;&;",
        "é\u{2028}",
        "data: {\"a\":\"b\\\"\\n\"}\n",
    ] {
        assert!(
            matches!(mask_known(text.as_bytes()), Cow::Borrowed(_)),
            "{text}"
        );
        let piece = Bytes::from(text.to_owned());
        assert_eq!(mask_known_body(piece.clone()), piece);
        // Bytes that cannot begin a token are not held back.
        let mut stream = MaskingStream::default();
        let line = Bytes::from(text);
        assert_eq!(stream.push(line.clone()), line, "{text}");
    }
}

#[test]
fn tokens_are_found_at_every_position() {
    let held = HeldTokens::of(VecDeque::from([TOKEN.into()]));
    // The bytes before it may begin a token, too.
    for filling in ["a", "I", "&"] {
        for start in [
            0,
            1,
            WINDOW - 1,
            WINDOW,
            WINDOW + 1,
            2 * WINDOW,
            5 * WINDOW - 9,
        ] {
            let text = filling.repeat(start) + TOKEN + "\"}";
            let found = held.next(text.as_bytes(), 0);
            assert_eq!(
                found,
                Some((start, start + TOKEN.len())),
                "{filling} {start}"
            );
            assert_eq!(held.next(text.as_bytes(), start + 1), None);
        }
    }
}

#[test]
fn first_character_may_be_of_either_alphabet_of_base64() {
    let rest = "b/c+d0123456789zyxwvutsrqponm";
    for first in ["+", "-", "/", "_"] {
        let held = HeldTokens::of(VecDeque::from([[first, rest].concat().into()]));
        for written in ["+", "-", "/", "_"] {
            let text = [written, rest].concat();
            let is_same =
                normalize_base64(first.as_bytes()[0]) == normalize_base64(written.as_bytes()[0]);
            assert_eq!(
                held.next(text.as_bytes(), 0).is_some(),
                is_same,
                "{first} {written}"
            );
        }
    }
}

#[test]
fn number_of_tokens_and_scanned_bytes_are_bounded() {
    let mut tokens = VecDeque::new();
    for number in 0..100 {
        tokens = push_bounded(tokens, &format!("{number:03}-number-of-a-token"));
    }
    assert_eq!(tokens.len(), MAX_TOKENS);
    assert_eq!(
        tokens.back().map(|last| &**last),
        Some("099-number-of-a-token")
    );
    register(TOKEN);
    let mut stream = MaskingStream::default();
    let long = Bytes::from(vec![b' '; MAX_SCANNED]);
    assert_eq!(stream.push(long.clone()), long);
    assert_eq!(stream.push(Bytes::from(TOKEN)), TOKEN);
}

#[test]
fn header_values_are_masked() {
    register(TOKEN);
    let mut map = HeaderMap::new();
    map.insert("x-amzn-errortype", TOKEN.parse().unwrap());
    map.append(
        "location",
        format!("https://x/?t={}", TOKEN.replace('/', "%2F"))
            .parse()
            .unwrap(),
    );
    map.append("location", "https://x/".parse().unwrap());
    map.append(
        "warning",
        HeaderValue::from_bytes(&[b"\xff ", TOKEN.as_bytes()].concat()).unwrap(),
    );
    mask_headers(&mut map);
    assert_eq!(map.len(), 4);
    for value in map.values() {
        check_clean("a header", value.as_bytes());
    }
    assert_eq!(map.get_all("location").iter().nth(1).unwrap(), "https://x/");
}
