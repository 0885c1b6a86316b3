//! The process as the operating system sees it: signals, memory, child processes, the sandbox and
//! systemd.

#[cfg(unix)]
pub(super) mod memory;
#[cfg(unix)]
pub(super) mod orphans;
pub(super) mod sandbox;
#[cfg_attr(windows, path = "signals_windows.rs")]
pub(super) mod signals;
mod stops;
#[cfg(unix)]
pub(super) mod systemd;
#[cfg(windows)]
mod windows;

#[cfg(windows)]
pub(super) use windows::{memory, orphans, systemd};
