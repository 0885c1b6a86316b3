//! Reads the inputs of `countersign explain`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::Path;

use super::secrets::Secrets;

use crate::diagnose::input::{self, CurlSigning, InputError};
use crate::diagnose::{Credentials, Evidence};

const PROMPT: &str = "\
Paste AWS's answer: the error text, the whole response, or the JSON of a realtime
message. Then press Enter and Ctrl-D. Terminals cut lines of more than 4,095 bytes
(macOS: 1,024): give such a text with --answer FILE, or through a pipe.
";

/// The files of the inputs. `-` is standard input, which is also the default of the answer.
pub(super) struct Inputs<'a> {
    pub(super) answer: Option<&'a Path>,
    pub(super) request: Option<&'a Path>,
    pub(super) canonical_request: Option<&'a Path>,
    pub(super) string_to_sign: Option<&'a Path>,
    pub(super) at: Option<&'a str>,
    pub(super) credentials: Option<Credentials>,
    pub(super) needs_credentials: bool,
}

/// What the inputs contain.
pub(super) struct Contents {
    pub(super) evidence: Evidence,
    /// The secrets of every input.
    pub(super) secrets: Secrets,
    /// The request, if it is a command with which curl signs.
    pub(super) signed_by_curl: Option<CurlSigning>,
}

/// Why an input of `explain` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    #[error("{name} {error}")]
    Input { name: String, error: InputError },
    #[error("cannot read {name}: {error}")]
    Read { name: String, error: io::Error },
    #[error(
        "--credentials needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment. To export those of a \
         profile: eval \"$(aws configure export-credentials --profile NAME --format env)\""
    )]
    NoCredentials,
    #[error("standard input can be only one of the inputs: give the others as files")]
    SecondStandardInput,
}

impl Inputs<'_> {
    /// Reads all inputs.
    pub(super) fn read(&self) -> Result<Contents, Error> {
        let answer = self.answer.unwrap_or(Path::new("-"));
        let files = [self.request, self.canonical_request, self.string_to_sign];
        let files = std::iter::once(answer).chain(files.into_iter().flatten());
        if files.filter(|path| is_standard_input(path)).count() > 1 {
            return Err(Error::SecondStandardInput);
        }
        if self.needs_credentials && self.credentials.is_none() {
            return Err(Error::NoCredentials);
        }
        let mut secrets = Secrets::default();
        if let Some(credentials) = &self.credentials {
            secrets.add_credentials(credentials);
        }
        let text = read(answer)?;
        let read_answer = input::read_answer(&text).map_err(|error| invalid(answer, error))?;
        secrets.add(&text);
        let mut evidence = Evidence {
            answer: read_answer.answer,
            request: read_answer.request,
            credentials: self.credentials.clone(),
            ..Evidence::default()
        };
        let mut signed_by_curl = None;
        if let Some(path) = self.request {
            let text = read(path)?;
            secrets.add(&text);
            let signing = input::read_curl_signing(&text).map_err(|error| invalid(path, error))?;
            match (signing, &mut evidence.request) {
                // The output of `curl -v` is the answer; its command shows the body.
                (Some(CurlSigning { request, .. }), Some(sent)) => {
                    sent.body = sent.body.take().or(request.body);
                }
                (signing @ Some(_), None) => signed_by_curl = signing,
                (None, _) => {
                    let request = input::read_request(&text);
                    evidence.request = Some(request.map_err(|error| invalid(path, error))?);
                }
            }
        }
        if let Some(path) = self.canonical_request {
            let text = read(path)?;
            secrets.add(&text);
            let canonical = input::read_canonical_request(&text);
            evidence.canonical_request = Some(canonical.map_err(|error| invalid(path, error))?);
        }
        if let Some(path) = self.string_to_sign {
            let text = read(path)?;
            secrets.add(&text);
            let to_sign = input::read_string_to_sign(&text);
            evidence.string_to_sign = Some(to_sign.map_err(|error| invalid(path, error))?);
        }
        if let Some(text) = self.at {
            let time = input::read_time(text).map_err(|error| Error::Input {
                name: format!("--at {text:?}"),
                error,
            })?;
            evidence.answered_at = Some(time);
        }
        secrets.add_evidence(&evidence);
        Ok(Contents {
            evidence,
            secrets,
            signed_by_curl,
        })
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == OsStr::new("-")
}

/// Returns how errors refer to an input.
fn name(path: &Path) -> String {
    if is_standard_input(path) {
        "standard input".to_owned()
    } else {
        format!("{}", path.display())
    }
}

fn invalid(path: &Path, error: InputError) -> Error {
    Error::Input {
        name: name(path),
        error,
    }
}

/// Reads an input. It stops above the maximum size.
fn read(path: &Path) -> Result<String, Error> {
    let failed = |error| Error::Read {
        name: name(path),
        error,
    };
    let limit = input::MAX_INPUT as u64 + 1;
    let mut bytes = Vec::new();
    if is_standard_input(path) {
        let stdin = io::stdin().lock();
        if stdin.is_terminal() {
            // If standard error is closed, nobody can be prompted.
            let _ = io::stderr().write_all(PROMPT.as_bytes());
        }
        stdin.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = File::open(path).map_err(failed)?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    input::decode(&bytes).map_err(|error| invalid(path, error))
}
