//! The description of a setting, from which the parser, the command line, the errors and the
//! reference are made.

use super::types::Describe;
use crate::upstream::UpstreamKind;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its key in its section.
    pub key: &'static str,
    /// The lines of its documentation; see [`Setting::about`].
    pub(super) doc: &'static str,
    pub value: &'static dyn Describe,
    pub is_list: bool,
    /// As TOML.
    pub default: Option<&'static str>,
    /// What applies without a value, for a setting without a default.
    pub unset: Option<&'static str>,
    /// `--listen ADDR`, `--tls-dev`, or the positional `URL`.
    pub(super) flag: Option<&'static str>,
    /// The only kind of upstream that it applies to; `None` for all kinds.
    pub only: Option<UpstreamKind>,
}

/// One table of the configuration.
#[derive(Debug)]
pub struct Section {
    /// Its dotted path; `NAME` stands for a name of the user's choice. Empty for the top.
    pub path: &'static str,
    pub about: &'static str,
    pub settings: &'static [Setting],
}

/// The segment of a path that stands for any name.
pub(super) const NAME: &str = "NAME";
/// The prefix of the environment variables that set settings.
pub(super) const PREFIX: &str = "COUNTERSIGN_";

impl Setting {
    /// Returns its description. The first sentence is enough for a line of help.
    pub fn about(&self) -> &'static str {
        self.doc.trim()
    }

    /// Returns the first sentence, without its full stop.
    pub fn summary(&self) -> &'static str {
        let about = self.about();
        let sentence = about.split(". ").next().unwrap_or(about);
        sentence.trim_end_matches('.')
    }

    /// Returns `--listen`, or `URL`.
    pub fn flag_name(&self) -> Option<&'static str> {
        self.flag.and_then(|flag| flag.split(' ').next())
    }

    /// Returns `ADDR` for `--listen ADDR`. A flag without a value sets `true`.
    pub fn value_name(&self) -> Option<&'static str> {
        self.flag.and_then(|flag| flag.split(' ').nth(1))
    }
}

impl Section {
    /// Returns a key such as `limits.message`.
    pub fn key(&self, setting: &Setting) -> String {
        match self.path {
            "" => setting.key.to_owned(),
            path => format!("{path}.{}", setting.key),
        }
    }

    /// Returns a variable such as `COUNTERSIGN_LIMITS__MESSAGE`.
    pub fn variable(&self, setting: &Setting) -> String {
        let key = self.key(setting).replace('.', "__");
        format!("{PREFIX}{}", key.to_ascii_uppercase())
    }

    /// Whether there may be several such tables, each with a name of the user's choice.
    pub fn is_named(&self) -> bool {
        self.segments().any(|segment| segment == NAME)
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('.').filter(|segment| !segment.is_empty())
    }

    /// Returns whether this section is the table at `path`.
    pub(super) fn is_at(&self, path: &[String]) -> bool {
        matches!(self.below(path), Some(Below::Settings(_)))
    }

    /// Returns what this section contains at `path`, or `None` if it is neither there nor below.
    pub(super) fn below(&self, path: &[String]) -> Option<Below> {
        let mut segments = self.segments();
        for name in path {
            let segment = segments.next()?;
            if segment != NAME && segment != name {
                return None;
            }
        }
        Some(match segments.next() {
            None => Below::Settings(self.settings),
            Some(NAME) => Below::AnyName,
            Some(segment) => Below::Table(segment),
        })
    }
}

/// What a section contains at a path.
pub(super) enum Below {
    Settings(&'static [Setting]),
    Table(&'static str),
    AnyName,
}
