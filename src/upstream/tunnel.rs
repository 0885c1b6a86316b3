//! Opens a WebSocket to upstream for a client, with a signed handshake.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioIo;

use super::rejection::Renewals;
use super::{
    DialError, Error, FramingError, ResponseBody, Timing, Upstream, UpstreamBody, framing,
};
use crate::deadline::timeout;
use crate::net::set_user_timeout;
use crate::sign::{RequestTarget, TargetError};

/// The time after which a tunnel is lost whose peer acknowledges nothing or does not read. The system
/// limits both or neither. Longer than that of other connections, because a client may send more than
/// upstream reads at once.
const TUNNEL_USER_TIMEOUT: Duration = Duration::from_secs(60);

impl Upstream {
    /// Signs the `GET` request of a WebSocket handshake, sends it over a dedicated connection, and returns
    /// upstream's response. If its status is 101, [`hyper::upgrade::on`] returns the connection.
    ///
    /// `headers` must meet the requirements of [`Upstream::send`], except that they must contain
    /// `connection`, `upgrade` and `sec-websocket-*`.
    ///
    /// A handshake that AWS rejected because of its credentials or its time is performed once more after
    /// these have been renewed.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open_tunnel(
        &self,
        target: &RequestTarget,
        headers: HeaderMap,
        timing: &mut Timing,
    ) -> Result<Response<ResponseBody>, Error> {
        let started = Instant::now();
        self.recorder().websocket(target.as_str());
        // The handshake of a WebSocket is a GET.
        let mut renewals = Renewals::new(true);
        loop {
            let signed_at = Instant::now();
            let response = self.handshake(target, headers.clone(), renewals, started, timing);
            let idle = self.config().idle;
            let mut response = response.await?.map(|body| ResponseBody::new(body, idle));
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                self.accepted(signed_at);
                self.adopt_correction(renewals);
                return Ok(response);
            }
            let is_final = self.is_final(&mut response, signed_at, &mut renewals);
            if is_final.await? {
                return Ok(response);
            }
        }
    }

    async fn handshake(
        &self,
        target: &RequestTarget,
        mut headers: HeaderMap,
        renewals: Renewals,
        started: Instant,
        timing: &mut Timing,
    ) -> Result<Response<UpstreamBody>, Error> {
        let dialled = self.http1_dialer().dial_with_repeats().await?;
        let (tcp, _) = dialled.stream.get_ref();
        set_user_timeout(tcp, TUNNEL_USER_TIMEOUT).map_err(|source| DialError::Connect {
            address: self.endpoint().address.to_string(),
            source: source.into(),
        })?;
        timing.connect += dialled.took;
        let opened = http1::Builder::new()
            // Some servers compare names case-sensitively with the spelling of RFC 6455.
            .title_case_headers(true)
            .handshake(TokioIo::new(dialled.stream))
            .await;
        let (mut sender, connection) = opened.map_err(Error::Tunnel)?;
        self.tasks().execute(async move {
            // The sender or the upgraded connection reports the error.
            let _ = connection.with_upgrades().await;
        });

        // Signed after the connection is open, because signatures expire.
        let now = self.next_signing_time(renewals);
        timing.signed_at = Some(now);
        timing.attempts += 1;
        let uri = self
            .sign(&Method::GET, target, &mut headers, &[], now, timing)
            .await?;
        let host = HeaderValue::from_str(self.signer().host()).map_err(|_| TargetError::Invalid)?;
        headers.insert(HOST, host);
        let path = uri.path_and_query().ok_or(TargetError::Invalid)?;
        let sent = self.sent_request(Method::GET, &uri, headers.clone(), Bytes::new());
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = Uri::from(path.clone());
        *request.headers_mut() = headers;
        let after = self.config().first_byte;
        let result = timeout(after, sender.send_request(request)).await;
        let spent = timing.signing + timing.connect;
        timing.first_byte = started.elapsed().saturating_sub(spent);
        let Ok(result) = result else {
            return Err(Error::FirstByteTimeout { after });
        };
        let mut response = result.map_err(Error::Tunnel)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if !switches_to_websocket(response.headers()) {
                return Err(FramingError::Switch.into());
            }
            return Ok(response.map(|body| Some(body).into()));
        }
        response.extensions_mut().insert(sent);
        let normalized = framing::normalize(&mut response)?;
        Ok(response.map(|body| (!normalized.is_bodiless).then_some(body).into()))
    }
}

fn switches_to_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let is_first = protocols
        .next()
        .is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    is_first && protocols.next().is_none()
}
