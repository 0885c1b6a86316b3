//! The reference page of the command line, which is generated from the help.

use std::path::Path;

use super::*;

const COMMAND: &str = "REGENERATE=1 cargo test --lib cli::reference";
const FILE: &str = "docs/reference/cli.md";
const INTRODUCTION: &str = "# Command line

The help of every command, as `--help` prints it. `countersign man COMMAND` prints it as a manual page, and
`countersign completions bash` prints completions ([Getting started](../guide/getting-started.md)).

";

/// Returns the page: an index, and the help of each command.
fn page() -> String {
    let mut cli = Cli::command().term_width(MAX_WIDTH);
    cli.build();
    let mut index = String::from("- [`countersign`](#countersign)\n");
    let mut sections = section("countersign", &mut cli);
    for command in cli.get_subcommands_mut() {
        if command.get_name() == "help" || command.is_hide_set() {
            continue;
        }
        let name = format!("countersign {}", command.get_name());
        let about = command.get_about().map(ToString::to_string);
        let anchor = name.replace(' ', "-");
        index.push_str(&format!(
            "- [`{name}`](#{anchor}): {}\n",
            about.unwrap_or_default()
        ));
        sections.push_str(&section(&name, command));
    }
    format!(
        "<!-- Generated from src/cli. Do not edit; run: {COMMAND} -->\n\n{INTRODUCTION}{index}{sections}"
    )
}

fn section(name: &str, command: &mut clap::Command) -> String {
    let help = command.render_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n"))
}

/// Regenerates the page if the variable REGENERATE is set.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line of its own"
)]
fn the_reference_page_matches_the_help_of_all_commands() {
    let page = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{FILE} is out of date. Run: {COMMAND}");
    for command in Cli::command().get_subcommands() {
        let heading = format!("\n## countersign {}\n", command.get_name());
        assert!(page.contains(&heading), "{heading}");
    }
}
