//! Random requests: each arrives as it was signed, or is refused for a listed
//! reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use countersign_emulator::Options;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::NO_HTTP;
use crate::support::{GATEWAY, World, within};

/// The reasons for refusals, and the largest share of requests that may have each.
const CLASSES: [(&str, f64); 6] = [
    ("'.' or '..' segment", 0.05),
    ("empty segment", 0.05),
    ("not UTF-8", 0.05),
    ("without a name", 0.05),
    ("cannot sign the header", 0.05),
    (NO_HTTP, 0.05),
];
const CONNECTIONS: usize = 8;
/// Set RANDOM_REQUESTS for more.
const CASES: usize = 20_000;

struct Random(fastrand::Rng);

impl Random {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.0.usize(..of.len())]
    }

    fn word(&mut self, odd: &[&str]) -> String {
        if self.0.u8(..100) < 12 {
            return self.pick(odd).to_owned();
        }
        let length = self.0.usize(1..9);
        (0..length)
            .map(|_| match self.0.u8(..20) {
                0 => char::from(self.0.u8(b'!'..=b'~')),
                1 => self.0.char('\u{80}'..'\u{3000}'),
                _ => self.0.alphanumeric(),
            })
            // These end a path or a query.
            .filter(|c| !matches!(c, '?' | '#' | '&' | '/' | '"' | '<' | '>' | '`'))
            .collect()
    }

    fn path(&mut self) -> String {
        let odd = [
            "%2F",
            "%zz",
            "%",
            "..",
            ".",
            "%2e",
            "",
            "@connections",
            "a b",
            "<",
        ];
        let segments = self.0.usize(0..4);
        let mut path = String::new();
        for _ in 0..segments {
            path.push('/');
            // Odd segments are rare, so that most requests arrive.
            let segment = match self.0.u8(..6) {
                0 => self.word(&odd),
                _ => self.word(&["%2F", "a%3Db", "~", "a+b"]),
            };
            path.push_str(&segment);
        }
        path
    }

    fn query(&mut self) -> String {
        let names = ["a", "b", "", "X-Amz-Date", "X-Amz-ChannelARN", "é", "a%FF"];
        let values = ["", "1+2", "%2b", "a=b", "%c3%a9", "%FF", "%zz", "+", "\""];
        let pairs = self.0.usize(0..4);
        let pairs: Vec<String> = (0..pairs)
            .map(|_| {
                let name = match self.0.u8(..6) {
                    0 => self.word(&names),
                    _ => self.word(&["flag", "x-y"]),
                };
                match self.0.u8(..5) {
                    0 => name,
                    _ => format!("{name}={}", self.word(&values)),
                }
            })
            .collect();
        match pairs.is_empty() {
            true => String::new(),
            false => format!("?{}", pairs.join("&")),
        }
    }

    /// Returns a request and its body.
    fn request(&mut self, addr: SocketAddr) -> (Vec<u8>, Vec<u8>) {
        let method = self.pick(&["GET", "GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"]);
        let (path, query) = (self.path(), self.query());
        let length = match method {
            "GET" => 0,
            _ => self.0.usize(0..300),
        };
        let body: Vec<u8> = (0..length).map(|_| self.0.u8(..)).collect();
        let mut head = format!("{method} /rest{path}{query} HTTP/1.1\r\nhost: {addr}\r\n");
        for _ in 0..self.0.usize(0..4) {
            let line = self.pick(&[
                "x-team: red",
                "x-team: é",
                "x-amz-meta: plain",
                "x-amz-meta: second value",
                "x-amz-target: a  b",
                "accept: */*",
                "authorization: Basic x",
                "x-amz-security-token: t",
                "connection: x-team, authorization",
                "content-type: application/json",
                "content-type: a/b;  c=d",
                "cookie: a=b",
            ]);
            // Headers that cannot be signed are rare too.
            if line.contains("a  b") && self.0.u8(..4) > 0 {
                continue;
            }
            head.push_str(line);
            head.push_str("\r\n");
        }
        let is_chunked = !body.is_empty() && self.0.u8(..4) == 0;
        let mut request = head.into_bytes();
        if is_chunked {
            request.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            for piece in body.chunks(97) {
                request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                request.extend_from_slice(piece);
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"0\r\n\r\n");
        } else {
            request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            request.extend_from_slice(&body);
        }
        (request, body)
    }
}

/// Reads one response of a kept connection, or `None` if it was closed without one.
async fn answer(stream: &mut TcpStream) -> Option<(u16, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let status = head.split(' ').nth(1)?.parse().ok()?;
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            while read.len() < end + 4 + length {
                if stream.read_buf(&mut read).await.ok()? == 0 {
                    return None;
                }
            }
            return Some((status, read[end + 4..].to_vec()));
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

async fn random_requests(
    addr: SocketAddr,
    seed: u64,
    count: usize,
) -> BTreeMap<&'static str, usize> {
    let mut random = Random(fastrand::Rng::with_seed(seed));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut counts = BTreeMap::new();
    for _ in 0..count {
        let (request, body) = random.request(addr);
        let shown = || String::from_utf8_lossy(&request).into_owned();
        stream.write_all(&request).await.unwrap();
        let (status, text) = within("an answer", answer(&mut stream))
            .await
            .unwrap_or_else(|| panic!("no answer to {}", shown()));
        let class = match status {
            200 => {
                let echo: Value = serde_json::from_slice(&text).unwrap();
                assert_eq!(echo["body_length"], body.len(), "{}", shown());
                assert_eq!(echo["body_sha256"], sha256(&body), "{}", shown());
                "verified"
            }
            400 => {
                let message = String::from_utf8_lossy(&text);
                let class = CLASSES.iter().find(|(class, _)| match *class {
                    NO_HTTP => message.contains("BAD_HEAD"),
                    class => message.contains(class),
                });
                let (class, _) = class.unwrap_or_else(|| panic!("{message}: {}", shown()));
                // A connection with an unread body, or without valid HTTP, is closed.
                stream = TcpStream::connect(addr).await.unwrap();
                *class
            }
            status => panic!("{status} {}: {}", String::from_utf8_lossy(&text), shown()),
        };
        *counts.entry(class).or_insert(0) += 1;
    }
    counts
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_requests_arrive_as_they_were_signed() {
    let options = Options {
        http2: false,
        ..Options::default()
    };
    let world = World::builder()
        .emulator(options)
        .routes(&GATEWAY)
        .in_process()
        .await;
    let cases = std::env::var("RANDOM_REQUESTS").map_or(CASES, |cases| cases.parse().unwrap());
    let workers = (0..CONNECTIONS).map(|worker| {
        let seed = 0x5eed + worker as u64;
        tokio::spawn(random_requests(world.addr, seed, cases / CONNECTIONS))
    });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for worker in join_all(workers).await {
        for (class, count) in worker.unwrap() {
            *counts.entry(class).or_insert(0) += count;
        }
    }
    let all: usize = counts.values().sum();
    println!("{all} requests: {counts:?}");
    for (class, most) in CLASSES {
        let count = counts.get(class).copied().unwrap_or_default();
        assert!(count > 0, "{class} was not met");
        assert!(
            (count as f64) < most * all as f64,
            "{class}: {count} of {all}"
        );
    }
    let stats = world.emulator.stats();
    assert_eq!(stats.gateway.verified as usize, counts["verified"]);
    assert_eq!(stats.gateway.refused, BTreeMap::new());
    world.drained().await;
}
