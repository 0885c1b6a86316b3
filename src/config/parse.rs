//! Parses single values.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};

use super::opentelemetry::PATH;
use crate::guard::{self, AllowedOrigin, FieldPattern, HostName};
use crate::home;
use crate::memory::MemoryLimit;
use crate::server::Listen;
use crate::telemetry::parse_filter;
use crate::upstream::Address;

pub(super) fn text(value: &str) -> Result<String, String> {
    match value.trim() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn switch(value: &str) -> Result<bool, String> {
    let switch = value.parse();
    switch.map_err(|_| format!("invalid value {value:?}: expected true or false"))
}

pub(super) fn count(value: &str) -> Result<usize, String> {
    let count = value.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("invalid number {value:?}: expected a whole number above zero"))
}

pub(super) fn number(value: &str) -> Result<usize, String> {
    let number = value.parse();
    number.map_err(|_| format!("invalid number {value:?}: expected a whole number"))
}

pub(super) fn ratio(value: &str) -> Result<f64, String> {
    let ratio: Option<f64> = value.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| format!("invalid number {value:?}: expected a number from 0 to 1"))
}

/// `"250ms"`, `"5s"`, `"2m"`
pub(super) fn duration(value: &str) -> Result<Duration, String> {
    humantime::parse_duration(value).map_err(|_| {
        let is_number = value.parse::<f64>().is_ok();
        let advice = if is_number {
            "add a unit, such as 5s"
        } else {
            "expected a number with a unit, such as 250ms, 5s or 2m"
        };
        format!("invalid duration {value:?}: {advice}")
    })
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
        .ok_or_else(|| {
            format!("invalid size {value:?}: expected a number above zero, or one with a unit, such as 64KiB or 1MiB")
        })
}

/// `"auto"`, `"off"`, or a size.
pub(super) fn memory(value: &str) -> Result<MemoryLimit, String> {
    match (value, size(value)) {
        ("auto", _) => Ok(MemoryLimit::Auto),
        ("off", _) => Ok(MemoryLimit::Off),
        (_, Ok(limit)) => Ok(MemoryLimit::Bytes(limit as u64)),
        (_, Err(_)) => Err(format!(
            "invalid value {value:?}: expected \"auto\", \"off\" or a size, such as \"256MiB\""
        )),
    }
}

/// Returns the path of a file that exists.
pub(super) fn file(path: &str) -> Result<PathBuf, String> {
    let expanded = home::expand(path);
    match std::fs::metadata(&expanded) {
        Ok(_) => Ok(expanded),
        Err(error) => Err(format!("{path} cannot be read: {error}")),
    }
}

pub(super) fn path_of_file(value: &str) -> Result<PathBuf, String> {
    text(value).map(home::expand)
}

/// `"127.0.0.1:4100"`, `"[::1]:4100"`, `"localhost:4100"`, `"4100"`, `":4100"`,
/// `"unix:/run/countersign.sock"`
pub(super) fn listen(value: &str) -> Result<Vec<Listen>, String> {
    match value.strip_prefix("unix:") {
        Some("") => {
            return Err(format!(
                "invalid address {value:?}: add the path of the socket, such as unix:/run/x.sock"
            ));
        }
        Some(path) => return Ok(vec![Listen::Unix(home::expand(path))]),
        None => {}
    }
    if let Some(port) = port(value) {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        // Two free ports would differ.
        let v6 = (port != 0).then_some(v6);
        return Ok([Some(v4), v6]
            .into_iter()
            .flatten()
            .map(Listen::Tcp)
            .collect());
    }
    let local = value.replacen("localhost:", "127.0.0.1:", 1);
    let address: SocketAddr = local
        .parse()
        .map_err(|_| format!("invalid address {value:?}: expected a port or an IP address with a port, such as 4100 or 127.0.0.1:4100, or unix:PATH"))?;
    Ok(vec![Listen::Tcp(address)])
}

/// Returns the port of `4100` or `:4100`.
fn port(value: &str) -> Option<u16> {
    let digits = value.strip_prefix(':').unwrap_or(value);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// `"off"`, or an IP address with a port.
pub(super) fn admin(value: &str) -> Result<Option<SocketAddr>, String> {
    if value == "off" {
        return Ok(None);
    }
    if let Some(port) = port(value) {
        return Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
    let local = value.replacen("localhost:", "127.0.0.1:", 1);
    local.parse().map(Some).map_err(|_| {
        format!(
            "invalid address {value:?}: expected an IP address with a port, such as 127.0.0.1:4101, or \"off\""
        )
    })
}

pub(super) fn uid(value: &str) -> Result<u32, String> {
    let uid = value.parse();
    uid.map_err(|_| format!("invalid user ID {value:?}: expected a number, as `id -u` prints it"))
}

/// `"10.0.0.7:443"`, `"vpce-1.example.com:443"`; the port is optional
pub(super) fn address(value: &str) -> Result<Address, String> {
    Address::parse(value).ok_or_else(|| {
        format!(
            "invalid address {value:?}: expected a host with an optional port, such as 10.0.0.7:443"
        )
    })
}

pub(super) fn host_name(value: &str) -> Result<HostName, String> {
    HostName::parse(value).ok_or_else(|| {
        format!("invalid host name {value:?}: expected a name without scheme, port or path")
    })
}

/// `"https://app.example.com"`, `"localhost"`, `"chrome-extension://ID"`
pub(super) fn origin(value: &str) -> Result<AllowedOrigin, String> {
    AllowedOrigin::parse(value).ok_or_else(|| {
        let advice = match value {
            "*" => "every web page could act with the IAM identity. Name the origins, or use localhost for the pages of this machine",
            "null" => "every local file and every sandboxed page has it. Serve the page from a web server, such as http://localhost:8000",
            _ => "expected a scheme and a host without a path, such as https://app.example.com, or localhost for the pages of this machine",
        };
        format!("invalid origin {value:?}: {advice}")
    })
}

pub(super) fn header_name(value: &str) -> Result<HeaderName, String> {
    let name = value.to_ascii_lowercase().parse();
    name.map_err(|_| format!("invalid header name {value:?}"))
}

pub(super) fn collector(value: &str) -> Result<Option<Uri>, String> {
    if value == "off" {
        return Ok(None);
    }
    if value.contains(['@', '?']) {
        let message = "must not contain a password or a query: put keys into `headers_file`";
        return Err(message.to_owned());
    }
    let bad = || {
        format!(
            "invalid URL {value:?}: expected a collector's URL, such as http://127.0.0.1:4318, or \"off\""
        )
    };
    let uri: Uri = value.parse().map_err(|_| bad())?;
    match (uri.scheme_str(), uri.path()) {
        (Some("http" | "https"), "/") => {
            let with_path = format!("{}{PATH}", value.trim_end_matches('/'));
            with_path.parse().map(Some).map_err(|_| bad())
        }
        (Some("http" | "https"), _) => Ok(Some(uri)),
        _ => Err(bad()),
    }
}

/// `"/graphql"`
pub(super) fn path(value: &str) -> Result<String, String> {
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
    if !value.starts_with('/') || !value.bytes().all(is_plain) || value.contains("//") {
        return Err(format!(
            "invalid path {value:?}: expected a path such as /graphql"
        ));
    }
    if value
        .split('/')
        .any(|segment| matches!(segment, "." | ".."))
    {
        return Err(format!(
            "invalid path {value:?}: clients resolve `.` and `..` before they send a request"
        ));
    }
    Ok(value.trim_end_matches('/').to_owned())
}

pub(super) fn role(value: &str) -> Result<String, String> {
    if value.starts_with("arn:") && value.contains(":role/") {
        return Ok(value.to_owned());
    }
    Err(format!(
        "invalid role ARN {value:?}: expected an ARN such as arn:aws:iam::123456789012:role/NAME"
    ))
}

/// `"*"`, or regions: `"eu-west-1,us-east-1"`
pub(super) fn region_set(value: &str) -> Result<String, String> {
    let is_region = |text: &str| {
        let is_plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*');
        !text.is_empty() && text.bytes().all(is_plain)
    };
    if !value.split(',').all(is_region) {
        return Err(format!(
            "invalid region set {value:?}: expected \"*\", or regions separated by commas, such as \"eu-west-1,us-east-1\""
        ));
    }
    Ok(value.to_owned())
}

/// The name of an operation.
pub(super) fn graphql_name(value: &str) -> Result<String, String> {
    if !guard::is_name(value) {
        return Err(format!(
            "invalid GraphQL name {value:?}: expected a name such as GetPost"
        ));
    }
    Ok(value.to_owned())
}

/// `"Query.getPost"`, `"Mutation.*"`
pub(super) fn field_pattern(value: &str) -> Result<FieldPattern, String> {
    FieldPattern::parse(value).ok_or_else(|| {
        format!(
            "invalid root field {value:?}: expected a type and a field, such as Query.getPost, Mutation.* or Subscription.onPost"
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
        .ok_or_else(|| format!("invalid SHA-256 {value:?}: expected 64 hexadecimal digits"))
}

pub(super) fn log_filter(value: &str) -> Result<String, String> {
    match parse_filter(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(format!("invalid log filter {value:?}: {error}")),
    }
}
