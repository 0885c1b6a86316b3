//! The emulated API's Events: channels that are published to, by HTTP and by realtime.
//!
//! In flow requests and messages whose signature was found good; out flow outcomes and refusals, and
//! events to whom they concern. Who may ask was settled before. AppSync's words are not known for
//! every refusal; what is a guess says so.
//!
//! <https://docs.aws.amazon.com/appsync/latest/eventapi/publish-http.html>

mod channels;
pub(crate) mod messages;
mod outcome;
mod publish;
mod session;

pub(crate) use channels::{Channel, Pattern};
pub(crate) use publish::answer;
pub(crate) use session::Session;
