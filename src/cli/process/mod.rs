//! The process as the system sees it: its signals, its memory, its children, its rights, and the
//! service manager that started it.

pub(super) mod memory;
pub(super) mod orphans;
pub(super) mod sandbox;
pub(super) mod signals;
pub(super) mod systemd;
