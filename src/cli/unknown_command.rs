//! Recognizes a mistyped or misplaced command, which would otherwise be read as the URL of an upstream.

use clap::error::ErrorKind;
use clap::{Arg, Command};

use super::failure::Failure;
use crate::nearest::nearest;
use crate::upstream::is_api_id;

/// Names that users try, and what they look for.
const OTHER_NAMES: [(&[&str], &str); 12] = [
    (
        &["doctor", "test", "verify", "whoami"],
        "countersign check URL",
    ),
    (&["lint", "validate"], "countersign config --check"),
    (
        &["daemon", "proxy", "run", "server", "start", "up"],
        "countersign serve URL",
    ),
    (
        &["down", "exit", "kill", "quit", "stop"],
        "countersign shutdown",
    ),
    (
        &["health", "healthcheck", "ping", "ready", "status"],
        "countersign wait",
    ),
    (&["emulator", "local", "mock"], "countersign emulate"),
    (
        &["example", "examples", "init", "quickstart", "try"],
        "countersign demo",
    ),
    (
        &["debug", "diagnose", "error", "why"],
        "countersign explain",
    ),
    (&["iam", "permissions"], "countersign policy"),
    (
        &["codegen", "graphql", "introspect", "introspection", "sdl"],
        "countersign schema URL",
    ),
    (&["sign", "url"], "countersign presign"),
    (&["version"], "countersign --version"),
];

/// Returns the failure for a URL that can only be meant as a command.
pub(super) fn of_url(url: &str, names: &[String]) -> Option<Failure> {
    is_word(url).then(|| failure(url, names))
}

/// Returns the failure for an error that an unknown command has caused: clap reads the command as a URL
/// and rejects what comes after it.
pub(super) fn of_error(error: &clap::Error, names: &[String]) -> Option<Failure> {
    let mut words = std::env::args_os().skip(1);
    let mut word = words.next()?.into_string().ok()?;
    if word == "help" {
        word = words.next()?.into_string().ok()?;
    }
    let is_cause = is_usage(error) && is_word(&word) && !names.contains(&word);
    is_cause.then(|| failure(&word, names))
}

/// Returns the failure for a command that comes after an option or a URL.
pub(super) fn misplaced(cli: &Command) -> Option<Failure> {
    let mut is_value = false;
    for (at, word) in std::env::args_os().skip(1).enumerate() {
        let word = word.into_string().ok()?;
        if std::mem::take(&mut is_value) {
            continue;
        }
        if word.starts_with('-') {
            is_value = has_value(cli, &word);
        } else if cli.find_subcommand(&word).is_some() {
            let text = format!("the command {word:?} must come first: countersign {word} --help");
            return (at > 0).then_some(Failure::Usage(text));
        } else if is_word(&word) {
            return None;
        }
    }
    None
}

/// Returns whether the argument after an option is its value.
fn has_value(cli: &Command, option: &str) -> bool {
    let is_meant = |arg: &Arg| {
        arg.get_long()
            .is_some_and(|long| option == format!("--{long}"))
    };
    let mut arguments = cli.get_arguments();
    arguments.any(|arg| is_meant(arg) && arg.get_action().takes_values())
}

/// Returns the failure for a word that is none of the commands.
pub(super) fn failure(word: &str, names: &[String]) -> Failure {
    let lower = word.to_ascii_lowercase();
    let other = OTHER_NAMES
        .iter()
        .find(|(words, _)| words.contains(&lower.as_str()));
    let near = nearest(word, names.iter().map(String::as_str));
    let meant: Vec<String> = match other {
        Some((_, command)) => vec![(*command).to_owned()],
        None if word.bytes().all(|byte| byte.is_ascii_digit()) => {
            vec![format!("countersign --port {word} URL")]
        }
        None => near
            .iter()
            .take(2)
            .map(|name| format!("countersign {name}"))
            .collect(),
    };
    let advice = match meant.as_slice() {
        [] => format!(". The commands are: {}", names.join(", ")),
        meant => format!(
            ". Did you mean: {}? `countersign --help` lists the commands",
            meant.join(", ")
        ),
    };
    Failure::NoCommand {
        word: word.to_owned(),
        advice,
    }
}

/// Returns the names of the commands.
pub(super) fn names(command: &Command) -> Vec<String> {
    let commands = command.get_subcommands();
    commands
        .map(|command| command.get_name().to_owned())
        .collect()
}

/// Returns whether `text` can only be meant as a command: a host has a dot or a port.
fn is_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain) && !is_api_id(text)
}

/// Returns whether arguments after an unknown command can cause the error.
fn is_usage(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ArgumentConflict | ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument
    )
}
