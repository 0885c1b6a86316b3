//! What `[tls]` means.

use std::path::Path;

use super::declare::Settings as _;
use super::settings::Tls;
use super::table::Table;
use crate::server::{Certificate, TlsConfig};

/// `None` without TLS, and where a mistake was reported.
pub(super) fn tls(table: &Table<'_>, state: Option<&Path>) -> Option<TlsConfig> {
    let Tls {
        cert,
        key,
        dev,
        client_ca,
    } = Tls::read(table)?;
    if table.has_problem("dev") {
        return None;
    }
    let certificate = match (table.is_said("cert"), table.is_said("key"), dev) {
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
