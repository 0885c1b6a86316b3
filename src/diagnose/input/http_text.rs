//! HTTP messages as text: a first line, headers, an empty line and a body.

use super::Headers;

/// A message. The body is exactly the text after the empty line.
pub(super) struct Message<'a> {
    pub(super) first_line: &'a str,
    pub(super) headers: Headers,
    /// `None` if the text ends before the empty line.
    pub(super) body: Option<&'a str>,
}

/// Splits a text that begins with a first line. A line that is not a header ends the head, too, since
/// people drop the empty line.
pub(super) fn message(text: &str) -> Message<'_> {
    let (first_line, rest) = line(text);
    let (headers, body) = headers(rest);
    Message {
        first_line,
        headers,
        body,
    }
}

/// Reads header lines, and returns them and the body.
pub(super) fn headers(text: &str) -> (Headers, Option<&str>) {
    let mut headers: Headers = Vec::new();
    let mut rest = text;
    loop {
        if rest.is_empty() {
            return (headers, None);
        }
        let (first, after) = line(rest);
        if first.trim().is_empty() {
            return (headers, Some(after));
        }
        let is_folded = first.starts_with([' ', '\t']) && !first.contains(": ");
        match (name_and_value(first.trim_start()), headers.last_mut()) {
            (_, Some((_, value))) if is_folded => {
                value.push(' ');
                value.push_str(first.trim());
            }
            (Some((name, value)), _) => headers.push((name.to_owned(), value.to_owned())),
            (None, _) => return (headers, Some(rest)),
        }
        rest = after;
    }
}

/// Splits `name: value`; the names of HTTP/2's pseudo-headers begin with a colon.
pub(super) fn name_and_value(line: &str) -> Option<(&str, &str)> {
    let is_pseudo = line.starts_with(':');
    let (name, value) = line.get(usize::from(is_pseudo)..)?.split_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let fits = !name.is_empty() && name.bytes().all(is_name);
    let name = line.get(..name.len() + usize::from(is_pseudo))?;
    fits.then(|| (name, value.trim()))
}

/// Returns the status of `HTTP/1.1 403 Forbidden`.
pub(super) fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/")?;
    let (version, rest) = rest.split_once(' ')?;
    let is_version = version.starts_with(|char: char| char.is_ascii_digit());
    let status = rest.split_ascii_whitespace().next()?.parse().ok()?;
    (is_version && (100..1000).contains(&status)).then_some(status)
}

/// Returns method and target of `POST /graphql HTTP/1.1`. Files of HTTP clients leave out the version.
pub(super) fn method_and_target(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?.trim());
    let is_method = (3..=20).contains(&method.len())
        && method
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let is_target =
        target.starts_with('/') || target.starts_with("http://") || target.starts_with("https://");
    // A target may contain spaces, if a client does not encode them.
    let line = line.trim_end();
    let target = match line.rsplit_once(' ') {
        Some((before, version)) if version.starts_with("HTTP/") => {
            before.get(method.len() + 1..)?
        }
        _ => line.get(method.len() + 1..)?,
    };
    (is_method && is_target).then_some((method, target))
}

/// Returns the first line without its end, and the text after it.
pub(super) fn line(text: &str) -> (&str, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (line.strip_suffix('\r').unwrap_or(line), rest)
}

/// Returns the text from the last line that fits, or `None` if no line does.
pub(super) fn from_last_line(text: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let mut found = starts.filter_map(|at| text.get(at..));
    found.rfind(|rest| fits(line(rest).0))
}

/// Returns the text from the first line that fits, or `None` if no line does.
pub(super) fn from_first_line(text: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let mut found = starts.filter_map(|at| text.get(at..));
    found.find(|rest| fits(line(rest).0))
}
