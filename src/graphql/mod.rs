//! Operations on their way: the queue of a session's events, and the memory of documents.
//!
//! The types themselves are in `countersign_protocol::graphql`.

pub mod outbox;
