//! What a route's table means.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::policy::policy;
use super::table::Table;
use super::values;
use crate::guard::{BrowserRules, OperationPolicy};
use crate::proxy::RequestLimits;
use crate::realtime::RealtimeConfig;
use crate::session::Keepalive;
use crate::sign::credentials::CredentialSourceConfig;
use crate::sign::{Algorithm, Payload, Placement, TokenMode};
use crate::upstream::{Endpoint, HeaderPolicy, Overrides, UpstreamConfig, UpstreamKind};

/// One route.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    pub name: String,
    /// Without a trailing slash; empty for the root.
    pub path: String,
    pub endpoint: Endpoint,
    pub credentials: Credentials,
    pub trust: Trust,
    /// `connect` was set: no proxy comes between.
    pub is_dialled_directly: bool,
    pub headers: HeaderPolicy,
    pub requests: RequestLimits,
    pub policy: Option<OperationPolicy>,
    pub browser: BrowserRules,
    pub upstream: UpstreamConfig,
    pub realtime: RealtimeConfig,
    pub keepalive: Option<Keepalive>,
}

/// Where a route's credentials come from.
#[derive(Clone, PartialEq)]
pub enum Credentials {
    Provider(CredentialSourceConfig),
    /// The demo's, for its own emulator.
    Fixed(aws_credential_types::Credentials),
}

/// Which certificate authorities a route trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    System,
    File(PathBuf),
    /// PEM text.
    Pem(String),
}

/// Settings that a route may have of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    pub(super) request_body: usize,
    pub(super) request_body_timeout: Duration,
    pub(super) request_body_total: Duration,
    pub(super) http_request_body: usize,
    pub(super) response_body: usize,
    pub(super) batch: usize,
    pub(super) upstream: UpstreamConfig,
    pub(super) realtime: RealtimeConfig,
    pub(super) keepalive: Duration,
    pub(super) passes_forwarded: bool,
}

pub(super) fn routes(root: &Table<'_>, shared: Option<Shared>) -> Option<Vec<RouteConfig>> {
    let tables = root.tables("route")?;
    if tables.is_empty() {
        root.report(
            "route",
            "no route: give an upstream URL, as in `countersign https://ID.appsync-api.REGION.amazonaws.com/graphql`, or a [route.NAME] table with a target",
        );
        return None;
    }
    let mut routes: Vec<RouteConfig> = Vec::new();
    let mut complete = true;
    for (name, table) in tables {
        let Some(table) = table else {
            complete = false;
            continue;
        };
        let Some(route) = route(name, &table, shared) else {
            complete = false;
            continue;
        };
        if let Some(other) = routes.iter().find(|other| other.path == route.path) {
            let is_said = table.is_said("path");
            table.report(
                if is_said { "path" } else { "target" },
                format!(
                    "route {} has the same path {:?}: set `path` for one of them",
                    other.name, route.path
                ),
            );
        }
        routes.push(route);
    }
    complete.then_some(routes)
}

fn route(name: String, table: &Table<'_>, shared: Option<Shared>) -> Option<RouteConfig> {
    let target = table.read("target", values::text);
    if target.is_none() && !table.is_said("target") {
        table.report("target", "is missing: the URL of the upstream");
    }
    let path = table.read("path", values::path);
    let overrides = Overrides {
        region: table.read("region", values::text),
        service: table.read("service", values::text),
        host: table.read("host", values::text),
        connect: table.read("connect", values::address),
    };
    let profile = table.read("profile", values::text);
    let assume_role = table.read("assume_role", values::role);
    let ca_file = table.read("ca_file", values::file);
    let forward = table.list("forward_headers", values::header_name);
    let drop = table.list("drop_headers", values::header_name);
    let keeps_odd = table.read("odd_headers", values::keeps_odd_headers);
    let on_loss = table.read("on_upstream_loss", values::on_loss);
    let is_strict = table.read("strict", values::switch);
    let signing = Signing {
        is_presigned: table.read("auth", values::is_presigned),
        expires: table.read("presign_expires", values::presign_expires),
        token: table.read("session_token", values::session_token),
        payload: table.read("payload", values::payload),
        region_set: table.read("region_set", values::region_set),
        headers: table.list("sign_headers", values::header_name),
    };
    let odd_paths = table.read("odd_paths", values::odd_paths);
    let navigations = table.read("navigations", values::navigations);
    let response_headers = table.read("response_headers", values::response_headers);
    let keepalive_message = table.read("keepalive_message", values::text);

    let limits = table.table("limits");
    let request_body = limits.read("request_body", values::size);
    let response_body = limits.read("response_body", values::size);
    limits.finish();
    let timeouts = table.table("timeouts");
    let connect = timeouts.read("connect", values::duration);
    let first_byte = timeouts.read("first_byte", values::duration);
    let idle = timeouts.read("idle", values::duration);
    let keepalive = timeouts.read("keepalive", values::duration);
    timeouts.finish();

    let endpoint = target.and_then(|target| match Endpoint::infer(&target, &overrides) {
        Ok(mut endpoint) if endpoint.kind == UpstreamKind::Http => {
            signing.apply(table, &mut endpoint);
            Some(endpoint)
        }
        Ok(endpoint) => {
            for key in HTTP_ONLY.iter().filter(|key| table.is_said(key)) {
                table.report(
                    key,
                    "is not for AppSync, which takes signatures in one way only",
                );
            }
            Some(endpoint)
        }
        Err(problems) => {
            for problem in problems {
                table.report("target", problem.to_string());
            }
            None
        }
    });
    let kind = endpoint.as_ref().map(|endpoint| endpoint.kind);
    let policy = policy(format!("route.{name}"), table, kind);
    table.finish();

    let (endpoint, shared) = (endpoint?, shared?);
    let default_path = || match endpoint.kind {
        UpstreamKind::Graphql => "/graphql".to_owned(),
        UpstreamKind::Events => "/event".to_owned(),
        UpstreamKind::Http => format!("/{name}"),
    };
    let mut headers = HeaderPolicy::new(
        endpoint.kind,
        &forward.unwrap_or_default(),
        drop.unwrap_or_default(),
    );
    if keeps_odd.unwrap_or(false) {
        headers = headers.keep_odd_headers();
    }
    Some(RouteConfig {
        path: path.unwrap_or_else(default_path),
        credentials: Credentials::Provider(CredentialSourceConfig {
            profile,
            assume_role,
            region: endpoint.scope.region.clone(),
        }),
        trust: ca_file.map_or(Trust::System, Trust::File),
        is_dialled_directly: overrides.connect.is_some(),
        headers: match shared.passes_forwarded {
            true => headers.keep_forwarded_headers(),
            false => headers,
        },
        requests: RequestLimits {
            body: request_body.unwrap_or(match endpoint.kind {
                UpstreamKind::Graphql | UpstreamKind::Events => shared.request_body,
                UpstreamKind::Http => shared.http_request_body,
            }),
            body_timeout: shared.request_body_timeout,
            body_total: shared.request_body_total,
            response_body: response_body.unwrap_or(shared.response_body),
            batch: shared.batch,
            is_strict: is_strict.unwrap_or(false),
            paths: odd_paths.unwrap_or_default(),
        },
        policy,
        browser: BrowserRules {
            navigations: navigations.unwrap_or_default(),
            response_headers: response_headers.unwrap_or_default(),
        },
        upstream: UpstreamConfig {
            connect: connect.unwrap_or(shared.upstream.connect),
            first_byte: first_byte.unwrap_or(shared.upstream.first_byte),
            idle: idle.unwrap_or(shared.upstream.idle),
            ..shared.upstream
        },
        realtime: RealtimeConfig {
            on_loss: on_loss.unwrap_or(shared.realtime.on_loss),
            ..shared.realtime
        },
        keepalive: keepalive_message.map(|text| Keepalive {
            text,
            after: keepalive.unwrap_or(shared.keepalive),
        }),
        endpoint,
        name,
    })
}

/// What a route says of how it is signed for, beside what its service is known to want.
struct Signing {
    is_presigned: Option<bool>,
    expires: Option<Duration>,
    token: Option<TokenMode>,
    payload: Option<Payload>,
    region_set: Option<String>,
    headers: Option<Vec<HeaderName>>,
}

/// Settings that are not for AppSync.
const HTTP_ONLY: [&str; 8] = [
    "auth",
    "keepalive_message",
    "odd_paths",
    "payload",
    "presign_expires",
    "region_set",
    "session_token",
    "sign_headers",
];

impl Signing {
    fn apply(self, table: &Table<'_>, endpoint: &mut Endpoint) {
        let style = &mut endpoint.style;
        style.placement = match (self.is_presigned, style.placement) {
            (Some(false), _) => Placement::Headers,
            (Some(true), Placement::Headers) => Placement::PRESIGNED,
            (None | Some(true), placement) => placement,
        };
        match (&mut style.placement, self.expires) {
            (Placement::Query { expires }, Some(said)) => *expires = said,
            (Placement::Headers, Some(_)) => table.report(
                "presign_expires",
                "is for presigned requests: set auth = \"presign\", too",
            ),
            (_, None) => {}
        }
        style.token = self.token.unwrap_or(style.token);
        style.payload = self.payload.unwrap_or(style.payload);
        if self.region_set.is_some() {
            style.algorithm = Algorithm::V4a;
        }
        endpoint.region_set = self.region_set;
        endpoint.signed_headers = self.headers.unwrap_or_default();
    }
}

impl RouteConfig {
    /// What was decided for the route, in one readable line.
    pub fn decision(&self) -> String {
        let Endpoint {
            kind,
            scope,
            address,
            wire_host,
            path,
            realtime,
            ..
        } = &self.endpoint;
        let kind = match kind {
            UpstreamKind::Graphql => "AppSync GraphQL",
            UpstreamKind::Events => "AppSync Events",
            UpstreamKind::Http => "HTTP",
        };
        let local = match self.path.as_str() {
            "" => "/",
            path => path,
        };
        let mut line = format!(
            "route {}: {local} -> {kind} https://{wire_host}{path} (region {}, service {}, {})",
            self.name, scope.region, scope.service, self.credentials
        );
        if let Some(realtime) = realtime {
            line.push_str(&format!(
                ", subscriptions wss://{}{}",
                realtime.wire_host, realtime.path
            ));
        }
        if self.is_dialled_directly {
            line.push_str(&format!(", dialled at {address}"));
        }
        if let Some(policy) = &self.policy {
            line.push_str(if policy.is_read_only {
                ", read-only"
            } else {
                ""
            });
            let has_operations = policy.operations.is_some();
            line.push_str(if has_operations {
                ", some operations only"
            } else {
                ""
            });
        }
        line
    }
}

impl Credentials {
    /// As the log and the metrics name them.
    pub fn name(&self) -> String {
        match self {
            Self::Provider(identity) => identity.to_string(),
            Self::Fixed(_) => "fixed".to_owned(),
        }
    }
}

impl std::fmt::Display for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Provider(identity) => write!(f, "credentials of the {identity}"),
            Self::Fixed(_) => f.write_str("the demo's credentials"),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({self})")
    }
}
