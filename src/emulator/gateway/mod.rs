//! API Gateway, and other services that are signed for: REST, HTTP and WebSocket APIs with IAM, the
//! packet stream of IoT Wireless, and an echo behind any other service's name.
//!
//! The host name selects the API. `sigv4` verifies every request from its raw bytes; the answer then
//! echoes the request as it arrived, or refuses it with API Gateway's wording.
//!
//! | file | what |
//! |---|---|
//! | `connection`, `head` | HTTP/1.1 from the socket, without an HTTP library |
//! | `request` | one request, from its head to the answer |
//! | `state`, `sites` | the gateway's state; the API of each host name |
//! | `sigv4`, `error` | verification of signatures, error answers |
//! | `routes`, `body` | the answers of integrations |
//! | `websocket`, `sockets` | upgrades and `@connections`, and open sockets |
//!
//! Two behaviours of AWS are unknown: whether `execute-api` normalizes paths before it verifies them,
//! which a switch chooses here; and how it reads `%zz` in a query, which is refused here.

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
