//! Wraps long lines for a terminal.

use std::io;

use terminal_size::terminal_size_of;

/// What begins a command to paste, which is not wrapped: a pasted line break would end it.
const COMMANDS: [&str; 4] = [": countersign ", ": aws ", ": sudo ", ": echo "];
/// Narrower terminals are not wrapped for.
const MIN_WIDTH: usize = 20;

/// Returns the columns of the terminal behind standard error; `None` if it is none.
pub(super) fn columns() -> Option<usize> {
    let (width, _) = terminal_size_of(io::stderr())?;
    Some(usize::from(width.0))
}

/// Returns lines of at most `width` characters, as far as there are spaces to wrap at. A command at the end is
/// a line of its own, whatever its length.
pub(super) fn wrap(text: &str, width: usize) -> Vec<&str> {
    if text.chars().count() <= width || width < MIN_WIDTH {
        return vec![text];
    }
    let command = COMMANDS.iter().filter_map(|start| text.find(start)).min();
    let (prose, command) = match command.and_then(|colon| text.split_at_checked(colon + 1)) {
        Some((prose, command)) => (prose, Some(command.trim_start())),
        None => (text, None),
    };
    let mut lines = Vec::new();
    let mut rest = prose;
    while let Some((line, after)) = split(rest, width) {
        lines.push(line);
        rest = after;
    }
    lines.push(rest);
    lines.extend(command);
    lines
}

/// Splits a text that is longer than `width` at the last space before, or else at the first one after.
fn split(text: &str, width: usize) -> Option<(&str, &str)> {
    let (end, next) = text.char_indices().nth(width)?;
    let head = text.get(..end + next.len_utf8())?;
    let at = head.rfind(' ').filter(|at| *at > 0);
    let at = at.or_else(|| text.find(' '))?;
    let (line, after) = text.split_at_checked(at)?;
    Some((line, after.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_at_spaces() {
        let check = |text: &str, width: usize, expected: &[&str]| {
            assert_eq!(wrap(text, width), expected, "{text:?}");
        };
        check("short", 20, &["short"]);
        check("", 20, &[""]);
        check("exactly twenty chars", 20, &["exactly twenty chars"]);
        check(
            "exactly twenty chars and more",
            20,
            &["exactly twenty chars", "and more"],
        );
        check(
            "one two three four five six seven",
            20,
            &["one two three four", "five six seven"],
        );
        let long = "x".repeat(30);
        check(&long, 20, &[&long]);
        check(&format!("a {long} b"), 20, &["a", &long, "b"]);
        check(
            "ä ö ü ß ä ö ü ß ä ö ü ß",
            20,
            &["ä ö ü ß ä ö ü ß ä ö", "ü ß"],
        );
        check(
            "not wrapped, because it is narrow",
            10,
            &["not wrapped, because it is narrow"],
        );
    }

    #[test]
    fn commands_to_paste_are_not_wrapped() {
        for command in [
            "countersign policy --region REGION FILE.graphql",
            "echo 'query { rooms }' | countersign policy --region REGION -",
            "aws sso login --profile a-profile-with-a-long-name",
            "sudo chronyc makestep && sudo systemctl restart chronyd",
        ] {
            let text = format!(
                "Allow appsync:GraphQL in a policy of the identity. To print the policy: {command}"
            );
            assert_eq!(
                wrap(&text, 40),
                [
                    "Allow appsync:GraphQL in a policy of the",
                    "identity. To print the policy:",
                    command,
                ]
            );
        }
    }
}
