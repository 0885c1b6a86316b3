//! Finds lost defaults: if one source sets a table to a plain value, and a stronger source sets
//! values in that table, then only those values remain.

use figment::value::{Dict, Value};

use super::problem::Problem;

/// Returns the keys of `defaults` that are missing in `merged`.
pub(super) fn lost(defaults: &Dict, merged: &Dict) -> Vec<Problem> {
    let mut lost = Vec::new();
    compare(defaults, merged, "", &mut lost);
    lost
}

fn compare(defaults: &Dict, merged: &Dict, above: &str, lost: &mut Vec<Problem>) {
    for (key, default) in defaults {
        let path = format!("{above}{key}");
        match (default, merged.get(key)) {
            (Value::Dict(_, defaults), Some(Value::Dict(_, merged))) => {
                compare(defaults, merged, &format!("{path}."), lost);
            }
            (_, Some(_)) => {}
            (_, None) => lost.push(Problem {
                key: path,
                source: None,
                message: "has no value: another source sets its table to a plain value".to_owned(),
            }),
        }
    }
}
