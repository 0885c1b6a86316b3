//! The step `request` of an API that accepts only WebSockets: one signed handshake.

use bytes::Bytes;
use http::StatusCode;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http_body_util::Limited;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::refusal::{self, Answer, MAX_RESPONSE, upstream_fault};
use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use crate::sign::RequestTarget;
use crate::upstream::{Error, Timing, read_to_end};

/// Opens a WebSocket as a tunnel does, and closes it.
pub(super) async fn open(target: &Target, path: &RequestTarget) -> Result<Passed<()>, NotPassed> {
    let config = target.upstream.config();
    let after = config.connect + config.first_byte;
    let answer = match timeout(after, handshake(target, path)).await {
        Ok(answer) => answer.map_err(|error| NotPassed::Failed(upstream_fault(&error)))?,
        Err(_) => {
            let detail = format!("the WebSocket handshake was not answered within {after:?}");
            let fix = "Check the log of the API's $connect route. timeouts.connect and timeouts.first_byte are the \
                       limits.";
            return Err(Fault::new("timeout", detail, fix).into());
        }
    };
    let shown = "WebSocket handshake";
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        let detail = format!("{shown}: {}", answer.status);
        return Ok(Passed { value: (), detail });
    }
    let fault = refusal::of_response(target, &answer, None, shown, &[]).await;
    Err(fault.into())
}

/// Returns the answer to a signed handshake. The connection is closed when its response is dropped.
async fn handshake(target: &Target, path: &RequestTarget) -> Result<Answer, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if let Ok(key) = HeaderValue::from_str(&generate_key()) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    let mut timing = Timing::default();
    let opened = target.upstream.open_tunnel(path, headers, &mut timing);
    let (head, body) = opened.await?.into_parts();
    let body = if head.status == StatusCode::SWITCHING_PROTOCOLS {
        Bytes::new()
    } else {
        let read = read_to_end(Limited::new(body, MAX_RESPONSE)).await;
        read.map_err(Error::Interrupted)?
    };
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
    })
}
