//! The process as the operating system sees it: signals, memory, child processes, the sandbox and
//! systemd.

pub(super) mod memory;
pub(super) mod orphans;
pub(super) mod sandbox;
pub(super) mod signals;
pub(super) mod systemd;
