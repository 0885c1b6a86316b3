//! What a build is made of, for `--version` and the metrics: no time and no path, so that the same
//! source and toolchain give the same bytes.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo and whoever packages us tell build scripts by the environment"
)]
fn main() -> std::io::Result<()> {
    let told = |name: &str| std::env::var(name).unwrap_or_default();
    let profile = told("PROFILE");
    let rustc = output(&told("RUSTC"), &["--version"]).unwrap_or_default();
    let rustc = rustc.strip_prefix("rustc ").unwrap_or(&rustc);
    let mut out = std::io::stdout().lock();
    // Of a release alone: each commit would have all tests built anew.
    let by_git = match profile.as_str() {
        "release" => by_git(&told("CARGO_MANIFEST_DIR")),
        _ => None,
    };
    let said = told("BUILD_REVISION");
    let revision = match (said.as_str(), &by_git) {
        ("", Some((revision, directory))) => {
            for file in ["HEAD", "logs/HEAD"] {
                writeln!(out, "cargo::rerun-if-changed={directory}/{file}")?;
            }
            revision
        }
        ("", None) => "unknown",
        (said, _) => said,
    };
    // Cargo gives these to what it runs, too, which takes COUNTERSIGN_* for settings.
    for (name, value) in [
        ("REVISION", revision),
        ("RUSTC", rustc),
        ("TARGET", &told("TARGET")),
        ("PROFILE", &profile),
    ] {
        writeln!(out, "cargo::rustc-env=BUILD_{name}={value}")?;
    }
    writeln!(out, "cargo::rerun-if-env-changed=BUILD_REVISION")?;
    writeln!(out, "cargo::rerun-if-changed=src/build.rs")
}

/// The commit, marked if files differ from it, and where git keeps it; `None` if this is not the
/// top of a repository: another project's says nothing of us.
fn by_git(root: &str) -> Option<(String, String)> {
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

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
