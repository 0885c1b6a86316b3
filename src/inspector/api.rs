//! The inspector's API, below `/inspect/` on the admin listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::access::{Access, TOKEN};
use super::assets;
use super::capture::Inspector;
use super::copy::{self, Unsigned};
use super::filter::Filter;
use super::har;
use super::json::{self, Bodies};
use super::replay::{self, Replay};
use super::resend::ResentRequest;
use super::respond::{Answer, ApiError, error_answer, json_answer, protect};
use super::state::{StateSources, recorder};
use super::store::Store;
use super::stream;
use crate::guard::Guard;
use crate::sign::decode;

/// Serves the inspector's API.
#[derive(Debug)]
pub struct InspectApi {
    pub(super) store: Arc<Store>,
    pub(super) sources: Arc<StateSources>,
    access: Access,
    streams: Arc<Semaphore>,
}

/// How long the connection of a request may last, which a request can extend.
#[derive(Debug)]
pub struct Lifetime(AtomicU64);

/// `{"is_paused": …}`
#[derive(Deserialize)]
struct Pause {
    is_paused: bool,
}

/// How many pages may follow the store at once.
const MAX_STREAMS: usize = 8;
/// How long one stream lasts; its page then opens the next one.
const STREAM_LIFETIME: Duration = Duration::from_secs(3600);
/// A replayed request may be as large as those of clients.
const MAX_BODY: usize = 16 * 1024 * 1024;
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

impl Lifetime {
    pub fn new(lifetime: Duration) -> Self {
        Self(AtomicU64::new(lifetime.as_secs()))
    }

    /// Returns how long the connection may last, from its start.
    pub fn get(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, lifetime: Duration) {
        self.0.store(lifetime.as_secs(), Ordering::Relaxed);
    }
}

impl InspectApi {
    /// Returns the API of an inspector; `None` if the inspector is off. `needs_key`: the address is not
    /// loopback, or clients of the proxied port need a token.
    pub fn new(
        inspector: &Inspector,
        sources: StateSources,
        guard: Guard,
        needs_key: bool,
    ) -> Option<Self> {
        Some(Self {
            store: Arc::clone(inspector.store()?),
            sources: Arc::new(sources),
            access: Access::new(guard, needs_key),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        })
    }

    /// Returns the path of the page, with the key in its fragment.
    pub fn path(&self) -> String {
        format!("/inspect/{}", self.access.fragment())
    }

    /// Returns the response to a request to a path below `/inspect/`, which the guard has checked.
    pub async fn respond(&self, request: Request<Incoming>, lifetime: &Lifetime) -> Answer {
        let (head, body) = request.into_parts();
        let answered = match head.uri.path().strip_prefix("/inspect/api/") {
            Some(path) => self.api(path, &head, body, lifetime).await,
            None => get(&head).and_then(|()| {
                let base_url = &self.sources.base_url;
                let page = assets::answer(head.uri.path(), &head.headers, base_url);
                page.ok_or(ApiError::NotFound)
            }),
        };
        protect(answered.unwrap_or_else(|error| error_answer(&error)))
    }

    async fn api(
        &self,
        path: &str,
        head: &Parts,
        body: Incoming,
        lifetime: &Lifetime,
    ) -> Result<Answer, ApiError> {
        self.access.check(&head.headers)?;
        let parameters = parameters(head.uri.query().unwrap_or_default());
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            ["state"] => {
                get(head)?;
                let state = self.sources.state(&self.store);
                Ok(json_answer(&state))
            }
            ["entries"] => {
                get(head)?;
                self.entries(&parameters)
            }
            ["entries", id] => {
                get(head)?;
                let after = number(&parameters, "frames_after")?;
                let bodies = bodies(&parameters);
                let read = |entry: &_| json::detail(entry, bodies, after);
                let id = entry_id(id)?;
                let mut detail = self.store.read(id, read).ok_or(ApiError::NoEntry)?;
                if let Some(connection) = self.sources.realtime_of(id) {
                    detail["realtime"] = connection.into();
                }
                Ok(json_answer(&detail))
            }
            ["entries", id, "request"] => {
                get(head)?;
                let read = |entry: &_| ResentRequest::of_entry(entry, &self.sources.routes);
                let request = self.store.read(entry_id(id)?, read);
                Ok(json_answer(&json!(request.ok_or(ApiError::NoEntry)??)))
            }
            ["entries", id, "curl"] => {
                get(head)?;
                self.copy(entry_id(id)?, &parameters).await
            }
            ["har"] => {
                get(head)?;
                let filter = Filter::new(&parameters);
                let base = &self.sources.base_url;
                let read = |entry: &_| filter.matches(entry).then(|| har::entry(entry, base));
                let (entries, ..) = self.store.list(None, usize::MAX, read);
                Ok(json_answer(&har::document(entries)))
            }
            ["replay"] => {
                let body = post(head, body).await?;
                let replay: Replay =
                    serde_json::from_slice(&body).map_err(|_| ApiError::NotJson)?;
                lifetime.set(replay::LIFETIME);
                let token = head.headers.get(TOKEN);
                let result = replay.run(&self.store, &self.sources, token).await?;
                Ok(json_answer(&result))
            }
            ["stream"] => {
                get(head)?;
                let permit = Arc::clone(&self.streams).try_acquire_owned();
                let permit = permit.map_err(|_| ApiError::TooManyStreams)?;
                lifetime.set(STREAM_LIFETIME);
                let seen = last_event_id(&head.headers);
                let (store, sources) = (Arc::clone(&self.store), Arc::clone(&self.sources));
                Ok(stream::answer(store, sources, seen, permit))
            }
            ["clear"] => {
                let _: Bytes = post(head, body).await?;
                self.store.clear();
                Ok(json_answer(&recorder(&self.store)))
            }
            ["pause"] => {
                let body = post(head, body).await?;
                let pause: Pause = serde_json::from_slice(&body).map_err(|_| ApiError::NotJson)?;
                self.store.pause(pause.is_paused);
                Ok(json_answer(&recorder(&self.store)))
            }
            _ => Err(ApiError::NotFound),
        }
    }

    /// Returns a request as a command.
    async fn copy(&self, id: u64, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
        let form = parameters.iter().find(|(name, _)| name == "form");
        match form.map(|(_, form)| form.as_str()) {
            None => {
                let read = |entry: &_| ResentRequest::of_entry(entry, &self.sources.routes);
                let request = self.store.read(id, read).ok_or(ApiError::NoEntry)??;
                Ok(json_answer(&copy::local(&request, &self.sources)))
            }
            Some("signed") => {
                let read = |entry: &_| Unsigned::of_entry(entry, &self.sources);
                let request = self.store.read(id, read).ok_or(ApiError::NoEntry)??;
                Ok(json_answer(&request.signed(&self.sources).await?))
            }
            Some("presigned") => {
                let read = |entry: &_| Unsigned::of_entry(entry, &self.sources);
                let request = self.store.read(id, read).ok_or(ApiError::NoEntry)??;
                Ok(json_answer(&request.presigned(&self.sources).await?))
            }
            Some(_) => Err(ApiError::Parameter("form")),
        }
    }

    fn entries(&self, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
        let before = number(parameters, "before")?;
        let limit = number(parameters, "limit")?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let filter = Filter::new(parameters);
        let read = |entry: &_| filter.matches(entry).then(|| json::summary(entry));
        let (entries, has_more, revision) = self.store.list(before, limit, read);
        Ok(json_answer(&json!({
            "entries": entries,
            "has_more": has_more,
            "revision": revision,
        })))
    }
}

fn get(head: &Parts) -> Result<(), ApiError> {
    if head.method == Method::GET {
        Ok(())
    } else {
        Err(ApiError::Method("GET"))
    }
}

/// Returns the body of a request that changes something: a JSON object.
async fn post(head: &Parts, body: Incoming) -> Result<Bytes, ApiError> {
    if head.method != Method::POST {
        return Err(ApiError::Method("POST"));
    }
    let kind = head.headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()?.split(';').next());
    if kind.map(str::trim) != Some("application/json") {
        return Err(ApiError::NotJson);
    }
    let read = Limited::new(body, MAX_BODY).collect().await;
    let body = read.map_err(|_| ApiError::NotJson)?.to_bytes();
    let is_object = serde_json::from_slice::<serde_json::Map<String, _>>(&body)
        .is_ok_and(|_: serde_json::Map<String, serde_json::Value>| true);
    if is_object {
        Ok(body)
    } else {
        Err(ApiError::NotJson)
    }
}

/// Returns the revision that a page has seen.
fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get("last-event-id")?;
    value.to_str().ok()?.parse().ok()
}

fn entry_id(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::NoEntry)
}

fn bodies(parameters: &[(String, String)]) -> Bodies {
    let is_asked = |(name, value): &(String, String)| name == "reveal" && value == "bodies";
    if parameters.iter().any(is_asked) {
        Bodies::Revealed
    } else {
        Bodies::Hidden
    }
}

fn number(parameters: &[(String, String)], name: &'static str) -> Result<Option<u64>, ApiError> {
    let mut found = parameters.iter().filter(|(key, _)| key == name);
    let value = found.next().map(|(_, value)| value.parse());
    value.transpose().map_err(|_| ApiError::Parameter(name))
}

/// Returns the decoded parameters of a query.
fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| decode(text).unwrap_or_else(|_| text.to_owned());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}
