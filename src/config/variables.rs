//! The environment variables that set settings, and the names that users try instead.

use super::setting::{NAME, PREFIX, Section, Setting};
use crate::nearest::nearest;

/// A variable that sets a key.
pub(super) struct Variable {
    pub(super) name: String,
    /// The segments of the key.
    pub(super) key: Vec<String>,
    pub(super) value: String,
}

/// Variables that users try, and those that they look for.
const OTHER_VARIABLES: [(&[&str], &str); 4] = [
    (
        &["API", "API_URL", "ENDPOINT", "TARGET", "UPSTREAM", "URI"],
        "URL",
    ),
    (&["LEVEL", "LOGLEVEL", "LOG_LEVEL"], "LOG"),
    (&["DEBUG", "VERBOSE"], "LOG=debug"),
    (&["ADDR", "ADDRESS", "BIND"], "LISTEN"),
];

/// Returns the variables that set keys, weakest first. A flag's name is also the name of a variable:
/// `--log` and `COUNTERSIGN_LOG`. Those of the URL's route apply if there is a URL; `route` is the name of
/// its route.
pub(super) fn variables(
    environment: &[(String, String)],
    sections: &'static [Section],
    route: Option<&str>,
) -> Vec<Variable> {
    let mut variables: Vec<(bool, Variable)> = environment
        .iter()
        .filter_map(|(name, value)| {
            let key = name.strip_prefix(PREFIX)?;
            if key == "CONFIG" || is_service_link(key, value) {
                return None;
            }
            let flag = of_flag(key, sections, route);
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

/// Returns what to do about an unknown variable; `None` if the name is not that of a variable.
pub(super) fn unknown(name: &str, sections: &'static [Section]) -> Option<String> {
    let key = name.strip_prefix(PREFIX)?;
    let other = OTHER_VARIABLES.iter().find(|(keys, _)| keys.contains(&key));
    let near = other
        .map(|(_, meant)| format!("{PREFIX}{meant}"))
        .or_else(|| near(key, sections))
        .or_else(|| misspelt(key, sections));
    Some(match near {
        _ if is_of_url(name, sections) => format!(
            "applies only with a URL: pass the URL, or set {}",
            near.unwrap_or_default()
        ),
        Some(near) => format!("unknown setting; did you mean {near}?"),
        None => "unknown setting: unset it. For the names of all variables, see \
                 docs/reference/configuration.md"
            .to_owned(),
    })
}

/// Returns whether the variable sets a setting of the URL's route, or the URL.
pub fn is_of_url(name: &str, sections: &'static [Section]) -> bool {
    let key = name.strip_prefix(PREFIX);
    let settings = sections.iter().filter(|section| section.path == ROUTE);
    let mut settings = settings.flat_map(|section| section.settings);
    key.is_some_and(|key| settings.any(|setting| is_flag(setting, key)))
}

fn all(sections: &'static [Section]) -> impl Iterator<Item = (&'static Section, &'static Setting)> {
    sections.iter().flat_map(|section| {
        let settings = section.settings.iter();
        settings.map(move |setting| (section, setting))
    })
}

/// Returns the variable that may be meant by one with single underscores, or with the name of a flag that
/// belongs to a route.
fn near(key: &str, sections: &'static [Section]) -> Option<String> {
    let flat = key.replace("__", "_");
    all(sections).find_map(|(section, setting)| {
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

/// Returns the variable of which only the last segment is misspelt.
fn misspelt(key: &str, sections: &'static [Section]) -> Option<String> {
    let (before, last) = key.rsplit_once("__").unwrap_or(("", key));
    let before: Vec<&str> = before.split("__").filter(|it| !it.is_empty()).collect();
    let is_prefix = |section: &Section| {
        let segments: Vec<&str> = section.segments().collect();
        let is_same = |(segment, name): (&&str, &&str)| {
            *segment == NAME || segment.eq_ignore_ascii_case(name)
        };
        segments.len() == before.len() && segments.iter().zip(&before).all(is_same)
    };
    let fitting = all(sections).filter(|(section, _)| is_prefix(section));
    let keys = fitting.map(|(_, setting)| setting.key);
    let flags = all(sections).filter_map(|(_, setting)| setting.flag_name());
    let flags: Vec<String> = flags
        .filter(|_| before.is_empty())
        .map(|flag| flag.trim_start_matches("--").replace('-', "_"))
        .collect();
    let names = keys.chain(flags.iter().map(String::as_str));
    let near = nearest(last, names).first()?.to_ascii_uppercase();
    let before: String = before.iter().map(|name| format!("{name}__")).collect();
    Some(format!("{PREFIX}{before}{near}"))
}

/// Returns the dotted key of the setting whose flag has the name of this variable.
fn of_flag(key: &str, sections: &'static [Section], route: Option<&str>) -> Option<String> {
    if key == PORT {
        return Some("listen".to_owned());
    }
    let has_flag = |(_, setting): &(&Section, &Setting)| is_flag(setting, key);
    all(sections)
        .filter(has_flag)
        .find_map(|(section, setting)| {
            if section.is_named() {
                let name = route.filter(|_| section.path == ROUTE)?;
                return Some(section.key(setting).replace(NAME, name));
            }
            Some(section.key(setting))
        })
}

/// The variable of `--port`.
const PORT: &str = "PORT";
/// The section of the settings that apply to the URL.
const ROUTE: &str = "route.NAME";

fn is_flag(setting: &Setting, key: &str) -> bool {
    let flag = setting
        .flag_name()
        .map(|flag| flag.trim_start_matches("--"));
    flag.is_some_and(|flag| flag.replace('-', "_").eq_ignore_ascii_case(key))
}

/// Whether Kubernetes has set the variable: it sets such variables in every pod for a Service named
/// `countersign` or `countersign-…` ("Discovering services: environment variables").
fn is_service_link(key: &str, value: &str) -> bool {
    // Kubernetes sets `COUNTERSIGN_PORT=tcp://10.0.0.1:4100`, and a user `COUNTERSIGN_PORT=8080`.
    if key == PORT && !value.contains("://") {
        return false;
    }
    let key = format!("_{key}");
    let is_nested = key.contains("__");
    let has_end = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"]
        .iter()
        .any(|end| key.ends_with(end));
    !is_nested && (has_end || key.contains("_SERVICE_PORT_") || key.contains("_PORT_"))
}
