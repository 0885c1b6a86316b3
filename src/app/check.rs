//! Reads every file that a start reads, without starting anything.

use super::start_error::StartError;
use crate::config::{Config, Trust};
use crate::iam::{self, RecordError};
use crate::net::TlsRoots;
use crate::server::Tls;
use crate::telemetry::{Export, error_chain};

/// A file that would keep the program from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableFile {
    /// The setting that names it; empty for files that no setting names.
    pub key: String,
    pub message: String,
}

/// Returns all unusable files. Token files are not checked, because [`crate::config::load`] has read
/// them. Whether a file can be written is not checked either.
pub fn unusable_files(config: &Config) -> Vec<UnusableFile> {
    let mut found = Vec::new();
    if let Some(tls) = &config.tls {
        for (key, error) in Tls::check(tls) {
            found.push(unusable(format!("tls.{key}"), &error));
        }
    }
    let mut needs_system_roots = false;
    for route in &config.routes {
        match &route.trust {
            Trust::File(path) => {
                if let Err(error) = TlsRoots::file(path) {
                    let error = StartError::CaFile {
                        route: route.name.clone(),
                        path: path.clone(),
                        error,
                    };
                    found.push(unusable(format!("route.{}.ca_file", route.name), &error));
                }
            }
            Trust::Pem(_) => {}
            Trust::System => needs_system_roots = true,
        }
    }
    if needs_system_roots && let Err(source) = TlsRoots::system() {
        found.push(unusable(String::new(), &StartError::SystemRoots(source)));
    }
    if let Some(path) = &config.record {
        match iam::read(path) {
            Ok(_) => {}
            // A start creates it.
            Err(RecordError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => found.push(unusable("iam.record".to_owned(), &error)),
        }
    }
    if let Some(traces) = &config.traces
        && let Err(error) = Export::check(traces)
    {
        found.push(unusable("traces.headers_file".to_owned(), &error));
    }
    found
}

fn unusable(key: String, error: &(dyn std::error::Error + 'static)) -> UnusableFile {
    UnusableFile {
        key,
        message: error_chain(error),
    }
}
