//! A GraphQL request that has been read once, for everything that has to know what it does.
//!
//! A body or an operation goes in; out come what it selects ([`Selected`]) and an [`Inspected`], which
//! keeps the text that will be sent and the document's syntax tree. An operation policy asks the
//! [`Inspected`] for the strict reading of that text and for the document's [`Survey`]; each is made at
//! most once, however many policies there are, and the document is not parsed again for it.
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

use super::request::{Irregular, StrictRequest};
use super::survey::{survey, survey_tree};
use super::{DocumentError, Documents, Kind, Operation, Selected, Survey, SurveyError};

/// A GraphQL request that has been read.
#[derive(Debug)]
pub struct Inspected {
    text: RequestText,
    /// Unless the document was in the cache.
    tree: Option<SyntaxTree>,
    /// The strict reading of what is sent.
    request: OnceLock<Result<StrictRequest, Irregular>>,
    survey: OnceLock<Result<Survey, SurveyError>>,
}

/// What an HTTP body selects: `None` if it has no document that could be found, so that AppSync
/// shall say what is wrong with it.
pub type Selection = Option<Result<Selected, DocumentError>>;

/// Why a body is not worth sending: AppSync could not answer it as its client expects.
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
    /// A body as its client wrote it.
    Body(Bytes),
    Operation {
        operation: Operation,
        is_subscription: bool,
        text: OnceLock<String>,
    },
}

/// The members of a body that decide what it does; others are ignored.
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
    /// Reads an operation whose document must select one.
    ///
    /// # Errors
    /// When its document selects no operation.
    pub fn operation(
        operation: Operation,
        documents: &Documents,
    ) -> Result<(Selected, Self), DocumentError> {
        let (selected, inspected) = Self::any_operation(operation, documents);
        Ok((selected?, inspected))
    }

    /// Reads an operation whose document may be wrong.
    pub fn any_operation(
        operation: Operation,
        documents: &Documents,
    ) -> (Result<Selected, DocumentError>, Self) {
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

    /// Reads an HTTP body. `is_policed` says that a policy will be evaluated: then one strict pass over
    /// the body serves both.
    ///
    /// # Errors
    /// When the body is not JSON, or a persisted query without its text.
    pub fn body(
        body: &Bytes,
        documents: &Documents,
        is_policed: bool,
    ) -> Result<(Selection, Self), BodyError> {
        // A persisted query is rewritten, and what is sent is read strictly.
        if is_policed
            && !mentions_persisted(body)
            && let Ok(request) = StrictRequest::read(body)
        {
            let name = request.operation_name.as_deref();
            let (selected, tree) = split(documents.read(&request.query, name));
            let mut inspected = Self::new(RequestText::Body(body.clone()), tree);
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
        let (selected, tree) = split(documents.read(&query, envelope.operation_name.as_deref()));
        let text = if is_persisted {
            let operation: Result<Operation, _> = serde_json::from_slice(body);
            let mut operation = operation.map_err(BodyError::Json)?;
            operation.strip_persisted();
            RequestText::Body(Bytes::from(operation.to_body()))
        } else {
            RequestText::Body(body.clone())
        };
        Ok((Some(selected), Self::new(text, tree)))
    }

    /// Makes an operation of a body, for which countersign writes the text that is sent.
    ///
    /// # Errors
    /// When the body has a member twice, or one of another type than a GraphQL request has.
    pub fn into_operation(self, kind: Kind) -> Result<Self, serde_json::Error> {
        let RequestText::Body(body) = &self.text else {
            return Ok(self);
        };
        let operation = serde_json::from_slice(body)?;
        Ok(Self::new(
            RequestText::operation(operation, Some(kind)),
            self.tree,
        ))
    }

    /// Takes a body that is sent as it is, without looking for an operation in it.
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

    /// Returns the strict reading of the text that is sent.
    ///
    /// # Errors
    /// When parsers may read that text differently.
    pub fn request(&self) -> Result<&StrictRequest, &Irregular> {
        let read = || StrictRequest::read(self.text.bytes());
        self.request.get_or_init(read).as_ref()
    }

    /// Returns what the selected operation of `request`, which is [`Inspected::request`], asks for.
    ///
    /// # Errors
    /// When the document cannot be evaluated beyond doubt.
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

    /// Whether the request is a persisted query, with or without its text.
    pub fn is_persisted(&self) -> bool {
        let extensions = self.extensions.as_ref();
        extensions.is_some_and(|raw| raw.get().contains(PERSISTED))
    }
}

// === impl RequestText ===

impl RequestText {
    fn operation(operation: Operation, kind: Option<Kind>) -> Self {
        Self::Operation {
            operation,
            is_subscription: kind == Some(Kind::Subscription),
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

type Read = Result<(Selected, Option<SyntaxTree>), DocumentError>;

fn split(read: Read) -> (Result<Selected, DocumentError>, Option<SyntaxTree>) {
    match read {
        Ok((selected, tree)) => (Ok(selected), tree),
        Err(error) => (Err(error), None),
    }
}

/// Whether JSON is an object. Of an array, serde would take the items for a struct's members.
pub fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"{")
}

fn mentions_persisted(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| text.contains(PERSISTED))
}

#[cfg(test)]
mod tests;
