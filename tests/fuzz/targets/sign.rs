//! Fuzzes signing and redaction.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use countersign::proxy::{Matching, NestedRoute, Top, check_readings};
use countersign::sign::credentials::{CredentialSource, Snapshot};
use countersign::sign::redact::{self, mask_tokens};
use countersign::sign::{PathHandling, RequestTarget, Scope, Signable, Signer, SigningStyle};
use futures_util::FutureExt as _;
use serde_json::Value;

use super::{is_json, text};

const HOST: &str = "api.example.com";

static SIGNER: LazyLock<(Signer, Arc<Snapshot>)> = LazyLock::new(|| {
    let identity = CredentialSource::fixed("AKIDEXAMPLE", "secret", Some("token"));
    let scope = Scope {
        region: "eu-central-1".to_owned(),
        service: "execute-api".to_owned(),
    };
    let signer = Signer::new(
        scope,
        SigningStyle::default(),
        HOST.to_owned(),
        Arc::new(identity),
    );
    let snapshot = signer.credentials(UNIX_EPOCH).now_or_never();
    let snapshot = snapshot.unwrap().unwrap();
    (signer, snapshot)
});

/// A request target, `/path[?query]`.
pub fn sign_target(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    sign_below(text.split('?').next().unwrap_or_default());
    let split = |text: &str| {
        let (path, query) = text.split_once('?').unzip();
        RequestTarget::new(path.unwrap_or(text), query)
    };
    let Ok(target) = split(text) else {
        return;
    };
    let text = target.as_str();
    assert!(text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()));
    // Normalising a target twice changes nothing.
    assert_eq!(split(text).as_ref(), Ok(&target));
    // The signed bytes are the bytes on the wire.
    let uri: http::Uri = format!("https://{HOST}{text}").parse().unwrap();
    assert_eq!(uri.path_and_query().unwrap().as_str(), text);
    assert!(!text.contains("/../") && !text.contains("/./") && !text.contains("//"));
    let query = uri.query().unwrap_or_default().to_ascii_lowercase();
    let mut names = query.split('&').map(|pair| pair.split('=').next());
    assert!(!names.any(|name| name == Some("x-amz-signature")));
    let request = Signable {
        method: "GET",
        target: text,
        headers: &[],
        body: b"",
    };
    let (signer, snapshot) = &*SIGNER;
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let signed = signer.sign(snapshot, &request, now).unwrap();
    assert!(
        signed
            .headers
            .iter()
            .any(|(name, _)| name == "authorization")
    );
}

/// The route of a path is the same however the path is read.
fn sign_below(below: &str) {
    let nested = NestedRoute::below("/api", "admin", "/api/admin", Matching::Below).unwrap();
    if !below.starts_with('/') || check_readings(below, &[nested], Top::Open).is_err() {
        return;
    }
    for paths in [
        PathHandling::Refuse,
        PathHandling::Collapse,
        PathHandling::Keep,
    ] {
        let Ok(target) = RequestTarget::below("/prod", below, None, paths) else {
            continue;
        };
        let mut path = target.as_str().to_ascii_lowercase();
        for _ in 0..4 {
            assert_eq!(resolved(&path).first().copied(), Some("prod"), "{below}");
            let is_admins = resolved(&path).get(1) == Some(&"admin");
            // The plain reading is the nested route's own.
            assert!(!is_admins, "{below} is read as {path}");
            path = decoded(&path);
        }
    }
}

/// The segments of a path whose empty and dot segments and parameters are resolved.
fn resolved(path: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    for segment in path.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    kept
}

fn decoded(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3);
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                out.push(char::from(code.to_ascii_lowercase()));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

/// A text from AWS that may echo a session token.
pub fn redact(data: &[u8]) {
    const TOKEN: &str = "FwoGZXIvYXdzEJr+TOKEN/x==";
    const HELD: &str = "IQoJb3JpZ2luX2VjEHELD/0123456789/abcdef/xyz==";
    let Some(text) = text(data).filter(|text| !text.contains("TOKEN") && !text.contains("HELD"))
    else {
        return;
    };
    // A known token is masked however it is escaped and split into pieces.
    redact::register(HELD);
    for held in [
        HELD.to_owned(),
        HELD.replace('/', "%2F"),
        HELD.replace('/', "\\/"),
        HELD.replace('/', "&#47;"),
    ] {
        let whole = format!("{text}\n{held}\n{text}");
        let masked = redact::mask_known(whole.as_bytes());
        assert_eq!(masked.len(), whole.len());
        assert!(!String::from_utf8_lossy(&masked).contains("HELD"));
        let mut stream = redact::MaskingStream::default();
        let mut streamed = Vec::new();
        for piece in whole.as_bytes().chunks(1 + text.len() % 37) {
            streamed.extend_from_slice(&stream.push(bytes::Bytes::copy_from_slice(piece)));
        }
        streamed.extend_from_slice(&stream.finish());
        // The piece before may already have been sent with the first bytes of a token.
        assert_eq!(streamed.len(), masked.len());
        let differ = (0..masked.len()).filter(|&at| streamed[at] != masked[at]);
        let start = text.len() + 1;
        assert!(
            differ
                .into_iter()
                .all(|at| (start..start + 12).contains(&at))
        );
    }
    let once = mask_tokens(text);
    assert_eq!(mask_tokens(&once), once);
    if is_json(text) {
        assert!(is_json(&once), "{once}");
    }
    // The token of a canonical request is masked wherever the request is, and however it is escaped.
    let canonical = format!("{text}\nx-amz-security-token:{TOKEN}\n\nhost{text}");
    assert!(!mask_tokens(&canonical).contains(TOKEN));
    let json = Value::from(canonical).to_string();
    for json in [json.replace('/', "\\/"), json] {
        let json = format!(r#"{{"message":{json}}}"#);
        let hidden = mask_tokens(&json);
        let parsed: Value = serde_json::from_str(&hidden).unwrap();
        assert!(!parsed["message"].as_str().unwrap().contains(TOKEN));
    }
    // A token may begin and end with any letter of base64.
    let letters = text
        .bytes()
        .filter(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte));
    let token: String = letters.map(char::from).take(40).collect();
    let message = format!("x-amz-security-token:{token}\n");
    let json = Value::from(message).to_string();
    for json in [json.replace('/', "\\/"), json.replace('+', "\\u002b"), json] {
        let parsed: String = serde_json::from_str(&mask_tokens(&json)).unwrap();
        assert!(token.is_empty() || parsed == "x-amz-security-token:[redacted]\n");
    }
}
