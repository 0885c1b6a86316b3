//! An empty `operationName` counts as none, and is not sent: GraphQL clients send one when an operation
//! has no name, and servers differ in whether they then look for an operation without a name.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json::push_json_string;

/// The members of an object in the order of the text, with the text of each value.
struct Members<'a>(Vec<(String, &'a RawValue)>);

/// Deserializes a name. Returns `None` for an empty one.
pub(super) fn non_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    Ok(name.filter(|name| !name.is_empty()))
}

/// Returns a request without its `operationName`. The values of its other members keep their bytes.
/// Returns `None` if it has no `operationName`, or one that is not empty.
pub(super) fn without_empty_name(request: &str) -> Option<String> {
    let Members(members) = serde_json::from_str(request).ok()?;
    let is_empty_name =
        |(name, value): &(String, &RawValue)| name == "operationName" && value.get() == r#""""#;
    if !members.iter().any(is_empty_name) {
        return None;
    }
    let mut text = String::with_capacity(request.len());
    text.push('{');
    for (name, value) in members.iter().filter(|member| !is_empty_name(member)) {
        if text.len() > 1 {
            text.push(',');
        }
        push_json_string(&mut text, name);
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    Some(text)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, expected: Option<&str>) {
        assert_eq!(
            without_empty_name(request).as_deref(),
            expected,
            "{request}"
        );
    }

    #[test]
    fn only_an_empty_operation_name_is_removed() {
        check(r#"{"operationName":""}"#, Some("{}"));
        check(
            r#"{ "query" : "{ a }", "operationName" : "" , "variables":{"n": 1.0, "u":"\u003c"} }"#,
            Some(r#"{"query":"{ a }","variables":{"n": 1.0, "u":"\u003c"}}"#),
        );
        check(
            r#"{"operation\u004eame":"","a\"b":[1 ,2]}"#,
            Some(r#"{"a\"b":[1 ,2]}"#),
        );
        for kept in [
            r#"{"query":"{ a }"}"#,
            r#"{"operationName":null}"#,
            r#"{"operationName":" "}"#,
            r#"{"operationName":"A"}"#,
            r#"{"variables":{"operationName":""}}"#,
            r#"["",""]"#,
            "not JSON",
        ] {
            check(kept, None);
        }
    }
}
