//! What the operating systems do differently with files, child processes and the resources of the
//! process. `unix` and `windows` have the same functions, so that no other code has to choose.
//!
//! Unix sockets are in the server, and signals and systemd in the command line.

#[cfg_attr(unix, path = "unix/mod.rs")]
#[cfg_attr(windows, path = "windows/mod.rs")]
mod system;

#[cfg(test)]
pub(crate) use system::set_mode;
pub(crate) use system::{
    Directory, Fingerprint, Shell, access, allow_open_files, create_private, is_link, open,
    open_file_limit, resident_memory, termination_signal,
};

/// Who may access a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// The user to whom the file belongs.
    pub(crate) owner: u32,
    /// The user who runs the process.
    pub(crate) ours: u32,
    /// The permission bits of the mode.
    pub(crate) mode: u32,
}

/// How to open a file of a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    /// To lock it. It is created if it does not exist.
    Lock,
    /// To write it. It must not exist.
    Create,
}
