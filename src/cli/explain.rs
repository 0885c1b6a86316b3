//! `countersign explain`: prints why AWS rejected a request.

pub(super) mod inputs;
mod report;
mod secrets;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::output::print;
use super::settings::allows_colors;
use crate::diagnose::{Credentials, diagnose};
use inputs::{Contents, Inputs};
use report::Style;

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// AWS's answer: the error text, a whole HTTP response, the output of curl -v, or the JSON of a
    /// realtime message [default: standard input]
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    /// The request: HTTP text, a curl command, a HAR file or entry, or the JSON of a realtime message
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The canonical request that your signer computed, raw or as the program printed it
    #[arg(long, value_name = "FILE")]
    canonical_request: Option<PathBuf>,
    /// The string to sign that your signer computed, raw or as the program printed it
    #[arg(long, value_name = "FILE")]
    string_to_sign: Option<PathBuf>,
    /// When AWS answered, by a clock that is right: 2026-01-15T12:00:00Z, or seconds since 1970. A date
    /// header in the answer takes precedence
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Compare with the credentials in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN,
    /// which are never printed
    #[arg(long)]
    credentials: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  pbpaste | countersign explain
  countersign explain --answer response.txt --request request.txt
  curl -sS -v URL 2>&1 | countersign explain
  countersign explain --canonical-request canonical.txt < error.json
  countersign explain --json < error.json | jq -r .fix

Start with the answer alone. If it does not decide, the output names the input
that would: usually the canonical request or the string to sign, which your
signer computes before the signature. How to print them:
  botocore   botocore.session.Session().set_debug_logger('botocore.auth')
  your own   print(canonical_request), with or without quotes and \\n

With --credentials, the key is checked, too. To export those of a profile:
  eval \"$(aws configure export-credentials --profile NAME --format env)\"

A file named - is standard input. A file may have up to 4 MiB.

The output begins with the name of the cause, which is stable. Then come the
first difference, with ^^^^ below the part that differs, and the fix. Secrets of
the input are masked in it: secret keys, session tokens, signatures, passwords,
cookies and API keys, also those in the parts that are cut. Nothing is sent
anywhere. NO_COLOR turns colours off.

JSON has the members cause, confidence (certain, likely, possible or unknown),
summary, difference (null, or line, yours and aws), fix (or null), and needs
(the names of the options that would decide).

Exit codes: 0 the cause was found; 1 the cause is unknown; 2 an input or an
option cannot be read.";

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let inputs = Inputs {
        answer: options.answer.as_deref(),
        request: options.request.as_deref(),
        canonical_request: options.canonical_request.as_deref(),
        string_to_sign: options.string_to_sign.as_deref(),
        at: options.at.as_deref(),
        credentials: options.credentials.then(credentials).flatten(),
        needs_credentials: options.credentials,
    };
    let Contents {
        evidence,
        secrets,
        signed_by_curl,
    } = inputs.read()?;
    let mut diagnosis = match signed_by_curl {
        Some(signing) => signing.diagnose(&evidence),
        None => diagnose(&evidence),
    };
    // Before the values are aligned.
    secrets.mask_diagnosis(&mut diagnosis);
    let text = if options.json {
        report::json(&diagnosis)
    } else {
        report::text(&diagnosis, style())
    };
    print(&text)?;
    match diagnosis.cause {
        Some(_) => Ok(()),
        None => Err(Failure::Unexplained),
    }
}

/// Returns the credentials of the environment, if it has any.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
fn credentials() -> Option<Credentials> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Some(Credentials {
        access_key_id: variable("AWS_ACCESS_KEY_ID")?,
        secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
        session_token: variable("AWS_SESSION_TOKEN"),
    })
}

/// Returns the style of standard output: colours on a terminal, unless the user has turned them off.
fn style() -> Style {
    if io::stdout().is_terminal() && allows_colors() {
        Style::Colored
    } else {
        Style::Plain
    }
}
