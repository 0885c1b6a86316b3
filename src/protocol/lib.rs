//! The protocols between countersign, its clients and AppSync, without I/O, without a clock and
//! without global state: bytes, events and instants come in, bytes and events go out.
//!
//! | module | what |
//! |---|---|
//! | [`error_code`] | every error code: its name, HTTP status, meaning and remedy |
//! | [`graphql`] | operation, event, error, raw JSON, the document parser |
//! | [`events`] | channels of AppSync Events, publishes and subscriptions |
//! | [`dialect`] | one client-facing protocol per file |
//! | [`realtime`] | AppSync's realtime protocols: messages, errors, the connection and placement machines |
//! | [`rejection`] | why AWS rejected a signed request, from its error |

pub mod dialect;
pub mod error_code;
pub mod events;
pub mod graphql;
pub mod realtime;
pub mod rejection;
