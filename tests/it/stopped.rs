//! A process that was stopped for longer than its timeouts closes no client that did its part.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_emulator::Stats;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Answer, Daemon, GATEWAY, Running, Socket, World, raw_on, within};

const SUBSCRIPTION: &str = "subscription { onMessage(room: \"lobby\") { body } }";

/// Stops the process while `meanwhile` runs, and until every timeout of `limit` has passed.
async fn stop(world: &Running<Daemon>, limit: Duration, meanwhile: impl Future<Output = ()>) {
    world.countersign.signal("-STOP");
    meanwhile.await;
    tokio::time::sleep(limit + limit / 2).await;
    world.countersign.signal("-CONT");
}

/// Opens a socket and, unless it is a tunnel's, starts a subscription.
async fn open(addr: SocketAddr, protocol: &str) -> Socket {
    let (path, start) = match protocol {
        "graphql-transport-ws" => ("/graphql", "subscribe"),
        "graphql-ws" => ("/graphql", "start"),
        _ => return Socket::dial(addr, "/ws", protocol, &[]).await,
    };
    let mut socket = Socket::dial(addr, path, protocol, &[]).await;
    socket.send(json!({ "type": "connection_init" })).await;
    let payload = json!({ "query": SUBSCRIPTION });
    socket
        .send(json!({ "id": "1", "type": start, "payload": payload }))
        .await;
    socket
}

/// Opens a stream of Server-Sent Events.
async fn stream(addr: SocketAddr) -> TcpStream {
    let body = json!({ "query": SUBSCRIPTION }).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads to the first ping, and leaves its pong unsent.
async fn pinged(socket: &mut Socket) {
    let ping = async { while !matches!(socket.0.next().await, Some(Ok(Message::Ping(_)))) {} };
    within("a ping", ping).await;
}

/// Returns whether the socket answers a ping, and received the message if it has a subscription.
async fn is_open(socket: &mut Socket, is_subscribed: bool) -> bool {
    if socket.0.send(Message::Ping("?".into())).await.is_err() {
        return false;
    }
    let (mut has_pong, mut has_message) = (false, !is_subscribed);
    let received = async {
        while !(has_pong && has_message) {
            match socket.0.next().await {
                Some(Ok(Message::Pong(_))) => has_pong = true,
                Some(Ok(Message::Text(text))) => has_message |= text.contains("still here"),
                Some(Ok(Message::Ping(_))) => {}
                _ => return false,
            }
        }
        true
    };
    within("a pong and the message", received).await
}

#[tokio::test]
async fn sockets_whose_pongs_wait_to_be_read_stay_open() {
    let limit = Duration::from_secs(2);
    let world = World::builder()
        .routes(&GATEWAY)
        .config("timeouts.ping = \"2s\"\ntimeouts.write = \"1s\"\ntimeouts.idle_client = \"1s\"\n")
        .daemon()
        .await;
    let addr = world.addr;
    let protocols = ["graphql-transport-ws", "graphql-ws"];
    let opening = (0..50).map(|n| open(addr, protocols[n % 2]));
    let mut sockets = join_all(opening).await;
    let mut tunnel = open(addr, "tunnel").await;
    let mut streams = join_all((0..9).map(|_| stream(addr))).await;
    join_all(sockets.iter_mut().map(pinged)).await;
    world.subscriptions(59).await;
    stop(&world, limit, async {
        for socket in &mut sockets {
            socket.0.flush().await.unwrap();
        }
    })
    .await;
    let mutation = "mutation { postMessage(room: \"lobby\", body: \"still here\") { room body } }";
    assert_eq!(world.query(mutation).await.status, 200);
    let checks = join_all(sockets.iter_mut().map(|socket| is_open(socket, true))).await;
    let open = checks.iter().filter(|is_open| **is_open).count();
    assert_eq!(open, 50, "sockets that are still open");
    assert!(is_open(&mut tunnel, false).await);
    for stream in &mut streams {
        let mut text = String::new();
        while !text.contains("still here") {
            let mut bytes = [0; 1024];
            let read = within("an event", stream.read(&mut bytes)).await.unwrap();
            assert!(read > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }
    drop((sockets, tunnel, streams));
    world.stop().await;
}

/// Reads one response with a length.
async fn answered(stream: &mut TcpStream) {
    let mut text = String::new();
    while !text.contains("\"rooms\"") {
        let mut bytes = [0; 4096];
        let read = within("a response", stream.read(&mut bytes)).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
}

#[tokio::test]
async fn requests_that_arrive_while_the_process_is_stopped_are_answered() {
    let limit = Duration::from_secs(1);
    let names = ["idle_client", "request_head", "request_body"];
    let config = names.map(|name| format!("timeouts.{name} = \"1s\"\n"));
    let world = World::builder()
        .routes(&GATEWAY)
        .config(&(config.concat() + "timeouts.request_body_total = \"1s\"\n"))
        .daemon()
        .await;
    let addr = world.addr;
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    let request = |connection: &str| {
        format!(
            "POST /graphql HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\n\
             connection: {connection}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let last = request("close");
    let (head, _) = last.split_once("\r\n\r\n").unwrap();
    // What each client sends before the stop. The third one has had a response already.
    let begins = [
        "",
        &last[..20],
        "",
        &last[..head.len() + 4],
        &last[..last.len() - 3],
    ];
    let mut clients = Vec::new();
    for (n, begin) in begins.into_iter().enumerate() {
        let mut client = TcpStream::connect(addr).await.unwrap();
        if n == 2 {
            client
                .write_all(request("keep-alive").as_bytes())
                .await
                .unwrap();
            answered(&mut client).await;
        }
        client.write_all(begin.as_bytes()).await.unwrap();
        clients.push(client);
    }
    // The connections before this one have been accepted, too.
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    stop(&world, limit, async {
        for (client, begin) in clients.iter_mut().zip(begins) {
            let rest = &last.as_bytes()[begin.len()..];
            client.write_all(rest).await.unwrap();
        }
    })
    .await;
    for (client, begin) in clients.into_iter().zip(begins) {
        let answer: Answer = raw_on(client, b"").await;
        assert_eq!(
            answer.status,
            200,
            "after {} bytes: {answer:?}",
            begin.len()
        );
    }
    world.stop().await;
}

/// The end of the linger time was noticed late and postponed without being moved, in a loop without end.
#[tokio::test]
async fn an_unused_realtime_connection_is_closed_after_a_stop() {
    let world = World::builder()
        .config("pool.linger = \"1s\"\n")
        .daemon()
        .await;
    let mut socket = open(world.addr, "graphql-transport-ws").await;
    world.subscriptions(1).await;
    socket.send(json!({ "id": "1", "type": "complete" })).await;
    world.subscriptions(0).await;
    // By now, the end of the subscription has been confirmed.
    assert_eq!(world.query("{ rooms { id } }").await.status, 200);
    stop(&world, Duration::from_secs(2), async {}).await;
    let is_closed = |stats: &Stats| stats.realtime.connections == 0;
    world.saw("the close", is_closed).await;
    drop(socket);
    world.stop().await;
}
