//! The schema of a GraphQL API, as its introspection describes it.
//!
//! A first query asks which parts of the specification the API's introspection knows, and the second one
//! asks for the schema with all of them. The result is printed as JSON, or as SDL in the layout of
//! graphql-js and in the order of the result. Nothing else is sent.

mod introspection;
mod query;
mod sdl;
mod text;

use bytes::Bytes;
use serde_json::Value;

use crate::check::{self, Fault, Query, Target};
use introspection::{InvalidSchema, Response, Schema};
use query::Features;

/// The result of an introspection.
#[derive(Debug)]
pub struct Introspection {
    body: Bytes,
}

/// Faults of an API that does not know the first query, or does not allow it.
const TRIED_AGAIN: [&str; 2] = ["refused", "not-authorized"];

/// Asks an API for its schema, with signed queries.
///
/// # Errors
/// When the API cannot be reached, or refuses the query.
pub async fn introspect(target: &Target) -> Result<Introspection, Fault> {
    let known = Query::introspection(Features::QUERY.to_owned(), "__type");
    let features = match check::execute(target, &known).await {
        Ok(body) => Features::parse(&body),
        Err(fault) if TRIED_AGAIN.contains(&fault.cause.as_str()) => Features::default(),
        Err(fault) => return Err(fault),
    };
    let query = Query::introspection(features.introspection_query(), "__schema");
    let body = check::execute(target, &query).await?;
    Ok(Introspection { body })
}

impl Introspection {
    /// Returns the schema in the schema definition language, without what every GraphQL API has.
    ///
    /// # Errors
    /// When the result does not describe a schema.
    pub fn sdl(&self) -> Result<String, Fault> {
        let schema = self.schema().map_err(fault)?;
        sdl::print(&schema).map_err(fault)
    }

    /// Returns the result as JSON: `{"data": {"__schema": …}}`.
    ///
    /// # Errors
    /// When the result does not describe a schema.
    pub fn json(&self) -> Result<String, Fault> {
        let schema = self.schema().map_err(fault)?;
        sdl::print(&schema).map_err(fault)?;
        let invalid = |error: serde_json::Error| fault(InvalidSchema::from(error));
        let response: Value = serde_json::from_slice(&self.body).map_err(invalid)?;
        let data = serde_json::json!({ "data": response["data"] });
        let text = serde_json::to_string_pretty(&data).map_err(invalid)?;
        Ok(format!("{text}\n"))
    }

    fn schema(&self) -> Result<Schema, InvalidSchema> {
        let response: Response = serde_json::from_slice(&self.body)?;
        Ok(response.data.schema)
    }
}

fn fault(error: InvalidSchema) -> Fault {
    Fault {
        cause: "not-a-schema".to_owned(),
        detail: format!("the answer does not describe a schema: {error}"),
        fix: "Check that the URL is that of a GraphQL API.".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
