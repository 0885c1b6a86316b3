//! The page of the log lists the fields of a request's line: all of them, and no others.

use std::collections::BTreeSet;
use std::fs;

use super::source::root;

#[test]
fn the_page_of_the_log_lists_every_field_of_a_request() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let logged = logged(&read("src/telemetry/record.rs"));
    let listed = listed(&read("docs/reference/logs.md"));
    assert!(logged.len() > 20, "only {logged:?} are found");
    assert_eq!(logged, listed);
}

#[test]
fn the_tables_of_renamed_fields_lead_to_fields() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let logged = logged(&read("src/telemetry/record.rs"));
    for page in ["docs/operate/upgrades.md", "CHANGELOG.md"] {
        let renamed = renamed(&read(page));
        assert_eq!(renamed.len(), 10, "{page}: {renamed:?}");
        for (earlier, now) in &renamed {
            assert!(logged.contains(now), "{page}: {now}");
            // A plain name remains for what the conventions do not name.
            assert!(
                earlier == "operation" || !logged.contains(earlier),
                "{page}: {earlier}"
            );
        }
    }
}

/// Returns the earlier name and the first new one in each row of the table.
fn renamed(page: &str) -> Vec<(String, String)> {
    let (_, rest) = page.split_once("| earlier field | now |\n").unwrap();
    let rows = rest.lines().map_while(|line| line.trim().strip_prefix('|'));
    let rows = rows.filter_map(|row| row.strip_prefix(" `")?.split_once("` | `"));
    let first = |text: &str| text.split('`').next().unwrap().to_owned();
    rows.map(|(earlier, now)| (earlier.to_owned(), first(now)))
        .collect()
}

/// Returns the names in the macro call that writes the line.
fn logged(source: &str) -> BTreeSet<String> {
    let (_, rest) = source.split_once("target: REQUEST_TARGET,").unwrap();
    let (call, _) = rest.split_once("\"request\"").unwrap();
    let fields = call.lines().filter_map(|line| line.split_once(" = "));
    fields.map(|(name, _)| name.trim().to_owned()).collect()
}

/// Returns the names in the first column of the table.
fn listed(page: &str) -> BTreeSet<String> {
    let (_, rest) = page.split_once("## The line of a request\n").unwrap();
    let rows = rest.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split("`, `"));
    names
        .map(|name| name.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn names_are_read_from_the_call_and_from_the_table() {
    let source = "x = 1\ninfo!(\n target: REQUEST_TARGET,\n method = self.method,\n a_b = id,\n \"request\"\n c = 1";
    let page = "| `no` | x |\n## The line of a request\n\n| field | value |\n|---|---|\n| `method`, `a_b` | `c` |\n";
    assert_eq!(logged(source), listed(page));
    assert_eq!(logged(source).len(), 2);
}
