//! Runs a `credential_process`.
//!
//! When a load is cancelled, aws-config's provider leaves the process and its children running. Here, they
//! are killed when the process has exited, when its output is too long, and when the load is dropped, which
//! happens at its timeout and at shutdown. A load runs at most one process.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError as SdkError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt as _;

use super::{expiry, keys};
use crate::platform::{Shell, termination_signal};

/// The credential provider of a profile with `credential_process`.
pub(super) struct CredentialProcess {
    command: String,
}

/// Why a process provided no credentials. Messages never quote its output, which may contain secrets.
#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error("the credential_process could not be run: {0}")]
    Run(io::Error),
    #[error("the credential_process exited with status {0}")]
    Exited(i32),
    #[error("the credential_process was terminated by signal {0}")]
    Killed(i32),
    #[error("the credential_process ended without an exit status")]
    Ended,
    #[error("the credential_process wrote more than {} KiB", MAX_OUTPUT / 1024)]
    TooLong,
    #[error("the credential_process did not write JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("the credential_process did not write a JSON object")]
    NotAnObject,
    #[error("the credential_process wrote \"Version\": {0}, but only 1 is supported")]
    Version(String),
    #[error("the credential_process wrote no {0:?}")]
    Missing(&'static str),
    #[error("the credential_process wrote {0:?} that is not text")]
    NotText(&'static str),
    #[error("the credential_process wrote {0:?} that {1}")]
    Flaw(&'static str, &'static str),
    #[error(
        "the credential_process wrote \"Expiration\" that is not a time such as 2030-01-01T00:00:00Z"
    )]
    Expiration,
}

/// The maximum size of the output, in bytes. Credentials have a few KiB.
const MAX_OUTPUT: u64 = 64 * 1024;

/// The variables that systemd sets for countersign. They must not be passed to the process.
const SYSTEMD_VARIABLES: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

// === impl CredentialProcess ===

impl CredentialProcess {
    pub(super) fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
        }
    }

    async fn credentials(&self) -> provider::Result {
        let run = async { parse(&run(&self.command).await?) };
        run.await.map_err(SdkError::provider_error)
    }
}

impl From<io::Error> for ProcessError {
    fn from(error: io::Error) -> Self {
        Self::Run(error)
    }
}

impl ProvideCredentials for CredentialProcess {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// Omits the command, because its arguments may be secrets.
impl fmt::Debug for CredentialProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialProcess").finish_non_exhaustive()
    }
}

/// Runs `command` and returns what it wrote to its standard output.
async fn run(command: &str) -> Result<Vec<u8>, ProcessError> {
    let mut shell = Shell::start(command, own_variables())?;
    let output = shell.output().ok_or(ProcessError::Ended)?;
    let read = async {
        let mut bytes = Vec::new();
        let mut bounded = output.take(MAX_OUTPUT + 1);
        bounded.read_to_end(&mut bytes).await?;
        match u64::try_from(bytes.len()) {
            Ok(length) if length <= MAX_OUTPUT => Ok(bytes),
            Ok(_) | Err(_) => Err(ProcessError::TooLong),
        }
    };
    let exited = async { Ok::<_, ProcessError>(shell.exited().await?) };
    let (bytes, status) = tokio::try_join!(read, exited)?;
    succeeded(status)?;
    Ok(bytes)
}

fn succeeded(status: ExitStatus) -> Result<(), ProcessError> {
    match (status.code(), termination_signal(status)) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(ProcessError::Exited(code)),
        (None, Some(signal)) => Err(ProcessError::Killed(signal)),
        (None, None) => Err(ProcessError::Ended),
    }
}

/// Returns the names of the environment variables that are meant for countersign.
#[expect(
    clippy::disallowed_methods,
    reason = "a child process inherits the environment, except for what is meant for countersign"
)]
fn own_variables() -> impl Iterator<Item = std::ffi::OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("COUNTERSIGN_") || SYSTEMD_VARIABLES.contains(&name.as_ref())
    })
}

/// Parses the output of a process (AWS CLI guide, "Sourcing credentials with an external process").
/// Names of members are case-insensitive, as in aws-config.
fn parse(bytes: &[u8]) -> Result<Credentials, ProcessError> {
    let Value::Object(members) = serde_json::from_slice(bytes).map_err(ProcessError::NotJson)?
    else {
        return Err(ProcessError::NotAnObject);
    };
    match member(&members, "Version") {
        Some(Value::Number(version)) if version.as_f64() == Some(1.0) => {}
        Some(Value::Number(version)) => return Err(ProcessError::Version(version.to_string())),
        Some(_) => return Err(ProcessError::Version("that is not a number".to_owned())),
        None => return Err(ProcessError::Missing("Version")),
    }
    let id = key(&members, "AccessKeyId")?.ok_or(ProcessError::Missing("AccessKeyId"))?;
    let secret =
        key(&members, "SecretAccessKey")?.ok_or(ProcessError::Missing("SecretAccessKey"))?;
    let token = match member(&members, "SessionToken") {
        Some(Value::String(token)) if token.is_empty() => None,
        Some(_) | None => key(&members, "SessionToken")?,
    };
    let expiry = text(&members, "Expiration")?.map(time).transpose()?;
    let mut credentials = Credentials::builder()
        .access_key_id(id)
        .secret_access_key(secret)
        .provider_name("CredentialProcess");
    credentials.set_session_token(token.map(str::to_owned));
    credentials.set_expiry(expiry);
    credentials.set_account_id(keys::account(
        member(&members, "AccountId").and_then(Value::as_str),
    ));
    Ok(credentials.build())
}

/// Returns a member that is present and not null.
fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut members = members.iter();
    let found = members.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

fn text<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, ProcessError> {
    match member(members, name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ProcessError::NotText(name)),
        None => Ok(None),
    }
}

fn key<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, ProcessError> {
    let value = text(members, name)?;
    match value.and_then(keys::flaw) {
        Some(flaw) => Err(ProcessError::Flaw(name, flaw)),
        None => Ok(value),
    }
}

fn time(text: &str) -> Result<SystemTime, ProcessError> {
    expiry::parse(text).ok_or(ProcessError::Expiration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expected: &str) {
        let error = parse(output.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{output}: {error}");
        assert!(!error.contains("SECRET"), "{error}");
    }

    #[test]
    fn invalid_output_is_rejected_with_the_reason() {
        check("", "not write JSON");
        check("Password: SECRET", "not write JSON");
        check("{\"Version\":1,", "not write JSON");
        check("\"SECRET\"", "not write a JSON object");
        check("[]", "not write a JSON object");
        check("null", "not write a JSON object");
        check("{}", "no \"Version\"");
        check("{\"Version\":2}", "\"Version\": 2");
        check("{\"Version\":\"1\"}", "not a number");
        check("{\"Version\":1}", "no \"AccessKeyId\"");
        check(
            "{\"Version\":1,\"AccessKeyId\":\"A\"}",
            "no \"SecretAccessKey\"",
        );
        check(
            "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":null}",
            "no \"SecretAccessKey\"",
        );
        let with = |more: &str| {
            format!("{{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"SECRET\"{more}}}")
        };
        check(
            &with(",\"SessionToken\":7"),
            "\"SessionToken\" that is not text",
        );
        check(&with(",\"SessionToken\":\"a\\nb\""), "line end");
        for time in ["\"\"", "\"tomorrow\"", "\"2030-01-01\"", "\"1893456000\""] {
            check(&with(&format!(",\"Expiration\":{time}")), "\"Expiration\"");
        }
        check(&with(",\"Expiration\":1893456000"), "\"Expiration\"");
        check(
            "{\"Version\":1,\"AccessKeyId\":\"\",\"SecretAccessKey\":\"SECRET\"}",
            "\"AccessKeyId\" that is empty",
        );
        check(
            "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"SECRET\\r\"}",
            "\"SecretAccessKey\" that contains a line end",
        );
    }

    #[cfg(unix)]
    fn is_alive(pid: &str) -> bool {
        // A zombie has no command line.
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    #[cfg(unix)]
    /// Waits until a condition outside this process holds, for at most 20 s.
    async fn until(what: &str, mut happened: impl FnMut() -> bool) {
        let started = tokio::time::Instant::now();
        while !happened() {
            assert!(started.elapsed().as_secs() < 20, "not yet: {what}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn cancelled_process_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pids");
        let shown = file.display();
        let script = format!("sleep 1000 & echo $! >> {shown}; echo $$ >> {shown}; sleep 1000");
        let pids = || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        tokio::select! {
            ended = run(&script) => panic!("{ended:?}"),
            () = until("two processes", || pids().len() == 2) => {}
        }
        until("the end of both", || {
            !pids().iter().any(|pid| is_alive(pid))
        })
        .await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn output_is_bounded_and_does_not_wait_for_children() {
        let endless = run("yes").await;
        assert!(matches!(endless, Err(ProcessError::TooLong)), "{endless:?}");
        let left = run("sleep 1000 & echo $!").await.unwrap();
        let pid = String::from_utf8(left).unwrap();
        until("the child's end", || !is_alive(pid.trim())).await;
        let exact = run(&format!("head -c {MAX_OUTPUT} /dev/zero"))
            .await
            .unwrap();
        assert_eq!(u64::try_from(exact.len()).unwrap(), MAX_OUTPUT);
        let killed = run("kill -9 $$").await;
        assert!(matches!(killed, Err(ProcessError::Killed(9))), "{killed:?}");
        let silent = run("cat; echo hidden >&2; exit 7").await;
        assert!(matches!(silent, Err(ProcessError::Exited(7))), "{silent:?}");
    }

    #[test]
    fn documented_output_is_parsed() {
        let output = "{\"Version\":1,\"accessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\
                      \"SessionToken\":\"\",\"Expiration\":\"2030-01-01T01:00:00+01:00\"}";
        let credentials = parse(output.as_bytes()).unwrap();
        assert_eq!(credentials.access_key_id(), "A");
        assert_eq!(credentials.session_token(), None);
        let expected = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_893_456_000);
        assert_eq!(credentials.expiry(), Some(expected));
        let forever = "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\
                       \"SessionToken\":\"T\",\"Expiration\":null}";
        let credentials = parse(forever.as_bytes()).unwrap();
        assert_eq!(credentials.expiry(), None);
        assert_eq!(credentials.session_token(), Some("T"));
    }

    #[test]
    fn an_account_is_read_if_it_is_one() {
        for (account, expected) in [
            ("\"123456789012\"", Some("123456789012")),
            ("\"12345678901\"", None),
            ("\"a\"", None),
            ("\"\"", None),
            ("123456789012", None),
            ("null", None),
        ] {
            let output = format!(
                "{{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"AccountId\":{account}}}"
            );
            let credentials = parse(output.as_bytes()).unwrap();
            let found = credentials.account_id().map(|account| account.as_str());
            assert_eq!(found, expected, "{account}");
        }
    }
}
