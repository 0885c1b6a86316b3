//! Operation policies: which operations a route or a token allows.
//!
//! An [`OperationPolicy`] consists of `read_only` and the table `operations`. It is evaluated on an
//! [`Inspected`] request, which has the very bytes that would be sent upstream, and returns
//! [`OperationDenied`] if it does not allow them.
//! Requests that cannot be interpreted with certainty are denied. Nothing here forwards or rewrites a
//! request.

use std::collections::HashSet;
use std::sync::Arc;

use countersign_protocol::graphql::{
    Inspected, IrregularRequest, OperationKind, Survey, SurveyError, shown,
};
use http::{HeaderMap, HeaderName, Method};
use sha2::{Digest as _, Sha256};

use super::spelling::is_method_override;

/// The operations that a route or a token allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationPolicy {
    /// The configuration table of the policy, such as `route.graphql`, which errors name.
    pub table: String,
    pub is_read_only: bool,
    /// For GraphQL only.
    pub operations: Option<AllowedOperations>,
}

/// The settings of `[route.NAME.operations]`. Those that are `None` are not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOperations {
    /// The allowed operation names.
    pub names: Option<HashSet<String>>,
    /// The SHA-256 hashes of the allowed documents, as UTF-8 text.
    pub sha256: Option<HashSet<[u8; 32]>>,
    /// The allowed root fields.
    pub fields: Option<Vec<FieldPattern>>,
    /// Whether `__schema` and `__type` are denied, are allowed regardless of `fields`, or depend on it.
    pub introspection: Option<bool>,
    pub depth: Option<usize>,
    pub aliases: Option<usize>,
    /// The maximum size of the document in bytes.
    pub size: Option<usize>,
}

/// A pattern of root fields: `Query.getPost`, or `Mutation.*` for all fields of the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPattern {
    kind: OperationKind,
    /// `None` for all fields.
    name: Option<String>,
}

/// Policies that must all allow an operation. Without any, everything is allowed unread.
#[derive(Clone, Debug, Default)]
pub struct OperationPolicies(Vec<Arc<OperationPolicy>>);

/// A denied operation: the rule that it violates, and the setting that would allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}. {}", rule.remedy(table))]
pub struct OperationDenied {
    rule: Rule,
    table: String,
}

/// The rule that an operation violates. Its message never quotes a variable or a literal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rule {
    #[error("the document has {found} aliases, but at most {limit} are allowed")]
    Aliases { found: usize, limit: usize },
    #[error("the document is {found} levels deep, but at most {limit} are allowed")]
    Depth { found: usize, limit: usize },
    #[error("{0}")]
    Document(#[from] SurveyError),
    #[error("the field {0} is not allowed")]
    Field(String),
    #[error("introspection is not allowed")]
    Introspection,
    #[error("{0}")]
    IrregularRequest(#[from] IrregularRequest),
    #[error("only read operations are allowed here, by GET, HEAD or OPTIONS, and not by {0}")]
    Method(String),
    #[error("only read operations are allowed here, and this is a mutation")]
    Mutation,
    #[error("the operation {0} is not allowed")]
    Name(String),
    #[error("the operation has no name, and only certain names are allowed")]
    NoName,
    #[error("only GraphQL operations are allowed here")]
    NoGraphql,
    #[error("only read operations are allowed here, and this is a publish")]
    Publish,
    #[error("the SHA-256 of the document is not one of those allowed")]
    Sha256,
    #[error("the document has {found} bytes, but at most {limit} are allowed")]
    Size { found: usize, limit: usize },
    #[error("only read operations are allowed here, and a WebSocket could do anything")]
    WebSocket,
}

impl OperationPolicy {
    /// Evaluates a GraphQL request: the body of a `POST`, or the `data` of a realtime `start`.
    ///
    /// # Errors
    /// [`OperationDenied`] with the first rule that the request violates.
    pub fn evaluate(&self, inspected: &Inspected) -> Result<(), OperationDenied> {
        self.check_request(inspected)
            .map_err(|rule| self.denied(rule))
    }

    /// Evaluates a publish to a channel.
    ///
    /// # Errors
    /// [`OperationDenied`] if only reading or only GraphQL is allowed.
    pub fn evaluate_publish(&self) -> Result<(), OperationDenied> {
        self.evaluate_write(Rule::Publish)
    }

    /// Evaluates a subscription to a channel.
    ///
    /// # Errors
    /// [`OperationDenied`] if only GraphQL is allowed.
    pub fn evaluate_subscribe(&self) -> Result<(), OperationDenied> {
        match self.operations {
            Some(_) => Err(self.denied(Rule::NoGraphql)),
            None => Ok(()),
        }
    }

    /// Evaluates a request to a service other than AppSync by its method (RFC 9110, section 9.2.1).
    ///
    /// # Errors
    /// [`OperationDenied`] if only reading is allowed and the method is not safe, or if only GraphQL is
    /// allowed.
    pub fn evaluate_method(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), OperationDenied> {
        if self.operations.is_some() {
            return self.evaluate_write(Rule::NoGraphql);
        }
        if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return self.evaluate_write(Rule::Method(shown(method.as_str())));
        }
        let mut names = headers.keys().map(HeaderName::as_str);
        match names.find(|name| is_method_override(name)) {
            Some(name) => self.evaluate_write(Rule::Method(shown(name))),
            None => Ok(()),
        }
    }

    /// Evaluates a WebSocket to a service other than AppSync.
    ///
    /// # Errors
    /// [`OperationDenied`] if only reading or only GraphQL is allowed.
    pub fn evaluate_websocket(&self) -> Result<(), OperationDenied> {
        self.evaluate_write(Rule::WebSocket)
    }

    fn evaluate_write(&self, rule: Rule) -> Result<(), OperationDenied> {
        match (self.is_read_only, &self.operations) {
            (true, _) => Err(self.denied(rule)),
            (false, Some(_)) => Err(self.denied(Rule::NoGraphql)),
            (false, None) => Ok(()),
        }
    }

    fn denied(&self, rule: Rule) -> OperationDenied {
        OperationDenied {
            rule,
            table: self.table.clone(),
        }
    }

    fn check_request(&self, inspected: &Inspected) -> Result<(), Rule> {
        let request = inspected.request().map_err(Clone::clone)?;
        if let Some(allowed) = &self.operations {
            allowed.check_text(&request.query)?;
        }
        let survey = inspected.survey(request).map_err(Clone::clone)?;
        if self.is_read_only && survey.kind == OperationKind::Mutation {
            return Err(Rule::Mutation);
        }
        match &self.operations {
            Some(allowed) => allowed.check_survey(survey),
            None => Ok(()),
        }
    }
}

// === impl AllowedOperations ===

impl AllowedOperations {
    fn check_text(&self, query: &str) -> Result<(), Rule> {
        let found = query.len();
        if let Some(limit) = self.size.filter(|limit| found > *limit) {
            return Err(Rule::Size { found, limit });
        }
        match &self.sha256 {
            Some(known) if !known.contains(&<[u8; 32]>::from(Sha256::digest(query))) => {
                Err(Rule::Sha256)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_survey(&self, survey: &Survey) -> Result<(), Rule> {
        match (&self.names, &survey.name) {
            (Some(names), Some(name)) if !names.contains(name) => {
                return Err(Rule::Name(shown(name)));
            }
            (Some(_), None) => return Err(Rule::NoName),
            (Some(_), Some(_)) | (None, _) => {}
        }
        if survey.introspects && self.introspection == Some(false) {
            return Err(Rule::Introspection);
        }
        if let Some(limit) = self.depth.filter(|limit| survey.depth > *limit) {
            let found = survey.depth;
            return Err(Rule::Depth { found, limit });
        }
        if let Some(limit) = self.aliases.filter(|limit| survey.aliases > *limit) {
            let found = survey.aliases;
            return Err(Rule::Aliases { found, limit });
        }
        let mut fields = survey.fields.iter();
        match fields.find(|field| !self.allows_field(survey.kind, field)) {
            Some(field) => {
                let field = shown(field);
                Err(Rule::Field(format!("{}.{field}", root(survey.kind))))
            }
            None => Ok(()),
        }
    }

    fn allows_field(&self, kind: OperationKind, field: &str) -> bool {
        let Some(patterns) = &self.fields else {
            return true;
        };
        let is_introspection = matches!(field, "__schema" | "__type");
        field == "__typename"
            || (is_introspection && self.introspection == Some(true))
            || patterns.iter().any(|pattern| {
                let name = pattern.name.as_deref();
                pattern.kind == kind && name.is_none_or(|name| name == field)
            })
    }
}

// === impl FieldPattern ===

impl FieldPattern {
    /// Parses `Type.field` or `Type.*`.
    pub fn parse(text: &str) -> Option<Self> {
        let (root, name) = text.split_once('.')?;
        let kind = match root {
            "Query" => OperationKind::Query,
            "Mutation" => OperationKind::Mutation,
            "Subscription" => OperationKind::Subscription,
            _ => return None,
        };
        let name = match name {
            "*" => None,
            name if is_name(name) => Some(name.to_owned()),
            _ => return None,
        };
        Some(Self { kind, name })
    }
}

/// Returns whether `text` is a GraphQL name (specification, section 2.1.9).
pub fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(is_part)
}

fn root(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Query => "Query",
        OperationKind::Mutation => "Mutation",
        OperationKind::Subscription => "Subscription",
    }
}

// === impl OperationPolicies ===

impl OperationPolicies {
    /// Returns these policies and `others`, which must all allow an operation.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).map(Arc::clone).collect())
    }

    /// Whether there are no policies, so that everything is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Evaluates a GraphQL request.
    ///
    /// # Errors
    /// See [`OperationPolicy::evaluate`].
    pub fn evaluate(&self, inspected: &Inspected) -> Result<(), OperationDenied> {
        self.0
            .iter()
            .try_for_each(|policy| policy.evaluate(inspected))
    }

    /// Evaluates a publish to a channel.
    ///
    /// # Errors
    /// See [`OperationPolicy::evaluate_publish`].
    pub fn evaluate_publish(&self) -> Result<(), OperationDenied> {
        let mut policies = self.0.iter();
        policies.try_for_each(|policy| policy.evaluate_publish())
    }

    /// Evaluates a subscription to a channel.
    ///
    /// # Errors
    /// See [`OperationPolicy::evaluate_subscribe`].
    pub fn evaluate_subscribe(&self) -> Result<(), OperationDenied> {
        self.0
            .iter()
            .try_for_each(|policy| policy.evaluate_subscribe())
    }

    /// Evaluates a request to a service other than AppSync.
    ///
    /// # Errors
    /// See [`OperationPolicy::evaluate_method`].
    pub fn evaluate_method(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), OperationDenied> {
        let mut policies = self.0.iter();
        policies.try_for_each(|policy| policy.evaluate_method(method, headers))
    }

    /// Evaluates a WebSocket to a service other than AppSync.
    ///
    /// # Errors
    /// See [`OperationPolicy::evaluate_websocket`].
    pub fn evaluate_websocket(&self) -> Result<(), OperationDenied> {
        let mut policies = self.0.iter();
        policies.try_for_each(|policy| policy.evaluate_websocket())
    }
}

impl FromIterator<OperationPolicy> for OperationPolicies {
    fn from_iter<T: IntoIterator<Item = OperationPolicy>>(policies: T) -> Self {
        Self(policies.into_iter().map(Arc::new).collect())
    }
}

impl Rule {
    fn remedy(&self, table: &str) -> String {
        let setting = match self {
            Self::Aliases { .. } => "operations.aliases",
            Self::Depth { .. } => "operations.depth",
            Self::Field(_) => "operations.fields",
            Self::NoGraphql => return format!("To allow it, remove {table}.operations"),
            Self::Introspection => "operations.introspection",
            Self::Method(_) | Self::Mutation | Self::Publish | Self::WebSocket => {
                // Only a route's setting has an option.
                let option = if table.starts_with("route.") {
                    " (--read-only)"
                } else {
                    ""
                };
                return format!("To allow it, change {table}.read_only{option}");
            }
            Self::Name(_) | Self::NoName => "operations.names",
            Self::Sha256 => "operations.sha256",
            Self::Size { .. } => "operations.size",
            Self::Document(_) | Self::IrregularRequest(_) => {
                return format!(
                    "{table} sets read_only or operations, so requests that cannot be checked are denied"
                );
            }
        };
        format!("To allow it, change {table}.{setting}")
    }
}

#[cfg(test)]
mod tests;
