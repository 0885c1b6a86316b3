//! How single values are written.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countersign_protocol::realtime::placement::OnLoss;

use crate::guard::{self, FieldPattern, HostName, Navigations, Origin, ResponseHeaders};
use crate::proxy::{LEAST_MEMORY, MemoryLimit};
use crate::server::Listen;
use crate::sign::{PathHandling, Payload, TokenMode};
use crate::telemetry::{LogFormat, parse_filter};
use crate::upstream::Address;

/// `guard.non_loopback`: addresses that others than this machine can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NonLoopback {
    Refuse,
    /// Allowed where clients show a token or a certificate.
    Token,
    Open,
}

/// `guard.forwarded`: what becomes of the headers of other proxies, or of requests with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    Strip,
    Refuse,
    Pass,
}

/// Clocks panic when they are asked for a time too far away.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) fn text(value: &str) -> Result<String, String> {
    match value.trim() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn switch(value: &str) -> Result<bool, String> {
    let switch = value.parse();
    switch.map_err(|_| format!("{value:?} is neither true nor false"))
}

/// A file that is there.
pub(super) fn file(path: &str) -> Result<PathBuf, String> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(PathBuf::from(path)),
        Err(error) => Err(format!("{path} cannot be read: {error}")),
    }
}

/// `"250ms"`, `"5s"`, `"2m"`
pub(super) fn duration(value: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(value)
        .map_err(|_| format!("{value:?} is no duration, such as \"250ms\", \"5s\" or \"2m\""))?;
    if duration.is_zero() {
        return Err("must be more than zero".to_owned());
    }
    if duration > LONGEST {
        return Err("must be at most 365 days".to_owned());
    }
    Ok(duration)
}

/// A duration that may be zero: `"0s"`
pub(super) fn duration_or_none(value: &str) -> Result<Duration, String> {
    match humantime::parse_duration(value) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        Ok(_) | Err(_) => duration(value),
    }
}

/// `"512"`, `"64KiB"`, `"1MiB"`, `"1MB"`
pub(super) fn size(value: &str) -> Result<usize, String> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match value[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "kib" => Some(1 << 10),
        "mb" => Some(1_000_000),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let number: Option<usize> = digits.trim().parse().ok();
    number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .filter(|size| *size > 0)
        .ok_or_else(|| format!("{value:?} is no size, such as \"64KiB\" or \"1MiB\""))
}

/// `"auto"`, `"off"`, or a size with which something can be served.
pub(super) fn memory(value: &str) -> Result<MemoryLimit, String> {
    match (value, size(value)) {
        ("auto", _) => Ok(MemoryLimit::Auto),
        ("off", _) => Ok(MemoryLimit::Off),
        (_, Ok(limit)) if (limit as u64) < LEAST_MEMORY => Err("must be at least 32MiB".to_owned()),
        (_, Ok(limit)) => Ok(MemoryLimit::Bytes(limit as u64)),
        (_, Err(_)) => Err(format!(
            "{value:?} is neither \"auto\", \"off\" nor a size, such as \"256MiB\""
        )),
    }
}

pub(super) fn count(value: &str) -> Result<usize, String> {
    let count = value.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("{value:?} is no whole number above zero"))
}

pub(super) fn number(value: &str) -> Result<usize, String> {
    let number = value.parse();
    number.map_err(|_| format!("{value:?} is no whole number"))
}

/// `"127.0.0.1:4100"`, `"[::1]:4100"`, `"localhost:4100"`, `"unix:/run/countersign.sock"`
pub(super) fn listen(value: &str) -> Result<Listen, String> {
    match value.strip_prefix("unix:") {
        Some("") => return Err(format!("{value:?} names no file, as unix:/run/x.sock does")),
        Some(path) => return Ok(Listen::Unix(PathBuf::from(path))),
        None => {}
    }
    let local = value.replacen("localhost:", "127.0.0.1:", 1);
    let address: SocketAddr = local
        .parse()
        .map_err(|_| format!("{value:?} is no IP address with a port, such as 127.0.0.1:4100"))?;
    Ok(Listen::Tcp(address))
}

/// `"off"`, or an IP address with a port.
pub(super) fn admin(value: &str) -> Result<Option<SocketAddr>, String> {
    if value == "off" {
        return Ok(None);
    }
    let local = value.replacen("localhost:", "127.0.0.1:", 1);
    local.parse().map(Some).map_err(|_| {
        format!(
            "{value:?} is neither an IP address with a port, such as 127.0.0.1:4101, nor \"off\""
        )
    })
}

pub(super) fn non_loopback(value: &str) -> Result<NonLoopback, String> {
    match value {
        "refuse" => Ok(NonLoopback::Refuse),
        "token" => Ok(NonLoopback::Token),
        "open" => Ok(NonLoopback::Open),
        _ => Err(format!(
            "{value:?} is neither \"refuse\", \"token\" nor \"open\""
        )),
    }
}

pub(super) fn forwarded(value: &str) -> Result<Forwarded, String> {
    match value {
        "strip" => Ok(Forwarded::Strip),
        "refuse" => Ok(Forwarded::Refuse),
        "pass" => Ok(Forwarded::Pass),
        _ => Err(format!(
            "{value:?} is neither \"strip\", \"refuse\" nor \"pass\""
        )),
    }
}

/// A user's number.
pub(super) fn uid(value: &str) -> Result<u32, String> {
    let uid = value.parse();
    uid.map_err(|_| format!("{value:?} is no user's number, as `id -u` prints it"))
}

/// `"10.0.0.7:443"`, `"vpce-1.example.com:443"`; the port may be left out
pub(super) fn address(value: &str) -> Result<Address, String> {
    Address::parse(value).ok_or_else(|| format!("{value:?} is no address, such as 10.0.0.7:443"))
}

pub(super) fn host_name(value: &str) -> Result<HostName, String> {
    HostName::parse(value).ok_or_else(|| format!("{value:?} is no host name without a port"))
}

pub(super) fn origin(value: &str) -> Result<Origin, String> {
    Origin::parse(value)
        .ok_or_else(|| format!("{value:?} is no origin, such as https://app.example.com"))
}

pub(super) fn header_name(value: &str) -> Result<http::HeaderName, String> {
    let name = value.to_ascii_lowercase().parse();
    name.map_err(|_| format!("{value:?} is no header name"))
}

/// The name of an operation.
pub(super) fn graphql_name(value: &str) -> Result<String, String> {
    match guard::is_name(value) {
        true => Ok(value.to_owned()),
        false => Err(format!("{value:?} is no name of GraphQL, such as GetPost")),
    }
}

/// `"Query.getPost"`, `"Mutation.*"`
pub(super) fn field_pattern(value: &str) -> Result<FieldPattern, String> {
    FieldPattern::parse(value).ok_or_else(|| {
        format!(
            "{value:?} is no root field, such as Query.getPost, Mutation.* or Subscription.onPost"
        )
    })
}

/// 64 hexadecimal digits
pub(super) fn sha256(value: &str) -> Result<[u8; 32], String> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = value.as_bytes().chunks_exact(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect();
    bytes
        .filter(|_| value.len() == 64)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{value:?} is no SHA-256, which has 64 hexadecimal digits"))
}

/// `"/graphql"`
pub(super) fn path(value: &str) -> Result<String, String> {
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
    if !value.starts_with('/') || !value.bytes().all(is_plain) || value.contains("//") {
        return Err(format!("{value:?} is no plain path, such as /graphql"));
    }
    if value
        .split('/')
        .any(|segment| matches!(segment, "." | ".."))
    {
        return Err(format!(
            "{value:?} has a '.' or '..' segment: clients resolve them before they send a path"
        ));
    }
    Ok(value.trim_end_matches('/').to_owned())
}

pub(super) fn role(value: &str) -> Result<String, String> {
    if value.starts_with("arn:") && value.contains(":role/") {
        return Ok(value.to_owned());
    }
    Err(format!(
        "{value:?} is no role ARN, such as arn:aws:iam::123456789012:role/NAME"
    ))
}

pub(super) fn on_loss(value: &str) -> Result<OnLoss, String> {
    match value {
        "close" => Ok(OnLoss::Close),
        "resume" => Ok(OnLoss::Resume),
        _ => Err(format!("{value:?} is neither \"close\" nor \"resume\"")),
    }
}

/// `auth`: whether the signature goes into the query.
pub(super) fn is_presigned(value: &str) -> Result<bool, String> {
    match value {
        "headers" => Ok(false),
        "presign" => Ok(true),
        _ => Err(format!("{value:?} is neither \"headers\" nor \"presign\"")),
    }
}

/// From 1 s to 7 days: what SigV4 allows.
pub(super) fn presign_expires(value: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    match duration(value)? {
        expires if expires > LONGEST => Err("must be at most 7 days".to_owned()),
        expires if expires.subsec_nanos() > 0 => Err("must be whole seconds".to_owned()),
        expires => Ok(expires),
    }
}

pub(super) fn session_token(value: &str) -> Result<TokenMode, String> {
    match value {
        "signed" => Ok(TokenMode::Signed),
        "appended" => Ok(TokenMode::Appended),
        _ => Err(format!("{value:?} is neither \"signed\" nor \"appended\"")),
    }
}

/// `"*"`, or regions: `"eu-west-1,us-east-1"`
pub(super) fn region_set(value: &str) -> Result<String, String> {
    let is_region = |text: &str| {
        let is_plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*');
        !text.is_empty() && text.bytes().all(is_plain)
    };
    match value.split(',').all(is_region) {
        true => Ok(value.to_owned()),
        false => Err(format!(
            "{value:?} is neither \"*\" nor regions with commas between, such as \"eu-west-1,us-east-1\""
        )),
    }
}

pub(super) fn payload(value: &str) -> Result<Payload, String> {
    match value {
        "hashed" => Ok(Payload::Hashed),
        "hashed-in-header" => Ok(Payload::HashedInHeader),
        "unsigned" => Ok(Payload::Unsigned),
        _ => Err(format!(
            "{value:?} is neither \"hashed\", \"hashed-in-header\" nor \"unsigned\""
        )),
    }
}

/// Whether headers with other characters than letters, digits and `-` in their names are forwarded.
pub(super) fn keeps_odd_headers(value: &str) -> Result<bool, String> {
    match value {
        "drop" => Ok(false),
        "keep" => Ok(true),
        _ => Err(format!("{value:?} is neither \"drop\" nor \"keep\"")),
    }
}

pub(super) fn odd_paths(value: &str) -> Result<PathHandling, String> {
    match value {
        "refuse" => Ok(PathHandling::Refuse),
        "collapse" => Ok(PathHandling::Collapse),
        "keep" => Ok(PathHandling::Keep),
        _ => Err(format!(
            "{value:?} is neither \"refuse\", \"collapse\" nor \"keep\""
        )),
    }
}

pub(super) fn navigations(value: &str) -> Result<Navigations, String> {
    match value {
        "refuse" => Ok(Navigations::Refuse),
        "allow" => Ok(Navigations::Allow),
        _ => Err(format!("{value:?} is neither \"refuse\" nor \"allow\"")),
    }
}

pub(super) fn response_headers(value: &str) -> Result<ResponseHeaders, String> {
    match value {
        "restrict" => Ok(ResponseHeaders::Restrict),
        "pass" => Ok(ResponseHeaders::Pass),
        _ => Err(format!("{value:?} is neither \"restrict\" nor \"pass\"")),
    }
}

pub(super) fn log_format(value: &str) -> Result<LogFormat, String> {
    match value {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err(format!("{value:?} is neither \"text\" nor \"json\"")),
    }
}

pub(super) fn log_filter(value: &str) -> Result<String, String> {
    match parse_filter(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(format!("{value:?} is no log filter: {error}")),
    }
}
