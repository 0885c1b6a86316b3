//! The services of one emulator: AppSync and the gateway.

use std::sync::Arc;

use super::appsync::AppSync;
use super::context::Context;
use super::gateway::{Gateway, HostNames};
use super::options::Options;
use super::stats::Stats;
use super::switches::{Action, Change, InvalidChange, Settings};

pub(super) struct Services {
    pub(super) context: Arc<Context>,
    pub(super) appsync: Arc<AppSync>,
    pub(super) gateway: Arc<Gateway>,
}

// === impl Services ===

impl Services {
    pub(super) fn new(options: Options) -> Self {
        let names = HostNames::new(&options.region, options.custom_hosts.clone());
        let context = Arc::new(Context::new(options));
        Self {
            appsync: Arc::new(AppSync::new(Arc::clone(&context))),
            gateway: Arc::new(Gateway::new(Arc::clone(&context), names)),
            context,
        }
    }

    /// Applies a change: first its settings, then its actions. Returns the new settings.
    pub(super) fn switch(&self, change: &Change) -> Result<Settings, InvalidChange> {
        let (settings, actions) = self.context.switches.apply(change)?;
        for action in actions {
            self.perform(action);
        }
        Ok(settings)
    }

    pub(super) fn stats(&self) -> Stats {
        self.context.ledger.snapshot(
            &self.appsync.hub.live(),
            &self.appsync.hub.channels(),
            self.gateway.sockets.ids(),
        )
    }

    fn perform(&self, action: Action) {
        let hub = &self.appsync.hub;
        match action {
            Action::Error => hub.error_all(),
            Action::Complete => hub.complete_all(),
            Action::Send(text) => hub.send_all(&text),
            Action::Close(code) => {
                hub.close_all(code);
                self.gateway.sockets.close_all(code);
            }
            Action::Drop => {
                hub.drop_all();
                self.gateway.sockets.drop_all();
            }
        }
    }
}
