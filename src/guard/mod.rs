//! May this client talk to us? Asked of every request before anything else happens.
//!
//! Whoever reaches the port acts with the IAM identity, and any web page in the user's browser
//! can reach it. So `Host` must be a loopback name, an allowed name or the address of the socket
//! (a rebound name is none of these), a browser's request must come from an allowed origin and be
//! one that a script made, and where tokens are configured a client must show one. The guard only reads: it forwards nothing
//! and signs nothing.

mod browser;
mod cors;
mod host;
mod policy;
mod refusal;
mod request;
mod spelling;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
pub use browser::{
    BrowserRules, Navigations, ResponseHeaders, check_content_type, is_from_browser,
};
pub use cors::Cors;
use countersign_protocol::graphql::shown;
pub use host::{HostName, Origin, Scheme};
use http::Request;
use http::header::{
    AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN, REFERER, SEC_WEBSOCKET_PROTOCOL,
};
pub use policy::{
    AllowedOperations, FieldPattern, OperationDenied, OperationPolicies, OperationPolicy, is_name,
};
pub use refusal::{Refusal, RefusalKind};
pub use spelling::{
    forwarded_header, has_header_prefix, is_method_override, is_odd_header, is_same_header,
};
pub use token::{Grant, TokenConfig, TokenError, Tokens};

/// `[guard]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// Bytes of a request's head.
    pub request_head: usize,
    /// Names that may stand in `Host` beside the loopback names.
    pub allow_hosts: Vec<HostName>,
    /// Origins whose pages may talk to us.
    pub allow_origins: Vec<Origin>,
    /// Requests that another proxy forwarded are refused.
    pub rejects_forwarded: bool,
    /// TCP connections must have shown a client certificate.
    pub requires_certificate: bool,
    /// If there are any, clients must show a token of one of them.
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

/// Decides who may talk to us.
#[derive(Clone, Debug)]
pub struct Guard {
    config: GuardConfig,
    tokens: Arc<Tokens>,
}

/// Where a client's connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// At this address of ours.
    Tcp(IpAddr),
    /// At a unix socket, which no browser can reach: any `Host` will do.
    Unix,
}

/// Whether a client has shown who it is.
#[derive(Clone, Debug)]
pub enum Admission {
    Granted(Grant),
    /// A WebSocket's token may still come with its `connection_init`.
    Pending(Arc<Tokens>),
}

/// How a subprotocol item says a token: browsers can set no other header of a WebSocket.
const TOKEN_PROTOCOL: &str = "countersign-token.";
/// How AppSync's own clients say headers in a subprotocol item: base64 of a JSON object.
const HEADER_PROTOCOL: &str = "header-";
/// For tokens; `authorization` will do, too.
const TOKEN_HEADER: &str = "x-countersign-token";

impl Guard {
    /// # Errors
    /// When a token file cannot be used.
    pub fn new(config: GuardConfig) -> Result<Self, TokenError> {
        let tokens = Arc::new(Tokens::load(&config.tokens)?);
        Ok(Self { config, tokens })
    }

    /// The same for a listener that browsers have no business with: no page's origin is allowed, nor
    /// is a certificate wanted where no TLS is spoken.
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

    /// Whether the request shows a token of `guard.token_file`. Those with a name may be for less
    /// than everything.
    pub fn has_unrestricted_token(&self, headers: &HeaderMap) -> bool {
        let has_tokens = !self.config.tokens.is_empty();
        let admission = self.admit(headers, "", false, false);
        has_tokens && matches!(admission, Ok(Admission::Granted(grant)) if grant.name.is_none())
    }

    /// Judges a request's head; `local` is where its connection was accepted, `scheme` what is
    /// spoken on it, `navigations` what its route allows.
    ///
    /// # Errors
    /// The [`Refusal`] of the first rule that is broken.
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
        browser::check_metadata(headers)?;
        let cors = match headers.get(ORIGIN) {
            Some(_) => self.check_origin(headers, &host, scheme)?,
            None => {
                browser::check_site(headers)?;
                self.check_referer(headers, &host, scheme)?;
                Cors::NoOrigin
            }
        };
        browser::check_navigation(request, &cors, navigations)?;
        Ok(cors)
    }

    /// Judges the token of a request on `route`. AppSync's own clients may say it among the entries of
    /// a subprotocol item; that of a GraphQL WebSocket may come later.
    ///
    /// # Errors
    /// [`Refusal::TokenMissing`] or [`Refusal::TokenWrong`]
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

    /// The host in lower case, with its port.
    fn check_host(&self, headers: &HeaderMap, local: LocalAddress) -> Result<String, Refusal> {
        let mut values = headers.get_all(HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::HostMalformed);
        };
        let text = value.to_str().map_err(|_| Refusal::HostMalformed)?;
        let own = match local {
            LocalAddress::Unix => return Ok(text.to_ascii_lowercase()),
            LocalAddress::Tcp(ip) => ip.to_canonical(),
        };
        let host = HostName::from_header(text).ok_or(Refusal::HostMalformed)?;
        let allowed = host.is_loopback_name()
            || host.is_literal_of(own)
            || self.config.allow_hosts.contains(&host);
        if allowed {
            Ok(text.to_ascii_lowercase())
        } else {
            Err(Refusal::HostNotAllowed(shown(text)))
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
        let refused = || Refusal::OriginNotAllowed(shown(&text));
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

    /// Where a browser sends neither `Origin` nor fetch metadata, `Referer` may still name the page
    /// that caused the request: to old browsers, and in plain HTTP at names that are not loopback.
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
        if self.config.allow_origins.contains(&page) || page.is_served_at(host, scheme) {
            return Ok(());
        }
        // Its path and query are nobody's business.
        let page = shown(&page.to_string());
        Err(Refusal::CrossSite(format!("Referer of {page}")))
    }
}

/// Bytes, about as they came. hyper's own bound is the size of its buffer, which a head may pass
/// when it comes in one piece.
fn head_size<B>(request: &Request<B>) -> usize {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + 4);
    request.method().as_str().len() + target + headers.sum::<usize>()
}

/// Refuses what another proxy sent, however it spells the headers that say so.
fn check_forwarded(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut names = headers.keys();
    match names.find_map(|name| forwarded_header(name.as_str())) {
        Some(name) => Err(Refusal::Forwarded(name)),
        None => Ok(()),
    }
}

/// The one token of a request; what is no token at all is one that is wrong.
fn find_token(headers: &HeaderMap, accepts_entries: bool) -> Option<String> {
    let mut own = headers.get_all(TOKEN_HEADER).iter();
    if let Some(value) = own.next() {
        let text = value.to_str().unwrap_or_default();
        return Some(match own.next() {
            None => text.to_owned(),
            Some(_) => String::new(),
        });
    }
    let mut bearers = headers.get_all(AUTHORIZATION).iter();
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

/// Takes the item that says a token out of the subprotocols that a client offers.
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

/// The token among the headers that an AppSync-aware client brings, with or without its scheme; a
/// signature of the client's own is none.
fn token_in_entries(encoded: &str) -> Option<String> {
    let encoded = encoded.trim_end_matches('=');
    let decoded = BASE64_URL_SAFE_NO_PAD
        .decode(encoded)
        .or_else(|_| BASE64_STANDARD_NO_PAD.decode(encoded))
        .ok()?;
    let entries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&decoded).ok()?;
    let (_, value) = entries
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    let text = value.as_str()?;
    let bare = (!text.contains(' ')).then_some(text);
    token::bearer_token(text).or(bare).map(str::to_owned)
}

#[cfg(test)]
mod tests;
