//! The steps `realtime` and `events`: one realtime connection, up to its acknowledgement.

use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use super::refusal::{self, Answer, upstream_fault};
use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use crate::realtime::{AttemptError, RealtimeConfig, attempt};
use crate::upstream::{Dialer, Error};

/// Opens a realtime connection, and closes it when it is acknowledged.
pub(super) async fn connect(
    target: &Target,
    dialer: &Dialer,
    config: &RealtimeConfig,
) -> Result<Passed<()>, NotPassed> {
    let endpoint = target.upstream.endpoint();
    let url = match &endpoint.realtime {
        Some(realtime) => format!("wss://{}{}", realtime.wire_host, realtime.path),
        None => String::new(),
    };
    // The dial, the handshake, and the acknowledgement.
    let after = target.upstream.config().connect + config.handshake * 2;
    let attempted = timeout(after, attempt(&target.upstream, dialer.clone(), config)).await;
    let error = match attempted {
        Ok(Ok(())) => {
            let detail = format!("{url} acknowledged the connection");
            return Ok(Passed { value: (), detail });
        }
        Ok(Err(error)) => error,
        Err(_) => AttemptError::Lost("no acknowledgement in time"),
    };
    let fault = match &error {
        AttemptError::Upstream(Error::Handshake(error))
            if let tungstenite::Error::Http(response) = error.as_ref() =>
        {
            let answer = Answer {
                status: response.status(),
                headers: response.headers().clone(),
                body: response.body().clone().unwrap_or_default().into(),
            };
            refusal::of_response(target, &answer, None, &url, &[]).await
        }
        AttemptError::Upstream(error) => upstream_fault(error),
        AttemptError::Refused {
            failures,
            protocols,
        } => refusal::of_connect(target, failures, protocols).await,
        AttemptError::Lost(reason) => Fault::new(
            "realtime-lost",
            format!("{url} did not acknowledge the connection: {reason}"),
            "A proxy or firewall that does not support WebSockets interrupts them. Check HTTPS_PROXY, and whether \
             the realtime host is allowed. pool.handshake is the limit.",
        ),
    };
    Err(fault.into())
}
