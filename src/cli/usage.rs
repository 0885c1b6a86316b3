//! Explains a mistake on the command line in one line: what is wrong, and what to type instead.
//!
//! The first line of clap's own messages often has neither: "the following required arguments were not
//! provided:", "to pass '-v' as a value, use '-- -v'".

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::failure::Failure;
use super::settings;
use crate::nearest::nearest;

/// Options that users try, and those that they look for.
const OTHER_OPTIONS: [(&[&str], &str); 14] = [
    (
        &["-a", "-b", "--addr", "--address", "--bind"],
        "--listen ADDR",
    ),
    (&["-c", "-f", "--file"], "--config FILE"),
    (&["-k", "--insecure", "--no-verify"], "--ca-file FILE"),
    (&["-l", "--level", "--log-level"], "--log debug"),
    (&["-p"], "--port PORT"),
    (&["-s", "--silent"], "--quiet"),
    (&["-r"], "--region REGION"),
    (&["-d", "--debug"], "--verbose"),
    (&["--trace"], "--log trace"),
    (
        &["--cors", "--cors-origin", "--origin"],
        "--allow-origin ORIGIN",
    ),
    (&["--https", "--ssl", "--tls"], "--tls-dev"),
    (&["--json"], "--log-format json"),
    (&["--role", "--role-arn"], "--assume-role ARN"),
    (&["--token"], "--token-file FILE"),
];
/// Options that users try for the URL.
const URL_OPTIONS: [&str; 7] = [
    "-u",
    "--api",
    "--endpoint",
    "--target",
    "--upstream",
    "--uri",
    "--url",
];

/// Returns the failure for an error of clap that is not a request for help.
pub(super) fn failure(error: &clap::Error, cli: &Command) -> Failure {
    let mistake = Mistake {
        error,
        cli,
        command: called(cli),
    };
    Failure::Usage(mistake.text())
}

/// Returns the command that the arguments name.
fn called(cli: &Command) -> &Command {
    let word = std::env::args_os().nth(1);
    let found = word.and_then(|word| cli.find_subcommand(word));
    found.unwrap_or(cli)
}

struct Mistake<'a> {
    error: &'a clap::Error,
    cli: &'a Command,
    command: &'a Command,
}

impl Mistake<'_> {
    fn text(&self) -> String {
        let kind = self.error.kind();
        let argument = self.context(ContextKind::InvalidArg);
        let argument = argument.first().map_or("", String::as_str);
        let (name, value) = (name_of(argument), self.value());
        if kind == ErrorKind::UnknownArgument {
            return self.unknown(argument);
        }
        if let Some(word) = self.context(ContextKind::InvalidSubcommand).first() {
            return self.second(word);
        }
        if kind == ErrorKind::ArgumentConflict {
            let prior = self.context(ContextKind::PriorArg);
            let prior = prior.first().map_or("", |prior| name_of(prior));
            return if prior == name {
                format!("{name} is given more than once: give it once")
            } else {
                format!("{name} cannot be used with {prior}: use one of them")
            };
        }
        if kind == ErrorKind::InvalidValue && value.is_empty() {
            return format!("{name} needs a value{}", self.example(argument));
        }
        if kind == ErrorKind::InvalidValue {
            let valid = self.context(ContextKind::ValidValue);
            return format!(
                "invalid value {value:?} for {name}: expected {}",
                valid.join(", ")
            );
        }
        if kind == ErrorKind::ValueValidation {
            let source = std::error::Error::source(self.error);
            let reason = source.map(ToString::to_string).unwrap_or_default();
            let value = if reason.contains(&format!("{value:?}")) {
                String::new()
            } else {
                format!("invalid value {value:?}: ")
            };
            return format!("{name}: {value}{reason}");
        }
        if kind == ErrorKind::TooManyValues {
            return format!("{name} takes no value: leave out {value:?}");
        }
        if kind == ErrorKind::MissingRequiredArgument {
            let example = example(self.command);
            let example = example.map_or(String::new(), |example| format!(", as in: {example}"));
            return format!("{name} is missing{example}");
        }
        let text = self.error.to_string();
        let line = text.lines().next().unwrap_or_default();
        line.trim_start_matches("error: ").to_owned()
    }

    /// Explains an option or an argument that the command does not have.
    fn unknown(&self, argument: &str) -> String {
        let name = self.name();
        if !argument.starts_with('-') {
            return if name == "countersign demo" {
                format!(
                    "unexpected argument {argument:?}: `{name}` needs no API. To use yours: countersign URL"
                )
            } else {
                format!("unexpected argument {argument:?}: leave it out, or put it in quotes")
            };
        }
        let option = argument.split('=').next().unwrap_or_default();
        let unknown = format!("unknown option {option:?}");
        let help = format!("`{name} --help` lists the options");
        let has_url = self
            .command
            .get_positionals()
            .any(|arg| arg.get_id() == "URL");
        if URL_OPTIONS.contains(&option) && has_url {
            return format!(
                "{unknown}: the URL needs no option, as in: {name} https://ID.appsync-api.REGION.amazonaws.com/graphql"
            );
        }
        let other = OTHER_OPTIONS
            .iter()
            .find(|(options, _)| options.contains(&option));
        if let Some((_, meant)) = other
            && has_option(self.command, meant.split(' ').next().unwrap_or_default())
        {
            return format!("{unknown}. Did you mean {meant}? {help}");
        }
        let owner = [self.cli]
            .into_iter()
            .chain(self.cli.get_subcommands())
            .find(|command| has_option(command, option));
        if let Some(owner) = owner {
            let owner = full_name(owner);
            return format!("{unknown}: it belongs to `{owner}`, not to `{name}`. {help}");
        }
        let own = options(self.command);
        let bare = option.trim_start_matches('-');
        match nearest(bare, own.iter().map(String::as_str)).first() {
            Some(near) => format!("{unknown}. Did you mean --{near}? {help}"),
            None => format!("{unknown}. {help}"),
        }
    }

    /// Explains a second URL.
    fn second(&self, word: &str) -> String {
        if word.starts_with('-') {
            return self.unknown(word);
        }
        format!(
            "unexpected argument {word:?} after the URL: leave it out. For several APIs, write a file with \
             a [route.NAME] table for each, and run: countersign --config FILE"
        )
    }

    fn name(&self) -> String {
        full_name(self.command)
    }

    fn value(&self) -> String {
        let value = self.context(ContextKind::InvalidValue);
        value.into_iter().next().unwrap_or_default()
    }

    /// Returns an example of an option's value, to be appended to a sentence.
    fn example(&self, argument: &str) -> String {
        let name = name_of(argument);
        match settings::example(name) {
            Some(example) => format!(", such as {name} {example}"),
            None => format!(": {}", argument.replace(['<', '>'], "")),
        }
    }

    fn context(&self, kind: ContextKind) -> Vec<String> {
        match self.error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }
}

/// Returns the first example of a command's help.
fn example(command: &Command) -> Option<String> {
    let help = command.get_after_help()?.to_string();
    let mut lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.next().map(|line| line.trim().to_owned())
}

/// Returns `--listen` for `--listen <ADDR>`, and `URL` for `<URL>`.
fn name_of(argument: &str) -> &str {
    let name = argument.split(' ').next().unwrap_or_default();
    name.trim_matches(['<', '>', '[', ']', '.'])
}

/// `countersign`, `countersign demo`
fn full_name(command: &Command) -> String {
    match command.get_name() {
        name @ "countersign" => name.to_owned(),
        name => format!("countersign {name}"),
    }
}

fn has_option(command: &Command, option: &str) -> bool {
    let bare = option.trim_start_matches("--");
    command
        .get_arguments()
        .any(|arg| arg.get_long() == Some(bare))
}

fn options(command: &Command) -> Vec<String> {
    let long = command.get_arguments().filter_map(Arg::get_long);
    long.map(str::to_owned).collect()
}
