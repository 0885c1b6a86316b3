//! The sections of a profile file and the names of their members.
//!
//! SDKs differ in what repeated sections and members mean: some merge them, some take the last one,
//! and botocore refuses the file.

use std::collections::{BTreeMap, BTreeSet};

/// The sections of one file.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// By section as it is used: `profile dev` for a profile, whatever the file calls it.
    sections: BTreeMap<String, BTreeSet<String>>,
    flaw: Option<String>,
}

impl Outline {
    /// `is_config`: the config file, whose profiles are called `[profile NAME]`.
    pub(super) fn new(text: &str, is_config: bool) -> Self {
        let mut outline = Self::default();
        let mut section = None;
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if line.starts_with('[') {
                section = name(line, is_config);
                let Some(name) = &section else { continue };
                if name.as_str() == "profile DEFAULT" {
                    // Python's configuration files have it, with another meaning.
                    outline.found(number, "the section [DEFAULT]: write [default]".to_owned());
                }
                if outline.sections.contains_key(name) {
                    outline.found(number, format!("another section of {name}"));
                }
                outline.sections.entry(name.clone()).or_default();
            } else if !line.starts_with([' ', '\t', '#', ';'])
                && let Some(section) = &section
                && let Some((key, _)) = line.split_once('=')
            {
                let key = key.trim().to_ascii_lowercase();
                let keys = outline.sections.entry(section.clone()).or_default();
                if !keys.insert(key.clone()) {
                    outline.found(number, format!("another {key} of {section}"));
                }
            }
        }
        outline
    }

    /// What is wrong with the file, if its meaning is not certain.
    pub(super) fn flaw(&self) -> Option<String> {
        self.flaw.clone()
    }

    /// The names of the members of a profile, in lower case.
    pub(super) fn keys(&self, profile: &str) -> BTreeSet<String> {
        let section = self.sections.get(&format!("profile {profile}"));
        section.cloned().unwrap_or_default()
    }

    fn found(&mut self, line: usize, what: String) {
        self.flaw
            .get_or_insert_with(|| format!("line {line} has {what}"));
    }
}

/// The section that a line begins; none if it names none that is used.
fn name(line: &str, is_config: bool) -> Option<String> {
    let line = line.split(['#', ';']).next()?.trim();
    let name = line.strip_prefix('[')?.strip_suffix(']')?.trim();
    let (prefix, name) = match name.split_once([' ', '\t']) {
        Some((prefix, name)) => (Some(prefix.trim()), name.trim()),
        None => (None, name),
    };
    match (prefix, is_config) {
        (Some(prefix), true) => Some(format!("{prefix} {name}")),
        // Others have no meaning, but those of Python's.
        (None, true) if name.eq_ignore_ascii_case("default") => Some(format!("profile {name}")),
        (None, false) => Some(format!("profile {name}")),
        (None, true) | (Some(_), false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, is_config: bool, expected: Option<&str>) {
        let flaw = Outline::new(text, is_config).flaw();
        match expected {
            Some(expected) => assert_eq!(flaw.as_deref(), Some(expected), "{text}"),
            None => assert_eq!(flaw, None, "{text}"),
        }
    }

    #[test]
    fn repeated_sections_and_members_are_found() {
        check("[default]\na = 1\nb = 2\n[dev]\na = 1\n", false, None);
        check(
            "[profile dev]\na=1\n[sso-session dev]\na=1\n[services dev]\n",
            true,
            None,
        );
        check("[default]\ns3 =\n  a = 1\n  a = 2\n# a = 1\n", true, None);
        check(
            "[dev]\n[dev]\n",
            false,
            Some("line 2 has another section of profile dev"),
        );
        check("[dev]\n[dev]\n", true, None);
        check(
            "[profile dev]\n[profile \t dev ] # mine\n",
            true,
            Some("line 2 has another section of profile dev"),
        );
        check(
            "[default]\n\n[profile default]\n",
            true,
            Some("line 3 has another section of profile default"),
        );
        check(
            "[dev]\na = 1\nA = 2\n",
            false,
            Some("line 3 has another a of profile dev"),
        );
        check(
            "[DEFAULT]\na = 1\n",
            false,
            Some("line 1 has the section [DEFAULT]: write [default]"),
        );
        check(
            "[DEFAULT]\na = 1\n",
            true,
            Some("line 1 has the section [DEFAULT]: write [default]"),
        );
    }
}
