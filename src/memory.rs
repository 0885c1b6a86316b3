//! The memory limit of the process, and whether memory is short.
//!
//! The limit comes from the configuration or the cgroup. Resident memory is checked only when a
//! connection, a request or an operation arrives, so an idle process does not wake up to check it.

mod budget;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::platform::resident_memory;
use crate::telemetry::metrics::metrics;

pub use budget::{Buffer, Exhausted, ReadError, ResponseBudget, Share};

/// `limits.memory`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// The limit of the cgroup, if it has one.
    Auto,
    Off,
    /// A limit in bytes.
    Bytes(u64),
}

/// The memory limit, if there is one, and whether memory is short. Clones share the state.
#[derive(Clone, Debug)]
pub struct Memory(Option<Arc<Monitor>>);

/// The configured limits that are reduced to fit into the memory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Client connections.
    pub connections: usize,
    /// Bytes of queued events.
    pub queued_events: usize,
    /// Bytes of buffered responses.
    pub buffered_responses: usize,
}

/// Memory is short, so new work is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory is short: try again (limits.memory)")]
pub struct Shortage;

/// Compares resident memory with the limit.
#[derive(Debug)]
struct Monitor {
    limit: u64,
    started: Instant,
    /// When the next check is due, in milliseconds since `started`.
    next_check: AtomicU64,
    /// Bytes received since the last check that was caused by received bytes.
    unchecked: AtomicU64,
    is_short: AtomicBool,
}

/// The minimum interval between two checks, unless many bytes are received.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Memory becomes short above this percentage of the limit.
const SHORT_PERCENT: u64 = 90;
/// Memory has recovered at or below this percentage of the limit.
const RECOVERED_PERCENT: u64 = 85;
/// The lowest limit with which requests can be served, in bytes.
pub const MIN_MEMORY: u64 = 32 << 20;
/// The memory of a connection with its buffers, half of which are the kernel's.
const CONNECTION_BYTES: u64 = 128 << 10;
/// Queued events may use an eighth of the limit.
const EVENTS_DIVISOR: u64 = 8;
/// Buffered responses may use a quarter of the limit.
const RESPONSES_DIVISOR: u64 = 4;
/// A check is due at once when this fraction of the limit has been received.
const CHECK_DIVISOR: u64 = 64;
/// The window of a response is this fraction of the limit, but at least [`MIN_WINDOW`] and at most
/// [`MAX_WINDOW`].
const WINDOW_DIVISOR: u64 = 4096;
const MIN_WINDOW: u32 = 32 << 10;
const MAX_WINDOW: u32 = 256 << 10;
/// Without a limit, cgroup v1 reports nearly 2^63.
const UNLIMITED: u64 = 1 << 60;
const MIB: u64 = 1 << 20;

// === impl Memory ===

impl Memory {
    /// Applies `limit`. The limit of a cgroup is ignored if it is below [`MIN_MEMORY`].
    pub fn new(limit: MemoryLimit) -> Self {
        let limit = match limit {
            MemoryLimit::Auto => cgroup_limit().filter(|limit| {
                let is_enough = *limit >= MIN_MEMORY;
                if !is_enough {
                    warn!("ignored the memory limit of the cgroup: {limit} bytes are too few");
                }
                is_enough
            }),
            MemoryLimit::Off => None,
            MemoryLimit::Bytes(limit) => Some(limit),
        };
        Self(limit.map(|limit| {
            Arc::new(Monitor {
                limit,
                started: Instant::now(),
                next_check: AtomicU64::new(0),
                unchecked: AtomicU64::new(0),
                is_short: AtomicBool::new(false),
            })
        }))
    }

    /// Returns the limit in bytes.
    pub fn limit(&self) -> Option<u64> {
        self.0.as_ref().map(|monitor| monitor.limit)
    }

    /// Reduces the configured limits to what fits into the memory limit. Logs and exposes the limit.
    pub fn fit(&self, configured: ResourceLimits) -> ResourceLimits {
        let Some(limit) = self.limit() else {
            return configured;
        };
        let gauge = i64::try_from(limit).unwrap_or(i64::MAX);
        metrics().memory_limit_bytes.set(gauge);
        let fitted = ResourceLimits {
            connections: at_most(configured.connections, limit / CONNECTION_BYTES),
            queued_events: at_most(configured.queued_events, limit / EVENTS_DIVISOR),
            buffered_responses: at_most(configured.buffered_responses, limit / RESPONSES_DIVISOR),
        };
        info!(
            "{} MiB of memory (limits.memory): {} connections, {} MiB of queued events; requests are \
             rejected above {} MiB",
            limit / MIB,
            fitted.connections,
            fitted.queued_events as u64 / MIB,
            limit / 100 * SHORT_PERCENT / MIB,
        );
        fitted
    }

    /// Returns how many bytes of one response upstream may send before the client reads any of it.
    pub fn window(&self) -> u32 {
        self.limit().map_or(MAX_WINDOW, |limit| {
            let window = u32::try_from(limit / WINDOW_DIVISOR).unwrap_or(MAX_WINDOW);
            window.clamp(MIN_WINDOW, MAX_WINDOW)
        })
    }

    /// Returns whether memory is short, after `bytes` were received. Many received bytes cause a check
    /// at once, which bounds what is received between two checks.
    pub fn is_short_after(&self, bytes: usize) -> bool {
        let monitor = self.0.as_ref();
        monitor.is_some_and(|monitor| monitor.is_short_after(bytes as u64))
    }

    /// Returns whether new work must be rejected.
    pub fn is_short(&self) -> bool {
        self.0.as_ref().is_some_and(|monitor| monitor.is_short())
    }

    /// Waits until memory is short. Without a limit, waits forever.
    pub async fn shortage(&self) {
        if self.0.is_none() {
            std::future::pending::<()>().await;
        }
        while !self.is_short() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    /// Waits until memory is not short, for at most `timeout`.
    pub async fn recovery(&self, timeout: Duration) {
        if self.is_short() {
            let recovered = async {
                while self.is_short() {
                    tokio::time::sleep(CHECK_INTERVAL).await;
                }
            };
            let _ = tokio::time::timeout(timeout, recovered).await;
        }
    }
}

fn at_most(configured: usize, limit: u64) -> usize {
    configured.min(usize::try_from(limit).unwrap_or(configured))
}

// === impl Monitor ===

impl Monitor {
    fn is_short_after(&self, bytes: u64) -> bool {
        let before = self.unchecked.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes >= self.limit / CHECK_DIVISOR {
            self.unchecked.store(0, Ordering::Relaxed);
            self.next_check.store(0, Ordering::Relaxed);
        }
        self.is_short()
    }

    fn is_short(&self) -> bool {
        let now = millis(self.started.elapsed());
        let due = self.next_check.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(CHECK_INTERVAL));
        // Of several threads, the one that sets the time of the next check performs this one.
        let is_ours = now >= due
            && self
                .next_check
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_ours && let Some(resident) = resident() {
            self.evaluate(resident);
        }
        self.is_short.load(Ordering::Relaxed)
    }

    fn evaluate(&self, resident: u64) {
        let was_short = self.is_short.load(Ordering::Relaxed);
        let percent = if was_short {
            RECOVERED_PERCENT
        } else {
            SHORT_PERCENT
        };
        let is_short = resident > self.limit / 100 * percent;
        self.is_short.store(is_short, Ordering::Relaxed);
        let (resident, limit) = (resident / MIB, self.limit / MIB);
        match (was_short, is_short) {
            (false, true) => warn!(
                "memory is short: {resident} of {limit} MiB (limits.memory); rejecting requests"
            ),
            (true, false) => info!("memory has recovered: {resident} of {limit} MiB"),
            (true, true) | (false, false) => {}
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the resident memory of the process in bytes; `None` where it cannot be determined.
pub fn resident() -> Option<u64> {
    resident_memory()
}

/// Returns the memory limit of the cgroup that the process is in, in bytes.
fn cgroup_limit() -> Option<u64> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    lowest_limit(&cgroups, Path::new("/sys/fs/cgroup"))
}

/// Returns the lowest limit of the `cgroups` in `/proc/self/cgroup` and of their ancestors
/// (cgroups(7)). In a container, their paths may be those of the host; `root` is then the container's
/// own cgroup.
fn lowest_limit(cgroups: &str, root: &Path) -> Option<u64> {
    let limits = cgroups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let has_memory = controllers
            .split(',')
            .any(|controller| controller == "memory");
        let (root, file) = match (controllers, has_memory) {
            ("", _) => (root.to_owned(), "memory.max"),
            (_, true) => (root.join("memory"), "memory.limit_in_bytes"),
            (_, false) => return Vec::new(),
        };
        let cgroup = root.join(path.trim_start_matches('/'));
        let ancestors = cgroup
            .ancestors()
            .take_while(|cgroup| cgroup.starts_with(&root));
        ancestors
            .filter_map(|cgroup| read_limit(&cgroup.join(file)))
            .collect()
    });
    limits.min()
}

fn read_limit(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.trim().parse().ok().filter(|limit| *limit < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lowest limit in a directory of cgroups that contains `files`.
    fn lowest_of(cgroups: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        lowest_limit(cgroups, root.path())
    }

    #[test]
    fn lowest_limit_of_a_cgroup_and_its_ancestors_applies() {
        let files = [
            ("pods/memory.max", "300000000\n"),
            ("pods/one/memory.max", "max\n"),
            ("pods/one/app/memory.max", "400000000\n"),
            ("other/memory.max", "1\n"),
        ];
        let found = lowest_of("0::/pods/one/app\n", &files);
        assert_eq!(found, Some(300_000_000));
        assert_eq!(lowest_of("0::/pods/one\n", &files[1..3]), None);
    }

    #[test]
    fn cgroup_of_a_container_is_the_root() {
        let files = [("memory.max", "67108864\n")];
        assert_eq!(lowest_of("0::/\n", &files), Some(67_108_864));
        // In a container, the path on the host does not exist.
        let cgroups = "5:devices:/docker/a\n4:cpu,memory:/docker/a\n0::/docker/a\n";
        let files = [("memory/memory.limit_in_bytes", "134217728\n")];
        assert_eq!(lowest_of(cgroups, &files), Some(134_217_728));
        let unlimited = [("memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(lowest_of(cgroups, &unlimited), None);
        // Other controllers have no memory limit.
        assert_eq!(lowest_of("5:devices:/\n", &files), None);
    }

    #[test]
    fn limits_outside_the_cgroup_are_not_read() {
        let files = [("memory.max", "1000\n"), ("a/memory.max", "2000\n")];
        assert_eq!(lowest_of("0::/a\n", &files), Some(1_000));
        assert_eq!(lowest_of("0\n:\nnonsense\n", &[]), None);
    }

    #[test]
    fn memory_is_short_above_90_percent_until_85_percent() {
        let memory = Memory::new(MemoryLimit::Bytes(1_000 * MIB));
        let monitor = memory.0.as_ref().unwrap();
        for (resident, is_short) in [
            (0, false),
            (900, false),
            (901, true),
            (899, true),
            (851, true),
            (850, false),
            (890, false),
            (2_000, true),
            (0, false),
        ] {
            monitor.evaluate(resident * MIB);
            let found = monitor.is_short.load(Ordering::Relaxed);
            assert_eq!(found, is_short, "{resident}");
        }
    }

    #[test]
    fn limits_are_reduced_to_fit_into_memory() {
        let configured = ResourceLimits {
            connections: 4_096,
            queued_events: 64 << 20,
            buffered_responses: 256 << 20,
        };
        let off = Memory::new(MemoryLimit::Off);
        assert_eq!((off.fit(configured), off.window()), (configured, 256 << 10));
        assert!(!off.is_short());
        for (limit, connections, queued_events, buffered_responses, window) in [
            (64 * MIB, 512, 8 << 20, 16 << 20, 32 << 10),
            (256 * MIB, 2_048, 32 << 20, 64 << 20, 64 << 10),
            (1 << 40, 4_096, 64 << 20, 256 << 20, 256 << 10),
        ] {
            let memory = Memory::new(MemoryLimit::Bytes(limit));
            let expected = ResourceLimits {
                connections,
                queued_events,
                buffered_responses,
            };
            let found = (memory.fit(configured), memory.window());
            assert_eq!(found, (expected, window), "{limit}");
        }
        assert_eq!(metrics().memory_limit_bytes.get(), 1 << 40);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn many_received_bytes_cause_a_check_at_once() {
        let memory = Memory::new(MemoryLimit::Bytes(1 << 40));
        assert!(!memory.is_short_after(1));
        let monitor = memory.0.as_ref().unwrap();
        // Pretend that memory is short and that no check is due.
        monitor.is_short.store(true, Ordering::Relaxed);
        monitor.next_check.store(u64::MAX, Ordering::Relaxed);
        assert!(memory.is_short_after(1));
        assert!(!memory.is_short_after(1 << 34));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn resident_memory_is_compared_with_the_limit() {
        let resident = resident().unwrap();
        assert!(resident > MIB && resident < 1 << 40, "{resident}");
        assert!(Memory::new(MemoryLimit::Bytes(MIB)).is_short());
        assert!(!Memory::new(MemoryLimit::Bytes(1 << 40)).is_short());
    }
}
