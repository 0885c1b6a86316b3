//! The operations of one client by its ids and by our keys.

use std::collections::HashMap;

use super::Limits;
use crate::graphql::{GraphqlError, Kind, OperationKey};

/// What runs for one client.
#[derive(Debug)]
pub(super) struct Live {
    limits: Limits,
    entries: HashMap<OperationKey, Entry>,
    ids: HashMap<String, OperationKey>,
    last_key: u64,
    refusals: u64,
}

/// The code of an operation that is refused because its client has too many.
pub const TOO_MANY_OPERATIONS: &str = "TOO_MANY_OPERATIONS";

/// Bytes of an id: it is kept for as long as its operation lives.
pub(super) const MAX_ID: usize = 1_024;

#[derive(Debug)]
struct Entry {
    id: String,
    kind: Kind,
}

impl Live {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            ids: HashMap::new(),
            last_key: 0,
            refusals: 0,
        }
    }

    /// The key behind a client's id.
    pub(super) fn key(&self, id: &str) -> Option<OperationKey> {
        self.ids.get(id).copied()
    }

    /// The client's id behind a key.
    pub(super) fn id(&self, key: OperationKey) -> Option<&str> {
        self.entries.get(&key).map(|entry| entry.id.as_str())
    }

    /// What the client started under `key`.
    pub(super) fn kind(&self, key: OperationKey) -> Option<Kind> {
        self.entries.get(&key).map(|entry| entry.kind)
    }

    /// Takes an operation in under an id that is free.
    ///
    /// # Errors
    /// When the client has too many of its kind already.
    pub(super) fn begin(&mut self, id: String, kind: Kind) -> Result<OperationKey, GraphqlError> {
        let is_subscription = kind == Kind::Subscription;
        let alike = self
            .entries
            .values()
            .filter(|entry| (entry.kind == Kind::Subscription) == is_subscription);
        let (limit, name) = match kind {
            Kind::Subscription => (self.limits.subscriptions, "limits.subscriptions"),
            Kind::Query | Kind::Mutation => (self.limits.operations, "limits.operations"),
        };
        if alike.count() >= limit {
            let message = format!("this client already has {limit} of them running ({name})");
            self.refusals += 1;
            return Err(GraphqlError::coded(message, TOO_MANY_OPERATIONS, "no"));
        }
        self.last_key += 1;
        let key = OperationKey(self.last_key);
        self.ids.insert(id.clone(), key);
        self.entries.insert(key, Entry { id, kind });
        Ok(key)
    }

    /// Returns how many operations were refused since the last call because there were too many.
    pub(super) fn take_refusals(&mut self) -> u64 {
        std::mem::take(&mut self.refusals)
    }

    #[cfg(test)]
    pub(super) fn pairs(&self) -> Vec<(&str, u64)> {
        let pairs: Vec<_> = self
            .ids
            .iter()
            .map(|(id, key)| (id.as_str(), key.0))
            .collect();
        assert_eq!(pairs.len(), self.entries.len());
        pairs
    }

    /// Forgets an operation; the client's id is free again.
    pub(super) fn end(&mut self, key: OperationKey) -> Option<String> {
        let entry = self.entries.remove(&key)?;
        self.ids.remove(&entry.id);
        Some(entry.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_until_they_are_taken() {
        let mut live = Live::new(Limits {
            subscriptions: 1,
            operations: 1,
        });
        live.begin("a".to_owned(), Kind::Query).unwrap();
        live.begin("b".to_owned(), Kind::Subscription).unwrap();
        assert_eq!(live.take_refusals(), 0);
        for kind in [Kind::Query, Kind::Mutation, Kind::Subscription] {
            let refused = live.begin("c".to_owned(), kind).unwrap_err();
            assert_eq!(refused.extensions["code"], TOO_MANY_OPERATIONS);
        }
        assert_eq!(live.take_refusals(), 3);
        assert_eq!(live.take_refusals(), 0);
    }
}
