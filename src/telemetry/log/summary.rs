//! What the line of a request says to people.

use std::net::{IpAddr, SocketAddr};

use super::entry::{Entry, INDENT, LineFields, WIDTH};
use super::style::{Color, Style};

const SHUTDOWN: &str = ", ended by the shutdown";
const CODE: &str = "error.type";
const ERROR: &str = "exception.message";
const STATUS: &str = "http.response.status_code";
const TRANSPORT: &str = "transport";

/// Returns the entry of a request or operation, or `None` if another line says the same: a stream has a line
/// of its own beside that of its request, and the operations of a batch have theirs.
pub(super) fn request(fields: &LineFields, style: Style, shows_routes: bool) -> Option<Entry> {
    let operation = operation(fields).unwrap_or_default();
    let is_live = matches!(operation, "subscription" | "subscribe");
    let is_over_http = fields.get(TRANSPORT).is_none();
    let has_failed = [CODE, ERROR, "cause"]
        .iter()
        .any(|name| fields.get(name).is_some());
    let is_repeated = match fields.get(TRANSPORT) {
        Some("stream") => !is_live,
        _ => is_over_http && (is_live || operation == "batch"),
    };
    // A stream that the shutdown ends has failed for its client, and not for people.
    let is_shutdown = fields.get(CODE) == Some("SHUTTING_DOWN") && fields.get(ERROR).is_none();
    if is_repeated && (!has_failed || is_shutdown) {
        return None;
    }
    let status = if is_live && is_shutdown {
        String::new()
    } else {
        outcome(fields, style)
    };
    let time = fields.get("total_ms").and_then(|ms| ms.parse().ok());
    let took = duration(time.unwrap_or_default());
    let mut head = subject(fields, shows_routes);
    let mut details = Vec::new();
    if fields.get(STATUS) == Some("101") && is_over_http && !has_failed {
        return Some(Entry {
            head: format!("{head} opened"),
            details,
        });
    }
    if !status.is_empty() {
        head = format!("{head}  {status}");
    }
    if !is_over_http && is_live {
        let end = ended(fields, &took);
        head = format!("{head}  {end}");
    } else {
        let errors = graphql_errors(fields);
        let line = format!("{head}{errors}  {took}");
        let message = fields.get("graphql_error");
        let length =
            INDENT + line.chars().count() + message.map_or(0, |text| text.chars().count() + 2);
        head = match message {
            Some(message) if length <= WIDTH => format!("{head}{errors}: {message}  {took}"),
            Some(message) => {
                details.push(message.to_owned());
                line
            }
            None => line,
        };
    }
    details.extend(why(fields));
    details.extend(fields.get("fix").map(str::to_owned));
    Some(Entry { head, details })
}

/// Returns the entry of a subscription that has started.
pub(super) fn started(fields: &LineFields, shows_routes: bool) -> Entry {
    Entry {
        head: format!("{} started", subject(fields, shows_routes)),
        details: Vec::new(),
    }
}

/// Returns `query ListRooms`, `GET orders` or `WebSocket`.
fn subject(fields: &LineFields, shows_routes: bool) -> String {
    let operation = operation(fields);
    let method = fields.get("http.request.method").unwrap_or_default();
    let route = fields.get("route");
    let name = fields.get("graphql.operation.name");
    let (noun, shown_route) = match (operation, method) {
        (Some(operation), _) => (operation, route.filter(|_| shows_routes)),
        _ if fields.get(TRANSPORT) == Some("tunnel") => ("tunnel", route),
        (None, "GET") if fields.get(STATUS) == Some("101") => ("WebSocket", route),
        (None, method) => (method, route),
    };
    let mut words = vec![noun];
    words.extend(name);
    let subject = words.join(" ");
    let subject = match shown_route {
        Some(route) if operation.is_some() => format!("{subject} ({route})"),
        Some(route) => format!("{subject} {route}"),
        None => subject,
    };
    let token = fields.get("token");
    let client = client(fields).map(|client| client.to_string());
    let of = [token, client.as_deref()].into_iter().flatten();
    let of: Vec<&str> = of.collect();
    if of.is_empty() {
        subject
    } else {
        format!("{subject} from {}", of.join(", "))
    }
}

/// Returns the kind of the operation.
fn operation(fields: &LineFields) -> Option<&str> {
    let graphql = fields.get("graphql.operation.type");
    graphql.or_else(|| fields.get("operation"))
}

/// Returns the address of a client on another machine.
fn client(fields: &LineFields) -> Option<SocketAddr> {
    let address: IpAddr = fields.get("client.address")?.parse().ok()?;
    let port = fields.get("client.port")?.parse().ok()?;
    let is_remote = !address.to_canonical().is_loopback();
    is_remote.then(|| SocketAddr::new(address, port))
}

/// Returns the status and the code of an error.
fn outcome(fields: &LineFields, style: Style) -> String {
    let status = fields.get(STATUS);
    let code = fields.get(CODE);
    let color = match (status.and_then(|status| status.chars().next()), code) {
        (Some('5'), _) => Color::Red,
        (Some('4'), _) | (_, Some(_)) => Color::Yellow,
        (Some(_), None) => Color::Green,
        (None, None) => return String::new(),
    };
    let words: Vec<&str> = status.into_iter().chain(code).collect();
    style.paint(color, &words.join(" "))
}

/// Returns `, 2 errors`, or an empty text.
fn graphql_errors(fields: &LineFields) -> String {
    match fields.get("graphql_errors") {
        None | Some("0") => String::new(),
        Some("1") => ", 1 error".to_owned(),
        Some(count) => format!(", {count} errors"),
    }
}

/// Returns `3 events, 36 s, ended by the client`.
fn ended(fields: &LineFields, took: &str) -> String {
    let events = match fields.get("events") {
        None => String::new(),
        Some("1") => "1 event, ".to_owned(),
        Some(count) => format!("{count} events, "),
    };
    let by = match fields.get("ended_by") {
        Some("client") => ", ended by the client",
        Some("shutdown") => SHUTDOWN,
        Some(_) => ", ended by AWS",
        None if fields.get(CODE) == Some("SHUTTING_DOWN") => SHUTDOWN,
        None => "",
    };
    format!("{events}{took}{by}")
}

/// Returns what went wrong.
fn why(fields: &LineFields) -> Vec<String> {
    let mut lines: Vec<String> = fields.get(ERROR).map(str::to_owned).into_iter().collect();
    if let Some(cause) = fields.get("cause") {
        let likely = match fields.get("confidence") {
            None | Some("certain" | "") => String::new(),
            Some(confidence) => format!(" ({confidence})"),
        };
        let mut line = format!("cause: {cause}{likely}");
        if let Some(denied) = fields.get("denied") {
            line.push_str(&format!("; not allowed: {denied}"));
        }
        if let Some(identity) = fields.get("identity") {
            line.push_str(&format!("; identity: {identity}"));
        }
        lines.push(line);
    }
    lines
}

/// Returns a duration in a unit that people read: `0.28 ms`, `2.8 ms`, `28 ms`, `3.2 s`, `36 s`, `2 min 5 s`.
fn duration(millis: f64) -> String {
    let seconds = millis / 1_000.0;
    let whole = seconds.round() as u64;
    if millis < 0.995 {
        format!("{millis:.2} ms")
    } else if millis < 9.95 {
        format!("{millis:.1} ms")
    } else if millis < 999.5 {
        format!("{millis:.0} ms")
    } else if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if whole < 120 {
        format!("{whole} s")
    } else if whole < 7_200 {
        format!("{} min {} s", whole / 60, whole % 60)
    } else {
        format!("{} h {} min", whole / 3_600, whole % 3_600 / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[(&'static str, &str)], expected: &[&str]) {
        let style = Style { is_colored: false };
        let lines = request(&LineFields::of(fields), style, false).map(|entry| {
            let mut lines = vec![entry.head];
            lines.extend(entry.details);
            lines
        });
        assert_eq!(lines.unwrap_or_default(), expected, "{fields:?}");
    }

    #[test]
    fn an_operation_is_one_line() {
        let http = [
            ("http.request.method", "POST"),
            ("route", "graphql"),
            ("total_ms", "2.76"),
        ];
        let with = |more: &[(&'static str, &'static str)]| [&http[..], more].concat();
        check(
            &with(&[
                ("graphql.operation.type", "query"),
                ("graphql.operation.name", "ListRooms"),
                ("http.response.status_code", "200"),
            ]),
            &["query ListRooms  200  2.8 ms"],
        );
        check(
            &with(&[
                ("http.response.status_code", "404"),
                ("error.type", "NO_ROUTE"),
            ]),
            &["POST graphql  404 NO_ROUTE  2.8 ms"],
        );
        check(
            &with(&[
                ("graphql.operation.type", "query"),
                ("http.response.status_code", "200"),
                ("graphql_errors", "1"),
                ("graphql_error", "Unknown field \"romms\""),
            ]),
            &["query  200, 1 error: Unknown field \"romms\"  2.8 ms"],
        );
        let long = "x".repeat(70);
        check(
            &[
                &http[..],
                &[
                    ("graphql.operation.type", "mutation"),
                    ("http.response.status_code", "200"),
                    ("graphql_errors", "2"),
                    ("graphql_error", &long),
                ],
            ]
            .concat(),
            &["mutation  200, 2 errors  2.8 ms", &long],
        );
        check(
            &with(&[
                ("graphql.operation.type", "query"),
                ("http.response.status_code", "403"),
                ("error.type", "ACCESS_DENIED"),
                ("cause", "not-authorized"),
                ("confidence", "likely"),
                ("identity", "arn:a"),
                ("denied", "appsync:GraphQL on arn:b"),
                ("fix", "Allow it"),
                ("client.address", "10.0.0.7"),
                ("client.port", "50000"),
            ]),
            &[
                "query from 10.0.0.7:50000  403 ACCESS_DENIED  2.8 ms",
                "cause: not-authorized (likely); not allowed: appsync:GraphQL on arn:b; identity: arn:a",
                "Allow it",
            ],
        );
        check(
            &with(&[
                ("graphql.operation.type", "query"),
                ("graphql.operation.name", "a\u{1b}[31m\n"),
                ("http.response.status_code", "200"),
            ]),
            &["query a\\u{1b}[31m\\n  200  2.8 ms"],
        );
        check(
            &[
                ("http.request.method", "GET"),
                ("route", "graphql"),
                ("http.response.status_code", "101"),
                ("client.address", "::1"),
                ("client.port", "5"),
            ],
            &["WebSocket graphql opened"],
        );
    }

    #[test]
    fn a_subscription_is_one_line_at_its_end() {
        let live = [
            ("transport", "websocket"),
            ("graphql.operation.type", "subscription"),
            ("graphql.operation.name", "OnMessage"),
            ("total_ms", "36020.1"),
        ];
        check(
            &[&live[..], &[("events", "3"), ("ended_by", "client")]].concat(),
            &["subscription OnMessage  3 events, 36 s, ended by the client"],
        );
        check(
            &[
                &live[..],
                &[("events", "1"), ("error.type", "SUBSCRIPTION_LOST")],
            ]
            .concat(),
            &["subscription OnMessage  SUBSCRIPTION_LOST  1 event, 36 s"],
        );
        check(
            &[
                &live[..],
                &[("events", "1"), ("error.type", "SHUTTING_DOWN")],
            ]
            .concat(),
            &["subscription OnMessage  1 event, 36 s, ended by the shutdown"],
        );
        // Its stream has a line of its own.
        let of_request = [
            ("http.request.method", "POST"),
            ("graphql.operation.type", "subscription"),
            ("http.response.status_code", "200"),
        ];
        check(&of_request, &[]);
        check(
            &[&of_request[..], &[("error.type", "SHUTTING_DOWN")]].concat(),
            &[],
        );
        check(
            &[
                ("transport", "stream"),
                ("graphql.operation.type", "query"),
                ("http.response.status_code", "200"),
            ],
            &[],
        );
        check(
            &[
                ("http.request.method", "POST"),
                ("operation", "batch"),
                ("http.response.status_code", "200"),
            ],
            &[],
        );
    }

    #[test]
    fn durations_have_two_digits() {
        for (millis, expected) in [
            (0.0, "0.00 ms"),
            (0.283, "0.28 ms"),
            (2.76, "2.8 ms"),
            (27.6, "28 ms"),
            (276.4, "276 ms"),
            (2_764.0, "2.8 s"),
            (36_020.0, "36 s"),
            (125_000.0, "2 min 5 s"),
            (90_000_000.0, "25 h 0 min"),
        ] {
            assert_eq!(duration(millis), expected);
        }
    }
}
