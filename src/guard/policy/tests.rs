//! Evaluation of operation policies, with hostile requests among others.

use bytes::Bytes;
use countersign_protocol::graphql::Documents;

use super::*;

const READ: &str = "{ getPost(id: 1) { id } }";
const WRITE: &str = "mutation M { deletePost(id: 1) { id } }";

fn set(items: &[&str]) -> HashSet<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

fn read_only() -> OperationPolicy {
    OperationPolicy {
        table: "route.a".to_owned(),
        is_read_only: true,
        operations: None,
    }
}

fn allowing(allowed: AllowedOperations) -> OperationPolicy {
    OperationPolicy {
        table: "route.a".to_owned(),
        is_read_only: false,
        operations: Some(allowed),
    }
}

fn fields(patterns: &[&str]) -> AllowedOperations {
    let patterns = patterns
        .iter()
        .map(|text| FieldPattern::parse(text).unwrap());
    AllowedOperations {
        fields: Some(patterns.collect()),
        ..AllowedOperations::default()
    }
}

fn inspected(request: &[u8]) -> Inspected {
    Inspected::uninspected(Bytes::copy_from_slice(request))
}

/// Evaluates a request, and checks that a request inspected before admission has the same result.
#[track_caller]
fn evaluate(policy: &OperationPolicy, request: &[u8]) -> Result<(), OperationDenied> {
    let body = Bytes::copy_from_slice(request);
    let found = policy.evaluate(&inspected(request));
    for is_policed in [false, true] {
        let inspected = Inspected::body(&body, &Documents::default(), is_policed);
        if let Ok((_, inspected)) = inspected {
            assert_eq!(policy.evaluate(&inspected), found);
        }
    }
    found
}

/// `expected` is `None` if the request is allowed, or a part of the error.
#[track_caller]
fn check(policy: &OperationPolicy, request: impl AsRef<[u8]>, expected: Option<&str>) {
    let request = request.as_ref();
    let shown: String = String::from_utf8_lossy(request).chars().take(200).collect();
    let found = evaluate(policy, request).map_err(|denied| denied.to_string());
    match (found, expected) {
        (Ok(()), None) => {}
        (Err(found), Some(part)) => {
            assert!(!part.is_empty() && found.contains(part), "{shown}: {found}");
            assert!(found.contains("route.a"), "{shown}: {found}");
            assert!(!found.contains("secret"), "{shown}: {found}");
        }
        (found, expected) => panic!("{shown}: {found:?}, not {expected:?}"),
    }
}

#[track_caller]
fn check_query(policy: &OperationPolicy, query: &str, expected: Option<&str>) {
    let request = serde_json::json!({ "query": query }).to_string();
    check(policy, request, expected);
}

#[test]
fn read_only_denies_mutations() {
    let policy = read_only();
    check_query(&policy, READ, None);
    check_query(&policy, "subscription { onPost { id } }", None);
    check_query(
        &policy,
        WRITE,
        Some("To allow it, change route.a.read_only (--read-only)"),
    );
    for (body, expected) in [
        (
            r#"{"query":"{ a }","variables":{"a":[1,2.5,null,true,{"b":"c"}]}}"#,
            None,
        ),
        (
            r#" {"query":"{ a }","operationName":null,"extensions":{"x":{}}} "#,
            None,
        ),
        (
            r#"{"query":"query A { a } mutation B { b }","operationName":"A"}"#,
            None,
        ),
        (
            r#"{"query":"query A { a } mutation B { b }","operationName":"B"}"#,
            Some("this is a mutation"),
        ),
        (
            r#"{"query":"query A { a } mutation B { b }"}"#,
            Some("several operations"),
        ),
        (
            r#"{"query":"query A { a } mutation B { b }","operationName":null}"#,
            Some("several operations"),
        ),
        (
            r#"{"query":"query A { a } mutation B { b }","operationName":""}"#,
            Some("several operations"),
        ),
        (
            r##"{"query":"# query\nmutation { a: b }"}"##,
            Some("this is a mutation"),
        ),
        (
            r#"{"query":"\u006dutation { b }"}"#,
            Some("this is a mutation"),
        ),
        (
            r#"{"query":"query { ...F } fragment F on Mutation { deletePost }"}"#,
            Some("fragment on Mutation"),
        ),
        (
            "{\"query\":\"query A { a } #\u{2028} mutation B { b }\\n\",\"operationName\":\"A\"}",
            Some("U+2028"),
        ),
        (r#"{"query":"{ a"}"#, Some("syntax error")),
    ] {
        check(&policy, body, expected);
    }
}

#[test]
fn ambiguous_requests_are_denied() {
    let deep = format!(
        r#"{{"query":"{{ a }}","variables":{}1{}}}"#,
        r#"{"a":"#.repeat(200),
        "}".repeat(200)
    );
    for (body, expected) in [
        (
            r#"{"query":"{ a }","query":"mutation { b }"}"#,
            "duplicate members",
        ),
        (
            r#"{"query":"mutation { b }","query":"{ a }"}"#,
            "duplicate members",
        ),
        (
            r#"{"query":"{ a }","\u0071uery":"mutation { b }"}"#,
            "duplicate members",
        ),
        (
            r#"{"\u0071uery":"{ a }","query":"mutation { b }"}"#,
            "duplicate members",
        ),
        (
            r#"{"query":"{ a }","variables":{"x":"\ud83d"}}"#,
            "invalid Unicode escape at line 1, column 42",
        ),
        (
            r#"{"query":"query A{a} mutation B{b}","operationName":"A","operationName":"B"}"#,
            "duplicate members",
        ),
        (
            r#"{"query":"{ a }","variables":{"a":1,"\u0061":2}}"#,
            "duplicate members",
        ),
        (
            r#"{"query":"{ a }","extensions":{"a":1,"a":2}}"#,
            "duplicate members",
        ),
        (
            r#"{"query":"{ a }"} {"query":"mutation { b }"}"#,
            "duplicate members",
        ),
        (r#"{"query":"{ a }"},"#, "duplicate members"),
        (r#"{"query":"{ a }",}"#, "duplicate members"),
        (r#"{"query":"{ a }"}//"#, "duplicate members"),
        (r#"{"query":'{ a }'}"#, "duplicate members"),
        ("{\"query\":\"{ a }\"}\0", "duplicate members"),
        ("{\"query\":\"{ a\n}\"}", "duplicate members"),
        ("\u{feff}{\"query\":\"{ a }\"}", "duplicate members"),
        ("\u{b}{\"query\":\"{ a }\"}", "duplicate members"),
        (r#"{"query":"\ud800 { a }"}"#, "invalid Unicode escape"),
        (
            r#"{"query":"{ a }","variables":{"a":1e999}}"#,
            "duplicate members",
        ),
        (&deep, "duplicate members"),
        ("", "duplicate members"),
        ("null", "duplicate members"),
        (r#""{ a }""#, "duplicate members"),
        (r#"[{"query":"{ a }"}]"#, "duplicate members"),
        (r#"["{ a }"]"#, "duplicate members"),
        (
            r#"{"query":"{ a }","Query":"mutation { b }"}"#,
            "members other than",
        ),
        (
            r#"{"query":"{ a }","query ":"mutation { b }"}"#,
            "members other than",
        ),
        (
            r#"{"query":"{ a }","mutation":"secret"}"#,
            "members other than",
        ),
        (
            r#"{"query":"{ a }","operationname":"secret"}"#,
            "members other than",
        ),
        (r#"{"query":["{ a }"]}"#, "members other than"),
        (r#"{"query":{"secret":1}}"#, "members other than"),
        (r#"{"query":7}"#, "members other than"),
        (
            r#"{"query":"{ a }","operationName":7}"#,
            "members other than",
        ),
        (
            r#"{"query":"{ a }","operationName":["secret"]}"#,
            "members other than",
        ),
        (
            r#"{"query":"{ a }","variables":"secret"}"#,
            "members other than",
        ),
        (
            r#"{"query":"{ a }","variables":["secret"]}"#,
            "members other than",
        ),
        (r#"{"query":"{ a }","extensions":1}"#, "members other than"),
        (r"{}", "does not contain the text"),
        (r#"{"query":""}"#, "does not contain the text"),
        (r#"{"query":null}"#, "does not contain the text"),
        (
            r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"secret"}}}"#,
            "does not contain the text",
        ),
        (r#"{"documentId":"secret"}"#, "does not contain the text"),
        (
            r#"{"documentId":"secret","query":"{ a }"}"#,
            "does not contain the text",
        ),
    ] {
        check(&read_only(), body, Some(expected));
        check(
            &allowing(AllowedOperations::default()),
            body,
            Some(expected),
        );
    }
    check(&read_only(), b"{\"query\":\"{ a }\xff\"}", Some("UTF-8"));
    let long = format!(r#"{{"query":"{{ a }}"}}{}"#, " ".repeat(17 << 20));
    check(&read_only(), long, Some("longer than"));
}

#[test]
fn operations_are_allowed_by_name() {
    let policy = allowing(AllowedOperations {
        names: Some(set(&["GetPost", "Both"])),
        ..AllowedOperations::default()
    });
    check_query(&policy, "query GetPost { getPost }", None);
    check_query(&policy, "mutation Both { deletePost }", None);
    check_query(
        &policy,
        "query Getpost { getPost }",
        Some("operations.names"),
    );
    check_query(&policy, "{ getPost }", Some("has no name"));
    let long = format!("query {}secret {{ a }}", "x".repeat(64));
    check_query(&policy, &long, Some("xxx is not allowed"));
    check(
        &policy,
        r#"{"query":"query GetPost { a } query Other { b }","operationName":"Other"}"#,
        Some("the operation Other is not"),
    );
}

#[test]
fn documents_are_allowed_by_hash() {
    let hash: [u8; 32] = Sha256::digest("{ \u{e9}: getPost }").into();
    let policy = allowing(AllowedOperations {
        sha256: Some(HashSet::from([hash, Sha256::digest("{ ").into(), [0; 32]])),
        ..AllowedOperations::default()
    });
    // A syntax error takes precedence over the missing hash.
    check_query(&policy, "{ ", Some("syntax error"));
    check_query(&policy, "{ getPost }", Some("operations.sha256"));
    let hash: [u8; 32] = Sha256::digest(READ).into();
    let policy = allowing(AllowedOperations {
        sha256: Some(HashSet::from([hash])),
        ..AllowedOperations::default()
    });
    check_query(&policy, READ, None);
    check_query(&policy, &format!("{READ} "), Some("operations.sha256"));
    let escaped = READ.replace("getPost", "g\\u0065tPost");
    check(&policy, format!(r#"{{"query":"{escaped}"}}"#), None);
}

#[test]
fn root_fields_are_allowed_by_pattern() {
    let policy = allowing(fields(&["Query.getPost", "Mutation.*"]));
    check_query(&policy, READ, None);
    check_query(
        &policy,
        "{ a: getPost { b } __typename t: __typename }",
        None,
    );
    check_query(&policy, "mutation { anything { else } }", None);
    check_query(
        &policy,
        "{ getPost: getUser }",
        Some("Query.getUser is not"),
    );
    check_query(&policy, "{ getPost getUser }", Some("operations.fields"));
    check_query(
        &policy,
        "{ ...F } fragment F on Query { ... @skip(if: true) { getUser } }",
        Some("Query.getUser"),
    );
    check_query(
        &policy,
        "subscription { onPost }",
        Some("Subscription.onPost"),
    );
    check_query(&policy, "{ __schema { a } }", Some("Query.__schema"));
    check_query(&policy, "{ getPost { __schema { a } } }", None);
    for bad in [
        "Query",
        "query.a",
        "Query.",
        "Query.a*",
        "Query.1",
        "Query.a.b",
        "*.a",
        ".a",
    ] {
        assert_eq!(FieldPattern::parse(bad), None, "{bad}");
    }
}

#[test]
fn introspection_is_allowed_or_denied_separately_from_fields() {
    let introspection = |allowed: AllowedOperations, setting| {
        allowing(AllowedOperations {
            introspection: setting,
            ..allowed
        })
    };
    let (any, some) = (AllowedOperations::default(), fields(&["Query.getPost"]));
    let star = fields(&["Query.*"]);
    let query = "{ __type(name: \"secret\") { name } }";
    for (allowed, setting, expected) in [
        (&any, None, None),
        (&any, Some(true), None),
        (&any, Some(false), Some("operations.introspection")),
        (&some, None, Some("operations.fields")),
        (&some, Some(true), None),
        (&some, Some(false), Some("operations.introspection")),
        (&star, None, None),
        (&star, Some(false), Some("operations.introspection")),
    ] {
        check_query(&introspection(allowed.clone(), setting), query, expected);
    }
    let hidden = "{ a { ...F } } fragment F on T { b: __schema { c } }";
    let policy = introspection(any, Some(false));
    check_query(&policy, hidden, Some("operations.introspection"));
    check_query(&policy, "{ __typename a { __typename } }", None);
}

#[test]
fn depth_aliases_and_size_are_limited() {
    let policy = allowing(AllowedOperations {
        depth: Some(2),
        aliases: Some(1),
        size: Some(60),
        ..AllowedOperations::default()
    });
    check_query(&policy, "{ a { b } }", None);
    check_query(
        &policy,
        "{ a { b { c } } }",
        Some("3 levels deep, but at most 2"),
    );
    check_query(
        &policy,
        "{ a { ...F } } fragment F on T { b { c } }",
        Some("operations.depth"),
    );
    check_query(&policy, "{ x: a y: a }", Some("2 aliases, but at most 1"));
    check_query(
        &policy,
        "{ a { ...F ...F } } fragment F on T { x: b }",
        Some("operations.aliases"),
    );
    let long = format!("{{ a }} {}", " ".repeat(60));
    check_query(&policy, &long, Some("66 bytes, but at most 60"));
}

#[test]
fn all_rules_and_all_policies_must_allow_an_operation() {
    let allowed = AllowedOperations {
        names: Some(set(&["M"])),
        ..fields(&["Mutation.deletePost"])
    };
    let policy = allowing(allowed);
    check_query(&policy, WRITE, None);
    check_query(&policy, "mutation M { other }", Some("operations.fields"));
    check_query(
        &policy,
        "mutation N { deletePost }",
        Some("operations.names"),
    );
    let request = serde_json::json!({ "query": WRITE }).to_string();
    let evaluate = |policies: &[&OperationPolicy]| {
        let policies: OperationPolicies = policies.iter().map(|&policy| policy.clone()).collect();
        policies.evaluate(&inspected(request.as_bytes())).is_ok()
    };
    assert!(evaluate(&[]));
    assert!(evaluate(&[&policy, &policy]));
    assert!(!evaluate(&[&policy, &read_only()]));
    assert!(!evaluate(&[&read_only(), &policy]));
    assert!(
        OperationPolicies::default()
            .evaluate(&inspected(b"\xff"))
            .is_ok()
    );
}

#[test]
fn read_only_allows_only_safe_methods_on_other_services() {
    let policy = read_only();
    let none = HeaderMap::new();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert!(policy.evaluate_method(&method, &none).is_ok());
        assert!(
            policy
                .evaluate_method(
                    &method,
                    &HeaderMap::from_iter([(
                        HeaderName::from_static("x-http-method-override"),
                        http::HeaderValue::from_static("DELETE"),
                    )])
                )
                .is_err()
        );
    }
    let other = Method::from_bytes(b"get").unwrap();
    for method in [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::TRACE,
        other,
    ] {
        let denied = policy
            .evaluate_method(&method, &none)
            .unwrap_err()
            .to_string();
        assert!(denied.contains("route.a.read_only"), "{denied}");
        assert!(
            allowing(AllowedOperations::default())
                .evaluate_method(&method, &none)
                .is_err()
        );
    }
    assert!(policy.evaluate_websocket().is_err());
    assert!(policy.evaluate_publish().is_err());
    assert!(policy.evaluate_subscribe().is_ok());
    assert!(OperationPolicy::default().evaluate_websocket().is_ok());
    assert!(OperationPolicy::default().evaluate_publish().is_ok());
}

#[test]
fn combined_policies_must_all_allow() {
    let none = HeaderMap::new();
    let open = OperationPolicies::from_iter([OperationPolicy::default()]);
    let both = open.and(&OperationPolicies::from_iter([read_only()]));
    for (policies, is_allowed) in [(&open, true), (&both, false)] {
        assert_eq!(policies.evaluate_publish().is_ok(), is_allowed);
        assert_eq!(policies.evaluate_websocket().is_ok(), is_allowed);
        let posted = policies.evaluate_method(&Method::POST, &none);
        assert_eq!(posted.is_ok(), is_allowed);
    }
    let listed = open.and(&OperationPolicies::from_iter([allowing(
        AllowedOperations::default(),
    )]));
    assert!(listed.evaluate_subscribe().is_err());
    assert!(both.evaluate_subscribe().is_ok());
}

#[test]
fn requests_longer_than_appsync_accepts_are_denied() {
    const MAX_LENGTH: usize = 16 * 1024 * 1024;
    let of_length = |length: usize| {
        let rest = length - r#"{"query":"{ a }"}"#.len();
        let text = format!(r#"{{"query":"{{ a }}"{}}}"#, " ".repeat(rest));
        assert_eq!(text.len(), length);
        evaluate(&read_only(), text.as_bytes())
    };
    assert!(of_length(MAX_LENGTH).is_ok());
    let denied = of_length(MAX_LENGTH + 1).unwrap_err().to_string();
    assert!(denied.contains(&MAX_LENGTH.to_string()), "{denied}");
}

#[test]
fn allowed_operations_deny_everything_but_graphql() {
    let policy = allowing(AllowedOperations::default());
    let none = HeaderMap::new();
    for denied in [
        policy.evaluate_method(&Method::GET, &none),
        policy.evaluate_method(&Method::DELETE, &none),
        policy.evaluate_websocket(),
        policy.evaluate_publish(),
        policy.evaluate_subscribe(),
    ] {
        let denied = denied.unwrap_err().to_string();
        let expected =
            "only GraphQL operations are allowed here. To allow it, remove route.a.operations";
        assert_eq!(denied, expected);
    }
}

#[test]
fn limits_are_inclusive() {
    let request = br#"{"query":"{ a { b: c } }"}"#;
    let document = "{ a { b: c } }".len();
    let limit = |size, depth, aliases| {
        let policy = allowing(AllowedOperations {
            size,
            depth,
            aliases,
            ..AllowedOperations::default()
        });
        evaluate(&policy, request).is_ok()
    };
    assert!(limit(Some(document), None, None) && !limit(Some(document - 1), None, None));
    assert!(limit(None, Some(2), None) && !limit(None, Some(1), None));
    assert!(limit(None, None, Some(1)) && !limit(None, None, Some(0)));
}

#[test]
fn field_patterns_are_parsed() {
    for (text, kind, name) in [
        ("Query.a", OperationKind::Query, Some("a")),
        ("Mutation.*", OperationKind::Mutation, None),
        (
            "Subscription.on_a",
            OperationKind::Subscription,
            Some("on_a"),
        ),
    ] {
        let name = name.map(str::to_owned);
        assert_eq!(FieldPattern::parse(text), Some(FieldPattern { kind, name }));
    }
    for text in [
        "",
        "a",
        "Query",
        "Query.",
        "query.a",
        "Type.a",
        "Query.a.b",
        "Query.**",
    ] {
        assert_eq!(FieldPattern::parse(text), None, "{text}");
    }
}
