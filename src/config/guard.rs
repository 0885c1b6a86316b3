//! Resolves `[guard]`: who may send requests, and from where.

use std::path::PathBuf;

use super::declare::SettingsTable as _;
use super::policy::policy;
use super::route::RouteConfig;
use super::settings::{GuardSettings, TokenSettings};
use super::table::Table;
use super::unreadable::unreadable;
use super::values::{Forwarded, NonLoopback};
use crate::guard::{GuardConfig, TokenConfig, TokenError, Tokens};
use crate::server::{Listen, TlsConfig};
use crate::telemetry::error_chain;
use crate::trusted_file::FileError;

/// The resolved table.
pub(super) struct ResolvedGuard {
    pub(super) guard: GuardConfig,
    pub(super) forwarded: Forwarded,
    pub(super) peer_uids: Vec<u32>,
    non_loopback: NonLoopback,
}

/// Returns `None` only if a problem was reported.
pub(super) fn guard(table: &Table<'_>) -> Option<ResolvedGuard> {
    let guard = GuardSettings::read(table)?;
    let unnamed = guard
        .token_file
        .map(|file| token(table, "token_file", None, file));
    let named = named_tokens(table);
    let mut tokens: Vec<TokenConfig> = unnamed.flatten().into_iter().collect();
    tokens.extend(named?);
    Some(ResolvedGuard {
        guard: GuardConfig {
            allow_hosts: guard.allow_hosts,
            allow_origins: guard.allow_origins,
            rejects_forwarded: guard.forwarded == Forwarded::Refuse,
            tokens,
            ..GuardConfig::default()
        },
        forwarded: guard.forwarded,
        peer_uids: guard.peer_uids,
        non_loopback: guard.non_loopback,
    })
}

fn named_tokens(guard: &Table<'_>) -> Option<Vec<TokenConfig>> {
    let mut tokens = Vec::new();
    for (name, table) in guard.tables("tokens")? {
        let Some(table) = table else {
            continue;
        };
        let settings = TokenSettings::read(&table)?;
        if !table.is_set("file") {
            table.report("file", "is missing: set it to the file with the tokens");
        }
        let policy = policy(
            format!("guard.tokens.{name}"),
            &table,
            settings.read_only,
            None,
        );
        let file = settings.file;
        let config = file.and_then(|file| token(&table, "file", Some(name), file));
        tokens.extend(config.map(|config| TokenConfig {
            routes: settings.routes,
            policy,
            ..config
        }));
    }
    Some(tokens)
}

/// Reads the tokens of one file, and reports mistakes in it at `key`.
fn token(table: &Table<'_>, key: &str, name: Option<String>, file: PathBuf) -> Option<TokenConfig> {
    let config = TokenConfig {
        name,
        file,
        routes: None,
        policy: None,
    };
    let message = match Tokens::load(std::slice::from_ref(&config)) {
        Ok(_) => return Some(config),
        Err(TokenError::Read(path, FileError::Io(error))) => {
            let advice = "create it, with mode 600: openssl rand -hex 32 > FILE";
            format!("{}, or {advice}", unreadable(&path, &error))
        }
        Err(error) => error_chain(&error),
    };
    table.report(key, message);
    None
}

/// Returns the loopback address with the port of another address.
fn loopback(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) if address.is_ipv6() => format!("[::1]:{}", address.port()),
        Listen::Tcp(address) => format!("127.0.0.1:{}", address.port()),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Reports the routes that tokens name and that do not exist.
pub(super) fn check_routes(root: &Table<'_>, guard: &ResolvedGuard, routes: &[RouteConfig]) {
    let tables = root.table("guard").tables("tokens").unwrap_or_default();
    for token in &guard.guard.tokens {
        let names = token.routes.iter().flatten();
        let unknown = names.filter(|name| routes.iter().all(|route| route.name != **name));
        for name in unknown {
            let table = tables
                .iter()
                .find(|(table, _)| token.name.as_ref() == Some(table));
            if let Some((_, Some(table))) = table {
                table.report("routes", format!("no route is named {name:?}"));
            }
        }
    }
}

/// Reports the addresses on which these settings do not allow to listen.
pub(super) fn check_listen(
    root: &Table<'_>,
    listen: &[Listen],
    guard: &ResolvedGuard,
    tls: Option<&TlsConfig>,
) {
    let authenticates =
        !guard.guard.tokens.is_empty() || tls.is_some_and(|tls| tls.client_ca.is_some());
    let (switch, file) = if root.is_in_file("listen") {
        ("guard.non_loopback = \"token\"", "guard.token_file")
    } else {
        ("COUNTERSIGN_GUARD__NON_LOOPBACK=token", "--token-file FILE")
    };
    for listen in listen.iter().filter(|listen| !listen.is_local()) {
        match guard.non_loopback {
            NonLoopback::Refuse => root.report(
                "listen",
                format!(
                    "{listen} is not a loopback address: every client that can reach it could act with the IAM identity. Use {}, or require a token: {switch} and {file}",
                    loopback(listen)
                ),
            ),
            NonLoopback::Token if !authenticates => root.report(
                "listen",
                format!(
                    "{listen} is not a loopback address, and with {switch} clients must authenticate: set {file}, or tls.client_ca"
                ),
            ),
            NonLoopback::Token | NonLoopback::Open => {}
        }
    }
}
