//! A GraphQL operation in the query string of a `GET`.

use countersign_protocol::graphql::Operation;
use serde_json::value::RawValue;

use super::error::Error;
use crate::sign::decode;

/// Reads `?query=…&variables=…&operationName=…&extensions=…` (GraphQL over HTTP, "GET"). An empty
/// parameter counts as none.
///
/// # Errors
/// If a parameter is malformed, or the document is missing.
pub fn operation_from_query(query: &str) -> Result<Operation, Error> {
    let mut operation = Operation::default();
    let mut has_document_id = false;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if value.is_empty() {
            continue;
        }
        match name {
            "query" => operation.query = decode(value)?,
            "variables" => operation.variables = object("variables", &decode(value)?)?,
            "operationName" => operation.operation_name = Some(decode(value)?),
            "extensions" => operation.extensions = object("extensions", &decode(value)?)?,
            "documentId" => has_document_id = true,
            _ => {}
        }
    }
    if !operation.query.is_empty() {
        return Ok(operation);
    }
    if operation.is_persisted() {
        return Err(Error::PersistedQuery);
    }
    if has_document_id {
        return Err(Error::DocumentId);
    }
    Err(Error::Parameter {
        name: "query",
        problem: "is missing: set it to a document, or send the operation by POST".to_owned(),
    })
}

fn object(name: &'static str, text: &str) -> Result<Option<Box<RawValue>>, Error> {
    let parsed: Result<Option<Box<RawValue>>, _> = serde_json::from_str(text);
    match parsed {
        Ok(None) => Ok(None),
        Ok(Some(raw)) if raw.get().starts_with('{') => Ok(Some(raw)),
        Ok(Some(_)) => Err(Error::Parameter {
            name,
            problem: "must be a JSON object".to_owned(),
        }),
        Err(error) => Err(Error::Parameter {
            name,
            problem: format!("is not JSON: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_become_an_operation() {
        let operation =
            operation_from_query("query=%7B+a+%7D&variables=%7B%22a%22%3A1%7D&operationName=Q&x=1");
        let operation = operation.unwrap();
        assert_eq!(
            operation.to_body(),
            r#"{"query":"{ a }","variables":{"a":1},"operationName":"Q"}"#
        );
        let empty = "operationName=&query=%7B+a+%7D&variables=&extensions=&documentId=";
        let body = r#"{"query":"{ a }","variables":{}}"#;
        assert_eq!(operation_from_query(empty).unwrap().to_body(), body);
        for bad in [
            "",
            "query=",
            "query=%FF",
            "query=a&variables=%5B%5D",
            "query=a&variables=x",
        ] {
            assert!(operation_from_query(bad).is_err(), "{bad}");
        }
    }
}
