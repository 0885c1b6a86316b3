//! The emulated AppSync Events: channels, publishing over HTTP, and realtime connections.
//!
//! AppSync's texts are not known for every error. Comments mark those that are assumed.
//!
//! <https://docs.aws.amazon.com/appsync/latest/eventapi/publish-http.html>

mod channels;
pub(crate) mod messages;
mod outcome;
mod publish;
mod session;

pub(crate) use channels::{Channel, Pattern};
pub(crate) use publish::handle_publish;
pub(crate) use session::EventsSession;
