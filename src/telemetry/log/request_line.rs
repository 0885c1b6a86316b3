//! Formats the log lines of requests.
//!
//! They are the only lines that a busy process writes often, and the formatters of `tracing_subscriber` spend
//! more on one than the signature costs. Their output is the same; a test compares them. All other lines are
//! left to them.

use std::fmt::{self, Debug, Write as _};

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The target of the log lines of requests.
pub(in crate::telemetry) const TARGET: &str = "countersign::request";
/// The target of the lines of subscriptions that have started. It is below that of requests, so that a filter
/// applies to both.
pub(in crate::telemetry) const STARTED: &str = "countersign::request::started";

/// The format of a line for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineFormat {
    Json,
    Text,
}

/// Formats the lines of requests, and leaves the others to `others`.
#[derive(Debug)]
pub(super) struct RequestLines<F> {
    pub(super) format: LineFormat,
    pub(super) others: F,
}

/// Appends fields to a line.
struct Fields<'a> {
    line: &'a mut String,
    format: LineFormat,
    result: fmt::Result,
}

impl<S, N, F> FormatEvent<S, N> for RequestLines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target() != TARGET {
            return self.others.format_event(context, writer, event);
        }
        let mut line = String::with_capacity(512);
        let now = opentelemetry::time::now();
        push_line(&mut line, self.format, now.into(), event)?;
        writer.write_str(&line)
    }
}

fn push_line(
    line: &mut String,
    format: LineFormat,
    now: OffsetDateTime,
    event: &Event<'_>,
) -> fmt::Result {
    let level = *event.metadata().level();
    match format {
        LineFormat::Text => {
            push_time(line, now);
            line.push_str(if level == Level::INFO {
                "  INFO"
            } else {
                "  WARN"
            });
        }
        LineFormat::Json => {
            line.push_str("{\"timestamp\":\"");
            push_time(line, now);
            line.push_str("\",\"level\":\"");
            line.push_str(level.as_str());
            line.push('"');
        }
    }
    let mut fields = Fields {
        line,
        format,
        result: Ok(()),
    };
    event.record(&mut fields);
    fields.result?;
    if format == LineFormat::Json {
        line.push_str(",\"target\":\"");
        line.push_str(TARGET);
        line.push_str("\"}");
    }
    line.push('\n');
    Ok(())
}

// === impl Fields ===

impl Fields<'_> {
    fn push_name(&mut self, field: &Field) {
        match self.format {
            LineFormat::Text => {
                self.line.push(' ');
                if field.name() != "message" {
                    self.line.push_str(field.name());
                    self.line.push('=');
                }
            }
            LineFormat::Json => {
                self.line.push_str(",\"");
                self.line.push_str(field.name());
                self.line.push_str("\":");
            }
        }
    }

    fn check(&mut self, result: fmt::Result) {
        self.result = self.result.and(result);
    }

    fn push_json(&mut self, text: &str) {
        // Most texts are names.
        if text.bytes().all(is_plain) {
            self.line.push('"');
            self.line.push_str(text);
            self.line.push('"');
            return;
        }
        match serde_json::to_string(text) {
            Ok(json) => self.line.push_str(&json),
            Err(_) => self.check(Err(fmt::Error)),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push_name(field);
        if push_thousandths(self.line, value) {
            return;
        }
        let result = match self.format {
            LineFormat::Text => write!(self.line, "{value:?}"),
            LineFormat::Json => write!(self.line, "{}", serde_json::json!(value)),
        };
        self.check(result);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_name(field);
        push_digits(self.line, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_name(field);
        match self.format {
            LineFormat::Json => self.push_json(value),
            LineFormat::Text if value.bytes().all(is_plain) => {
                self.line.push('"');
                self.line.push_str(value);
                self.line.push('"');
            }
            LineFormat::Text => {
                let result = write!(self.line, "{value:?}");
                self.check(result);
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push_name(field);
        match self.format {
            LineFormat::Text => {
                let result = write!(self.line, "{value:?}");
                self.check(result);
            }
            LineFormat::Json => {
                self.line.push('"');
                let start = self.line.len();
                let result = write!(self.line, "{value:?}");
                self.check(result);
                let text = self.line.get(start..).unwrap_or_default();
                if text.bytes().all(is_plain) {
                    self.line.push('"');
                } else {
                    let text = text.to_owned();
                    self.line.truncate(start - 1);
                    self.push_json(&text);
                }
            }
        }
    }
}

/// Returns whether a byte is the same in a quoted text.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Appends the time in UTC, to the microsecond.
fn push_time(line: &mut String, now: OffsetDateTime) {
    push_padded(line, now.year().unsigned_abs(), 4);
    for (separator, number) in [
        ('-', now.month().into()),
        ('-', now.day()),
        ('T', now.hour()),
        (':', now.minute()),
        (':', now.second()),
    ] {
        line.push(separator);
        push_padded(line, number.into(), 2);
    }
    line.push('.');
    push_padded(line, now.microsecond(), 6);
    line.push('Z');
}

fn push_padded(line: &mut String, number: u32, width: usize) {
    let mut divisor = 10_u32.pow(width as u32 - 1);
    while divisor > 0 {
        line.push(digit(u64::from(number / divisor)));
        divisor /= 10;
    }
}

fn push_digits(line: &mut String, number: u64) {
    let mut divisor = 1;
    while number / divisor >= 10 {
        divisor *= 10;
    }
    while divisor > 0 {
        line.push(digit(number / divisor));
        divisor /= 10;
    }
}

fn digit(number: u64) -> char {
    char::from(b'0' + (number % 10) as u8)
}

/// Appends a number that has at most three decimals, as durations in milliseconds have. Returns whether it
/// has.
fn push_thousandths(line: &mut String, value: f64) -> bool {
    // Up to 15 digits, each decimal number has an `f64` of its own.
    const MAX: f64 = 1e12;
    if !(0.0..MAX).contains(&value) || value.is_sign_negative() {
        return false;
    }
    let thousandths = (value * 1_000.0).round();
    if thousandths / 1_000.0 != value {
        return false;
    }
    let thousandths = thousandths as u64;
    push_digits(line, thousandths / 1_000);
    line.push('.');
    let decimals = thousandths % 1_000;
    line.push(digit(decimals / 100));
    if !decimals.is_multiple_of(100) {
        line.push(digit(decimals / 10));
    }
    if !decimals.is_multiple_of(10) {
        line.push(digit(decimals));
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use proptest::prelude::*;
    use time::macros::format_description;
    use tracing::{info, warn};
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::fmt::format::{Format, JsonFields};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer, Registry, fmt};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Written {
        /// Returns what was written, without the fraction of a second and what is before it.
        fn take(&self) -> String {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap();
            text.split_once('.').unwrap().1[6..].to_owned()
        }
    }

    type Lines = Box<dyn Layer<Registry> + Send + Sync>;

    /// Returns the formatter of `tracing_subscriber` and ours.
    fn both(format: LineFormat, theirs: Written, ours: Written) -> [Lines; 2] {
        match format {
            LineFormat::Text => {
                let others = || Format::default().with_ansi(false).with_target(false);
                let lines = RequestLines {
                    format,
                    others: others(),
                };
                let layer = |written| fmt::layer().with_ansi(false).with_writer(written);
                [
                    layer(theirs).event_format(others()).boxed(),
                    layer(ours).event_format(lines).boxed(),
                ]
            }
            LineFormat::Json => {
                let others = || Format::default().json().flatten_event(true);
                let lines = RequestLines {
                    format,
                    others: others(),
                };
                let layer = |written| {
                    let layer = fmt::layer().fmt_fields(JsonFields::new());
                    layer.with_writer(written)
                };
                [
                    layer(theirs).event_format(others()).boxed(),
                    layer(ours).event_format(lines).boxed(),
                ]
            }
        }
    }

    /// Checks that both formatters write the same for what `log` logs.
    fn check(log: impl Fn()) {
        for format in [LineFormat::Text, LineFormat::Json] {
            let [theirs, ours] = [Written::default(), Written::default()];
            let [first, second] = both(format, theirs.clone(), ours.clone());
            let subscriber = Registry::default().with(vec![first, second]);
            tracing::subscriber::with_default(subscriber, &log);
            assert_eq!(ours.take(), theirs.take(), "{format:?}");
        }
    }

    fn number() -> impl Strategy<Value = f64> {
        let millis = |most: u64| (0..most).prop_map(|micros| micros as f64 / 1_000.0);
        prop_oneof![millis(100_000), millis(u64::MAX), any::<f64>()]
    }

    proptest! {
        #[test]
        fn lines_of_requests_are_those_of_tracing_subscriber(
            text in prop::option::of(".*"),
            name in "[ -~]{0,20}",
            count in any::<u64>(),
            status in any::<u16>(),
            [first, second] in [number(), number()],
        ) {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], status));
            check(|| info!(
                target: TARGET,
                text = text.as_deref(),
                http.request.method = "POST",
                name,
                http.response.status_code = status,
                error.type = text.as_deref(),
                http.request.body.size = count,
                total_ms = first,
                "request"
            ));
            check(|| warn!(
                target: TARGET,
                cause = text.as_deref(),
                second,
                client.address = %address.ip(),
                client.port = address.port(),
                exception.message = ?name,
                "request"
            ));
        }
    }

    #[test]
    fn other_lines_are_left_to_tracing_subscriber() {
        check(|| info!(is_it = true, "something \x1b[1m else"));
        check(|| tracing::error!(target: "hyper", "{}", 1));
    }

    #[test]
    fn time_is_to_the_microsecond() {
        let described = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
        );
        for nanos in [0, 1_000, 951_782_399_999_999_999, 1_796_029_260_012_345_678] {
            let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap();
            let mut line = String::new();
            push_time(&mut line, time);
            assert_eq!(line, time.format(described).unwrap());
        }
    }
}
