//! Removes what terminals and logs add to a text: colours, line prefixes, indentation, code fences.

use std::borrow::Cow;

use super::literal;

/// The most kinds of prefix that one text has, such as a container's name before a time.
const MAX_PREFIXES: usize = 4;

/// What `curl -v` printed: the heads that it marks by `>` and `<`, and the rest.
pub(super) struct Verbose {
    pub(super) request: Option<String>,
    /// Head and body.
    pub(super) response: Option<String>,
}

/// Returns the text without escape sequences, carriage returns, code fences, and without the prefix and
/// indentation that all lines have.
pub(super) fn clean(text: &str) -> String {
    let text = without_escapes(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("```"));
    let mut lines: Vec<&str> = lines.collect();
    for _ in 0..MAX_PREFIXES {
        let Some(shorter) = without_prefix(&lines) else {
            break;
        };
        lines = shorter;
    }
    let lines = without_indentation(&lines);
    lines.join("\n").trim_matches('\n').to_owned()
}

/// Removes ANSI escape sequences: colours, cursor movements, titles and links.
fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '\u{1b}' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('[') => {
                while chars
                    .next()
                    .is_some_and(|char| !('@'..='~').contains(&char))
                {}
            }
            Some(']') => {
                while let Some(char) = chars.next() {
                    if char == '\u{1b}' {
                        chars.next();
                    }
                    if matches!(char, '\u{7}' | '\u{1b}') {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    Cow::Owned(out)
}

/// Returns the lines without the prefix of a log, if all lines that are not empty have one of the same
/// kind. One line alone keeps its prefix, because what it contains is found anywhere in it.
fn without_prefix<'a>(lines: &[&'a str]) -> Option<Vec<&'a str>> {
    const KINDS: [fn(&str) -> Option<&str>; 5] = [
        after_name,
        after_bracket,
        after_time,
        after_syslog,
        after_quote_mark,
    ];
    let is_text = |line: &&&str| !line.trim().is_empty();
    if lines.iter().filter(is_text).count() < 2 {
        return None;
    }
    KINDS.iter().find_map(|after| {
        let stripped = lines.iter().map(|line| match line.trim() {
            "" => Some(""),
            _ => after(line),
        });
        stripped.collect()
    })
}

/// `web-1  | text`, of `docker compose logs`.
fn after_name(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once('|')?;
    let name = name.trim_end();
    let is_name = |char: char| char.is_ascii_alphanumeric() || "-_./".contains(char);
    let fits = !name.is_empty() && name.len() <= 64 && name.chars().all(is_name);
    fits.then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

/// `[pod/web/app] text`, of `kubectl logs --prefix`.
fn after_bracket(line: &str) -> Option<&str> {
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    let fits = !inside.is_empty() && inside.len() <= 200 && !inside.contains(['"', '{', '\'']);
    fits.then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

/// `2026-01-15T12:00:00.000Z text` or `2026-01-15 12:00:00,000 text`.
fn after_time(line: &str) -> Option<&str> {
    let bytes = line.as_bytes();
    let is_date = bytes.len() >= 19
        && bytes[..19]
            .iter()
            .zip(b"0000-00-00T00:00:00")
            .all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b' '),
                _ => byte == form,
            });
    if !is_date {
        return None;
    }
    let rest = line.get(19..)?;
    let is_of_time = |char: char| char.is_ascii_digit() || ".,:Z+-".contains(char);
    let rest = rest.trim_start_matches(is_of_time);
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

/// `Jan 15 12:00:00 host app[123]: text`, of journald and syslog.
fn after_syslog(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let month = words.next()?;
    let is_month = month.len() == 3 && "JanFebMarAprMayJunJulAugSepOctNovDec".contains(month);
    let is_day = words.next()?.parse::<u8>().is_ok();
    let time = words.next()?;
    let is_time = time.len() == 8 && time.split(':').filter(|part| part.len() == 2).count() == 3;
    let (_, _) = (words.next()?, words.next()?);
    let (before, rest) = line.split_once(": ").or_else(|| line.split_once("]:"))?;
    (is_month && is_day && is_time && before.len() < 120).then_some(rest)
}

/// `> text`, of a quoting mail. The marks of `curl -v` are read before this.
fn after_quote_mark(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('>')?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

/// Removes the white space that all lines begin with.
fn without_indentation<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let indent = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let texts = lines.iter().filter(|line| !line.trim().is_empty());
    let common = texts.map(indent).min().unwrap_or(0);
    lines
        .iter()
        .map(|line| line.get(common..).unwrap_or(""))
        .collect()
}

/// Returns the last exchange of the output of `curl -v`, or `None` if the text is something else.
pub(super) fn verbose(text: &str) -> Option<Verbose> {
    let text = without_escapes(text).replace("\r\n", "\n");
    if !text
        .lines()
        .any(|line| line.starts_with("< HTTP/") || line.starts_with("> "))
    {
        return None;
    }
    let (mut request, mut response, mut body) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_response_open = false;
    for line in text.lines() {
        let marked = |mark: char| {
            let rest = line.strip_prefix(mark)?;
            rest.strip_prefix(' ').or(rest.is_empty().then_some(""))
        };
        if let Some(line) = marked('>') {
            if http_version(line) {
                request.clear();
            }
            request.push(line);
        } else if let Some(line) = marked('<') {
            if line.starts_with("HTTP/") {
                response.clear();
                body.clear();
            }
            is_response_open = true;
            response.push(line);
        } else if is_response_open && !is_of_curl(line) {
            body.push(without_note(line));
        }
    }
    if !request.first().is_some_and(|line| http_version(line)) {
        request.clear();
    }
    let is_response = response
        .first()
        .is_some_and(|line| line.starts_with("HTTP/"));
    if request.is_empty() && !is_response {
        return None;
    }
    let head = |lines: &[&str]| lines.join("\n").trim_end().to_owned();
    Some(Verbose {
        request: (!request.is_empty()).then(|| format!("{}\n\n", head(&request))),
        response: is_response.then(|| format!("{}\n\n{}", head(&response), body.join("\n").trim())),
    })
}

/// Returns whether a line is a request line with its version.
fn http_version(line: &str) -> bool {
    line.rsplit_once(' ')
        .is_some_and(|(_, version)| version.starts_with("HTTP/"))
}

/// Returns whether `curl` wrote this line itself: notes, progress, and the sizes of data.
fn is_of_curl(line: &str) -> bool {
    let start = line.trim_start();
    let is_progress = line.starts_with("  % Total")
        || start.starts_with("Dload ")
        || line.contains("--:--:--") && start.starts_with(|char: char| char.is_ascii_digit());
    line.starts_with("* ") || line.starts_with("{ [") || line.starts_with("} [") || is_progress
}

/// Returns a line of a body without the note that `curl` writes after a body that does not end in a newline.
fn without_note(line: &str) -> &str {
    line.split_once("* Connection #")
        .map_or(line, |(line, _)| line)
}

/// Returns the exchange in the output of Python's `http.client` with `debuglevel = 1`: `send:`, `reply:`
/// and `header:` lines.
pub(super) fn http_client(text: &str) -> Option<Verbose> {
    if !text.contains("send: b") {
        return None;
    }
    let (mut request, mut response) = (String::new(), String::new());
    let mut is_answered = false;
    for line in text.lines() {
        if let Some(sent) = line.strip_prefix("send: ") {
            if is_answered {
                request.clear();
                response.clear();
                is_answered = false;
            }
            request.push_str(&literal::value(sent)?);
        } else if let Some(reply) = line.strip_prefix("reply: ") {
            is_answered = true;
            response.push_str(literal::value(reply)?.trim_end());
        } else if let Some(header) = line.strip_prefix("header: ") {
            response.push('\n');
            response.push_str(header);
        } else if is_answered {
            // What the program printed afterwards.
            response.push('\n');
            response.push_str(line);
        }
    }
    Some(Verbose {
        request: (!request.is_empty()).then_some(request),
        response: (!response.is_empty()).then_some(response),
    })
}
