//! Reads the structure of a profile file as botocore does, detects ambiguous files, and rewrites the
//! text for the parser of aws-config, which accepts less.
//!
//! SDKs treat repeated sections and keys differently: some merge them, some use the last one, and
//! botocore rejects the file. The rewritten text has the same lines, so that errors of aws-config
//! have the right line numbers.

use std::collections::{BTreeMap, BTreeSet};

/// The sections of one profile file.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// The keys by normalized section name: `profile dev` for a profile in either file.
    sections: BTreeMap<String, BTreeSet<String>>,
    lines: Vec<Line>,
    /// The sections that no SDK reads as a profile, by the name that was probably meant.
    misnamed: BTreeMap<String, String>,
    /// The sections with two different session tokens.
    conflicting: BTreeSet<String>,
    flaw: Option<String>,
}

/// A line for the parser of aws-config.
#[derive(Debug, Default)]
struct Line {
    section: Option<String>,
    /// The key, also of the lines that continue its value.
    key: Option<String>,
    value: String,
    text: String,
}

/// The name of a section.
enum Name {
    /// Its normalized name, and the line for aws-config.
    Used(String, String),
    /// The name that was probably meant, and how to write it.
    Misnamed(String, String),
    Ignored,
}

const TOKEN: &str = "aws_session_token";
/// The first name of [`TOKEN`], which only botocore still reads.
const OLD_TOKEN: &str = "aws_security_token";
/// The keys whose values are names of sections.
const REFERENCES: [&str; 3] = ["services", "source_profile", "sso_session"];

impl Outline {
    /// Parses `text`. In the config file (`is_config`), profiles are named `[profile NAME]`.
    pub(super) fn new(text: &str, is_config: bool) -> Self {
        let mut outline = Self::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut reader = Reader::default();
        for (number, line) in text.lines().enumerate() {
            let line = outline.line(&mut reader, number + 1, line, is_config);
            outline.lines.push(line);
        }
        outline.rename_old_tokens();
        outline
    }

    fn line(&mut self, reader: &mut Reader, number: usize, line: &str, is_config: bool) -> Line {
        let text = line.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            return Line::default();
        }
        let depth = line.chars().take_while(|c| c.is_whitespace()).count();
        if let Some(key) = reader.key.clone().filter(|_| depth > reader.depth) {
            return Line {
                section: reader.section.clone(),
                key: Some(key),
                value: String::new(),
                text: format!(" {text}"),
            };
        }
        reader.depth = depth;
        // aws-config reports lines that are neither a section nor a property.
        let invalid = Line {
            text: text.to_owned(),
            ..Line::default()
        };
        if let Some(header) = header(text) {
            reader.key = None;
            reader.is_in_section = true;
            return match name(header, is_config) {
                Name::Used(name, text) => {
                    self.section(number, &name);
                    reader.section = Some(name);
                    Line {
                        text,
                        ..Line::default()
                    }
                }
                Name::Misnamed(name, hint) => {
                    reader.section = None;
                    self.misnamed
                        .insert(name, format!("line {number} has [{header}]: {hint}"));
                    unread()
                }
                Name::Ignored => {
                    reader.section = None;
                    unread()
                }
            };
        }
        let Some((key, value)) = text.split_once(['=', ':']).filter(|_| reader.is_in_section)
        else {
            return invalid;
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if key.is_empty() || text.starts_with('[') {
            return invalid;
        }
        reader.key = Some(key.clone());
        if let Some(section) = &reader.section {
            let keys = self.sections.entry(section.clone()).or_default();
            if !keys.insert(key.clone()) {
                let section = decode(section);
                self.report(number, format!("another {key} of {section}"));
            }
        }
        let value = if REFERENCES.contains(&key.as_str()) {
            encode(without_comment(value))
        } else {
            value.to_owned()
        };
        Line {
            section: reader.section.clone(),
            text: format!("{key} = {value}"),
            key: Some(key),
            value,
        }
    }

    fn section(&mut self, number: usize, name: &str) {
        if name == "profile DEFAULT" {
            // For Python's configparser, this section has another meaning.
            self.report(number, "the section [DEFAULT]: write [default]".to_owned());
        }
        if self.sections.contains_key(name) {
            self.report(number, format!("another section of {}", decode(name)));
        }
        self.sections.entry(name.to_owned()).or_default();
    }

    /// Renames the old key of the session token, which aws-config does not read.
    fn rename_old_tokens(&mut self) {
        let value = |line: &Line, key: &str| {
            let is_found = line.key.as_deref() == Some(key) && !line.text.starts_with(' ');
            let section = line.section.clone().filter(|_| is_found);
            section.map(|section| (section, without_comment(&line.value).to_owned()))
        };
        let new: BTreeMap<String, String> = self
            .lines
            .iter()
            .filter_map(|line| value(line, TOKEN))
            .collect();
        for line in &mut self.lines {
            let Some((section, old)) = value(line, OLD_TOKEN) else {
                continue;
            };
            match new.get(&section) {
                _ if old.is_empty() => line.text.clear(),
                Some(new) if *new == old => line.text.clear(),
                Some(_) => {
                    self.conflicting.insert(section);
                }
                None => {
                    line.text = format!("{TOKEN} = {old}");
                    if let Some(keys) = self.sections.get_mut(&section) {
                        keys.insert(TOKEN.to_owned());
                    }
                }
            }
        }
    }

    /// Returns why the file is ambiguous; `None` if it is not.
    pub(super) fn flaw(&self) -> Option<String> {
        self.flaw.clone()
    }

    /// Returns the text for aws-config, without some keys.
    pub(super) fn text(&self, without: &[&str]) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let key = line.key.as_deref();
            if !key.is_some_and(|key| without.contains(&key)) {
                text.push_str(&line.text);
            }
            text.push('\n');
        }
        text
    }

    /// Returns the names of the keys of a profile, in lower case. `profile` is [encoded](encode).
    pub(super) fn keys(&self, profile: &str) -> BTreeSet<String> {
        let section = self.sections.get(&format!("profile {profile}"));
        section.cloned().unwrap_or_default()
    }

    /// Returns whether a profile has two different session tokens. `profile` is [encoded](encode).
    pub(super) fn has_two_tokens(&self, profile: &str) -> bool {
        self.conflicting.contains(&format!("profile {profile}"))
    }

    /// Returns the section that was probably meant to be the profile of this name, and how to write it.
    pub(super) fn misnamed(&self, profile: &str) -> Option<&str> {
        self.misnamed.get(profile).map(String::as_str)
    }

    fn report(&mut self, line: usize, what: String) {
        self.flaw
            .get_or_insert_with(|| format!("line {line} has {what}"));
    }
}

/// The state between two lines.
#[derive(Default)]
struct Reader {
    is_in_section: bool,
    /// The section of the properties that follow, if it is used.
    section: Option<String>,
    /// The property that a line of a greater depth continues.
    key: Option<String>,
    depth: usize,
}

/// A section that aws-config does not read either.
fn unread() -> Line {
    Line {
        text: "[countersign unread]".to_owned(),
        ..Line::default()
    }
}

/// Returns the text between the brackets of a section. As in botocore, any text may follow them.
fn header(line: &str) -> Option<&str> {
    let (header, _) = line.strip_prefix('[')?.split_once(']')?;
    (!header.trim().is_empty()).then(|| header.trim())
}

fn name(header: &str, is_config: bool) -> Name {
    let used = |prefix: &str, name: &str| {
        let name = format!("{prefix} {}", encode(name));
        let text = match name.strip_prefix("profile ").filter(|_| !is_config) {
            Some(profile) => format!("[{profile}]"),
            None => format!("[{name}]"),
        };
        Name::Used(name, text)
    };
    if !is_config {
        let profile = header
            .strip_prefix("profile")
            .filter(|rest| rest.starts_with([' ', '\t']));
        return match profile.map(str::trim) {
            Some(name) => Name::Misnamed(
                name.to_owned(),
                format!("write [{name}] in the credentials file"),
            ),
            None => used("profile", header),
        };
    }
    let words = shlex::split(header).unwrap_or_default();
    match words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        // Quotes make it another name.
        [name] if header.eq_ignore_ascii_case("default") => used("profile", name),
        [name] => Name::Misnamed(
            (*name).to_owned(),
            format!("write [profile {name}] in the config file"),
        ),
        [prefix, name] => used(prefix, name),
        ["profile", ..] => {
            let name = header["profile".len()..].trim();
            Name::Misnamed(name.to_owned(), format!("write [profile \"{name}\"]"))
        }
        _ => Name::Ignored,
    }
}

/// Removes a comment as aws-config does.
fn without_comment(value: &str) -> &str {
    let starts = value.char_indices().filter(|(_, c)| matches!(c, '#' | ';'));
    let mut before = starts.map(|(at, _)| &value[..at]);
    let found = before.find(|before| before.ends_with(char::is_whitespace) || before.is_empty());
    found.unwrap_or(value).trim()
}

/// Escapes the characters of a name that aws-config does not accept in names.
pub(super) fn encode(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"_-/.@:+".contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Returns the name that [`encode`] escaped.
pub(super) fn decode(name: &str) -> String {
    let mut out = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped.filter(|_| byte == b'%') {
            Some(escaped) => {
                out.push(escaped);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
