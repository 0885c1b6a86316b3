//! Why a request is refused.

/// A rule, and the setting that would allow the request.
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
        "a browser sent this request for another site ({0}). Allow the site's origin with guard.allow_origins (--allow-origin), and use fetch, EventSource or WebSocket there"
    )]
    CrossSite(String),
    #[error(
        "a browser loads this as a page or a part of one ({0}), which any page can cause. Use fetch from an allowed origin; for URLs that a user types, set navigations = \"allow\" for the route"
    )]
    Navigation(String),
    #[error("the request's head is larger than {0} bytes (limits.request_head)")]
    HeadTooLarge(usize),
    #[error("the request target must be a path")]
    TargetForm,
    #[error(
        "the request was forwarded ({0} is there): another proxy may be open to more than this machine. Allow it with guard.forwarded = \"strip\" or \"pass\""
    )]
    Forwarded(&'static str),
    #[error(
        "a web page may send this content type unasked: send application/json, or allow the page's origin with guard.allow_origins (--allow-origin)"
    )]
    SimpleType,
    #[error(
        "this port wants a client certificate (tls.client_ca): speak TLS to it, with a certificate of that authority"
    )]
    CertificateMissing,
    #[error(
        "a token is needed (guard.token_file): send `authorization: Bearer TOKEN`, or `x-countersign-token: TOKEN`"
    )]
    TokenMissing,
    #[error("the token is not one that guard.token_file or guard.tokens has for this route")]
    TokenWrong,
}

/// What kind of answer a refusal is.
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
    /// A stable name, for errors, logs and metrics.
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
