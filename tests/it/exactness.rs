//! The bytes on the wire are the bytes that were signed. Raw requests go through countersign and are
//! verified by the emulator, and by botocore from the same bytes.

mod nested;
mod random;

use std::collections::BTreeMap;
use std::process::Stdio;

use countersign_emulator::{
    DEMO_ACCESS_KEY_ID, DEMO_SECRET_ACCESS_KEY, DEMO_SESSION_TOKEN, Options,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::{Answer, Daemon, GATEWAY, World, demo_key, python, raw, within};

/// A path below the route, and the path that arrives, or the reason for the refusal.
const PATHS: [(&str, Result<&str, &str>); 46] = [
    ("", Ok("")),
    ("/", Ok("/")),
    ("/orders", Ok("/orders")),
    ("/orders/", Ok("/orders/")),
    ("/a%2Fb", Ok("/a%2Fb")),
    ("/a%2fb", Ok("/a%2fb")),
    ("/a%3Db=", Ok("/a%3Db=")),
    ("/x/@connections/abc=", Ok("/x/@connections/abc=")),
    ("/x/%40connections/abc%3D", Ok("/x/%40connections/abc%3D")),
    (
        "/arn:aws:x:us-east-1:1:y/z",
        Ok("/arn:aws:x:us-east-1:1:y/z"),
    ),
    ("/arn%3Aaws%3Ax%2Fy", Ok("/arn%3Aaws%3Ax%2Fy")),
    ("/a+b", Ok("/a+b")),
    ("/a%2Bb", Ok("/a%2Bb")),
    ("/a%20b", Ok("/a%20b")),
    ("/~user", Ok("/~user")),
    ("/%7Euser", Ok("/%7Euser")),
    ("/é", Ok("/%C3%A9")),
    ("/%C3%A9", Ok("/%C3%A9")),
    ("/%c3%a9", Ok("/%c3%a9")),
    ("/日本/🦀", Ok("/%E6%97%A5%E6%9C%AC/%F0%9F%A6%80")),
    ("/%FF", Ok("/%FF")),
    ("/a;b=c", Ok("/a;b=c")),
    ("/a,b", Ok("/a,b")),
    ("/a!b$c&d'e(f)*", Ok("/a!b$c&d'e(f)*")),
    ("/a|b", Ok("/a%7Cb")),
    ("/{proxy+}", Ok("/%7Bproxy+%7D")),
    ("/a^b", Ok("/a%5Eb")),
    ("/a\\b", Ok("/a%5Cb")),
    ("/%zz", Ok("/%25zz")),
    ("/100%", Ok("/100%25")),
    ("/$default", Ok("/$default")),
    ("/a.b", Ok("/a.b")),
    ("/...", Ok("/...")),
    ("/..a", Ok("/..a")),
    ("/-_.~", Ok("/-_.~")),
    ("/[a]", Ok("/%5Ba%5D")),
    ("/model:v1/invoke", Ok("/model:v1/invoke")),
    ("/a//b", Err("empty segment")),
    ("//", Err("empty segment")),
    ("/a/./b", Err("'.' or '..' segment")),
    ("/..", Err("'.' or '..' segment")),
    ("/a/%2e/b", Err("'.' or '..' segment")),
    ("/%2E%2e/b", Err("'.' or '..' segment")),
    ("/a b", Err(NO_HTTP)),
    ("/<a>", Err(NO_HTTP)),
    ("/a`b", Err(NO_HTTP)),
];

const QUERIES: [(&str, Result<&str, &str>); 32] = [
    ("", Ok("")),
    ("?", Ok("")),
    ("?a=1", Ok("?a=1")),
    ("?b=2&a=1", Ok("?b=2&a=1")),
    ("?b=2&a=2&a=1&A=0&a-b=1&a=", Ok("?b=2&a=2&a=1&A=0&a-b=1&a=")),
    ("?flag", Ok("?flag=")),
    ("?a=", Ok("?a=")),
    ("?a=b=c==", Ok("?a=b%3Dc%3D%3D")),
    ("?a=1+2", Ok("?a=1%202")),
    ("?a=1%2B2", Ok("?a=1%2B2")),
    ("?a=1%202", Ok("?a=1%202")),
    ("?a=%2f", Ok("?a=%2F")),
    ("?a=/?:@", Ok("?a=%2F%3F%3A%40")),
    ("?a=é", Ok("?a=%C3%A9")),
    ("?a=%c3%a9", Ok("?a=%C3%A9")),
    ("?é=1", Ok("?%C3%A9=1")),
    ("?&&a=1&", Ok("?a=1")),
    ("?a=%zz", Ok("?a=%25zz")),
    ("?a=100%", Ok("?a=100%25")),
    ("?a=;b", Ok("?a=%3Bb")),
    ("?a|b={c}", Ok("?a%7Cb=%7Bc%7D")),
    ("?a[]=1&a[0]=2", Ok("?a%5B%5D=1&a%5B0%5D=2")),
    ("?a=%00", Ok("?a=%00")),
    ("?a='()!*~", Ok("?a=%27%28%29%21%2A~")),
    (
        "?X-Amz-ChannelARN=arn:a/b",
        Ok("?X-Amz-ChannelARN=arn%3Aa%2Fb"),
    ),
    ("?X-Amz-Signature=x&b=1&x-amz-date=2", Ok("?b=1")),
    ("?x%2Damz%2Dsecurity%2Dtoken=t", Ok("")),
    ("?a=%FF", Err("not UTF-8")),
    ("?%ff=a", Err("not UTF-8")),
    ("?=v", Err("without a name")),
    ("?a=1&=", Err("without a name")),
    ("?a=\"b\"", Err(NO_HTTP)),
];

/// Bytes that no HTTP/1.1 parser accepts as a request target.
const NO_HTTP: &str = "no HTTP";

/// Heads and bodies after `METHOD /rest/x HTTP/1.1`, with headers that must arrive, or names that
/// must not, or with the code of the refusal.
type HeadRow = (
    &'static str,
    &'static str,
    &'static str,
    Result<&'static [(&'static str, Option<&'static str>)], &'static str>,
);
const HEADS: [HeadRow; 39] = [
    (
        "GET",
        "x-amz-meta-a: 1\r\n",
        "",
        Ok(&[("x-amz-meta-a", Some("1"))]),
    ),
    (
        "GET",
        "x-amz-meta-a: 1\r\nx-amz-meta-a: 2\r\n",
        "",
        Ok(&[("x-amz-meta-a", Some("1"))]),
    ),
    (
        "GET",
        "X-Amz-Meta-B:   padded   \r\n",
        "",
        Ok(&[("x-amz-meta-b", Some("padded"))]),
    ),
    (
        "GET",
        "x-amz-meta-a: a  b\r\n",
        "",
        Err("HEADER_NOT_SIGNABLE"),
    ),
    (
        "GET",
        "x-amz-meta-a: a\tb\r\n",
        "",
        Err("HEADER_NOT_SIGNABLE"),
    ),
    ("GET", "x-amz-meta-a: é\r\n", "", Err("HEADER_NOT_SIGNABLE")),
    ("GET", "x-team: é\r\n", "", Ok(&[("x-team", Some("é"))])),
    (
        "GET",
        "x-team: a  b\r\n",
        "",
        Ok(&[("x-team", Some("a  b"))]),
    ),
    (
        "GET",
        "x-amz-user-agent: aws-sdk-js/3\r\n",
        "",
        Ok(&[("x-amz-user-agent", Some("aws-sdk-js/3"))]),
    ),
    (
        "GET",
        "x-apigw-api-id: a1b2c3\r\n",
        "",
        Ok(&[("x-apigw-api-id", None)]),
    ),
    (
        "GET",
        "connection: x-amz-date, authorization\r\n",
        "",
        Ok(&[]),
    ),
    (
        "GET",
        "connection: x-team\r\nx-team: a\r\n",
        "",
        Ok(&[("x-team", None)]),
    ),
    (
        "GET",
        "keep-alive: timeout=5\r\nte: trailers\r\n",
        "",
        Ok(&[("keep-alive", None), ("te", None)]),
    ),
    ("GET", "authorization: Bearer x\r\n", "", Ok(&[])),
    ("GET", "x-amz-date: 20010101T000000Z\r\n", "", Ok(&[])),
    ("GET", "x-amz-security-token: stolen\r\n", "", Ok(&[])),
    (
        "GET",
        "x-amz-content-sha256: bogus\r\n",
        "",
        Ok(&[("x-amz-content-sha256", None)]),
    ),
    (
        "GET",
        "x-api-key: k\r\n",
        "",
        Ok(&[("x-api-key", Some("k"))]),
    ),
    ("GET", "cookie: a=b\r\n", "", Ok(&[("cookie", None)])),
    (
        "GET",
        "x-forwarded-for: 1.2.3.4\r\nforwarded: for=1\r\nvia: x\r\n",
        "",
        Ok(&[
            ("x-forwarded-for", None),
            ("forwarded", None),
            ("via", None),
        ]),
    ),
    (
        "GET",
        "accept-encoding: gzip, br\r\nrange: bytes=0-1\r\nif-none-match: \"x\"\r\n",
        "",
        Ok(&[
            ("accept-encoding", Some("gzip, br")),
            ("range", Some("bytes=0-1")),
            ("if-none-match", Some("\"x\"")),
        ]),
    ),
    (
        "GET",
        "content-type: text/odd\r\n",
        "",
        Ok(&[("content-type", Some("text/odd"))]),
    ),
    (
        "GET",
        "content-type: a/b\r\ncontent-length: 2\r\n",
        "{}",
        Ok(&[("content-type", Some("a/b")), ("content-length", Some("2"))]),
    ),
    // Servers read these names differently.
    (
        "GET",
        "x_team: a\r\nx.team: b\r\nX-Team: c\r\nx~team: d\r\n",
        "",
        Ok(&[
            ("x-team", Some("c")),
            ("x_team", None),
            ("x.team", None),
            ("x~team", None),
        ]),
    ),
    (
        "GET",
        "X_Amz_Date: 20010101T000000Z\r\nx-amzdate: 1\r\nx_amz_security_token: t\r\nAuthorization_: b\r\n",
        "",
        Ok(&[
            ("x_amz_date", None),
            ("x-amzdate", None),
            ("x_amz_security_token", None),
            ("authorization_", None),
        ]),
    ),
    (
        "GET",
        "X_Forwarded_For: 1.2.3.4\r\nX.Forwarded.Host: a\r\nV_I_A: x\r\nx_api_key: k\r\nX_Countersign_Token: t\r\n",
        "",
        Ok(&[
            ("x_forwarded_for", None),
            ("x.forwarded.host", None),
            ("v_i_a", None),
            ("x_api_key", None),
            ("x_countersign_token", None),
        ]),
    ),
    (
        "GET",
        "X_HTTP_METHOD_OVERRIDE: DELETE\r\nX.HTTP.Method.Override: DELETE\r\nX-HTTP-Method: PUT\r\n",
        "",
        Ok(&[
            ("x_http_method_override", None),
            ("x.http.method.override", None),
            ("x-http-method", Some("PUT")),
        ]),
    ),
    (
        "GET",
        "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nx-original-uri: /a\r\nX_Original_Host: a\r\n",
        "",
        Ok(&[
            ("x-original-url", None),
            ("x-rewrite-url", None),
            ("x-original-uri", None),
            ("x_original_host", None),
        ]),
    ),
    ("POST", "content-length: 0\r\n", "", Ok(&[])),
    (
        "POST",
        "content-type: application/json\r\ncontent-length: 2\r\n",
        "{}",
        Ok(&[("content-type", Some("application/json"))]),
    ),
    (
        "POST",
        "content-type: application/json; charset=\"UTF-8\"\r\ncontent-length: 2\r\n",
        "{}",
        Ok(&[]),
    ),
    (
        "POST",
        "content-type: a/b\r\ncontent-type: c/d\r\ncontent-length: 1\r\n",
        "x",
        Ok(&[("content-type", Some("a/b"))]),
    ),
    (
        "POST",
        "content-type: a/b;  c=d\r\ncontent-length: 1\r\n",
        "x",
        Ok(&[("content-type", Some("a/b;  c=d"))]),
    ),
    (
        "POST",
        "transfer-encoding: chunked\r\n",
        "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        Ok(&[("content-length", Some("5")), ("transfer-encoding", None)]),
    ),
    (
        "POST",
        "expect: 100-continue\r\ncontent-length: 2\r\n",
        "ok",
        Ok(&[("expect", None)]),
    ),
    (
        "PUT",
        "content-encoding: gzip\r\ncontent-length: 3\r\n",
        "\u{1f}\u{8b}",
        Ok(&[("content-encoding", Some("gzip"))]),
    ),
    ("DELETE", "", "", Ok(&[])),
    ("PROPFIND", "depth: 1\r\n", "", Ok(&[("depth", Some("1"))])),
    (
        "PATCH",
        "content-type: application/merge-patch+json\r\ncontent-length: 2\r\n",
        "{}",
        Ok(&[("content-type", Some("application/merge-patch+json"))]),
    ),
];

/// Returns a received request as input of botocore_verify.py. The session token in the echo was
/// masked in the response, and botocore needs it.
fn seen(id: usize, echo: &Value) -> Value {
    let mut echo = echo.to_string();
    let encoded = DEMO_SESSION_TOKEN.replace('=', "%3D");
    for token in [DEMO_SESSION_TOKEN, &encoded] {
        echo = echo.replace(&format!("{:*<1$}", "[redacted]", token.len()), token);
    }
    let echo: Value = serde_json::from_str(&echo).unwrap();
    let host = echo["host"].as_str().unwrap();
    json!({
        "id": id,
        "method": echo["method"],
        "url": format!("https://{host}{}", echo["target"].as_str().unwrap()),
        "headers": echo["headers"],
        "body_b64": echo["body_base64"],
        "access_key": DEMO_ACCESS_KEY_ID,
        "secret_key": DEMO_SECRET_ACCESS_KEY,
        "token": DEMO_SESSION_TOKEN,
        "region": echo["region"],
        "service": echo["service"],
    })
}

/// Returns botocore's verdict on the received requests.
async fn verify(requests: &[Value]) {
    let lines: String = requests.iter().map(|line| format!("{line}\n")).collect();
    let mut command = python("botocore_verify.py");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = tokio::spawn(async move { stdin.write_all(lines.as_bytes()).await });
    let output = within("botocore", child.wait_with_output()).await.unwrap();
    write.await.unwrap().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    let all = format!("verified {}, mismatched 0", requests.len());
    assert!(shown.contains(&all), "{shown}");
}

#[track_caller]
fn check_refused(answer: &Answer, reason: &str, asked: &str) {
    assert_eq!(answer.status, 400, "{asked}: {answer:?}");
    if reason == NO_HTTP {
        assert!(answer.body.contains("\"BAD_HEAD\""), "{asked}: {answer:?}");
    } else {
        assert_eq!(answer.json()["code"], "TARGET_NOT_SIGNABLE", "{asked}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(reason), "{asked}: {message}");
    }
}

#[tokio::test]
async fn every_target_arrives_as_it_was_signed_or_is_refused() {
    // With HTTP/1.1 the emulator verifies the request line itself, with HTTP/2 the pseudo-header.
    for (http2, version) in [(false, "HTTP/1.1"), (true, "HTTP/2.0")] {
        every_target(http2, version).await;
    }
}

async fn every_target(http2: bool, version: &str) {
    let options = Options {
        http2,
        ..Options::default()
    };
    let world = World::builder()
        .emulator(options)
        .routes(&GATEWAY)
        .in_process()
        .await;
    let (mut arrived, mut refused) = (Vec::new(), BTreeMap::new());
    for (path, path_arrives) in PATHS {
        for (query, query_arrives) in QUERIES {
            let asked = format!("/rest{path}{query}");
            let request = format!(
                "GET {asked} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
                world.addr
            );
            let answer = raw(world.addr, request.as_bytes()).await;
            let no_http = [path_arrives, query_arrives].contains(&Err(NO_HTTP));
            let expected = match no_http {
                true => Err(NO_HTTP),
                false => path_arrives.and_then(|path| query_arrives.map(|query| (path, query))),
            };
            match expected {
                Ok((path, query)) => {
                    assert_eq!(answer.status, 200, "{asked}: {answer:?}");
                    let echo = answer.json();
                    assert_eq!(echo["target"], format!("/prod{path}{query}"), "{asked}");
                    assert_eq!(echo["version"], version);
                    arrived.push(seen(arrived.len(), &echo));
                }
                Err(reason) => {
                    check_refused(&answer, reason, &asked);
                    *refused.entry(reason).or_insert(0) += 1;
                }
            }
        }
    }
    verify(&arrived).await;
    println!(
        "{version}: {} arrived and verified, refused: {refused:?}",
        arrived.len()
    );
    assert_eq!(arrived.len(), 37 * 27);
    let stats = world.emulator.stats();
    assert_eq!(stats.gateway.verified as usize, arrived.len());
    assert_eq!(stats.gateway.refused, BTreeMap::new());
    world.drained().await;
}

#[tokio::test]
async fn odd_paths_are_refused_collapsed_or_kept() {
    let world = World::builder()
        .routes(&GATEWAY)
        .settings(&[
            ("route.collapse.target", "https://$REST/prod"),
            ("route.collapse.odd_paths", "collapse"),
            ("route.keep.target", "https://$REST/prod"),
            ("route.keep.odd_paths", "keep"),
        ])
        .in_process()
        .await;
    let mut arrived = Vec::new();
    for (path, collapsed) in [
        ("/a//b", "/a/b"),
        ("//", "/"),
        ("/a/./b/../c/", "/a/c/"),
        ("/x/%2e%2E/a", "/a"),
        ("/a/b/..", "/a/"),
    ] {
        for (route, expected) in [("collapse", collapsed), ("keep", path)] {
            let request = format!(
                "GET /{route}{path}?b=1 HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
                world.addr
            );
            let answer = raw(world.addr, request.as_bytes()).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            let echo = answer.json();
            assert_eq!(echo["target"], format!("/prod{expected}?b=1"));
            // botocore normalises a path that we keep, and the emulator does not.
            if route == "collapse" {
                arrived.push(seen(arrived.len(), &echo));
            }
        }
    }
    verify(&arrived).await;
    // A path that would leave the route is neither normalised nor kept.
    for path in [
        "/../../admin",
        "/%2e%2E/a",
        "/a/../..",
        "/..;/a",
        "/%252e%252e/a",
    ] {
        for route in ["collapse", "keep"] {
            let request = format!(
                "GET /{route}{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
                world.addr
            );
            let answer = raw(world.addr, request.as_bytes()).await;
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            assert_eq!(answer.json()["code"], "PATH_AMBIGUOUS", "{path}");
        }
    }
    world.drained().await;
}

#[tokio::test]
async fn every_head_arrives_as_it_was_signed_or_is_refused() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let mut arrived = Vec::new();
    let mut refused = 0;
    for (method, head, body, expected) in HEADS {
        let request = format!(
            "{method} /rest/x?b=2&a=1 HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{head}\r\n{body}",
            world.addr
        );
        let answer = raw(world.addr, request.as_bytes()).await;
        // An interim response comes first.
        let answer = match answer.status {
            100 => final_answer(&answer.body),
            _ => answer,
        };
        let wanted = match expected {
            Ok(wanted) => wanted,
            Err(code) => {
                assert_eq!(answer.status, 400, "{head}: {answer:?}");
                assert_eq!(answer.json()["code"], code, "{head}");
                refused += 1;
                continue;
            }
        };
        assert_eq!(answer.status, 200, "{head}: {answer:?}");
        let echo = answer.json();
        let headers = echo["headers"].as_array().unwrap();
        for (name, value) in wanted {
            let found = headers
                .iter()
                .find(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name));
            let found = found.map(|header| header[1].as_str().unwrap());
            assert_eq!(found, *value, "{head}: {name}");
        }
        let once = |name: &str| {
            let same = |header: &&Value| header[0].as_str().unwrap().eq_ignore_ascii_case(name);
            headers.iter().filter(same).count()
        };
        for name in [
            "authorization",
            "x-amz-date",
            "x-amz-security-token",
            "host",
        ] {
            assert_eq!(once(name), 1, "{head}: {name}");
        }
        arrived.push(seen(arrived.len(), &echo));
    }
    verify(&arrived).await;
    println!("{} arrived and verified, {refused} refused", arrived.len());
    assert_eq!((arrived.len(), refused), (HEADS.len() - 3, 3));
    world.drained().await;
}

fn final_answer(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        headers: BTreeMap::new(),
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn curl_gets_the_same_with_its_own_signatures_and_with_ours() {
    let world = World::new().await;
    let (host, connect) = (world.emulator.rest_host(), world.emulator.addr());
    let (target, ca_file) = (format!("https://{host}/prod"), world.ca_file());
    let arguments = world.arguments_to(&target, connect, &["--listen", "127.0.0.1:0"]);
    let mut daemon = Daemon::start(&arguments, &demo_key());
    let addr = daemon.address().await;
    for (path, curl_can) in [
        ("/orders", true),
        ("/orders/", true),
        ("/orders?a=1&b=2", true),
        ("/orders?b=2&a=1", false),
        ("/orders?a=2&a=1", false),
        ("/orders?flag=", true),
        ("/orders?a=%2F%20", true),
        ("/a-b_c.d~e", true),
        ("/a,b;c=d", false),
        ("/a%2Fb", false),
        ("/x/@connections/abc=", false),
        ("/a|b", false),
        ("/orders?flag", false),
        ("/orders?a=b=c", false),
        ("/orders?q=[1]&p={2}", false),
        ("/orders?a=1+2", false),
    ] {
        let user = format!("{DEMO_ACCESS_KEY_ID}:{DEMO_SECRET_ACCESS_KEY}");
        let token = format!("x-amz-security-token: {DEMO_SESSION_TOKEN}");
        let own = curl(&[
            "--aws-sigv4",
            "aws:amz:us-east-1:execute-api",
            "--user",
            &user,
            "-H",
            &token,
            "--cacert",
            &ca_file,
            "--connect-to",
            &format!("{host}:443:{connect}"),
            &format!("{target}{path}"),
        ])
        .await;
        let ours = curl(&[&format!("http://{addr}{path}")]).await;
        assert_eq!(ours["service"], "execute-api", "{path}: {ours}");
        // curl 7.88 encodes paths once and sorts queries as they are. Where AWS differs,
        // only countersign's signature is accepted.
        let got = own["service"] == "execute-api";
        if curl_can {
            assert!(got, "{path}: {own}");
            for member in ["target", "method", "stage", "body_sha256"] {
                assert_eq!(own[member], ours[member], "{path}");
            }
        }
        println!(
            "{path}: curl {}, countersign 200",
            if got { 200 } else { 403 }
        );
    }
}

async fn curl(arguments: &[&str]) -> Value {
    let output = Command::new("curl")
        .args([
            "-sS",
            "-g",
            "--http1.1",
            "--path-as-is",
            "--noproxy",
            "*",
            "-m",
            "20",
        ])
        .args(arguments)
        .output();
    let output = within("curl", output).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
