//! Parses the names of the sections and keys of a profile file, to detect ambiguous files.
//!
//! SDKs treat repeated sections and keys differently: some merge them, some use the last one, and
//! botocore rejects the file.

use std::collections::{BTreeMap, BTreeSet};

/// The sections of one profile file.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// The keys by normalized section name: `profile dev` for a profile in either file.
    sections: BTreeMap<String, BTreeSet<String>>,
    flaw: Option<String>,
}

impl Outline {
    /// Parses `text`. In the config file (`is_config`), profiles are named `[profile NAME]`.
    pub(super) fn new(text: &str, is_config: bool) -> Self {
        let mut outline = Self::default();
        let mut section = None;
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if line.starts_with('[') {
                section = name(line, is_config);
                let Some(name) = &section else { continue };
                if name.as_str() == "profile DEFAULT" {
                    // For Python's configparser, this section has another meaning.
                    outline.report(number, "the section [DEFAULT]: write [default]".to_owned());
                }
                if outline.sections.contains_key(name) {
                    outline.report(number, format!("another section of {name}"));
                }
                outline.sections.entry(name.clone()).or_default();
            } else if !line.starts_with([' ', '\t', '#', ';'])
                && let Some(section) = &section
                && let Some((key, _)) = line.split_once('=')
            {
                let key = key.trim().to_ascii_lowercase();
                let keys = outline.sections.entry(section.clone()).or_default();
                if !keys.insert(key.clone()) {
                    outline.report(number, format!("another {key} of {section}"));
                }
            }
        }
        outline
    }

    /// Returns why the file is ambiguous; `None` if it is not.
    pub(super) fn flaw(&self) -> Option<String> {
        self.flaw.clone()
    }

    /// Returns the names of the keys of a profile, in lower case.
    pub(super) fn keys(&self, profile: &str) -> BTreeSet<String> {
        let section = self.sections.get(&format!("profile {profile}"));
        section.cloned().unwrap_or_default()
    }

    fn report(&mut self, line: usize, what: String) {
        self.flaw
            .get_or_insert_with(|| format!("line {line} has {what}"));
    }
}

/// Returns the normalized name of the section that `line` begins; `None` if SDKs ignore the section.
fn name(line: &str, is_config: bool) -> Option<String> {
    let line = line.split(['#', ';']).next()?.trim();
    let name = line.strip_prefix('[')?.strip_suffix(']')?.trim();
    let (prefix, name) = match name.split_once([' ', '\t']) {
        Some((prefix, name)) => (Some(prefix.trim()), name.trim()),
        None => (None, name),
    };
    match (prefix, is_config) {
        (Some(prefix), true) => Some(format!("{prefix} {name}")),
        // Other sections without a prefix are ignored in the config file.
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
    fn repeated_sections_and_keys_are_reported() {
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
