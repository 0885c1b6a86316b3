//! Defaults that are lost: a weaker source says a plain value for a table, and a stronger one a table
//! again, which then has nothing but what that one says.

use figment::value::{Dict, Value};

use super::problem::Problem;

/// The keys of `defaults` that are missing in what was `said`.
pub(super) fn lost(defaults: &Dict, said: &Dict) -> Vec<Problem> {
    let mut lost = Vec::new();
    compare(defaults, said, "", &mut lost);
    lost
}

fn compare(defaults: &Dict, said: &Dict, above: &str, lost: &mut Vec<Problem>) {
    for (key, default) in defaults {
        let path = format!("{above}{key}");
        match (default, said.get(key)) {
            (Value::Dict(_, defaults), Some(Value::Dict(_, said))) => {
                compare(defaults, said, &format!("{path}."), lost);
            }
            (_, Some(_)) => {}
            (_, None) => lost.push(Problem {
                key: path,
                source: None,
                message: "has lost its default: the table above it is said as a plain value, too"
                    .to_owned(),
            }),
        }
    }
}
