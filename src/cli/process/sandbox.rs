//! `sandbox = true`: the process and its children can no longer create, write or remove files.
//!
//! Landlock restricts the calling thread and all threads and processes that it starts later. So the
//! process enters the sandbox before it starts the threads of the log and the runtime. Three things
//! that it does later stay allowed: writing to `/dev/null`, creating and removing unix sockets in their
//! directories, and listening on TCP.

use std::io;
use std::path::PathBuf;

use tracing::{info, warn};

/// How much of the sandbox the kernel enforces.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "other systems have no sandbox")
)]
pub(in crate::cli) enum Sandbox {
    Full,
    /// The kernel is too old to support all restrictions.
    Partial,
}

/// Enters the sandbox, which cannot be left. Must be called while the process has one thread. Unix
/// sockets can still be created and removed in `socket_directories`.
///
/// # Errors
/// When the system has no Landlock, or rejects the rules.
#[cfg(target_os = "linux")]
pub(in crate::cli) fn enter(socket_directories: &[PathBuf]) -> io::Result<Sandbox> {
    use landlock::{
        ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
        path_beneath_rules,
    };

    // A socket is created in a temporary directory and then moved.
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
            let reason = "this kernel has no Landlock, or Landlock is disabled";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
    })
}

#[cfg(not(target_os = "linux"))]
pub(in crate::cli) fn enter(_: &[PathBuf]) -> io::Result<Sandbox> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "it needs Linux"))
}

impl Sandbox {
    /// Logs how much is restricted.
    pub(in crate::cli) fn log(self) {
        match self {
            Self::Full => info!("sandbox enabled: files cannot be created, written or removed"),
            Self::Partial => warn!(
                "sandbox enabled in part: this kernel does not support all restrictions; Linux 6.10 does"
            ),
        }
    }
}
