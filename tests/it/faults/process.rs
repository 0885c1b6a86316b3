//! The beginning and the end of the process: signals, panics, and the order in a pod.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;
use tokio::net::{TcpStream, UnixStream};

use super::Seen;
use super::client::{mutation, open, request_on, slow_mutation};
use super::site::{Setup, Site};
use crate::panics::{self, REQUEST, SPAN};
use crate::support::{World, get, within};

const ROOMS: &str = "{ rooms { id } }";

/// SIGTERM while operations of each kind run.
pub async fn terminated() -> Seen {
    let mut site = Site::new().await;
    let mut live = site.subscribe("/graphql").await;
    site.world.switch(json!({ "gate": true }));
    let is_held = |stats: &countersign_emulator::Stats| {
        stats.requests.queries >= 1 && stats.mutations.contains_key("lobby/drained")
    };
    let (admin, daemon) = (site.admin, site.daemon.pid());
    let change = slow_mutation("drained");
    let (query, change, closed, ()) = tokio::join!(
        site.request("/graphql", "{ slow(ms: 0) }"),
        site.request("/graphql", &change),
        live.end(),
        async {
            site.world.saw("both operations", is_held).await;
            signal(&daemon, "-TERM");
            let ready = async { while get(admin, "/readyz", &[]).await.status == 200 {} };
            within("not ready", ready).await;
            site.world.switch(json!({ "gate": false }));
        }
    );
    assert_eq!(site.daemon.exited().await, 0);
    let mut seen = Seen::of_process([query, change, closed]);
    seen.cells[1].mutation = Some("drained".to_owned());
    site.count(&mut seen);
    seen
}

pub fn signal(pid: &str, name: &str) {
    let sent = std::process::Command::new("kill")
        .args([name, pid])
        .status();
    assert!(sent.unwrap().success());
}

/// SIGKILL while operations run, and a new start, which finds the old unix socket.
pub async fn killed() -> Seen {
    let listen = &["unix:$DIR/countersign.sock"];
    let mut site = Site::start(Setup {
        listen,
        ..Setup::default()
    })
    .await;
    let mut live = site.subscribe("/graphql").await;
    site.world.switch(json!({ "gate": true }));
    let change = slow_mutation("killed");
    let is_held = |stats: &countersign_emulator::Stats| {
        stats.requests.queries >= 1 && stats.mutations.contains_key("lobby/killed")
    };
    let path = site.world.path("countersign.sock");
    let connect = async || UnixStream::connect(&path).await.unwrap();
    let daemon = site.daemon.pid();
    let (query, change, closed, ()) = tokio::join!(
        request_on(connect().await, "/graphql", "{ slow(ms: 0) }"),
        request_on(connect().await, "/graphql", &change),
        live.end(),
        async {
            site.world.saw("both operations", is_held).await;
            signal(&daemon, "-KILL");
        }
    );
    site.world.switch(json!({ "gate": false }));
    assert!(path.exists(), "the socket of the killed process");
    within("the end", site.daemon.child.wait()).await.unwrap();
    let begun = Instant::now();
    site.restart().await;
    assert_eq!(
        request_on(connect().await, "/graphql", ROOMS).await,
        "served"
    );
    println!(
        "served over the unix socket {:?} after the new start",
        begun.elapsed()
    );
    let mut seen = Seen::of_process([query, change, closed]);
    seen.cells[1].mutation = Some("killed".to_owned());
    site.recovery(&mut seen).await;
    seen
}

/// A panic in the request or socket of each kind, in this process.
pub async fn panics() -> Seen {
    let _turn = panics::turn().await;
    let world = World::builder().in_process().await;
    let mut other = world.acked().await;
    other
        .subscribe("other", "subscription { onMessage { body } }")
        .await;
    world.subscriptions(1).await;
    let mut outcomes = Vec::new();
    for query in [ROOMS, &mutation("panicked")] {
        let known = panics::panics("request");
        panics::set_after(1, SPAN, &[]);
        let stream = TcpStream::connect(world.addr).await.unwrap();
        outcomes.push(request_on(stream, "/graphql", query).await);
        panics::one_more("request", known).await;
    }
    let mut socket = open(world.addr, "/graphql").await.unwrap();
    world.subscriptions(2).await;
    let known = panics::panics("socket");
    panics::set(REQUEST, &["graphql.operation.type=\"subscription\""]);
    socket.send(&json!({ "id": "1", "type": "complete" })).await;
    outcomes.push(socket.end().await);
    panics::one_more("socket", known).await;

    // Other clients, and the next operations.
    let begun = Instant::now();
    assert_eq!(world.query(ROOMS).await.status, 200);
    assert_eq!(world.query(&mutation("afterwards")).await.status, 200);
    assert_eq!(other.next_of("other").await["type"], "next");
    let took = begun.elapsed();
    let mut seen = Seen::of_process([outcomes.remove(0), outcomes.remove(0), outcomes.remove(0)]);
    for cell in &mut seen.cells {
        cell.back = Some(took);
    }
    let executed = world
        .emulator
        .stats()
        .mutations
        .contains_key("lobby/panicked");
    seen.cells[1].executed = Some(u64::from(executed));
    seen.neighbour = Some(Ok(took));
    seen
}

/// Clients that have only the IPv6 address of `localhost`.
pub async fn ipv6() -> Seen {
    let listen = &["[::1]:0"];
    let mut site = Site::start(Setup {
        listen,
        ..Setup::default()
    })
    .await;
    let line = "listening on http://[::1]:";
    let found = site
        .daemon
        .log
        .lines()
        .find(|known| known.contains(line))
        .map(str::to_owned);
    let found = match found {
        Some(found) => found,
        None => site.daemon.line(line).await,
    };
    let (_, port) = found.trim().rsplit_once("[::1]:").unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    site.addr = SocketAddr::new("::1".parse().unwrap(), port.parse().unwrap());
    let mut seen = site.all().await;
    site.count(&mut seen);
    seen
}

/// countersign starts before upstream can be reached, and is started and ready nevertheless.
pub async fn starts_first() -> Seen {
    let site = Site::start(Setup {
        is_down: true,
        ..Setup::default()
    })
    .await;
    for path in ["/startupz", "/livez", "/readyz"] {
        assert_eq!(site.health(path).await, 200, "{path}");
    }
    let mut seen = site.all().await;
    site.relay.reopen();
    site.recovery(&mut seen).await;
    seen
}

/// During `drain.delay`, new operations of each kind are served, as the pod's address is still in use.
pub async fn drain_delay() -> Seen {
    let mut site = Site::with("drain.delay = \"2s\"\n").await;
    site.daemon.signal("-TERM");
    let ready = async { while site.health("/readyz").await == 200 {} };
    within("not ready", ready).await;
    let mut seen = site.all().await;
    site.count(&mut seen);
    assert_eq!(site.daemon.exited().await, 0);
    seen
}
