//! The names in a PromQL expression and on a page of metrics.

use std::collections::{BTreeMap, BTreeSet};

/// The names of one expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Samples, and the labels that they are selected by.
    pub(crate) metrics: Vec<(String, BTreeSet<String>)>,
    /// Labels that are grouped or joined by.
    pub(crate) groups: BTreeSet<String>,
}

/// A family of the text format.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) help: String,
    pub(crate) kind: String,
    /// The labels of all its samples, without `le`.
    pub(crate) labels: BTreeSet<String>,
    pub(crate) values: Vec<f64>,
}

const GROUPING: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const WORDS: [&str; 7] = ["and", "or", "unless", "bool", "offset", "Inf", "NaN"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text,
    Sign(char),
}

/// Returns the names in an expression. A function is a name before a parenthesis.
pub(crate) fn names(expression: &str) -> Names {
    let tokens = tokens(expression);
    let mut names = Names::default();
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1);
        if let Token::Word(word) = &tokens[at] {
            let is_grouping = GROUPING.contains(&word.as_str());
            let is_aggregation =
                matches!(next, Some(Token::Word(next)) if GROUPING.contains(&next.as_str()));
            if is_grouping && next == Some(&Token::Sign('(')) {
                let end = end(&tokens, at, ')');
                names.groups.extend(words(&tokens[at + 1..end]));
                at = end;
            } else if next == Some(&Token::Sign('{')) {
                let end = end(&tokens, at, '}');
                let labels = words(&tokens[at + 1..end]).collect();
                names.metrics.push((word.clone(), labels));
                at = end;
            } else if next != Some(&Token::Sign('('))
                && !is_aggregation
                && !WORDS.contains(&word.as_str())
            {
                names.metrics.push((word.clone(), BTreeSet::new()));
            }
        }
        at += 1;
    }
    names
}

fn end(tokens: &[Token], from: usize, sign: char) -> usize {
    let rest = tokens[from..]
        .iter()
        .position(|token| *token == Token::Sign(sign));
    from + rest.unwrap_or_else(|| panic!("no {sign} after {:?}", tokens[from]))
}

fn words(tokens: &[Token]) -> impl Iterator<Item = String> {
    tokens.iter().filter_map(|token| match token {
        Token::Word(word) => Some(word.clone()),
        Token::Text | Token::Sign(_) => None,
    })
}

fn tokens(expression: &str) -> Vec<Token> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            let end = rest[1..].find('"').expect("a string without end");
            tokens.push(Token::Text);
            end + 2
        } else if first == '[' {
            rest.find(']').expect("a range without end") + 1
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if !first.is_ascii_digit() {
                tokens.push(Token::Word(rest[..end].to_owned()));
            }
            end
        } else {
            tokens.push(Token::Sign(first));
            first.len_utf8()
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Returns the families of a page by name. Every sample must belong to a family declared above it.
pub(crate) fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut announced = String::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect(line);
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect(line);
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            announced = name.to_owned();
        } else if !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let suffix = name
                .strip_prefix(&announced)
                .unwrap_or_else(|| panic!("{line} follows TYPE of {announced}"));
            let family = families.get_mut(&announced).unwrap();
            let is_histogram = family.kind == "histogram";
            let is_part = is_histogram && ["_bucket", "_sum", "_count"].contains(&suffix);
            assert!(
                suffix.is_empty() || is_part,
                "{line} does not belong to {announced}"
            );
            family.labels.extend(labels(line));
            let (_, value) = line.rsplit_once(' ').expect(line);
            family.values.push(value.parse().expect(line));
        }
    }
    families
}

/// Returns the names of a sample's labels.
fn labels(line: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    let mut rest = line.split_once('{').map_or("", |(_, rest)| rest);
    while let Some((name, value)) = rest.split_once("=\"") {
        labels.insert(name.trim_start_matches(',').to_owned());
        let mut is_escaped = false;
        let end = value.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        rest = &value[end.expect(line) + 1..];
        if rest.starts_with('}') {
            break;
        }
    }
    labels.remove("le");
    labels
}

#[test]
fn names_are_found_in_expressions() {
    #[track_caller]
    fn check(expression: &str, metrics: &[(&str, &[&str])], groups: &[&str]) {
        let set = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        let expected = Names {
            metrics: metrics
                .iter()
                .map(|(name, labels)| ((*name).to_owned(), set(labels)))
                .collect(),
            groups: set(groups),
        };
        assert_eq!(names(expression), expected);
    }
    check("up == 0", &[("up", &[])], &[]);
    check(
        "sum by (a, b) (rate(x_total{c=\"}d(\", e!~\"f\"}[5m])) > 0.05 or vector(0)",
        &[("x_total", &["c", "e"])],
        &["a", "b"],
    );
    check(
        "sum(x{a=\"b\"}) without (c) / on (d) group_left (e) y < Inf and z",
        &[("x", &["a"]), ("y", &[]), ("z", &[])],
        &["c", "d", "e"],
    );
}

#[test]
fn families_of_a_page() {
    let page = "# HELP a_total What it is\n# TYPE a_total counter\na_total{b=\"c\\\",d=\",e=\"\"} 3\n\
                # HELP f Of seconds\n# TYPE f histogram\nf_bucket{g=\"h\",le=\"+Inf\"} 1\nf_sum{g=\"h\"} 1\n";
    let families = families(page);
    let labels = |name: &str| Vec::from_iter(&families[name].labels);
    assert_eq!(labels("a_total"), ["b", "e"]);
    assert_eq!(labels("f"), ["g"]);
    assert_eq!(families["a_total"].help, "What it is");
    assert_eq!(families["f"].kind, "histogram");
    assert_eq!(families["a_total"].values, [3.0]);
}
