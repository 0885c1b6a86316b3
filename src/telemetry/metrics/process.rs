//! Metrics of the process, under the names that all Prometheus clients use.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};

use super::kinds::FloatGauge;

/// The metrics, which are read from `/proc`. They are zero on systems without it.
#[derive(Debug, Default)]
pub(super) struct Process {
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_memory_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    start_time_seconds: FloatGauge,
}

/// Fields of `/proc/self/stat` (proc_pid_stat(5)).
struct Stat {
    cpu_ticks: u64,
    threads: i64,
    /// Counted from the boot of the machine.
    start_ticks: u64,
    resident_pages: i64,
}

impl Process {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let process = Self::default();
        registry.register(
            "process_cpu_seconds",
            "User and system time spent",
            process.cpu_seconds.clone(),
        );
        registry.register(
            "process_resident_memory_bytes",
            "Resident memory",
            process.resident_memory_bytes.clone(),
        );
        registry.register(
            "process_open_fds",
            "Open file descriptors",
            process.open_fds.clone(),
        );
        registry.register(
            "process_max_fds",
            "Maximum number of open file descriptors",
            process.max_fds.clone(),
        );
        registry.register("process_threads", "Threads", process.threads.clone());
        registry.register(
            "process_start_time_seconds",
            "When the process started, since the Unix epoch",
            process.start_time_seconds.clone(),
        );
        process
    }

    pub(super) fn observe(&self) {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        self.max_fds.set(i64::try_from(files).unwrap_or(i64::MAX));
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            // One of them is that of the directory itself.
            self.open_fds.set(open.count() as i64 - 1);
        }
        let Some(stat) = Stat::read() else {
            return;
        };
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as i64;
        let cpu = stat.cpu_ticks as f64 / ticks;
        self.cpu_seconds
            .inc_by((cpu - self.cpu_seconds.get()).max(0.0));
        self.threads.set(stat.threads);
        self.resident_memory_bytes.set(stat.resident_pages * page);
        self.start_time_seconds
            .set(boot_time() + stat.start_ticks as f64 / ticks);
    }
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Parses the text. The second field, the program's name, may contain any character.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first of them has number 3 in the manual page.
        let field = |number: usize| fields.get(number - 3);
        let count = |number: usize| field(number)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: count(14)? + count(15)?,
            threads: field(20)?.parse().ok()?,
            start_ticks: count(22)?,
            resident_pages: field(24)?.parse().ok()?,
        })
    }
}

/// Returns the boot time of the machine in seconds since the Unix epoch. `/proc/stat` is not used,
/// because it may be hidden.
#[cfg(target_os = "linux")]
fn boot_time() -> f64 {
    use rustix::time::{ClockId, clock_gettime};

    let seconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    seconds(ClockId::Realtime) - seconds(ClockId::Boottime)
}

#[cfg(not(target_os = "linux"))]
fn boot_time() -> f64 {
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbered_as_in_the_manual_page() {
        let text = "17 (a) b) S 1 17 17 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 1234 56789 4321 \
                    18446744073709551615 1 1 0 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_ticks, stat.threads), (300, 7));
        assert_eq!((stat.start_ticks, stat.resident_pages), (1234, 4321));
        assert!(Stat::parse("17 (a) S 1").is_none());
    }
}
