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
use crate::guard::{AllowedOrigin, HostName};
use crate::memory::MemoryLimit;
use crate::server::Listen;
use crate::telemetry::{LogFormat, When};

settings! {
    /// The top of the file.
    GeneralSettings {
        /// Addresses to listen on, as `IP:PORT`, `PORT` or `unix:PATH`. `PORT` alone means both
        /// loopback addresses. Addresses that are not loopback need `guard.non_loopback`. A missing IPv6 loopback address is not an error. Sockets that
        /// systemd passes (`LISTEN_FDS`) replace the configured addresses.
        listen: Vec<Vec<Listen>> = values::LISTEN, default ["127.0.0.1:4100", "[::1]:4100"],
            flag "--listen ADDR";
        /// Address of the admin listener (health, metrics, shutdown), or `off`. If the default port
        /// is in use, the next free one is taken, and the log shows it. If the address is not a
        /// loopback address, such as a pod's, every client that can reach it may read health and
        /// metrics; `POST /quitquitquit` needs a loopback client or a token.
        admin: Option<SocketAddr> = values::ADMIN, default "127.0.0.1:4101", flag "--admin ADDR";
        /// Prevent this process and its children from creating, writing or removing files. Needs
        /// Linux with Landlock; without it, countersign does not start. Modes, owners and times of
        /// files are not covered. Files in the directory of a unix socket can still be removed:
        /// give the socket a directory of its own. Do not use it with a `credential_process` that
        /// writes files or is setuid, nor with an `sso_session`, whose token the AWS SDK writes to
        /// `~/.aws`.
        sandbox: bool = values::SWITCH, default false;
    }
}

settings! {
    /// `[guard]`
    GuardSettings {
        /// Additional hostname to accept in the Host header. Always accepted are `localhost`,
        /// `127.0.0.1`, `[::1]` and the address of the socket in its usual spelling. Browsers send
        /// no fetch metadata to other names over plain HTTP: use TLS or a token for them.
        allow_hosts: Vec<HostName> = values::HOST_NAME, default [], flag "--allow-host HOST";
        /// Origin whose web pages may send requests, or `localhost` for every port of this machine.
        allow_origins: Vec<AllowedOrigin> = values::ORIGIN, default [], flag "--allow-origin ORIGIN";
        /// Whether to listen on addresses that other machines can reach. `refuse` rejects such an
        /// address; `token` allows it if clients must send a token or a certificate
        /// (`tls.client_ca`); `open` allows it without either, and then every client that can reach
        /// the port acts with the IAM identity.
        non_loopback: NonLoopback = values::NON_LOOPBACK, default "refuse";
        /// Handling of `X-Forwarded-*`, `Forwarded` and `Via` in requests. `strip` removes them,
        /// `refuse` rejects the request, `pass` forwards them.
        forwarded: Forwarded = values::FORWARDED, default "strip";
        /// User IDs that may connect to unix sockets, in addition to the user who runs countersign.
        /// If any is set, the sockets have mode 0666.
        peer_uids: Vec<u32> = values::UID, default [];
        /// File of tokens, one of which every client must send.
        token_file: Option<PathBuf> = values::TOKEN_FILE, unset "no token is needed",
            flag "--token-file FILE";
    }
}

settings! {
    /// `[tls]`
    TlsSettings {
        /// PEM file of the certificate chain with which to accept TLS. Needs `key`. Both files are
        /// read again when they change.
        cert: Option<PathBuf> = values::FILE, unset "plain HTTP only", flag "--tls-cert FILE";
        /// PEM file of the certificate's private key (PKCS#8, PKCS#1 or SEC1, not encrypted).
        key: Option<PathBuf> = values::FILE, unset "plain HTTP only", flag "--tls-key FILE";
        /// Accept TLS with a certificate of a local CA, which is created on first use. Use it
        /// instead of `cert` and `key`. The CA is kept in `$XDG_STATE_HOME/countersign`.
        dev: bool = values::SWITCH, default false, flag "--tls-dev";
        /// PEM file of certificate authorities. Clients must present a certificate that one of them
        /// has issued, and plain HTTP is rejected.
        client_ca: Option<PathBuf> = values::FILE, unset "clients need no certificate";
    }
}

settings! {
    /// `[limits]`
    LimitSettings {
        /// Memory that the process may use. `auto` takes the limit of the cgroup, if there is one.
        /// `connections`, `outbox_total` and `buffered` are reduced to fit. While more than 90 % of
        /// it is resident, requests are answered with 503 and sockets start no operations (Linux).
        memory: MemoryLimit = values::MEMORY, default "auto";
        /// Maximum number of client connections, at most half of the open files that the system
        /// allows. At the limit, each new connection closes the one that has been idle longest.
        /// If none is idle, its request is answered with 503.
        connections: usize = values::COUNT, default 4096;
        /// Maximum number of requests that have been received and whose response has not begun.
        /// Further requests are answered with 503. As many again may be sending their bodies; the
        /// bodies of other requests must arrive within 1 s.
        in_flight: usize = values::COUNT, default 1024;
        /// Maximum size of the head of a request. A larger one, or one with more than 2048
        /// headers, is answered with 431. AWS accepts less: API Gateway 10,240 bytes, and CloudFront,
        /// which is in front of AppSync, 20,480.
        request_head: usize = values::SIZE_OF_HEAD, default "32KiB";
        /// Maximum size of the body of a request to AppSync. A larger one is answered with 413.
        request_body: usize = values::SIZE, default "1MiB";
        /// Maximum size of the body of a request to an upstream other than AppSync. A larger one is
        /// answered with 413.
        http_request_body: usize = values::SIZE, default "10MiB";
        /// Maximum size of the response to a query or mutation over a WebSocket. Responses to HTTP
        /// requests are streamed.
        response_body: usize = values::SIZE, default "16MiB";
        /// Maximum total size of the responses that are held in memory for their clients (those of
        /// batches, sockets and streams, and errors), at most a quarter of `memory`. A response
        /// that finds no space for 20 s ends with `BUFFERS_FULL`.
        buffered: usize = values::SIZE, default "256MiB";
        /// Maximum part of `buffered` that one client connection may use.
        buffered_connection: usize = values::SIZE, default "32MiB";
        /// Maximum number of operations in one HTTP request.
        batch: usize = values::COUNT, default 32;
        /// Maximum size of a WebSocket message from a client. A larger one closes the socket with
        /// code 1009.
        message: usize = values::SIZE, default "1MiB";
        /// Maximum number of concurrent subscriptions on one client socket.
        subscriptions: usize = values::COUNT, default 200;
        /// Maximum number of concurrent queries and mutations on one client socket.
        operations: usize = values::COUNT, default 64;
        /// Maximum size of the events that wait for one client socket.
        outbox: usize = values::SIZE, default "1MiB";
        /// Maximum size of the events that wait for all client sockets together.
        outbox_total: usize = values::SIZE, default "64MiB";
    }
}

settings! {
    /// `[timeouts]`
    TimeoutSettings {
        /// Maximum time to connect to an upstream, including DNS, TCP, proxy and TLS.
        connect: Duration = values::DURATION, default "5s";
        /// Maximum time until an upstream's response begins. AppSync executes for at most 30 s.
        first_byte: Duration = values::DURATION, default "35s";
        /// Maximum time between two pieces of an upstream's response. Streams of API Gateway may
        /// pause for 5 minutes.
        idle: Duration = values::DURATION, default "330s";
        /// Maximum time for the head of a request, once it has begun, and for a TLS handshake.
        request_head: Duration = values::DURATION, default "10s";
        /// Maximum time between two pieces of a client's request body.
        request_body: Duration = values::DURATION, default "30s";
        /// Maximum time for a client's whole request body.
        request_body_total: Duration = values::DURATION, default "2m";
        /// Time after which a client connection without a request is closed.
        idle_client: Duration = values::DURATION, default "60s";
        /// Maximum time from the start of a WebSocket to its `connection_init`.
        init: Duration = values::DURATION, default "10s";
        /// Interval of pings to a client socket, which is closed if nothing arrives within one interval.
        ping: Duration = values::DURATION, default "15s";
        /// Time without a message from the client after which `route.NAME.keepalive_message` is
        /// sent.
        keepalive: Duration = values::DURATION, default "5m";
        /// Maximum time to resume a subscription whose realtime connection was lost, with
        /// `on_upstream_loss = "resume"`. After it, the subscription ends with an error.
        resume: Duration = values::DURATION, default "5m";
        /// Time after which a client that reads nothing is disconnected. While an HTTP response is
        /// sent, reading less than 4 KiB counts as reading nothing.
        write: Duration = values::DURATION, default "15s";
    }
}

settings! {
    /// `[pool]`
    PoolSettings {
        /// Time after which an idle upstream HTTP connection is closed.
        idle: Duration = values::DURATION, default "50s";
        /// Maximum number of idle connections for each route.
        max_idle: usize = values::COUNT, default 256;
        /// Time for which an upstream HTTP connection takes new requests, so that changes in DNS
        /// are followed. Each connection shortens it by up to a tenth. Requests in flight complete.
        max_age: Duration = values::DURATION, default "5m";
        /// Maximum number of subscriptions on one realtime connection. Beyond it, another
        /// connection is opened.
        subscriptions: usize = values::COUNT, default 100;
        /// Time after which a realtime connection without subscriptions is closed.
        linger: Duration = values::DURATION, default "10s";
        /// Maximum time from connecting to realtime to its `connection_ack`.
        handshake: Duration = values::DURATION, default "10s";
        /// Maximum time from `start` to `start_ack`. After it, `start` is sent once more.
        start_ack: Duration = values::DURATION, default "10s";
        /// Time without a message from realtime after which its connection counts as lost.
        keepalive: Duration = values::DURATION, default "150s";
        /// Time over which the closing of client sockets is spread after a realtime connection is
        /// lost.
        spread: Duration = values::DURATION, default "2s";
    }
}

settings! {
    /// `[drain]`
    DrainSettings {
        /// Time after SIGTERM during which requests are served as before while `/readyz` returns
        /// 503, so that load balancers can notice.
        delay: Duration = values::DURATION_OR_ZERO, default "0s";
        /// Maximum time after `delay` for running requests and subscriptions to finish.
        timeout: Duration = values::DURATION, default "25s";
    }
}

settings! {
    /// `[iam]`
    IamSettings {
        /// File in which to record the operations that are sent to AWS, for `countersign policy
        /// --recorded FILE`.
        record: Option<PathBuf> = values::PATH_OF_FILE, unset "nothing is recorded",
            flag "--record FILE";
    }
}

settings! {
    /// `[inspect]`
    InspectSettings {
        /// Record requests, with their bodies and without credentials, and show them at `/inspect/` of the
        /// admin listener. Everybody who may open that page sees what clients send and receive.
        enabled: bool = values::SWITCH, default false, flag "--inspect";
        /// Maximum memory for recorded requests. The oldest ones are removed first.
        memory: usize = values::SIZE_OF_INSPECTOR, default "64MiB";
    }
}

settings! {
    /// `[log]`
    LogSettings {
        /// Format of log lines: auto, pretty, text or json. `pretty` is for people, the others are for
        /// machines. `auto` is `pretty` if standard error is a terminal, and otherwise `text`.
        format: LogFormat = values::LOG_FORMAT, default "auto", flag "--log-format FORMAT";
        /// Level (error, warn, info, debug or trace), or levels by target, such as
        /// info,countersign::realtime=debug. Of
        /// dependencies, only lines of `info` and above appear.
        filter: String = values::LOG_FILTER, default "info", flag "--log FILTER";
        /// When to colour `pretty` lines: auto, always or never. `auto` means on a terminal, unless
        /// `NO_COLOR` is set or `TERM` is `dumb`.
        color: When = values::WHEN, default "auto", flag "--color WHEN";
        /// Whether the lines of requests have the number of errors in a GraphQL response, and the first
        /// message. `auto` means in `pretty` lines. A message may quote variables. Responses of more than
        /// 256 KiB and compressed ones are not searched.
        graphql_errors: When = values::WHEN, default "auto";
    }
}

settings! {
    /// `[traces]`
    TraceSettings {
        /// URL of the collector, or `off`. `/v1/traces` is appended to a URL without a path.
        endpoint: Option<Option<Uri>> = values::COLLECTOR,
            unset "`OTEL_EXPORTER_OTLP_ENDPOINT`, if that is set";
        /// Share to export of the traces that begin in countersign. For other traces, the sampling
        /// decision of the client applies.
        ratio: f64 = values::RATIO, default 1.0;
        /// File of headers to send to the collector, such as an API key. It has mode 0600, and
        /// `name: value` on each line.
        headers_file: Option<PathBuf> = values::FILE, unset "no headers";
    }
}
