//! The state that all parts of the emulator share. It does not depend on any of the parts.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::iam::Policy;
use super::options::{ACCOUNT, Options};
use super::stats::Ledger;
use super::switches::Switches;

pub(super) struct Context {
    pub(super) options: Options,
    pub(super) clock: Arc<Clock>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) switches: Switches,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

// === impl Context ===

impl Context {
    pub(super) fn new(options: Options) -> Self {
        let clock = Arc::new(Clock::default());
        Self {
            switches: Switches::new(options.max_subscriptions, Arc::clone(&clock)),
            options,
            clock,
            ledger: Arc::default(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Checks an action on a resource against the policy of the `policy` switch, if it is set.
    ///
    /// # Errors
    /// Returns the resource's ARN if the policy does not allow the action.
    pub(super) fn allows(&self, service: &str, action: &str, resource: &str) -> Result<(), String> {
        let policy = self.switches.settings().policy;
        if policy.is_empty() {
            return Ok(());
        }
        let region = &self.options.region;
        let arn = format!("arn:aws:{service}:{region}:{ACCOUNT}:{resource}");
        // The switch accepts only policies that parse.
        let is_allowed = Policy::parse(&policy).is_ok_and(|policy| policy.allows(action, &arn));
        is_allowed.then_some(()).ok_or(arn)
    }

    /// Returns the `connectionTimeoutMs` of an acknowledgement.
    pub(super) fn timeout_ms(&self) -> u64 {
        u64::try_from(self.options.connection_timeout.as_millis()).unwrap_or(u64::MAX)
    }
}
