//! All tables of settings.

mod global;
mod route;

pub(super) use global::{Drain, General, Guard, Iam, Limits, Log, Pool, Timeouts, Tls, Traces};
pub(super) use route::{Operations, Route, RouteLimits, RouteTimeouts, Token};

use super::declare::Settings as _;
use super::setting::Section;

/// All tables, in the order of the reference. The first one is the top.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "",
        about: "",
        settings: General::SETTINGS,
    },
    Section {
        path: "route.NAME",
        about: "One table for each route. At least one route is needed; none is built in.",
        settings: Route::SETTINGS,
    },
    Section {
        path: "route.NAME.limits",
        about: "Limits of one route.",
        settings: RouteLimits::SETTINGS,
    },
    Section {
        path: "route.NAME.timeouts",
        about: "Timeouts of one route.",
        settings: RouteTimeouts::SETTINGS,
    },
    Section {
        path: "route.NAME.operations",
        about: "The operations that a route of AppSync GraphQL allows. An operation must \
                satisfy every setting that is present.",
        settings: Operations::SETTINGS,
    },
    Section {
        path: "guard",
        about: "Access control: who may send requests.",
        settings: Guard::SETTINGS,
    },
    Section {
        path: "guard.tokens.NAME",
        about: "Additional tokens. NAME appears in the log.",
        settings: Token::SETTINGS,
    },
    Section {
        path: "guard.tokens.NAME.operations",
        about: "The operations that a token allows. The route must allow them, too.",
        settings: Operations::SETTINGS,
    },
    Section {
        path: "tls",
        about: "TLS, on the same port as plain HTTP. The first byte of a connection shows which of \
                them the client speaks.",
        settings: Tls::SETTINGS,
    },
    Section {
        path: "limits",
        about: "Limits on memory and on what clients may send.",
        settings: Limits::SETTINGS,
    },
    Section {
        path: "timeouts",
        about: "Timeouts of clients and upstreams.",
        settings: Timeouts::SETTINGS,
    },
    Section {
        path: "pool",
        about: "Upstream connections.",
        settings: Pool::SETTINGS,
    },
    Section {
        path: "drain",
        about: "How the process stops.",
        settings: Drain::SETTINGS,
    },
    Section {
        path: "iam",
        about: "Recording of operations, for least-privilege policies.",
        settings: Iam::SETTINGS,
    },
    Section {
        path: "log",
        about: "Log lines, on standard error.",
        settings: Log::SETTINGS,
    },
    Section {
        path: "traces",
        about: "Spans of requests, exported to an OpenTelemetry collector with OTLP over HTTP.",
        settings: Traces::SETTINGS,
    },
];
