//! Tests how requests are followed through the bytes of a connection.

use super::*;

/// Checks a text that is read at once and byte by byte.
#[track_caller]
fn check(text: &str, is_between: bool, is_ambiguous: bool) {
    let mut whole = Framing::default();
    whole.read(text.as_bytes());
    let mut single = Framing::default();
    for byte in text.as_bytes() {
        single.read(&[*byte]);
    }
    for framing in [whole, single] {
        let found = (framing.is_between_requests(), framing.is_ambiguous());
        assert_eq!(found, (is_between, is_ambiguous), "{text:?}");
    }
}

#[test]
fn end_of_requests_is_found() {
    for text in [
        "",
        "GET / HTTP/1.1\r\na: b\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\n\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\ncontent-length:3\r\n\r\na\n\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA \r\n0123456789\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        check(text, true, false);
    }
    for text in [
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\na: b\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n",
    ] {
        check(text, false, false);
    }
}

#[test]
fn several_lengths_are_ambiguous() {
    for head in [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nA: b\r\ncontent-length: 1",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
        "CONTENT-LENGTH: 1\nTRANSFER-ENCODING: chunked",
    ] {
        let mut framing = Framing::default();
        // A request before it, and one that is read with it.
        framing.read(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n\r\n");
        let text = format!("POST / HTTP/1.1\r\n{head}\r\n\r\nx");
        framing.read(text.as_bytes());
        assert!(framing.is_ambiguous(), "{head}");
    }
    let long = "x".repeat(5_000);
    check(
        &format!("GET / HTTP/1.1\r\na: {long}\r\ncontent-length: 0\r\n\r\n"),
        true,
        false,
    );
}

#[test]
fn latest_request_line_and_its_headers_are_known() {
    let long = "x".repeat(300);
    for (text, line, headers) in [
        ("", "", 0),
        ("GET /a", "GET /a", 0),
        ("GET /a HTTP/1.1\r\n", "GET /a HTTP/1.1\r\n", 0),
        ("GET /a HTTP/1.1\n\n", "GET /a HTTP/1.1\n", 0),
        ("GET /a HTTP/1.1\r\nb: c\r\nd\r\n\r\nGET /b", "GET /b", 2),
        (
            "POST / HTTP/1.1\r\nb: c\r\n\r\nGET /b x\r\n",
            "GET /b x\r\n",
            0,
        ),
        (&long, &long[..MAX_LINE], 0),
    ] {
        let mut framing = Framing::default();
        for byte in text.as_bytes() {
            framing.read(&[*byte]);
        }
        let found = (framing.request_line(), framing.headers());
        assert_eq!(found, (line.as_bytes(), headers), "{text:?}");
    }
}

#[test]
fn only_a_connection_that_begins_with_http2_is_http2() {
    for (text, expected) in [
        ("PRI * HTTP/2", true),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", true),
        ("\r\nPRI * HTTP/2.0\r\n", true),
        ("PRI * HTTP/", false),
        ("PRI * HTTP/1.1\r\n\r\n", false),
        ("GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0\r\n", false),
    ] {
        let mut framing = Framing::default();
        framing.read(text.as_bytes());
        assert_eq!(framing.is_http2(), expected, "{text:?}");
    }
}

#[test]
fn heads_with_many_headers_stop_until_hyper_is_prepared() {
    let head = |count| format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(count));
    let end = "content-length: 1\r\n\r\nx";
    let mut framing = Framing::default();
    let few = head(FEW_HEADERS) + "\r\n";
    assert_eq!(framing.read(few.as_bytes()), few.len());
    let many = head(FEW_HEADERS);
    assert_eq!(
        framing.read(&[&many, end].concat().into_bytes()),
        many.len()
    );
    assert_eq!(framing.read(end.as_bytes()), 0);
    framing.prepared();
    let all = [&many, end].concat();
    assert_eq!(framing.read(all.as_bytes()), all.len());
    assert_eq!((framing.heads(), framing.headers()), (2, FEW_HEADERS + 1));
    assert!(framing.is_between_requests() && !framing.is_ambiguous());
}

#[test]
fn upgrades_stop_until_hyper_is_prepared() {
    for end in ["\r\n", "host: a\r\n\r\n"] {
        let start = "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nuPGRADE: websocket\r\n";
        let all = [start, end].concat();
        let mut whole = Framing::default();
        assert_eq!(whole.read(all.as_bytes()), start.len());
        let mut pieces = Framing::default();
        for at in 0..start.len() {
            assert_eq!(pieces.read(&all.as_bytes()[at..=at]), 1, "{at}");
        }
        assert_eq!(pieces.read(end.as_bytes()), 0);
        pieces.prepared();
        assert_eq!(pieces.read(all.as_bytes()), all.len());
        assert!(pieces.heads() == 1 && !pieces.is_ambiguous());
    }
    let mut next = Framing::default();
    let plain = "GET / HTTP/1.1\r\nupgrade-insecure-requests: 1\r\n\r\n";
    assert_eq!(next.read(plain.as_bytes()), plain.len());
}

#[test]
fn length_with_many_zeros_is_ambiguous() {
    let zeros = "0".repeat(130);
    for text in [
        format!("POST / HTTP/1.1\r\nContent-Length: {zeros}51\r\n\r\n"),
        format!(
            "POST / HTTP/1.1\r\nContent-Length: {}51\r\n\r\n",
            " ".repeat(130)
        ),
        format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{zeros}3\r\nabc"),
    ] {
        let mut framing = Framing::default();
        framing.read(text.as_bytes());
        assert!(framing.is_ambiguous(), "{text}");
    }
    // Chunk extensions after the size are ignored.
    let extension = "x".repeat(500);
    let text = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;{extension}\r\nabc\r\n0\r\n\r\n"
    );
    check(&text, true, false);
}

#[test]
fn lookalikes_of_framing_headers_are_recognized() {
    for name in [
        "transfer_encoding",
        "transfer---encoding",
        "content_length",
        "content.length",
        "contentlength",
        "-content-length",
    ] {
        assert!(is_framing_lookalike(name), "{name}");
    }
    for name in [
        "transfer-encoding",
        "content-length",
        "x-content-length",
        "content-lengths",
        "content-type",
    ] {
        assert!(!is_framing_lookalike(name), "{name}");
    }
}
