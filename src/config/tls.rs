//! Resolves `[tls]`.

use std::path::Path;

use super::declare::SettingsTable as _;
use super::settings::TlsSettings;
use super::table::Table;
use crate::server::{Certificate, TlsConfig};

/// Returns `None` without TLS, or if a mistake was reported.
pub(super) fn tls(table: &Table<'_>, state: Option<&Path>) -> Option<TlsConfig> {
    let TlsSettings {
        cert,
        key,
        dev,
        client_ca,
    } = TlsSettings::read(table)?;
    if table.has_problem("dev") {
        return None;
    }
    let certificate = match (table.is_set("cert"), table.is_set("key"), dev) {
        (false, false, false) => {
            if table.is_set("client_ca") {
                let message = "needs TLS: also set `cert` and `key` (--tls-cert, --tls-key)";
                table.report("client_ca", message);
            }
            None
        }
        (false, false, true) => {
            if state.is_none() {
                let message = if cfg!(windows) {
                    "needs a directory for its CA: set LOCALAPPDATA or XDG_STATE_HOME"
                } else {
                    "needs a directory for its CA: set XDG_STATE_HOME or HOME"
                };
                table.report("dev", message);
            }
            let state = state?.to_owned();
            Some(Certificate::Dev { state })
        }
        (true, _, true) | (_, true, true) => {
            let message =
                "creates a certificate, but `cert` or `key` is set, too: remove one of them";
            table.report("dev", message);
            None
        }
        (true, false, false) => {
            table.report(
                "cert",
                "needs the private key, too: --tls-key FILE (in a file: `key`)",
            );
            None
        }
        (false, true, false) => {
            table.report(
                "key",
                "needs the certificate, too: --tls-cert FILE (in a file: `cert`)",
            );
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
