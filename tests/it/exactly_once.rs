//! A mutation is in flight while something breaks, with npm graphql-ws and its retries. The emulator
//! must have executed it exactly once.

use std::process::Stdio;

use countersign_emulator::Change;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::support::{Daemon, PATIENCE, Running, World, node};

/// A running `tests/clients/exactly-once.mjs`.
struct Client {
    lines: Lines<BufReader<ChildStdout>>,
    stdin: ChildStdin,
    child: Child,
}

impl Client {
    fn start(url: &str, control: &str, body: &str) -> Self {
        let mut child = node("exactly-once.mjs")
            .args([url, control, body])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            stdin: child.stdin.take().unwrap(),
            child,
        }
    }

    async fn line(&mut self, wanted: &[&str]) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no line {wanted:?}"));
            let line = line.unwrap().expect("the client ended");
            if wanted.iter().any(|wanted| line.starts_with(wanted)) {
                return line;
            }
        }
    }

    async fn quit(&mut self) {
        self.stdin.write_all(b"quit\n").await.unwrap();
        self.child.wait().await.unwrap();
    }
}

struct Scene {
    world: Running<Daemon>,
    client: Client,
    key: String,
}

impl Scene {
    /// Starts a mutation, which hangs at the emulator's gate.
    async fn in_flight(name: &str, variables: &[(&str, &str)]) -> Self {
        let world = World::builder().variables(variables).daemon().await;
        let url = format!("ws://{}/graphql", world.addr);
        let mut client = Client::start(&url, &world.control(), name);
        let room = client.line(&["room"]).await;
        client.line(&["in-flight"]).await;
        let key = format!("{}/{name}", room.trim_start_matches("room "));
        Self { world, client, key }
    }

    fn switch(&self, change: &Change) {
        self.world.emulator.switch(change).unwrap();
    }

    fn executions(&self) -> Option<u64> {
        self.world
            .emulator
            .stats()
            .mutations
            .get(&self.key)
            .copied()
    }
}

fn open_gate() -> Change {
    Change {
        gate: Some(false),
        ..Change::default()
    }
}

#[tokio::test]
async fn a_mutation_runs_once_across_a_lost_upstream_connection() {
    let mut scene = Scene::in_flight("loss", &[("COUNTERSIGN_POOL__SPREAD", "1ms")]).await;
    scene.switch(&Change {
        close_all: true,
        ..Change::default()
    });
    scene
        .world
        .countersign
        .line("realtime connection lost")
        .await;
    scene.switch(&open_gate());
    let result = scene.client.line(&["result", "error"]).await;
    assert!(
        result.starts_with("result") && result.contains("loss"),
        "{result}"
    );
    // The client reconnects with its subscription and does not repeat the mutation.
    assert_eq!(scene.client.line(&["closed"]).await, "closed 1012");
    scene.client.line(&["connected"]).await;
    let back = scene
        .world
        .emulator
        .wait_for(|stats| stats.realtime.subscriptions == 1);
    tokio::time::timeout(PATIENCE, back).await.unwrap();
    assert_eq!(scene.executions(), Some(1));
    scene.client.quit().await;
    assert_eq!(scene.executions(), Some(1));
}

#[tokio::test]
async fn a_mutation_runs_once_across_sigterm() {
    let mut scene = Scene::in_flight("sigterm", &[]).await;
    scene.world.countersign.signal("-TERM");
    scene.world.countersign.line("draining").await;
    scene.switch(&open_gate());
    let result = scene.client.line(&["result", "error"]).await;
    assert!(
        result.starts_with("result") && result.contains("sigterm"),
        "{result}"
    );
    assert_eq!(scene.client.line(&["closed"]).await, "closed 1012");
    assert_eq!(scene.world.countersign.exited().await, 0);
    scene.client.quit().await;
    assert_eq!(scene.executions(), Some(1));
}

#[tokio::test]
async fn a_mutation_runs_once_across_the_drain_deadline() {
    let mut scene = Scene::in_flight("deadline", &[("COUNTERSIGN_DRAIN__TIMEOUT", "100ms")]).await;
    scene.world.countersign.signal("-TERM");
    let told = scene.client.line(&["result", "error"]).await;
    assert!(
        told.contains("SHUTTING_DOWN") && told.contains("maybe"),
        "{told}"
    );
    assert_eq!(scene.world.countersign.exited().await, 0);
    scene.switch(&open_gate());
    scene.client.quit().await;
    assert_eq!(scene.executions(), Some(1));
}
