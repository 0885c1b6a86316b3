//! What holds for the whole process: its memory holds credentials, so it is written to no core dump,
//! and no other process of the same user may read it; where it has a limit, what is free goes back to
//! the system.

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

/// Begins the program anew, in the same process, with an allocator that gives back what is free.
///
/// glibc's keeps more and more of it, as it learns from the large bodies that it has seen: up to
/// 64 MiB a thread, and with a limit we would be short of memory for ever after. It is told otherwise
/// by its environment alone, and reads that when a program begins.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
pub(super) fn give_memory_back() {
    use std::os::unix::process::CommandExt as _;

    const SETTINGS: [&str; 2] = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];
    let is_set = |name: &&str| std::env::var_os(name).is_some();
    if SETTINGS.iter().any(is_set) || is_set(&"GLIBC_TUNABLES") {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else {
        return;
    };
    let settings = SETTINGS.map(|name| (name, "131072"));
    // It comes back only if it fails, and then all is as it was.
    let _ = std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .envs(settings)
        .exec();
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_memory_back() {}
