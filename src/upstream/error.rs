//! The errors of an exchange with upstream.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use hyper::client::conn::TrySendError;

use super::FramingError;
use crate::sign::{SignError, TargetError};
use countersign_protocol::error_code::{Code, Sent};

/// Why a connection could not be opened, with one variant per step.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot connect to upstream {address}")]
    Connect {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("upstream {address} did not accept a connection within {after:?} (timeouts.connect)")]
    Timeout { address: String, after: Duration },
    #[error("the TLS handshake with upstream {tls_name} failed")]
    Tls {
        tls_name: String,
        #[source]
        source: io::Error,
    },
    #[error("the proxy {proxy} did not open a tunnel to {address}")]
    Tunnel {
        proxy: String,
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DialError {
    /// Returns whether the same dial may succeed soon.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Timeout { .. } => false,
            // An untrusted certificate or a TLS alert.
            Self::Tls { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            // Otherwise, the proxy has refused.
            Self::Tunnel { source, .. } => {
                let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**source);
                while let Some(error) = cause {
                    if error.is::<io::Error>() {
                        return true;
                    }
                    cause = error.source();
                }
                false
            }
        }
    }
}

/// Why a request has no response.
#[derive(Debug)]
pub(super) struct SendError {
    pub(super) error: hyper::Error,
    /// Whether nothing of the request was written.
    pub(super) is_unwritten: bool,
    /// Whether upstream does not process the request if `error` is a GOAWAY frame of HTTP/2.
    pub(super) is_goaway_proof: bool,
}

impl SendError {
    pub(super) fn new<T>(mut error: TrySendError<T>, is_goaway_proof: bool) -> Self {
        Self {
            // hyper returns the request if it wrote nothing of it.
            is_unwritten: error.take_message().is_some(),
            error: error.into_error(),
            is_goaway_proof,
        }
    }
}

/// Why an exchange failed, with one variant per step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the connection to upstream was lost before a response arrived")]
    Broken(#[source] hyper::Error),
    #[error(
        "the connection to upstream was lost before a response arrived, perhaps because the request's \
         {headers} headers have {bytes} bytes: API Gateway accepts 10240, and CloudFront, which is in \
         front of AppSync, 20480"
    )]
    BrokenByHead {
        headers: usize,
        bytes: usize,
        source: hyper::Error,
    },
    #[error(
        "AWS rejected the signature because of its time: this machine's clock says {}, and AWS's {}",
        time_of(.ours),
        time_of(.theirs)
    )]
    ClockSkew {
        ours: SystemTime,
        theirs: SystemTime,
    },
    #[error(transparent)]
    Dial(Arc<DialError>),
    #[error("the response from upstream is malformed: {0}")]
    Framing(#[from] FramingError),
    #[error("upstream sent no response within {after:?} (timeouts.first_byte)")]
    FirstByteTimeout { after: Duration },
    #[error(
        "cannot sign the header {0}: its value contains a tab, two consecutive spaces, or a byte that is not ASCII"
    )]
    Header(HeaderName),
    #[error("upstream rejected the WebSocket handshake")]
    Handshake(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("the WebSocket handshake with upstream failed")]
    HandshakeBroken(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("upstream did not complete the WebSocket handshake within {after:?} (pool.handshake)")]
    HandshakeTimeout { after: Duration },
    #[error("the connection to upstream was lost during the response")]
    Interrupted(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the response from upstream is larger than {limit} bytes")]
    ResponseTooLarge { limit: usize },
    #[error(
        "the response from upstream was discarded: too many responses are waiting for their clients \
         (limits.buffered)"
    )]
    Unbuffered,
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the response from upstream is not valid HTTP")]
    Syntax(#[source] hyper::Error),
    #[error(
        "upstream did not process the request: it refused it, or closed the connection before that"
    )]
    Unprocessed(#[source] hyper::Error),
    #[error("the connection to upstream was lost during the WebSocket handshake")]
    Tunnel(#[source] hyper::Error),
    #[error("cannot sign the request target: {0}")]
    Target(#[from] TargetError),
}

impl Error {
    /// Explains a lost connection by the headers of the request, if AWS probably does not accept them. They
    /// are without the signature, which has about 500 bytes, or 2,000 with a session token.
    pub(super) fn with_headers(self, headers: &HeaderMap) -> Self {
        let sizes = headers.iter();
        let bytes = sizes.map(|(name, value)| name.as_str().len() + value.len() + 4);
        match (self, bytes.sum()) {
            (Self::Broken(source), bytes) if bytes > PROBABLY_ACCEPTED => Self::BrokenByHead {
                headers: headers.len(),
                bytes,
                source,
            },
            (error, _) => error,
        }
    }

    /// Returns the code for clients, logs and metrics.
    pub fn code(&self) -> Code {
        match self {
            Self::Broken(_)
            | Self::BrokenByHead { .. }
            | Self::Framing(_)
            | Self::Interrupted(_)
            | Self::Syntax(_)
            | Self::Tunnel(_)
            | Self::Unprocessed(_) => Code::UpstreamBroken,
            Self::ClockSkew { .. } => Code::ClockSkew,
            Self::Dial(error) => match error.as_ref() {
                DialError::Connect { .. } | DialError::Tunnel { .. } => Code::UpstreamUnreachable,
                DialError::Timeout { .. } => Code::UpstreamConnectTimeout,
                DialError::Tls { .. } => Code::UpstreamTls,
            },
            Self::FirstByteTimeout { .. } | Self::HandshakeTimeout { .. } => Code::UpstreamTimeout,
            Self::Handshake(_) => Code::UpstreamRefused,
            Self::HandshakeBroken(_) => Code::UpstreamUnreachable,
            Self::Header(_) => Code::HeaderNotSignable,
            Self::ResponseTooLarge { .. } => Code::UpstreamResponseTooLarge,
            Self::Unbuffered => Code::BuffersFull,
            Self::Sign(SignError::Credentials(_)) => Code::CredentialsUnavailable,
            Self::Sign(_) => Code::SigningFailed,
            Self::Target(_) => Code::TargetNotSignable,
        }
    }

    /// Returns whether upstream may have acted on the request.
    pub fn sent(&self) -> Sent {
        match self {
            Self::ClockSkew { .. }
            | Self::Dial(_)
            | Self::Handshake(_)
            | Self::HandshakeBroken(_)
            | Self::HandshakeTimeout { .. }
            | Self::Header(_)
            | Self::Sign(_)
            | Self::Target(_)
            | Self::Unprocessed(_) => Sent::No,
            Self::FirstByteTimeout { .. }
            | Self::Broken(_)
            | Self::BrokenByHead { .. }
            | Self::Framing(_)
            | Self::Syntax(_)
            | Self::Tunnel(_) => Sent::Maybe,
            Self::Interrupted(_) | Self::ResponseTooLarge { .. } | Self::Unbuffered => Sent::Yes,
        }
    }

    /// Returns what to check to fix the error, if anything is known.
    pub fn remedy(&self) -> Option<&'static str> {
        if let Self::ClockSkew { .. } = self {
            return Some(Code::ClockSkew.remedy());
        }
        let Self::Dial(error) = self else {
            return None;
        };
        Some(match error.as_ref() {
            DialError::Connect { .. } | DialError::Timeout { .. } => {
                "Check the route's target and connect settings, DNS, and HTTPS_PROXY."
            }
            DialError::Tls { .. } => "Check the route's target, ca_file and SSL_CERT_FILE.",
            DialError::Tunnel { .. } => "Check HTTPS_PROXY and NO_PROXY.",
        })
    }
}

fn time_of(time: &SystemTime) -> String {
    // `humantime` panics on it.
    if *time < UNIX_EPOCH {
        return "a time before 1970".to_owned();
    }
    humantime::format_rfc3339_seconds(*time).to_string()
}

/// The size of headers in bytes that every service of AWS accepts beside a signature.
const PROBABLY_ACCEPTED: usize = 8 * 1024;

impl From<Arc<DialError>> for Error {
    fn from(error: Arc<DialError>) -> Self {
        Self::Dial(error)
    }
}

impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        Self::Dial(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_can_be_reported() {
        let error = Error::ClockSkew {
            ours: UNIX_EPOCH - Duration::from_secs(1),
            theirs: UNIX_EPOCH,
        };
        let text = error.to_string();
        let expected = "clock says a time before 1970, and AWS's 1970-01-01T00:00:00Z";
        assert!(text.contains(expected), "{text}");
    }
}
