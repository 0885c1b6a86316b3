//! Faults of credentials: providers, keys that expire or are revoked, and clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_emulator::Key;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::client::{SUBSCRIBE, mutation};
use super::site::{Setup, Site};
use super::{Cell, Kind, Seen};
use crate::credentials::{ROTATING, key};
use crate::support::PATIENCE;

/// Prints the first key that the emulator accepts, without an expiration.
const STATIC: &str = "echo '{\"Version\":1,\"AccessKeyId\":\"AKID1\",\
                      \"SecretAccessKey\":\"secret/of+AKID1\"}'\n";

fn keys() -> Vec<Key> {
    (1..100).map(|n| key(&format!("AKID{n}"))).collect()
}

async fn start(process: String) -> Site {
    let setup = Setup {
        keys: keys(),
        process: Some(process),
        ..Setup::default()
    };
    Site::start(setup).await
}

/// Keys that live four seconds. After the first ones have expired, requests and new subscriptions are
/// signed with others, and the subscription that was opened with the first ones lives on.
pub async fn expire() -> Seen {
    let site = start(ROTATING.replace("LIFE", "4")).await;
    let mut live = site.subscribe("/graphql").await;
    sleep(Duration::from_millis(4_500)).await;
    let mut seen = site.all().await;
    let established = site.event(&mut live).await;
    seen.cells[2].outcome = format!("established {established}, new {}", seen.cells[2].outcome);
    site.count(&mut seen);
    seen
}

/// Runs `process` only while the file `broken` does not exist.
fn breakable(fault: &str, process: &str) -> String {
    format!("if [ -e $HOME/broken ]; then {fault}; fi\n{process}")
}

/// The provider takes ten seconds. Requests wait for five of them.
pub async fn slow_provider() -> Seen {
    let slow = "for n in $(seq 100); do [ -e $HOME/broken ] || break; sleep 0.1; done";
    let process = breakable(slow, STATIC);
    let site = start(format!(
        "[ -e $HOME/ready ] || {{ touch $HOME/ready $HOME/broken; }}\n{process}"
    ))
    .await;
    let begun = Instant::now();
    let mut seen = site.all().await;
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(6), "{waited:?}");
    mend(&site, &mut seen).await;
    seen
}

async fn mend(site: &Site, seen: &mut Seen) {
    std::fs::remove_file(site.world.path("broken")).unwrap();
    site.recovery(seen).await;
}

/// The provider fails at the start. countersign stays up, and is not ready.
pub async fn down_at_start() -> Seen {
    let down = breakable("exit 1", STATIC);
    let site = start(format!(
        "[ -e $HOME/ready ] || {{ touch $HOME/ready $HOME/broken; }}\n{down}"
    ))
    .await;
    assert_eq!(
        (site.health("/livez").await, site.health("/readyz").await),
        (200, 503)
    );
    let mut seen = site.all().await;
    mend(&site, &mut seen).await;
    assert_eq!(site.health("/readyz").await, 200);
    seen
}

/// The provider fails later. Requests are served until the credentials expire.
pub async fn down_later() -> Seen {
    let process = breakable("exit 1", &ROTATING.replace("LIFE", "5"));
    let site = start(process).await;
    site.warm().await;
    std::fs::write(site.world.path("broken"), "").unwrap();
    let begun = Instant::now();
    while site.send(Kind::Query).await.outcome == "served" {
        assert!(begun.elapsed() < PATIENCE, "served after the expiry");
    }
    let runs = std::fs::read_to_string(site.world.path("runs")).unwrap();
    let (_, expires) = runs.trim().rsplit_once(' ').unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(
        now.as_secs() >= expires.parse().unwrap(),
        "not served before the expiry"
    );
    let mut seen = site.all().await;
    mend(&site, &mut seen).await;
    seen
}

/// AWS denies access. The rejection is forwarded, and nothing is sent again.
pub async fn denied() -> Seen {
    let site = Site::new().await;
    site.warm().await;
    let refused = || site.world.emulator.stats().requests.refused;
    let response = json!({
        "status": 403, "content_type": "application/json", "error_type": "AccessDeniedException",
        "body": r#"{"errors":[{"errorType":"AccessDeniedException","message":"Access denied"}]}"#,
        "only": "denied",
    });
    let rejection = json!({ "errors": [{ "errorType": "Unauthorized", "message": "denied" }] });
    site.world
        .switch(json!({ "answer_http": response, "refuse_start": rejection.to_string() }));
    let (before, accepted) = (refused(), site.relay.accepted());
    let query = site
        .request("/graphql", "query denied { rooms { id } }")
        .await;
    let name = "denied";
    let change = mutation(name);
    let change = Cell {
        mutation: Some(name.to_owned()),
        ..Cell::new(site.request("/graphql", &change).await)
    };
    let subscription = site.send(Kind::Subscription).await;
    println!(
        "refused: {}, new connections: {}",
        refused() - before,
        site.relay.accepted() - accepted
    );
    let mut seen = Seen {
        cells: [Cell::new(query), change, subscription],
        neighbour: None,
    };
    site.world
        .switch(json!({ "answer_http": null, "refuse_start": "" }));
    site.recovery(&mut seen).await;
    seen
}

/// The keys of the first run are unknown to AWS, and those of the second are not. Neither expires.
pub async fn revoked() -> Seen {
    let process = "echo run >> $HOME/runs\nn=$(wc -l < $HOME/runs)\n\
                   echo \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"REVOKED$n\\\",\
                   \\\"SecretAccessKey\\\":\\\"secret/of+REVOKED$n\\\"}\"\n";
    let setup = Setup {
        keys: vec![key("REVOKED2")],
        process: Some(process.to_owned()),
        ..Setup::default()
    };
    let site = Site::start(setup).await;
    // Loads are at least a second apart.
    sleep(Duration::from_millis(1_200)).await;
    let mut seen = site.all().await;
    site.recovery(&mut seen).await;
    let runs = std::fs::read_to_string(site.world.path("runs")).unwrap();
    assert_eq!(runs.lines().count(), 2, "one load serves all");
    seen
}

pub async fn clock_ahead() -> Seen {
    skewed(-600).await
}

pub async fn clock_behind() -> Seen {
    skewed(600).await
}

/// More than the limit of the correction.
pub async fn clock_days_off() -> Seen {
    skewed(3 * 24 * 60 * 60).await
}

/// The emulator's clock differs from ours. New operations, and a start on an established connection.
async fn skewed(seconds: i64) -> Seen {
    let site = Site::new().await;
    let mut live = site.subscribe("/graphql").await;
    site.world.switch(json!({ "clock_skew_s": seconds }));
    let (query, mutation) = tokio::join!(site.send(Kind::Query), site.send(Kind::Mutation));
    let count = site.world.emulator.stats().realtime.subscriptions;
    live.start("2", SUBSCRIBE).await;
    let established = tokio::select! {
        outcome = live.end() => outcome,
        _ = site.world.subscriptions(count + 1) => "served".to_owned(),
    };
    let subscription = site.send(Kind::Subscription).await;
    let mut seen = Seen {
        cells: [query, mutation, subscription],
        neighbour: None,
    };
    if established != seen.cells[2].outcome {
        seen.cells[2].outcome = format!("{}; established: {established}", seen.cells[2].outcome);
    }
    site.world.switch(json!({ "clock_skew_s": 0 }));
    site.recovery(&mut seen).await;
    seen
}
