//! The emulated AppSync's GraphQL: executes queries and mutations, and analyses subscriptions.
//!
//! It takes the text of a request and its headers. A query or mutation returns the answer's body and
//! publishes events; a subscription returns what it selects. Authorization happens before.

mod chat;
mod document;
mod response;
mod schema;

use std::sync::Arc;

use async_graphql::futures_util::StreamExt;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response, Value, Variables};
use serde_json::Map;

use super::appsync_error::AppSyncError;
use super::context::Context;
use super::hub::{Hub, Live};
use super::selection::{self, NullError, Types, unalias};
use super::sigv4::Headers;
use chat::Chat;
use document::Chosen;
use schema::{Call, Mutation, Query, Schema, Subscription, World};

/// A request: `query`, `variables` and `operationName`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) query: String,
    pub(super) variables: serde_json::Value,
    pub(super) operation_name: Option<String>,
}

/// The subscription of a `start`.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) live: Live,
    /// An event to send directly after the acknowledgement.
    pub(super) first: Option<Value>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum SubscribeError {
    /// The realtime channel does not execute queries and mutations.
    NotASubscription,
    /// The document is invalid, for these reasons.
    Invalid(Vec<String>),
}

pub(super) struct GraphQl {
    schema: Schema,
    types: Arc<Types>,
    context: Arc<Context>,
    hub: Arc<Hub>,
}

/// Returns the types of the schema. The hub needs them before the schema can be built.
pub(super) fn types() -> Types {
    let schema = Schema::new(Query, Mutation, Subscription);
    Types::of_schema(&schema.sdl())
}

// === impl GraphQl ===

impl GraphQl {
    pub(super) fn new(types: Arc<Types>, context: Arc<Context>, hub: Arc<Hub>) -> Self {
        let world = World {
            chat: Chat::seeded(context.clock.now()),
            context: Arc::clone(&context),
        };
        let schema = Schema::build(Query, Mutation, Subscription)
            .limit_depth(DEPTH)
            .limit_complexity(COMPLEXITY)
            .data(world)
            .finish();
        Self {
            schema,
            types,
            context,
            hub,
        }
    }

    /// Executes a query or a mutation, and publishes a mutation's result to subscribers.
    pub(super) async fn execute(
        &self,
        operation: Operation,
        headers: Headers,
    ) -> Result<String, AppSyncError> {
        let (request, chosen) = operation.into_request();
        match chosen.as_ref().map(Chosen::kind) {
            Some(OperationType::Query) => self
                .context
                .ledger
                .count(|counts| counts.requests.queries += 1),
            Some(OperationType::Mutation) => {
                self.context
                    .ledger
                    .count(|counts| counts.requests.mutations += 1);
            }
            // AppSync once answered with MQTT connection data, which is obsolete.
            Some(OperationType::Subscription) => {
                return response::request_error("Subscriptions are not supported over HTTP.")
                    .map_err(|_| AppSyncError::Internal);
            }
            None => {}
        }
        if let Some(message) = chosen.as_ref().and_then(Chosen::missing_variable) {
            return response::request_error(&message).map_err(|_| AppSyncError::Internal);
        }

        let call = Arc::new(Call::new(headers));
        let mut response = self.schema.execute(request.data(Arc::clone(&call))).await;
        self.publish(&call, &response);
        let executed = response.errors.iter().all(|error| !error.path.is_empty());
        let nulls = match chosen {
            Some(chosen) if executed => self.complete(&chosen, &mut response),
            Some(_) | None => Vec::new(),
        };
        response::body(&response, nulls).map_err(|_| AppSyncError::Internal)
    }

    /// Validates a subscription and returns its selection and filter. `headers` are the entries of the
    /// `start`'s authorization.
    pub(super) async fn subscribe(
        &self,
        operation: Operation,
        headers: Headers,
        signed: &[String],
    ) -> Result<Wanted, SubscribeError> {
        let mut unsigned_headers = headers.all();
        unsigned_headers.retain(|name, _| {
            !SIGNATURE_HEADERS.contains(&name.as_str()) && !signed.contains(name)
        });
        let (request, chosen) = operation.into_request();
        match chosen.as_ref().map(Chosen::kind) {
            Some(OperationType::Query | OperationType::Mutation) => {
                return Err(SubscribeError::NotASubscription);
            }
            Some(OperationType::Subscription) | None => {}
        }
        if let Some(message) = chosen.as_ref().and_then(Chosen::missing_variable) {
            return Err(SubscribeError::Invalid(vec![message]));
        }

        let call = Arc::new(Call::new(headers));
        let request = request.data(Arc::clone(&call));
        let responses: Vec<Response> = self.schema.execute_stream(request).collect().await;
        let errors: Vec<String> = responses
            .iter()
            .flat_map(|response| &response.errors)
            .map(response::validation_message)
            .collect();
        if !errors.is_empty() {
            return Err(SubscribeError::Invalid(errors));
        }
        let mut noted = call.take_noted();
        let (Some(noted), true) = (noted.pop(), noted.is_empty()) else {
            let message = "Validation error of type SubscriptionMultipleRootFields: \
                           a subscription has exactly one root field";
            return Err(SubscribeError::Invalid(vec![message.to_owned()]));
        };
        Ok(Wanted {
            live: Live {
                selected: noted.selected,
                filter: noted.filter,
                unsigned_headers,
            },
            first: noted.first,
        })
    }

    /// Completes a response where async-graphql differs from AppSync: it adds missing selected fields,
    /// in the order of the selection, and replaces the parent of a forbidden null with null.
    fn complete(&self, chosen: &Chosen, response: &mut Response) -> Vec<NullError> {
        let (data, nulls) = selection::complete(
            &self.types,
            chosen.root(),
            &chosen.selection(),
            &response.data,
        );
        response.data = data;
        nulls
    }

    fn publish(&self, call: &Call, response: &Response) {
        let Value::Object(data) = &response.data else {
            return;
        };
        for noted in call.take_noted() {
            if let Some(result) = data.get(noted.selected.response_key.as_str())
                && *result != Value::Null
            {
                self.hub
                    .publish(noted.field, &unalias(result, &noted.selected.children));
            }
        }
    }
}

// === impl Operation ===

impl Operation {
    /// Parses the body of a request, or the `data` of a `start`.
    pub(super) fn parse(json: &[u8]) -> Result<Self, AppSyncError> {
        let mut object: Map<String, serde_json::Value> =
            serde_json::from_slice(json).map_err(|_| AppSyncError::Unparsable)?;
        let query = match object.remove("query") {
            Some(serde_json::Value::String(query)) if !query.trim().is_empty() => query,
            Some(_) | None => return Err(AppSyncError::Unparsable),
        };
        Ok(Self {
            query,
            variables: object.remove("variables").unwrap_or_default(),
            operation_name: object
                .get("operationName")
                .and_then(serde_json::Value::as_str)
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        })
    }

    /// Returns the root type and the name of every root field, including skipped ones.
    pub(super) fn root_fields(&self) -> Vec<(&'static str, String)> {
        let chosen = parse_query(&self.query).ok().and_then(|document| {
            Chosen::new(&document, self.operation_name.as_deref(), &self.variables)
        });
        let Some(chosen) = chosen else {
            return Vec::new();
        };
        let root = chosen.root();
        let fields = chosen.root_fields().into_iter();
        fields.map(|field| (root, field)).collect()
    }

    /// Returns the request, and the selected operation if the document parses and contains it.
    fn into_request(self) -> (Request, Option<Chosen>) {
        let name = self.operation_name;
        let mut request = Request::new(self.query);
        let chosen = request
            .parsed_query()
            .ok()
            .and_then(|document| Chosen::new(document, name.as_deref(), &self.variables));
        let request = request.variables(Variables::from_json(self.variables));
        let request = match name {
            Some(name) => request.operation_name(name),
            None => request,
        };
        (request, chosen)
    }
}

/// Allows the usual introspection query.
const DEPTH: usize = 15;
const COMPLEXITY: usize = 1000;
const SIGNATURE_HEADERS: [&str; 2] = ["authorization", "x-amz-security-token"];
