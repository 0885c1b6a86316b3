//! Faults between countersign and upstream: DNS, TCP, TLS and HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::relay::{Certificate, Mode, Part, Script};
use super::site::{Setup, Site};
use super::{Kind, Seen};
use crate::dialling::{Dead, Inside};

/// Timeouts of a second for what the rows wait for.
const SHORT: &str = "timeouts.connect = \"1s\"\ntimeouts.first_byte = \"1s\"\n\
                     timeouts.idle = \"1s\"\npool.handshake = \"1s\"\n";
const NAME: &str = "two.example";

pub async fn port_closed() -> Seen {
    let site = Site::new().await;
    site.relay.close().await;
    let mut seen = site.all().await;
    site.relay.reopen();
    site.recovery(&mut seen).await;
    seen
}

/// A site whose upstream is `NAME`, with its own /etc/hosts.
async fn named(relay: SocketAddr, hosts: &str) -> (Site, Arc<Inside>) {
    // Nothing listens there, so a name that is not in the file is an error at once.
    let inside = Arc::new(Inside::new("faults", hosts, "nameserver 127.0.0.78\n"));
    let launcher = Arc::clone(&inside);
    let site = Site::start(Setup {
        relay,
        connect: Some("two.example:PORT"),
        config: "pool.max_age = \"300ms\"\n".to_owned(),
        launch: Some(Box::new(move |arguments| {
            launcher.command(env!("CARGO_BIN_EXE_countersign"), arguments)
        })),
        ..Setup::default()
    });
    (site.await, inside)
}

pub async fn no_such_name() -> Seen {
    let (site, inside) = named(([127, 0, 0, 1], 0).into(), "127.0.0.1 localhost\n").await;
    let mut seen = site.all().await;
    std::fs::write(&inside.hosts, format!("127.0.0.1 {NAME}\n")).unwrap();
    site.recovery(&mut seen).await;
    seen
}

pub async fn dead_first_address() -> Seen {
    let hosts = format!("127.0.0.2 {NAME}\n127.0.0.3 {NAME}\n");
    let (site, _inside) = named(([127, 0, 0, 3], 0).into(), &hosts).await;
    let dead = SocketAddr::from(([127, 0, 0, 2], site.relay.addr.port()));
    let _end = Dead::BlackHole.at(dead).await;
    let mut seen = site.all().await;
    site.count(&mut seen);
    seen
}

/// The connections to the old address serve until they are older than `pool.max_age`.
pub async fn dns_change() -> Seen {
    let hosts = format!("127.0.0.2 {NAME}\n");
    let (site, inside) = named(([127, 0, 0, 3], 0).into(), &hosts).await;
    let old = SocketAddr::from(([127, 0, 0, 2], site.relay.addr.port()));
    let refusing = Dead::Refused.at(old).await;
    assert!(site.send(Kind::Query).await.outcome.starts_with("502 "));
    std::fs::write(&inside.hosts, format!("127.0.0.3 {NAME}\n")).unwrap();
    let mut back = Seen::of_process([""; 3]);
    site.recovery(&mut back).await;
    let mut seen = site.all().await;
    for (cell, before) in seen.cells.iter_mut().zip(back.cells) {
        cell.back = before.back;
    }
    site.count(&mut seen);
    drop(refusing);
    seen
}

pub async fn no_answer() -> Seen {
    Site::with(SHORT).await.under(Mode::Mute).await
}

pub async fn reset_before_response() -> Seen {
    Site::new().await.under(Mode::Cut(Part::Nothing)).await
}

/// Only connections that are in the pool are reset.
pub async fn reset_of_pooled() -> Seen {
    let site = Site::new().await;
    site.pool(4).await;
    site.relay.set_for_open(Mode::Cut(Part::Nothing));
    let mut seen = site.all().await;
    site.relay.set(Mode::Forward);
    site.recovery(&mut seen).await;
    seen
}

pub async fn reset_in_head() -> Seen {
    Site::new().await.under(Mode::Cut(Part::SomeHead)).await
}

pub async fn reset_in_body() -> Seen {
    Site::new().await.under(Mode::Cut(Part::Head)).await
}

pub async fn drip() -> Seen {
    Site::new()
        .await
        .under(Mode::Drip(Duration::from_millis(10)))
        .await
}

pub async fn stall_in_body() -> Seen {
    Site::with(SHORT).await.under(Mode::Hold(Part::Head)).await
}

pub async fn vanished_http1() -> Seen {
    vanished(&["http/1.1"], SHORT).await
}

pub async fn vanished_http2() -> Seen {
    // A ping is sent after 5 s of silence, and is waited for as long.
    vanished(&["h2", "http/1.1"], "").await
}

/// The pooled connections forward nothing more and are not closed. New ones work.
async fn vanished(alpn: &'static [&'static str], config: &str) -> Seen {
    let setup = Setup {
        alpn,
        config: config.to_owned(),
        ..Setup::default()
    };
    let site = Site::start(setup).await;
    site.pool(4).await;
    site.relay.set_for_open(Mode::Freeze);
    let mut seen = site.all().await;
    site.recovery(&mut seen).await;
    seen
}

pub async fn expired_certificate() -> Seen {
    present(Certificate::Expired).await
}

pub async fn wrong_name() -> Seen {
    present(Certificate::WrongName).await
}

pub async fn unknown_authority() -> Seen {
    present(Certificate::SelfSigned).await
}

async fn present(certificate: Certificate) -> Seen {
    Site::new().await.under(Mode::Present(certificate)).await
}

pub async fn old_tls() -> Seen {
    Site::new().await.under(Mode::OldTls).await
}

pub async fn handshake_stalls() -> Seen {
    Site::with(SHORT).await.under(Mode::Freeze).await
}

/// Both forms of `Retry-After` arrive as they were sent.
pub async fn throttled() -> Seen {
    refused("429 Too Many Requests", "7").await
}

pub async fn unavailable() -> Seen {
    refused("503 Service Unavailable", "Fri, 31 Dec 2027 23:59:59 GMT").await
}

async fn refused(status: &str, after: &str) -> Seen {
    let body = r#"{"errors":[{"errorType":"ThrottlingException","message":"Rate exceeded"}]}"#;
    let response = format!(
        "HTTP/1.1 {status}\r\nretry-after: {after}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    Site::new().await.under(Script::once(response)).await
}

pub async fn malformed() -> Seen {
    let response = "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello";
    Site::new().await.under(Script::once(response)).await
}

/// Informational responses without an end.
pub async fn early_hints() -> Seen {
    let script = Script {
        piece: b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(100),
        times: usize::MAX,
        ..Script::default()
    };
    Site::with(SHORT)
        .await
        .under(Mode::Answer(Arc::new(script)))
        .await
}

/// A response of 64 MiB, which would not fit into the limit of memory.
pub async fn huge() -> Seen {
    let chunk = |text: &[u8]| {
        let mut chunk = format!("{:x}\r\n", text.len()).into_bytes();
        chunk.extend(text);
        chunk.extend(b"\r\n");
        chunk
    };
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\n\r\n";
    let script = Script {
        head: [&head[..], &chunk(br#"{"data":{"a":""#)].concat(),
        piece: chunk(&[b'x'; 64 * 1024]),
        times: 1024,
        tail: [&chunk(br#""}}"#)[..], b"0\r\n\r\n"].concat(),
    };
    let site = Site::with("limits.memory = \"128MiB\"\n").await;
    site.relay.set(Mode::Answer(Arc::new(script)));
    let mut seen = site.all().await;
    site.relay.set(Mode::Forward);
    // The relay has answered the mutation, and the emulator did not see it.
    seen.cells[1].mutation = None;
    site.recovery(&mut seen).await;
    seen
}
