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
        Self::to_route(entry, &route.name, route.shown_path())
    }

    fn to_route(entry: &Entry, name: &str, route_path: &str) -> Result<Self, ApiError> {
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
                route: name.to_owned(),
                method: "POST".to_owned(),
                path: route_path.to_owned(),
                headers,
                body,
            });
        };
        let query = entry.query.as_ref().map(text).transpose()?;
        if query.as_ref().is_some_and(|query| query.contains(MASK)) {
            return Err(ApiError::NotReplayable("its query contained a secret"));
        }
        Ok(Self {
            route: name.to_owned(),
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::inspector::mask::Header;

    fn entry(method: Option<&str>, body: &str) -> Entry {
        let mut entry = Entry::new(1, "http", UNIX_EPOCH);
        entry.method = method.map(str::to_owned);
        entry.path = method.map(|_| "/orders/7".to_owned());
        entry.request_body = Some(Payload::of(body.as_bytes(), 100));
        let headers = [
            ("host", Some("127.0.0.1:4100")),
            ("connection", Some("keep-alive")),
            ("content-length", Some("2")),
            ("sec-fetch-site", Some("same-origin")),
            ("authorization", None),
            ("content-type", Some("text/plain")),
            ("x-team", Some("blue")),
        ];
        let header = |(name, value): (&str, Option<&str>)| Header {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        entry.request_headers = headers.map(header).to_vec();
        entry
    }

    fn resent(entry: &Entry) -> Result<ResentRequest, String> {
        ResentRequest::to_route(entry, "rest", "/orders").map_err(|error| error.to_string())
    }

    fn headers(request: &ResentRequest) -> Vec<(&str, &str)> {
        let headers = request.headers.iter();
        headers
            .map(|header| (header.name.as_str(), header.value.as_str()))
            .collect()
    }

    #[test]
    fn a_request_is_repeated_without_what_belongs_to_its_connection() {
        let mut original = entry(Some("PUT"), "{}");
        original.query = Some(Payload::of(b"x=1", 100));
        let request = resent(&original).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("PUT", "/orders/7?x=1")
        );
        assert_eq!(
            headers(&request),
            [("content-type", "text/plain"), ("x-team", "blue")]
        );
        assert_eq!(request.body.as_deref(), Some("{}"));
    }

    #[test]
    fn an_operation_of_a_socket_is_posted_to_its_route() {
        let request = resent(&entry(None, "{}")).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/orders")
        );
        assert_eq!(
            headers(&request),
            [("x-team", "blue"), ("content-type", JSON)]
        );
    }

    #[test]
    fn what_is_not_a_whole_request_is_not_repeated() {
        type Change = fn(&mut Entry);
        let rows: [(&str, Change); 6] = [
            ("subscription", |entry| {
                entry.facts.operation = Some("subscription")
            }),
            ("subscription", |entry| entry.response_status = Some(101)),
            ("subscription", |entry| entry.protocol = "tunnel"),
            ("stored whole", |entry| {
                entry.request_body = Some(Payload::of(b"long", 2))
            }),
            ("not text", |entry| {
                entry.request_body = Some(Payload::of(&[0xff], 2))
            }),
            ("secret", |entry| {
                entry.query = Some(Payload::of(b"token=***", 100))
            }),
        ];
        for (expected, change) in rows {
            let mut entry = entry(Some("GET"), "");
            change(&mut entry);
            let error = resent(&entry).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn all_but_reads_and_queries_must_be_confirmed() {
        let query = r#"{"query":"{ rooms { id } }"}"#;
        let mutation = r#"{"query":"mutation { a }"}"#;
        for (method, kind, body, expected) in [
            ("GET", UpstreamKind::Http, "", false),
            ("HEAD", UpstreamKind::Http, "", false),
            ("POST", UpstreamKind::Http, query, true),
            ("DELETE", UpstreamKind::Http, "", true),
            ("POST", UpstreamKind::Events, query, true),
            ("POST", UpstreamKind::Graphql, query, false),
            ("POST", UpstreamKind::Graphql, mutation, true),
            ("POST", UpstreamKind::Graphql, "", true),
            ("POST", UpstreamKind::Graphql, "not json", true),
            (
                "POST",
                UpstreamKind::Graphql,
                &format!("[{query},{mutation}]"),
                true,
            ),
            ("PUT", UpstreamKind::Graphql, query, true),
        ] {
            let mut request = resent(&entry(Some(method), body)).unwrap();
            request.body = Some(body.to_owned());
            assert_eq!(
                request.may_change(kind),
                expected,
                "{method} {kind:?} {body}"
            );
        }
    }
}
