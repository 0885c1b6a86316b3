//! API Gateway and other AWS services: REST, HTTP and WebSocket APIs with IAM, the packet stream of IoT
//! Wireless, and an echo for the host name of any other service.
//!
//! The host name selects the API. `sigv4` verifies every request from its raw bytes. The response echoes
//! the request as it was received, or is an error with API Gateway's text.
//!
//! | file | what |
//! |---|---|
//! | `connection`, `head` | HTTP/1.1 from the socket, without an HTTP library |
//! | `request` | one request, from its head to the response |
//! | `state`, `sites` | the gateway's state; the API of each host name |
//! | `sigv4`, `error` | verification of signatures, errors |
//! | `routes`, `body` | the responses of integrations |
//! | `websocket`, `sockets` | upgrades and `@connections`, and open sockets |
//!
//! Two behaviours of AWS are unknown. A switch selects whether `execute-api` normalizes paths before it
//! verifies signatures. Escapes such as `%zz` in a query are rejected, because it is not known how
//! `execute-api` decodes them.

mod body;
mod connection;
mod error;
mod head;
mod request;
mod routes;
mod sigv4;
mod sites;
mod sockets;
mod state;
mod websocket;

pub(crate) use body::GatewayBody;
pub(crate) use connection::{read_first_head, serve};
pub(crate) use request::handle_http2_request;
pub(crate) use sites::HostNames;
pub(crate) use state::Gateway;
