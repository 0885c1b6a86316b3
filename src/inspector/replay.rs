//! Sends a request again, as a client of the proxied port would: through its access rules and policies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::resend::ResentRequest;
use super::respond::ApiError;
use super::state::StateSources;
use super::store::Store;

/// `Replay` of `web/src/api.ts`.
#[derive(Debug, Deserialize)]
pub(super) struct Replay {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    request: Option<ResentRequest>,
    #[serde(default)]
    confirm: bool,
    #[serde(default)]
    replay_of: Option<u64>,
}

/// How long a replayed request may take. AppSync executes for at most 30 s.
pub(super) const LIFETIME: Duration = Duration::from_secs(60);
/// The longest response that is read; the store keeps less.
const MAX_RESPONSE: usize = 16 * 1024 * 1024;

impl Replay {
    /// Sends the request, and returns the id of its entry and its status. `token` is that of the page.
    pub(super) async fn run(
        self,
        store: &Arc<Store>,
        sources: &StateSources,
        token: Option<&HeaderValue>,
    ) -> Result<Value, ApiError> {
        let (request, of) = match (self.request, self.id) {
            (Some(request), None) => (request, self.replay_of.unwrap_or_default()),
            (None, Some(id)) => {
                let read = |entry: &_| ResentRequest::of_entry(entry, &sources.routes);
                (store.read(id, read).ok_or(ApiError::NoEntry)??, id)
            }
            (Some(_), Some(_)) | (None, None) => return Err(ApiError::Parameter("id or request")),
        };
        let route = sources
            .routes
            .iter()
            .find(|route| route.name == request.route);
        let route = route.ok_or(ApiError::Parameter("route"))?;
        let path = request.path.split('?').next().unwrap_or_default();
        let below = path.strip_prefix(route.path.as_str());
        if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(ApiError::Parameter("path: it is not below the route's"));
        }
        if !self.confirm && request.may_change(route.upstream.endpoint().kind) {
            return Err(ApiError::NotConfirmed);
        }
        let address = sources.address.ok_or(ApiError::NotReplayable(
            "countersign listens on no TCP address",
        ))?;
        let sent = send(store, address, of, &request, token);
        let (id, status) = timeout(LIFETIME, sent)
            .await
            .map_err(|_| ApiError::NotSent("the response took too long".to_owned()))??;
        Ok(json!({ "id": id, "status": status }))
    }
}

async fn send(
    store: &Arc<Store>,
    address: SocketAddr,
    of: u64,
    request: &ResentRequest,
    token: Option<&HeaderValue>,
) -> Result<(u64, u16), ApiError> {
    let failed = |error: &dyn std::fmt::Display| ApiError::NotSent(error.to_string());
    let request = to_http(request, address, token)?;
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| failed(&error))?;
    let own = stream.local_addr().map_err(|error| failed(&error))?;
    // The entry is found by the address of this connection.
    let expected = store.expect_replay(own, of);
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    // The connection ends after its sender has been dropped.
    let exchange = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        // The rest of a long response is not needed.
        let _ = Limited::new(body, MAX_RESPONSE).collect().await;
        Ok::<_, hyper::Error>(head.status.as_u16())
    };
    let (status, _) = tokio::join!(exchange, connection);
    let status = status.map_err(|error| failed(&error))?;
    let id = expected.id().ok_or(ApiError::NoEntry)?;
    Ok((id, status))
}

fn to_http(
    request: &ResentRequest,
    address: SocketAddr,
    token: Option<&HeaderValue>,
) -> Result<Request<Full<Bytes>>, ApiError> {
    let body = Bytes::from(request.body.clone().unwrap_or_default());
    let method = Method::from_bytes(request.method.as_bytes());
    let method = method.map_err(|_| ApiError::Parameter("method"))?;
    let mut built = Request::new(Full::new(body.clone()));
    *built.method_mut() = method;
    *built.uri_mut() = request
        .path
        .parse()
        .map_err(|_| ApiError::Parameter("path"))?;
    let headers = built.headers_mut();
    for header in &request.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let name = name.map_err(|_| ApiError::Parameter("header name"))?;
        let value = HeaderValue::from_str(&header.value);
        headers.append(
            name,
            value.map_err(|_| ApiError::Parameter("header value"))?,
        );
    }
    let host = HeaderValue::from_str(&address.to_string());
    headers.insert(HOST, host.map_err(|_| ApiError::Parameter("address"))?);
    headers.insert(CONTENT_LENGTH, body.len().into());
    if let Some(token) = token {
        headers.insert(
            HeaderName::from_static("x-countersign-token"),
            token.clone(),
        );
    }
    Ok(built)
}
