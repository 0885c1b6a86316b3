//! No response contains the session token that signed the request: not at any status, in any
//! encoding, in a header or a body, in one piece or in many. The upstream is fake.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncWriteExt as _, BufReader};

use crate::fakes::{Heard, TlsPeer};
use crate::support::{Answer, Daemon, JSON, Running, Socket, World, get, post};

const API: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com";
const GATEWAY: &str = "a1b2c3.execute-api.us-east-1.amazonaws.com";
const TOKEN: &str = "IQoJb3JpZ2luCANARY/ab+cd/EF0123456789zyxwvutsrqponm/q+==";

/// A daemon with a fake upstream that sends a configured response.
struct Scene {
    world: Running<Daemon>,
    answer: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Scene {
    async fn new() -> Self {
        let answer: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let pieces = Arc::clone(&answer);
        let peer = TlsPeer::start(&[API, GATEWAY], &["http/1.1"], move |_, stream| {
            let pieces = Arc::clone(&pieces);
            async move {
                let mut stream = BufReader::new(stream);
                while let Some(request) = Heard::read(&mut stream).await {
                    // The request was signed with the token.
                    assert_eq!(request.headers["x-amz-security-token"], TOKEN);
                    let pieces = pieces.lock().clone();
                    for piece in pieces {
                        if stream.write_all(&piece).await.is_err() {
                            return;
                        }
                        let _ = stream.flush().await;
                    }
                }
            }
        })
        .await;
        let world = World::builder()
            .peer("graphql", &peer, &format!("https://{API}/graphql"), "")
            .peer("rest", &peer, &format!("https://{GATEWAY}/prod"), "")
            .keyless()
            .variables(&[
                ("AWS_ACCESS_KEY_ID", "AKIDREDACTION0000001"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_SESSION_TOKEN", TOKEN),
            ])
            .daemon()
            .await;
        Self { world, answer }
    }

    fn set(&self, pieces: Vec<Vec<u8>>) {
        *self.answer.lock() = pieces;
    }

    async fn rest(&self) -> Answer {
        get(self.world.addr, "/rest/x", &[]).await
    }

    async fn graphql(&self) -> Answer {
        let body = json!({ "query": "{ a }" }).to_string();
        post(self.world.addr, "/graphql", &[JSON], &body).await
    }
}

fn forms() -> Vec<String> {
    let percent = |text: &str| {
        let bytes = text.bytes().map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        bytes.collect::<String>()
    };
    let mut forms = vec![
        TOKEN.to_owned(),
        percent(TOKEN),
        percent(&percent(TOKEN)),
        TOKEN.replace('/', "\\/").replace('+', "\\u002b"),
        TOKEN.replace('+', "&#43;").replace('/', "&#x2F;"),
    ];
    for before in ["", "x", "xy"] {
        let text = STANDARD_NO_PAD.encode(format!("{before}{TOKEN}xyz"));
        forms.push(text.replace('+', "-").replace('/', "_"));
        forms.push(text);
    }
    forms
}

#[track_caller]
fn check_clean(what: &str, answer: &Answer) {
    let text = format!("{:?} {}", answer.headers, answer.body);
    for form in forms() {
        let middle = &form[form.len() / 3..form.len() / 3 + 16];
        assert!(!text.contains(middle), "{what}: {text}");
    }
    assert!(!text.contains("CANARY"), "{what}: {text}");
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

const STATUSES: [u16; 14] = [
    200, 201, 203, 206, 300, 302, 400, 401, 403, 404, 429, 500, 502, 503,
];

/// Places for an echoed token: the headers, the text around it, and whether AWS names its error.
const PLACES: [(&str, &str, &str); 8] = [
    (
        "content-type: application/json\r\n",
        "{\"message\":\"",
        "\"}",
    ),
    (
        "content-type: application/json\r\n",
        "{\"data\":null,\"errors\":[{\"message\":\"",
        "\"}]}",
    ),
    (
        "content-type: application/x-amz-json-1.1\r\n",
        "{\"__type\":\"X\",\"Message\":\"",
        "\"}",
    ),
    (
        "content-type: application/xml\r\n",
        "<Error><CanonicalRequest>",
        "</CanonicalRequest></Error>",
    ),
    ("content-type: text/html\r\n", "<pre>", "</pre>"),
    (
        "content-type: text/plain\r\n",
        "x-amz-security-token:",
        "\n\nhost;x-amz-security-token",
    ),
    (
        "x-amzn-errortype: InvalidSignatureException\r\ncontent-type: application/json\r\n",
        "{\"message\":\"",
        "\"}",
    ),
    (
        "x-amzn-errortype: X\r\ncontent-type: text/plain\r\n",
        "",
        "",
    ),
];

#[tokio::test]
async fn no_body_echoes_the_session_token() {
    let scene = Scene::new().await;
    let mut count = 0;
    for status in STATUSES {
        for (headers, before, after) in PLACES {
            for form in forms() {
                let what = format!("{status} {headers:?} {before}{form}{after}");
                scene.set(vec![answer(
                    status,
                    headers,
                    &format!("{before}{form}{after}"),
                )]);
                let found = scene.rest().await;
                assert_eq!(found.status, status, "{what}: {found:?}");
                check_clean(&what, &found);
                let found = scene.graphql().await;
                check_clean(&what, &found);
                count += 2;
            }
        }
    }
    println!("{count} answers: no token");
    assert!(!scene.world.countersign.log.contains("CANARY"));
}

#[tokio::test]
async fn no_header_echoes_the_session_token() {
    let scene = Scene::new().await;
    for status in STATUSES {
        for form in forms() {
            for name in [
                "location",
                "x-amzn-errortype",
                "x-amzn-errormessage",
                "www-authenticate",
                "warning",
                "x-cache",
                "x-amzn-requestid",
            ] {
                let headers = format!("content-type: application/json\r\n{name}: x {form} y\r\n");
                scene.set(vec![answer(status, &headers, "{}")]);
                check_clean(&format!("{status} {headers}"), &scene.rest().await);
            }
            let headers = format!("content-type: application/json\r\nlocation: x={form}\r\n");
            scene.set(vec![answer(status, &headers, "{\"data\":{\"a\":1}}")]);
            check_clean(&format!("{status} {headers}"), &scene.graphql().await);
        }
    }
}

#[tokio::test]
async fn a_session_token_split_over_chunks_is_masked() {
    let scene = Scene::new().await;
    for status in [200, 302, 403, 500] {
        for form in forms() {
            let body = format!("{{\"message\":\"{form}\"}}");
            for size in [1, 7, 40] {
                let head = format!(
                    "HTTP/1.1 {status} x\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n"
                );
                let mut pieces = vec![head.into_bytes()];
                for piece in body.as_bytes().chunks(size) {
                    let start = format!("{:x}\r\n", piece.len());
                    pieces.push([start.as_bytes(), piece, b"\r\n"].concat());
                }
                pieces.push(b"0\r\n\r\n".to_vec());
                scene.set(pieces);
                let found = scene.rest().await;
                assert_eq!(found.status, status);
                assert!(found.body.ends_with("\"}"), "{found:?}");
                check_clean(&format!("{status} {size} {form}"), &found);
                check_clean(&format!("{status} {size} {form}"), &scene.graphql().await);
            }
        }
    }
}

/// A compressed error cannot be searched, so an error that AWS names is not forwarded compressed.
#[tokio::test]
async fn a_compressed_error_of_aws_is_not_forwarded() {
    let scene = Scene::new().await;
    for status in STATUSES {
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let headers = format!(
                "content-encoding: {coding}\r\nx-amzn-errortype: X\r\ncontent-type: application/json\r\n"
            );
            scene.set(vec![answer(status, &headers, "compressed bytes")]);
            for found in [scene.rest().await, scene.graphql().await] {
                assert_eq!(
                    found.headers["x-countersign-error"],
                    "UPSTREAM_ERROR_UNREADABLE"
                );
                assert!(!found.body.contains("compressed bytes"), "{found:?}");
            }
        }
    }
}

#[tokio::test]
async fn sockets_and_batches_do_not_echo_the_session_token() {
    let scene = Scene::new().await;
    let batch = json!([{ "query": "{ a }" }, { "query": "{ b }" }]).to_string();
    for status in [200, 400, 401, 403, 404, 500] {
        for form in forms() {
            let form = form.replace("&#", "&amp;#");
            let body = format!(
                "{{\"data\":null,\"errors\":[{{\"message\":\"{form}\",\"errorInfo\":{{\"a\":\"{form}\"}},\"errorType\":\"x\"}}]}}"
            );
            scene.set(vec![answer(
                status,
                "content-type: application/json\r\n",
                &body,
            )]);
            let found = post(scene.world.addr, "/graphql", &[JSON], &batch).await;
            assert!(found.body.contains("errors"), "{found:?}");
            check_clean(&format!("batch {status} {form}"), &found);
            let mut socket = Socket::open(scene.world.addr, &[]).await;
            socket.send(json!({ "type": "connection_init" })).await;
            assert_eq!(socket.next().await["type"], "connection_ack");
            let payload = json!({ "query": "{ a }" });
            socket
                .send(json!({ "id": "1", "type": "subscribe", "payload": payload }))
                .await;
            let frame = socket.next_of("1").await.to_string();
            assert!(
                !frame.contains("CANARY") && !frame.contains(&form[20..36]),
                "{frame}"
            );
        }
    }
}
