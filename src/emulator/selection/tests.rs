//! Events of subscriptions with selections that differ from the mutation's.

use async_graphql::value;

use super::*;

const SDL: &str = "
type Subscription { onMessage: Message }
type Message { id: ID!, body: String!, author: String, room: Room!, tags: [Tag!], tag: Tag }
type Room { id: ID!, name: String }
type Tag { name: String! }
";

/// Parses a selection: `alias:name{children}`, separated by spaces.
fn selection(text: &str) -> Vec<SelectedField> {
    fn read<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Vec<SelectedField> {
        let mut fields: Vec<SelectedField> = Vec::new();
        while let Some(token) = tokens.next() {
            match token {
                "{" => fields.last_mut().unwrap().children = read(tokens),
                "}" => break,
                field => {
                    let (response_key, name) = field.split_once(':').unwrap_or((field, field));
                    fields.push(SelectedField {
                        response_key: response_key.to_owned(),
                        name: name.to_owned(),
                        children: Vec::new(),
                    });
                }
            }
        }
        fields
    }
    read(&mut text.split_whitespace())
}

#[track_caller]
fn check_projection(selected: &str, event: Value, expected: Value, errors: &[&str]) {
    let selected = selection(selected).remove(0);
    let (value, found) = project(&Types::from_sdl(SDL), &selected, &event);
    assert_eq!(value, expected);
    let found: Vec<String> = found.into_iter().map(|error| error.message).collect();
    assert_eq!(found, errors);
}

#[track_caller]
fn check_unalias(selected: &str, value: Value, expected: Value) {
    assert_eq!(unalias(&value, &selection(selected)), expected);
}

#[test]
fn subscriber_receives_fields_that_both_selected() {
    check_projection(
        "onMessage { __typename key:id author }",
        value!({"id": "1", "body": "b", "author": "ann"}),
        value!({"__typename": "Message", "key": "1", "author": "ann"}),
        &[],
    );
}

#[test]
fn nullable_field_absent_from_the_mutation_is_null() {
    check_projection(
        "onMessage { id author tag { name } }",
        value!({"id": "1"}),
        value!({"id": "1", "author": null, "tag": null}),
        &[],
    );
}

#[test]
fn required_field_absent_from_the_mutation_is_an_error() {
    check_projection(
        "onMessage { id text:body }",
        value!({"id": "1"}),
        Value::Null,
        &[
            "Cannot return null for non-nullable type: 'String' within parent 'Message' (/onMessage/text)",
        ],
    );
}

#[test]
fn null_propagates_to_the_nearest_nullable_field() {
    check_projection(
        "onMessage { id tags { name } tag { name } }",
        value!({"id": "1", "tags": [{"name": "x"}, {}], "tag": {}}),
        value!({"id": "1", "tags": null, "tag": null}),
        &[
            "Cannot return null for non-nullable type: 'String' within parent 'Tag' (/onMessage/tags[1]/name)",
            "Cannot return null for non-nullable type: 'String' within parent 'Tag' (/onMessage/tag/name)",
        ],
    );
    check_projection(
        "onMessage { room { id } }",
        value!({"room": {"name": "n"}}),
        Value::Null,
        &[
            "Cannot return null for non-nullable type: 'ID' within parent 'Room' (/onMessage/room/id)",
        ],
    );
}

#[test]
fn mutation_aliases_become_field_names() {
    check_unalias(
        "key:id a:room { id } b:room { n:name } tags { t:name }",
        value!({"key": "1", "a": {"id": "r"}, "b": {"n": "N"}, "tags": [{"t": "x"}]}),
        value!({"id": "1", "room": {"id": "r", "name": "N"}, "tags": [{"name": "x"}]}),
    );
}

#[track_caller]
fn check_completion(selected: &str, data: Value, expected: Value, errors: usize) {
    let types = Types::from_sdl(SDL);
    let (value, found) = complete(&types, "Message", &selection(selected), &data);
    assert_eq!(value, expected);
    assert_eq!(found.len(), errors);
}

#[test]
fn responses_are_completed() {
    let expected = value!({"a": null, "key": "1", "__schema": {"x": 1}});
    check_completion(
        "a:author key:id __schema { x }",
        value!({"key": "1", "__schema": {"x": 1}}),
        expected,
        0,
    );
    check_completion("author id", value!({"author": "a"}), Value::Null, 1);
    check_completion("id", Value::Null, Value::Null, 1);
}
