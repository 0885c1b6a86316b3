//! Faults of clients: they vanish, do not read, or send what is invalid or too much.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

use super::client::{SUBSCRIBE, acknowledged, describe, open, post_bytes, slow_mutation};
use super::relay::{Mode, Script};
use super::site::{Setup, Site};
use super::{Cell, Seen};
use crate::load::allow_files;
use crate::support::within;

/// Each client resets its connection while its operation runs.
pub async fn vanishes() -> Seen {
    let filter = "info";
    let mut site = Site::start(Setup {
        filter,
        ..Setup::default()
    })
    .await;
    let query = vanish(&mut site, "{ slow(ms: 0) }").await;
    let mut mutation = vanish(&mut site, &slow_mutation("vanished")).await;
    mutation.mutation = Some("vanished".to_owned());

    let live = site.subscribe("/graphql").await;
    let MaybeTlsStream::Plain(stream) = live.0.get_ref() else {
        unreachable!("the socket is not encrypted");
    };
    stream.set_zero_linger().unwrap();
    drop(live);
    let is_stopped = |site: &Site| site.world.emulator.stats().realtime.subscriptions == 1;
    let took = site.wait("the stop", is_stopped).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let mut seen = Seen {
        cells: [query, mutation, Cell::new("stopped upstream")],
        neighbour: Some(site.undisturbed().await),
    };
    site.world.switch(json!({ "gate": false }));
    site.recovery(&mut seen).await;
    seen
}

/// Sends an operation, waits until the emulator executes it, and resets the connection.
async fn vanish(site: &mut Site, query: &str) -> Cell {
    site.world.switch(json!({ "gate": true }));
    let before = site.world.emulator.stats().requests.clone();
    let mut stream = TcpStream::connect(site.addr).await.unwrap();
    stream.set_zero_linger().unwrap();
    let request = post_bytes("/graphql", query, "close");
    stream.write_all(request.as_bytes()).await.unwrap();
    let is_executed = |stats: &countersign_emulator::Stats| {
        let now = &stats.requests;
        now.queries + now.mutations > before.queries + before.mutations
    };
    site.world.saw("the operation", is_executed).await;
    let open = site.relay.open();
    drop(stream);
    let took = site
        .wait("the cancellation", |site| site.relay.open() < open)
        .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let line = site.daemon.line("CANCELLED").await;
    let sent = ["no", "maybe", "yes"].into_iter().find(|sent| {
        line.contains(&format!("sent=\"{sent}\"")) || line.contains(&format!("sent={sent}"))
    });
    match sent {
        Some(sent) => Cell::new(format!("cancelled upstream, logged CANCELLED, sent {sent}")),
        None => Cell::new("cancelled upstream, logged CANCELLED"),
    }
}

/// Clients of 1 GiB do not read it. The relay counts how much countersign takes.
pub async fn does_not_read() -> Seen {
    // Two of the events below fit into an outbox, because the one that the neighbour has just read may
    // still be counted when the next one comes.
    let site = Site::with("timeouts.write = \"1s\"\nlimits.outbox = \"256KiB\"\n").await;
    let script = Script {
        head: b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                content-length: 1073741824\r\n\r\n"
            .to_vec(),
        piece: vec![b'x'; 64 * 1024],
        times: 16 * 1024,
        ..Script::default()
    };
    site.relay.set(Mode::Answer(Arc::new(script)));
    let reading = tokio::join!(
        unread(&site, "{ rooms { id } }"),
        unread(
            &site,
            "mutation { postMessage(room: \"lobby\", body: \"unread\") { body } }"
        ),
    );
    site.relay.set(Mode::Forward);
    let neighbour = site.undisturbed().await;

    // The neighbour reads, and gets every event.
    let subscriptions = || site.world.emulator.stats().realtime.live;
    let others = subscriptions();
    let mut live = site.subscribe("/graphql").await;
    let own = subscriptions();
    let own = own.iter().find(|own| !others.contains(own)).unwrap();
    let body = json!({ "onMessage": { "body": "x".repeat(100_000) } });
    let frame = json!({ "id": "$ID", "type": "data", "payload": { "data": body } }).to_string();
    let overflow = async {
        while subscriptions().contains(own) {
            site.world.switch(json!({ "send_all": frame }));
            let mut neighbour = site.neighbour.lock().await;
            site.event(neighbour.as_mut().unwrap()).await;
        }
    };
    within("the end of the slow subscription", overflow).await;
    let subscription = Cell::new(live.end().await);
    let mut seen = Seen {
        cells: [reading.0, reading.1, subscription],
        neighbour: Some(neighbour),
    };
    site.recovery(&mut seen).await;
    seen
}

/// Requests a response, and reads it only after countersign has given up.
async fn unread(site: &Site, query: &str) -> Cell {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(site.addr).await.unwrap();
    let request = post_bytes("/graphql", query, "close");
    stream.write_all(request.as_bytes()).await.unwrap();
    site.wait("the response", |site| site.relay.written() > 1 << 20)
        .await;
    site.wait("the end of the response", |site| site.relay.open() == 0)
        .await;
    let taken = site.relay.written();
    assert!(taken < 32 << 20, "{taken} bytes were taken");
    let mut bytes = Vec::new();
    let _ = within("the rest", stream.read_to_end(&mut bytes)).await;
    Cell::new(describe(&bytes))
}

/// A second operation with the id of one that runs.
pub async fn duplicate_id() -> Seen {
    let site = Site::new().await;
    site.world.switch(json!({ "gate": true }));
    let again = async |query: &str| {
        let mut live = site.subscribe("/graphql").await;
        live.start("2", query).await;
        live.start("2", query).await;
        Cell::new(live.end().await)
    };
    let name = "duplicate";
    let query = again("{ slow(ms: 0) }").await;
    let mut mutation = again(&slow_mutation(name)).await;
    mutation.mutation = Some(name.to_owned());
    let subscription = again(SUBSCRIBE).await;
    site.world.switch(json!({ "gate": false }));
    let mut seen = Seen {
        cells: [query, mutation, subscription],
        neighbour: Some(site.undisturbed().await),
    };
    site.recovery(&mut seen).await;
    seen
}

/// Operations of 2 MiB.
pub async fn oversize() -> Seen {
    let site = Site::new().await;
    let comment = "x".repeat(2 << 20);
    let large = |query: &str| format!("{query} #{comment}");
    let query = Cell::new(site.request("/graphql", &large("{ rooms { id } }")).await);
    let mutation = Cell {
        mutation: Some("large".to_owned()),
        ..Cell::new(
            site.request("/graphql", &large(&slow_mutation("large")))
                .await,
        )
    };
    let mut live = site.subscribe("/graphql").await;
    live.start("2", &large(SUBSCRIBE)).await;
    let mut seen = Seen {
        cells: [query, mutation, Cell::new(live.end().await)],
        neighbour: Some(site.undisturbed().await),
    };
    site.recovery(&mut seen).await;
    seen
}

/// Bodies that are not UTF-8; frames that RFC 6455 forbids.
pub async fn invalid() -> Seen {
    let site = Site::new().await;
    let body = async |query: &[u8]| {
        let body = [&b"{\"query\":\""[..], query, b"\xff\"}"].concat();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        stream
            .write_all(&[head.as_bytes(), &body].concat())
            .await
            .unwrap();
        let mut bytes = Vec::new();
        let _ = within("a response", stream.read_to_end(&mut bytes)).await;
        Cell::new(describe(&bytes))
    };
    let query = body(b"{ rooms { id } } #").await;
    let mutation =
        body(b"mutation { postMessage(room: \\\"lobby\\\", body: \\\"bad\\\") { id } } #").await;
    // The mask is zero, so the payload is as it stands.
    let frames: [(&str, &[u8]); 4] = [
        ("invalid UTF-8", &[0x81, 0x81, 0, 0, 0, 0, 0xff]),
        ("reserved bit", &[0xc1, 0x81, 0, 0, 0, 0, b'x']),
        ("reserved opcode", &[0x83, 0x81, 0, 0, 0, 0, b'x']),
        ("unmasked", &[0x81, 0x01, b'x']),
    ];
    let mut outcomes = Vec::new();
    for (name, frame) in frames {
        let mut live = site.subscribe("/graphql").await;
        let MaybeTlsStream::Plain(stream) = live.0.get_mut() else {
            unreachable!("the socket is not encrypted");
        };
        stream.write_all(frame).await.unwrap();
        outcomes.push(format!("{name}: {}", live.end().await));
    }
    let mut seen = Seen {
        cells: [query, mutation, Cell::new(outcomes.join(", "))],
        neighbour: Some(site.undisturbed().await),
    };
    site.recovery(&mut seen).await;
    seen
}

/// A thousand idle sockets. New connections are accepted within 50 ms, and then all are alive.
pub async fn idle_sockets() -> Seen {
    const SOCKETS: usize = 1_000;
    allow_files(3 * SOCKETS as u64);
    let site = quiet("").await;
    let opening = futures_util::stream::iter(0..SOCKETS);
    let opening = opening.map(|_| acknowledged(site.addr, "/graphql"));
    let sockets: Vec<_> = opening.buffer_unordered(50).collect().await;
    let mut sockets: Vec<_> = sockets.into_iter().map(Result::unwrap).collect();
    let mut times = Vec::new();
    for _ in 0..11 {
        let begun = Instant::now();
        TcpStream::connect(site.addr).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    assert!(times[5] < Duration::from_millis(50), "{times:?}");
    let mut seen = site.all().await;
    site.count(&mut seen);
    let alive = sockets.iter_mut().map(async |socket| {
        socket.0.send(Message::Ping("alive?".into())).await.unwrap();
        loop {
            match socket.0.next().await {
                Some(Ok(Message::Pong(_))) => return,
                Some(Ok(_)) => {}
                other => panic!("an idle socket: {other:?}"),
            }
        }
    });
    within("a pong on each socket", join_all(alive)).await;
    seen
}

/// Upstream's connection is lost under five hundred subscriptions, and all clients come back at once.
pub async fn storm() -> Seen {
    const SOCKETS: usize = 500;
    allow_files(4 * SOCKETS as u64);
    let site = quiet("pool.spread = \"1ms\"\n").await;
    let sockets = open_many(&site, SOCKETS).await;
    let all = SOCKETS + 1;
    site.world.subscriptions(all).await;
    let before = site.world.emulator.stats().realtime.connections_total;
    *site.neighbour.lock().await = None;
    site.world.switch(json!({ "close_all": true }));
    let closed = join_all(
        sockets
            .into_iter()
            .map(async |mut socket| socket.end().await),
    )
    .await;
    let all_closed = closed.iter().all(|outcome| outcome == "closed 1012");
    assert!(
        all_closed,
        "{:?}",
        closed.iter().find(|outcome| *outcome != "closed 1012")
    );
    let begun = Instant::now();
    let (query, mutation, sockets) = tokio::join!(
        site.send(super::Kind::Query),
        site.send(super::Kind::Mutation),
        open_many(&site, SOCKETS)
    );
    site.world.subscriptions(SOCKETS).await;
    let took = begun.elapsed();
    let dials = site.world.emulator.stats().realtime.connections_total - before;
    let few = match dials {
        ..=12 => "few".to_owned(),
        _ => dials.to_string(),
    };
    let outcome = format!("all {} served on {few} connections", sockets.len());
    let mut seen = Seen {
        cells: [query, mutation, Cell::new(outcome)],
        neighbour: None,
    };
    seen.cells[2].back = Some(took);
    site.count(&mut seen);
    println!("{SOCKETS} subscriptions after {took:?}, with {dials} connections");
    seen
}

/// A site that writes no line for each connection.
async fn quiet(config: &str) -> Site {
    let setup = Setup {
        // Their clients read nothing for a while.
        config: format!("timeouts.ping = \"5m\"\n{config}"),
        filter: "info,countersign::request=off,countersign::realtime=off",
        ..Setup::default()
    };
    Site::start(setup).await
}

/// Opens sockets with one subscription each, fifty at a time.
async fn open_many(site: &Site, count: usize) -> Vec<super::client::Subscription> {
    let opening = futures_util::stream::iter(0..count)
        .map(|_| async {
            loop {
                // Until upstream is back, sockets are closed before the acknowledgement.
                match open(site.addr, "/graphql").await {
                    Ok(socket) => return socket,
                    Err(outcome) => assert_eq!(outcome, "closed 1013"),
                }
            }
        })
        .buffer_unordered(50);
    opening.collect().await
}
