//! A GraphQL request that has been parsed once, for all code that depends on its contents.
//!
//! The input is a body or an operation. The output is the operation that it selects ([`SelectedOperation`]) and
//! an [`Inspected`], which keeps the text that will be sent and the document's syntax tree. Operation
//! policies evaluate the [`StrictRequest`] of that text and the [`Survey`] of the document. Each is
//! computed at most once for all policies, and the document is not parsed again for it.
//!
//! This is the only way to create an [`Inspected`], so a policy sees every request that is sent.

use std::borrow::Cow;
use std::sync::OnceLock;

use apollo_parser::SyntaxTree;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::operation_name::without_empty_name;
use super::request::{IrregularRequest, StrictRequest};
use super::survey::{survey, survey_tree};
use super::{
    DocumentError, Documents, Operation, OperationKind, SelectedOperation, Survey, SurveyError,
};

/// A GraphQL request that has been parsed.
#[derive(Debug)]
pub struct Inspected {
    text: RequestText,
    /// The document's syntax tree, unless the document was in the cache.
    tree: Option<SyntaxTree>,
    /// The text that is sent, parsed strictly.
    request: OnceLock<Result<StrictRequest, IrregularRequest>>,
    survey: OnceLock<Result<Survey, SurveyError>>,
}

/// The operation that an HTTP body selects, or `None` if no document was found in the body. AppSync
/// then reports what is wrong with it.
pub type Selection = Option<Result<SelectedOperation, DocumentError>>;

/// The reason why a body is not sent: AppSync could not respond as the client expects.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the request names a document by an id")]
    DocumentId,
    #[error("the body is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("the request is a persisted query without its text")]
    PersistedQuery,
}

/// The text that is sent.
#[derive(Debug)]
enum RequestText {
    /// A body as its client wrote it, except for an empty `operationName`.
    Body(Bytes),
    Operation {
        operation: Operation,
        is_subscription: bool,
        text: OnceLock<String>,
    },
}

/// The members of a body that determine its operation; others are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow, default)]
    query: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    operation_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
    #[serde(default)]
    document_id: Option<IgnoredAny>,
}

/// The member of `extensions` that automatic persisted queries use.
const PERSISTED: &str = "\"persistedQuery\"";

impl Inspected {
    /// Inspects an operation whose document must be valid.
    ///
    /// # Errors
    /// If the document does not select an operation.
    pub fn operation(
        operation: Operation,
        documents: &Documents,
    ) -> Result<(SelectedOperation, Self), DocumentError> {
        let (selected, inspected) = Self::any_operation(operation, documents);
        Ok((selected?, inspected))
    }

    /// Inspects an operation whose document may be invalid.
    pub fn any_operation(
        operation: Operation,
        documents: &Documents,
    ) -> (Result<SelectedOperation, DocumentError>, Self) {
        let name = operation.operation_name.as_deref();
        match documents.read(&operation.query, name) {
            Ok((selected, tree)) => {
                let text = RequestText::operation(operation, Some(selected.kind));
                (Ok(selected), Self::new(text, tree))
            }
            Err(error) => (
                Err(error),
                Self::new(RequestText::operation(operation, None), None),
            ),
        }
    }

    /// Inspects an HTTP body. `is_policed` states whether a policy will be evaluated. If so, one strict
    /// pass over the body suffices for the selection and the policy.
    ///
    /// # Errors
    /// If the body is not JSON, or is a persisted query without its text.
    pub fn body(
        body: &Bytes,
        documents: &Documents,
        is_policed: bool,
    ) -> Result<(Selection, Self), BodyError> {
        // A persisted query is rewritten, and the strict pass must be over the text that is sent.
        if is_policed
            && !mentions_persisted(body)
            && let Ok(mut request) = StrictRequest::read(body)
        {
            let name = request.operation_name.as_deref();
            let (selected, tree) = split(documents.read(&request.query, name));
            let text = RequestText::body(body, name);
            request.operation_name.take_if(|name| name.is_empty());
            let mut inspected = Self::new(text, tree);
            inspected.request = OnceLock::from(Ok(request));
            return Ok((Some(selected), inspected));
        }
        Self::lenient_body(body, documents)
    }

    fn lenient_body(body: &Bytes, documents: &Documents) -> Result<(Selection, Self), BodyError> {
        let verbatim = || Self::uninspected(body.clone());
        let envelope: Envelope<'_> = match serde_json::from_slice(body) {
            Ok(_) if !is_object(body) => return Ok((None, verbatim())),
            Ok(envelope) => envelope,
            Err(error) => {
                return match error.classify() {
                    Category::Data => Ok((None, verbatim())),
                    Category::Eof if body.is_empty() => Ok((None, verbatim())),
                    Category::Eof | Category::Io | Category::Syntax => Err(BodyError::Json(error)),
                };
            }
        };
        let is_persisted = envelope
            .extensions
            .is_some_and(|raw| raw.get().contains(PERSISTED));
        let Some(query) = envelope.query.filter(|query| !query.is_empty()) else {
            return match envelope.document_id {
                _ if is_persisted => Err(BodyError::PersistedQuery),
                Some(_) => Err(BodyError::DocumentId),
                None => Ok((None, verbatim())),
            };
        };
        let name = envelope.operation_name.as_deref();
        let (selected, tree) = split(documents.read(&query, name));
        let text = if is_persisted {
            let operation: Result<Operation, _> = serde_json::from_slice(body);
            let mut operation = operation.map_err(BodyError::Json)?;
            operation.strip_persisted();
            RequestText::Body(Bytes::from(operation.to_body()))
        } else {
            RequestText::body(body, name)
        };
        Ok((Some(selected), Self::new(text, tree)))
    }

    /// Converts a body to an operation, whose text countersign writes itself.
    ///
    /// # Errors
    /// If the body has a duplicate member, or a member of the wrong type.
    pub fn into_operation(self, kind: OperationKind) -> Result<Self, serde_json::Error> {
        let RequestText::Body(body) = &self.text else {
            return Ok(self);
        };
        let operation = serde_json::from_slice(body)?;
        Ok(Self::new(
            RequestText::operation(operation, Some(kind)),
            self.tree,
        ))
    }

    /// Creates a request from a body that is sent unchanged, without searching it for an operation.
    pub fn uninspected(body: Bytes) -> Self {
        Self::new(RequestText::Body(body), None)
    }

    fn new(text: RequestText, tree: Option<SyntaxTree>) -> Self {
        Self {
            text,
            tree,
            request: OnceLock::new(),
            survey: OnceLock::new(),
        }
    }

    /// Drops the syntax tree, which takes more memory than the document. A policy parses the document
    /// again.
    pub fn drop_tree(&mut self) {
        self.tree = None;
    }

    /// Returns the operation, unless this is a body as the client wrote it.
    pub fn as_operation(&self) -> Option<&Operation> {
        match &self.text {
            RequestText::Body(_) => None,
            RequestText::Operation { operation, .. } => Some(operation),
        }
    }

    /// Returns the client's own headers for this operation.
    pub fn headers(&self) -> &[(String, String)] {
        match &self.text {
            RequestText::Body(_) => &[],
            RequestText::Operation { operation, .. } => &operation.headers,
        }
    }

    /// Returns the text that is sent, parsed strictly.
    ///
    /// # Errors
    /// If parsers may interpret that text differently.
    pub fn request(&self) -> Result<&StrictRequest, &IrregularRequest> {
        let read = || StrictRequest::read(self.text.bytes());
        self.request.get_or_init(read).as_ref()
    }

    /// Returns the survey of the operation that `request`, the result of [`Inspected::request`], selects.
    ///
    /// # Errors
    /// If the document cannot be evaluated unambiguously.
    pub fn survey(&self, request: &StrictRequest) -> Result<&Survey, &SurveyError> {
        let (query, name) = (&request.query, request.operation_name.as_deref());
        let compute = || match &self.tree {
            Some(tree) => survey_tree(query, tree, name),
            None => survey(query, name),
        };
        self.survey.get_or_init(compute).as_ref()
    }

    /// Returns the text that is sent, as the body of a `POST`.
    pub fn into_body(self) -> Bytes {
        match self.text {
            RequestText::Body(body) => body,
            text @ RequestText::Operation { .. } => Bytes::from(text.into_text()),
        }
    }

    /// Returns the text that is sent, as the `data` of a realtime start.
    pub fn into_data(self) -> String {
        self.text.into_text()
    }
}

impl Operation {
    /// Removes the member of `extensions` that automatic persisted queries use.
    pub fn strip_persisted(&mut self) {
        let persisted = self.extensions.as_ref();
        let Some(raw) = persisted.filter(|raw| raw.get().contains(PERSISTED)) else {
            return;
        };
        let members: Result<Map<String, Value>, _> = serde_json::from_str(raw.get());
        if let Ok(mut members) = members {
            members.remove("persistedQuery");
            let rest = Value::Object(members);
            self.extensions = serde_json::value::to_raw_value(&rest)
                .ok()
                .filter(|raw| raw.get() != "{}");
        }
    }

    /// Returns whether the request is a persisted query, with or without its text.
    pub fn is_persisted(&self) -> bool {
        let extensions = self.extensions.as_ref();
        extensions.is_some_and(|raw| raw.get().contains(PERSISTED))
    }
}

// === impl RequestText ===

impl RequestText {
    /// Returns the text of a body whose `operationName` is `name`. An empty name is removed from it.
    fn body(body: &Bytes, name: Option<&str>) -> Self {
        let shortened = match (name, std::str::from_utf8(body)) {
            (Some(""), Ok(text)) => without_empty_name(text),
            _ => None,
        };
        Self::Body(shortened.map_or_else(|| body.clone(), Bytes::from))
    }

    fn operation(operation: Operation, kind: Option<OperationKind>) -> Self {
        Self::Operation {
            operation,
            is_subscription: kind == Some(OperationKind::Subscription),
            text: OnceLock::new(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Body(body) => body,
            Self::Operation {
                operation,
                is_subscription,
                text,
            } => {
                let write = || write(operation, *is_subscription);
                text.get_or_init(write).as_bytes()
            }
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Body(body) => String::from_utf8_lossy(&body).into_owned(),
            Self::Operation {
                operation,
                is_subscription,
                text,
            } => text
                .into_inner()
                .unwrap_or_else(|| write(&operation, is_subscription)),
        }
    }
}

fn write(operation: &Operation, is_subscription: bool) -> String {
    if is_subscription {
        operation.to_data()
    } else {
        operation.to_body()
    }
}

type Read = Result<(SelectedOperation, Option<SyntaxTree>), DocumentError>;

fn split(read: Read) -> (Result<SelectedOperation, DocumentError>, Option<SyntaxTree>) {
    match read {
        Ok((selected, tree)) => (Ok(selected), tree),
        Err(error) => (Err(error), None),
    }
}

/// Returns whether JSON is an object. serde would accept an array, too, and take its items as the
/// members of a struct.
pub fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"{")
}

fn mentions_persisted(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| text.contains(PERSISTED))
}

#[cfg(test)]
mod tests;
