//! The build of this program, as `src/build.rs` determined it.

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, or `unknown`.
pub const REVISION: &str = env!("BUILD_REVISION");
/// `1.95.0 (59807616e 2026-04-14)`
pub const RUSTC: &str = env!("BUILD_RUSTC");
/// `x86_64-unknown-linux-gnu`
pub const TARGET: &str = env!("BUILD_TARGET");
/// `release` or `debug`
pub const PROFILE: &str = env!("BUILD_PROFILE");

/// All of it, for `--version`.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nrevision: ",
    env!("BUILD_REVISION"),
    "\ntarget: ",
    env!("BUILD_TARGET"),
    "\nrustc: ",
    env!("BUILD_RUSTC"),
    "\nprofile: ",
    env!("BUILD_PROFILE"),
);
