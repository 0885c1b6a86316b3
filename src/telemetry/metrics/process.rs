//! Metrics of the process, under the names that all Prometheus clients use.

#[cfg(target_os = "linux")]
mod proc;

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::kinds::FloatGauge;
use crate::platform::{open_file_limit, resident_memory};

/// The metrics. Most of them are read from `/proc`, and are zero on systems without it.
#[derive(Debug, Default)]
pub(super) struct Process {
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_memory_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    start_time_seconds: FloatGauge,
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
        if let Some(files) = open_file_limit() {
            self.max_fds.set(i64::try_from(files).unwrap_or(i64::MAX));
        }
        if let Some(resident) = resident_memory() {
            let resident = i64::try_from(resident).unwrap_or(i64::MAX);
            self.resident_memory_bytes.set(resident);
        }
        #[cfg(target_os = "linux")]
        self.observe_proc();
    }

    #[cfg(target_os = "linux")]
    fn observe_proc(&self) {
        let proc::Readings { open_files, usage } = proc::read();
        if let Some(open_files) = open_files {
            self.open_fds.set(open_files);
        }
        if let Some(usage) = usage {
            let more = usage.cpu_seconds - self.cpu_seconds.get();
            self.cpu_seconds.inc_by(more.max(0.0));
            self.threads.set(usage.threads);
            self.start_time_seconds.set(usage.started);
        }
    }
}
