//! What holds for the whole process, whatever the command: its memory holds credentials, so it is
//! written to no core dump, and no other process of the same user may read it.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// No core dumps from here on, of children neither; on Linux no debugger and no reader of
/// `/proc/PID/mem` or `/proc/PID/environ` either, unless it is root's.
///
/// # Errors
/// When the system refuses: then the memory is not private.
pub(super) fn keep_memory_private() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}
