//! Creates the least-privilege IAM policy for recorded operations.
//!
//! Sources: Service Authorization Reference, "AWS AppSync" (fields, APIs, channel namespaces);
//! AppSync Events guide, "IAM authorization"; API Gateway guide, "Control access for invoking an
//! API" and "Control access to WebSocket APIs with IAM authorization".

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{ANY, ApiResource, CONNECT, PUBLISH, RecordedOperations, SUBSCRIBE, WEBSOCKET};

/// An IAM policy: the allowed resources by action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamPolicy(BTreeMap<&'static str, BTreeSet<String>>);

/// The parts of an ARN that neither a URL nor a request contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArnParts {
    /// The account; by default, `*`.
    pub account: Option<String>,
    /// The API ID; by default, the ID in the host, or `*`.
    pub api_id: Option<String>,
    /// The stage of an API in API Gateway; by default, the stage in the target, or every possible stage.
    pub stage: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    version: &'static str,
    statement: Vec<Statement<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement<'a> {
    effect: &'static str,
    action: &'a str,
    resource: Vec<&'a str>,
}

const GRAPHQL: &str = "appsync:GraphQL";
const EVENT_CONNECT: &str = "appsync:EventConnect";
const EVENT_PUBLISH: &str = "appsync:EventPublish";
const EVENT_SUBSCRIBE: &str = "appsync:EventSubscribe";
const INVOKE: &str = "execute-api:Invoke";
const MANAGE: &str = "execute-api:ManageConnections";
const DEFAULT_STAGE: &str = "$default";
/// The path below the stage for sending messages to WebSockets.
pub(super) const CONNECTIONS: &str = "@connections";

impl IamPolicy {
    /// The maximum size of a managed policy, in characters (IAM guide, "IAM and AWS STS quotas").
    pub const MAX_SIZE: usize = 6_144;

    /// Allows the operations of `api`. Adds nothing for services other than AppSync and API Gateway,
    /// whose actions are unknown.
    pub fn allow(&mut self, api: &ApiResource, operations: &RecordedOperations, parts: &ArnParts) {
        for (verb, name) in operations.entries() {
            let allowed = match api.service.as_str() {
                "appsync" => appsync(verb, &name).into_iter().collect(),
                "execute-api" => api_gateway(api, verb, &name, parts.stage.as_deref()),
                _ => Vec::new(),
            };
            for (action, resource) in allowed {
                let arn = arn(api, parts, &resource);
                self.0.entry(action).or_default().insert(arn);
            }
        }
    }

    /// Returns whether the policy allows nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the policy as indented JSON that ends with a newline.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(&self.document());
        json.unwrap_or_default() + "\n"
    }

    /// Returns the size of the policy without white space, as IAM counts it for
    /// [`IamPolicy::MAX_SIZE`].
    pub fn size(&self) -> usize {
        serde_json::to_string(&self.document()).map_or(0, |json| json.len())
    }

    fn document(&self) -> Document<'_> {
        let statement = self.0.iter().map(|(action, resources)| {
            let is_covered = |resource: &String| {
                let mut others = resources.iter().filter(|other| *other != resource);
                others.any(|other| covers(other, resource))
            };
            let kept = resources.iter().filter(|resource| !is_covered(resource));
            Statement {
                effect: "Allow",
                action,
                resource: kept.map(String::as_str).collect(),
            }
        });
        Document {
            version: "2012-10-17",
            statement: statement.collect(),
        }
    }
}

/// Returns the action, and the suffix to the ARN of the API.
fn appsync(verb: &str, name: &str) -> Option<(&'static str, String)> {
    Some(match verb {
        CONNECT => (EVENT_CONNECT, String::new()),
        PUBLISH => (EVENT_PUBLISH, format!("/channelNamespace/{name}")),
        SUBSCRIBE => (EVENT_SUBSCRIBE, format!("/channelNamespace/{name}")),
        "Query" | "Mutation" | "Subscription" => (GRAPHQL, format!("/types/{verb}/fields/{name}")),
        _ => return None,
    })
}

/// Returns the actions and the suffixes to the ARN of the API, one for each possible interpretation of
/// the path.
fn api_gateway(
    api: &ApiResource,
    verb: &str,
    path: &str,
    stage: Option<&str>,
) -> Vec<(&'static str, String)> {
    let interpretations = interpretations(api, path, stage);
    let resource = |(stage, path): &(String, String)| {
        if verb == WEBSOCKET {
            return (INVOKE, format!("/{stage}/{WEBSOCKET}"));
        }
        let path: Vec<String> = path.split('/').map(segment).collect();
        match path.first().map(String::as_str) {
            Some(CONNECTIONS) => (MANAGE, format!("/{stage}/{verb}/{CONNECTIONS}/*")),
            _ => (INVOKE, format!("/{stage}/{verb}/{}", path.join("/"))),
        }
    };
    let is_possible = |(stage, _): &&(String, String)| verb != WEBSOCKET || stage != DEFAULT_STAGE;
    interpretations
        .iter()
        .filter(is_possible)
        .map(resource)
        .collect()
}

/// Returns the possible interpretations of a path as pairs: the stage, and the path below it without the
/// leading slash.
///
/// On a custom domain, the stage is not part of the path, and the path may begin with a base path.
fn interpretations(api: &ApiResource, path: &str, stage: Option<&str>) -> Vec<(String, String)> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let owned = |stage: &str, path: &str| (stage.to_owned(), path.to_owned());
    if api.id().is_none() {
        let stage = stage.unwrap_or(ANY);
        return vec![owned(stage, path), owned(stage, rest)];
    }
    match stage.or(api.stage()) {
        Some(stage) if stage == first => vec![owned(stage, rest)],
        Some(stage) => vec![owned(stage, path)],
        None if first.is_empty() => vec![owned(DEFAULT_STAGE, path)],
        None => vec![owned(DEFAULT_STAGE, path), owned(first, rest)],
    }
}

/// Replaces a segment that contains escapes by `*`, because AWS does not document whether IAM compares
/// decoded paths.
fn segment(text: &str) -> String {
    match text {
        "%40connections" => CONNECTIONS.to_owned(),
        text if text.contains('%') => ANY.to_owned(),
        text => text.to_owned(),
    }
}

fn arn(api: &ApiResource, parts: &ArnParts, resource: &str) -> String {
    let (partition, region) = (api.partition(), &api.region);
    let account = parts.account.as_deref().unwrap_or(ANY);
    let id = parts.api_id.as_deref().or(api.id()).unwrap_or(ANY);
    if api.is_appsync() {
        format!("arn:{partition}:appsync:{region}:{account}:apis/{id}{resource}")
    } else {
        format!("arn:{partition}:execute-api:{region}:{account}:{id}{resource}")
    }
}

/// Returns whether `pattern` matches everything that `other` matches. As in IAM, `*` also matches
/// slashes.
fn covers(pattern: &str, other: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = other.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "a1.execute-api.us-east-1.amazonaws.com";

    fn api(service: &str, host: &str, path: &str) -> ApiResource {
        ApiResource {
            service: service.to_owned(),
            region: "us-east-1".to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
        }
    }

    #[track_caller]
    fn check(
        api: &ApiResource,
        parts: &ArnParts,
        verb: &str,
        name: &str,
        expected: &[(&str, &str)],
    ) {
        let mut operations = RecordedOperations::default();
        operations.record(verb, name);
        let mut policy = IamPolicy::default();
        policy.allow(api, &operations, parts);
        let found = policy.document();
        let found: Vec<(&str, &str)> = found
            .statement
            .iter()
            .flat_map(|statement| {
                statement
                    .resource
                    .iter()
                    .map(|arn| (statement.action, *arn))
            })
            .collect();
        assert_eq!(found, expected, "{verb} {name}");
    }

    #[test]
    fn operations_have_an_action_and_an_arn() {
        let plain = ArnParts::default();
        let appsync = api(
            "appsync",
            "x.appsync-api.us-east-1.amazonaws.com",
            "/graphql",
        );
        let named = ArnParts {
            account: Some("123456789012".to_owned()),
            api_id: Some("abc".to_owned()),
            stage: None,
        };
        check(
            &appsync,
            &plain,
            "Query",
            "rooms",
            &[(
                "appsync:GraphQL",
                "arn:aws:appsync:us-east-1:*:apis/*/types/Query/fields/rooms",
            )],
        );
        check(
            &appsync,
            &named,
            "Subscription",
            "onMessage",
            &[(
                "appsync:GraphQL",
                "arn:aws:appsync:us-east-1:123456789012:apis/abc/types/Subscription/fields/onMessage",
            )],
        );
        check(
            &appsync,
            &named,
            CONNECT,
            "",
            &[(
                "appsync:EventConnect",
                "arn:aws:appsync:us-east-1:123456789012:apis/abc",
            )],
        );
        check(
            &appsync,
            &named,
            PUBLISH,
            "default",
            &[(
                "appsync:EventPublish",
                "arn:aws:appsync:us-east-1:123456789012:apis/abc/channelNamespace/default",
            )],
        );
        check(
            &appsync,
            &named,
            SUBSCRIBE,
            "default",
            &[(
                "appsync:EventSubscribe",
                "arn:aws:appsync:us-east-1:123456789012:apis/abc/channelNamespace/default",
            )],
        );

        let rest = api("execute-api", REST, "/prod");
        let base = "arn:aws:execute-api:us-east-1:*:a1";
        for (verb, path, action, resource) in [
            ("GET", "/prod/items/7", INVOKE, "prod/GET/items/7"),
            ("GET", "/prod", INVOKE, "prod/GET/"),
            ("PUT", "/prod/items/*/size", INVOKE, "prod/PUT/items/*/size"),
            ("GET", "/prod/a%2Fb/c", INVOKE, "prod/GET/*/c"),
            ("GET", "/prod/${*}", INVOKE, "prod/GET/${*}"),
            (ANY, "/prod/x", INVOKE, "prod/*/x"),
            ("GET", ANY, INVOKE, "prod/GET/*"),
            (WEBSOCKET, "/prod", INVOKE, "prod/$connect"),
            (
                "POST",
                "/prod/@connections/*",
                MANAGE,
                "prod/POST/@connections/*",
            ),
            (
                "DELETE",
                "/prod/%40connections/*",
                MANAGE,
                "prod/DELETE/@connections/*",
            ),
        ] {
            let arn = format!("{base}/{resource}");
            check(&rest, &plain, verb, path, &[(action, &arn)]);
        }
        check(
            &api("es", "x.us-east-1.es.amazonaws.com", ""),
            &plain,
            "GET",
            "/x",
            &[],
        );
    }

    #[test]
    fn every_possible_stage_is_allowed_if_it_is_unknown() {
        let base = "arn:aws:execute-api:us-east-1:*";
        let both = [
            (INVOKE, &*format!("{base}:a1/$default/GET/items/7")),
            (INVOKE, &*format!("{base}:a1/items/GET/7")),
        ];
        let open = api("execute-api", REST, "");
        check(&open, &ArnParts::default(), "GET", "/items/7", &both);
        let stage = |stage: &str| ArnParts {
            stage: Some(stage.to_owned()),
            ..ArnParts::default()
        };
        check(&open, &stage(DEFAULT_STAGE), "GET", "/items/7", &both[..1]);
        check(&open, &stage("items"), "GET", "/items/7", &both[1..]);
        check(
            &open,
            &ArnParts::default(),
            WEBSOCKET,
            "/prod",
            &[(INVOKE, &format!("{base}:a1/prod/$connect"))],
        );
        let custom = api("execute-api", "api.example.com", "");
        check(
            &custom,
            &ArnParts::default(),
            "GET",
            "/items/7",
            &[
                (INVOKE, &format!("{base}:*/*/GET/7")),
                (INVOKE, &format!("{base}:*/*/GET/items/7")),
            ],
        );
    }

    #[test]
    fn covered_resources_are_omitted() {
        for (pattern, other, expected) in [
            ("a/*", "a/b/c", true),
            ("a/*/c", "a/*/b/c", true),
            ("a/*/c", "a/b", false),
            ("a/*/x/*", "a/b/x/", true),
            ("a", "ab", false),
            ("*a", "a", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(covers(pattern, other), expected, "{pattern} {other}");
        }
        let mut operations = RecordedOperations::default();
        for path in ["/prod/a%20b", "/prod/x", "/prod/y/z"] {
            operations.record("GET", path);
        }
        let mut policy = IamPolicy::default();
        policy.allow(
            &api("execute-api", REST, "/prod"),
            &operations,
            &ArnParts::default(),
        );
        let expected = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "execute-api:Invoke",
      "Resource": [
        "arn:aws:execute-api:us-east-1:*:a1/prod/GET/*"
      ]
    }
  ]
}
"#;
        assert_eq!(policy.to_json(), expected);
        let compact: String = expected.split_whitespace().collect();
        assert_eq!(policy.size(), compact.len());
    }
}
