//! `countersign explain` with the files that a developer has.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use super::{CAUSES, Case};
use crate::support::{Scratch, command, within};

/// Checks `countersign explain` with the first and the last case of each cause, with all inputs and
/// with the answer alone.
pub(super) async fn check(cases: &[Case]) {
    let scratch = Scratch::new("wrong-signatures");
    let mut of_cause: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        of_cause.entry(&case.cause).or_default().push(case);
    }
    let ends = of_cause
        .values()
        .flat_map(|cases| [cases[0], cases[cases.len() - 1]]);
    let runs = ends
        .flat_map(|case| [(case, true), (case, false)])
        .enumerate()
        .map(|(at, (case, has_all))| explain(&scratch, at, case, has_all));
    let count = stream::iter(runs).buffer_unordered(4).count().await;
    assert_eq!(count, 4 * CAUSES);
}

/// Runs `countersign explain`. The verdict must be right, or unknown with the answer alone; the output
/// must contain no secrets.
async fn explain(scratch: &Scratch, at: usize, case: &Case, has_all: bool) {
    let mut arguments = ["explain", "--json"].map(str::to_owned).to_vec();
    let mut add = |option: &str, text: &str| {
        let file = scratch.file(&format!("{at}-{option}"), text);
        arguments.extend([format!("--{option}"), file]);
    };
    add("answer", &case.answer);
    if has_all {
        add("request", &case.request);
        if let Some(text) = &case.canonical_request {
            add("canonical-request", text);
        }
        if let Some(text) = &case.string_to_sign {
            add("string-to-sign", text);
        }
        arguments.extend(["--at", &case.at, "--credentials"].map(str::to_owned));
    }
    let own = &case.credentials;
    let mut environment = vec![
        ("AWS_ACCESS_KEY_ID", own.access_key.as_str()),
        ("AWS_SECRET_ACCESS_KEY", own.secret_key.as_str()),
    ];
    environment.extend(
        own.token
            .as_deref()
            .map(|token| ("AWS_SESSION_TOKEN", token)),
    );
    let output = command(&arguments, &environment).output();
    let output = within("explain", output).await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let diagnosis: Value = serde_json::from_str(&shown).unwrap_or_else(|error| {
        panic!("{} to {}: {error}: {shown}{errors}", case.cause, case.kind)
    });
    let cause = diagnosis["cause"].as_str().unwrap();
    let is_right = case.full.iter().any(|right| right == cause);
    let is_allowed = is_right || (!has_all && cause == "unknown");
    assert!(
        is_allowed,
        "{} ({}) to {}: {shown}",
        case.cause, case.change, case.kind
    );
    assert_eq!(
        output.status.code(),
        Some(i32::from(cause == "unknown")),
        "{shown}"
    );
    let secrets = [Some(own.secret_key.as_str()), own.token.as_deref()];
    for secret in secrets.into_iter().flatten() {
        assert!(
            !shown.contains(secret) && !errors.contains(secret),
            "{}",
            case.cause
        );
    }
}
