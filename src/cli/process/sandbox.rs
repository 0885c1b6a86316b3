//! `sandbox = true`: the process and its children can no longer create, write or remove files.
//!
//! Landlock restricts the calling thread and all threads and processes that it starts later. So the
//! sandbox is entered before the threads of the log and the runtime start, and what the process does
//! later must stay allowed: writing to `/dev/null`, and creating and removing unix sockets in their
//! directories. Listening on TCP is not restricted, because it happens later, too.

use std::io;
use std::path::PathBuf;

use tracing::{info, warn};

/// How much of the sandbox the kernel enforces.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum Sandbox {
    Full,
    /// An old kernel, which does not support all restrictions.
    Partial,
}

/// Enters the sandbox, for good. Must be called while the process has one thread. Unix sockets can
/// still be created and removed in `socket_directories`.
///
/// # Errors
/// When the system has no Landlock, or rejects the rules.
#[cfg(target_os = "linux")]
pub(in crate::cli) fn enter(socket_directories: &[PathBuf]) -> io::Result<Sandbox> {
    use landlock::{
        ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
        path_beneath_rules,
    };

    // A socket is created in a directory of its own, and moved.
    let socket_access = AccessFs::MakeDir
        | AccessFs::MakeSock
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::Refer;
    let every = AccessFs::from_write(ABI::V5);
    let status = Ruleset::default()
        .handle_access(every)
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(["/dev/null"], every)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(socket_directories, socket_access)))
        .and_then(|rules| rules.restrict_self())
        .map_err(io::Error::other)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Sandbox::Full,
        RulesetStatus::PartiallyEnforced => Sandbox::Partial,
        RulesetStatus::NotEnforced => {
            let reason = "this kernel has no Landlock, or it is switched off";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
    })
}

#[cfg(not(target_os = "linux"))]
pub(in crate::cli) fn enter(_: &[PathBuf]) -> io::Result<Sandbox> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "it needs Linux"))
}

impl Sandbox {
    /// Logs what is restricted.
    pub(in crate::cli) fn log(self) {
        match self {
            Self::Full => info!("sandboxed: files cannot be created, written or removed"),
            Self::Partial => warn!(
                "sandboxed in part: this kernel does not support all restrictions; Linux 6.10 does"
            ),
        }
    }
}
