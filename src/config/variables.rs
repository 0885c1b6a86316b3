//! The environment variables that set settings, and the names that users try instead.

use super::setting::{NAME, PREFIX, Section, Setting};

/// A variable that sets a key.
pub(super) struct Variable {
    pub(super) name: String,
    /// The segments of the key.
    pub(super) key: Vec<String>,
    pub(super) value: String,
}

/// Returns the variables that set keys, weakest first. A flag's name is also the name of a variable:
/// `--log` and `COUNTERSIGN_LOG`.
pub(super) fn variables(
    environment: &[(String, String)],
    sections: &'static [Section],
) -> Vec<Variable> {
    let mut variables: Vec<(bool, Variable)> = environment
        .iter()
        .filter_map(|(name, value)| {
            let key = name.strip_prefix(PREFIX)?;
            if key == "CONFIG" || is_service_link(key) {
                return None;
            }
            let flag = of_flag(key, sections);
            let is_key = flag.is_none();
            let key = flag.unwrap_or_else(|| key.to_ascii_lowercase().replace("__", "."));
            let variable = Variable {
                name: name.clone(),
                key: key.split('.').map(str::to_owned).collect(),
                value: value.clone(),
            };
            Some((is_key, variable))
        })
        .collect();
    variables.sort_by(|(a_is_key, a), (b_is_key, b)| (a_is_key, &a.name).cmp(&(b_is_key, &b.name)));
    variables
        .into_iter()
        .map(|(_, variable)| variable)
        .collect()
}

/// Returns the variable that the user of an unknown one may mean: with single underscores, or with the
/// name of a flag that belongs to a route.
pub(super) fn near(name: &str, sections: &'static [Section]) -> Option<String> {
    let key = name.strip_prefix(PREFIX)?;
    let flat = key.replace("__", "_");
    let mut all = sections.iter().flat_map(|section| {
        let settings = section.settings.iter();
        settings.map(move |setting| (section, setting))
    });
    all.find_map(|(section, setting)| {
        let variable = section.variable(setting);
        let expected = variable.strip_prefix(PREFIX)?.replace("__", "_");
        let Some((before, after)) = expected.split_once(&format!("_{NAME}_")) else {
            return (expected == flat).then_some(variable);
        };
        let between = flat
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .map(|name| name.trim_matches('_'))
            .filter(|name| !name.is_empty());
        let route = match between {
            Some(name) => name,
            None if is_flag(setting, key) => "GRAPHQL",
            None => return None,
        };
        Some(variable.replace(&format!("__{NAME}__"), &format!("__{route}__")))
    })
}

/// Returns the dotted key of the setting whose flag has the name of this variable.
fn of_flag(key: &str, sections: &'static [Section]) -> Option<String> {
    let mut sections = sections.iter().filter(|section| !section.is_named());
    sections.find_map(|section| {
        let mut settings = section.settings.iter();
        let setting = settings.find(|setting| is_flag(setting, key))?;
        Some(section.key(setting))
    })
}

fn is_flag(setting: &Setting, key: &str) -> bool {
    let flag = setting
        .flag_name()
        .map(|flag| flag.trim_start_matches("--"));
    flag.is_some_and(|flag| flag.replace('-', "_").eq_ignore_ascii_case(key))
}

/// Whether Kubernetes has set the variable: it sets such variables in every pod for a Service named
/// `countersign` or `countersign-…` ("Discovering services: environment variables").
fn is_service_link(key: &str) -> bool {
    let key = format!("_{key}");
    let is_nested = key.contains("__");
    let has_end = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"]
        .iter()
        .any(|end| key.ends_with(end));
    !is_nested && (has_end || key.contains("_SERVICE_PORT_") || key.contains("_PORT_"))
}
