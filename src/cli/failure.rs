//! Why a command failed, and its exit code.
//!
//! Exit codes: 0 success; 1 the running countersign was not reached or not ready in time, a step of a
//! check failed, the schema could not be read, or no cause was found; 2 invalid usage, configuration or input, with every mistake
//! listed; 3 the program could not start.

use std::path::PathBuf;
use std::process::ExitCode;

use super::admin;
use super::explain::inputs;
use super::process::systemd::SocketError;
use crate::app::{PresignError, StartError};
use crate::check::{Fault, InvalidQuery};
use crate::config::Problems;
use crate::telemetry::TraceError;
use crate::upstream::EndpointError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Admin(#[from] admin::Error),
    // The text contains the cause, so the cause is not a source, too.
    #[error(
        "cannot write the certificate authority to {path:?}: {error}. Choose another file with --ca-file"
    )]
    CaFile {
        path: PathBuf,
        error: std::io::Error,
    },
    /// The report of each step is already written.
    #[error("{failed} of {steps} steps failed")]
    Check { failed: usize, steps: usize },
    /// The check did not start: its report is already written.
    #[error("the configuration cannot be used, so nothing was checked")]
    CheckConfig,
    #[error(transparent)]
    Config(#[from] Problems),
    #[error("interrupted before all steps were performed")]
    Interrupted,
    #[error("--query: {0}")]
    Query(#[from] InvalidQuery),
    #[error(transparent)]
    Explain(#[from] inputs::Error),
    #[error(transparent)]
    Emulator(#[from] countersign_emulator::Error),
    #[error("core dumps cannot be disabled, and they would contain credentials")]
    Memory(#[source] std::io::Error),
    #[error("unknown command {word:?}{advice}")]
    NoCommand { word: String, advice: String },
    #[error(transparent)]
    Presign(#[from] PresignError),
    #[error("the runtime could not be started")]
    Runtime(#[source] std::io::Error),
    #[error("the sandbox cannot be enabled (sandbox)")]
    Sandbox(#[source] std::io::Error),
    #[error("cannot read the schema: {}", with_fix(.0))]
    Schema(Fault),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Traces(#[from] TraceError),
    #[error("the input does not decide the cause")]
    Unexplained,
    #[error(transparent)]
    Url(#[from] EndpointError),
    #[error("{0}")]
    Usage(String),
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
}

/// Returns what is wrong, and how to fix it on the lines below.
fn with_fix(fault: &Fault) -> String {
    format!("{}\n{}", fault.detail, fault.fix)
        .trim_end()
        .to_owned()
}

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;
const NOT_STARTED: u8 = 3;

impl Failure {
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Admin(_)
            | Self::Check { .. }
            | Self::Interrupted
            | Self::Schema(_)
            | Self::Unexplained => FAILED,
            Self::CheckConfig
            | Self::Config(_)
            | Self::Explain(_)
            | Self::NoCommand { .. }
            | Self::Presign(PresignError::Target(_))
            | Self::Query(_)
            | Self::Url(_)
            | Self::Usage(_) => BAD_USAGE,
            Self::CaFile { .. }
            | Self::Emulator(_)
            | Self::Memory(_)
            | Self::Presign(_)
            | Self::Runtime(_)
            | Self::Sandbox(_)
            | Self::Socket(_)
            | Self::Start(_)
            | Self::Traces(_)
            | Self::Output(_) => NOT_STARTED,
        })
    }
}
