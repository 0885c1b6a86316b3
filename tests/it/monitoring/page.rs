//! The pages of the metrics: docs/reference/metrics.md lists what is exposed, and docs/operate/metrics.md
//! explains every label.
//!
//! `REGENERATE=1 cargo test --test it monitoring::dashboard` writes the list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::names::Family;

const PAGE: &str = "docs/reference/metrics.md";
pub(super) const EXPLAINED_PAGE: &str = "docs/operate/metrics.md";
const EXPLAINED: &str = include_str!("../../../docs/operate/metrics.md");
const HEAD: &str = "<!-- Generated from src/telemetry/metrics.rs. Do not edit; run: \
     REGENERATE=1 cargo test --test it monitoring::dashboard -->

# Metrics

`GET /metrics` of the [admin listener](../operate/health.md) has these metrics. [Metrics and
alerts](../operate/metrics.md) explains the labels. Counters and histograms start at zero with the process. A series appears
when something is counted in it for the first time, unless the values of its labels are known from the start.

";

/// Compares the pages with what is exposed.
pub(super) fn check(exposed: &BTreeMap<String, Family>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = [HEAD, &table(exposed)].concat();
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(path, page).unwrap();
        return;
    }
    let shown = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        shown, page,
        "{PAGE} is not what is exposed: see its first line"
    );

    let explained: BTreeSet<&str> = EXPLAINED
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(label, _)| label)
        .collect();
    let labels = exposed.values().flat_map(|family| &family.labels);
    let labels: BTreeSet<&str> = labels.map(String::as_str).collect();
    assert_eq!(explained, labels, "the labels of {EXPLAINED_PAGE}");
}

/// Returns the queries of the page by hand.
pub(super) fn queries() -> impl Iterator<Item = &'static str> {
    let (_, rest) = EXPLAINED.split_once("```text\n").expect("its queries");
    rest.lines().take_while(|line| *line != "```")
}

/// Returns the table, with countersign's own metrics first.
fn table(exposed: &BTreeMap<String, Family>) -> String {
    let mut text = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    let (own, process): (Vec<_>, Vec<_>) = exposed
        .iter()
        .partition(|(name, _)| name.starts_with("countersign_"));
    for (name, family) in own.into_iter().chain(process) {
        let labels: Vec<String> = family.labels.iter().map(|l| format!("`{l}`")).collect();
        let (kind, labels) = (&family.kind, labels.join(", "));
        // The text format ends every help text with a full stop.
        let help = family.help.trim_end_matches('.');
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    text
}
