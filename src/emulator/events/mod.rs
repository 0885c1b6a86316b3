//! The emulated AppSync Events: channels, publishing over HTTP, and realtime connections.
//!
//! AppSync's wording is not known for every error; comments mark the guesses.
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
