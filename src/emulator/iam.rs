//! Evaluates IAM policies.
//!
//! A policy allows or denies an action on an ARN. As in IAM, a `Deny` overrides every `Allow`, and an
//! action that no statement allows is denied. Policies with members other than effect, actions and
//! resources are rejected: to ignore a member could allow too much.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Policy {
    #[serde(rename = "Version")]
    _version: Version,
    statement: Vec<Statement>,
}

/// The only version that has escapes such as `${*}`.
#[derive(Debug, Deserialize)]
enum Version {
    #[serde(rename = "2012-10-17")]
    Current,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    action: OneOrMany,
    resource: OneOrMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// One element of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatternToken {
    AnyText,
    AnyChar,
    Char(char),
}

impl Policy {
    pub(super) fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    pub(super) fn allows(&self, action: &str, resource: &str) -> bool {
        let applies = |statement: &&Statement| {
            statement.action.matches(action) && statement.resource.matches(resource)
        };
        let effects: Vec<Effect> = self
            .statement
            .iter()
            .filter(applies)
            .map(|statement| statement.effect)
            .collect();
        effects.contains(&Effect::Allow) && !effects.contains(&Effect::Deny)
    }
}

impl OneOrMany {
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let patterns = match self {
            Self::One(pattern) => std::slice::from_ref(pattern),
            Self::Many(patterns) => patterns,
        };
        patterns
            .iter()
            .any(|pattern| is_match(&tokens(pattern), &text))
    }
}

fn tokens(pattern: &str) -> Vec<PatternToken> {
    let escapes = [("${*}", '*'), ("${?}", '?'), ("${$}", '$')];
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let escaped = escapes.iter().find(|(escape, _)| rest.starts_with(escape));
        let (token, length) = match (escaped, first) {
            (Some((escape, char)), _) => (PatternToken::Char(*char), escape.len()),
            (None, '*') => (PatternToken::AnyText, 1),
            (None, '?') => (PatternToken::AnyChar, 1),
            (None, char) => (PatternToken::Char(char), char.len_utf8()),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
    tokens
}

/// Returns whether the pattern matches all of `text`. `ends[at]` states whether the tokens so far match
/// its first `at` characters.
fn is_match(pattern: &[PatternToken], text: &[char]) -> bool {
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    for token in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match token {
                PatternToken::AnyText => ends[at] || (at > 0 && next[at - 1]),
                PatternToken::AnyChar => at > 0 && ends[at - 1],
                PatternToken::Char(char) => at > 0 && ends[at - 1] && text[at - 1] == *char,
            };
        }
        ends = next;
    }
    ends[text.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        let text: Vec<char> = text.chars().collect();
        assert_eq!(is_match(&tokens(pattern), &text), expected, "{pattern}");
    }

    #[test]
    fn wildcards_match() {
        check("a", "a", true);
        check("a", "ab", false);
        check("*", "", true);
        check("a*c", "abc", true);
        check("a*c", "a/b/c", true);
        check("a*c", "abcd", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("*a*a*", "aa", true);
        check("*a*a*", "a", false);
        check("a${*}", "a*", true);
        check("a${*}", "ab", false);
    }

    #[test]
    fn policies_are_evaluated() {
        let policy = r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"a:B","Resource":["x/*","y"]},
            {"Sid":"s","Effect":"Deny","Action":["a:*"],"Resource":"x/no"}]}"#;
        let policy = Policy::parse(policy).unwrap();
        for (action, resource, expected) in [
            ("a:B", "x/yes", true),
            ("a:B", "y", true),
            ("a:B", "z", false),
            ("a:C", "y", false),
            ("a:B", "x/no", false),
        ] {
            assert_eq!(policy.allows(action, resource), expected, "{resource}");
        }
        for unsupported in [
            "{}",
            r#"{"Version":"2008-10-17","Statement":[]}"#,
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a","NotResource":"b"}]}"#,
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a","Resource":"b","Condition":{}}]}"#,
        ] {
            assert!(Policy::parse(unsupported).is_err(), "{unsupported}");
        }
    }
}
