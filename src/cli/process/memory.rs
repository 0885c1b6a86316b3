//! The memory of the process. It contains credentials, so core dumps are disabled and other processes
//! of the same user may not read it. If it is limited, free memory is returned to the system.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Disables core dumps of this process and its children. On Linux, also keeps debuggers and readers
/// of `/proc/PID/mem` and `/proc/PID/environ` away, unless they run as root.
///
/// # Errors
/// When the system does not allow it; the memory is not private then.
pub(in crate::cli) fn keep_private() -> io::Result<()> {
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

/// Re-executes the program, in the same process, with an allocator that returns free memory to the
/// system.
///
/// glibc's allocator raises its thresholds when it frees large blocks, such as bodies, and then keeps
/// up to 64 MiB for each thread. With a memory limit, the process would be short of memory from then
/// on. Only environment variables can fix the thresholds, and glibc reads them when a program starts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
pub(in crate::cli) fn return_free() {
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
    // `exec` returns only if it fails; the program then continues without the variables.
    let _ = std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .envs(settings)
        .exec();
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(in crate::cli) fn return_free() {}
