//! What the operating systems do differently with files, child processes and the resources of the
//! process. `unix` and `windows` have the same functions, so that no other code has to choose.
//!
//! Unix sockets are in the server, and signals and systemd in the command line.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(all(test, unix))]
pub(crate) use unix::set_mode;
#[cfg(unix)]
pub(crate) use unix::{
    Directory, Fingerprint, Shell, access, allow_open_files, create_private, is_link, open,
    open_file_limit, resident_memory, termination_signal,
};
#[cfg(all(test, windows))]
pub(crate) use windows::set_mode;
#[cfg(windows)]
pub(crate) use windows::{
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
