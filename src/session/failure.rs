//! Records why a subscription failed.

use countersign_protocol::error_code::{Code, Sent};
use countersign_protocol::graphql::GraphqlError;

use crate::telemetry::{Record, RecordCode, RecordedRejection};

/// Adds the errors with which a subscription ends to its record.
pub(super) fn record_failure(errors: &[GraphqlError], record: &mut Record) {
    let text = |name: &str| {
        let mut values = errors.iter().filter_map(|error| error.extensions.get(name));
        values.find_map(|value| value.as_str())
    };
    // AWS's type is the code of a rejection; that of a resolver's error may be anything.
    let cause = text("cause");
    let code = text("code").or_else(|| cause.and(text("errorType")));
    record.code = code.map(RecordCode::named);
    record.sent = text("sent").and_then(Sent::from_name);
    record.cause = cause.map(str::to_owned);
    // The connection logs once why AppSync refused its connect.
    let is_own = code != Some(Code::UpstreamRefused.as_str());
    record.rejection = cause.filter(|_| is_own).map(|_| {
        let mut identities = errors.iter().filter_map(|error| error.identity.as_deref());
        Box::new(RecordedRejection {
            confidence: text("confidence").unwrap_or_default().to_owned(),
            identity: identities.next().map(|identity| identity.0.clone()),
            denied: text("denied").map(str::to_owned),
            fix: text("hint").unwrap_or_default().to_owned(),
        })
    });
}
