//! The merged sources: figment merges them and tags every value with its source.
//!
//! figment's own extraction stops at the first mistake, has no line numbers and guesses the types of
//! environment variables. So this module keeps the values as they were written, and only
//! [`Table`](super::table::Table) reads them.

use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml_edit::{ImDocument, TableLike};

use super::lost::lost;
use super::opentelemetry::of_opentelemetry;
use super::problem::{Problem, Problems};
use super::setting::Section;
use super::toml_error;
use super::unreadable::unreadable;
use super::variables::{Variable, unknown, variables};
use crate::home;
use crate::trusted_file;
use crate::upstream::DefaultRegion;

/// Where configuration comes from, weakest first: defaults, file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// Whether the file is [`super::DEFAULT_FILE`], which nobody has named.
    pub is_default_file: bool,
    /// The name of the route of the URL on the command line or in COUNTERSIGN_URL. Variables with the
    /// names of flags apply to it.
    pub url_route: Option<String>,
    /// `COUNTERSIGN_*`, the variables that locate state (HOME, LOCALAPPDATA, XDG_STATE_HOME),
    /// [`super::REGION_VARIABLES`] and [`super::OPENTELEMETRY`].
    pub environment: Vec<(String, String)>,
    pub flags: Vec<Flag>,
}

/// The configuration file that is used if neither another one nor a URL is given.
pub const DEFAULT_FILE: &str = "countersign.toml";
/// Requirements for [`DEFAULT_FILE`], which may be that of another user: it decides what is signed for
/// whom.
const DEFAULT_FILE_RULES: trusted_file::Rules = trusted_file::Rules {
    forbidden: 0o002,
    limit: 16 * 1024 * 1024,
};

/// A command-line flag that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The dotted key of the setting.
    pub key: String,
    /// The flag as the user writes it, such as `--listen`.
    pub name: &'static str,
    pub values: Vec<String>,
    pub is_list: bool,
}

/// The merged sources.
#[derive(Debug)]
pub struct Raw {
    figment: Figment,
    root: Dict,
    file: Option<(PathBuf, String)>,
    state: Option<PathBuf>,
    default_region: Option<DefaultRegion>,
    sections: &'static [Section],
}

/// The variables that name a region. The first one that is not empty counts, as in the AWS CLI.
pub const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

impl Raw {
    /// Reads the sources and merges them.
    ///
    /// # Errors
    /// When the file cannot be read, or is not TOML.
    pub(super) fn read(sources: &Sources, sections: &'static [Section]) -> Result<Self, Problems> {
        let mut figment = Figment::new().merge(Named {
            name: DEFAULT.into(),
            dict: defaults(sections)?,
        });
        for (variable, key, value) in of_opentelemetry(&sources.environment) {
            figment = figment.merge(Named {
                name: variable.to_owned(),
                dict: nest(&["traces", key], Value::from(value)),
            });
        }
        let mut file = None;
        if let Some(path) = &sources.file {
            let shown = path.display().to_string();
            if sources.is_default_file {
                trusted_file::read(path, DEFAULT_FILE_RULES).map_err(|error| {
                    let message = format!("{error}. To use it anyway: --config {shown}");
                    Problems(vec![whole_file(&shown, &message)])
                })?;
            }
            let text = std::fs::read_to_string(path).map_err(|error| {
                let message = format!(
                    "{}, or pass the URL of your API instead",
                    unreadable(path, &error)
                );
                Problems(vec![whole_file(file_named_by(sources), &message)])
            })?;
            let dict = toml(&shown, &text, sections)?;
            figment = figment.merge(Named { name: shown, dict });
            file = Some((path.clone(), text));
        }
        let route = sources.url_route.as_deref();
        for Variable { name, key, value } in variables(&sources.environment, sections, route) {
            let key: Vec<&str> = key.iter().map(String::as_str).collect();
            figment = figment.merge(Named {
                name,
                dict: nest(&key, Value::from(value)),
            });
        }
        for flag in &sources.flags {
            let value = match (flag.is_list, flag.values.as_slice()) {
                (false, [one]) => Value::from(one.clone()),
                (_, values) => Value::from(values.to_vec()),
            };
            figment = figment.merge(Named {
                name: flag.name.to_owned(),
                dict: nest(&flag.key.split('.').collect::<Vec<_>>(), value),
            });
        }
        let root = figment
            .data()
            .map_err(|error| Problems(vec![whole_file("", &error.to_string())]))?
            .remove(&Profile::Default)
            .unwrap_or_default();
        Ok(Self {
            figment,
            root,
            file,
            state: state_dir(&sources.environment),
            default_region: default_region(&sources.environment),
            sections,
        })
    }

    /// Returns every value in the order of its key: dotted key, value as TOML, source.
    pub fn values(&self) -> Vec<(String, String, String)> {
        let mut values = Vec::new();
        self.collect(&self.root, &mut Vec::new(), &mut values);
        values
    }

    /// Returns a mistake at a dotted key, with its source. The message must name the key.
    pub fn problem(&self, key: &str, message: String) -> Problem {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let mut value = None;
        let mut dict = Some(&self.root);
        for segment in &path {
            value = dict.and_then(|dict| dict.get(segment));
            dict = value.and_then(Value::as_dict);
        }
        Problem {
            key: String::new(),
            source: value.map(|value| self.source(value.tag(), &path)),
            message,
        }
    }

    /// Returns the directory for state, such as the local certificate authority.
    pub(super) fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// Returns the region of the environment, for hosts that do not contain one.
    pub(super) fn default_region(&self) -> Option<&DefaultRegion> {
        self.default_region.as_ref()
    }

    pub(super) fn root(&self) -> &Dict {
        &self.root
    }

    /// Returns the settings that have a default but no value.
    pub(super) fn lost(&self) -> Vec<Problem> {
        let defaults = defaults(self.sections);
        defaults.map_or_else(
            |problems| problems.0,
            |defaults| lost(&defaults, &self.root),
        )
    }

    /// Returns what to do about the unknown variable of this value; `None` if its source is not a
    /// variable.
    pub(super) fn unknown_variable(&self, tag: Tag) -> Option<String> {
        let metadata = self.figment.get_metadata(tag)?;
        unknown(&metadata.name, self.sections)
    }

    /// Returns all settings.
    pub(super) fn sections(&self) -> &'static [Section] {
        self.sections
    }

    fn collect(
        &self,
        dict: &Dict,
        path: &mut Vec<String>,
        out: &mut Vec<(String, String, String)>,
    ) {
        for (key, value) in dict {
            path.push(key.clone());
            if let Value::Dict(_, inner) = value {
                self.collect(inner, path, out);
            } else {
                let source = self.source(value.tag(), path);
                out.push((path.join("."), show(value), source));
            }
            path.pop();
        }
    }

    /// Returns a file with its line, a variable, a flag, or `default`.
    pub(super) fn source(&self, tag: Tag, path: &[String]) -> String {
        let metadata = self.figment.get_metadata(tag);
        let name = metadata.map_or(DEFAULT, |metadata| metadata.name.as_ref());
        match &self.file {
            Some((file, text)) if file.as_path() == Path::new(name) => match line(text, path) {
                Some(line) => format!("{name}:{line}"),
                None => name.to_owned(),
            },
            _ => name.to_owned(),
        }
    }
}

/// The source of values that no other source sets.
pub(super) const DEFAULT: &str = "default";

/// Returns the defaults of all settings but those of named tables, such as routes.
fn defaults(sections: &[Section]) -> Result<Dict, Problems> {
    let mut text = String::new();
    for section in sections.iter().filter(|section| !section.is_named()) {
        if !section.path.is_empty() {
            text.push_str(&format!("[{}]\n", section.path));
        }
        for setting in section.settings {
            if let Some(default) = setting.default {
                text.push_str(&format!("{} = {default}\n", setting.key));
            }
        }
    }
    toml(DEFAULT, &text, sections)
}

/// Parses a TOML value.
pub(super) fn literal(text: &str) -> Option<Value> {
    let mut dict = toml(DEFAULT, &format!("value = {text}"), &[]).ok()?;
    dict.remove("value")
}

/// A dictionary that names its source.
struct Named {
    name: String,
    dict: Dict,
}

impl Provider for Named {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

fn toml(name: &str, text: &str, sections: &[Section]) -> Result<Dict, Problems> {
    if let Err(error) = ImDocument::parse(text) {
        let at = error.span().map(|span| line_of(text, span.start));
        let source = at.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
        let message = toml_error::explain(text, at.unwrap_or(1), error.message(), sections);
        return Err(Problems(vec![whole_file(&source, &message)]));
    }
    let data = Toml::string(text).data();
    let mut profiles =
        data.map_err(|error| Problems(vec![whole_file(name, &error.to_string())]))?;
    Ok(profiles.remove(&Profile::Default).unwrap_or_default())
}

fn whole_file(source: &str, message: &str) -> Problem {
    Problem {
        key: String::new(),
        source: Some(source.to_owned()),
        message: message.to_owned(),
    }
}

/// Returns the flag or variable that names the file.
fn file_named_by(sources: &Sources) -> &'static str {
    let variable = sources.environment.iter().find(|(name, _)| name == CONFIG);
    let path = sources.file.as_ref().map(|path| path.display().to_string());
    if variable.map(|(_, value)| value) == path.as_ref() && variable.is_some() {
        CONFIG
    } else {
        "--config"
    }
}

/// The variable that names the configuration file.
const CONFIG: &str = "COUNTERSIGN_CONFIG";

/// Returns the directory below XDG_STATE_HOME or its default. A path that is not absolute is ignored,
/// as the XDG Base Directory Specification requires. On Windows, the default is the user's local data.
fn state_dir(environment: &[(String, String)]) -> Option<PathBuf> {
    let directory = |variable: &str| {
        let (_, value) = environment.iter().find(|(name, _)| name == variable)?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    let default = || {
        if cfg!(windows) {
            directory("LOCALAPPDATA")
        } else {
            Some(directory(home::VARIABLE)?.join(".local/state"))
        }
    };
    let state_home = directory("XDG_STATE_HOME").or_else(default)?;
    Some(state_home.join("countersign"))
}

fn default_region(environment: &[(String, String)]) -> Option<DefaultRegion> {
    REGION_VARIABLES.into_iter().find_map(|variable| {
        let mut environment = environment.iter();
        let (_, region) =
            environment.find(|(name, value)| name == variable && !value.is_empty())?;
        let region = region.clone();
        Some(DefaultRegion { variable, region })
    })
}

fn nest(path: &[&str], value: Value) -> Dict {
    match path {
        [] => Dict::new(),
        [key] => Dict::from([((*key).to_owned(), value)]),
        [key, rest @ ..] => Dict::from([((*key).to_owned(), Value::from(nest(rest, value)))]),
    }
}

pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, char) => Some(char.to_string()),
        Value::Bool(_, bool) => Some(bool.to_string()),
        Value::Num(_, number) => number
            .to_u128()
            .map(|number| number.to_string())
            .or_else(|| number.to_i128().map(|number| number.to_string()))
            .or_else(|| number.to_f64().map(|number| number.to_string())),
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
    }
}

/// Formats a value as TOML.
fn show(value: &Value) -> String {
    if let Value::Array(_, items) = value {
        let items: Vec<String> = items.iter().map(show).collect();
        return format!("[{}]", items.join(", "));
    }
    match value.as_str() {
        Some(text) => toml_edit::Value::from(text).to_string(),
        None => scalar(value).unwrap_or_default(),
    }
}

/// Returns the line of a key in a TOML text, counted from 1.
fn line(text: &str, path: &[String]) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let mut table: &dyn TableLike = document.as_table();
    let (last, parents) = path.split_last()?;
    for key in parents {
        table = table.get(key)?.as_table_like()?;
    }
    let (key, item) = table.get_key_value(last)?;
    let span = key.span().or_else(|| item.span())?;
    Some(line_of(text, span.start))
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
