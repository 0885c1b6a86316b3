//! Explains syntax errors of a configuration file.

use super::setting::{Section, Setting};

/// Returns what is wrong with a line of `text`, counted from 1, and what to write instead. `message` is
/// that of the parser. The line is not quoted: the file may be another one, which contains a key.
pub(super) fn explain(text: &str, line: usize, message: &str, sections: &[Section]) -> String {
    let above: Vec<&str> = text.lines().take(line).collect();
    let (line, above) = above
        .split_last()
        .map_or(("", &[][..]), |(line, above)| (*line, above));
    let setting = |key: &str| setting(&path(above, key), sections);
    let end = line.find(['=', ':']).unwrap_or(line.len());
    let (before, after) = line.split_at(end);
    match (setting(before), after.get(..1)) {
        (Some(setting), Some("=")) => format!(
            "the value of `{}` is not valid TOML: write {}",
            setting.key,
            example(setting)
        ),
        (Some(setting), Some(_)) => format!(
            "a key and its value are separated by `=`: write {}",
            example(setting)
        ),
        _ => {
            let message = message.trim().replace('\n', ", ");
            let message = if message.is_empty() {
                String::new()
            } else {
                format!(" ({message})")
            };
            format!("this line is not valid TOML{message}: write key = \"value\" or [table]")
        }
    }
}

/// Returns the dotted path of a key, given the lines above it.
fn path(above: &[&str], key: &str) -> Vec<String> {
    let mut headers = above.iter().rev().filter_map(|line| {
        let header = line.trim().strip_prefix('[')?;
        header.split(']').next()
    });
    let table = headers.next().unwrap_or_default().split('.');
    let path = table.chain(key.split('.'));
    let path = path.map(|segment| segment.trim().to_owned());
    path.filter(|segment| !segment.is_empty()).collect()
}

fn setting<'s>(path: &[String], sections: &'s [Section]) -> Option<&'s Setting> {
    let (key, table) = path.split_last()?;
    let mut sections = sections.iter();
    let section = sections.find(|section| section.is_at(table))?;
    section.settings.iter().find(|setting| setting.key == key)
}

/// `listen = ["127.0.0.1:4100"]`
fn example(setting: &Setting) -> String {
    let choices = setting.value.choices();
    let example = match choices.first() {
        Some(choice) => format!("{choice:?}"),
        None => setting.value.example().to_owned(),
    };
    if setting.is_list {
        format!("{} = [{example}]", setting.key)
    } else {
        format!("{} = {example}", setting.key)
    }
}
