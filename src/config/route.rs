//! Resolves `[route.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use super::declare::SettingsTable as _;
use super::policy::policy;
use super::settings::{RouteLimitSettings, RouteSettings, RouteTimeoutSettings};
use super::table::Table;
use crate::guard::{BrowserRules, OperationPolicy};
use crate::proxy::RequestLimits;
use crate::realtime::RealtimeConfig;
use crate::session::Keepalive;
use crate::sign::credentials::CredentialSourceConfig;
use crate::sign::{Algorithm, SignaturePlacement};
use crate::upstream::{Endpoint, HeaderPolicy, Overrides, UpstreamConfig, UpstreamKind};

/// One route.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    pub name: String,
    /// The path without a trailing slash; empty for the root.
    pub path: String,
    pub endpoint: Endpoint,
    pub credentials: Credentials,
    pub trust: Trust,
    /// Whether `connect` is set: its connections use no proxy.
    pub is_dialled_directly: bool,
    pub headers: HeaderPolicy,
    pub requests: RequestLimits,
    pub policy: Option<OperationPolicy>,
    pub browser: BrowserRules,
    pub upstream: UpstreamConfig,
    pub realtime: RealtimeConfig,
    pub keepalive: Option<Keepalive>,
}

/// The source of a route's credentials.
#[derive(Clone, PartialEq)]
pub enum Credentials {
    Provider(CredentialSourceConfig),
    /// The fixed credentials of `demo`, for its emulator.
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

/// The settings of all routes, some of which a route can override.
#[derive(Clone, Copy)]
pub(super) struct RouteDefaults {
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

/// The lines fit a terminal of 80 columns.
const NO_ROUTE: &str = "\
no API is given. Pass its URL, or start a demo: countersign demo
  countersign https://ID.appsync-api.REGION.amazonaws.com/graphql
to find the URL:
  aws appsync list-graphql-apis --query 'graphqlApis[].uris.GRAPHQL'
for several APIs, write a file with [route.NAME] tables:
  countersign --config FILE";

pub(super) fn routes(root: &Table<'_>, defaults: RouteDefaults) -> Option<Vec<RouteConfig>> {
    let tables = root.tables("route")?;
    if tables.is_empty() {
        root.report_without_key(NO_ROUTE);
        return None;
    }
    let mut routes: Vec<RouteConfig> = Vec::new();
    let mut complete = true;
    for (name, table) in tables {
        let Some(table) = table else {
            complete = false;
            continue;
        };
        let Some(route) = route(name, &table, defaults) else {
            complete = false;
            continue;
        };
        if let Some(other) = routes.iter().find(|other| other.path == route.path) {
            let is_set = table.is_set("path");
            table.report(
                if is_set { "path" } else { "target" },
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

fn route(name: String, table: &Table<'_>, defaults: RouteDefaults) -> Option<RouteConfig> {
    let settings = RouteSettings::read(table)?;
    let limits = RouteLimitSettings::read(&table.table("limits"))?;
    let timeouts = RouteTimeoutSettings::read(&table.table("timeouts"))?;
    if settings.target.is_none() && !table.is_set("target") {
        let mut keys = table.keys();
        match keys.find_map(|key| Some((key, table.flag_of(key)?))) {
            Some((key, flag)) => table.report(
                key,
                format!(
                    "add the URL to which it applies: countersign {flag} … \
                     https://ID.appsync-api.REGION.amazonaws.com/graphql. In a file, set `{key}` in \
                     [route.NAME]"
                ),
            ),
            None if table.has_other_key("target") => {}
            None => table.report("target", "is missing: set it to the URL of the upstream"),
        }
    }
    let endpoint = endpoint(table, &settings);
    let kind = endpoint.as_ref().map(|endpoint| endpoint.kind);
    let policy = policy(format!("route.{name}"), table, settings.read_only, kind);
    let endpoint = endpoint?;
    let default_path = || match endpoint.kind {
        UpstreamKind::Graphql => "/graphql".to_owned(),
        UpstreamKind::Events => "/event".to_owned(),
        UpstreamKind::Http => format!("/{name}"),
    };
    let mut headers = HeaderPolicy::new(
        endpoint.kind,
        &settings.forward_headers,
        settings.drop_headers,
    );
    if settings.odd_headers {
        headers = headers.keep_odd_headers();
    }
    if defaults.passes_forwarded {
        headers = headers.keep_forwarded_headers();
    }
    Some(RouteConfig {
        path: settings.path.unwrap_or_else(default_path),
        credentials: Credentials::Provider(CredentialSourceConfig {
            profile: settings.profile,
            assume_role: settings.assume_role,
            region: endpoint.scope.region.clone(),
        }),
        trust: settings.ca_file.map_or(Trust::System, Trust::File),
        is_dialled_directly: settings.connect.is_some(),
        headers,
        requests: RequestLimits {
            body: limits.request_body.unwrap_or(match endpoint.kind {
                UpstreamKind::Graphql | UpstreamKind::Events => defaults.request_body,
                UpstreamKind::Http => defaults.http_request_body,
            }),
            body_timeout: defaults.request_body_timeout,
            body_total: defaults.request_body_total,
            response_body: limits.response_body.unwrap_or(defaults.response_body),
            batch: defaults.batch,
            is_strict: settings.strict,
            paths: settings.odd_paths,
        },
        policy,
        browser: BrowserRules {
            navigations: settings.navigations,
            response_headers: settings.response_headers,
        },
        upstream: UpstreamConfig {
            connect: timeouts.connect.unwrap_or(defaults.upstream.connect),
            first_byte: timeouts.first_byte.unwrap_or(defaults.upstream.first_byte),
            idle: timeouts.idle.unwrap_or(defaults.upstream.idle),
            ..defaults.upstream
        },
        realtime: RealtimeConfig {
            on_loss: settings.on_upstream_loss,
            patience: timeouts.resume.unwrap_or(defaults.realtime.patience),
            ..defaults.realtime
        },
        keepalive: settings.keepalive_message.map(|text| Keepalive {
            text,
            after: timeouts.keepalive.unwrap_or(defaults.keepalive),
        }),
        endpoint,
        name,
    })
}

/// Returns where the route leads and how its requests are signed, or `None` if a problem was reported.
fn endpoint(table: &Table<'_>, settings: &RouteSettings) -> Option<Endpoint> {
    let overrides = Overrides {
        region: settings.region.clone(),
        service: settings.service.clone(),
        host: settings.host.clone(),
        connect: settings.connect.clone(),
        default_region: table.default_region(),
    };
    let mut endpoint = match Endpoint::infer(settings.target.as_ref()?, &overrides) {
        Ok(endpoint) => endpoint,
        Err(problems) => {
            for problem in problems {
                table.report(problem.setting(), problem.to_string());
            }
            return None;
        }
    };
    if endpoint.kind == UpstreamKind::Http {
        sign_as_set(table, settings, &mut endpoint);
    } else {
        let only_http = RouteSettings::SETTINGS.iter();
        let only_http = only_http.filter(|setting| setting.only == Some(UpstreamKind::Http));
        for setting in only_http.filter(|setting| table.is_set(setting.key)) {
            table.report(
                setting.key,
                "does not apply to AppSync, which accepts only one form of signature",
            );
        }
    }
    Some(endpoint)
}

/// Overrides the signing profile of the service with the settings of the route.
fn sign_as_set(table: &Table<'_>, settings: &RouteSettings, endpoint: &mut Endpoint) {
    let style = &mut endpoint.style;
    style.placement = match (settings.auth, style.placement) {
        (Some(false), _) => SignaturePlacement::Headers,
        (Some(true), SignaturePlacement::Headers) => SignaturePlacement::PRESIGNED,
        (None | Some(true), placement) => placement,
    };
    match (&mut style.placement, settings.presign_expires) {
        (SignaturePlacement::Query { expires }, Some(set)) => *expires = set,
        (SignaturePlacement::Headers, Some(_)) => table.report(
            "presign_expires",
            "applies only to presigned requests: also set auth = \"presign\"",
        ),
        (_, None) => {}
    }
    style.token = settings.session_token.unwrap_or(style.token);
    style.payload = settings.payload.unwrap_or(style.payload);
    if settings.region_set.is_some() {
        style.algorithm = Algorithm::V4a;
    }
    endpoint.region_set.clone_from(&settings.region_set);
    endpoint.signed_headers.clone_from(&settings.sign_headers);
}

impl RouteConfig {
    /// Describes where the route leads and how it is signed, in one line.
    pub fn decision(&self) -> String {
        let Endpoint {
            kind,
            scope,
            address,
            wire_host,
            path,
            realtime,
            region_variable,
            ..
        } = &self.endpoint;
        let from = region_variable.map_or(String::new(), |variable| format!(" from {variable}"));
        let kind = match kind {
            UpstreamKind::Graphql => "AppSync GraphQL",
            UpstreamKind::Events => "AppSync Events",
            UpstreamKind::Http => "HTTP",
        };
        let local = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        let mut line = format!(
            "route {}: {local} -> {kind} https://{wire_host}{path} (region {}{from}, service {}, {})",
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
    /// Returns their name in the log and in metrics.
    pub fn name(&self) -> String {
        match self {
            Self::Provider(config) => config.to_string(),
            Self::Fixed(_) => "fixed".to_owned(),
        }
    }
}

impl std::fmt::Display for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Provider(config) => write!(f, "credentials of the {config}"),
            Self::Fixed(_) => f.write_str("the demo's credentials"),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({self})")
    }
}
