//! The permission that one request to AppSync requires.

use countersign_protocol::events::Channel;
use countersign_protocol::graphql::survey;

use super::recorder::members;
use super::{CONNECT, PUBLISH, SUBSCRIBE};

/// More root fields are not listed.
const MAX_FIELDS: usize = 5;

/// Returns the action and the resources that a request requires, as an IAM policy names them, such as
/// `appsync:GraphQL on types/Query/fields/rooms`. `body` is the JSON of a GraphQL request, or of an Events
/// publish or subscription; `None` if it does not determine them.
pub fn required_permissions(body: &[u8], is_events: bool) -> Option<String> {
    let members = members(body)?;
    if !is_events {
        let survey = survey(&members.query?, members.operation_name.as_deref()).ok()?;
        let root = survey.kind.root();
        let fields = survey.fields.iter().take(MAX_FIELDS);
        let fields: Vec<String> = fields
            .map(|field| format!("types/{root}/fields/{field}"))
            .collect();
        return (!fields.is_empty()).then(|| format!("appsync:GraphQL on {}", fields.join(", ")));
    }
    let Some(channel) = members.channel else {
        return Some(format!("appsync:{CONNECT}"));
    };
    Channel::pattern(&channel).ok()?;
    let channel = channel.strip_prefix('/').unwrap_or(&channel);
    let namespace = channel.split('/').next().unwrap_or_default();
    let action = if members.events.is_some() {
        PUBLISH
    } else {
        SUBSCRIBE
    };
    Some(format!("appsync:{action} on channelNamespace/{namespace}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, is_events: bool, expected: Option<&str>) {
        let found = required_permissions(body.as_bytes(), is_events);
        assert_eq!(found.as_deref(), expected, "{body}");
    }

    #[test]
    fn a_request_determines_the_permission_that_it_requires() {
        check(
            r#"{"query":"{ rooms { id } user(id: 1) { id } }"}"#,
            false,
            Some("appsync:GraphQL on types/Query/fields/rooms, types/Query/fields/user"),
        );
        check(
            r#"{"query":"subscription S { onMessage { id } }","variables":{}}"#,
            false,
            Some("appsync:GraphQL on types/Subscription/fields/onMessage"),
        );
        check(
            r#"{"channel":"/default/a","events":["1"]}"#,
            true,
            Some("appsync:EventPublish on channelNamespace/default"),
        );
        check(
            r#"{"channel":"/default/a"}"#,
            true,
            Some("appsync:EventSubscribe on channelNamespace/default"),
        );
        check("{}", true, Some("appsync:EventConnect"));
        for body in ["", "{}", "[]", r#"{"query":"{"}"#] {
            check(body, false, None);
        }
    }
}
