//! A request that can be sent again: from an entry, or as a page has edited it.

use bytes::Bytes;
use countersign_protocol::graphql::{Documents, Inspected, OperationKind};
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::mask::MASK;
use super::payload::Payload;
use super::respond::ApiError;
use super::state::RouteSource;
use crate::upstream::UpstreamKind;

/// `EditedRequest` of `web/src/api.ts`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ResentRequest {
    pub(super) route: String,
    pub(super) method: String,
    /// Path and query below the listener.
    pub(super) path: String,
    pub(super) headers: Vec<ResentHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ResentHeader {
    pub(super) name: String,
    pub(super) value: String,
}

/// Headers that the new connection determines, or that describe the one before.
const OF_CONNECTION: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
];
const JSON: &str = "application/json";

impl ResentRequest {
    /// Returns the request of an entry. An operation of a socket becomes a `POST` to its route.
    ///
    /// # Errors
    /// If it is a subscription or a tunnel, or was not stored whole.
    pub(super) fn of_entry(entry: &Entry, routes: &[RouteSource]) -> Result<Self, ApiError> {
        let of_route =
            |route: &&RouteSource| Some(route.name.as_str()) == entry.facts.route.as_deref();
        let route = routes.iter().find(of_route);
        let route = route.ok_or(ApiError::NotReplayable("it has no route"))?;
        if matches!(entry.facts.operation, Some("subscription" | "subscribe"))
            || entry.response_status == Some(101)
            || entry.protocol == "tunnel"
        {
            return Err(ApiError::NotReplayable("it is a subscription or a socket"));
        }
        let body = entry.request_body.as_ref().map(text).transpose()?;
        let headers = entry.request_headers.iter().filter_map(|header| {
            let value = header.value.clone()?;
            let is_kept =
                !OF_CONNECTION.contains(&header.name.as_str()) && !header.name.starts_with("sec-");
            is_kept.then(|| ResentHeader {
                name: header.name.clone(),
                value,
            })
        });
        let mut headers: Vec<ResentHeader> = headers.collect();
        let (Some(method), Some(path)) = (&entry.method, &entry.path) else {
            headers.retain(|header| header.name != "content-type" && header.name != "accept");
            headers.push(ResentHeader {
                name: "content-type".to_owned(),
                value: JSON.to_owned(),
            });
            return Ok(Self {
                route: route.name.clone(),
                method: "POST".to_owned(),
                path: route.shown_path().to_owned(),
                headers,
                body,
            });
        };
        let query = entry.query.as_ref().map(text).transpose()?;
        if query.as_ref().is_some_and(|query| query.contains(MASK)) {
            return Err(ApiError::NotReplayable("its query contained a secret"));
        }
        Ok(Self {
            route: route.name.clone(),
            method: method.clone(),
            path: query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")),
            headers,
            body,
        })
    }

    /// Returns whether the request may change something, so that it must be confirmed.
    pub(super) fn may_change(&self, kind: UpstreamKind) -> bool {
        if matches!(self.method.as_str(), "GET" | "HEAD") {
            return false;
        }
        if kind != UpstreamKind::Graphql || self.method != "POST" {
            return true;
        }
        let body = Bytes::from(self.body.clone().unwrap_or_default());
        let inspected = Inspected::body(&body, &Documents::default(), false);
        let is_query = inspected.is_ok_and(|(selection, _)| {
            let selected = selection.and_then(Result::ok);
            selected.is_some_and(|selected| selected.kind == OperationKind::Query)
        });
        !is_query
    }
}

fn text(payload: &Payload) -> Result<String, ApiError> {
    if payload.is_truncated() {
        return Err(ApiError::NotReplayable("its body was not stored whole"));
    }
    String::from_utf8(payload.stored.clone())
        .map_err(|_| ApiError::NotReplayable("its body is not text"))
}
