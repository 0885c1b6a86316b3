//! Formats log lines for people: local time, one line for each operation, what to do on a line of its own.

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::entry::{Entry, INDENT, LineFields, WIDTH};
use super::request_line::{STARTED, TARGET};
use super::style::{Color, Style};
use super::summary;
use super::wrap::{columns, wrap};

/// Formats lines for people.
#[derive(Debug)]
pub(super) struct PrettyLines {
    zone: TimeZone,
    style: Style,
    shows_routes: bool,
}

impl PrettyLines {
    pub(super) fn new(is_colored: bool, shows_routes: bool) -> Self {
        Self {
            zone: TimeZone::system(),
            style: Style { is_colored },
            shows_routes,
        }
    }

    fn push(&self, line: &mut String, now: SystemTime, event: &Event<'_>) {
        let mut fields = LineFields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let entry = match metadata.target() {
            TARGET => match summary::request(&fields, self.style, self.shows_routes) {
                Some(entry) => entry,
                None => return,
            },
            STARTED => summary::started(&fields, self.shows_routes),
            _ => other(&mut fields, *metadata.level(), self.style),
        };
        let time = Timestamp::try_from(now).unwrap_or_default();
        let time = time.to_zoned(self.zone.clone()).strftime("%H:%M:%S");
        let time = self.style.paint(Color::Dim, &time.to_string());
        line.push_str(&format!("{time}  {}\n", entry.head));
        if entry.details.is_empty() {
            return;
        }
        let width = columns().map(|columns| columns.saturating_sub(INDENT));
        for detail in &entry.details {
            for part in wrap(detail, width.unwrap_or(usize::MAX)) {
                line.push_str(&format!("{:INDENT$}{part}\n", ""));
            }
        }
    }
}

/// Returns the entry of a line that is not that of a request.
fn other(fields: &mut LineFields, level: Level, style: Style) -> Entry {
    let message = fields.take("message").unwrap_or_default();
    let fix = fields.take("fix");
    let error = fields.take("exception.message");
    let (label, color) = match level {
        Level::ERROR => ("error: ", Color::Red),
        Level::WARN => ("warning: ", Color::Yellow),
        _ => ("", Color::Dim),
    };
    let mut text = message;
    if let Some(error) = error {
        text = format!("{text}: {error}");
    }
    let mut details = Vec::new();
    let is_long = |text: &str| INDENT + label.len() + text.chars().count() > WIDTH;
    // A long message ends with what to do.
    if is_long(&text)
        && let Some((first, rest)) = text.split_once(". ")
    {
        details.push(rest.to_owned());
        text = first.to_owned();
    }
    let others = fields.text();
    let mut head = format!("{}{text}", style.paint(color, label));
    if !others.is_empty() {
        let painted = style.paint(Color::Dim, &others);
        if is_long(&format!("{text}  {others}")) {
            details.push(painted);
        } else {
            head = format!("{head}  {painted}");
        }
    }
    details.extend(fix);
    Entry { head, details }
}

impl<S, N> FormatEvent<S, N> for PrettyLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.push(&mut line, opentelemetry::time::now(), event);
        writer.write_str(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(level: Level, fields: &[(&'static str, &str)], expected: &[&str]) {
        let style = Style { is_colored: false };
        let entry = other(&mut LineFields::of(fields), level, style);
        let lines: Vec<&str> = [entry.head.as_str()]
            .into_iter()
            .chain(entry.details.iter().map(String::as_str))
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn other_lines_have_their_level_and_what_to_do_on_a_second_line() {
        check(
            Level::INFO,
            &[("message", "draining"), ("timeout", "25s")],
            &["draining  timeout=25s"],
        );
        check(
            Level::WARN,
            &[
                (
                    "message",
                    "credentials not loaded. Run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID",
                ),
                ("exception.message", "no provider"),
            ],
            &[
                "warning: credentials not loaded",
                "Run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID: no provider",
            ],
        );
        check(
            Level::ERROR,
            &[
                ("message", "it failed"),
                ("exception.message", "a\nb\u{1b}[2J"),
                ("fix", "do it"),
            ],
            &["error: it failed: a\\nb\\u{1b}[2J", "do it"],
        );
        let long = "x".repeat(70);
        check(
            Level::DEBUG,
            &[("message", "m"), ("a", "1"), ("long", &long)],
            &["m", &format!("a=1 long={long}")],
        );
    }
}
