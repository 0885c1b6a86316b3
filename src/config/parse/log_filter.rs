//! Parses the filter of the log.

use super::address::did_you_mean;
use crate::nearest::nearest;
use crate::telemetry::parse_filter;

/// What is wrong with a filter.
enum Mistake<'a> {
    Level(&'a str),
    Target(&'a str),
    Syntax,
}

/// `"debug"`, `"info,countersign::realtime=debug"`
///
/// # Errors
/// What is wrong with it. A misspelt level would be the name of a target, and a misspelt target would have
/// no lines.
pub fn log_filter(value: &str) -> Result<String, String> {
    let directives = value.split(',').map(str::trim);
    let mut directives = directives.filter(|it| !it.is_empty()).peekable();
    let is_empty = directives.peek().is_none();
    let mistake = directives.find_map(mistake);
    let advice = match mistake {
        None if !is_empty && parse_filter(value).is_ok() => return Ok(value.to_owned()),
        None | Some(Mistake::Syntax) => did_you_mean(None, EXPECTED),
        Some(Mistake::Level(level)) => did_you_mean(nearest_level(level), EXPECTED),
        Some(Mistake::Target(target)) => did_you_mean(
            nearest_target(target).as_deref(),
            &format!("unknown target {target:?}; {EXPECTED}"),
        ),
    };
    Err(format!("invalid log filter {value:?}: {advice}"))
}

const EXPECTED: &str = "expected error, warn, info, debug or trace, or levels by target, such as \
                        info,countersign::realtime=debug";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Names of levels in other programs.
const OTHER_LEVELS: [(&str, &str); 6] = [
    ("all", "trace"),
    ("fatal", "error"),
    ("none", "off"),
    ("quiet", "warn"),
    ("verbose", "debug"),
    ("warning", "warn"),
];
/// The crates that log.
const CRATES: [&str; 24] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_sso",
    "aws_sdk_ssooidc",
    "aws_sdk_sts",
    "aws_sigv4",
    "aws_smithy_http",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
    "aws_types",
    COUNTERSIGN,
    "countersign_emulator",
    "h2",
    "hyper",
    "hyper_util",
    "jiff",
    "jiff_core",
    "log",
    "rustls",
    "tokio_tungstenite",
    "tracing_log",
    "tracing_opentelemetry",
    "tungstenite",
];
const COUNTERSIGN: &str = "countersign";
/// The parts of countersign: its modules, and `request` for the lines of requests.
const PARTS: [&str; 26] = [
    "admin",
    "app",
    "check",
    "cli",
    "config",
    "deadline",
    "diagnose",
    "guard",
    "iam",
    "inspector",
    "lifecycle",
    "memory",
    "net",
    "operation",
    "outbox",
    "proxy",
    "realtime",
    "request",
    "schema",
    "server",
    "session",
    "sign",
    "telemetry",
    "trusted_file",
    "upstream",
    "visible",
];

/// Returns what is wrong with `level`, `target=level` or `target`.
fn mistake(directive: &str) -> Option<Mistake<'_>> {
    let (target, level) = match directive.split_once('=') {
        Some(("", level)) => return Some(Mistake::Level(level)),
        Some((target, level)) => (target, Some(level)),
        // A target of countersign has all its lines.
        None if directive.starts_with(COUNTERSIGN) => (directive, None),
        None => ("", Some(directive)),
    };
    match level {
        Some(level) if !is_level(level) => Some(Mistake::Level(level)),
        _ if target.contains(['[', '{', '"', ' ']) => Some(Mistake::Syntax),
        _ if target.is_empty() || is_target(target) => None,
        _ => Some(Mistake::Target(target)),
    }
}

fn is_level(text: &str) -> bool {
    let is_number = matches!(text.as_bytes(), [b'0'..=b'5']);
    is_number || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text))
}

fn is_target(target: &str) -> bool {
    match target.split_once("::") {
        Some((COUNTERSIGN, part)) => PARTS.contains(&part),
        Some((other, _)) => other != COUNTERSIGN && CRATES.contains(&other),
        None => CRATES.contains(&target),
    }
}

fn nearest_level(level: &str) -> Option<&'static str> {
    let other = OTHER_LEVELS
        .iter()
        .find(|(other, _)| level.eq_ignore_ascii_case(other));
    let near = other.map(|(_, meant)| *meant);
    near.or_else(|| nearest(level, LEVELS).first().copied())
}

fn nearest_target(target: &str) -> Option<String> {
    let (name, part) = match target.split_once("::") {
        // A part has no smaller ones.
        Some((name, path)) => (name, path.split("::").next()),
        None => (target, None),
    };
    let name = *nearest(name, CRATES).first()?;
    match part.filter(|_| name == COUNTERSIGN) {
        None => Some(name.to_owned()),
        Some(part) => {
            let part = nearest(part, PARTS).first().copied()?;
            Some(format!("{name}::{part}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = include_str!("../../../Cargo.lock");
    const LIB: &str = include_str!("../../lib.rs");

    #[test]
    fn every_crate_that_logs_is_a_target() {
        let packages = LOCK.split("[[package]]").skip(1);
        let logging = packages.filter(|package| {
            let mut lines = package.lines().map(str::trim);
            lines.any(|line| {
                ["\"tracing", "\"log"].iter().any(|name| {
                    line.strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(['"', ' ']))
                })
            })
        });
        let names: Vec<String> = logging
            .filter_map(|package| package.split('"').nth(1))
            .map(|name| name.replace('-', "_"))
            .collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(is_target(&name), "{name}");
        }
    }

    #[test]
    fn every_module_is_a_target() {
        let modules = LIB.lines().filter_map(|line| {
            let name = line.strip_prefix("pub mod ")?;
            name.strip_suffix(';')
        });
        let mut parts: Vec<&str> = modules.chain(["request"]).collect();
        parts.sort_unstable();
        assert_eq!(parts, PARTS);
    }
}
