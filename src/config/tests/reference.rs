//! The reference page and `config/default.toml`, which are generated from the table of settings.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use figment::value::Value;

use super::*;
use crate::config::raw::{literal, scalar};
use crate::upstream::UpstreamKind;

/// Regenerates the files if the variable REGENERATE is set.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line of its own"
)]
fn reference_page_and_default_toml_match_the_table_of_settings() {
    for (file, text) in [
        ("docs/reference/configuration.md", page()),
        ("config/default.toml", default_toml()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("REGENERATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{file} is out of date. Run: {COMMAND}");
    }
}

#[test]
fn every_default_and_example_is_valid() {
    for section in SECTIONS {
        for setting in section.settings {
            let key = section.key(setting);
            let example = Some(setting.value.example()).filter(|example| !example.is_empty());
            // The file of the example does not exist.
            let example = example.filter(|_| setting.value.name() != "file");
            for text in setting.default.into_iter().chain(example) {
                let value = literal(text).unwrap_or_else(|| panic!("{key}: {text}"));
                let items = if let Value::Array(_, items) = &value {
                    items.clone()
                } else {
                    vec![value]
                };
                for item in items {
                    let text = scalar(&item).unwrap();
                    assert_eq!(setting.value.check(&text), Ok(()), "{key}: {text}");
                }
            }
        }
    }
}

#[test]
fn every_setting_has_a_default_or_describes_its_absence() {
    for section in SECTIONS {
        for setting in section.settings {
            let key = section.key(setting);
            assert_ne!(setting.default.is_some(), setting.unset.is_some(), "{key}");
            assert!(setting.about().ends_with('.'), "{key}: {}", setting.about());
            assert!(!setting.about().contains("  "), "{key}");
        }
    }
}

const COMMAND: &str = "REGENERATE=1 cargo test --lib config::tests::reference";
const WIDTH: usize = 100;

const PAGE_HEAD: &str = "\
# Configuration

Every setting of countersign. Settings come from, strongest first:

1. flags of the command line,
2. environment variables, `COUNTERSIGN_` and the key in capitals, with `__` for each dot
   (`COUNTERSIGN_LIMITS__MESSAGE=2MiB`), or the name of a flag (`COUNTERSIGN_LOG=debug`); `COUNTERSIGN_URL` is
   the URL; commas separate the items of a list,
3. a TOML file, named by `--config FILE` or `COUNTERSIGN_CONFIG`,
4. the defaults, which [`config/default.toml`](../../config/default.toml) lists.

`countersign config` prints the value of each setting and where it comes from. `countersign config --check`
validates the settings, reads every file that a start would read, and exits with 2 if it finds a mistake.

The shortest file:

```toml
[route.graphql]
target = \"https://ID.appsync-api.eu-central-1.amazonaws.com/graphql\"
```
";

fn page() -> String {
    let mut page = format!(
        "<!-- Generated from src/config/settings. Do not edit; run: {COMMAND} -->\n\n{PAGE_HEAD}"
    );
    for section in SECTIONS {
        match section.path {
            "" => page.push_str("\n## Top level\n\n"),
            path => write!(page, "\n## `[{path}]`\n\n").unwrap(),
        }
        if !section.about.is_empty() {
            write!(page, "{}\n\n", section.about).unwrap();
        }
        page.push_str("| setting | type | default | description |\n|---|---|---|---|\n");
        for setting in section.settings {
            let mut names = format!("`{}`<br>`{}`", setting.key, section.variable(setting));
            if let Some(flag) = setting.flag {
                write!(names, "<br>`{flag}`").unwrap();
            }
            let default = match (setting.default, setting.unset) {
                (Some(default), _) => format!("`{default}`"),
                (None, unset) => unset.unwrap_or_default().to_owned(),
            };
            let mut about = setting.about().to_owned();
            if setting.only == Some(UpstreamKind::Http) {
                about.push_str(" Not for AppSync.");
            }
            writeln!(
                page,
                "| {names} | {} | {default} | {about} |",
                type_of(setting)
            )
            .unwrap();
        }
    }
    page.push_str("\n## Types\n\n| type | values | example |\n|---|---|---|\n");
    let settings = SECTIONS.iter().flat_map(|section| section.settings);
    let types: BTreeMap<&str, &dyn Describe> = settings
        .map(|setting| (setting.value.name(), setting.value))
        .filter(|(_, value)| !value.about().is_empty())
        .collect();
    for (name, value) in types {
        writeln!(
            page,
            "| {name} | {} | `{}` |",
            value.about(),
            value.example()
        )
        .unwrap();
    }
    page
}

/// `list of sizes, at least 8KiB`
fn type_of(setting: &Setting) -> String {
    let choices: Vec<String> = setting
        .value
        .choices()
        .iter()
        .map(|choice| format!("`\"{choice}\"`"))
        .collect();
    let mut text = match (choices.is_empty(), setting.is_list) {
        (false, _) => choices.join(", "),
        (true, true) => format!("list: {}", setting.value.name()),
        (true, false) => setting.value.name().to_owned(),
    };
    for bound in setting.value.bounds() {
        write!(text, ", {bound}").unwrap();
    }
    text
}

fn default_toml() -> String {
    let mut toml = String::new();
    let head = format!(
        "Every setting, with its default. Generated from src/config/settings; do not edit, run: \
         {COMMAND}"
    );
    comment(&mut toml, &head, "");
    toml.push_str("#\n");
    comment(
        &mut toml,
        "The program has these defaults built in. Override them with a file (--config FILE), with \
         variables (COUNTERSIGN_LIMITS__REQUEST_BODY=2MiB) or with flags, in this order. \
         docs/reference/configuration.md explains types and values.",
        "",
    );
    for section in SECTIONS {
        // Tables with a name of the user's choice appear only in comments.
        let hidden = if section.is_named() { "# " } else { "" };
        toml.push('\n');
        if !section.about.is_empty() {
            comment(&mut toml, section.about, "");
        }
        if !section.path.is_empty() {
            writeln!(toml, "{hidden}[{}]", section.path).unwrap();
        }
        for (at, setting) in section.settings.iter().enumerate() {
            if at > 0 {
                writeln!(toml, "{}", hidden.trim_end()).unwrap();
            }
            comment(&mut toml, setting.about(), hidden);
            let choices = setting.value.choices();
            if !choices.is_empty() {
                let choices: Vec<String> = choices.iter().map(|it| format!("{it:?}")).collect();
                comment(
                    &mut toml,
                    &format!("One of {}.", choices.join(", ")),
                    hidden,
                );
            }
            match setting.unset {
                Some("required") => comment(&mut toml, "Required.", hidden),
                Some(unset) => comment(&mut toml, &format!("Default: {unset}."), hidden),
                None => {}
            }
            let key = setting.key;
            match (setting.default, setting.is_list) {
                (Some(default), _) => writeln!(toml, "{hidden}{key} = {default}").unwrap(),
                (None, is_list) => {
                    let example = example(setting);
                    let example = if is_list {
                        format!("[{example}]")
                    } else {
                        example
                    };
                    writeln!(toml, "# {key} = {example}").unwrap();
                }
            }
        }
    }
    toml
}

fn example(setting: &Setting) -> String {
    match setting.value.choices().first() {
        Some(choice) => format!("{choice:?}"),
        None => setting.value.example().to_owned(),
    }
}

/// Appends a comment in lines of at most [`WIDTH`].
fn comment(toml: &mut String, text: &str, hidden: &str) {
    let mut line = format!("{hidden}#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            writeln!(toml, "{line}").unwrap();
            line = format!("{hidden}#");
        }
        write!(line, " {word}").unwrap();
    }
    writeln!(toml, "{line}").unwrap();
}
