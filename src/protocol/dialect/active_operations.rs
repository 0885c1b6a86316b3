//! The active operations of one client. The client identifies them by its ids, countersign by keys.

use std::collections::HashMap;
use std::sync::Arc;

use super::Limits;
use super::payload::bad_document;
use crate::error_code::{Code, Sent};
use crate::graphql::{
    Documents, GraphqlError, Inspected, Operation, OperationKey, OperationKind, SelectedOperation,
};

/// The active operations of one socket or stream.
#[derive(Debug)]
pub(super) struct ActiveOperations {
    limits: Limits,
    documents: Documents,
    entries: HashMap<OperationKey, Entry>,
    /// The key of each client's id. Both maps share the text of the id.
    keys: HashMap<Arc<str>, OperationKey>,
    last_key: u64,
    refusals: u64,
}

/// The maximum length of an id in bytes: it is kept as long as its operation is active.
pub(super) const MAX_ID: usize = 1_024;

#[derive(Debug)]
struct Entry {
    id: Arc<str>,
    kind: OperationKind,
}

impl ActiveOperations {
    pub(super) fn new(limits: Limits, documents: Documents) -> Self {
        Self {
            limits,
            documents,
            entries: HashMap::new(),
            keys: HashMap::new(),
            last_key: 0,
            refusals: 0,
        }
    }

    /// Returns the key of the operation that has this client's id.
    pub(super) fn key(&self, id: &str) -> Option<OperationKey> {
        self.keys.get(id).copied()
    }

    /// Returns the client's id of an operation.
    pub(super) fn id(&self, key: OperationKey) -> Option<&str> {
        self.entries.get(&key).map(|entry| &*entry.id)
    }

    /// Returns the kind of an operation.
    pub(super) fn kind(&self, key: OperationKey) -> Option<OperationKind> {
        self.entries.get(&key).map(|entry| entry.kind)
    }

    /// Inspects a GraphQL operation, and adds it under an id that is not in use.
    ///
    /// # Errors
    /// If its document selects no operation, or the client already has the maximum number of
    /// operations of this kind.
    pub(super) fn start(
        &mut self,
        id: &str,
        operation: Operation,
    ) -> Result<(OperationKey, SelectedOperation, Box<Inspected>), GraphqlError> {
        let inspected = Inspected::operation(operation, &self.documents);
        let (selected, inspected) = inspected.map_err(|error| bad_document(&error))?;
        let key = self.insert(id, selected.kind)?;
        Ok((key, selected, Box::new(inspected)))
    }

    /// Adds an operation under an id that is not in use.
    ///
    /// # Errors
    /// If the client already has the maximum number of operations of this kind.
    pub(super) fn insert(
        &mut self,
        id: &str,
        kind: OperationKind,
    ) -> Result<OperationKey, GraphqlError> {
        let is_subscription = kind == OperationKind::Subscription;
        let same_kind = self
            .entries
            .values()
            .filter(|entry| (entry.kind == OperationKind::Subscription) == is_subscription);
        let (limit, name) = match kind {
            OperationKind::Subscription => (self.limits.subscriptions, "limits.subscriptions"),
            OperationKind::Query | OperationKind::Mutation => {
                (self.limits.operations, "limits.operations")
            }
        };
        if same_kind.count() >= limit {
            let message =
                format!("too many operations: the maximum for one client is {limit} ({name})");
            self.refusals += 1;
            return Err(GraphqlError::coded(
                message,
                Code::TooManyOperations,
                Sent::No,
            ));
        }
        self.last_key += 1;
        let key = OperationKey(self.last_key);
        let id = Arc::<str>::from(id);
        self.keys.insert(Arc::clone(&id), key);
        self.entries.insert(key, Entry { id, kind });
        Ok(key)
    }

    /// Returns how many operations were rejected since the last call because the client had too
    /// many.
    pub(super) fn take_refusals(&mut self) -> u64 {
        std::mem::take(&mut self.refusals)
    }

    #[cfg(test)]
    pub(super) fn pairs(&self) -> Vec<(&str, u64)> {
        let entries = self.entries.iter();
        let pairs = entries.map(|(key, entry)| (&*entry.id, key.0));
        pairs.collect()
    }

    /// Removes an operation; the client may reuse its id.
    pub(super) fn remove(&mut self, key: OperationKey) {
        if let Some(entry) = self.entries.remove(&key) {
            self.keys.remove(&entry.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_has_a_key_until_its_operation_is_removed() {
        let limits = Limits {
            subscriptions: 2,
            operations: 2,
        };
        let mut active = ActiveOperations::new(limits, Documents::default());
        let first = active.insert("a", OperationKind::Query).unwrap();
        let other = active.insert("b", OperationKind::Query).unwrap();
        assert_eq!(active.key("a"), Some(first));
        assert_eq!(active.id(first), Some("a"));

        active.remove(first);
        assert_eq!(active.key("a"), None);
        assert_eq!(active.id(first), None);
        assert_eq!(active.key("b"), Some(other));

        let second = active.insert("a", OperationKind::Query).unwrap();
        assert_ne!(second, first);
        active.remove(first);
        assert_eq!(active.key("a"), Some(second));
    }

    #[test]
    fn refusals_are_counted_since_the_last_call() {
        let limits = Limits {
            subscriptions: 1,
            operations: 1,
        };
        let mut active = ActiveOperations::new(limits, Documents::default());
        active.insert("a", OperationKind::Query).unwrap();
        active.insert("b", OperationKind::Subscription).unwrap();
        assert_eq!(active.take_refusals(), 0);
        for kind in [
            OperationKind::Query,
            OperationKind::Mutation,
            OperationKind::Subscription,
        ] {
            let refused = active.insert("c", kind).unwrap_err();
            assert_eq!(refused.extensions["code"], Code::TooManyOperations.as_str());
        }
        assert_eq!(active.take_refusals(), 3);
        assert_eq!(active.take_refusals(), 0);
    }
}
