//! The flags that set settings, which are made from the table of settings.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};

use crate::config::{
    self, DEFAULT_FILE, Flag, OPENTELEMETRY, REGION_VARIABLES, SECTIONS, Section, Setting, Sources,
    is_of_url,
};
use crate::home;
use crate::upstream::{EndpointError, of_example, usual_path};

/// The settings that are given as flags.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// The configuration file, if it is not COUNTERSIGN_CONFIG.
    config: Option<PathBuf>,
    /// The keys of the URL's route contain the placeholder NAME instead of its name.
    flags: Vec<Flag>,
    /// Whether variables such as COUNTERSIGN_URL and COUNTERSIGN_PROFILE apply.
    reads_url_variables: bool,
}

/// The section of the settings that apply to the URL.
const ROUTE: &str = "route.NAME";
/// The flag that is the URL of an upstream.
const URL: &str = "URL";
const URL_HELP: &str = "URL of the API, such as https://ID.appsync-api.REGION.amazonaws.com/graphql; \
                        region, service and realtime host are inferred from it";
/// Its variable.
const URL_VARIABLE: &str = "COUNTERSIGN_URL";
/// The setting that `--port` sets.
const LISTEN: &str = "listen";
const PORT: &str = "port";
/// The setting that `-v` and `-q` set.
const FILTER: &str = "log.filter";
const VERBOSE: &str = "verbose";
const QUIET: &str = "quiet";

impl Settings {
    /// Returns the settings of a configuration file.
    pub(super) fn of_file(config: Option<PathBuf>) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Adds flags, as [`given`] returns them.
    pub(super) fn with(mut self, flags: Vec<Flag>) -> Self {
        self.flags.extend(flags);
        self
    }

    /// Adds the value of a setting that has a flag. `key` is written as in the table of settings:
    /// `route.NAME.target`.
    pub(super) fn set(mut self, key: &str, value: Option<String>) -> Self {
        let found = flagged().find(|(section, setting)| section.key(setting) == key);
        if let (Some((section, setting)), Some(value)) = (found, value) {
            self.flags.extend(flag(section, setting, vec![value]));
        }
        self
    }

    /// Returns the sources of the configuration: the file, the environment and these flags. Leaves out
    /// other environment variables, which may contain secrets.
    pub(super) fn sources(&self) -> Sources {
        let mut environment = environment(is_configuration);
        if !self.reads_url_variables {
            environment.retain(|(name, _)| !is_of_url(name, SECTIONS));
        }
        let url = self.url().map(str::to_owned).or_else(|| {
            let mut variables = environment.iter();
            let found = variables.find(|(name, _)| name == URL_VARIABLE);
            found.map(|(_, url)| url.clone())
        });
        let file = environment
            .iter()
            .find(|(name, _)| name == "COUNTERSIGN_CONFIG")
            .map(|(_, path)| PathBuf::from(path));
        let file = self.config.clone().or(file).map(home::expand);
        let has_default_file = || url.is_none() && Path::new(DEFAULT_FILE).exists();
        let is_default_file = file.is_none() && has_default_file();
        Sources {
            file: file.or_else(|| is_default_file.then(|| PathBuf::from(DEFAULT_FILE))),
            is_default_file,
            url_route: url.as_deref().map(|url| route(url).to_owned()),
            flags: self.flags_of_route(url.as_deref()),
            environment,
        }
    }

    /// Checks the URL on the command line, for a command that connects to it.
    ///
    /// # Errors
    /// When the URL is that of an example.
    pub(super) fn check_url(&self) -> Result<(), EndpointError> {
        self.url().and_then(of_example).map_or(Ok(()), Err)
    }

    /// Returns the URL that was given.
    pub(super) fn url(&self) -> Option<&str> {
        let url = self.flags.iter().find(|flag| flag.name == URL)?;
        url.values.first().map(String::as_str)
    }

    /// Returns the flags with the name of the URL's route. Without a URL, they belong to a route that does
    /// not exist.
    fn flags_of_route(&self, url: Option<&str>) -> Vec<Flag> {
        let mut flags = self.flags.clone();
        let Some(url) = url else {
            return flags;
        };
        flags.push(Flag {
            key: format!("{ROUTE}.path"),
            name: URL,
            // The route of a URL serves all paths, but that of an AppSync URL serves its usual path only.
            values: vec![usual_path(url).to_owned()],
            is_list: false,
        });
        for flag in &mut flags {
            if let Some(key) = flag.key.strip_prefix(ROUTE) {
                flag.key = format!("route.{}{key}", route(url));
            }
        }
        flags
    }
}

/// Returns the name of the route of a URL.
fn route(url: &str) -> &'static str {
    match usual_path(url) {
        "/graphql" => "graphql",
        "/event" => "event",
        _ => "url",
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help(
                "TOML file with routes and settings; also COUNTERSIGN_CONFIG [default: \
                 countersign.toml, if it exists and no URL is given]",
            );
        let arguments = flagged().filter_map(|(section, setting)| argument(section, setting));
        let command = command.arg(config).args(arguments).arg(port());
        command.args(verbosity())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self {
            config: matches.get_one("config").cloned(),
            flags: flags(matches, |_| true),
            reads_url_variables: true,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The settings of a command that reaches an API and serves no clients. The others are accepted, so that
/// the arguments of a daemon can be pasted, and `--help` does not list them.
#[derive(Clone, Debug, Default)]
pub(super) struct UpstreamSettings(pub(super) Settings);

impl Args for UpstreamSettings {
    fn augment_args(command: Command) -> Command {
        Settings::augment_args(command).mut_args(|argument| {
            let is_used = argument
                .get_help_heading()
                .is_none_or(|heading| [UPSTREAM, CREDENTIALS].contains(&heading));
            argument.hide(!is_used)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for UpstreamSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Settings::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Returns the arguments of the settings with these keys.
pub(super) fn arguments(keys: &[&str]) -> Vec<Arg> {
    let chosen = flagged().filter(|(section, setting)| is_one_of(keys, section, setting));
    let arguments = chosen.filter_map(|(section, setting)| argument(section, setting));
    let port = keys.contains(&LISTEN).then(port);
    let verbosity = keys.contains(&FILTER).then(verbosity);
    let verbosity = verbosity.into_iter().flatten();
    arguments.chain(port).chain(verbosity).collect()
}

/// Returns the flags that were given for the settings with these keys.
pub(super) fn given(matches: &ArgMatches, keys: &[&str]) -> Vec<Flag> {
    flags(matches, |(section, setting)| {
        is_one_of(keys, section, setting)
    })
}

fn is_one_of(keys: &[&str], section: &Section, setting: &Setting) -> bool {
    keys.contains(&section.key(setting).as_str())
}

fn flags(
    matches: &ArgMatches,
    is_selected: impl Fn((&'static Section, &'static Setting)) -> bool,
) -> Vec<Flag> {
    let chosen = flagged().filter(|found| is_selected(*found));
    let given = chosen.filter_map(|(section, setting)| {
        let id = setting.flag_name()?.trim_start_matches("--");
        let values = match setting.value_name() {
            None if setting.flag_name() != Some(URL) => {
                let is_given = matches.get_flag(id);
                is_given.then(|| "true".to_owned()).into_iter().collect()
            }
            Some(_) | None => {
                let values = matches.get_many::<String>(id);
                values.into_iter().flatten().cloned().collect()
            }
        };
        flag(section, setting, values)
    });
    let port = matches.try_get_one::<String>(PORT).ok().flatten();
    let port = port.map(|port| Flag {
        key: LISTEN.to_owned(),
        name: "--port",
        values: vec![port.clone()],
        is_list: true,
    });
    given.chain(port).chain(verbosity_flag(matches)).collect()
}

/// Returns `None` if no value was given.
fn flag(section: &Section, setting: &Setting, values: Vec<String>) -> Option<Flag> {
    let name = setting.flag_name().filter(|_| !values.is_empty())?;
    Some(Flag {
        key: section.key(setting),
        name,
        values,
        is_list: setting.is_list,
    })
}

/// Returns the settings that have a flag.
fn flagged() -> impl Iterator<Item = (&'static Section, &'static Setting)> {
    let settings = SECTIONS.iter().flat_map(|section| {
        section
            .settings
            .iter()
            .map(move |setting| (section, setting))
    });
    settings.filter(|(_, setting)| setting.flag_name().is_some())
}

fn argument(section: &Section, setting: &Setting) -> Option<Arg> {
    let name = setting.flag_name()?;
    let help = help(setting);
    let Some(long) = name.strip_prefix("--") else {
        return Some(Arg::new(name).value_name(name).help(URL_HELP));
    };
    let argument = Arg::new(long).long(long).help(help);
    let argument = match setting.value_name() {
        None => argument.action(ArgAction::SetTrue),
        Some(value) if setting.is_list => argument.value_name(value).action(ArgAction::Append),
        Some(value) => argument.value_name(value),
    };
    Some(argument.help_heading(heading(section, setting)))
}

/// Returns a valid value of a flag such as `--listen`.
pub(super) fn example(flag: &str) -> Option<String> {
    let mut found = flagged().filter(|(_, setting)| setting.flag_name() == Some(flag));
    let (_, setting) = found.next()?;
    let choices = setting.value.choices();
    let example = choices.first().copied().unwrap_or(setting.value.example());
    Some(example.trim_matches('"').to_owned())
}

fn port() -> Arg {
    Arg::new(PORT)
        .long(PORT)
        .value_name("PORT")
        .value_parser(config::port)
        .conflicts_with(LISTEN)
        .help("Port to listen on, on the loopback addresses")
        .help_heading(LISTENING)
}

/// Returns the arguments that set the level of the log.
pub(super) fn verbosity() -> [Arg; 2] {
    let argument = |name: &'static str, short, help| {
        let argument = Arg::new(name).long(name).short(short).help(help);
        argument
            .action(ArgAction::Count)
            .conflicts_with("log")
            .help_heading(LOGGING)
    };
    let quiet = argument(
        QUIET,
        'q',
        "Log only warnings and errors (--log warn); -qq logs only errors, -qqq nothing",
    );
    [
        argument(
            VERBOSE,
            'v',
            "Log details (--log debug); -vv logs even more (--log trace)",
        ),
        quiet.conflicts_with(VERBOSE),
    ]
}

/// Returns the filter that the arguments of [`verbosity`] stand for, and the one that was given.
pub(super) fn filter_of(matches: &ArgMatches) -> Option<(&'static str, &'static str)> {
    let count = |name| matches.try_get_one::<u8>(name).ok().flatten().copied();
    match (
        count(VERBOSE).unwrap_or_default(),
        count(QUIET).unwrap_or_default(),
    ) {
        (0, 0) => None,
        (1, _) => Some(("--verbose", "debug")),
        (0, 1) => Some(("--quiet", "warn")),
        (0, 2) => Some(("--quiet", "error")),
        (0, _) => Some(("--quiet", "off")),
        (_, _) => Some(("--verbose", "trace")),
    }
}

fn verbosity_flag(matches: &ArgMatches) -> Option<Flag> {
    filter_of(matches).map(|(name, filter)| Flag {
        key: FILTER.to_owned(),
        name,
        values: vec![filter.to_owned()],
        is_list: false,
    })
}

const LISTENING: &str = "Listening";
const UPSTREAM: &str = "Upstream, for the URL";
const CREDENTIALS: &str = "Credentials, for the URL";
const LOGGING: &str = "Logging";

/// Returns the heading in `--help` under which a setting's flag is listed.
fn heading(section: &Section, setting: &Setting) -> &'static str {
    match (section.path, setting.key) {
        (ROUTE, "profile" | "assume_role") => CREDENTIALS,
        (ROUTE, "read_only") => "Access",
        (ROUTE, _) => UPSTREAM,
        ("guard", _) => "Access",
        ("tls", _) => "TLS",
        ("log" | "iam" | "traces" | "inspect", _) => LOGGING,
        _ => LISTENING,
    }
}

/// Returns the help of a setting, in one line.
fn help(setting: &Setting) -> String {
    let mut help = setting.summary().replace('`', "");
    if setting.is_list {
        help.push_str("; repeatable");
    }
    let default = setting.default.unwrap_or_default().replace('"', "");
    let default = if setting.is_list {
        default.trim_matches(['[', ']'])
    } else {
        &default
    };
    if !default.is_empty() && setting.value_name().is_some() {
        help.push_str(&format!(" [default: {default}]"));
    }
    help
}

/// Returns the variables that name a region.
pub(super) fn regions() -> Vec<(String, String)> {
    environment(|name| REGION_VARIABLES.contains(&name))
}

/// Returns whether the user has not turned colours off (<https://no-color.org>).
pub(super) fn allows_colors() -> bool {
    let variables = environment(|name| matches!(name, "NO_COLOR" | "TERM"));
    variables.iter().all(|(name, value)| match name.as_str() {
        "TERM" => value != "dumb",
        _ => value.is_empty(),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
fn environment(is_read: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| is_read(name))
        .collect()
}

fn is_configuration(name: &str) -> bool {
    name.starts_with("COUNTERSIGN_")
        || matches!(name, "HOME" | "LOCALAPPDATA" | "XDG_STATE_HOME")
        || REGION_VARIABLES.contains(&name)
        || OPENTELEMETRY.contains(&name)
}
