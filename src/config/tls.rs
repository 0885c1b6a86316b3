//! What `[tls]` means, and where the local certificate authority is kept.

use std::path::{Path, PathBuf};

use super::raw::Table;
use super::values;
use crate::server::{Certificate, TlsConfig};

/// `None` without TLS, and where a mistake was reported.
pub(super) fn tls(table: &Table<'_>, state: Option<&Path>) -> Option<TlsConfig> {
    let cert = table.read("cert", values::file);
    let key = table.read("key", values::file);
    let dev = table.read("dev", values::switch);
    let client_ca = table.read("client_ca", values::file);
    table.finish();
    let certificate = match (table.is_said("cert"), table.is_said("key"), dev?) {
        (false, false, false) => {
            if table.is_said("client_ca") {
                let message = "needs TLS: set `cert` and `key` (--tls-cert, --tls-key), too";
                table.report("client_ca", message);
            }
            None
        }
        (false, false, true) => {
            if state.is_none() {
                let message = "has no place for its CA: set XDG_STATE_HOME or HOME";
                table.report("dev", message);
            }
            let state = state?.to_owned();
            Some(Certificate::Dev { state })
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
        (true, true, false) => Some(Certificate::Files {
            cert: cert?,
            key: key?,
        }),
    };
    Some(TlsConfig {
        certificate: certificate?,
        client_ca,
    })
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
