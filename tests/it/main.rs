//! Behaviour tests: the library and the built program over real sockets, before the emulator, fake
//! upstreams and other people's clients.
//!
//! All are one binary, which is linked once. cargo-nextest gives each test a process of its own, and
//! some tests rely on it: they change what belongs to a process, such as its limits and its log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may panic and print, and nobody imports its modules"
)]
#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "the tests that need Linux are left out")
)]

mod collector;
mod fakes;
mod load;
mod support;

mod admin;
mod audit;
mod authorities;
mod bad_input;
mod blocks;
mod botocore;
mod browser;
mod canary;
mod check;
mod client_inputs;
mod clients;
mod command_line;
mod credentials;
mod demo;
mod deploy;
mod desync;
#[cfg(target_os = "linux")]
mod dialling;
mod documents;
mod error_codes;
mod errors;
mod exactly_once;
mod exactness;
mod examples;
mod explain;
#[cfg(target_os = "linux")]
mod faults;
mod first_lines;
mod flood;
#[cfg(target_os = "linux")]
mod full_disk;
mod fuzz;
mod gateway;
mod guard;
mod hosts;
mod http_input;
mod inspector;
mod inspector_page;
mod interop;
mod interrupted;
mod listeners;
#[cfg(target_os = "linux")]
mod memory;
mod metrics;
mod monitoring;
mod page;
#[cfg(target_os = "linux")]
mod panics;
mod policy;
mod policy_command;
mod pooled_connections;
mod presign;
#[cfg(target_os = "linux")]
mod process;
mod proxies;
mod realtime;
mod recipes;
mod reconnect;
mod redaction;
mod rejections;
mod request_ids;
mod schema;
#[cfg(target_os = "linux")]
mod signals;
mod slow;
#[cfg(target_os = "linux")]
mod stopped;
mod streaming;
#[cfg(target_os = "linux")]
mod systemd;
mod terminal;
mod tls;
mod traces;
mod troubleshooting;
mod tunnel;
mod upstream;
mod wrong_signatures;
