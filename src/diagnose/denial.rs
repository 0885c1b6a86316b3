//! What a policy does not allow: read from AWS's text, and what to do about it.
//!
//! AWS's text is not trusted. Identity, action and resource are taken only in the form that AWS documents,
//! because they are logged, sent to clients and pasted into policies.

mod arn;

use std::fmt;

use serde_json::Value;

use crate::iam::{ANY, ApiResource};
use arn::{Arn, MAX_ARN, is_action, is_arn, is_name, is_path_byte, within_account, word};

pub use arn::is_label;

/// What a policy does not allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// The ARN of the IAM principal.
    pub identity: Option<String>,
    /// The IAM action, such as `execute-api:Invoke`.
    pub action: Option<String>,
    /// The ARN, or as much of it as is known, such as `types/Query/fields/rooms`. Several are separated by
    /// a comma and a space.
    pub resource: Option<String>,
    /// Whether a statement denies the action. No other policy can allow it then.
    pub explicit_deny: bool,
    /// The type of the policy that denies the action, or does not allow it.
    pub policy: Option<PolicyType>,
}

/// The types of policies in AWS's texts (IAM user guide, "Troubleshoot access denied error messages").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyType {
    Identity,
    Resource,
    Boundary,
    ServiceControl,
    ResourceControl,
    Session,
    Endpoint,
}

/// Longer ARNs are shortened in a sentence.
const MAX_SHOWN: usize = 120;
const GRAPHQL: &str = "appsync:GraphQL";

impl Denial {
    /// Reads `User: ARN is not authorized to perform: ACTION on resource: ARN …`.
    pub(super) fn in_text(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(" is not authorized to perform: ")?;
        let identity = before.rsplit("User: ").next().unwrap_or_default();
        let resource = after.split_once("on resource: ").map(|(_, rest)| rest);
        let (explicit_deny, policy) = reason(after);
        Some(Self {
            identity: Some(identity.trim())
                .filter(|text| is_arn(text))
                .map(str::to_owned),
            action: word(after)
                .filter(|text| is_action(text))
                .map(str::to_owned),
            resource: resource
                .and_then(word)
                .filter(|text| text.len() <= MAX_ARN)
                .map(str::to_owned),
            explicit_deny,
            policy,
        })
    }

    /// Reads `Not Authorized to access FIELD on type TYPE`.
    pub(super) fn of_field(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("Not Authorized to access ")?;
        let (field, rest) = rest.split_once(" on type ")?;
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let owner = rest.get(..end)?;
        (is_name(field) && is_name(owner)).then(|| Self {
            action: Some(GRAPHQL.to_owned()),
            resource: Some(format!("types/{owner}/fields/{field}")),
            ..Self::default()
        })
    }

    /// Adds the permissions that the request needs, such as `appsync:GraphQL on types/Query/fields/rooms`,
    /// if AWS names no action.
    pub fn or_required(mut self, required: Option<&str>) -> Self {
        let Some(required) = required.filter(|_| self.action.is_none()) else {
            return self;
        };
        let (action, resource) = match required.split_once(" on ") {
            Some((action, resource)) => (action, Some(resource)),
            None => (required, None),
        };
        self.action = Some(action.to_owned());
        self.resource = resource.map(str::to_owned).or(self.resource);
        self
    }

    /// Returns the action and the resource, such as `appsync:GraphQL on types/Query/fields/rooms`.
    pub fn denied(&self) -> Option<String> {
        match (&self.action, &self.resource) {
            (Some(action), Some(resource)) => Some(format!("{action} on {resource}")),
            (Some(action), None) => Some(action.clone()),
            (None, _) => None,
        }
    }

    /// Reads what [`denied`](Self::denied) returns.
    pub(super) fn from_denied(text: &str) -> Option<Self> {
        let (action, resource) = match text.split_once(" on ") {
            Some((action, resource)) => (action, Some(resource)),
            None => (text, None),
        };
        let is_one =
            |part: &str| is_arn(part) || !part.is_empty() && part.bytes().all(is_path_byte);
        let is_resource = |text: &str| text.len() <= MAX_ARN && text.split(", ").all(is_one);
        (is_action(action) && resource.is_none_or(is_resource)).then(|| Self {
            action: Some(action.to_owned()),
            resource: resource.map(str::to_owned),
            ..Self::default()
        })
    }

    /// Returns a sentence with the action, the resource and the identity; `None` if none is known.
    pub(super) fn summary(&self) -> Option<String> {
        let action = self.action.as_deref();
        let resource = self.resource.as_deref().map(within_account).map(shortened);
        let identity = self.identity.as_deref().map(shortened);
        let mut text = match (action, resource) {
            (Some(action), Some(resource)) => format!("AWS denied {action} on {resource}"),
            (Some(action), None) => format!("AWS denied {action}"),
            (None, _) if identity.is_some() => "AWS denied the request".to_owned(),
            (None, _) => return None,
        };
        if let Some(identity) = identity {
            text = format!("{text} to {identity}");
        }
        match (self.explicit_deny, self.policy) {
            (true, Some(policy)) => Some(format!("{text}, with an explicit deny in {policy}.")),
            (true, None) => Some(format!("{text}, with an explicit deny.")),
            (false, Some(policy)) => Some(format!("{text}, because {policy} does not allow it.")),
            (false, None) => Some(format!("{text}.")),
        }
    }

    /// Returns what to do, as sentences.
    pub fn advice(&self) -> String {
        match (self.explicit_deny, self.policy) {
            (true, Some(policy)) => {
                return format!(
                    "Remove or narrow the explicit deny in {policy}. No other policy overrides it."
                );
            }
            (true, None) => {
                return "Find the explicit deny, and remove or narrow it: in a policy of the identity, its permissions \
                        boundary, a service control policy (SCP), the policy of the VPC endpoint, or the API's \
                        resource policy. No other policy overrides it."
                    .to_owned();
            }
            (false, _) => {}
        }
        let denied = self.denied().unwrap_or_else(|| "the action".to_owned());
        let policy = self.policy.unwrap_or(PolicyType::Identity);
        let mut advice = format!("Allow {denied} in {policy}.");
        if self.action.as_deref() == Some(GRAPHQL) {
            advice.push_str(
                " If the API has several authorization modes, the field must also have @aws_iam in the schema.",
            );
        }
        advice
    }

    /// Returns the command that prints the policy for denied root fields. `region` is that of the request.
    pub fn command(&self, region: Option<&str>) -> Option<String> {
        if self.explicit_deny || self.action.as_deref() != Some(GRAPHQL) {
            return None;
        }
        let resource = self.resource.as_deref()?;
        let mut root = None;
        let mut fields = Vec::new();
        for resource in resource.split(", ") {
            let path = within_account(resource).strip_prefix("types/")?;
            let (owner, field) = path.split_once("/fields/")?;
            if root.is_some_and(|root| root != owner) || !is_name(field) {
                return None;
            }
            root = Some(owner);
            fields.push(field);
        }
        let operation = match root? {
            "Query" => "query",
            "Mutation" => "mutation",
            "Subscription" => "subscription",
            _ => return None,
        };
        let mut command = format!(
            "echo '{operation} {{ {} }}' | countersign policy",
            fields.join(" ")
        );
        let arn = Arn::parse(resource);
        let region = arn.as_ref().map(|arn| arn.region).or(region);
        let account = arn
            .as_ref()
            .and_then(|arn| arn.account(self.identity.as_deref()));
        let api = arn.as_ref().and_then(Arn::api);
        for (option, value) in [
            ("--region", region.filter(|text| is_label(text))),
            ("--account", account),
            ("--api-id", api),
        ] {
            if let Some(value) = value {
                command.push_str(&format!(" {option} {value}"));
            }
        }
        command.push_str(" -");
        Some(command)
    }

    /// Returns the statement that allows the action, as one line of JSON; `None` if the resource is not
    /// known well enough. `region` is that of the request.
    pub fn statement(&self, region: Option<&str>) -> Option<String> {
        let (action, resource) = (self.action.as_deref()?, self.resource.as_deref());
        let (service, _) = action.split_once(':')?;
        // AWS's text could ask for permissions of any service.
        if self.explicit_deny || !matches!(service, "appsync" | "execute-api") {
            return None;
        }
        let arns = match resource {
            Some(resource) if resource.starts_with("arn:") => {
                let arn = Arn::parse(resource)?;
                let account = arn.account(self.identity.as_deref()).unwrap_or(ANY);
                let is_plain = !arn.resource.contains([',', '?', '*']) && is_label(arn.region);
                (is_plain && arn.service == service).then(|| vec![arn.with_account(account)])?
            }
            _ if service != "appsync" => return None,
            Some(resource) => {
                let paths = resource.split(", ");
                let is_plain = |path: &str| path.bytes().all(is_path_byte);
                let arns = paths.map(|path| is_plain(path).then(|| appsync_arn(region, path)));
                arns.collect::<Option<Vec<_>>>()?
            }
            None => vec![appsync_arn(region, "")],
        };
        let arns: Vec<Value> = arns.into_iter().map(Value::from).collect();
        let resource = match <[Value; 1]>::try_from(arns) {
            Ok([arn]) => arn,
            Err(arns) => Value::Array(arns),
        };
        let action = Value::from(action);
        Some(format!(
            r#"{{"Effect": "Allow", "Action": {action}, "Resource": {resource}}}"#
        ))
    }

    /// Returns what to do, in one line, with a command or a statement to paste where the resource is known.
    pub fn hint(&self, region: Option<&str>) -> String {
        let advice = self.advice();
        if let Some(command) = self.command(region) {
            return format!("{advice} To print the policy: {command}");
        }
        match self.statement(region) {
            Some(statement) => format!("{advice} The statement: {statement}"),
            None => advice,
        }
    }

    /// Does the same as [`Self::hint`], with what to paste in lines of its own.
    pub(super) fn fix(&self, region: Option<&str>) -> String {
        let advice = self.advice();
        if let Some(command) = self.command(region) {
            return format!("{advice}\n\n  To print the policy:\n    {command}");
        }
        match self.statement(region) {
            Some(statement) => format!("{advice}\n\n  The statement:\n    {statement}"),
            None => advice,
        }
    }
}

impl PolicyType {
    /// The texts of AWS, and which policy they mean. A longer text precedes one that it contains.
    const TEXTS: [(&'static str, Self); 7] = [
        ("identity-based policy", Self::Identity),
        ("resource-based policy", Self::Resource),
        ("permissions boundary", Self::Boundary),
        ("service control policy", Self::ServiceControl),
        ("resource control policy", Self::ResourceControl),
        ("session policy", Self::Session),
        ("VPC endpoint policy", Self::Endpoint),
    ];
}

impl fmt::Display for PolicyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "a policy of the identity",
            Self::Resource => "the resource policy of the API",
            Self::Boundary => "the permissions boundary of the identity",
            Self::ServiceControl => "a service control policy (SCP) of the organization",
            Self::ResourceControl => "a resource control policy (RCP) of the organization",
            Self::Session => "the session policy that was passed when the role was assumed",
            Self::Endpoint => "the policy of the VPC endpoint",
        })
    }
}

/// Returns whether a text names an explicit deny, and the type of the policy.
fn reason(text: &str) -> (bool, Option<PolicyType>) {
    let explicit = text.split_once("with an explicit deny");
    let implicit = text.split_once("because no ");
    let is_explicit = explicit.is_some();
    let rest = explicit.or(implicit).map_or("", |(_, rest)| rest);
    let found = PolicyType::TEXTS
        .into_iter()
        .filter_map(|(words, policy)| Some((rest.find(words)?, policy)));
    let first = found.min_by_key(|(at, _)| *at);
    (is_explicit, first.map(|(_, policy)| policy))
}

/// Returns whether a text names an explicit deny.
pub(super) fn is_explicit(text: &str) -> bool {
    reason(text).0
}

/// Returns the ARN of a part of an unknown API of AppSync.
fn appsync_arn(region: Option<&str>, path: &str) -> String {
    let api = ApiResource::appsync(region.filter(|text| is_label(text)));
    let slash = if path.is_empty() { "" } else { "/" };
    let (partition, region) = (api.partition(), &api.region);
    format!("arn:{partition}:appsync:{region}:{ANY}:apis/{ANY}{slash}{path}")
}

/// Returns a text without its middle if it is long.
fn shortened(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= MAX_SHOWN {
        return text.to_owned();
    }
    let (start, end) = (MAX_SHOWN / 2, chars.len() - MAX_SHOWN / 2);
    let part = |chars: &[char]| chars.iter().collect::<String>();
    format!("{}…{}", part(&chars[..start]), part(&chars[end..]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
