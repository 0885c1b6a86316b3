//! What countersign and its peers say to each other, without I/O, without a clock and without
//! global state: bytes, events and instants go in, bytes and events come out.
//!
//! | module | what |
//! |---|---|
//! | [`graphql`] | operation, event, error, raw JSON, the document parser |
//! | [`events`] | channels of AppSync Events, what is published and subscribed to |
//! | [`dialect`] | one client-facing protocol per file |
//! | [`realtime`] | AppSync's realtime protocols: messages, errors, the machine of one connection |

pub mod dialect;
pub mod events;
pub mod graphql;
pub mod realtime;
