//! Checks the way from this machine to an API, step by step, with the code that serves: credentials and
//! whose they are, name, connection, TLS, clock, one signed request, one realtime connection.
//!
//! A check never sends a mutation or a publish. Each step has a time limit, from `[timeouts]` and
//! `pool.handshake`. A step that needs one which did not pass is skipped.

mod certificate;
mod clock;
mod credentials;
mod fixes;
mod network;
mod realtime;
mod refusal;
mod report;
mod reporter;
mod request;
mod target;
mod tls;
mod websocket;

pub use report::{Fault, Outcome, Report, Step};
pub use request::{InvalidQuery, Query, execute};
pub use target::Target;

use crate::upstream::UpstreamKind;
use reporter::Reporter;

/// Performs the steps for one target, and calls `report` when each has ended. `query` is sent to AppSync.
pub async fn run(target: &Target, query: &Query, report: &mut (dyn FnMut(Report) + Send)) {
    let mut reporter = Reporter::new(&target.route, report);
    let credentials = reporter
        .step(Step::Credentials, credentials::load(target))
        .await;
    let _: Option<()> = match &credentials {
        Some(snapshot) => {
            let identify = credentials::identify(target, snapshot);
            reporter.step(Step::Identity, identify).await
        }
        None => reporter.skip(Step::Identity, Step::Credentials),
    };
    let named = reporter.step(Step::Dns, network::look_up(target)).await;
    let tcp = match named {
        Some(()) => reporter.step(Step::Tcp, network::connect(target)).await,
        None => reporter.skip(Step::Tcp, Step::Dns),
    };
    let stream = match tcp {
        Some(tcp) => reporter.step(Step::Tls, tls::handshake(target, tcp)).await,
        None => reporter.skip(Step::Tls, Step::Tcp),
    };
    let is_reached = stream.is_some();
    let _: Option<()> = match stream {
        Some(stream) => {
            let compare = clock::compare(target, stream);
            reporter.step(Step::Clock, compare).await
        }
        None => reporter.skip(Step::Clock, Step::Tls),
    };
    let missing = match (&credentials, is_reached) {
        (None, _) => Some(Step::Credentials),
        (Some(_), false) => Some(Step::Tls),
        (Some(_), true) => None,
    };
    let _: Option<()> = match missing {
        None => {
            reporter
                .step(Step::Request, request::send(target, query))
                .await
        }
        Some(before) => reporter.skip(Step::Request, before),
    };
    let Some((dialer, config)) = &target.realtime else {
        return;
    };
    let step = match target.upstream.endpoint().kind {
        UpstreamKind::Events => Step::Events,
        UpstreamKind::Graphql | UpstreamKind::Http => Step::Realtime,
    };
    let _: Option<()> = match missing {
        None => {
            let connect = realtime::connect(target, dialer, config);
            reporter.step(step, connect).await
        }
        Some(before) => reporter.skip(step, before),
    };
}
