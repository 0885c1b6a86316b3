//! Every setting but those of routes and tokens, declared once.
//!
//! A declaration gives a setting's key, type, default, flag and description; its environment
//! variable follows from its key. The parser, the command line, the suggestions in errors,
//! `config/default.toml` and the reference page come from it. A setting is added by declaring it
//! here, or in [`route`](super::route), and by using the field where it is needed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use crate::config::declare::settings;
use crate::config::values::{self, Forwarded, NonLoopback};
use crate::guard::{HostName, Origin};
use crate::memory::MemoryLimit;
use crate::server::Listen;
use crate::telemetry::LogFormat;

settings! {
    /// The top of the file.
    General {
        /// Loopback addresses to listen on, or `unix:PATH`. A missing IPv6 loopback is not an
        /// error. Sockets that systemd passes (`LISTEN_FDS`) replace them.
        listen: Vec<Listen> = values::LISTEN, default ["127.0.0.1:4100", "[::1]:4100"],
            flag "--listen ADDR";
        /// Address of the admin listener (health, metrics, shutdown), or `off`. At another address
        /// than loopback, such as a pod's, anybody who reaches it may read health and metrics;
        /// `POST /quitquitquit` needs a loopback client or a token.
        admin: Option<SocketAddr> = values::ADMIN, default "127.0.0.1:4101", flag "--admin ADDR";
        /// Forbid this process and its children to create, write or remove files (Linux, with
        /// Landlock; countersign does not start without it). Modes, owners and times of files are
        /// not covered. Files in the directory of a unix socket can still be removed: give the
        /// socket a directory of its own. Do not use it with a `credential_process` that writes or
        /// is setuid, nor with an `sso_session`, whose token the AWS SDK writes to `~/.aws`.
        sandbox: bool = values::SWITCH, default false;
    }
}

settings! {
    /// `[guard]`
    Guard {
        /// Additional hostname to accept in the Host header. Accepted without it: `localhost`,
        /// `127.0.0.1`, `[::1]` and the address of the socket in its usual spelling. Browsers send
        /// no fetch metadata to other names over plain HTTP: use TLS or a token there.
        allow_hosts: Vec<HostName> = values::HOST_NAME, default [], flag "--allow-host HOST";
        /// Origin whose web pages may send requests.
        allow_origins: Vec<Origin> = values::ORIGIN, default [], flag "--allow-origin ORIGIN";
        /// Whether addresses that other machines can reach may be listened on. `token` allows it if
        /// clients need a token or a certificate (`tls.client_ca`); `open` allows it without, and
        /// then anybody who reaches the port acts with the IAM identity.
        non_loopback: NonLoopback = values::NON_LOOPBACK, default "refuse";
        /// What to do with `X-Forwarded-*`, `Forwarded` and `Via`: remove them, reject the request,
        /// or pass them on.
        forwarded: Forwarded = values::FORWARDED, default "strip";
        /// Users who may connect to unix sockets, beside the user who runs countersign. If there are
        /// any, the mode of the sockets is 0666.
        peer_uids: Vec<u32> = values::UID, default [];
        /// File of tokens, one of which a client must send.
        token_file: Option<PathBuf> = values::TOKEN_FILE, unset "no token is needed",
            flag "--token-file FILE";
    }
}

settings! {
    /// `[tls]`
    Tls {
        /// Accept TLS with the certificate chain of this PEM file. Needs `key`. The files are read
        /// again when they change.
        cert: Option<PathBuf> = values::FILE, unset "plain HTTP only", flag "--tls-cert FILE";
        /// Private key of `cert`, a PEM file (PKCS#8, PKCS#1 or SEC1, not encrypted).
        key: Option<PathBuf> = values::FILE, unset "plain HTTP only", flag "--tls-key FILE";
        /// Accept TLS with a certificate of a local CA, which is created on first use. It takes the
        /// place of `cert` and `key`. The CA is kept in `$XDG_STATE_HOME/countersign`.
        dev: bool = values::SWITCH, default false, flag "--tls-dev";
        /// PEM file of certificate authorities: clients must present a certificate of one of them,
        /// and plain HTTP is rejected.
        client_ca: Option<PathBuf> = values::FILE, unset "clients need no certificate";
    }
}

settings! {
    /// `[limits]`
    Limits {
        /// Memory that the process may use; `auto` is the limit of the cgroup, if it has one.
        /// `connections`, `outbox_total` and `buffered` are reduced to fit into it. While more than
        /// 90 % of it is resident, requests get 503 and sockets start no operations (Linux).
        memory: MemoryLimit = values::MEMORY, default "auto";
        /// Client connections at a time, at most half of the open files that the system allows. At
        /// the limit, each new connection closes the one that has been idle longest.
        connections: usize = values::COUNT, default 4096;
        /// Requests at a time that have arrived whole and whose response has not begun; 503 beyond
        /// that. As many again may be sending their bodies; the bodies of other requests must
        /// arrive within 1 s.
        in_flight: usize = values::COUNT, default 1024;
        /// Size of the head of a request; 431 beyond that.
        request_head: usize = values::SIZE_OF_HEAD, default "32KiB";
        /// Size of the body of a request to AppSync; 413 beyond that.
        request_body: usize = values::SIZE, default "1MiB";
        /// Size of the body of a request to another upstream; 413 beyond that.
        http_request_body: usize = values::SIZE, default "10MiB";
        /// Size of the response to a query or mutation over a WebSocket. Responses to HTTP requests
        /// are streamed.
        response_body: usize = values::SIZE, default "16MiB";
        /// Total size of responses that are held in memory for their clients (those of batches,
        /// sockets and streams, and errors), at most a quarter of `memory`. A response that finds
        /// no space for 20 s ends with `BUFFERS_FULL`.
        buffered: usize = values::SIZE, default "256MiB";
        /// The part of `buffered` that one client connection may use.
        buffered_connection: usize = values::SIZE, default "32MiB";
        /// Operations in one HTTP request.
        batch: usize = values::COUNT, default 32;
        /// Size of a WebSocket message of a client; close code 1009 beyond that.
        message: usize = values::SIZE, default "1MiB";
        /// Subscriptions at a time on one client socket.
        subscriptions: usize = values::COUNT, default 200;
        /// Queries and mutations at a time on one client socket.
        operations: usize = values::COUNT, default 64;
        /// Size of the events that wait for one client socket.
        outbox: usize = values::SIZE, default "1MiB";
        /// Size of the events that wait for all client sockets.
        outbox_total: usize = values::SIZE, default "64MiB";
    }
}

settings! {
    /// `[timeouts]`
    Timeouts {
        /// Time to connect to an upstream: DNS, TCP, proxy and TLS.
        connect: Duration = values::DURATION, default "5s";
        /// Time until an upstream's response begins. AppSync executes for at most 30 s.
        first_byte: Duration = values::DURATION, default "35s";
        /// Time between two pieces of an upstream's response. Streams of API Gateway may pause for
        /// 5 minutes.
        idle: Duration = values::DURATION, default "330s";
        /// Time for the head of a request once it has begun, and for a TLS handshake.
        request_head: Duration = values::DURATION, default "10s";
        /// Time between two pieces of a client's request body.
        request_body: Duration = values::DURATION, default "30s";
        /// Time for a client's whole request body.
        request_body_total: Duration = values::DURATION, default "2m";
        /// Time that a client connection without a request is kept open.
        idle_client: Duration = values::DURATION, default "60s";
        /// Time from the start of a WebSocket to its `connection_init`.
        init: Duration = values::DURATION, default "10s";
        /// Time between pings to a client socket, which is closed after one unanswered ping.
        ping: Duration = values::DURATION, default "15s";
        /// Time without a message of the client after which `route.NAME.keepalive_message` is sent.
        keepalive: Duration = values::DURATION, default "5m";
        /// Time that a client may read nothing before its connection is closed. While an HTTP
        /// response is sent, less than 4 KiB counts as nothing.
        write: Duration = values::DURATION, default "15s";
    }
}

settings! {
    /// `[pool]`
    Pool {
        /// Time that an idle upstream HTTP connection is kept open.
        idle: Duration = values::DURATION, default "50s";
        /// Idle HTTP/1.1 connections for each route.
        max_idle: usize = values::COUNT, default 256;
        /// Time that an upstream HTTP connection takes new requests, up to a tenth less, so that
        /// changes in DNS are followed. Requests in flight complete.
        max_age: Duration = values::DURATION, default "5m";
        /// Subscriptions on one realtime connection before another one is opened.
        subscriptions: usize = values::COUNT, default 100;
        /// Time that a realtime connection without subscriptions is kept open.
        linger: Duration = values::DURATION, default "10s";
        /// Time from connecting to realtime to its `connection_ack`.
        handshake: Duration = values::DURATION, default "10s";
        /// Time from `start` to `start_ack`. `start` is sent once more after it.
        start_ack: Duration = values::DURATION, default "10s";
        /// Time without a message from realtime after which its connection counts as lost.
        keepalive: Duration = values::DURATION, default "150s";
        /// Time over which the closes of client sockets are spread after a realtime connection was
        /// lost.
        spread: Duration = values::DURATION, default "2s";
    }
}

settings! {
    /// `[drain]`
    Drain {
        /// Time after SIGTERM in which requests are served as before while `/readyz` returns 503,
        /// for load balancers that must notice first.
        delay: Duration = values::DURATION_OR_ZERO, default "0s";
        /// Time after `delay` in which running requests and subscriptions may finish.
        timeout: Duration = values::DURATION, default "25s";
    }
}

settings! {
    /// `[iam]`
    Iam {
        /// Record the operations that are sent to AWS in this file, for `countersign policy
        /// --recorded FILE`.
        record: Option<PathBuf> = values::PATH_OF_FILE, unset "nothing is recorded",
            flag "--record FILE";
    }
}

settings! {
    /// `[log]`
    Log {
        /// Format of log lines: text or json.
        format: LogFormat = values::LOG_FORMAT, default "text", flag "--log-format FORMAT";
        /// Log filter: levels, also by target, such as info,countersign::realtime=debug. Log lines of
        /// dependencies appear from `info` up only.
        filter: String = values::LOG_FILTER, default "info", flag "--log FILTER";
    }
}

settings! {
    /// `[traces]`
    Traces {
        /// URL of the collector, or `off`. A URL without a path gets `/v1/traces`.
        endpoint: Option<Option<Uri>> = values::COLLECTOR,
            unset "`OTEL_EXPORTER_OTLP_ENDPOINT`, if that is set";
        /// Share of the traces that begin in countersign to export. For other traces, the client
        /// that began them has decided.
        ratio: f64 = values::RATIO, default 1.0;
        /// File of headers to send to the collector, such as an API key: `name: value` on each line,
        /// mode 0600.
        headers_file: Option<PathBuf> = values::FILE, unset "no headers";
    }
}
