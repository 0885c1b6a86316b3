//! The host names in requests, with or without a port.

pub(super) fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

/// Returns the name without the port; `None` if the port is malformed.
pub(super) fn without_port(host: &str) -> Option<&str> {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at_checked(end)?;
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some(name),
        Some(port) if port.parse::<u16>().is_ok() => Some(name),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_removed() {
        for (host, name) in [
            ("localhost", Some("localhost")),
            ("localhost:1", Some("localhost")),
            ("[::1]", Some("[::1]")),
            ("[::1]:8080", Some("[::1]")),
            ("[::1]x", None),
            ("localhost:x", None),
            ("[::1", None),
        ] {
            assert_eq!(without_port(host), name, "{host}");
        }
    }
}
