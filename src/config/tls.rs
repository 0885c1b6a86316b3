//! What `[tls]` means, and where the local certificate authority is kept.

use std::path::{Path, PathBuf};

use super::raw::Table;
use super::values;
use crate::server::TlsConfig;

/// `None` without TLS, and where a mistake was reported.
pub(super) fn tls(table: &Table<'_>, state: Option<&Path>) -> Option<TlsConfig> {
    let cert = table.read("cert", values::file);
    let key = table.read("key", values::file);
    let dev = table.read("dev", values::switch);
    table.finish();
    match (table.is_said("cert"), table.is_said("key"), dev?) {
        (false, false, false) => None,
        (false, false, true) => {
            if state.is_none() {
                let message = "has no place for its CA: set XDG_STATE_HOME or HOME";
                table.report("dev", message);
            }
            let state = state?.to_owned();
            Some(TlsConfig::Dev { state })
        }
        (true, _, true) | (_, true, true) => {
            let message = "makes a certificate of its own, but `cert` or `key` is set: choose one";
            table.report("dev", message);
            None
        }
        (true, false, false) => {
            table.report("key", "is missing: the private key of `cert` (--tls-key)");
            None
        }
        (false, true, false) => {
            table.report("cert", "is missing: the certificate of `key` (--tls-cert)");
            None
        }
        (true, true, false) => Some(TlsConfig::Files {
            cert: cert?,
            key: key?,
        }),
    }
}

/// Below XDG_STATE_HOME, or where that is by default (XDG Base Directory Specification; a path
/// that is not absolute is to be ignored).
pub(super) fn state_dir(environment: &[(String, String)]) -> Option<PathBuf> {
    let directory = |variable: &str| {
        let (_, value) = environment.iter().find(|(name, _)| name == variable)?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    let in_home = || Some(directory("HOME")?.join(".local/state"));
    let state_home = directory("XDG_STATE_HOME").or_else(in_home)?;
    Some(state_home.join("countersign"))
}
