//! Expands `~` in paths, which no shell does in a file or in a variable.

use std::path::{Path, PathBuf};

/// Returns the home directory of the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "HOME is not configuration: it completes paths of files that belong to the user"
)]
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// The variable that names the home directory.
pub(crate) const VARIABLE: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// Replaces `~` at the start of a path by the home directory. `~user` is not expanded.
pub(crate) fn expand(path: impl AsRef<Path>) -> PathBuf {
    expand_in(path.as_ref(), home())
}

fn expand_in(path: &Path, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        (Ok(_) | Err(_), _) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leading_tilde_is_expanded() {
        for (path, expected) in [
            ("~/ca.pem", "/home/u/ca.pem"),
            ("~", "/home/u/"),
            ("~other/ca.pem", "~other/ca.pem"),
            ("/x/~/ca.pem", "/x/~/ca.pem"),
            ("ca.pem", "ca.pem"),
        ] {
            let found = expand_in(Path::new(path), Some("/home/u".into()));
            assert_eq!(found, Path::new(expected), "{path}");
        }
        assert_eq!(expand_in(Path::new("~/a"), None), Path::new("~/a"));
    }
}
