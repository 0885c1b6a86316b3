//! Renews the credentials or corrects the clock after a rejection by AWS, so that the request can be signed
//! again.
//!
//! AWS authenticates a request before it executes it, so a mutation that a service of AWS rejected was not
//! executed, and can be sent again. A response from behind API Gateway may be an application's own, after it
//! has executed the request, even if it is marked as AWS's: applications call AWS, too.

use std::time::{Duration, Instant, SystemTime};

use countersign_protocol::error_code::Code;
use countersign_protocol::rejection::{is_of_clock, is_of_credentials};
use http::{Response, StatusCode};
use tracing::{info, warn};

use super::clock_skew::{CERTAIN_SKEW, ClockSkew, current_date, seconds_between};
use super::rejection::{
    Rejection, Renewals, error_type, is_rejection_status, may_be_rejection, rejection, server_time,
    type_in_body,
};
use super::{Error, ResponseBody, Upstream, UpstreamKind};

/// The cause that a rejection suggests.
enum Cause {
    Credentials,
    Clock(SystemTime),
    /// Perhaps the clock, with the correction to try: the response may be an application's own.
    PerhapsClock(i64),
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

    /// Returns the time for the next signature of a request for which `renewals` were made.
    pub(super) fn next_signing_time(&self, renewals: Renewals) -> SystemTime {
        let tentative = renewals.tentative.map(ClockSkew::now_with);
        tentative.unwrap_or_else(|| self.signing_time())
    }

    /// Reports that upstream accepted a request that was signed at `signed_at`.
    pub fn accepted(&self, signed_at: Instant) {
        self.signer().credential_source().accepted(signed_at);
    }

    /// Returns why AWS rejected a request; `None` if the response, whose status is that of a rejection, is not a
    /// known one. The part of the body that has to be read for this remains part of it.
    async fn rejection(&self, response: &mut Response<ResponseBody>) -> Option<Rejection> {
        let status = response.status();
        let is_of_service = self.is_of_service();
        let headers = response.headers().clone();
        let marked = error_type(&headers);
        let is_marked = is_of_service || marked.is_some();
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
            server_time: server_time.filter(|_| is_marked),
            date: current_date(&headers),
            is_certain: is_of_service,
            is_marked,
        })
    }

    /// Returns whether only AWS responds, and no application behind it.
    fn is_of_service(&self) -> bool {
        let service = self.signer().scope().service.as_str();
        self.endpoint().kind != UpstreamKind::Http || !APPLICATION_SERVICES.contains(&service)
    }

    /// Returns whether a response that is not a rejection shows that AWS accepted the signature.
    fn shows_acceptance(&self, status: StatusCode) -> bool {
        // AWS throttles and fails before it authenticates, too, and a firewall rejects before.
        let may_precede = status.is_server_error()
            || matches!(
                status,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
            );
        status.is_success() || (self.is_of_service() && !may_precede)
    }

    /// Returns whether `response` is the final response to a request that was signed at `signed_at`. If it
    /// is not, the request has to be signed and sent again.
    ///
    /// # Errors
    /// When upstream's clock differs too much from the local one.
    pub(super) async fn is_final(
        &self,
        response: &mut Response<ResponseBody>,
        signed_at: Instant,
        renewals: &mut Renewals,
    ) -> Result<bool, Error> {
        let rejection = if is_rejection_status(response.status()) {
            Box::pin(self.rejection(response)).await
        } else {
            None
        };
        let Some(rejection) = rejection else {
            if self.shows_acceptance(response.status()) {
                self.accepted(signed_at);
            }
            if response.status().is_success() {
                self.adopt_correction(*renewals);
            }
            return Ok(true);
        };
        let renewal = Box::pin(self.renew(rejection, signed_at, renewals));
        Ok(!renewal.await?)
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
        let can_repeat = renewals.can_repeat(&rejection);
        // It was in vain.
        renewals.tentative = None;
        let (reason, is_repeated) = match self.cause(&rejection, *renewals) {
            Cause::Clock(theirs) => {
                let before = self.clock_skew().correction();
                let corrected = self.clock_skew().correct(signed_at, theirs);
                let corrected = corrected.inspect_err(|error| warn!("{error}"));
                let is_corrected = match corrected {
                    Ok(is_corrected) => is_corrected,
                    Err(error) if rejection.is_certain => return Err(error),
                    Err(_) => false,
                };
                if self.clock_skew().correction() != before {
                    self.report_correction(Some(code));
                }
                let is_first = !std::mem::replace(&mut renewals.clock, true);
                ("clock", is_corrected && can_repeat && is_first)
            }
            Cause::PerhapsClock(correction) => {
                renewals.clock = true;
                renewals.tentative = Some(correction);
                ("clock", true)
            }
            cause @ (Cause::Credentials | Cause::Unknown) => {
                let code = matches!(cause, Cause::Credentials).then_some(code);
                let is_first = !std::mem::replace(&mut renewals.credentials, true);
                let is_renewed = if can_repeat && is_first {
                    source.renew(signed_at, code).await
                } else {
                    source.reject(signed_at, code);
                    false
                };
                ("credentials", is_renewed)
            }
            Cause::Other => return Ok(false),
        };
        if is_repeated {
            self.metrics().replayed(reason);
        }
        Ok(is_repeated)
    }

    /// Keeps the correction with which a request has succeeded, if it was tentative.
    pub(super) fn adopt_correction(&self, renewals: Renewals) {
        if let Some(correction) = renewals.tentative {
            self.clock_skew().adopt(correction);
            self.report_correction(None);
        }
    }

    fn report_correction(&self, code: Option<Code>) {
        let seconds = self.clock_skew().correction();
        let gauge = &self.metrics().signing_clock_offset_seconds;
        gauge.set(seconds as f64);
        let code = code.map(Code::as_str);
        info!(seconds, error.type = code, "clock corrected for signatures");
    }

    fn cause(&self, rejection: &Rejection, renewals: Renewals) -> Cause {
        let Rejection {
            code,
            server_time,
            date,
            is_certain,
            is_marked,
        } = *rejection;
        // The response to a HEAD has no text.
        let may_be_of_clock =
            is_of_clock(code) || matches!(code, Code::Forbidden | Code::SignatureMismatch);
        let known = if is_certain {
            server_time.or(date)
        } else {
            server_time
        };
        let is_skewed = |theirs| {
            let skew = seconds_between(self.signing_time(), theirs);
            skew.unsigned_abs() >= CERTAIN_SKEW
        };
        if let Some(theirs) = known
            && (is_of_clock(code) || (may_be_of_clock && is_skewed(theirs)))
        {
            return Cause::Clock(theirs);
        }
        if may_be_of_clock
            && !renewals.clock
            && renewals.can_repeat(rejection)
            && let Some(theirs) = date
            && let Some(correction) = self.clock_skew().attempt(theirs)
        {
            return Cause::PerhapsClock(correction);
        }
        if is_marked && is_of_credentials(code) {
            Cause::Credentials
        } else if is_of_credentials(code) || code == Code::Forbidden {
            Cause::Unknown
        } else {
            Cause::Other
        }
    }
}

/// How much of a body is read to find out why a request was rejected. AWS's errors name the reason first.
const MAX_PEEKED: usize = 2 * 1024;
/// How long to wait for it.
const PEEK_WAIT: Duration = Duration::from_secs(1);
