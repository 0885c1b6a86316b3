//! The request that AWS verifies, derived from the request that was sent.
//!
//! AWS verifies an HTTP request as it arrives. It verifies a realtime handshake or message as a `POST`
//! that was never sent: the handshake with the body `{}`, a `start` with the text of its `data`, an
//! Events message with `{"channel":…,"events":…}`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::authorization::Authorization;
use super::canonical::Canonical;
use super::encode::{Slash, collapsed, decode_query, encode, sha256_hex};
use super::evidence::{Request, header};

/// A request as AWS verifies it.
#[derive(Clone, Debug)]
pub(super) struct VerifiedRequest {
    pub(super) method: String,
    /// As sent, still encoded.
    pub(super) path: String,
    /// As sent, without the question mark.
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    /// `None` if the body is not known.
    pub(super) body: Option<Vec<u8>>,
    /// The whole realtime message.
    pub(super) message: Option<String>,
    pub(super) authorization: Authorization,
}

/// The path of the request that a GraphQL handshake is verified as.
pub(super) const CONNECT: &str = "/graphql/connect";

/// The longest body that is inspected; longer ones count as unknown.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// The longest target and header list.
const MAX_HEADERS: usize = 1000;

/// The value of `x-amz-content-sha256` that excludes the body from the signature.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

impl VerifiedRequest {
    pub(super) fn new(request: &Request) -> Self {
        let body = request.body.as_deref();
        let body = body.filter(|body| body.len() <= MAX_BODY);
        let message = body.and_then(Self::from_message);
        message.unwrap_or_else(|| {
            let (path, query, url_host) = split_target(&request.target);
            let mut headers: Vec<(String, String)> =
                request.headers.iter().take(MAX_HEADERS).cloned().collect();
            if let Some(host) = url_host.filter(|_| header(&headers, "host").is_none()) {
                headers.push(("host".to_owned(), host.to_owned()));
            }
            let sent = Self {
                method: request.method.clone(),
                path: path.to_owned(),
                query: query.to_owned(),
                authorization: Authorization::new(&headers, query),
                headers,
                body: body.map(<[u8]>::to_vec),
                message: None,
            };
            sent.as_handshake().unwrap_or(sent)
        })
    }

    /// Returns the request that a realtime message is verified as.
    fn from_message(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        if !text.trim_start().starts_with('{') {
            return None;
        }
        let json: Map<String, Value> = serde_json::from_str(text).ok()?;
        let kind = json.get("type").and_then(Value::as_str)?;
        let (path, authorization, body) = match kind {
            "start" => {
                let payload = json.get("payload")?;
                let data = payload.get("data").and_then(Value::as_str);
                (
                    "/graphql",
                    payload.get("extensions")?.get("authorization")?,
                    data.map(|data| data.as_bytes().to_vec()),
                )
            }
            "subscribe" | "publish" => {
                let body = signed_events(json.get("channel")?, json.get("events"));
                ("/event", json.get("authorization")?, Some(body))
            }
            _ => return None,
        };
        let headers = entries(authorization.as_object()?);
        Some(Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: String::new(),
            authorization: Authorization::new(&headers, ""),
            headers,
            body,
            message: Some(text.to_owned()),
        })
    }

    /// Returns the request that a handshake of AppSync's realtime endpoint is verified as.
    fn as_handshake(&self) -> Option<Self> {
        let is_upgrade = header(&self.headers, "upgrade")
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        let offered = header(&self.headers, "sec-websocket-protocol").unwrap_or_default();
        let mut offered = offered.split(',').map(str::trim);
        let in_protocol = offered
            .clone()
            .find_map(|name| name.strip_prefix("header-"));
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let in_query = pairs.find(|(name, _)| *name == "header");
        let is_events = self.path.starts_with("/event");
        let is_realtime_path = self.path.starts_with("/graphql") || is_events;
        let is_named = offered.any(|name| matches!(name, "graphql-ws" | "aws-appsync-event-ws"));
        let is_appsync = (is_upgrade || is_named) && is_realtime_path || in_protocol.is_some();
        if !(is_appsync || in_query.is_some() && is_realtime_path) {
            return None;
        }
        let encoded = in_protocol.map(str::to_owned).or_else(|| {
            let (_, value) = in_query?;
            String::from_utf8(super::encode::decode(value)).ok()
        });
        let headers = match encoded {
            Some(encoded) => {
                let json: Option<Map<String, Value>> =
                    decode_base64(&encoded).and_then(|json| serde_json::from_slice(&json).ok());
                entries(&json.unwrap_or_default())
            }
            None => self.headers.clone(),
        };
        Some(Self {
            method: "POST".to_owned(),
            path: if is_events { "/event" } else { CONNECT }.to_owned(),
            query: String::new(),
            authorization: Authorization::new(&headers, ""),
            headers,
            body: Some(b"{}".to_vec()),
            message: None,
        })
    }

    /// Returns all values of a header, joined as in a canonical request. `name` is in lower case.
    pub(super) fn joined(&self, name: &str) -> Option<String> {
        let values = self
            .headers
            .iter()
            .filter(|(candidate, _)| candidate.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| collapsed(value));
        let values: Vec<String> = values.collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// Returns the service in the credential scope.
    fn service(&self) -> &str {
        self.authorization.scope().map_or("", |scope| scope.service)
    }

    /// Returns the canonical request that follows from the request; `None` if it is not signed.
    pub(super) fn canonical(&self) -> Option<Canonical> {
        let mut names: Vec<String> = self
            .authorization
            .signed_headers
            .as_ref()?
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        names.sort_unstable();
        names.dedup();
        let path = match (self.path.as_str(), self.service()) {
            ("", _) => "/".to_owned(),
            (path, "s3" | "s3express") => path.to_owned(),
            (path, _) => encode(path.as_bytes(), Slash::Keep),
        };
        let headers = names
            .iter()
            .map(|name| (name.clone(), self.joined(name).unwrap_or_default()));
        Some(Canonical {
            method: self.method.to_ascii_uppercase(),
            path,
            query: self.canonical_query(),
            headers: headers.collect(),
            signed_headers: names.join(";"),
            payload: self.payload(),
        })
    }

    fn canonical_query(&self) -> String {
        let is_presigned = self.authorization.is_presigned;
        let mut pairs: Vec<(String, String)> = self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| {
                let strict = |text| encode(&decode_query(text), Slash::Encode);
                (strict(name), strict(value))
            })
            .filter(|(name, _)| !(is_presigned && name == "X-Amz-Signature"))
            .collect();
        pairs.sort_unstable();
        let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Returns whether the declared hash excludes the body from the signature, and the service accepts that.
    pub(super) fn is_accepted_unsigned(&self, declared: &str) -> bool {
        declared == UNSIGNED_PAYLOAD
            && matches!(self.service(), "s3" | "s3express" | "vpc-lattice-svcs")
    }

    fn payload(&self) -> Option<String> {
        let declared = self.joined("x-amz-content-sha256");
        if declared
            .as_deref()
            .is_some_and(|declared| self.is_accepted_unsigned(declared))
        {
            return declared;
        }
        self.body.as_deref().map(sha256_hex)
    }
}

/// Splits a target, or a URL, into path, query and host.
fn split_target(target: &str) -> (&str, &str, Option<&str>) {
    let (rest, host) = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (host, rest) = rest.split_at(end);
            let host = host.rsplit('@').next();
            (rest, host)
        }
        Some(_) | None => (target, None),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    (path, query, host)
}

/// Returns the body that an Events message is verified with.
fn signed_events(channel: &Value, events: Option<&Value>) -> Vec<u8> {
    let body = match events {
        Some(events) => format!(r#"{{"channel":{channel},"events":{events}}}"#),
        None => format!(r#"{{"channel":{channel}}}"#),
    };
    body.into_bytes()
}

fn entries(object: &Map<String, Value>) -> Vec<(String, String)> {
    let entries = object.iter().take(MAX_HEADERS);
    entries
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Decodes base64 in either alphabet, padded or not.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.replace('-', "+").replace('_', "/");
    LENIENT.decode(text.trim()).ok()
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
