//! May this client talk to us? Asked of every request before anything else happens.
//!
//! Whoever reaches the port acts with the IAM identity, and any web page in the user's browser
//! can reach it. So `Host` must be a loopback name, an allowed name or the address of the socket
//! (a rebound name is none of these), and a browser's request must come from an allowed origin.
//! The guard only reads: it forwards nothing and signs nothing.

mod cors;
mod host;

use std::net::IpAddr;

use http::Request;
use http::header::{HOST, HeaderMap, ORIGIN};

pub use cors::Cors;
pub use host::{HostName, Origin, Scheme};

/// `[guard]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardConfig {
    /// Names that may stand in `Host` beside the loopback names.
    pub allow_hosts: Vec<HostName>,
    /// Origins whose pages may talk to us.
    pub allow_origins: Vec<Origin>,
}

/// Decides who may talk to us.
#[derive(Clone, Debug)]
pub struct Guard {
    config: GuardConfig,
}

/// Why a request is refused: a rule, and the setting that would allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request must have exactly one Host header, a host name with an optional port")]
    HostMalformed,
    #[error(
        "Host {0:?} is not allowed: a web page could have rebound its name to this address. Allow it with guard.allow_hosts (--allow-host)"
    )]
    HostNotAllowed(String),
    #[error(
        "Origin {0:?} is not allowed: its pages could act with the IAM identity. Allow it with guard.allow_origins (--allow-origin)"
    )]
    OriginNotAllowed(String),
    #[error(
        "a browser sent this request for another site (Sec-Fetch-Site: {0}). Allow the site's origin with guard.allow_origins (--allow-origin)"
    )]
    CrossSite(String),
    #[error("the request target must be a path")]
    TargetForm,
}

impl Guard {
    pub fn new(config: GuardConfig) -> Self {
        Self { config }
    }

    /// Judges a request's head; `local` is the address that its socket was accepted on, `scheme`
    /// what is spoken on it.
    ///
    /// # Errors
    /// The [`Refusal`] of the first rule that is broken.
    pub fn check<B>(
        &self,
        request: &Request<B>,
        local: IpAddr,
        scheme: Scheme,
    ) -> Result<Cors, Refusal> {
        let uri = request.uri();
        if uri.authority().is_some() || uri.scheme().is_some() || !uri.path().starts_with('/') {
            return Err(Refusal::TargetForm);
        }
        let headers = request.headers();
        let host = self.check_host(headers, local)?;
        match headers.get(ORIGIN) {
            Some(_) => self.check_origin(headers, &host, scheme),
            None => check_fetch_site(headers).map(|()| Cors::NotAsked),
        }
    }

    fn check_host(&self, headers: &HeaderMap, local: IpAddr) -> Result<String, Refusal> {
        let mut values = headers.get_all(HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::HostMalformed);
        };
        let text = value.to_str().map_err(|_| Refusal::HostMalformed)?;
        let host = HostName::of_header(text).ok_or(Refusal::HostMalformed)?;
        let allowed = host.is_loopback_name()
            || host.ip().is_some_and(|ip| ip == local.to_canonical())
            || self.config.allow_hosts.contains(&host);
        if allowed {
            Ok(text.to_ascii_lowercase())
        } else {
            Err(Refusal::HostNotAllowed(text.to_owned()))
        }
    }

    fn check_origin(
        &self,
        headers: &HeaderMap,
        host: &str,
        scheme: Scheme,
    ) -> Result<Cors, Refusal> {
        let mut values = headers.get_all(ORIGIN).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::OriginNotAllowed("several".to_owned()));
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        let refused = || Refusal::OriginNotAllowed(text.clone().into_owned());
        let origin = Origin::parse(&text).ok_or_else(refused)?;
        if self.config.allow_origins.contains(&origin) {
            return Ok(Cors::Allowed(value.clone()));
        }
        // A page that we served ourselves: it comes from the Host that was just judged.
        if origin.is_served_at(host, scheme) {
            return Ok(Cors::SameOrigin);
        }
        Err(refused())
    }
}

/// Browsers leave `Origin` out of some requests, such as an image's, but tell the relation.
fn check_fetch_site(headers: &HeaderMap) -> Result<(), Refusal> {
    for value in headers.get_all("sec-fetch-site") {
        let text = String::from_utf8_lossy(value.as_bytes());
        if !matches!(text.as_ref(), "none" | "same-origin") {
            return Err(Refusal::CrossSite(text.into_owned()));
        }
    }
    Ok(())
}

impl Refusal {
    /// A stable name, for errors, logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::HostMalformed => "HOST_MALFORMED",
            Self::HostNotAllowed(_) => "HOST_NOT_ALLOWED",
            Self::OriginNotAllowed(_) => "ORIGIN_NOT_ALLOWED",
            Self::CrossSite(_) => "CROSS_SITE",
            Self::TargetForm => "TARGET_FORM",
        }
    }

    /// Whether the request is malformed (400) or forbidden (403).
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::HostMalformed | Self::TargetForm => true,
            Self::HostNotAllowed(_) | Self::OriginNotAllowed(_) | Self::CrossSite(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Result<Cors, &str>) {
        check_on(Scheme::Http, headers, expected);
    }

    #[track_caller]
    fn check_on(scheme: Scheme, headers: &[(&str, &str)], expected: Result<Cors, &str>) {
        let guard = Guard::new(GuardConfig {
            allow_hosts: vec![HostName::parse("proxy.local").unwrap()],
            allow_origins: vec![Origin::parse("https://app.example.com").unwrap()],
        });
        let mut request = Request::new(());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let verdict = guard.check(&request, "127.0.0.1".parse().unwrap(), scheme);
        assert_eq!(
            verdict.map_err(|refusal| refusal.code()),
            expected,
            "{headers:?}"
        );
    }

    #[test]
    fn hosts() {
        for host in [
            "localhost",
            "LocalHost:4100",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]:9",
            "proxy.local:80",
        ] {
            check(&[("host", host)], Ok(Cors::NotAsked));
        }
        for host in [
            "evil.com",
            "127.0.0.2",
            "0.0.0.0",
            "localhost.evil.com",
            "localhost.",
            "xlocalhost",
            "2130706433",
            "app.localhost.com",
        ] {
            check(&[("host", host)], Err("HOST_NOT_ALLOWED"));
        }
        for host in [
            "",
            "a b",
            "u@localhost",
            "localhost/",
            "localhost,evil.com",
            "localhost:x",
            "[::1",
            "localhost:99999",
        ] {
            check(&[("host", host)], Err("HOST_MALFORMED"));
        }
        check(&[], Err("HOST_MALFORMED"));
        check(
            &[("host", "localhost"), ("host", "localhost")],
            Err("HOST_MALFORMED"),
        );
    }

    #[test]
    fn a_port_with_a_sign_was_taken_for_a_port() {
        for host in ["localhost:+80", "[::1]:+9"] {
            check(&[("host", host)], Err("HOST_MALFORMED"));
        }
        let headers = [("host", "localhost:80"), ("origin", "http://localhost:+80")];
        check(&headers, Err("ORIGIN_NOT_ALLOWED"));
    }

    #[test]
    fn origins() {
        let local = ("host", "localhost:4100");
        check(
            &[local, ("origin", "https://app.example.com")],
            Ok(Cors::Allowed("https://app.example.com".parse().unwrap())),
        );
        check(
            &[local, ("origin", "http://localhost:4100")],
            Ok(Cors::SameOrigin),
        );
        for origin in [
            "null",
            "",
            "*",
            "http://localhost:3000",
            "https://app.example.com.evil.com",
            "http://app.example.com",
            "https://app.example.com:444",
            "https://evil.com",
            "localhost:4100",
        ] {
            check(&[local, ("origin", origin)], Err("ORIGIN_NOT_ALLOWED"));
        }
        let twice = ("origin", "https://app.example.com");
        check(&[local, twice, twice], Err("ORIGIN_NOT_ALLOWED"));
    }

    #[test]
    fn origins_of_our_own_pages() {
        use Scheme::{Http, Https};
        for (scheme, host, origin) in [
            (Http, "localhost:4100", "http://LocalHost:4100"),
            (Http, "localhost:80", "http://localhost"),
            (Http, "localhost", "http://localhost:80"),
            (Https, "localhost:4100", "https://localhost:4100"),
            (Https, "localhost", "https://localhost"),
            (Https, "localhost:443", "https://localhost"),
            (Https, "[::1]", "https://[::1]:443"),
            // Both schemes share our port.
            (Https, "localhost:4100", "http://localhost:4100"),
        ] {
            let headers = [("host", host), ("origin", origin)];
            check_on(scheme, &headers, Ok(Cors::SameOrigin));
        }
    }

    /// Without a port, the pages of another local server on the other scheme's default port
    /// counted as our own.
    #[test]
    fn the_default_port_of_the_other_scheme_is_not_ours() {
        for (scheme, host, origin) in [
            (Scheme::Https, "localhost", "http://localhost"),
            (Scheme::Https, "localhost:443", "http://localhost"),
            (Scheme::Http, "localhost", "https://localhost"),
            (Scheme::Http, "localhost:4100", "http://localhost"),
            (Scheme::Https, "localhost:4100", "https://localhost"),
            (Scheme::Https, "localhost", "https://127.0.0.1"),
        ] {
            let headers = [("host", host), ("origin", origin)];
            check_on(scheme, &headers, Err("ORIGIN_NOT_ALLOWED"));
        }
    }

    #[test]
    fn browsers_without_an_origin() {
        let local = ("host", "localhost");
        check(&[local, ("sec-fetch-site", "none")], Ok(Cors::NotAsked));
        check(
            &[local, ("sec-fetch-site", "same-origin")],
            Ok(Cors::NotAsked),
        );
        for site in ["cross-site", "same-site", "", "other"] {
            check(&[local, ("sec-fetch-site", site)], Err("CROSS_SITE"));
        }
    }
}
