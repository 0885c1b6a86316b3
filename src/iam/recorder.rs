//! Records the operations that are sent to the upstream of one route. Without a
//! [`Recording`](super::Recording), it does nothing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use countersign_protocol::events::Channel;
use countersign_protocol::graphql::{read_object, survey};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::Notify;
use tracing::warn;

use super::policy::CONNECTIONS;
use super::{
    ANY, ApiResource, CONNECT, PUBLISH, RecordOutcome, RecordedOperations, SUBSCRIBE, WEBSOCKET,
};

/// Records the operations of one route.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Option<Arc<RecordedRoute>>);

#[derive(Debug)]
pub(super) struct RecordedRoute {
    pub(super) name: String,
    pub(super) api: ApiResource,
    /// Wakes the task that writes the recording.
    changed: Arc<Notify>,
    hasher: RandomState,
    state: Mutex<RouteState>,
}

#[derive(Debug, Default)]
struct RouteState {
    operations: RecordedOperations,
    /// The hashes of recorded documents and their `operationName`s.
    documents: HashSet<u64>,
    has_warned: bool,
}

/// The members of a request that determine its operation or channel.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Members<'a> {
    #[serde(borrow, default)]
    pub(super) query: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) operation_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) channel: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) events: Option<IgnoredAny>,
}

/// The methods that API Gateway supports. Other methods are not recorded: a policy cannot allow them, and
/// they could be `*` or one of the verbs.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
/// The number of documents to remember, so that a document is parsed once.
const MAX_DOCUMENTS: usize = 1_024;

impl Recorder {
    pub(super) fn new(route: Arc<RecordedRoute>) -> Self {
        Self(Some(route))
    }

    /// Records the JSON body of a GraphQL request, or the `data` of a `start`.
    pub fn operation(&self, body: &[u8]) {
        let Some(route) = &self.0 else {
            return;
        };
        let Some(members) = members(body) else {
            return;
        };
        if let Some(query) = members.query {
            route.document(&query, members.operation_name.as_deref());
        }
    }

    /// Records the JSON body of a request that publishes events.
    pub fn publish(&self, body: &[u8]) {
        self.channel(body, &[PUBLISH]);
    }

    /// Records the `data` of a subscription to a channel, which requires a realtime connection.
    pub fn subscribe(&self, data: &[u8]) {
        self.channel(data, &[CONNECT, SUBSCRIBE]);
    }

    /// Records the method and path of a request to a service other than AppSync.
    pub fn request(&self, method: &str, target: &str) {
        if let Some(route) = self.0.as_ref().filter(|_| METHODS.contains(&method)) {
            route.request(method, target);
        }
    }

    /// Records the opening of a WebSocket of API Gateway.
    pub fn websocket(&self, target: &str) {
        if let Some(route) = &self.0 {
            route.request(WEBSOCKET, target);
        }
    }

    fn channel(&self, json: &[u8], verbs: &[&str]) {
        let Some(route) = &self.0 else {
            return;
        };
        let Some(members) = members(json) else {
            return;
        };
        let channel = members.channel.unwrap_or_default();
        if Channel::pattern(&channel).is_ok() {
            let channel = channel.strip_prefix('/').unwrap_or(&channel);
            let namespace = channel.split('/').next().unwrap_or_default();
            for verb in verbs {
                // Connecting is a permission on the API, not on a namespace.
                let name = if *verb == CONNECT { "" } else { namespace };
                route.record(verb, name);
            }
        }
    }
}

impl RecordedRoute {
    pub(super) fn new(
        name: &str,
        api: ApiResource,
        operations: RecordedOperations,
        changed: Arc<Notify>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            api,
            changed,
            hasher: RandomState::new(),
            state: Mutex::new(RouteState {
                operations,
                ..RouteState::default()
            }),
        }
    }

    pub(super) fn operations(&self) -> RecordedOperations {
        self.state.lock().operations.clone()
    }

    fn document(&self, query: &str, name: Option<&str>) {
        let hash = self.hasher.hash_one((query, name));
        if self.state.lock().documents.contains(&hash) {
            return;
        }
        match survey(query, name) {
            Ok(survey) => {
                for field in &survey.fields {
                    self.record(survey.kind.root(), field);
                }
            }
            Err(error) => {
                let mut state = self.state.lock();
                if !std::mem::replace(&mut state.has_warned, true) {
                    warn!(
                        route = self.name,
                        "cannot record the operations of a document: {error}"
                    );
                }
            }
        }
        let mut state = self.state.lock();
        if state.documents.len() >= MAX_DOCUMENTS {
            state.documents.clear();
        }
        state.documents.insert(hash);
    }

    fn request(&self, verb: &str, target: &str) {
        if !self.api.is_api_gateway() {
            // The actions of other services are unknown, so no names are recorded.
            return self.record(ANY, ANY);
        }
        let path = target.split('?').next().unwrap_or_default();
        if verb == WEBSOCKET {
            // The permission to connect depends on the stage, not on the rest of the path.
            let stage = path.split('/').nth(1).unwrap_or_default();
            return self.record(verb, &format!("/{stage}"));
        }
        self.record(verb, &recorded_path(path));
    }

    fn record(&self, verb: &str, name: &str) {
        let outcome = self.state.lock().operations.record(verb, name);
        match outcome {
            RecordOutcome::Known => {}
            RecordOutcome::New => self.changed.notify_one(),
            RecordOutcome::Widened(verb) => {
                warn!(
                    route = self.name,
                    "too many different operations of {verb}: recording all of them as *"
                );
                self.changed.notify_one();
            }
        }
    }
}

pub(super) fn members(json: &[u8]) -> Option<Members<'_>> {
    read_object(std::str::from_utf8(json).ok()?)
}

/// Returns the path to record. The ID of a WebSocket connection is replaced by `*`, and a literal `*` is
/// escaped as IAM requires (IAM guide, "Policy variables": special characters).
fn recorded_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        segments.push(segment.replace('*', "${*}"));
        if matches!(segment, CONNECTIONS | "%40connections") {
            segments.push(ANY.to_owned());
            break;
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn route(service: &str) -> (Recorder, Arc<RecordedRoute>) {
        let api = ApiResource {
            service: service.to_owned(),
            ..ApiResource::appsync(None)
        };
        let route = Arc::new(RecordedRoute::new(
            "r",
            api,
            RecordedOperations::default(),
            Arc::default(),
        ));
        (Recorder::new(Arc::clone(&route)), route)
    }

    #[track_caller]
    fn check(service: &str, send: impl Fn(&Recorder), expected: &[(&str, &str)]) {
        let (recorder, route) = route(service);
        send(&recorder);
        send(&recorder);
        send(&Recorder::default());
        let operations = route.operations();
        let entries = operations.entries();
        let found: Vec<(&str, &str)> = entries
            .iter()
            .map(|(verb, name)| (*verb, name.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn operations_are_recorded_by_root_field() {
        let operation = |query: &'static str| {
            move |recorder: &Recorder| {
                let body = serde_json::json!({ "query": query, "operationName": "Q", "variables": {"id": "secret"} });
                recorder.operation(body.to_string().as_bytes());
            }
        };
        check(
            "appsync",
            operation(
                "query Q { a: rooms { id } ...F } fragment F on Query { __typename room(id: \"secret\") { id } }",
            ),
            &[
                ("Query", "__typename"),
                ("Query", "room"),
                ("Query", "rooms"),
            ],
        );
        check(
            "appsync",
            operation("query P { a } mutation Q { b { c } }"),
            &[("Mutation", "b")],
        );
        check(
            "appsync",
            operation("subscription Q { onB { c } }"),
            &[("Subscription", "onB")],
        );
        check("appsync", operation("query Q {"), &[]);
        check("appsync", operation("query P { a }"), &[]);
        for body in ["", "[]", "{}", "{\"query\":7}"] {
            check(
                "appsync",
                |recorder| recorder.operation(body.as_bytes()),
                &[],
            );
        }
    }

    #[test]
    fn channels_are_recorded_by_namespace() {
        let body = br#"{"channel":"/default/secret","events":["1"]}"#;
        check(
            "appsync",
            |recorder| recorder.publish(body),
            &[(PUBLISH, "default")],
        );
        let data = br#"{"channel":"inbox/*"}"#;
        check(
            "appsync",
            |recorder| recorder.subscribe(data),
            &[(CONNECT, ""), (SUBSCRIBE, "inbox")],
        );
        check(
            "appsync",
            |recorder| recorder.subscribe(br#"{"channel":"a b"}"#),
            &[],
        );
    }

    #[test]
    fn writer_is_woken_only_by_new_operations() {
        let (recorder, route) = route("execute-api");
        for (path, is_new) in [("/a", true), ("/a?b", false), ("/b", true), ("/a", false)] {
            recorder.request("GET", path);
            let woken = route.changed.notified().now_or_never().is_some();
            assert_eq!(woken, is_new, "{path}");
        }
    }

    #[test]
    fn requests_are_recorded_by_method_and_path() {
        check(
            "execute-api",
            |recorder| recorder.request("GET", "/prod/items/7?token=secret"),
            &[("GET", "/prod/items/7")],
        );
        check(
            "execute-api",
            |recorder| recorder.request("POST", "/prod/@connections/abc="),
            &[("POST", "/prod/@connections/*")],
        );
        check(
            "execute-api",
            |recorder| recorder.request("GET", "/prod/*/a"),
            &[("GET", "/prod/${*}/a")],
        );
        check(
            "execute-api",
            |recorder| {
                for method in ["*", WEBSOCKET, "PURGE"] {
                    recorder.request(method, "/prod/items");
                }
            },
            &[],
        );
        check(
            "execute-api",
            |recorder| recorder.websocket("/prod?x=secret"),
            &[(WEBSOCKET, "/prod")],
        );
        check(
            "es",
            |recorder| recorder.request("GET", "/secret"),
            &[(ANY, ANY)],
        );
    }
}
