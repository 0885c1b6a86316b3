//! Splits URLs without changing them.

/// Returns the path with the query, and the host with its port, of a URL.
pub(super) fn of_url(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let is_known = matches!(scheme, "http" | "https" | "ws" | "wss");
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let target = target.split('#').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let default_port = if matches!(scheme, "https" | "wss") {
        ":443"
    } else {
        ":80"
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    let target = match target {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        target => target.to_owned(),
    };
    (is_known && !host.is_empty()).then(|| (target, host.to_owned()))
}
