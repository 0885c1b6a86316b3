//! AppSync's own protocol, whose wire token is `graphql-ws`, for AppSync clients.
//!
//! The client's credentials are removed at the handshake and from each `start`; the `data` string
//! keeps its bytes, and the other entries of its authorization object are forwarded as headers.
//! Errors have AppSync's form.
//!
//! Source: AppSync dev guide, "Building a real-time WebSocket client".

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Output;
use super::active_operations::{ActiveOperations, MAX_ID};
use super::connection_state::{ConnectionState, event_message, message};
use super::message::{Message, MessageError, StringError};
use crate::graphql::{Event, GraphqlError, Operation, OperationKey, OperationKind, invalid_escape};

/// The operations of one socket in this protocol.
pub(super) struct Native<'a> {
    pub(super) connection: &'a mut ConnectionState,
    pub(super) active: &'a mut ActiveOperations,
}

/// `{"data": "<JSON>", "extensions": {"authorization": {…}}}`
#[derive(Deserialize)]
struct StartPayload {
    data: String,
    #[serde(default)]
    extensions: Option<Extensions>,
}

#[derive(Default, Deserialize)]
struct Extensions {
    #[serde(default)]
    authorization: Option<Map<String, Value>>,
}

/// Headers that describe the signed request, and are not the client's own.
const FIXED: [&str; 4] = ["accept", "content-encoding", "content-type", "host"];

impl Native<'_> {
    /// Handles a message, or the error of a malformed one.
    pub(super) fn handle(&mut self, frame: Result<&Message<'_>, MessageError>) {
        let frame = match frame {
            Ok(frame) => frame,
            Err(MessageError::NotObject) => return self.refuse(None, unsupported()),
            Err(error @ MessageError::Type(_)) => return self.refuse(None, bad_request(error)),
        };
        match frame.message_type.as_str() {
            "connection_init" => self.connection.init(frame.payload),
            "start" => self.start(frame),
            "stop" => self.stop(frame),
            // Some clients respond to `ka` with a message of another protocol.
            "ping" | "pong" => {}
            _ => self.refuse(frame.id(), unsupported()),
        }
    }

    /// Handles an event of an operation.
    pub(super) fn handle_event(&mut self, key: OperationKey, event: &Event) {
        let Some(id) = self.active.id(key) else {
            return;
        };
        let frame = match event {
            Event::Started => message(Some(id), "start_ack", None),
            Event::Next(json) => {
                let frame = event_message(id, "data", json.clone());
                return self.connection.push(Output::SendEvent(frame));
            }
            Event::Error(list) => {
                let payload = json!({ "errors": errors(list) }).to_string();
                message(Some(id), "error", Some(&payload))
            }
            Event::Complete => message(Some(id), "complete", None),
            Event::Missed(_) | Event::Lost => return,
        };
        if event.is_ending() {
            self.active.remove(key);
        }
        self.connection.send(frame);
    }

    fn start(&mut self, frame: &Message<'_>) {
        let Some(id) = frame.id() else {
            return self.refuse(None, bad_id(frame));
        };
        if frame.has_long_id() {
            let error = bad_request(format!("the id is longer than {MAX_ID} bytes"));
            return self.refuse(Some(id), error);
        }
        let payload = frame.payload.map(|raw| serde_json::from_str(raw.get()));
        let StartPayload { data, extensions } = match payload {
            Some(Ok(payload)) => payload,
            Some(Err(error)) => {
                let escape = invalid_escape(&error);
                let error = escape.map(|escape| bad_request(format!("payload: {escape}")));
                return self.refuse(Some(id), error.unwrap_or_else(unsupported));
            }
            None => return self.refuse(Some(id), unsupported()),
        };
        let mut operation = match Operation::from_data(data) {
            Ok(operation) => operation,
            Err(error) => {
                let message = match invalid_escape(&error) {
                    Some(escape) => format!("the data string: {escape}"),
                    None => "the data string is not a GraphQL request".to_owned(),
                };
                return self.refuse(Some(id), bad_request(message));
            }
        };
        let authorization = extensions.and_then(|extensions| extensions.authorization);
        operation.headers = headers(authorization.unwrap_or_default());
        if !self.connection.is_open() {
            return;
        }
        if self.active.key(id).is_some() {
            let message = format!("Duplicated operation with id {}", id.trim_matches('"'));
            return self.refuse(
                Some(id),
                appsync_error("DuplicatedOperationError", &message),
            );
        }
        match self.active.start(id, operation) {
            Ok((key, selected, inspected)) => {
                let kind = selected.kind;
                self.connection
                    .push(Output::Start(key, selected, inspected));
                if kind != OperationKind::Subscription {
                    self.connection.send(message(Some(id), "start_ack", None));
                }
            }
            Err(error) => self.refuse(Some(id), error),
        }
    }

    /// Stops an operation. Sends a `complete` for an unknown id, too, because clients wait for it.
    fn stop(&mut self, frame: &Message<'_>) {
        let Some(id) = frame.id() else {
            return self.refuse(None, bad_id(frame));
        };
        if let Some(key) = self.active.key(id) {
            self.active.remove(key);
            self.connection.push(Output::Stop(key));
        }
        self.connection.send(message(Some(id), "complete", None));
    }

    fn refuse(&mut self, id: Option<&str>, error: GraphqlError) {
        let payload = json!({ "errors": errors(&[error]) }).to_string();
        self.connection.send(message(id, "error", Some(&payload)));
    }
}

/// Returns errors in AppSync's form: `{"errorType","message","errorCode"?,"errorInfo"?,"path"?,
/// "locations"?}`. An error of countersign has its code as the type, and `errorInfo` states whether
/// upstream may have acted.
pub(super) fn errors(errors: &[GraphqlError]) -> Value {
    let shapes = errors.iter().map(|error| {
        let extension = |name: &str| error.extensions.get(name);
        let kind = extension("errorType").or_else(|| extension("code"));
        let mut object = Map::new();
        let members = [
            ("errorType", kind.cloned()),
            ("message", Some(Value::from(error.message.as_str()))),
            ("errorCode", extension("errorCode").cloned()),
            ("path", error.path.clone()),
            ("locations", error.locations.clone()),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        }
        let info = extension("errorInfo").cloned().or_else(|| {
            let (code, sent) = (extension("code")?, extension("sent")?);
            Some(json!({"code": code, "sent": sent}))
        });
        if let Some(info) = info {
            object.insert("errorInfo".to_owned(), info);
        }
        Value::Object(object)
    });
    Value::Array(shapes.collect())
}

/// Returns an error with an error type of AppSync.
pub(super) fn appsync_error(error_type: &str, message: &str) -> GraphqlError {
    GraphqlError::new(message).with("errorType", error_type)
}

/// Returns the entries of an authorization object that are the client's own headers. A value that is not
/// a string becomes its JSON text; `null` counts as absent.
pub(super) fn headers(authorization: Map<String, Value>) -> Vec<(String, String)> {
    let entries = authorization.into_iter().filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let value = match value {
            Value::Null => return None,
            Value::String(value) => value,
            value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                value.to_string()
            }
        };
        (!FIXED.contains(&name.as_str())).then_some((name, value))
    });
    entries.collect()
}

fn bad_request(message: impl ToString) -> GraphqlError {
    appsync_error("BadRequestException", &message.to_string())
}

/// Returns the error for a message whose id is missing or cannot be used.
fn bad_id(frame: &Message<'_>) -> GraphqlError {
    if frame.has_bad_id() {
        bad_request(format!("id {}", StringError::Type))
    } else {
        unsupported()
    }
}

fn unsupported() -> GraphqlError {
    let message = "unknown not supported through the realtime channel";
    appsync_error("UnsupportedOperation", message)
}

#[cfg(test)]
mod tests;
