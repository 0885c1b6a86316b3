//! The reasons for which the guard refuses a request.

use countersign_protocol::error_code::Code;

use super::Origin;

/// Why a request is refused. The message names the rule and the setting that would allow the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request must have exactly one Host header, a host name with an optional port")]
    HostMalformed,
    #[error(
        "Host {0:?} is not allowed: a web page could have rebound this name to this address. To allow it, add it to guard.allow_hosts (--allow-host)"
    )]
    HostNotAllowed(String),
    #[error("{}", origin_not_allowed(.0))]
    OriginNotAllowed(String),
    #[error("the request has more than one Origin header: send one, or none")]
    SeveralOrigins,
    #[error(
        "a browser sent this request on behalf of another site ({0}). To allow the site, add its origin to guard.allow_origins (--allow-origin), and use fetch, EventSource or WebSocket"
    )]
    CrossSite(String),
    #[error(
        "a browser requested this as a page or part of a page ({0}), which any page can cause. Use fetch from an allowed origin; to allow URLs that a user types, set navigations = \"allow\" for the route"
    )]
    Navigation(String),
    #[error("the request head is larger than {0} bytes (limits.request_head)")]
    HeadTooLarge(usize),
    #[error("the request has more than {0} headers")]
    TooManyHeaders(usize),
    #[error("the request target must be a path")]
    TargetForm,
    #[error(
        "another proxy forwarded the request ({0} is set), and it may accept clients from other machines. To allow forwarded requests, set guard.forwarded = \"strip\" or \"pass\""
    )]
    Forwarded(&'static str),
    #[error(
        "a web page can send this content type without a preflight: send application/json, or add the page's origin to guard.allow_origins (--allow-origin)"
    )]
    SimpleType,
    #[error(
        "this port requires a client certificate (tls.client_ca): connect with TLS and a certificate from that authority"
    )]
    CertificateMissing,
    #[error(
        "a token is required (guard.token_file or guard.tokens): send `authorization: Bearer TOKEN`, or `x-countersign-token: TOKEN`"
    )]
    TokenMissing,
    #[error("the token is not in guard.token_file or guard.tokens for this route")]
    TokenWrong,
}

impl Refusal {
    /// Returns the code for clients, logs and metrics.
    pub fn code(&self) -> Code {
        match self {
            Self::HostMalformed => Code::HostMalformed,
            Self::HostNotAllowed(_) => Code::HostNotAllowed,
            Self::OriginNotAllowed(_) | Self::SeveralOrigins => Code::OriginNotAllowed,
            Self::CrossSite(_) => Code::CrossSite,
            Self::Navigation(_) => Code::Navigation,
            Self::HeadTooLarge(_) | Self::TooManyHeaders(_) => Code::HeadTooLarge,
            Self::TargetForm => Code::TargetForm,
            Self::Forwarded(_) => Code::Forwarded,
            Self::SimpleType => Code::SimpleContentType,
            Self::CertificateMissing => Code::CertificateMissing,
            Self::TokenMissing => Code::TokenMissing,
            Self::TokenWrong => Code::TokenWrong,
        }
    }
}

/// Explains why an origin is refused. `origin` may be truncated.
fn origin_not_allowed(origin: &str) -> String {
    let is_whole = origin.len() < SHOWN;
    if Origin::parse(origin).is_some() && is_whole {
        return format!(
            "Origin {origin:?} is not allowed. To allow it: --allow-origin {origin} (guard.allow_origins). Its pages could then act with the IAM identity"
        );
    }
    // Some browsers and app frameworks send `file://` for local files.
    if origin == "null" || origin.starts_with("file:") {
        return format!(
            "Origin {origin:?} is not allowed: every local file and every sandboxed page has it, so it cannot be allowed. Serve the page from a web server, such as http://localhost:8000"
        );
    }
    // The origin of a URL ends before its path, so that it may be whole in a truncated URL.
    let without_path = Origin::from_url(origin).filter(|found| found.to_string().len() < SHOWN);
    if let Some(found) = without_path.filter(|_| Origin::parse(origin).is_none()) {
        return format!(
            "Origin {origin:?} has a path, which no origin has. Send {found}, and allow it: --allow-origin {found} (guard.allow_origins). Or send no Origin, which only browsers need"
        );
    }
    if is_whole {
        return format!(
            "Origin {origin:?} is not an origin, such as http://localhost:3000. Clients other than browsers need none"
        );
    }
    format!(
        "Origin {origin:?} is not allowed: its pages could act with the IAM identity. To allow it, add it to guard.allow_origins (--allow-origin)"
    )
}

/// The maximum length of a value in a message.
const SHOWN: usize = 64;
