//! API Gateway, and other services that are signed for: REST, HTTP and WebSocket APIs with IAM, the
//! packet stream of IoT Wireless, and an echo behind any other service's name.
//!
//! A host name tells which API is meant. Every request is judged from its raw bytes by
//! `sigv4`, then told back to the client as it arrived, or refused in API Gateway's words.
//!
//! | file | what |
//! |---|---|
//! | `connection`, `head` | HTTP/1.1 from the socket, without an HTTP library |
//! | `request` | one request, from its head to the answer |
//! | `state`, `sites` | what the gateway keeps; which API a host name stands for |
//! | `sigv4`, `denial` | the verdict, and how no is said |
//! | `routes`, `content` | what integrations answer |
//! | `websocket`, `sockets` | upgrades and `@connections`, the sockets behind them |
//!
//! Not known of AWS, and read strictly or told by a switch: whether `execute-api` tidies paths up
//! before it verifies them; what it makes of `%zz` in a query, which is refused here.

mod connection;
mod content;
mod denial;
mod head;
mod request;
mod routes;
mod sigv4;
mod sites;
mod sockets;
mod state;
mod websocket;

pub(crate) use connection::{first_head, serve};
pub(crate) use content::Content;
pub(crate) use request::answer_h2;
pub(crate) use sites::Names;
pub(crate) use state::Gateway;
