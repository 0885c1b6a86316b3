//! Mutations and live subscriptions, as data.

use serde_json::json;

use super::*;

const LOBBY: &str = r#"subscription { onMessage(room: "lobby") { body } }"#;

fn data(query: &str, variables: Value) -> String {
    json!({ "query": query, "variables": variables }).to_string()
}

fn live(query: &str, variables: Value) -> LiveFilters {
    let mut filters = LiveFilters::default();
    if let Some(filter) = SubscriptionFilter::read(&data(query, variables)) {
        filters.add(filter);
    }
    filters
}

fn found(filters: &mut LiveFilters, query: &str, variables: Value) -> Vec<Unselected> {
    let body = data(query, variables);
    let mutation = Unexamined::read(body.as_bytes());
    let mutation = mutation.filter(|mutation| filters.is_watching() && filters.is_new(mutation));
    let fields = mutation.and_then(|mutation| mutation.examine());
    fields.map_or(Vec::new(), |fields| filters.unselected(&fields))
}

/// `expected` has the fields that are missing, separated by spaces.
#[track_caller]
fn check(
    (subscription, variables): (&str, Value),
    (mutation, inputs): (&str, Value),
    expected: &str,
) {
    let mut filters = live(subscription, variables);
    let found = found(&mut filters, mutation, inputs);
    let fields: Vec<String> = found.into_iter().flat_map(|found| found.fields).collect();
    assert_eq!(fields.join(" "), expected, "{subscription} {mutation}");
}

#[test]
fn a_mutation_must_select_the_fields_by_which_subscriptions_filter() {
    let none = || Value::Null;
    let lobby = || (LOBBY, none());
    let post = |fields: &str| format!("mutation {{ post(room: \"lobby\") {{ {fields} }} }}");
    check(lobby(), (&post("id body"), none()), "room");
    check(lobby(), (&post("id room"), none()), "");
    check(lobby(), (&post("id name: room"), none()), "");
    check(lobby(), (&post("room: id"), none()), "room");
    check(lobby(), (&post("details { room }"), none()), "room");
    check(lobby(), (&post("... on Message { room }"), none()), "");
    let spread = format!("{} fragment F on M {{ ...G }} ", post("id ...F"));
    let with_room = format!("{spread} fragment G on M {{ room ...F }}");
    check(lobby(), (&with_room, none()), "");
    let without = format!("{spread} fragment G on M {{ id ...F }}");
    check(lobby(), (&without, none()), "room");
    check(
        lobby(),
        (r#"mutation { post(room: "lobby") }"#, none()),
        "room",
    );
}

#[test]
fn arguments_that_are_null_do_not_filter() {
    let by_variable = "subscription S($r: ID, $a: ID = 1) { onPost(room: $r, author: $a) { id } }";
    let post = "mutation { post { id } }";
    let check = |query: &str, variables: Value, expected: &str| {
        check((query, variables), (post, Value::Null), expected);
    };
    check(by_variable, json!({ "r": "lobby" }), "author room");
    check(by_variable, json!({ "a": null }), "");
    check(by_variable, json!({}), "author");
    check("subscription { onPost(room: null) { id } }", json!({}), "");
    check("subscription { onPost { id } }", json!({}), "");
}

#[test]
fn names_decide_which_mutations_belong_to_a_subscription() {
    let check = |mutation: &str, inputs: Value, expected: &str| {
        check((LOBBY, Value::Null), (mutation, inputs), expected);
    };
    check("mutation { other(id: 1) { id } }", Value::Null, "");
    check("mutation { message(id: 1) { id } }", Value::Null, "room");
    let by_input = "mutation($i: In) { post(input: $i) { id } }";
    check(by_input, json!({ "i": { "room": "a" } }), "room");
    check(by_input, json!({ "i": { "room": null } }), "");
    check(
        "mutation { post(input: {m: {room: 1}}) { id } }",
        json!({}),
        "room",
    );
    for not_a_mutation in ["query { mutation(room: 1) { id } }", "mutation {", "{ a }"] {
        check(not_a_mutation, Value::Null, "");
    }
}

#[test]
fn each_pair_is_reported_once_and_documents_are_examined_once() {
    let mut filters = live(LOBBY, Value::Null);
    let post = "mutation { post(room: 1) { id } }";
    assert_eq!(
        found(&mut filters, post, Value::Null),
        [Unselected {
            subscription: "onMessage".to_owned(),
            mutation: "post".to_owned(),
            fields: vec!["room".to_owned()],
        }]
    );
    assert_eq!(
        found(
            &mut filters,
            "mutation { post(room: 2) { id } }",
            Value::Null
        ),
        []
    );
    // Another filter is compared with mutations that were examined before.
    let other = "subscription { onOther(room: 1) { id } }";
    let filter = SubscriptionFilter::read(&data(other, Value::Null)).unwrap();
    filters.add(filter.clone());
    assert_eq!(found(&mut filters, post, Value::Null).len(), 1);
    let lobby = SubscriptionFilter::read(&data(LOBBY, Value::Null)).unwrap();
    filters.remove(&lobby);
    assert!(filters.is_watching());
    filters.remove(&filter);
    assert!(!filters.is_watching());
}

#[test]
fn work_is_bounded() {
    let check = |roots: usize, expected: Option<usize>| {
        let roots: String = (0..roots)
            .map(|at| format!("a{at}: post {{ ...F0 }} "))
            .collect();
        let fragments = (0..300).map(|at| format!("fragment F{at} on M {{ ...F{} }} ", at + 1));
        let query = format!("mutation {{ {roots} }} {}", fragments.collect::<String>());
        let data = data(&query, Value::Null);
        let examined = Unexamined::read(data.as_bytes()).unwrap().examine();
        assert_eq!(examined.map(|fields| fields.0.len()), expected);
    };
    check(MAX_ROOT_FIELDS, Some(MAX_ROOT_FIELDS));
    check(MAX_ROOT_FIELDS + 1, None);
}

#[test]
fn memory_is_bounded() {
    let mut filters = live(LOBBY, Value::Null);
    for at in 0..MAX_KNOWN {
        let post = format!("mutation {{ post{at}(room: 1) {{ id }} }}");
        assert_eq!(found(&mut filters, &post, Value::Null).len(), 1);
    }
    assert!(!filters.is_watching());
    let mut filters = live(LOBBY, Value::Null);
    for at in 0..MAX_EXAMINED + 5 {
        let other = format!("mutation {{ a(id: {at}) {{ id }} }}");
        found(&mut filters, &other, Value::Null);
    }
    assert_eq!(filters.examined.len(), MAX_EXAMINED);
    let arguments: Vec<String> = (0..100).map(|at| format!("a{at:0>90}: 1")).collect();
    let subscription = format!(
        "subscription {{ onPost({}) {{ id }} }}",
        arguments.join(" ")
    );
    let mut filters = live(&subscription, Value::Null);
    let long = found(&mut filters, "mutation { post { id } }", Value::Null);
    let lengths: Vec<usize> = long[0].fields.iter().map(String::len).collect();
    assert_eq!(lengths, [64; MAX_FIELDS]);
    let long = format!(
        "mutation {{ post(room: \"{}\") {{ id }} }}",
        "x".repeat(MAX_QUERY)
    );
    assert!(Unexamined::read(data(&long, Value::Null).as_bytes()).is_none());
}
