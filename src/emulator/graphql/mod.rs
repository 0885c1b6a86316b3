//! The emulated AppSync's GraphQL: executes queries and mutations, and analyses subscriptions.
//!
//! Executing a query or a mutation returns the body of the response; a mutation also publishes events.
//! Analysing a subscription returns its selection and filter. Callers have authorized the request.

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
use super::hub::{ActiveSubscription, Hub};
use super::selection::{self, NullError, Types, unalias};
use super::sigv4::Headers;
use chat::Chat;
use document::{RECURSION, SelectedOperation, has_too_many_selections};
use schema::{Mutation, Query, RequestState, ResolverState, Schema, Subscription};

/// A request: `query`, `variables` and `operationName`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) query: String,
    pub(super) variables: serde_json::Value,
    pub(super) operation_name: Option<String>,
}

/// The subscription of a `start`.
#[derive(Debug)]
pub(super) struct PendingSubscription {
    pub(super) live: ActiveSubscription,
    /// An event to send directly after the acknowledgement.
    pub(super) first_event: Option<Value>,
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
    Types::from_sdl(&schema.sdl())
}

// === impl GraphQl ===

impl GraphQl {
    pub(super) fn new(types: Arc<Types>, context: Arc<Context>, hub: Arc<Hub>) -> Self {
        let state = ResolverState {
            chat: Chat::seeded(context.clock.now()),
            context: Arc::clone(&context),
        };
        let schema = Schema::build(Query, Mutation, Subscription)
            .limit_depth(DEPTH)
            .limit_complexity(COMPLEXITY)
            .limit_recursive_depth(RECURSION)
            .data(state)
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
        let Some((request, operation)) = operation.into_request() else {
            return response::request_error(TOO_COMPLEX).map_err(|_| AppSyncError::Internal);
        };
        match operation.as_ref().map(SelectedOperation::operation_type) {
            Some(OperationType::Query) => self
                .context
                .ledger
                .count(|counts| counts.requests.queries += 1),
            Some(OperationType::Mutation) => {
                self.context
                    .ledger
                    .count(|counts| counts.requests.mutations += 1);
            }
            // AppSync formerly returned MQTT connection data, which is obsolete.
            Some(OperationType::Subscription) => {
                return response::request_error("Subscriptions are not supported over HTTP.")
                    .map_err(|_| AppSyncError::Internal);
            }
            None => {}
        }
        if let Some(message) = operation
            .as_ref()
            .and_then(SelectedOperation::missing_variable)
        {
            return response::request_error(&message).map_err(|_| AppSyncError::Internal);
        }

        let request_state = Arc::new(RequestState::new(headers));
        let mut response = self
            .schema
            .execute(request.data(Arc::clone(&request_state)))
            .await;
        self.publish(&request_state, &response);
        let executed = response.errors.iter().all(|error| !error.path.is_empty());
        let nulls = match operation {
            Some(operation) if executed => self.complete(&operation, &mut response),
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
    ) -> Result<PendingSubscription, SubscribeError> {
        let mut unsigned_headers = headers.all();
        unsigned_headers.retain(|name, _| {
            !SIGNATURE_HEADERS.contains(&name.as_str()) && !signed.contains(name)
        });
        let Some((request, operation)) = operation.into_request() else {
            return Err(SubscribeError::Invalid(vec![TOO_COMPLEX.to_owned()]));
        };
        match operation.as_ref().map(SelectedOperation::operation_type) {
            Some(OperationType::Query | OperationType::Mutation) => {
                return Err(SubscribeError::NotASubscription);
            }
            Some(OperationType::Subscription) | None => {}
        }
        if let Some(message) = operation
            .as_ref()
            .and_then(SelectedOperation::missing_variable)
        {
            return Err(SubscribeError::Invalid(vec![message]));
        }

        let request_state = Arc::new(RequestState::new(headers));
        let request = request.data(Arc::clone(&request_state));
        let responses: Vec<Response> = self.schema.execute_stream(request).collect().await;
        let errors: Vec<String> = responses
            .iter()
            .flat_map(|response| &response.errors)
            .map(response::validation_message)
            .collect();
        if !errors.is_empty() {
            return Err(SubscribeError::Invalid(errors));
        }
        let mut recorded = request_state.take_recorded();
        let (Some(recorded), true) = (recorded.pop(), recorded.is_empty()) else {
            let message = "Validation error of type SubscriptionMultipleRootFields: \
                           a subscription has exactly one root field";
            return Err(SubscribeError::Invalid(vec![message.to_owned()]));
        };
        Ok(PendingSubscription {
            live: ActiveSubscription {
                selected: recorded.selected,
                filter: recorded.filter,
                unsigned_headers,
            },
            first_event: recorded.first_event,
        })
    }

    /// Completes a response where async-graphql differs from AppSync: it adds missing selected fields,
    /// in the order of the selection, and replaces the parent of a forbidden null with null.
    fn complete(&self, operation: &SelectedOperation, response: &mut Response) -> Vec<NullError> {
        let (data, nulls) = selection::complete(
            &self.types,
            operation.root(),
            &operation.selection(),
            &response.data,
        );
        response.data = data;
        nulls
    }

    fn publish(&self, request_state: &RequestState, response: &Response) {
        let Value::Object(data) = &response.data else {
            return;
        };
        for recorded in request_state.take_recorded() {
            if let Some(result) = data.get(recorded.selected.response_key.as_str())
                && *result != Value::Null
            {
                let event = unalias(result, &recorded.selected.children);
                self.hub
                    .publish(&recorded.selected.name, recorded.field, &event);
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
        let operation = parse_query(&self.query).ok().and_then(|document| {
            SelectedOperation::new(&document, self.operation_name.as_deref(), &self.variables)
        });
        let Some(operation) = operation else {
            return Vec::new();
        };
        let root = operation.root();
        let fields = operation.root_fields().into_iter();
        fields.map(|field| (root, field)).collect()
    }

    /// Returns the request, and the selected operation if the document parses and contains it. Returns
    /// `None` for a document that cannot be validated in reasonable time.
    fn into_request(self) -> Option<(Request, Option<SelectedOperation>)> {
        let name = self.operation_name;
        let mut request = Request::new(self.query);
        let document = request.parsed_query().ok();
        if document.is_some_and(has_too_many_selections) {
            return None;
        }
        let operation = document.and_then(|document| {
            SelectedOperation::new(document, name.as_deref(), &self.variables)
        });
        let request = request.variables(Variables::from_json(self.variables));
        let request = match name {
            Some(name) => request.operation_name(name),
            None => request,
        };
        Some((request, operation))
    }
}

/// Allows the usual introspection query.
const DEPTH: usize = 15;
const COMPLEXITY: usize = 1000;
/// The message of the validator for a document beyond [`COMPLEXITY`].
const TOO_COMPLEX: &str = "Validation error of type InvalidSyntax: Query is too complex.";
const SIGNATURE_HEADERS: [&str; 2] = ["authorization", "x-amz-security-token"];
