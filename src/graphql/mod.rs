//! Operations on their way: the queue of a session's events, and the memory of documents.
//!
//! The types themselves are in `countersign_protocol::graphql`.

mod documents;
pub mod outbox;

pub use documents::Documents;
