//! Bodies and operations, with and without a policy.

use super::*;

fn body(text: &str, is_policed: bool) -> Result<(Selection, Inspected), BodyError> {
    let body = Bytes::copy_from_slice(text.as_bytes());
    Inspected::body(&body, &Documents::default(), is_policed)
}

/// A policy changes how a body is parsed, but not which operation is found in it.
#[test]
fn policy_does_not_change_the_selection() {
    for text in [
        r#"{"query":"{ a }"}"#,
        r#"{"query":"query A { a } mutation B { b }","operationName":"B","variables":{"x":[1]}}"#,
        r#"{"query":"query A { a } mutation B { b }"}"#,
        r#"{"query":"{ a","variables":null}"#,
        r#"{"query":"{ a }","extra":1}"#,
        r#"{"query":"{ a }","variables":{"x":1,"x":2}}"#,
        r#"{"query":"{ a }","query":"mutation { b }"}"#,
        r#"{"query":"{ a }","extensions":{"persistedQuery":{"version":1},"x":1}}"#,
        r#"{"query":"{ a(b: \"\\\"persistedQuery\\\"\") }"}"#,
        r#"{"query":7}"#,
        r#"{"query":""}"#,
        r#"["{ a }"]"#,
        "[]",
        "7",
        "",
    ] {
        let (selected, lenient) = body(text, false).unwrap();
        let (again, strict) = body(text, true).unwrap();
        assert_eq!(selected, again, "{text}");
        assert_eq!(lenient.request(), strict.request(), "{text}");
        if let Ok(request) = lenient.request() {
            assert_eq!(lenient.survey(request), strict.survey(request), "{text}");
        }
        assert_eq!(lenient.into_body(), strict.into_body(), "{text}");
    }
    for text in ["{", r#"{"query":"{ a }"} x"#] {
        for is_policed in [false, true] {
            let error = body(text, is_policed).unwrap_err();
            assert!(matches!(error, BodyError::Json(_)), "{text}");
        }
    }
}

/// serde accepts an array as a struct, and takes its items as the members.
#[test]
fn an_array_is_not_read_as_an_operation() {
    for text in [
        r#"["{ a }"]"#,
        r#" ["mutation { a }", null, "x", {}]"#,
        "[]",
        "7",
    ] {
        for is_policed in [false, true] {
            let (selected, inspected) = body(text, is_policed).unwrap();
            assert!(selected.is_none(), "{text}");
            assert_eq!(inspected.into_body(), text.as_bytes());
        }
    }
}

#[test]
fn persisted_queries_and_documents_by_id_are_errors() {
    for is_policed in [false, true] {
        let persisted = r#"{"extensions":{"persistedQuery":{"version":1}},"query":""}"#;
        let error = body(persisted, is_policed).unwrap_err();
        assert!(matches!(error, BodyError::PersistedQuery));
        let error = body(r#"{"documentId":"a"}"#, is_policed).unwrap_err();
        assert!(matches!(error, BodyError::DocumentId));
    }
}

#[test]
fn the_text_of_a_persisted_query_is_sent_without_the_extension() {
    let text = r#"{"query":"{ a }","extensions":{"persistedQuery":{"version":1}}}"#;
    for is_policed in [false, true] {
        let (_, inspected) = body(text, is_policed).unwrap();
        let expected = r#"{"query":"{ a }","variables":{}}"#;
        assert_eq!(inspected.into_body(), expected.as_bytes());
    }
}

/// The tree of the first parse serves the survey; a cached document has none.
#[test]
fn a_document_is_parsed_once_for_its_kind_and_its_policies() {
    let documents = Documents::default();
    let text = Bytes::from_static(br#"{"query":"{ a }"}"#);
    let (_, first) = Inspected::body(&text, &documents, true).unwrap();
    assert!(first.tree.is_some());
    assert!(first.request.get().is_some());
    let (_, again) = Inspected::body(&text, &documents, true).unwrap();
    assert!(again.tree.is_none());
    for inspected in [first, again] {
        let request = inspected.request().unwrap();
        let survey = inspected.survey(request).unwrap();
        assert_eq!(survey.fields, ["a"]);
        // The same value, and not the result of another pass.
        let other = inspected.survey(inspected.request().unwrap()).unwrap();
        assert!(std::ptr::eq(survey, other));
    }
}

#[test]
fn an_operation_is_evaluated_as_the_text_that_is_sent() {
    let text = r#"{"query":"subscription { a }","variables":{"x":1},"extensions":{"y":1}}"#;
    let (selected, inspected) = body(text, false).unwrap();
    let kind = selected.unwrap().unwrap().kind;
    let inspected = inspected.into_operation(kind).unwrap();
    assert!(inspected.request().is_ok());
    let expected = r#"{"query":"subscription { a }","variables":{"x":1}}"#;
    assert_eq!(inspected.into_data(), expected);

    let twice = r#"{"query":"{ a }","variables":{"x":1,"x":2}}"#;
    let (_, inspected) = body(twice, false).unwrap();
    let inspected = inspected.into_operation(OperationKind::Query).unwrap();
    let error = inspected.request().unwrap_err();
    assert!(matches!(error, IrregularRequest::Json { .. }));
}
