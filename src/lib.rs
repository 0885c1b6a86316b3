//! countersign: GraphQL and HTTP clients send plain requests to a port on localhost; countersign
//! signs them with AWS SigV4 and forwards them to AppSync or API Gateway.
//!
//! # Map
//!
//! Two crates of the workspace do not depend on this one: `countersign_protocol` (`src/protocol`)
//! contains the types and machines of all protocols, without I/O; `countersign_emulator`
//! (`src/emulator`) emulates AppSync and API Gateway and verifies SigV4 with its own code.
//!
//! | module | contents |
//! |---|---|
//! | [`cli`] | the command line and its exit codes, one file for each command; signals, sandbox, systemd |
//! | [`config`] | the table of settings; merges their sources and resolves their values |
//! | [`app`] | builds every part, binds, and runs until drained |
//! | [`check`] | checks the way to an API step by step, with the code that serves |
//! | [`schema`] | the schema of an API, by introspection |
//! | [`admin`] | the admin listener: health, metrics, shutdown |
//! | [`server`] | accept loops, TLS and plain HTTP on one port, draining of connections |
//! | [`guard`] | access control: Host, Origin, fetch metadata, tokens, CORS; operation policies |
//! | [`proxy`] | a request from its head to its response; headers; errors as responses |
//! | [`operation`] | one operation of any client protocol: inspected, admitted and executed |
//! | [`outbox`] | the send queue of a session, with a limit in bytes |
//! | [`session`] | a client socket or stream with its protocol and its operations; tunnels |
//! | [`realtime`] | AppSync's realtime connections: the driver of each, and their pool |
//! | [`sign`] | the SigV4 signer and its variants, credentials, request targets, redaction |
//! | [`upstream`] | endpoint inference, service profiles, HTTPS client, WebSockets, rejections by AWS |
//! | [`diagnose`] | why AWS rejected a request: the table of causes, and the comparison that finds them |
//! | [`telemetry`] | the log, the record of a request, metrics, traces and their export, error chains |
//! | [`deadline`] | timeouts of silent peers, which tolerate that the process was stopped |
//! | [`lifecycle`] | the tasks of the process, and the signals that end them |
//! | [`memory`] | the memory limit, and whether memory is short |
//! | [`net`] | resolves names and opens TCP connections (RFC 8305); certificate authorities |
//! | [`home`] | expands `~` in paths |
//! | [`nearest`] | finds the name that a mistyped one stands for |
//! | [`trusted_file`] | reads files that decide whom to trust, and detects their changes |
//! | [`platform`] | what Unix and Windows do differently: files, child processes, limits |
//! | [`inspector`] | recorder and API of the inspector, which shows requests on the admin listener |
//! | [`visible`] | shows hidden characters of a text as escapes |
//! | [`iam`] | recorded operations, GraphQL documents, least-privilege IAM policies |
//!
//! A request flows one way: `server`, `guard`, `proxy`, then `upstream`, which signs last. An
//! operation of a socket flows through a dialect, `session` and `operation`, then `upstream` (queries,
//! mutations) or `realtime` (subscriptions). Its events come back through the session's outbox.
//!
//! # Invariants
//!
//! 1. The upstream comes from configuration alone; no redirect is followed.
//! 2. Nothing unsigned goes out: if signing fails, the request fails.
//! 3. Only what passes the guard is signed.
//! 4. Secrets appear in no log, error or page, at any level.
//! 5. A mutation reaches upstream at most once for each time a client sent it; every failure says
//!    whether upstream may have acted.
//! 6. No unbounded queue, body, wait or task; every task is tracked and ends at drain.
//! 7. One subscription's fate never changes another's; only those that shared a lost upstream
//!    connection end, or resume, together.
//! 8. Responses stream; nothing is buffered that need not be.
//! 9. A client sees only its own protocol.
//!
//! Deliberately absent: retries of requests that may have been executed, ways for a request to choose its
//! upstream, and code that the signer shares with the emulator that verifies its signatures.

pub mod admin;
pub mod app;
pub mod check;
pub mod cli;
pub mod config;
pub mod deadline;
pub mod diagnose;
pub mod guard;
mod home;
pub mod iam;
pub mod inspector;
pub mod lifecycle;
pub mod memory;
mod nearest;
pub mod net;
pub mod operation;
pub mod outbox;
mod platform;
pub mod proxy;
pub mod realtime;
pub mod schema;
pub mod server;
pub mod session;
pub mod sign;
pub mod telemetry;
pub mod trusted_file;
pub mod upstream;
pub mod visible;
