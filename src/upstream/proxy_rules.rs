//! The proxy that the environment names, and the hosts that are reached without it.
//!
//! The variables are read as curl and botocore read them. Where those differ about a host in
//! `NO_PROXY`, an entry counts that either of them accepts.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::Address;
use super::endpoint::port;

/// The rules in `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, read once.
#[derive(Clone, Debug)]
pub struct ProxyRules(Arc<Rules>);

#[derive(Debug, Default)]
struct Rules {
    proxy: Option<ProxyUrl>,
    no_proxy: String,
}

/// The URL of a proxy, which may contain a password.
struct ProxyUrl {
    variable: &'static str,
    url: String,
}

/// In the order of curl: lower case first, and the scheme's own proxy before the general one.
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

// === impl ProxyRules ===

impl ProxyRules {
    /// Reads the rules from the environment.
    pub fn from_env() -> Self {
        Self::from_variables(variable)
    }

    /// Reads the rules from variables. An empty one counts as not set.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let mut names = names.iter();
            names.find_map(|name| {
                let value = get(name)?.trim().to_owned();
                (!value.is_empty()).then_some((*name, value))
            })
        };
        Self(Arc::new(Rules {
            proxy: first(&PROXIES).map(|(variable, url)| ProxyUrl { variable, url }),
            no_proxy: first(&EXCEPTIONS).map_or(String::new(), |(_, list)| list),
        }))
    }

    /// Returns rules that never use a proxy.
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// Returns the proxy for `address`, if the rules name one.
    ///
    /// # Errors
    /// When it is not an `http://` proxy. The message does not contain its password.
    pub fn proxy_for(&self, address: &Address) -> io::Result<Option<Intercept>> {
        let Rules { proxy, no_proxy } = self.0.as_ref();
        let Some(proxy) = proxy.as_ref().filter(|_| !is_excepted(no_proxy, address)) else {
            return Ok(None);
        };
        let variable = proxy.variable;
        let intercept = proxy.parse().ok_or_else(|| {
            invalid(format!(
                "{variable} is not the URL of a proxy: set it to one such as http://proxy.example.com:3128, \
                 with %2F for `/`, %3F for `?` and %23 for `#` in a password"
            ))
        })?;
        match intercept.uri().scheme_str() {
            Some("http") => Ok(Some(intercept)),
            scheme => Err(invalid(format!(
                "{variable} names a {}:// proxy, but only http:// proxies are supported: \
                 set one, or list {} in NO_PROXY",
                scheme.unwrap_or_default(),
                address.host
            ))),
        }
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[expect(
    clippy::disallowed_methods,
    reason = "these variables belong to all programs that use a proxy"
)]
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    Some(value.to_string_lossy().into_owned())
}

/// Returns the URL of the root of an address, without the trailing dot of its host.
pub(super) fn uri(address: &Address) -> Option<Uri> {
    let Address { host, port } = address;
    Uri::builder()
        .scheme("https")
        .authority(format!("{}:{port}", host.trim_end_matches('.')))
        .path_and_query("/")
        .build()
        .ok()
}

// === impl ProxyUrl ===

impl ProxyUrl {
    fn parse(&self) -> Option<Intercept> {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("http", &self.url));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        // What looks like a path is the rest of a password.
        if path.contains('@') {
            return None;
        }
        // A password may contain `@`.
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (format!("{}@", escape(user)), host),
            None => (String::new(), authority),
        };
        let is_valid = |host: &str| {
            let authority: http::uri::Authority = host.parse().ok()?;
            let has_host = !authority.host().is_empty();
            (has_host && port(&authority).is_some()).then_some(())
        };
        is_valid(host)?;
        let url = format!("{scheme}://{user}{host}");
        let matcher = Matcher::builder().https(url).build();
        matcher.intercept(&Uri::from_static("https://aws.amazon.com/"))
    }
}

/// The URL may contain a password.
impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyUrl")
            .field("variable", &self.variable)
            .finish_non_exhaustive()
    }
}

/// Escapes what a user and a password may contain, but not in a URL. `%` stays, because it begins
/// what is already escaped.
fn escape(user: &str) -> String {
    let mut out = String::new();
    for byte in user.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~%:!$&'()*+,;=".contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Returns whether an address is reached without the proxy.
fn is_excepted(no_proxy: &str, address: &Address) -> bool {
    let is_separator = |c: char| c == ',' || c.is_whitespace();
    let mut entries = no_proxy.split(is_separator);
    // `*` counts only if it is the whole list.
    no_proxy == "*" || entries.any(|entry| entry != "*" && covers(entry, address))
}

fn covers(entry: &str, address: &Address) -> bool {
    let (host, port) = split(entry);
    if host.is_empty() || port.is_some_and(|port| port != address.port) {
        return false;
    }
    let Some(uri) = uri(address) else {
        return false;
    };
    let matcher = Matcher::builder().https("http://proxy").no(host).build();
    matcher.intercept(&uri).is_none()
}

/// Splits an entry of `NO_PROXY` into its host, without brackets and trailing dot, and its port.
fn split(entry: &str) -> (&str, Option<u16>) {
    let (host, port) = match entry.rsplit_once(':') {
        // The colon may belong to an IPv6 address or network.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        Some(_) | None => (entry, None),
    };
    let literal = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|literal| literal.parse::<IpAddr>().is_ok());
    (literal.unwrap_or(host).trim_end_matches('.'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(variables: &[(&str, &str)]) -> ProxyRules {
        ProxyRules::from_variables(|name| {
            let mut variables = variables.iter();
            let found = variables.find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// `user:password@host` of the proxy, `direct`, or the error.
    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &str) {
        use base64::Engine as _;
        let address = Address::parse("api.example.com").unwrap();
        let shown = match rules(variables).proxy_for(&address) {
            Ok(None) => "direct".to_owned(),
            Ok(Some(proxy)) => {
                let user = proxy.basic_auth().map(|auth| {
                    let auth = auth.to_str().unwrap().strip_prefix("Basic ").unwrap();
                    let auth = base64::engine::general_purpose::STANDARD.decode(auth);
                    format!("{}@", String::from_utf8(auth.unwrap()).unwrap())
                });
                format!("{}{}", user.unwrap_or_default(), proxy.uri())
            }
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(expected), "{variables:?}: {shown}");
        assert!(!shown.contains("s3cret") || shown.contains('@'), "{shown}");
    }

    #[test]
    fn proxy_urls_are_read_or_refused() {
        let https = |url| [("HTTPS_PROXY", url)];
        check(&[], "direct");
        check(&https("http://proxy:3128"), "http://proxy:3128/");
        check(&https("proxy:3128"), "http://proxy:3128/");
        check(&https(" http://proxy:3128/ "), "http://proxy:3128/");
        check(&https("http://[::1]:3128"), "http://[::1]:3128/");
        check(
            &https("http://u:p@ss@proxy:3128"),
            "u:p@ss@http://proxy:3128/",
        );
        check(
            &https("http://u:p%40ss@proxy:3128"),
            "u:p@ss@http://proxy:3128/",
        );
        check(&https("u:a b\"é@proxy:3128"), "u:a b\"é@http://proxy:3128/");
        check(&https("http://u:100%@proxy"), "u:100%@http://proxy/");
        for url in [
            "http://",
            "http://:3128",
            "http://proxy:99999",
            "http://proxy:port",
            "http://pro xy:3128",
            "http://u:s3cret/x@proxy:3128",
            "http://u:12/s3cret@proxy:3128",
            "http://u:s3cret#@proxy:3128",
            "ftp://proxy:3128",
        ] {
            check(&https(url), "HTTPS_PROXY is not the URL of a proxy");
        }
        check(&https("socks5://u:s3cret@proxy"), "names a socks5:// proxy");
        check(&https("https://proxy"), "names a https:// proxy");
    }

    #[test]
    fn lower_case_and_the_own_variable_come_first_unless_they_are_empty() {
        let all = [
            ("https_proxy", "http://a"),
            ("HTTPS_PROXY", "http://b"),
            ("all_proxy", "http://c"),
            ("ALL_PROXY", "http://d"),
        ];
        for (number, (_, expected)) in all.iter().enumerate() {
            check(&all[number..], expected);
            let mut emptied = all;
            for variable in &mut emptied[..number] {
                variable.1 = "";
            }
            check(&emptied, expected);
        }
        let proxy = ("HTTPS_PROXY", "http://b");
        check(&[proxy, ("no_proxy", "x"), ("NO_PROXY", "*")], "http://b/");
        check(&[proxy, ("no_proxy", ""), ("NO_PROXY", "*")], "direct");
        check(&[proxy, ("no_proxy", "*"), ("NO_PROXY", "x")], "direct");
        // A proxy that is not used does not matter.
        check(&[("HTTPS_PROXY", "ftp://x"), ("NO_PROXY", "*")], "direct");
    }

    #[test]
    fn debug_output_contains_no_password() {
        let shown = format!("{:?}", rules(&[("HTTPS_PROXY", "http://u:s3cret@proxy")]));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
