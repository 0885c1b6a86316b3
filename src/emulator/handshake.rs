//! The realtime handshake: an upgrade request, with its authorization in the headers, in a subprotocol
//! or in the query.
//!
//! An upgrade to a known host is always answered with 101. If its authorization is wrong, a
//! `connection_error` frame follows.

use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::appsync::AppSync;
use super::appsync_error::AppSyncError;
use super::connect_error::ConnectError;
use super::protocol::{HostKind, Protocol};
use super::responses::{Body, error_response};
use super::sigv4::{Headers, PlusSign, percent_decode};
use super::socket;

/// The headers and the body that the client signed for a connect.
struct SignedConnect {
    headers: Headers,
    body: Vec<u8>,
}

pub(super) fn is_upgrade(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && tokens(request.headers(), &header::UPGRADE)
            .any(|token| token.eq_ignore_ascii_case("websocket"))
}

/// Responds to an upgrade request and, if it is accepted, spawns the connection's task.
pub(super) async fn accept_upgrade(
    api: &Arc<AppSync>,
    sni: Option<&str>,
    host: &str,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let settings = api.context.switches.settings();
    tokio::time::sleep(settings.connect_delay()).await;
    if settings.refuse_realtime {
        return error_response(api, &AppSyncError::Unavailable);
    }
    let Some((host_kind, protocol)) = endpoint(api, sni, host, request.uri().path()) else {
        return error_response(api, &AppSyncError::NotFound);
    };
    let Some(accept) = accept_key(request.headers()) else {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };

    let offered = tokens(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL)
        .any(|token| token == protocol.subprotocol());
    let result = if !settings.refuse_connect.is_empty() {
        Err(ConnectError::RefusedBySwitch(settings.refuse_connect))
    } else if offered {
        authorize(api, host_kind, protocol, host, &request)
    } else {
        Err(ConnectError::NoProtocol)
    };

    let upgrade = hyper::upgrade::on(&mut request);
    let (connection, shutdown) = (Arc::clone(api), api.context.shutdown.clone());
    api.context.tasks.spawn(async move {
        let drive = async {
            match upgrade.await {
                Ok(upgraded) => {
                    let upgraded = TokioIo::new(upgraded);
                    socket::drive(&connection, upgraded, protocol, result).await;
                }
                Err(error) => tracing::debug!(exception.message = %error, "upgrade failed"),
            }
        };
        shutdown.run_until_cancelled(drive).await;
    });

    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if offered {
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(protocol.subprotocol()),
        );
    }
    response
}

/// Returns the kind of host name and the protocol of an upgrade request. The API's host name is
/// accepted in `Host` only if the SNI is the realtime host: clients that sign their real headers send
/// the API's name in `Host`.
fn endpoint(
    api: &AppSync,
    sni: Option<&str>,
    host: &str,
    path: &str,
) -> Option<(HostKind, Protocol)> {
    let host_kind = api.host_kind(host)?;
    let is_served = match host_kind {
        HostKind::Realtime | HostKind::Custom => true,
        HostKind::Api => sni.is_some_and(|sni| sni.eq_ignore_ascii_case(&api.realtime_host)),
    };
    let protocol = match path {
        // Custom domains accept it too, because Python's gql does not change the path.
        "/graphql" => Protocol::GraphQl,
        "/graphql/realtime" if host_kind == HostKind::Custom => Protocol::GraphQl,
        "/event/realtime" => Protocol::Events,
        _ => return None,
    };
    is_served.then_some((host_kind, protocol))
}

fn authorize(
    api: &AppSync,
    host_kind: HostKind,
    protocol: Protocol,
    host: &str,
    request: &Request<Incoming>,
) -> Result<(), ConnectError> {
    let connect = signed_connect(host_kind, protocol, host, request)?;
    let path = protocol.connect_path();
    api.verify_realtime(path, &connect.headers, &connect.body)
        .map_err(ConnectError::AppSync)?;
    match protocol {
        // AWS documents IAM permissions only for GraphQL's fields.
        Protocol::GraphQl => Ok(()),
        Protocol::Events => api
            .check_policy("appsync:EventConnect", "")
            .map_err(ConnectError::AppSync),
    }
}

fn signed_connect(
    host_kind: HostKind,
    protocol: Protocol,
    host: &str,
    request: &Request<Incoming>,
) -> Result<SignedConnect, ConnectError> {
    let in_headers = || SignedConnect {
        headers: Headers::from_request(request.headers(), host),
        body: NO_BODY.to_vec(),
    };
    let authorized = request.headers().contains_key(header::AUTHORIZATION);
    if host_kind == HostKind::Api {
        return if authorized {
            Ok(in_headers())
        } else {
            Err(ConnectError::HeadersMissing)
        };
    }

    let mut protocols = tokens(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL);
    if let Some(encoded) = protocols.find_map(|token| token.strip_prefix("header-")) {
        let json = general_purpose::URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| ConnectError::Malformed)?;
        return Ok(SignedConnect {
            headers: read_entries(&json)?,
            body: NO_BODY.to_vec(),
        });
    }

    let query = match protocol {
        Protocol::GraphQl => request.uri().query().unwrap_or_default(),
        // AWS does not document authorization in the query for Events.
        Protocol::Events => "",
    };
    match (parameter(query, "header"), parameter(query, "payload")) {
        (Some(header), Some(payload)) => Ok(SignedConnect {
            headers: read_entries(&decode(&header)?)?,
            body: decode(&payload)?,
        }),
        (Some(_), None) | (None, Some(_)) => Err(ConnectError::Malformed),
        (None, None) if authorized && host_kind == HostKind::Custom => Ok(in_headers()),
        (None, None) if query.is_empty() => Err(ConnectError::HeadersMissing),
        (None, None) => Err(ConnectError::ParametersMissing),
    }
}

fn read_entries(json: &[u8]) -> Result<Headers, ConnectError> {
    serde_json::from_slice(json)
        .map(|object| Headers::from_json(&object))
        .map_err(|_| ConnectError::Malformed)
}

/// Decodes base64 in either alphabet, padded or not, because clients differ.
fn decode(encoded: &[u8]) -> Result<Vec<u8>, ConnectError> {
    let standard: Vec<u8> = encoded
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    LENIENT
        .decode(standard)
        .map_err(|_| ConnectError::Malformed)
}

fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(candidate, _)| *candidate == name)
        .map(|(_, value)| percent_decode(value, PlusSign::Literal))
}

/// Checks the requirements of RFC 6455, section 4.2.1, that hyper does not check, and returns the
/// accept key.
fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
    let connection =
        tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.as_bytes();
    if version != "13" || !connection || key.len() != 24 {
        return None;
    }
    HeaderValue::from_str(&derive_accept_key(key)).ok()
}

fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

const NO_BODY: &[u8] = b"{}";
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_decoded() {
        for query in ["payload=e30=", "header=x&payload=e30%3D", "payload=e30"] {
            let payload = parameter(query, "payload").unwrap();
            assert_eq!(decode(&payload).unwrap(), b"{}", "{query}");
        }
        assert_eq!(parameter("header=a+b", "header").unwrap(), b"a+b");
        assert_eq!(parameter("x=1", "header"), None);
        assert_eq!(decode(b"e3*"), Err(ConnectError::Malformed));
    }
}
