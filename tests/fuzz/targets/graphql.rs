//! GraphQL documents, and the requests that carry them.

use bytes::Bytes;
use countersign::guard::{AllowedOperations, FieldPattern, OperationPolicies, OperationPolicy};
use countersign::proxy::{batch_items, operation_from_query};
use countersign_protocol::graphql::{
    DocumentError, Documents, Inspected, Operation, OperationKind, SelectedOperation, select,
    survey,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{head, is_json, text};

/// `operationName`, and the document in the lines below.
pub fn document(data: &[u8]) {
    let Some((name, query)) = text(data).map(head) else {
        return;
    };
    check_selected(query, None, &select(query, None));
    let found = select(query, Some(name));
    check_selected(query, Some(name), &found);
    if found.is_ok() {
        let documents = Documents::default();
        for _ in 0..2 {
            let operation = Operation {
                query: query.to_owned(),
                operation_name: Some(name.to_owned()),
                ..Operation::default()
            };
            let (selected, _) = Inspected::any_operation(operation, &documents);
            assert_eq!(selected, found);
        }
    }
}

fn check_selected(
    query: &str,
    name: Option<&str>,
    found: &Result<SelectedOperation, DocumentError>,
) {
    match found {
        Ok(SelectedOperation { kind, name: found }) => {
            check_agreed(query);
            if *kind != OperationKind::Query {
                assert!(query.contains(kind.as_str()));
            }
            if let Some(found) = found {
                assert!(query.contains(found));
            }
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                assert_eq!(found.as_deref(), Some(name));
            }
        }
        Err(error) => {
            if let Some((line, column)) = error.place() {
                assert!(line <= query.matches('\n').count() + 1);
                assert!(column <= query.chars().count() + 1);
            }
        }
    }
    match (found, survey(query, name)) {
        (Ok(found), Ok(survey)) => {
            assert_eq!((found.kind, &found.name), (survey.kind, &survey.name));
        }
        (Err(_), Ok(_)) => panic!("a policy allows what no other parser reads"),
        (Ok(_) | Err(_), Err(_)) => {}
    }
}

/// Checks for characters that a parser could read as the end of a comment, a string or the text.
fn check_agreed(query: &str) {
    let is_odd = |c: char| match c {
        '\t' | '\n' | '\r' => false,
        '\u{2028}' | '\u{2029}' | '\u{feff}' => true,
        c => c.is_control(),
    };
    let text = query.strip_prefix('\u{feff}').unwrap_or(query);
    assert!(!text.contains(is_odd));
    // Outside strings and comments, only ASCII is allowed.
    let mut code = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['"', '#']) {
        code.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match rest.as_bytes() {
            [b'#', ..] => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            [b'"', b'"', b'"', ..] => 6 + rest[3..].find("\"\"\"").unwrap(),
            _ => string_end(rest),
        };
        let passed = &rest[..end];
        assert!(passed.starts_with("\"\"\"") || !passed.contains(['\n', '\r']));
        rest = &rest[end..];
    }
    code.push_str(rest);
    assert!(code.is_ascii(), "{code:?}");
    for (open, close) in [('{', '}'), ('(', ')'), ('[', ']')] {
        assert_eq!(code.matches(open).count(), code.matches(close).count());
    }
}

fn string_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !is_escaped => return at + 1,
            byte => is_escaped = byte == b'\\' && !is_escaped,
        }
    }
    panic!("a string does not end: {text:?}");
}

/// The body of a `POST`: one operation, or several in an array.
pub fn request_body(data: &[u8]) {
    if let Ok(Some(items)) = batch_items(data) {
        for item in items {
            one_body(&Bytes::copy_from_slice(item.get().as_bytes()));
        }
    }
    one_body(&Bytes::copy_from_slice(data));
    if let Some(text) = text(data)
        && let Ok(operation) = Operation::from_data(text.to_owned())
    {
        assert_eq!(operation.to_data(), text);
        assert_eq!(operation.to_body(), text);
    }
}

fn one_body(body: &Bytes) {
    let found = [false, true].map(|is_policed| {
        let found = Inspected::body(body, &Documents::default(), is_policed);
        found.map(|(selected, inspected)| {
            let is_regular = inspected.request().is_ok();
            (selected, is_regular, inspected.into_body())
        })
    });
    let [Ok(found), Ok(again)] = found else {
        assert!(
            found.iter().all(Result::is_err),
            "a policy changes what is found"
        );
        return;
    };
    assert_eq!(found, again, "a policy changes what is found");
    let (selected, _, sent) = found;
    let is_persisted = String::from_utf8_lossy(body).contains("\"persistedQuery\"");
    if !is_persisted {
        assert_eq!(sent, body);
    }
    // The text that is sent is the one that was inspected.
    if let Ok(operation) = serde_json::from_slice::<Operation>(&sent) {
        check_operation(&operation);
        if let Some(selected) = selected {
            let name = operation.operation_name.as_deref();
            assert_eq!(select(&operation.query, name), selected);
        }
    }
}

/// Checks that the text sent for an operation means the same as the operation.
fn check_operation(operation: &Operation) {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent<'a> {
        query: String,
        #[serde(borrow)]
        variables: &'a RawValue,
        operation_name: Option<String>,
        #[serde(borrow)]
        extensions: Option<&'a RawValue>,
    }
    for (sent, has_extensions) in [(operation.to_body(), true), (operation.to_data(), false)] {
        let sent: Sent<'_> = serde_json::from_str(&sent).unwrap();
        assert_eq!(sent.query, operation.query);
        assert_eq!(sent.operation_name, operation.operation_name);
        let variables = operation.variables.as_ref().map_or("{}", |raw| raw.get());
        assert_eq!(sent.variables.get(), variables);
        let extensions = operation.extensions.as_ref().map(|raw| raw.get());
        let extensions = extensions.filter(|_| has_extensions);
        assert_eq!(sent.extensions.map(RawValue::get), extensions);
    }
}

/// A request as it would be sent, under policies: what they allow means the same to other parsers.
pub fn policy(data: &[u8]) {
    let inspected = || Inspected::uninspected(Bytes::copy_from_slice(data));
    let evaluate = |is_read_only, operations| {
        let policy = OperationPolicy {
            table: "route.a".to_owned(),
            is_read_only,
            operations,
        };
        policy.evaluate(&inspected())
    };
    assert!(OperationPolicies::default().evaluate(&inspected()).is_ok());
    let any = evaluate(false, Some(AllowedOperations::default()));
    let read_only = evaluate(true, None);
    let fields = AllowedOperations {
        fields: FieldPattern::parse("Query.a").map(|pattern| vec![pattern]),
        introspection: Some(false),
        depth: Some(1),
        ..AllowedOperations::default()
    };
    let narrow = evaluate(false, Some(fields));
    if narrow.is_ok() || read_only.is_ok() {
        assert_eq!(any, Ok(()), "a policy denies what a narrower one allows");
    }
    if any.is_err() {
        return;
    }
    // `Value` keeps the last of two members with one name, so there must be no duplicates.
    let request: Value = serde_json::from_slice(data).unwrap();
    let query = request["query"].as_str().unwrap();
    let selected = select(query, request["operationName"].as_str()).unwrap();
    let is_mutation = selected.kind == OperationKind::Mutation;
    assert_eq!(read_only.is_err(), is_mutation);
    let first: Operation = serde_json::from_slice(data).unwrap();
    assert_eq!(first.query, query);
    // Where other parsers end a comment.
    for separator in ['\u{2028}', '\u{2029}', '\u{85}', '\u{b}', '\u{c}'] {
        assert!(!query.contains(separator));
    }
    if narrow.is_ok() {
        assert_eq!(selected.kind, OperationKind::Query);
        assert!(query.contains('a') || query.contains("__typename"));
    }
}

/// The query string of a `GET`.
pub fn request_query(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let Ok(operation) = operation_from_query(text) else {
        return;
    };
    assert!(!operation.query.is_empty());
    for raw in [&operation.variables, &operation.extensions] {
        let raw = raw.as_ref().map_or("{}", |raw| raw.get());
        assert!(raw.starts_with('{') && is_json(raw));
    }
    check_operation(&operation);
}
