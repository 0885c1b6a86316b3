//! What commands write to standard output and standard error.

use std::io::Write as _;

use super::failure::Failure;
use crate::telemetry::error_chain;

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(Failure::Output)
}

/// Writes a failure and its causes to standard error.
pub(super) fn report(failure: &Failure) {
    for line in error_chain(failure).lines() {
        note(line);
    }
}

/// Writes a text to standard error. If standard error is closed, nobody can be notified.
pub(super) fn write_banner(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Writes a line to standard error. If standard error is closed, nobody can be notified.
pub(super) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "countersign: {line}");
}
