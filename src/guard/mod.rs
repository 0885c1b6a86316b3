//! Access control, which is applied to every request before anything else.
//!
//! Every client that reaches the port acts with the IAM identity, and any web page in the user's
//! browser can reach the port. Therefore `Host` must be a loopback name, an allowed name or the address
//! of the socket, which excludes rebound names; a browser's request must come from an allowed origin,
//! and from a script; and if tokens are configured, a client must present one. This module only
//! inspects requests: it forwards nothing and signs nothing.

mod browser;
mod cors;
mod host;
mod origin;
mod policy;
mod refusal;
mod spelling;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
pub use browser::{
    BrowserRules, Navigations, ResponseHeaders, check_content_type, is_from_browser,
    is_opened_in_a_window, is_read,
};
pub use cors::Cors;
use countersign_protocol::graphql::shown;
use host::is_usual_host;
pub use host::{HostName, Scheme};
use http::Request;
use http::header::{
    AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER,
    SEC_WEBSOCKET_PROTOCOL,
};
pub use origin::{AllowedOrigin, Origin};
pub use policy::{
    AllowedOperations, FieldPattern, OperationDenied, OperationPolicies, OperationPolicy, is_name,
};
pub use refusal::Refusal;
pub use spelling::{
    HeaderNames, forwarded_header, has_header_prefix, is_method_override, is_odd_header,
    is_same_header,
};
pub use token::{Grant, TokenConfig, TokenError, Tokens};

/// The settings of `[guard]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// The maximum size of a request head in bytes.
    pub request_head: usize,
    /// Host names to accept in `Host`, in addition to the loopback names.
    pub allow_hosts: Vec<HostName>,
    /// Origins whose pages may send requests.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Whether to reject requests that another proxy forwarded.
    pub rejects_forwarded: bool,
    /// Whether TCP connections must present a client certificate.
    pub requires_certificate: bool,
    /// Token files. If there are any, clients must present a token from one of them.
    pub tokens: Vec<TokenConfig>,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            request_head: 32 * 1024,
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
            rejects_forwarded: false,
            requires_certificate: false,
            tokens: Vec::new(),
        }
    }
}

/// Decides which requests are accepted.
#[derive(Clone, Debug)]
pub struct Guard {
    config: GuardConfig,
    tokens: Arc<Tokens>,
}

/// The listener that accepted a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// A TCP listener, by the local address of the connection.
    Tcp(IpAddr),
    /// A unix socket. Browsers cannot reach it, so any `Host` is accepted.
    Unix,
}

/// The result of checking the token of a request.
#[derive(Clone, Debug)]
pub enum Admission {
    Granted(Grant),
    /// The `connection_init` of a WebSocket may still contain the token.
    Pending(Arc<Tokens>),
}

/// The prefix of a subprotocol that contains a token. Browsers can set no other header of a WebSocket
/// handshake.
const TOKEN_PROTOCOL: &str = "countersign-token.";
/// The prefix of the subprotocol in which AppSync clients send headers: base64 of a JSON object.
const HEADER_PROTOCOL: &str = "header-";

impl Guard {
    /// Reads the token files.
    ///
    /// # Errors
    /// When a token file cannot be used.
    pub fn new(config: GuardConfig) -> Result<Self, TokenError> {
        let tokens = Arc::new(Tokens::load(&config.tokens)?);
        Ok(Self { config, tokens })
    }

    /// Returns this guard for a listener without TLS that browsers have no reason to use: it allows no
    /// origin, and requires no client certificate.
    pub fn without_browsers(&self) -> Self {
        let config = GuardConfig {
            allow_origins: Vec::new(),
            rejects_forwarded: false,
            requires_certificate: false,
            ..self.config.clone()
        };
        Self {
            config,
            tokens: Arc::clone(&self.tokens),
        }
    }

    /// Returns whether clients must present a token.
    pub fn requires_token(&self) -> bool {
        !self.config.tokens.is_empty()
    }

    /// Returns whether the request presents a token from `guard.token_file`. Named tokens may be
    /// restricted, and do not count.
    pub fn has_unrestricted_token(&self, headers: &HeaderMap) -> bool {
        let has_tokens = !self.config.tokens.is_empty();
        let admission = self.admit(headers, "", false, false);
        has_tokens && matches!(admission, Ok(Admission::Granted(grant)) if grant.name.is_none())
    }

    /// Checks the head of a request. `local` is the listener that accepted the connection, `scheme` is
    /// the connection's, and `navigations` is the setting of the route.
    ///
    /// # Errors
    /// [`Refusal`] with the first rule that the request violates.
    pub fn check<B>(
        &self,
        request: &Request<B>,
        local: LocalAddress,
        scheme: Scheme,
        navigations: Navigations,
    ) -> Result<Cors, Refusal> {
        let uri = request.uri();
        if uri.authority().is_some() || !uri.path().starts_with('/') {
            return Err(Refusal::TargetForm);
        }
        let headers = request.headers();
        if head_size(request) > self.config.request_head {
            return Err(Refusal::HeadTooLarge(self.config.request_head));
        }
        let host = self.check_host(headers, local)?;
        if self.config.rejects_forwarded {
            check_forwarded(headers)?;
        }
        let is_plain_tcp = scheme == Scheme::Http && local != LocalAddress::Unix;
        if self.config.requires_certificate && is_plain_tcp {
            return Err(Refusal::CertificateMissing);
        }
        if browser::has_no_header_of_browsers(headers) {
            return Ok(Cors::NoOrigin);
        }
        browser::check_metadata(headers)?;
        let cors = match headers.get(ORIGIN) {
            Some(_) => self.check_origin(headers, host, scheme)?,
            None if browser::is_page_for_every_site(request, navigations) => Cors::NoOrigin,
            None => {
                browser::check_site(headers)?;
                self.check_referer(headers, host, scheme)?;
                Cors::NoOrigin
            }
        };
        browser::check_navigation(request, &cors, navigations)?;
        Ok(cors)
    }

    /// Checks the token of a request to `route`. With `accepts_entries`, the token may be in the headers
    /// that AppSync clients send as a subprotocol; with `may_come_later`, in a later `connection_init`.
    ///
    /// # Errors
    /// [`Refusal::TokenMissing`] or [`Refusal::TokenWrong`].
    pub fn admit(
        &self,
        headers: &HeaderMap,
        route: &str,
        accepts_entries: bool,
        may_come_later: bool,
    ) -> Result<Admission, Refusal> {
        if self.config.tokens.is_empty() {
            return Ok(Admission::Granted(Grant::default()));
        }
        match find_token(headers, accepts_entries) {
            Some(token) => match self.tokens.authenticate(&token, route) {
                Some(grant) => Ok(Admission::Granted(grant)),
                None => Err(Refusal::TokenWrong),
            },
            None if may_come_later => Ok(Admission::Pending(Arc::clone(&self.tokens))),
            None => Err(Refusal::TokenMissing),
        }
    }

    /// Checks `Host`, and returns it with its port.
    fn check_host<'h>(
        &self,
        headers: &'h HeaderMap,
        local: LocalAddress,
    ) -> Result<&'h str, Refusal> {
        let mut values = headers.get_all(HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::HostMalformed);
        };
        let text = value.to_str().map_err(|_| Refusal::HostMalformed)?;
        let own = match local {
            LocalAddress::Unix => return Ok(text),
            LocalAddress::Tcp(ip) => ip.to_canonical(),
        };
        if is_usual_host(text) {
            return Ok(text);
        }
        let host = HostName::from_header(text).ok_or(Refusal::HostMalformed)?;
        let allowed = host.is_loopback_name()
            || host.is_canonical_literal_of(own)
            || self.config.allow_hosts.contains(&host);
        if allowed {
            Ok(text)
        } else {
            Err(Refusal::HostNotAllowed(shown(text)))
        }
    }

    fn allows(&self, origin: &Origin) -> bool {
        let mut allowed = self.config.allow_origins.iter();
        allowed.any(|allowed| allowed.allows(origin))
    }

    fn check_origin(
        &self,
        headers: &HeaderMap,
        host: &str,
        scheme: Scheme,
    ) -> Result<Cors, Refusal> {
        let mut values = headers.get_all(ORIGIN).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::SeveralOrigins);
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        let refused = || Refusal::OriginNotAllowed(shown(&text));
        let parsed = Origin::parse(&text);
        if parsed.as_ref().is_some_and(|origin| self.allows(origin)) {
            return Ok(Cors::Allowed(value.clone()));
        }
        // The page was served by countersign itself, under the `Host` that was just checked.
        let own = parsed.or_else(|| Origin::of_socket(&text));
        if own.is_some_and(|origin| origin.is_served_at(host, scheme)) {
            return Ok(Cors::SameOrigin);
        }
        Err(refused())
    }

    /// Checks `Referer`, which may name the page that caused a request without `Origin` and fetch
    /// metadata. Old browsers send such requests, and all browsers do over plain HTTP to names that are
    /// not loopback.
    fn check_referer(
        &self,
        headers: &HeaderMap,
        host: &str,
        scheme: Scheme,
    ) -> Result<(), Refusal> {
        let mut values = headers.get_all(REFERER).iter();
        let Some(value) = values.next() else {
            return Ok(());
        };
        let malformed = || Refusal::CrossSite("a malformed Referer".to_owned());
        if values.next().is_some() {
            return Err(malformed());
        }
        let text = value.to_str().map_err(|_| malformed())?;
        let page = Origin::from_url(text).ok_or_else(malformed)?;
        if self.allows(&page) || page.is_served_at(host, scheme) {
            return Ok(());
        }
        // The path and query of the page are private.
        let page = shown(&page.to_string());
        Err(Refusal::CrossSite(format!("Referer of {page}")))
    }
}

/// Returns the approximate size of the head in bytes. hyper limits only the size of its buffer, which
/// a head can exceed if it arrives in one piece.
fn head_size<B>(request: &Request<B>) -> usize {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + 4);
    request.method().as_str().len() + target + headers.sum::<usize>()
}

/// Rejects a request that another proxy forwarded, in any spelling of the headers that identify proxies.
fn check_forwarded(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut names = headers.keys();
    match names.find_map(|name| forwarded_header(name.as_str())) {
        Some(name) => Err(Refusal::Forwarded(name)),
        None => Ok(()),
    }
}

/// Returns the token of a request. An ambiguous or malformed token counts as a wrong one.
fn find_token(headers: &HeaderMap, accepts_entries: bool) -> Option<String> {
    // Clients that have no token send an empty header.
    let values = |name: HeaderName| {
        let values = headers.get_all(name).into_iter();
        values.filter(|value| !value.is_empty())
    };
    let mut own = values(token::TOKEN_HEADER);
    if let Some(value) = own.next() {
        let text = value.to_str().unwrap_or_default();
        return Some(match own.next() {
            None => text.to_owned(),
            Some(_) => String::new(),
        });
    }
    let mut bearers = values(AUTHORIZATION);
    if let Some(value) = bearers.next() {
        let token = value.to_str().ok().and_then(token::bearer_token);
        return Some(match bearers.next() {
            None => token.unwrap_or_default().to_owned(),
            Some(_) => String::new(),
        });
    }
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let lines = lines.filter_map(|value| value.to_str().ok());
    let mut items = lines.flat_map(|line| line.split(',')).map(str::trim);
    items.find_map(|item| match item.strip_prefix(TOKEN_PROTOCOL) {
        Some(token) => Some(token.to_owned()),
        None if accepts_entries => token_in_entries(item.strip_prefix(HEADER_PROTOCOL)?),
        None => None,
    })
}

/// Removes the subprotocol that contains a token from those that the client offers.
pub fn strip_token_protocol(headers: &mut HeaderMap) {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let has_token = |line: &HeaderValue| {
        let text = line.to_str();
        text.is_ok_and(|text| text.contains(TOKEN_PROTOCOL))
    };
    if !lines.iter().any(has_token) {
        return;
    }
    let items = lines
        .iter()
        .flat_map(|line| line.to_str().unwrap_or_default().split(','));
    let items = items.map(str::trim);
    let kept: Vec<&str> = items
        .filter(|item| !item.starts_with(TOKEN_PROTOCOL))
        .collect();
    let kept = HeaderValue::from_str(&kept.join(", ")).ok();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

/// Returns the token in the encoded headers of an AppSync client, with or without its scheme. A
/// signature of the client itself is not a token.
fn token_in_entries(encoded: &str) -> Option<String> {
    let encoded = encoded.trim_end_matches('=');
    let decoded = BASE64_URL_SAFE_NO_PAD
        .decode(encoded)
        .or_else(|_| BASE64_STANDARD_NO_PAD.decode(encoded))
        .ok()?;
    let entries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&decoded).ok()?;
    let entry = |wanted: &str| {
        let mut entries = entries.iter();
        let (_, value) = entries.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        value.as_str().filter(|text| !text.is_empty())
    };
    if let Some(token) = entry(token::TOKEN_HEADER.as_str()) {
        return Some(token.to_owned());
    }
    token::bare_or_bearer_token(entry("authorization")?).map(str::to_owned)
}

#[cfg(test)]
mod tests;
