//! Logs mutations that leave out the fields by which live subscriptions of the route filter.

use std::sync::Arc;

use countersign_protocol::graphql::{LiveFilters, SubscriptionFilter, Unexamined, Unselected};
use parking_lot::Mutex;
use tracing::info;

/// The filters of the live subscriptions of one route.
#[derive(Clone, Debug, Default)]
pub(super) struct SubscriptionFilters(Arc<Mutex<LiveFilters>>);

/// Keeps the filter of a subscription. Dropping it removes the filter.
#[derive(Debug)]
pub(super) struct LiveFilter {
    filters: SubscriptionFilters,
    filter: Arc<SubscriptionFilter>,
}

impl SubscriptionFilters {
    /// Adds the subscription with this `data`, if it has arguments.
    pub(super) fn subscribed(&self, data: &str) -> Option<LiveFilter> {
        let filter = SubscriptionFilter::read(data)?;
        let filter = self.0.lock().add(filter);
        Some(LiveFilter {
            filters: self.clone(),
            filter,
        })
    }

    /// Logs the subscriptions that the mutation in `body` probably does not reach, each pair once.
    pub(super) fn check(&self, route: &str, body: &[u8]) {
        for found in self.unselected(body) {
            let Unselected {
                subscription,
                mutation,
                fields,
            } = found;
            info!(
                route,
                subscription,
                mutation,
                fields = fields.join(" "),
                "subscription may get no event: the mutation does not select the fields by which the \
                 subscription filters"
            );
        }
    }

    /// Parses outside of the lock, which every request of the route takes.
    fn unselected(&self, body: &[u8]) -> Vec<Unselected> {
        if !self.0.lock().is_watching() {
            return Vec::new();
        }
        let Some(mutation) = Unexamined::read(body) else {
            return Vec::new();
        };
        if !self.0.lock().is_new(&mutation) {
            return Vec::new();
        }
        let fields = mutation.examine();
        fields.map_or(Vec::new(), |fields| self.0.lock().unselected(&fields))
    }
}

impl Drop for LiveFilter {
    fn drop(&mut self) {
        self.filters.0.lock().remove(&self.filter);
    }
}
