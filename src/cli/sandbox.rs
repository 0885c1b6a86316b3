//! `sandbox = true`: from here on the process and its children change no file.
//!
//! By Landlock, which binds the calling thread and whatever threads and processes it starts later.
//! So it comes before the log's thread and the runtime's, and what is done only afterwards must be
//! allowed: `/dev/null`, and the comings and goings of unix sockets in their directories. Listening
//! on TCP is not restricted, because it, too, is done afterwards.

use std::io;
use std::path::PathBuf;

use tracing::{info, warn};

/// What the kernel makes of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sandbox {
    Whole,
    /// An old kernel: it does not know all that could be forbidden.
    Partial,
}

/// Enters it, for good; the only thread must call this. In the directories `of_sockets` we make and
/// remove unix sockets.
///
/// # Errors
/// Where there is no Landlock, or it refuses the rules.
#[cfg(target_os = "linux")]
pub(super) fn enter(of_sockets: &[PathBuf]) -> io::Result<Sandbox> {
    use landlock::{
        ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
        path_beneath_rules,
    };

    // A socket is made in a directory of its own, and moved.
    let comings_and_goings = AccessFs::MakeDir
        | AccessFs::MakeSock
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::Refer;
    let every = AccessFs::from_write(ABI::V5);
    let status = Ruleset::default()
        .handle_access(every)
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(["/dev/null"], every)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(of_sockets, comings_and_goings)))
        .and_then(|rules| rules.restrict_self())
        .map_err(io::Error::other)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Sandbox::Whole,
        RulesetStatus::PartiallyEnforced => Sandbox::Partial,
        RulesetStatus::NotEnforced => {
            let reason = "this kernel has no Landlock, or it is switched off";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enter(_: &[PathBuf]) -> io::Result<Sandbox> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "it needs Linux"))
}

impl Sandbox {
    pub(super) fn tell(self) {
        match self {
            Self::Whole => info!("sandboxed: no file can be made, written or removed"),
            Self::Partial => warn!(
                "sandboxed in part: files cannot be changed as far as this kernel knows; Linux 6.10 knows all"
            ),
        }
    }
}
