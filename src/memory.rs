//! The memory limit of the process, and whether memory is short.
//!
//! The limit comes from the configuration or the cgroup. Resident memory is checked only when a
//! connection, a request or an operation arrives, so that an idle process does not wake up for it.

mod budget;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::telemetry::metrics::metrics;

pub use budget::{Budget, Buffer, Exhausted, ReadError, Share};

/// `limits.memory`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// The limit of the cgroup, if it has one.
    Auto,
    Off,
    Bytes(u64),
}

/// The limit, if there is one, and how much of it is in use.
#[derive(Clone, Debug)]
pub struct Memory(Option<Arc<Watch>>);

/// Why new work is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory is short: try again (limits.memory)")]
pub struct Shortage;

#[derive(Debug)]
struct Watch {
    limit: u64,
    begun: Instant,
    /// When the next check is due, in milliseconds since `begun`.
    next: AtomicU64,
    /// Bytes received since the last check that received bytes have caused.
    unseen: AtomicU64,
    is_short: AtomicBool,
}

/// The interval between two checks.
const PAUSE: Duration = Duration::from_millis(100);
/// Per cent of the limit above which memory is short, and below which it no longer is.
const SHORT: u64 = 90;
const ENOUGH: u64 = 85;
/// The lowest limit with which requests can be served.
pub const LEAST_MEMORY: u64 = 32 << 20;
/// The memory of a connection with its buffers, half of which belong to the kernel.
const OF_A_CONNECTION: u64 = 128 << 10;
/// The fraction of the limit for queued events.
const OF_EVENTS: u64 = 8;
/// The fraction of the limit for buffered responses.
const OF_ANSWERS: u64 = 4;
/// The fraction of the limit after which received bytes cause a check at once.
const OF_A_LOOK: u64 = 64;
/// The fraction of the limit that upstream may send of one response before its client reads, and the
/// bounds of that.
const OF_A_WINDOW: u64 = 4096;
const LEAST_WINDOW: u32 = 32 << 10;
const WINDOW: u32 = 256 << 10;
/// Without a limit, cgroup v1 reports nearly 2^63.
const UNLIMITED: u64 = 1 << 60;
const MIB: u64 = 1 << 20;

// === impl Memory ===

impl Memory {
    pub fn new(limit: MemoryLimit) -> Self {
        let limit = match limit {
            MemoryLimit::Auto => of_the_cgroup().filter(|limit| {
                let is_enough = *limit >= LEAST_MEMORY;
                if !is_enough {
                    warn!("memory limit of the cgroup ignored: {limit} bytes are too few");
                }
                is_enough
            }),
            MemoryLimit::Off => None,
            MemoryLimit::Bytes(limit) => Some(limit),
        };
        Self(limit.map(|limit| {
            Arc::new(Watch {
                limit,
                begun: Instant::now(),
                next: AtomicU64::new(0),
                unseen: AtomicU64::new(0),
                is_short: AtomicBool::new(false),
            })
        }))
    }

    /// In bytes.
    pub fn limit(&self) -> Option<u64> {
        self.0.as_ref().map(|watch| watch.limit)
    }

    /// Returns how many client connections and how many bytes of queued events fit, each at most what
    /// is `wanted`.
    pub fn cap(&self, wanted: (usize, usize)) -> (usize, usize) {
        let Some(limit) = self.limit() else {
            return wanted;
        };
        let told = i64::try_from(limit).unwrap_or(i64::MAX);
        metrics().memory_limit_bytes.set(told);
        let least = |wanted: usize, room: u64| wanted.min(usize::try_from(room).unwrap_or(wanted));
        let connections = least(wanted.0, limit / OF_A_CONNECTION);
        let events = least(wanted.1, limit / OF_EVENTS);
        info!(
            "{} MiB of memory (limits.memory): {connections} connections, {} MiB of waiting events; \
             requests are refused above {} MiB",
            limit / MIB,
            events as u64 / MIB,
            limit / 100 * SHORT / MIB,
        );
        (connections, events)
    }

    /// Returns how many bytes of responses may be buffered, at most what is `wanted`.
    pub fn answers(&self, wanted: usize) -> usize {
        self.limit().map_or(wanted, |limit| {
            wanted.min(usize::try_from(limit / OF_ANSWERS).unwrap_or(wanted))
        })
    }

    /// Returns how many bytes upstream may send of one response before its client reads some.
    pub fn window(&self) -> u32 {
        self.limit().map_or(WINDOW, |limit| {
            let window = u32::try_from(limit / OF_A_WINDOW).unwrap_or(WINDOW);
            window.clamp(LEAST_WINDOW, WINDOW)
        })
    }

    /// Whether memory is short when `bytes` more are kept. Many bytes cause a check at once, so that
    /// what arrives between two checks is bounded.
    pub fn is_short_after(&self, bytes: usize) -> bool {
        let watch = self.0.as_ref();
        watch.is_some_and(|watch| watch.is_short_after(bytes as u64))
    }

    /// Whether new work must be refused.
    pub fn is_short(&self) -> bool {
        self.0.as_ref().is_some_and(|watch| watch.is_short())
    }

    /// Resolves when memory is short.
    pub async fn shortage(&self) {
        if self.0.is_none() {
            std::future::pending::<()>().await;
        }
        while !self.is_short() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Resolves when memory is not short, or after `patience`.
    pub async fn relief(&self, patience: Duration) {
        if self.is_short() {
            let relieved = async {
                while self.is_short() {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            let _ = tokio::time::timeout(patience, relieved).await;
        }
    }
}

impl Watch {
    fn is_short_after(&self, bytes: u64) -> bool {
        let before = self.unseen.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes >= self.limit / OF_A_LOOK {
            self.unseen.store(0, Ordering::Relaxed);
            self.next.store(0, Ordering::Relaxed);
        }
        self.is_short()
    }

    fn is_short(&self) -> bool {
        let now = millis(self.begun.elapsed());
        let next = self.next.load(Ordering::Relaxed);
        let then = now.saturating_add(millis(PAUSE));
        let is_our_turn = now >= next
            && self
                .next
                .compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_our_turn && let Some(resident) = resident() {
            self.judge(resident);
        }
        self.is_short.load(Ordering::Relaxed)
    }

    fn judge(&self, resident: u64) {
        let was_short = self.is_short.load(Ordering::Relaxed);
        let bound = if was_short { ENOUGH } else { SHORT };
        let is_short = resident > self.limit / 100 * bound;
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

/// Returns the resident memory of the process in bytes; `None` where it is unknown.
#[cfg(target_os = "linux")]
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(not(target_os = "linux"))]
fn resident() -> Option<u64> {
    None
}

fn of_the_cgroup() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    lowest(&groups, Path::new("/sys/fs/cgroup"))
}

/// Returns the lowest limit of the cgroups (cgroups(7)) and of their ancestors. In a container the
/// paths may be those of the host; then the container's own cgroup is the root.
fn lowest(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let is_v1 = controllers
            .split(',')
            .any(|controller| controller == "memory");
        let (root, file) = match (controllers, is_v1) {
            ("", _) => (root.to_owned(), "memory.max"),
            (_, true) => (root.join("memory"), "memory.limit_in_bytes"),
            (_, false) => return Vec::new(),
        };
        let group = root.join(path.trim_start_matches('/'));
        let up = group
            .ancestors()
            .take_while(|group| group.starts_with(&root));
        up.filter_map(|group| limit(&group.join(file))).collect()
    });
    limits.min()
}

fn limit(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.trim().parse().ok().filter(|limit| *limit < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of cgroups with these files.
    fn lowest_of(name: &str, groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = std::env::temp_dir().join(format!("countersign-{name}-{}", std::process::id()));
        for (file, text) in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let found = lowest(groups, &root);
        let _ = fs::remove_dir_all(&root);
        found
    }

    #[test]
    fn the_lowest_limit_of_all_groups_above_counts() {
        let files = [
            ("pods/memory.max", "300000000\n"),
            ("pods/one/memory.max", "max\n"),
            ("pods/one/app/memory.max", "400000000\n"),
            ("other/memory.max", "1\n"),
        ];
        let found = lowest_of("v2", "0::/pods/one/app\n", &files);
        assert_eq!(found, Some(300_000_000));
        assert_eq!(lowest_of("v2-none", "0::/pods/one\n", &files[1..3]), None);
    }

    #[test]
    fn in_a_container_its_own_group_is_the_root() {
        let files = [("memory.max", "67108864\n")];
        assert_eq!(lowest_of("v2-own", "0::/\n", &files), Some(67_108_864));
        // The path as the host shows it, without a prefix.
        let groups = "5:devices:/docker/a\n4:cpu,memory:/docker/a\n0::/docker/a\n";
        let files = [("memory/memory.limit_in_bytes", "134217728\n")];
        assert_eq!(lowest_of("v1", groups, &files), Some(134_217_728));
        let unlimited = [("memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(lowest_of("v1-none", groups, &unlimited), None);
        // Other controllers are none of ours.
        assert_eq!(lowest_of("v1-other", "5:devices:/\n", &files), None);
    }

    #[test]
    fn a_group_cannot_lead_out_of_the_tree() {
        let files = [("memory.max", "1000\n"), ("a/memory.max", "2000\n")];
        assert_eq!(lowest_of("v2-up", "0::/a\n", &files), Some(1_000));
        assert_eq!(lowest_of("v2-bad", "0\n:\nnonsense\n", &[]), None);
    }

    #[test]
    fn memory_is_short_above_90_and_until_below_85_per_cent() {
        let memory = Memory::new(MemoryLimit::Bytes(1_000 * MIB));
        let watch = memory.0.as_ref().unwrap();
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
            watch.judge(resident * MIB);
            let found = watch.is_short.load(Ordering::Relaxed);
            assert_eq!(found, is_short, "{resident}");
        }
    }

    #[test]
    fn caps_follow_the_limit() {
        let cap = |limit| Memory::new(limit).cap((4_096, 64 << 20));
        assert_eq!(cap(MemoryLimit::Off), (4_096, 64 << 20));
        assert_eq!(cap(MemoryLimit::Bytes(64 * MIB)), (512, 8 << 20));
        assert_eq!(cap(MemoryLimit::Bytes(1 << 40)), (4_096, 64 << 20));
        assert_eq!(metrics().memory_limit_bytes.get(), 1 << 40);
        assert!(!Memory::new(MemoryLimit::Off).is_short());
    }

    #[test]
    fn answers_and_windows_follow_the_limit() {
        let off = Memory::new(MemoryLimit::Off);
        assert_eq!((off.answers(1 << 28), off.window()), (1 << 28, 256 << 10));
        for (limit, answers, window) in [
            (64 * MIB, 16 << 20, 32 << 10),
            (256 * MIB, 64 << 20, 64 << 10),
            (1 << 40, 1 << 28, 256 << 10),
        ] {
            let memory = Memory::new(MemoryLimit::Bytes(limit));
            let found = (memory.answers(1 << 28), memory.window());
            assert_eq!(found, (answers, window), "{limit}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn bytes_that_come_cause_a_look_at_once() {
        let memory = Memory::new(MemoryLimit::Bytes(1 << 40));
        assert!(!memory.is_short_after(1));
        let watch = memory.0.as_ref().unwrap();
        // As if it were short; the next look is to come.
        watch.is_short.store(true, Ordering::Relaxed);
        watch.next.store(u64::MAX, Ordering::Relaxed);
        assert!(memory.is_short_after(1));
        assert!(!memory.is_short_after(1 << 34));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_resident_is_known_and_is_looked_at() {
        let known = resident().unwrap();
        assert!(known > MIB && known < 1 << 40, "{known}");
        assert!(Memory::new(MemoryLimit::Bytes(MIB)).is_short());
        assert!(!Memory::new(MemoryLimit::Bytes(1 << 40)).is_short());
    }
}
