//! The reasons for which the guard refuses a request.

/// Why a request is refused. The message names the rule and the setting that would allow the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request must have exactly one Host header, a host name with an optional port")]
    HostMalformed,
    #[error(
        "Host {0:?} is not allowed: a web page could have rebound this name to this address. To allow it, add it to guard.allow_hosts (--allow-host)"
    )]
    HostNotAllowed(String),
    #[error(
        "Origin {0:?} is not allowed: its pages could act with the IAM identity. To allow it, add it to guard.allow_origins (--allow-origin)"
    )]
    OriginNotAllowed(String),
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
        "a token is required (guard.token_file): send `authorization: Bearer TOKEN`, or `x-countersign-token: TOKEN`"
    )]
    TokenMissing,
    #[error("the token is not in guard.token_file or guard.tokens for this route")]
    TokenWrong,
}

/// The kind of response to a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// 400
    Malformed,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 415
    MediaType,
    /// 431
    HeadTooLarge,
}

impl Refusal {
    /// Returns the stable code, for errors, logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::HostMalformed => "HOST_MALFORMED",
            Self::HostNotAllowed(_) => "HOST_NOT_ALLOWED",
            Self::OriginNotAllowed(_) => "ORIGIN_NOT_ALLOWED",
            Self::CrossSite(_) => "CROSS_SITE",
            Self::Navigation(_) => "NAVIGATION",
            Self::HeadTooLarge(_) => "HEAD_TOO_LARGE",
            Self::TargetForm => "TARGET_FORM",
            Self::Forwarded(_) => "FORWARDED",
            Self::SimpleType => "SIMPLE_CONTENT_TYPE",
            Self::CertificateMissing => "CERTIFICATE_MISSING",
            Self::TokenMissing => "TOKEN_MISSING",
            Self::TokenWrong => "TOKEN_WRONG",
        }
    }

    /// Returns the kind of response.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::HostMalformed | Self::TargetForm => RefusalKind::Malformed,
            Self::TokenMissing | Self::TokenWrong => RefusalKind::Unauthorized,
            Self::HostNotAllowed(_)
            | Self::OriginNotAllowed(_)
            | Self::CrossSite(_)
            | Self::Navigation(_)
            | Self::Forwarded(_)
            | Self::CertificateMissing => RefusalKind::Forbidden,
            Self::SimpleType => RefusalKind::MediaType,
            Self::HeadTooLarge(_) => RefusalKind::HeadTooLarge,
        }
    }
}
