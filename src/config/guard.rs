//! What `[guard]` means: who may talk to us, and from where.

use std::path::PathBuf;

use super::policy::policy;
use super::route::RouteConfig;
use super::table::Table;
use super::values::{self, Forwarded, NonLoopback};
use crate::guard::{GuardConfig, TokenConfig, Tokens};
use crate::server::{Listen, TlsConfig};
use crate::telemetry::error_chain;

/// What the guard's table says to others than the guard.
pub(super) struct Said {
    pub(super) guard: GuardConfig,
    pub(super) forwarded: Forwarded,
    pub(super) peer_uids: Vec<u32>,
    non_loopback: NonLoopback,
}

/// `None` only if a problem was reported.
pub(super) fn guard(table: &Table<'_>) -> Option<Said> {
    let allow_hosts = table.list("allow_hosts", values::host_name);
    let allow_origins = table.list("allow_origins", values::origin);
    let non_loopback = table.read("non_loopback", values::non_loopback);
    let forwarded = table.read("forwarded", values::forwarded);
    let peer_uids = table.list("peer_uids", values::uid);
    let tokens = tokens(table);
    table.finish();
    Some(Said {
        guard: GuardConfig {
            allow_hosts: allow_hosts?,
            allow_origins: allow_origins?,
            rejects_forwarded: forwarded? == Forwarded::Refuse,
            tokens: tokens?,
            ..GuardConfig::default()
        },
        forwarded: forwarded?,
        peer_uids: peer_uids?,
        non_loopback: non_loopback?,
    })
}

/// The unnamed token file, then the named ones.
fn tokens(table: &Table<'_>) -> Option<Vec<TokenConfig>> {
    let token = |name, file| {
        let config = TokenConfig {
            name,
            file,
            routes: None,
            policy: None,
        };
        match Tokens::load(std::slice::from_ref(&config)) {
            Ok(_) => Ok(config),
            Err(error) => Err(error_chain(&error)),
        }
    };
    let mut tokens = Vec::new();
    if table.is_said("token_file") {
        let file = |text: &str| token(None, PathBuf::from(values::text(text)?));
        tokens.push(table.read("token_file", file)?);
    } else {
        table.read("token_file", values::text);
    }
    for (name, table) in table.tables("tokens")? {
        let table = table?;
        let file = |text: &str| token(Some(name.clone()), PathBuf::from(values::text(text)?));
        let config = table.read("file", file);
        if !table.is_said("file") {
            table.report("file", "is missing: where the tokens are");
        }
        let routes = table.list("routes", values::text);
        let policy = policy(format!("guard.tokens.{name}"), &table, None);
        table.finish();
        tokens.push(TokenConfig {
            routes,
            policy,
            ..config?
        });
    }
    Some(tokens)
}

/// Reports the routes of tokens that are none.
pub(super) fn check_routes(root: &Table<'_>, said: &Said, routes: &[RouteConfig]) {
    let tables = root.table("guard").tables("tokens").unwrap_or_default();
    for token in &said.guard.tokens {
        let names = token.routes.iter().flatten();
        let unknown = names.filter(|name| routes.iter().all(|route| route.name != **name));
        for name in unknown {
            let table = tables
                .iter()
                .find(|(table, _)| token.name.as_ref() == Some(table));
            if let Some((_, Some(table))) = table {
                table.report("routes", format!("there is no route {name:?}"));
            }
        }
    }
}

/// Reports the addresses that may not be listened on as things are.
pub(super) fn check_listen(
    root: &Table<'_>,
    listen: &[Listen],
    said: &Said,
    tls: Option<&TlsConfig>,
) {
    let has_proof = !said.guard.tokens.is_empty() || tls.is_some_and(|tls| tls.client_ca.is_some());
    for listen in listen.iter().filter(|listen| !listen.is_local()) {
        match said.non_loopback {
            NonLoopback::Refuse => root.report(
                "listen",
                format!(
                    "{listen} is not a loopback address: whoever reached it could act with the IAM identity. Allow it with guard.non_loopback = \"token\" and a guard.token_file"
                ),
            ),
            NonLoopback::Token if !has_proof => root.report(
                "listen",
                format!(
                    "{listen} is not a loopback address, and guard.non_loopback = \"token\" wants proof of its clients: set guard.token_file (--token-file), or tls.client_ca"
                ),
            ),
            NonLoopback::Token | NonLoopback::Open => {}
        }
    }
}
