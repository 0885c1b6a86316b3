//! Decides whether an operation may run now. All protocols call [`admit`] before they send anything.

use countersign_protocol::error_code::Code;
use countersign_protocol::graphql::Inspected;

use crate::guard::{OperationDenied, OperationPolicies};
use crate::memory::{Memory, Shortage};

/// The operation that a client requests.
#[derive(Clone, Copy, Debug)]
pub enum RequestedOperation<'a> {
    Graphql(&'a Inspected),
    /// A subscription to a channel of AppSync Events.
    Subscribe,
    /// A publish to a channel of AppSync Events.
    Publish,
}

/// Why an operation may not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error(transparent)]
    Memory(#[from] Shortage),
    #[error(transparent)]
    Policy(#[from] OperationDenied),
}

/// Admits an operation.
///
/// # Errors
/// While memory is short, or when one of the policies does not allow the operation.
pub fn admit(
    memory: &Memory,
    policies: &OperationPolicies,
    request: RequestedOperation<'_>,
) -> Result<(), NotAdmitted> {
    if memory.is_short() {
        return Err(Shortage.into());
    }
    match request {
        RequestedOperation::Graphql(inspected) => policies.evaluate(inspected)?,
        RequestedOperation::Subscribe => policies.evaluate_subscribe()?,
        RequestedOperation::Publish => policies.evaluate_publish()?,
    }
    Ok(())
}

// === impl NotAdmitted ===

impl NotAdmitted {
    /// Returns the stable name of the error, for clients and logs.
    pub fn code(&self) -> Code {
        match self {
            Self::Memory(_) => Code::MemoryShort,
            Self::Policy(_) => Code::OperationNotAllowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use countersign_protocol::graphql::Documents;

    use super::*;
    use crate::guard::{AllowedOperations, OperationPolicy};
    use crate::memory::MemoryLimit;

    fn policies(is_read_only: bool, operations: Option<AllowedOperations>) -> OperationPolicies {
        let table = "route.a".to_owned();
        OperationPolicies::from_iter([OperationPolicy {
            table,
            is_read_only,
            operations,
        }])
    }

    fn mutation() -> Inspected {
        let body = Bytes::from_static(br#"{"query":"mutation { a }"}"#);
        let (_, inspected) = Inspected::body(&body, &Documents::default(), true).unwrap();
        inspected
    }

    #[test]
    fn each_policy_must_allow_the_operation() {
        let memory = Memory::new(MemoryLimit::Off);
        let mutation = mutation();
        let requests = [
            RequestedOperation::Graphql(&mutation),
            RequestedOperation::Subscribe,
            RequestedOperation::Publish,
        ];
        let read_only = policies(true, None);
        let operations = policies(false, Some(AllowedOperations::default()));
        for (policies, allowed) in [
            (OperationPolicies::default(), [true, true, true]),
            (read_only.clone(), [false, true, false]),
            (operations.clone(), [true, false, false]),
            (operations.and(&read_only), [false, false, false]),
        ] {
            let found = requests.map(|request| admit(&memory, &policies, request));
            for reason in found.iter().filter_map(|found| found.as_ref().err()) {
                assert_eq!(reason.code().as_str(), "OPERATION_NOT_ALLOWED");
            }
            assert_eq!(found.map(|found| found.is_ok()), allowed);
        }
    }

    /// The process is larger than the limit.
    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_is_admitted_while_memory_is_short() {
        let memory = Memory::new(MemoryLimit::Bytes(1));
        let mutation = mutation();
        for policies in [OperationPolicies::default(), policies(true, None)] {
            for request in [
                RequestedOperation::Graphql(&mutation),
                RequestedOperation::Subscribe,
                RequestedOperation::Publish,
            ] {
                let reason = admit(&memory, &policies, request).unwrap_err();
                assert_eq!(reason, NotAdmitted::Memory(Shortage));
                assert_eq!(reason.code().as_str(), "MEMORY_SHORT");
            }
        }
    }
}
