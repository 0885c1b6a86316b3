//! Load tests: a daemon with its own emulator, another client
//! that sends queries all the time, and the memory of the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::{Daemon, JSON, QUIET, Running, World, post, within};

/// Starts a daemon with the routes `/graphql` and `/http` and with `settings`, lines of TOML with dotted
/// keys.
pub async fn start(settings: &str) -> Running<Daemon> {
    let world = World::builder().routes(&["http"]).config(QUIET);
    world.config(settings).daemon().await
}

/// The pause between two requests of the other client.
const PACE: Duration = Duration::from_millis(5);
/// The limit for each of its responses.
const SLOWEST: Duration = Duration::from_secs(5);

impl Running<Daemon> {
    /// Runs `work` while another client sends queries on new connections. Every query must
    /// succeed.
    pub async fn during<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let over = Arc::new(AtomicBool::new(false));
        let (addr, is_over) = (self.addr, Arc::clone(&over));
        let other = tokio::spawn(async move {
            let body = json!({ "query": "{ rooms { id } }" }).to_string();
            let mut times = Vec::new();
            while !is_over.load(Ordering::Relaxed) || times.is_empty() {
                let begun = Instant::now();
                let answer = post(addr, "/graphql", &[JSON], &body).await;
                assert_eq!(answer.status, 200, "the other client: {answer:?}");
                times.push(begun.elapsed());
                tokio::time::sleep(PACE).await;
            }
            times
        });
        let done = work.await;
        over.store(true, Ordering::Relaxed);
        let mut times = within("the other client", other).await.unwrap();
        times.sort_unstable();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{what}: {} queries of another client, p50 {median:.1?}, max {slowest:.1?}",
            times.len()
        );
        assert!(slowest < SLOWEST, "{what}: {slowest:?}");
        done
    }

    /// Returns the daemon's resident memory in KiB, and its peak since the last call.
    pub fn memory(&self) -> (u64, u64) {
        let pid = self.countersign.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.unwrap().trim().trim_end_matches(" kB");
            number.parse::<u64>().unwrap()
        };
        let found = (field("VmRSS:"), field("VmHWM:"));
        // Resets the peak (proc(5)).
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        found
    }
}

/// Raises this process's limit of open files.
pub fn allow_files(count: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < count) {
        let limit = Rlimit {
            current: Some(count),
            maximum,
        };
        setrlimit(Resource::Nofile, limit)
            .unwrap_or_else(|error| panic!("{count} open files are needed: ulimit -Hn: {error}"));
    }
}

/// Waits until the peer has closed the connection.
pub async fn closed(stream: &mut TcpStream) {
    let mut bytes = [0; 4_096];
    let end = async { while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {} };
    within("the connection's end", end).await;
}
