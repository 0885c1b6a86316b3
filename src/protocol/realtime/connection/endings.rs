//! The ends of a connection and of its subscriptions.

use std::sync::Arc;

use super::subscriptions::SubscriptionState;
use super::{Connection, Phase};
use crate::graphql::Event;
use crate::realtime::connection::output::{Key, Output};
use crate::realtime::failure::Failure;

/// How often a start whose signature was rejected is signed again. Other credentials and another time may
/// both be needed.
const MAX_RENEWALS: u8 = 2;

impl<S> Connection<S> {
    pub(super) fn lose(&mut self, reason: &'static str) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            self.out.push_back(Output::Lost(reason));
        }
    }

    /// Sends a stop for a subscription that ends here and may run upstream.
    pub(super) fn abandon(&mut self, key: Key) {
        if let Some(subscription) = self.subscriptions.get(key) {
            self.frames
                .push_back(self.protocol.stop(subscription.wire()));
        }
    }

    pub(super) fn end(&mut self, key: Key, ending: Event) {
        self.subscriptions.remove(key);
        self.out.push_back(Output::Ended(key, ending));
    }

    pub(super) fn completed(&mut self, key: Key) {
        match self.subscriptions.state(key) {
            Some(SubscriptionState::Stopping { .. }) => {
                self.subscriptions.remove(key);
                self.out.push_back(Output::Released(key));
            }
            Some(_) => self.end(key, Event::Complete),
            None => {}
        }
    }

    /// Ends a subscription that could not be started, for a reason that may pass.
    pub(super) fn interrupt(&mut self, key: Key, ending: Event) {
        self.subscriptions.remove(key);
        self.out.push_back(Output::Interrupted(key, ending));
    }

    /// Ends a subscription because of an error of AppSync.
    pub(super) fn end_by(&mut self, key: Key, failures: &[Failure], ending: Event) {
        if failures.iter().any(Failure::is_transient) {
            self.interrupt(key, ending);
        } else {
            self.end(key, ending);
        }
    }

    /// Has a start signed again whose signature was rejected. Returns `false` if that would not help. It
    /// was rejected before it was executed.
    pub(super) fn renew(&mut self, key: Key, failures: &[Failure]) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return false;
        };
        let (Some(signed_at), true) = (
            subscription.signed_at,
            failures.iter().any(Failure::is_renewable),
        ) else {
            return false;
        };
        if subscription.renewals >= MAX_RENEWALS {
            return false;
        }
        subscription.renewals += 1;
        subscription.state = SubscriptionState::Signing;
        subscription.change_id();
        let start = Arc::clone(&subscription.start);
        self.out.push_back(Output::Renew {
            key,
            start,
            signed_at,
            failures: failures.to_vec(),
        });
        true
    }
}
