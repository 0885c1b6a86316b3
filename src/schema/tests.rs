//! Results that are printed, and those that are rejected.

use super::*;

fn introspection(schema: &Value) -> Introspection {
    let body = serde_json::json!({ "data": { "__schema": schema } }).to_string();
    Introspection { body: body.into() }
}

fn schema(types: &Value) -> Value {
    serde_json::json!({ "queryType": { "name": "Query" }, "types": types })
}

fn scalar(name: &str) -> Value {
    serde_json::json!({ "kind": "SCALAR", "name": name })
}

#[test]
fn results_that_would_be_no_sdl_are_rejected() {
    let field = |kind: &Value| {
        let field = serde_json::json!({ "name": "a", "type": kind });
        schema(&serde_json::json!([{ "kind": "OBJECT", "name": "Query", "fields": [field] }]))
    };
    let with_default = |default: &str| {
        let argument = serde_json::json!({
            "name": "x", "type": { "kind": "SCALAR", "name": "Int" }, "defaultValue": default,
        });
        schema(
            &serde_json::json!([{ "kind": "INPUT_OBJECT", "name": "I", "inputFields": [argument] }]),
        )
    };
    for (schema, part) in [
        (Value::Null, "null"),
        (
            schema(&serde_json::json!([scalar("a b")])),
            "\"a b\" is not a name",
        ),
        (
            schema(&serde_json::json!([scalar("")])),
            "\"\" is not a name",
        ),
        (
            schema(&serde_json::json!([scalar("1a")])),
            "\"1a\" is not a name",
        ),
        (
            field(&serde_json::json!({ "kind": "LIST" })),
            "neither a name nor an inner type",
        ),
        (
            field(&serde_json::json!({ "kind": "OBJECT" })),
            "neither a name nor an inner type",
        ),
        (with_default("\u{1b}[31m"), "has control characters"),
        (
            schema(&serde_json::json!([{ "kind": "THING", "name": "T" }])),
            "THING",
        ),
    ] {
        let found = introspection(&schema);
        for result in [found.sdl(), found.json()] {
            let fault = result.unwrap_err();
            assert_eq!(fault.cause, "not-a-schema");
            assert!(fault.detail.contains(part), "{} of {schema}", fault.detail);
        }
    }
    assert_eq!(
        introspection(&with_default("1")).sdl().unwrap(),
        "input I {\n  x: Int = 1\n}\n"
    );
}

#[test]
fn types_that_are_nested_without_end_are_rejected() {
    let start = r#"{"data":{"__schema":{"types":[{"kind":"OBJECT","name":"Q","interfaces":["#;
    let body = start.to_owned() + &r#"{"kind":"LIST","ofType":"#.repeat(10_000);
    let found = Introspection { body: body.into() };
    assert!(found.sdl().unwrap_err().detail.contains("recursion limit"));
}

#[test]
fn deprecations_without_a_reason_are_printed() {
    let found = introspection(&schema(&serde_json::json!([{
        "kind": "ENUM", "name": "E",
        "enumValues": [{ "name": "A", "isDeprecated": true }, { "name": "B", "isDeprecated": false }],
    }])));
    assert_eq!(found.sdl().unwrap(), "enum E {\n  A @deprecated\n  B\n}\n");
}

#[test]
fn a_type_with_the_name_of_a_root_type_is_none_if_the_schema_says_so() {
    let types = serde_json::json!([
        { "kind": "OBJECT", "name": "Query" }, { "kind": "OBJECT", "name": "Mutation" },
    ]);
    let found = introspection(&schema(&types)).sdl().unwrap();
    assert_eq!(
        found,
        "schema {\n  query: Query\n}\n\ntype Query\n\ntype Mutation\n"
    );
}

#[test]
fn control_characters_of_descriptions_are_escaped() {
    let mut kind = scalar("S");
    kind["description"] = "a \u{1b}[31m \u{9b}b".into();
    let found = introspection(&schema(&serde_json::json!([kind])))
        .sdl()
        .unwrap();
    assert_eq!(found, "\"a \\u001B[31m \\u009Bb\"\nscalar S\n");
}

#[test]
fn the_query_asks_for_what_the_api_knows() {
    let oldest = Features::default().introspection_query();
    for newer in [
        "specifiedBy",
        "isOneOf",
        "isRepeatable",
        "args(",
        "inputFields(",
    ] {
        assert!(!oldest.contains(newer), "{newer}");
    }
    assert_eq!(oldest.matches("deprecationReason").count(), 2);
    let shape = |fields: &[&str]| {
        let argument = serde_json::json!([{ "name": "includeDeprecated" }]);
        let fields = fields
            .iter()
            .map(|name| serde_json::json!({ "name": name, "args": argument }));
        serde_json::json!({ "fields": fields.collect::<Vec<_>>() })
    };
    let known = serde_json::json!({ "data": {
        "schema": shape(&["description"]),
        "type": shape(&["specifiedByUrl", "isOneOf", "inputFields"]),
        "field": shape(&["args"]),
        "inputValue": shape(&["isDeprecated", "deprecationReason"]),
        "directive": shape(&["isRepeatable", "args"]),
    } });
    let newest = Features::parse(known.to_string().as_bytes()).introspection_query();
    for newer in [
        "{\n    description\n    queryType",
        "specifiedByURL: specifiedByUrl isOneOf",
        "description isRepeatable locations",
        "inputFields(includeDeprecated: true)",
        "defaultValue isDeprecated deprecationReason",
    ] {
        assert!(newest.contains(newer), "{newer:?} is not in {newest}");
    }
    assert_eq!(newest.matches("args(includeDeprecated: true)").count(), 2);
    for other in [
        "",
        "{}",
        "{\"data\":null}",
        "{\"data\":{\"type\":{\"fields\":null}}}",
    ] {
        assert_eq!(
            Features::parse(other.as_bytes()),
            Features::default(),
            "{other}"
        );
    }
}
