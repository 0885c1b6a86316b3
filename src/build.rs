//! Passes build information to the crate, for `--version` and the metrics. To keep builds reproducible, it
//! contains no time and no path.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo and packagers pass parameters to build scripts in the environment"
)]
fn main() -> std::io::Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let profile = variable("PROFILE");
    let rustc = output(&variable("RUSTC"), &["--version"]).unwrap_or_default();
    let rustc = rustc.strip_prefix("rustc ").unwrap_or(&rustc);
    let mut out = std::io::stdout().lock();
    // Read for release builds only: in other builds, each commit would rebuild all tests.
    let git_revision = match profile.as_str() {
        "release" => git_revision(&variable("CARGO_MANIFEST_DIR")),
        _ => None,
    };
    let configured = variable("BUILD_REVISION");
    let revision = match (configured.as_str(), &git_revision) {
        ("", Some((revision, directory))) => {
            for file in ["HEAD", "logs/HEAD"] {
                writeln!(out, "cargo::rerun-if-changed={directory}/{file}")?;
            }
            revision
        }
        ("", None) => "unknown",
        (configured, _) => configured,
    };
    // The names must not begin with COUNTERSIGN_: cargo also sets these variables for the programs that
    // it runs, and countersign would parse them as settings.
    for (name, value) in [
        ("REVISION", revision),
        ("RUSTC", rustc),
        ("TARGET", &variable("TARGET")),
        ("PROFILE", &profile),
    ] {
        writeln!(out, "cargo::rustc-env=BUILD_{name}={value}")?;
    }
    writeln!(out, "cargo::rerun-if-env-changed=BUILD_REVISION")?;
    writeln!(out, "cargo::rerun-if-changed=src/build.rs")
}

/// Returns the commit, with the suffix `-dirty` if files differ from it, and the path of the git
/// directory. Returns `None` if `root` is not the top level of a repository, because an enclosing
/// repository may belong to another project.
fn git_revision(root: &str) -> Option<(String, String)> {
    let git = |arguments: &[&str]| output("git", &[&["-C", root], arguments].concat());
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(root).canonicalize().ok()? {
        return None;
    }
    let revision = git(&[
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ])?;
    let directory = git(&["rev-parse", "--absolute-git-dir"])?;
    Some((revision, directory))
}

/// Returns the trimmed standard output of a program; `None` if the program fails or prints nothing.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
