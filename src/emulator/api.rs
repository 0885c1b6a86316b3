//! The emulated API: its names, its rules, and the parts that every connection shares.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ACCOUNT;
use super::Options;
use super::clock::Clock;
use super::gateway::{Gateway, Names, Sockets};
use super::graphql::{self, GraphQl, Operation};
use super::hub::Hub;
use super::iam::Policy;
use super::refusal::Refusal;
use super::sigv4::{self, Headers, Received, Rules, Verified};
use super::stats::{Ledger, Stats};
use super::switches::Switches;

pub(super) struct Api {
    pub(super) options: Options,
    pub(super) id: String,
    pub(super) api_host: String,
    pub(super) realtime_host: String,
    pub(super) clock: Arc<Clock>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) hub: Arc<Hub>,
    pub(super) switches: Arc<Switches>,
    pub(super) graphql: GraphQl,
    pub(super) gateway: Gateway,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// By which of its names a client addresses the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnName {
    /// `….appsync-api.…`
    Api,
    /// `….appsync-realtime-api.…`
    Realtime,
    /// A loopback name. It plays the part of a custom domain, where HTTP and realtime are one host.
    Custom,
}

/// What the API can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    GraphQl,
    Events,
}

// === impl Protocol ===

impl Protocol {
    /// What is served on a path by HTTP.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        [Self::GraphQl, Self::Events]
            .into_iter()
            .find(|protocol| protocol.http_path() == path)
    }

    /// Where requests go, and what is signed for subscriptions, too.
    pub(super) fn http_path(self) -> &'static str {
        match self {
            Self::GraphQl => "/graphql",
            Self::Events => "/event",
        }
    }

    /// What is signed for a realtime connect. No upgrade goes there.
    pub(super) fn connect_path(self) -> &'static str {
        match self {
            Self::GraphQl => "/graphql/connect",
            Self::Events => "/event",
        }
    }

    pub(super) fn subprotocol(self) -> &'static str {
        match self {
            Self::GraphQl => "graphql-ws",
            Self::Events => "aws-appsync-event-ws",
        }
    }
}

// === impl Api ===

impl Api {
    pub(super) fn new(options: Options) -> Self {
        // AppSync's label is not the API's id, just 26 letters and digits.
        let made_up = || -> String {
            std::iter::repeat_with(|| fastrand::char('a'..='z'))
                .take(26)
                .collect()
        };
        let (label, id) = (made_up(), made_up());
        let region = &options.region;
        let api_host = format!("{label}.appsync-api.{region}.amazonaws.com");
        let realtime_host = format!("{label}.appsync-realtime-api.{region}.amazonaws.com");

        let clock = Arc::new(Clock::default());
        let ledger = Arc::new(Ledger::default());
        let shutdown = CancellationToken::new();
        let types = Arc::new(graphql::types());
        let hub = Arc::new(Hub::new(
            Arc::clone(&types),
            Arc::clone(&ledger),
            shutdown.clone(),
        ));
        let sockets = Arc::new(Sockets::default());
        let switches = Arc::new(Switches::new(
            options.max_subscriptions,
            Arc::clone(&clock),
            Arc::clone(&hub),
            Arc::clone(&sockets),
        ));
        let graphql = GraphQl::new(
            types,
            Arc::clone(&clock),
            Arc::clone(&ledger),
            Arc::clone(&switches),
            Arc::clone(&hub),
        );
        let gateway = Gateway::new(Names::new(region, options.custom_hosts.clone()), sockets);
        Self {
            options,
            id,
            api_host,
            realtime_host,
            clock,
            ledger,
            hub,
            switches,
            graphql,
            gateway,
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    /// Whether a `Host` is one of ours, with or without a port.
    pub(super) fn own_name(&self, host: &str) -> Option<OwnName> {
        let name = without_port(host)?;
        if name.eq_ignore_ascii_case(&self.api_host) {
            Some(OwnName::Api)
        } else if name.eq_ignore_ascii_case(&self.realtime_host) {
            Some(OwnName::Realtime)
        } else if is_loopback_name(name) {
            Some(OwnName::Custom)
        } else {
            None
        }
    }

    /// Judges a request that came over HTTP.
    pub(super) fn verify(&self, received: &Received<'_>) -> Result<Verified, Refusal> {
        sigv4::verify(
            received,
            &Rules {
                region: &self.options.region,
                keys: &self.options.keys,
                keys_expired: self.switches.settings().expire_keys,
                now: self.clock.now(),
            },
        )
    }

    /// Judges what a realtime connect or message stands for: a `POST` that was never sent.
    ///
    /// A client that signed for the realtime host is shown the canonical string with the host it
    /// should have signed for.
    pub(super) fn verify_unsent(
        &self,
        path: &str,
        headers: &Headers,
        body: &[u8],
    ) -> Result<Verified, Refusal> {
        let mut headers = headers.clone();
        let name = headers.joined("host").map(|host| self.own_name(&host));
        if name == Some(Some(OwnName::Realtime)) {
            headers.set("host", &self.api_host);
        }
        let verified = self.verify(&Received {
            method: "POST",
            path,
            query: "",
            headers: &headers,
            body,
        });
        match name {
            Some(None) => Err(Refusal::NotFound),
            Some(Some(OwnName::Realtime)) => verified.and(Err(Refusal::NotFound)),
            Some(Some(OwnName::Api | OwnName::Custom)) | None => verified,
        }
    }

    /// Whether the policy that a switch has, if it has one, allows an action on one of AppSync's
    /// resources; `resource` follows the API's ARN.
    pub(super) fn permit(&self, action: &str, resource: &str) -> Result<(), Refusal> {
        let resource = format!("apis/{}{resource}", self.id);
        match self.allows("appsync", action, &resource) {
            Ok(()) => Ok(()),
            Err(_) => Err(Refusal::PermissionDenied),
        }
    }

    /// All root fields of an operation. A text that cannot be read asks for none.
    pub(super) fn permit_fields(&self, operation: &Operation) -> Result<(), Refusal> {
        if self.switches.settings().policy.is_empty() {
            return Ok(());
        }
        for (root, field) in operation.root_fields() {
            self.permit("appsync:GraphQL", &format!("/types/{root}/fields/{field}"))?;
        }
        Ok(())
    }

    /// With the ARN if it does not.
    pub(super) fn allows(&self, service: &str, action: &str, resource: &str) -> Result<(), String> {
        let policy = self.switches.settings().policy;
        if policy.is_empty() {
            return Ok(());
        }
        let region = &self.options.region;
        let arn = format!("arn:aws:{service}:{region}:{ACCOUNT}:{resource}");
        // It was parsed when it was switched on.
        let is_allowed = Policy::parse(&policy).is_ok_and(|policy| policy.allows(action, &arn));
        is_allowed.then_some(()).ok_or(arn)
    }

    /// The `connectionTimeoutMs` of an acknowledgement.
    pub(super) fn timeout_ms(&self) -> u64 {
        u64::try_from(self.options.connection_timeout.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn stats(&self) -> Stats {
        self.ledger.snapshot(
            &self.hub.live(),
            &self.hub.channels(),
            self.gateway.sockets.ids(),
        )
    }
}

pub(super) fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

/// `None` if what follows the name is no port.
pub(super) fn without_port(host: &str) -> Option<&str> {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at_checked(end)?;
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some(name),
        Some(port) if port.parse::<u16>().is_ok() => Some(name),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_cut_off() {
        for (host, name) in [
            ("localhost", Some("localhost")),
            ("localhost:1", Some("localhost")),
            ("[::1]", Some("[::1]")),
            ("[::1]:8080", Some("[::1]")),
            ("[::1]x", None),
            ("localhost:x", None),
            ("[::1", None),
        ] {
            assert_eq!(without_port(host), name, "{host}");
        }
    }
}
