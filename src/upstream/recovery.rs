//! Renews the credentials or corrects the clock after a rejection by AWS, so that the request can be signed
//! again.
//!
//! AWS authenticates a request before it executes it, so a rejected mutation was not executed, and can be
//! sent again.

use std::time::{Duration, Instant, SystemTime};

use countersign_protocol::error_code::Code;
use countersign_protocol::rejection::{is_of_clock, is_of_credentials};
use http::Response;
use tracing::{info, warn};

use super::clock_skew::{CERTAIN_SKEW, date, seconds_between};
use super::rejection::{
    Rejection, Renewals, error_type, is_rejection_status, may_be_rejection, rejection, server_time,
    type_in_body,
};
use super::{Error, ResponseBody, Upstream, UpstreamKind};

/// The cause that a rejection suggests.
enum Cause {
    Credentials,
    Clock(SystemTime),
    /// Perhaps the credentials: HTTP APIs give no reason, and applications can have the same texts.
    Unknown,
    Other,
}

/// Services behind which applications respond, whose errors look like those of AWS.
const APPLICATION_SERVICES: [&str; 4] = [
    "execute-api",
    "lambda",
    "vpc-lattice-svcs",
    "bedrock-agentcore",
];

impl Upstream {
    /// Returns the time for a signature: the local time, corrected if upstream has rejected it.
    pub fn signing_time(&self) -> SystemTime {
        self.clock_skew().now()
    }

    /// Reports that upstream accepted a request that was signed at `signed_at`.
    pub fn accepted(&self, signed_at: Instant) {
        self.signer().credential_source().accepted(signed_at);
    }

    /// Returns why AWS rejected a request; `None` if the response is not a known rejection. The part of the
    /// body that has to be read for this remains part of it.
    pub(super) async fn rejection(
        &self,
        response: &mut Response<ResponseBody>,
    ) -> Option<Rejection> {
        let status = response.status();
        if !is_rejection_status(status) {
            return None;
        }
        let service = self.signer().scope().service.as_str();
        let is_of_service =
            self.endpoint().kind != UpstreamKind::Http || !APPLICATION_SERVICES.contains(&service);
        let headers = response.headers().clone();
        let marked = error_type(&headers);
        let is_certain = is_of_service || marked.is_some();
        let find = |start: &[u8]| {
            let text = String::from_utf8_lossy(&start[..start.len().min(MAX_PEEKED)]);
            let in_body = type_in_body(&text).filter(|_| is_of_service);
            let code = rejection(status, marked.or(in_body), &text)?;
            Some((code, server_time(&text)))
        };
        let is_decided = |start: &[u8]| {
            let found = find(start).map(|(code, _)| code);
            start.len() >= MAX_PEEKED
                || !may_be_rejection(status, &headers, start)
                || found.is_some_and(|code| is_of_credentials(code) || is_of_clock(code))
        };
        let body = response.body_mut();
        // A response that stalls is passed on, and stalls for the client.
        let _ = tokio::time::timeout(PEEK_WAIT, body.peek(is_decided)).await;
        let (code, server_time) = find(body.peeked())?;
        Some(Rejection {
            code,
            server_time: server_time
                .filter(|_| is_certain)
                .or_else(|| date(&headers)),
            is_certain,
        })
    }

    /// Returns whether `response` is the final response to a request that was signed at `signed_at`. If it
    /// is not, the request has to be signed and sent again. `is_safe` determines whether upstream may execute
    /// it twice.
    ///
    /// # Errors
    /// When upstream's clock differs too much from the local one.
    pub(super) async fn is_final(
        &self,
        response: &mut Response<ResponseBody>,
        signed_at: Instant,
        is_safe: bool,
        renewals: &mut Renewals,
    ) -> Result<bool, Error> {
        let Some(rejection) = self.rejection(response).await else {
            if response.status().is_success() {
                self.accepted(signed_at);
            }
            return Ok(true);
        };
        let is_repeated = self.renew(rejection, signed_at, renewals).await?;
        Ok(!is_repeated || !(rejection.is_certain || is_safe))
    }

    /// Renews what a rejection of a request suggests, which was signed at `signed_at`. Returns whether the
    /// request can be signed again.
    ///
    /// # Errors
    /// When upstream's clock differs too much from the local one.
    pub async fn renew(
        &self,
        rejection: Rejection,
        signed_at: Instant,
        renewals: &mut Renewals,
    ) -> Result<bool, Error> {
        let source = self.signer().credential_source();
        let code = rejection.code;
        let (reason, is_renewed, is_first) = match self.cause(rejection) {
            Cause::Clock(theirs) => {
                let before = self.clock_skew().correction();
                let corrected = self.clock_skew().correct(signed_at, theirs);
                let is_corrected = corrected.inspect_err(|error| warn!("{error}"))?;
                let seconds = self.clock_skew().correction();
                if seconds != before {
                    let gauge = &self.metrics().signing_clock_offset_seconds;
                    gauge.set(seconds as f64);
                    info!(
                        seconds,
                        code = code.as_str(),
                        "clock corrected for signatures"
                    );
                }
                let is_first = !std::mem::replace(&mut renewals.clock, true);
                ("clock", is_corrected, is_first)
            }
            cause @ (Cause::Credentials | Cause::Unknown) => {
                let code = matches!(cause, Cause::Credentials).then_some(code);
                let is_renewed = source.renew(signed_at, code).await;
                let is_first = !std::mem::replace(&mut renewals.credentials, true);
                ("credentials", is_renewed, is_first)
            }
            Cause::Other => return Ok(false),
        };
        let is_repeated = is_renewed && is_first;
        if is_repeated {
            self.metrics().replayed(reason);
        }
        Ok(is_repeated)
    }

    fn cause(&self, rejection: Rejection) -> Cause {
        let is_skewed = |theirs: &SystemTime| {
            let skew = seconds_between(self.signing_time(), *theirs);
            skew.unsigned_abs() >= CERTAIN_SKEW
        };
        let Rejection {
            code,
            server_time,
            is_certain,
        } = rejection;
        // The response to a HEAD has no text.
        let may_be_of_clock =
            is_of_clock(code) || matches!(code, Code::Forbidden | Code::SignatureMismatch);
        match server_time {
            Some(theirs) if is_certain && is_of_clock(code) => Cause::Clock(theirs),
            Some(theirs) if may_be_of_clock && is_skewed(&theirs) => Cause::Clock(theirs),
            _ if is_certain && is_of_credentials(code) => Cause::Credentials,
            _ if is_of_credentials(code) || code == Code::Forbidden => Cause::Unknown,
            _ => Cause::Other,
        }
    }
}

/// How much of a body is read to find out why a request was rejected. AWS's errors name the reason first.
const MAX_PEEKED: usize = 2 * 1024;
/// How long to wait for it.
const PEEK_WAIT: Duration = Duration::from_secs(1);
