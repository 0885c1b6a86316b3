//! Faults of upstream's realtime connections.

use std::time::Duration;

use countersign_emulator::Options;
use serde_json::{Value, json};

use super::client::{Subscription, open};
use super::relay::{Mode, Part};
use super::site::{Setup, Site};
use super::{Cell, Kind, Seen};

/// A close is not spread over time.
const PROMPT: &str = "pool.spread = \"1ms\"\npool.handshake = \"1s\"\n";

async fn start(options: Options, route: &'static str) -> Site {
    let config = PROMPT.to_owned();
    Site::start(Setup {
        options,
        config,
        route,
        ..Setup::default()
    })
    .await
}

/// Breaks upstream's connections under a live subscription, and sends a query and a mutation meanwhile.
async fn break_live(site: &Site, live: &mut Subscription, change: Value) -> Seen {
    // The switch applies to the connection of the neighbour too.
    *site.neighbour.lock().await = None;
    site.world.switch(change);
    let (query, mutation, outcome) = tokio::join!(
        site.send(Kind::Query),
        site.send(Kind::Mutation),
        site.event(live)
    );
    Seen {
        cells: [query, mutation, Cell::new(outcome)],
        neighbour: None,
    }
}

/// How upstream ends a connection: without a close frame, or with a code.
fn ends() -> [Value; 5] {
    let codes = [1000, 1001, 1011, 1012].map(|code| json!({ "close_clean": code }));
    let [a, b, c, d] = codes;
    [a, b, c, d, json!({ "close_all": true })]
}

async fn ended(route: &'static str) -> Seen {
    let site = start(Options::default(), route).await;
    let mut all: Option<Seen> = None;
    for end in ends() {
        let mut live = site.subscribe("/graphql").await;
        let mut seen = break_live(&site, &mut live, end.clone()).await;
        site.recovery(&mut seen).await;
        if let Some(first) = &all {
            for (first, cell) in first.cells.iter().zip(&seen.cells) {
                assert_eq!(first.outcome, cell.outcome, "{end}");
            }
        }
        all = Some(seen);
    }
    all.unwrap()
}

pub async fn closes() -> Seen {
    ended("").await
}

pub async fn closes_and_resumes() -> Seen {
    ended("on_upstream_loss = \"resume\"").await
}

/// A rejection of one subscription, and the event of another on the same socket.
pub async fn one_rejected() -> Seen {
    let site = start(Options::default(), "").await;
    let mut live = site.subscribe("/graphql").await;
    let rejection = json!({ "errors": [{ "errorType": "Unauthorized", "message": "denied" }] });
    site.world
        .switch(json!({ "refuse_start": rejection.to_string() }));
    live.start("2", super::client::SUBSCRIBE).await;
    let rejected = live.end().await;
    site.world.switch(json!({ "refuse_start": "" }));
    let sibling = site.event(&mut live).await;
    let mut seen = site.all().await;
    seen.cells[2].outcome = format!("{rejected}; sibling {sibling}");
    site.count(&mut seen);
    seen
}

pub async fn silent() -> Seen {
    let options = Options {
        connection_timeout: Duration::from_millis(500),
        ka_interval: Duration::from_millis(100),
        ..Options::default()
    };
    let site = start(options, "").await;
    let mut live = site.subscribe("/graphql").await;
    *site.neighbour.lock().await = None;
    // Events would count as a sign of life.
    site.world.switch(json!({ "stop_ka": true }));
    let outcome = live.end().await;
    let (query, mutation) = tokio::join!(site.send(Kind::Query), site.send(Kind::Mutation));
    site.world.switch(json!({ "stop_ka": false }));
    let mut seen = Seen {
        cells: [query, mutation, Cell::new(outcome)],
        neighbour: None,
    };
    site.recovery(&mut seen).await;
    seen
}

pub async fn no_acknowledgement() -> Seen {
    let site = start(Options::default(), "").await;
    site.relay.set(Mode::Hold(Part::Head));
    let (subscription, neighbour) = tokio::join!(site.send(Kind::Subscription), site.undisturbed());
    site.relay.set(Mode::Forward);
    let mut seen = Seen {
        cells: [Cell::default(), Cell::default(), subscription],
        neighbour: Some(neighbour),
    };
    site.recovery(&mut seen).await;
    seen
}

/// Seven subscriptions on connections that take three.
pub async fn full_connections() -> Seen {
    let options = Options {
        max_subscriptions: 3,
        ..Options::default()
    };
    let site = start(options, "").await;
    let mut sockets = Vec::new();
    for _ in 0..7 {
        sockets.push(open(site.addr, "/graphql").await.unwrap());
    }
    let mut seen = site.all().await;
    for socket in &mut sockets {
        seen.cells[2].outcome = site.event(socket).await;
        assert_eq!(seen.cells[2].outcome, "served");
    }
    site.count(&mut seen);
    seen
}

/// Throttled starts are repeated until one is accepted.
pub async fn throttled_starts() -> Seen {
    let site = start(Options::default(), "").await;
    site.world.switch(json!({ "throttle": true }));
    let before = site.world.emulator.stats().realtime.starts_total;
    let (query, mutation) = tokio::join!(site.send(Kind::Query), site.send(Kind::Mutation));
    let mut socket = open(site.addr, "/graphql").await.unwrap();
    let is_refused = |stats: &countersign_emulator::Stats| stats.realtime.starts_total > before;
    site.world.saw("a throttled start", is_refused).await;
    site.world.switch(json!({ "throttle": false }));
    let subscription = Cell::new(site.event(&mut socket).await);
    let mut seen = Seen {
        cells: [query, mutation, subscription],
        neighbour: Some(site.undisturbed().await),
    };
    site.recovery(&mut seen).await;
    seen
}

/// An event that is larger than `limits.message` of upstream's frames.
pub async fn oversize_event() -> Seen {
    let site = start(Options::default(), "").await;
    let mut live = site.subscribe("/graphql").await;
    let body = "x".repeat(32 << 20);
    let frame = json!({ "id": "$ID", "type": "data", "payload": { "data": body } });
    let mut seen = break_live(&site, &mut live, json!({ "send_all": frame.to_string() })).await;
    site.recovery(&mut seen).await;
    seen
}
