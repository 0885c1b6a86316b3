//! The table: each row is a test.

use super::{
    CREDENTIALS, Row, SOON, STORM, clients, credentials, machine, process, realtime, upstream,
};

/// Declares each row: its test, id and fault, what a query, a mutation and a subscription should see, the
/// time in which they are served again, and the function that injects the fault.
macro_rules! faults {
    ($($name:ident = $id:literal, $fault:literal,
        [$query:literal, $mutation:literal, $subscription:literal], $back:expr, $run:path;)*) => {
        const ROWS: &[Row] = &[$(
            Row {
                name: stringify!($name),
                id: $id,
                fault: $fault,
                expected: [$query, $mutation, $subscription],
                back: $back,
            },
        )*];

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let row = ROWS.iter().find(|row| row.name == stringify!($name));
                row.unwrap().check(&$run().await);
            }
        )*
    };
}

faults! {
    f01_expire = "F1", "keys expire while a subscription runs",
        ["served", "served", "established served, new served"], CREDENTIALS, credentials::expire;
    f02_slow = "F2", "the credential provider takes 10 s",
        ["503 CREDENTIALS_UNAVAILABLE, sent no", "503 CREDENTIALS_UNAVAILABLE, sent no",
         "error CREDENTIALS_UNAVAILABLE, sent no"], CREDENTIALS, credentials::slow_provider;
    f03_down = "F3", "the provider is down at the start",
        ["503 CREDENTIALS_UNAVAILABLE, sent no", "503 CREDENTIALS_UNAVAILABLE, sent no",
         "error CREDENTIALS_UNAVAILABLE, sent no"], CREDENTIALS, credentials::down_at_start;
    f04_later = "F4", "the provider is down until after the expiry",
        ["503 CREDENTIALS_UNAVAILABLE, sent no", "503 CREDENTIALS_UNAVAILABLE, sent no",
         "error CREDENTIALS_UNAVAILABLE, sent no"], CREDENTIALS, credentials::down_later;
    f05_denied = "F5", "AWS denies access",
        ["403 of upstream", "403 of upstream", "error of upstream: Unauthorized"],
        SOON, credentials::denied;
    f05_revoked = "F5", "the key was revoked, and the provider has a new one",
        ["served", "served", "served"], CREDENTIALS, credentials::revoked;
    f06_ahead = "F6", "our clock is 10 min ahead",
        ["served", "served", "served"], SOON, credentials::clock_ahead;
    f06_behind = "F6", "our clock is 10 min behind",
        ["served", "served", "served"], SOON, credentials::clock_behind;
    f06_days = "F6", "our clock is 3 days behind, beyond the limit of 24 h",
        ["502 CLOCK_SKEW, sent no", "502 CLOCK_SKEW, sent no", "error CLOCK_SKEW, sent no"],
        SOON, credentials::clock_days_off;
    f07_closed = "F7", "upstream's port is closed",
        ["502 UPSTREAM_UNREACHABLE, sent no", "502 UPSTREAM_UNREACHABLE, sent no",
         "error UPSTREAM_UNREACHABLE, sent no"], SOON, upstream::port_closed;
    f07_dns = "F7", "upstream's name does not resolve",
        ["502 UPSTREAM_UNREACHABLE, sent no", "502 UPSTREAM_UNREACHABLE, sent no",
         "error UPSTREAM_UNREACHABLE, sent no"], SOON, upstream::no_such_name;
    f08_mute = "F8", "upstream accepts and never answers",
        ["504 UPSTREAM_TIMEOUT, sent maybe", "504 UPSTREAM_TIMEOUT, sent maybe",
         "error UPSTREAM_TIMEOUT, sent no"], SOON, upstream::no_answer;
    f09_before = "F9", "upstream resets a new connection before the response",
        ["502 UPSTREAM_BROKEN, sent maybe", "502 UPSTREAM_BROKEN, sent maybe",
         "error UPSTREAM_UNREACHABLE, sent no"], SOON, upstream::reset_before_response;
    f09_pooled = "F9", "upstream resets pooled connections before the response",
        ["served", "502 UPSTREAM_BROKEN, sent maybe", "served"], SOON, upstream::reset_of_pooled;
    f09_head = "F9", "upstream resets amid the response's head",
        ["502 UPSTREAM_BROKEN, sent maybe", "502 UPSTREAM_BROKEN, sent maybe",
         "error UPSTREAM_UNREACHABLE, sent no"], SOON, upstream::reset_in_head;
    f09_body = "F9", "upstream resets amid the body",
        ["200, cut off", "200, cut off", "error UPSTREAM_UNREACHABLE, sent no"],
        SOON, upstream::reset_in_body;
    f10_drip = "F10", "upstream sends eight bytes every 10 ms",
        ["served", "served", "served"], SOON, upstream::drip;
    f10_stall = "F10", "upstream stalls amid the body for longer than timeouts.idle",
        ["200, cut off", "200, cut off", "error UPSTREAM_UNREACHABLE, sent no"],
        SOON, upstream::stall_in_body;
    f11_http1 = "F11", "pooled HTTP/1.1 connections are half-open",
        ["504 UPSTREAM_TIMEOUT, sent maybe", "504 UPSTREAM_TIMEOUT, sent maybe", "served"],
        SOON, upstream::vanished_http1;
    f11_http2 = "F11", "pooled HTTP/2 connections are half-open",
        ["served", "502 UPSTREAM_BROKEN, sent maybe", "served"],
        SOON, upstream::vanished_http2;
    f12_expired = "F12", "upstream's certificate has expired",
        ["502 UPSTREAM_TLS, sent no", "502 UPSTREAM_TLS, sent no", "error UPSTREAM_TLS, sent no"],
        SOON, upstream::expired_certificate;
    f12_name = "F12", "upstream's certificate has another name",
        ["502 UPSTREAM_TLS, sent no", "502 UPSTREAM_TLS, sent no", "error UPSTREAM_TLS, sent no"],
        SOON, upstream::wrong_name;
    f12_authority = "F12", "upstream's certificate is of an unknown authority",
        ["502 UPSTREAM_TLS, sent no", "502 UPSTREAM_TLS, sent no", "error UPSTREAM_TLS, sent no"],
        SOON, upstream::unknown_authority;
    f12_old = "F12", "upstream speaks TLS 1.1",
        ["502 UPSTREAM_TLS, sent no", "502 UPSTREAM_TLS, sent no", "error UPSTREAM_TLS, sent no"],
        SOON, upstream::old_tls;
    f12_stall = "F12", "upstream's handshake stalls",
        ["504 UPSTREAM_CONNECT_TIMEOUT, sent no", "504 UPSTREAM_CONNECT_TIMEOUT, sent no",
         "error UPSTREAM_CONNECT_TIMEOUT, sent no"], SOON, upstream::handshake_stalls;
    f13_dead = "F13", "the first of two addresses is dead",
        ["served", "served", "served"], SOON, upstream::dead_first_address;
    f13_change = "F13", "upstream's address changes",
        ["served", "served", "served"], SOON, upstream::dns_change;
    f14_throttled = "F14", "upstream answers 429 with seconds in Retry-After",
        ["429 of upstream, Retry-After: 7", "429 of upstream, Retry-After: 7",
         "error UPSTREAM_REFUSED, sent no"], SOON, upstream::throttled;
    f14_unavailable = "F14", "upstream answers 503 with a date in Retry-After",
        ["503 of upstream, Retry-After: Fri, 31 Dec 2027 23:59:59 GMT",
         "503 of upstream, Retry-After: Fri, 31 Dec 2027 23:59:59 GMT",
         "error UPSTREAM_REFUSED, sent no"], SOON, upstream::unavailable;
    f15_huge = "F15", "upstream answers with 64 MiB",
        ["served", "served", "error UPSTREAM_REFUSED, sent no"], SOON, upstream::huge;
    f15_malformed = "F15", "upstream's response is malformed",
        ["502 UPSTREAM_BROKEN, sent maybe", "502 UPSTREAM_BROKEN, sent maybe",
         "error UPSTREAM_REFUSED, sent no"], SOON, upstream::malformed;
    f15_hints = "F15", "upstream sends informational responses without end",
        ["504 UPSTREAM_TIMEOUT, sent maybe", "504 UPSTREAM_TIMEOUT, sent maybe",
         "error UPSTREAM_REFUSED, sent no"], SOON, upstream::early_hints;
    f16_vanish = "F16", "the client vanishes",
        ["cancelled upstream, logged CANCELLED, sent maybe",
         "cancelled upstream, logged CANCELLED, sent maybe", "stopped upstream"],
        SOON, clients::vanishes;
    f17_slow = "F17", "the client does not read",
        ["200, cut off", "200, cut off", "error SLOW_CONSUMER, sent yes"],
        SOON, clients::does_not_read;
    f18_close = "F18", "upstream closes with 1000, 1001, 1011, 1012, or without a frame",
        ["served", "served", "closed 1012"], SOON, realtime::closes;
    f18_resume = "F18", "the same, with on_upstream_loss = \"resume\"",
        ["served", "served", "served"], SOON, realtime::closes_and_resumes;
    f19_rejected = "F19", "AppSync rejects one of two subscriptions",
        ["served", "served", "error of upstream: Unauthorized; sibling served"],
        SOON, realtime::one_rejected;
    f20_silent = "F20", "keepalives stop for longer than connectionTimeoutMs",
        ["served", "served", "closed 1012"], SOON, realtime::silent;
    f21_ack = "F21", "connection_ack does not come",
        ["– HTTP has none", "– HTTP has none", "error UPSTREAM_UNREACHABLE, sent no"],
        SOON, realtime::no_acknowledgement;
    f22_full = "F22", "connections take three subscriptions, and there are seven",
        ["served", "served", "served"], SOON, realtime::full_connections;
    f22_throttled = "F22", "AppSync throttles, and starts get LimitExceededError",
        ["429 of upstream", "429 of upstream", "served"], SOON, realtime::throttled_starts;
    f23_duplicate = "F23", "an id of a running operation is used again",
        ["closed 4409", "closed 4409", "closed 4409"], SOON, clients::duplicate_id;
    f24_client = "F24", "the client sends 2 MiB",
        ["413 BODY_TOO_LARGE, sent no", "413 BODY_TOO_LARGE, sent no", "closed 1009"],
        SOON, clients::oversize;
    f24_upstream = "F24", "upstream sends an event of 32 MiB",
        ["served", "served", "closed 1012"], SOON, realtime::oversize_event;
    f25_invalid = "F25", "the client sends invalid UTF-8 or frames",
        ["400 BAD_JSON, sent no", "400 BAD_JSON, sent no",
         "invalid UTF-8: closed 1007, reserved bit: closed 1002, reserved opcode: closed 1002, unmasked: closed 1002"],
        SOON, clients::invalid;
    f26_idle = "F26", "1,000 idle sockets",
        ["served", "served", "served"], SOON, clients::idle_sockets;
    f27_storm = "F27", "500 clients reconnect at once after a loss",
        ["served", "served", "all 500 served on few connections"],
        STORM, clients::storm;
    f28_descriptors = "F28", "no file descriptor is left",
        ["served", "served", "served"], SOON, machine::no_descriptors;
    f29_memory = "F29", "memory is short",
        ["503 MEMORY_SHORT, sent no", "503 MEMORY_SHORT, sent no", "503 MEMORY_SHORT"],
        SOON, machine::memory_short;
    f30_port = "F30", "the port is in use",
        ["exit 3, port named", "– nothing runs", "– nothing runs"], SOON, machine::port_in_use;
    f31_configuration = "F31", "the configuration has a mistake",
        ["exit 2, file, line and key named", "– nothing runs", "– nothing runs"],
        SOON, machine::bad_configuration;
    f32_reload = "F32", "the token file changes to a good and to an unusable one",
        ["served by the last good file", "served by the last good file",
         "served by the last good file"], SOON, machine::file_changes;
    f33_terminated = "F33", "SIGTERM",
        ["served", "served", "closed 1012"], SOON, process::terminated;
    f34_killed = "F34", "SIGKILL and a new start with the old unix socket",
        ["no response", "no response", "cut off"], SOON, process::killed;
    f35_panic = "F35", "a panic in one task",
        ["500 INTERNAL, sent maybe", "500 INTERNAL, sent maybe", "closed 1011"],
        SOON, process::panics;
    f36_ipv6 = "F36", "the client has only ::1",
        ["served", "served", "served"], SOON, process::ipv6;
    f37_start = "F37", "countersign starts before upstream can be reached, and is ready",
        ["502 UPSTREAM_UNREACHABLE, sent no", "502 UPSTREAM_UNREACHABLE, sent no",
         "error UPSTREAM_UNREACHABLE, sent no"], SOON, process::starts_first;
    f38_delay = "F38", "a pod's end: SIGTERM, new operations during drain.delay, exit 0",
        ["served", "served", "served"], SOON, process::drain_delay;
    f39_pipe = "F39", "the log's pipe is full, and lines are dropped",
        ["served", "served", "served"], SOON, machine::log_blocked;
    f39_disk = "F39", "the log's device is full, and lines are dropped",
        ["served", "served", "served"], SOON, machine::log_disk_full;
    f40_starved = "F40", "eight busy processes share the one processor",
        ["served", "served", "established served, new served"], CREDENTIALS, machine::one_processor;
    f40_frozen = "F40", "the process is stopped for 5 s, with timeouts.ping = 2 s",
        ["served", "served", "served"], SOON, machine::frozen;
}

/// Every fault has a row, and rows are sorted by the names of their tests. Also writes the names for
/// `tests/fault-table`.
#[test]
fn every_fault_has_a_row() {
    for id in 1..=40 {
        let id = format!("F{id}");
        assert!(ROWS.iter().any(|row| row.id == id), "no row {id}");
    }
    let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    for row in ROWS {
        let number = row.id.strip_prefix('F').unwrap();
        assert!(
            row.name.starts_with(&format!("f{number:0>2}_")),
            "{}",
            row.name
        );
    }
    if let Ok(directory) = std::env::var("FAULT_TABLE") {
        std::fs::write(
            std::path::Path::new(&directory).join("rows"),
            names.join("\n"),
        )
        .unwrap();
    }
}
