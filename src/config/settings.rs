//! All tables of settings.

mod global;
mod route;

pub(super) use global::{
    DrainSettings, GeneralSettings, GuardSettings, IamSettings, InspectSettings, LimitSettings,
    LogSettings, PoolSettings, TimeoutSettings, TlsSettings, TraceSettings,
};
pub(super) use route::{
    OperationSettings, RouteLimitSettings, RouteSettings, RouteTimeoutSettings, TokenSettings,
};

use super::declare::SettingsTable as _;
use super::setting::Section;

/// All tables, in the order of the reference. The first one is the top.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "",
        about: "",
        settings: GeneralSettings::SETTINGS,
    },
    Section {
        path: "route.NAME",
        about: "One table for each route. At least one route is needed; none is built in.",
        settings: RouteSettings::SETTINGS,
    },
    Section {
        path: "route.NAME.limits",
        about: "Limits of one route.",
        settings: RouteLimitSettings::SETTINGS,
    },
    Section {
        path: "route.NAME.timeouts",
        about: "Timeouts of one route.",
        settings: RouteTimeoutSettings::SETTINGS,
    },
    Section {
        path: "route.NAME.operations",
        about: "The operations that a route of AppSync GraphQL allows. An operation must \
                satisfy every setting that is present.",
        settings: OperationSettings::SETTINGS,
    },
    Section {
        path: "guard",
        about: "Access control: who may send requests.",
        settings: GuardSettings::SETTINGS,
    },
    Section {
        path: "guard.tokens.NAME",
        about: "Additional tokens. NAME appears in the log.",
        settings: TokenSettings::SETTINGS,
    },
    Section {
        path: "guard.tokens.NAME.operations",
        about: "The operations that a token allows. The route must allow them, too.",
        settings: OperationSettings::SETTINGS,
    },
    Section {
        path: "tls",
        about: "TLS, on the same port as plain HTTP. The first byte of a connection shows which of \
                them the client speaks.",
        settings: TlsSettings::SETTINGS,
    },
    Section {
        path: "limits",
        about: "Limits on memory and on what clients may send.",
        settings: LimitSettings::SETTINGS,
    },
    Section {
        path: "timeouts",
        about: "Timeouts of clients and upstreams.",
        settings: TimeoutSettings::SETTINGS,
    },
    Section {
        path: "pool",
        about: "Upstream connections.",
        settings: PoolSettings::SETTINGS,
    },
    Section {
        path: "drain",
        about: "How the process stops.",
        settings: DrainSettings::SETTINGS,
    },
    Section {
        path: "iam",
        about: "Recording of operations, for least-privilege policies.",
        settings: IamSettings::SETTINGS,
    },
    Section {
        path: "inspect",
        about: "The inspector: a page of the admin listener that shows requests while they happen.",
        settings: InspectSettings::SETTINGS,
    },
    Section {
        path: "log",
        about: "Log lines, on standard error.",
        settings: LogSettings::SETTINGS,
    },
    Section {
        path: "traces",
        about: "Spans of requests, exported to an OpenTelemetry collector with OTLP over HTTP.",
        settings: TraceSettings::SETTINGS,
    },
];
