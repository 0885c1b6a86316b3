//! AWS's cases of request smuggling (tests/desync), as raw bytes, through countersign and to an
//! upstream, and other requests that hyper accepts and that could smuggle.
//!
//! Every case is followed by a request that it tries to smuggle, inside its body in all the ways that
//! a body can end, and after that a marker on the same connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::{Answer, GATEWAY, JSON, Running, World, get, post, raw, within};

/// The classification of a request by the library that the cases come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Compliant,
    Acceptable,
    Ambiguous,
    Severe,
}

struct Case {
    name: String,
    tier: Tier,
    uri: String,
    method: String,
    version: String,
    headers: Vec<(String, String)>,
}

/// Where the requests of a run go.
struct Place {
    /// The prefix of the case's path, or its replacement if it is exact.
    path: &'static str,
    is_exact: bool,
    smuggled: String,
    marker: String,
}

/// How often a case was refused, and how often forwarded.
#[derive(Default)]
struct Tally {
    cases: usize,
    tries: usize,
    refused: usize,
    forwarded: usize,
    closed: usize,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/desync");
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let yaml = YamlLoader::load_from_str(&text).unwrap().remove(0);
        cases.extend(yaml.into_iter().map(|yaml| case(&yaml)));
    }
    cases
}

fn case(yaml: &Yaml) -> Case {
    let text = |yaml: &Yaml| match yaml.as_i64() {
        Some(number) => number.to_string(),
        // The library's own test escapes those outside double quotes.
        None => yaml.as_str().unwrap().replace("\\t", "\t"),
    };
    let headers = yaml["headers"].as_vec().into_iter().flatten();
    Case {
        name: text(&yaml["name"]),
        tier: match yaml["expected"]["tier"].as_str().unwrap() {
            "Compliant" => Tier::Compliant,
            "Acceptable" => Tier::Acceptable,
            "Ambiguous" => Tier::Ambiguous,
            "Severe" => Tier::Severe,
            other => panic!("{other}"),
        },
        uri: text(&yaml["uri"]),
        method: text(&yaml["method"]),
        version: text(&yaml["version"]),
        headers: headers
            .map(|header| (text(&header["name"]), text(&header["value"])))
            .collect(),
    }
}

impl Case {
    fn head(&self, place: &Place, addr: SocketAddr) -> String {
        let target = match place.is_exact {
            true => self.uri.replace("/foo/bar", "").replace("/test.html", ""),
            false => self.uri.clone(),
        };
        let version = match self.version.as_str() {
            "" => String::new(),
            version => format!(" {version}"),
        };
        let mut head = format!("{} {}{target}{version}\r\n", self.method, place.path);
        if !self.has("host") {
            head.push_str(&format!("Host: {addr}\r\n"));
        }
        if place.is_exact && !self.has("content-type") {
            head.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }

    fn has(&self, wanted: &str) -> bool {
        let mut names = self.headers.iter().map(|(name, _)| name);
        names.any(|name| name.eq_ignore_ascii_case(wanted))
    }

    fn is_chunked(&self) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(name, value)| {
            let is_coding = name.eq_ignore_ascii_case("transfer-encoding");
            is_coding && value.trim().to_ascii_lowercase().contains("chunked")
        })
    }

    /// Returns the largest length in the headers.
    fn length(&self) -> Option<usize> {
        let lengths = self.headers.iter().filter_map(|(name, value)| {
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().ok()).flatten()
        });
        lengths.max()
    }

    /// Returns the bodies to try after the head. A compliant request is correct with any of them.
    fn bodies(&self, smuggled: &str) -> Vec<String> {
        let padded = |mut text: String| {
            if let Some(length) = self.length() {
                text.truncate(length);
                text.push_str(&" ".repeat(length - text.len()));
            }
            text
        };
        let in_chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
        if matches!(self.tier, Tier::Compliant | Tier::Acceptable) {
            return vec![match (self.is_chunked(), self.length()) {
                (true, _) => in_chunk,
                (false, Some(_)) => padded(smuggled.to_owned()),
                (false, None) => String::new(),
            }];
        }
        vec![
            padded(smuggled.to_owned()),
            padded(format!("0\r\n\r\n{smuggled}")),
            padded(in_chunk),
        ]
    }
}

/// Encodes characters below 256 as one byte, such as `\xff`, and others as UTF-8.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for char in text.chars() {
        match u8::try_from(char) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(char.to_string().bytes()),
        }
    }
    bytes
}

/// Sends everything, reads to the end, and returns status and body of every response.
async fn answers(addr: SocketAddr, request: &[u8], is_head: bool) -> Vec<(u16, String)> {
    let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
    let mut bytes = Vec::new();
    let exchange = async {
        // The server may close before it has read everything.
        let writing = async {
            let _ = write.write_all(request).await;
        };
        let (_, read) = tokio::join!(writing, read.read_to_end(&mut bytes));
        read
    };
    within("the end of the connection", exchange).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut rest = text.as_str();
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = match length {
            Some((_, length)) => length.parse().unwrap(),
            None => panic!("no length: {head}"),
        };
        let has_body = !(is_head && answers.is_empty());
        let (body, after) = after.split_at(if has_body { length } else { 0 });
        answers.push((status, body.to_owned()));
        rest = after;
    }
    answers
}

/// Sends every case, and checks its tier against the responses and the upstream's count.
async fn drive(world: &Running, place: &Place, count: impl Fn() -> u64) -> BTreeMap<Tier, Tally> {
    let mut tallies: BTreeMap<Tier, Tally> = BTreeMap::new();
    let mut seen = count();
    for case in cases() {
        let tally = tallies.entry(case.tier).or_default();
        tally.cases += 1;
        let head = case.head(place, world.addr);
        for body in case.bodies(&place.smuggled) {
            let what = format!("{:?}, {}: {head:?}", case.tier, case.name);
            let mut request = bytes(&(head.clone() + &body));
            request.extend(place.marker.as_bytes());
            let answers = answers(world.addr, &request, case.method == "HEAD").await;
            let forwarded = count() - seen;
            seen += forwarded;
            tally.tries += 1;
            let Some((status, _)) = answers.first() else {
                panic!("no answer: {what}");
            };
            let is_refused = *status >= 400;
            let is_closed = answers.len() == 1;
            tally.refused += usize::from(is_refused);
            tally.forwarded += usize::from(!is_refused);
            tally.closed += usize::from(is_closed);
            assert!(answers.len() <= 2, "{what}: {answers:?}");
            match case.tier {
                Tier::Severe => {
                    assert!(is_refused && is_closed, "{what}: {answers:?}");
                    assert_eq!(forwarded, 0, "{what}");
                }
                Tier::Ambiguous => {
                    assert!(is_closed, "{what}: {answers:?}");
                    assert!(forwarded <= 1, "{what}");
                }
                Tier::Acceptable | Tier::Compliant => {
                    assert!(forwarded <= answers.len() as u64, "{what}");
                    assert!(is_refused || !is_closed, "{what}: {answers:?}");
                }
            }
            for (_, body) in &answers {
                let echo: Value = serde_json::from_str(body).unwrap_or_default();
                let target = echo["target"].as_str().unwrap_or_default();
                assert!(!target.contains("smuggled"), "{what}: {body}");
            }
        }
    }
    tallies
}

fn show(title: &str, tallies: &BTreeMap<Tier, Tally>) {
    println!("{title}\n  tier        cases  tries  refused  forwarded  connection closed");
    for (tier, tally) in tallies {
        let name = format!("{tier:?}");
        println!(
            "  {name:<11} {:>5} {:>6} {:>8} {:>10} {:>18}",
            tally.cases, tally.tries, tally.refused, tally.forwarded, tally.closed
        );
    }
}

#[tokio::test]
async fn awss_smuggling_cases_fail_on_an_http_route() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let get = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", world.addr)
    };
    let place = Place {
        path: "/http",
        is_exact: false,
        smuggled: get("/http/smuggled", ""),
        marker: get("/http/marker", "Connection: close\r\n"),
    };
    let count = || world.emulator.stats().gateway.requests;
    let tallies = drive(&world, &place, count).await;
    show("an HTTP route", &tallies);
    let cases: Vec<usize> = tallies.values().map(|tally| tally.cases).collect();
    assert_eq!(cases.iter().sum::<usize>(), 159, "{cases:?}");
    assert!(tallies[&Tier::Severe].cases >= 27);
    assert!(tallies[&Tier::Ambiguous].cases >= 37);
    // Some requests must pass, or the test would prove nothing.
    assert!(tallies[&Tier::Compliant].forwarded * 2 > tallies[&Tier::Compliant].cases);
    world.drained().await;
}

#[tokio::test]
async fn awss_smuggling_cases_fail_on_a_graphql_route() {
    let world = World::builder().in_process().await;
    let post = |query: &str, more: &str| {
        let body = json!({ "query": query }).to_string();
        format!(
            "POST /graphql HTTP/1.1\r\nHost: {}\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n{body}",
            world.addr,
            body.len()
        )
    };
    let mutation = "mutation { postMessage(room: \"lobby\", body: \"smuggled\") { id } }";
    let place = Place {
        path: "/graphql",
        is_exact: true,
        smuggled: post(mutation, ""),
        marker: post("{ rooms { id } }", "Connection: close\r\n"),
    };
    let tallies = drive(&world, &place, || world.emulator.stats().requests.http).await;
    show("a GraphQL route", &tallies);
    let stats = world.emulator.stats();
    assert_eq!(stats.requests.mutations, 0, "{stats:?}");
    assert!(stats.requests.queries > 0, "{stats:?}");
    world.drained().await;
}

/// Sends a request to the HTTP route and keeps the connection open.
fn request(addr: SocketAddr, line: &str, headers: &str) -> String {
    format!("{line}\r\nhost: {addr}\r\n{headers}\r\n")
}

#[tokio::test]
async fn refused_requests_have_a_code_and_close_the_connection() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let addr = world.addr;
    let of = |line: &str, headers: &str| request(addr, line, headers);
    let post = "POST /http/a HTTP/1.1";
    let cases = [
        (
            "HTTP/1.0",
            of("GET /http/a HTTP/1.0", "connection: keep-alive\r\n"),
            505,
            "HTTP_VERSION",
        ),
        (
            "CONNECT, authority-form",
            of("CONNECT upstream:443 HTTP/1.1", ""),
            405,
            "METHOD_NOT_ALLOWED",
        ),
        (
            "CONNECT of a path",
            of("CONNECT /http/a HTTP/1.1", ""),
            405,
            "METHOD_NOT_ALLOWED",
        ),
        (
            "TRACE",
            of("TRACE /http/a HTTP/1.1", ""),
            405,
            "METHOD_NOT_ALLOWED",
        ),
        (
            "asterisk-form",
            of("OPTIONS * HTTP/1.1", "connection: close\r\n"),
            400,
            "TARGET_FORM",
        ),
        (
            "absolute-form",
            of(
                &format!("GET http://{addr}/http/a HTTP/1.1"),
                "connection: close\r\n",
            ),
            400,
            "TARGET_FORM",
        ),
        (
            "a length and chunks",
            of(post, "content-length: 5\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n",
            400,
            "BAD_FRAMING",
        ),
        (
            "chunks and a length",
            of(post, "transfer-encoding: chunked\r\ncontent-length: 5\r\n") + "0\r\n\r\n",
            400,
            "BAD_FRAMING",
        ),
        (
            "two lengths that agree",
            of(post, "content-length: 1\r\ncontent-length: 1\r\n") + "a",
            400,
            "BAD_FRAMING",
        ),
        (
            "a twin",
            of(post, "content_length: 1\r\n"),
            400,
            "BAD_FRAMING",
        ),
        (
            "a twin beside the real one",
            of(post, "transfer_encoding: chunked\r\ncontent-length: 0\r\n"),
            400,
            "BAD_FRAMING",
        ),
        (
            "chunked twice",
            of(post, "transfer-encoding: chunked, chunked\r\n") + "0\r\n\r\n",
            400,
            "BAD_FRAMING",
        ),
        (
            "another coding",
            of(post, "transfer-encoding: gzip, chunked\r\n") + "0\r\n\r\n",
            501,
            "TRANSFER_CODING",
        ),
        (
            "another expectation",
            of(post, "expect: miracles\r\ncontent-length: 1\r\n") + "a",
            417,
            "BAD_EXPECTATION",
        ),
    ];
    for (name, request, status, code) in cases {
        // The marker must not be answered.
        let marker = of("GET /http/marker HTTP/1.1", "connection: close\r\n");
        let answer = raw(addr, (request + &marker).as_bytes()).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.headers["x-countersign-error"], code, "{name}");
        assert_eq!(
            answer.body.matches("\"code\"").count(),
            1,
            "{name}: {answer:?}"
        );
        let said = answer.json();
        let sent = match said["sent"].as_str() {
            Some(sent) => sent,
            None => said["errors"][0]["extensions"]["sent"].as_str().unwrap(),
        };
        assert_eq!(sent, "no", "{name}");
    }
    let stats = world.emulator.stats();
    assert_eq!(stats.gateway.requests, 0, "{stats:?}");
    world.drained().await;
}

/// hyper itself rejects these.
#[tokio::test]
async fn requests_that_hyper_rejects_stay_rejected() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let addr = world.addr;
    let marker = request(addr, "GET /http/marker HTTP/1.1", "connection: close\r\n");
    for headers in [
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: 1, 1\r\n",
        "content-length: +1\r\n",
        "content-length: 0x1\r\n",
        "content-length : 1\r\n",
        "a: b\r\n c\r\n",
        "a: b\rc\r\n",
        "a: b\0c\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
    ] {
        let request = request(addr, "POST /http/a HTTP/1.1", headers) + &marker;
        let answer = raw(addr, request.as_bytes()).await;
        assert_eq!(answer.status, 400, "{headers:?}: {answer:?}");
        let code = &answer.headers["x-countersign-error"];
        assert_eq!(code, "BAD_HEAD", "{headers:?}");
        assert_eq!(answer.body.matches("\"code\"").count(), 1, "{answer:?}");
    }
    for chunk in [
        "_1",
        "0x1",
        "+1",
        "-1",
        "1_",
        " ",
        "g",
        "fffffffffffffffff",
        "1\r\nab",
    ] {
        let head = request(
            addr,
            "POST /http/a HTTP/1.1",
            "transfer-encoding: chunked\r\n",
        );
        let answer = raw(
            addr,
            format!("{head}{chunk}\r\na\r\n0\r\n\r\n{marker}").as_bytes(),
        )
        .await;
        assert_eq!(answer.status, 400, "{chunk:?}: {answer:?}");
        assert_eq!(
            answer.headers["x-countersign-error"], "BODY_BROKEN",
            "{chunk:?}"
        );
        assert_eq!(answer.body.matches("\"code\"").count(), 1, "{answer:?}");
    }
    assert_eq!(world.emulator.stats().gateway.requests, 0);
    world.drained().await;
}

/// Returns the request as upstream received it.
async fn echoed(addr: SocketAddr, request: &str) -> (Answer, Value, String) {
    let answer = raw(addr, request.as_bytes()).await;
    let echo = answer.json();
    let headers = echo["headers"].to_string().to_ascii_lowercase();
    (answer, echo, headers)
}

#[tokio::test]
async fn bodies_are_reframed_and_trailers_are_dropped() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let addr = world.addr;
    let head = request(
        addr,
        "POST /http/a HTTP/1.1",
        "connection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-amz-date\r\n",
    );
    let body = "3;odd=\"x\"\r\nabc\r\n2 \r\nde\r\n0\r\nx-amz-date: 1\r\nauthorization: a\r\nx-late: 1\r\n\r\n";
    let (answer, echo, headers) = echoed(addr, &(head + body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(echo["body_length"], 5);
    assert!(headers.contains("[\"content-length\",\"5\"]"), "{headers}");
    for gone in ["transfer-encoding", "trailer", "x-late"] {
        assert!(!headers.contains(gone), "{headers}");
    }
    // The emulator has verified the signature, which covers the hash of the empty body.
    let empty = request(addr, "PUT /http/a HTTP/1.1", "connection: close\r\n");
    let (answer, echo, headers) = echoed(addr, &empty).await;
    assert_eq!((answer.status, &echo["body_length"]), (200, &json!(0)));
    assert!(headers.contains("[\"content-length\",\"0\"]"), "{headers}");
    // Elasticsearch's clients send bodies by GET.
    let head = request(addr, "GET /http/a HTTP/1.1", "content-length: 3\r\n");
    let marker = request(addr, "GET /http/marker HTTP/1.1", "connection: close\r\n");
    let (answer, echo, _) = echoed(addr, &format!("{head}abc{marker}")).await;
    assert_eq!((answer.status, &echo["body_length"]), (200, &json!(3)));
    assert_eq!(answer.headers["connection"], "close");
    assert_eq!(world.emulator.stats().gateway.requests, 3);
    world.drained().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let addr = world.addr;
    let mut all = String::new();
    for n in 0..4 {
        let line = format!("POST /http/{n} HTTP/1.1");
        all += &(request(addr, &line, "content-length: 3\r\n") + "a\n\n");
        all += &request(addr, &format!("GET /http/{n} HTTP/1.1"), "");
        all += &(request(addr, &line, "transfer-encoding: chunked\r\n") + "1\r\na\r\n0\r\n\r\n");
    }
    all += &request(addr, "GET /http/last HTTP/1.1", "connection: close\r\n");
    let answers = answers(addr, all.as_bytes(), false).await;
    assert_eq!(answers.len(), 13);
    for (at, (status, body)) in answers.iter().enumerate() {
        let echo: Value = serde_json::from_str(body).unwrap();
        let target = match at {
            12 => "/last".to_owned(),
            at => format!("/{}", at / 3),
        };
        assert_eq!((*status, &echo["target"]), (200, &json!(target)));
    }
    world.drained().await;
}

#[tokio::test]
async fn a_client_that_still_sends_can_read_its_error() {
    let world = World::builder()
        .settings(&[("limits.request_body", "1KiB")])
        .in_process()
        .await;
    let big = "x".repeat(8 * 1024 * 1024);
    for _ in 0..5 {
        let answer = post(world.addr, "/graphql", &[JSON], &big).await;
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    assert_eq!(
        get(world.addr, "/graphql?query=%7Brooms%7Bid%7D%7D", &[])
            .await
            .status,
        200
    );
    world.drained().await;
}

/// An upgrade, followed by bytes that must wait until upstream has accepted it.
fn upgrade(addr: SocketAddr, path: &str) -> String {
    let headers = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    request(addr, &format!("GET {path} HTTP/1.1"), headers)
}

#[tokio::test]
async fn bytes_after_an_upgrade_wait_for_upstreams_101() {
    let (told, mut heard) = tokio::sync::mpsc::channel::<String>(4);
    let (agree, agreed) = tokio::sync::watch::channel(false);
    let peer = crate::fakes::TlsPeer::start(&["upstream.example.com"], &["http/1.1"], move |_, stream| {
        let (told, mut agreed) = (told.clone(), agreed.clone());
        async move {
            let mut stream = tokio::io::BufReader::new(stream);
            let request = crate::fakes::Heard::read(&mut stream).await.unwrap();
            told.send(request.line).await.unwrap();
            // Bytes that were sent with the head would be in the buffer, or arrive now.
            let mut byte = [0];
            tokio::select! {
                biased;
                read = stream.read(&mut byte) => panic!("{read:?} before the 101"),
                agreed = agreed.wait_for(|agreed| *agreed) => drop(agreed.unwrap()),
            }
            let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut bytes = [0; 6];
            stream.read_exact(&mut bytes).await.unwrap();
            told.send(String::from_utf8_lossy(&bytes).into_owned()).await.unwrap();
        }
    })
    .await;
    let more = "service = \"execute-api\"\nregion = \"eu-west-1\"";
    let world = World::builder().peer("peer", &peer, "https://upstream.example.com/", more);
    let world = world.daemon().await;
    let addr = world.addr;
    let mut client = TcpStream::connect(addr).await.unwrap();
    let request = upgrade(addr, "/peer") + "\u{1}23456";
    client.write_all(request.as_bytes()).await.unwrap();
    let line = within("the handshake", heard.recv()).await.unwrap();
    assert_eq!(line.trim_end(), "GET / HTTP/1.1");
    agree.send(true).unwrap();
    let bytes = within("the bytes", heard.recv()).await.unwrap();
    assert_eq!(bytes, "\u{1}23456");
    drop(client);
    world.stop().await;
}

/// Bytes after a rejected upgrade are not read as a request.
#[tokio::test]
async fn bytes_after_a_rejected_upgrade_are_dropped() {
    let world = World::builder().routes(&GATEWAY).in_process().await;
    let marker = request(
        world.addr,
        "GET /http/marker HTTP/1.1",
        "connection: close\r\n",
    );
    for path in ["/http/a", "/nowhere", "/graphql"] {
        let upgrade = upgrade(world.addr, path).replace("version: 13", "version: 12");
        let before = world.emulator.stats().gateway.requests;
        let answer = raw(world.addr, (upgrade + &marker).as_bytes()).await;
        assert_ne!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.headers["connection"], "close", "{path}: {answer:?}");
        assert!(!answer.body.contains("marker"), "{answer:?}");
        let after = world.emulator.stats().gateway.requests;
        assert!(after - before <= 1, "{path}");
    }
    world.drained().await;
}
