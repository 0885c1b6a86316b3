//! `[traces]`, and what OpenTelemetry's own variables say of it.

use http::Uri;

use super::raw::Table;
use super::values;
use crate::telemetry::TraceConfig;

/// Variables that are read here ("OpenTelemetry Environment Variable Specification"). Its library
/// reads others by itself: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS.
pub const OPENTELEMETRY: [&str; 6] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// The path of traces below a collector's address (OTLP/HTTP).
const PATH: &str = "/v1/traces";

/// What the variables set: variable, key below `traces`, value.
pub(super) fn of_opentelemetry(
    environment: &[(String, String)],
) -> Vec<(&'static str, &'static str, String)> {
    let said = |variable: &str| {
        let (_, value) = environment.iter().find(|(name, _)| name == variable)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    };
    let mut endpoint = OPENTELEMETRY.iter().filter_map(|variable| {
        let value = said(variable)?;
        let value = match *variable {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => format!("{}{PATH}", value.trim_end_matches('/')),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => value.to_owned(),
            "OTEL_SDK_DISABLED" if value.eq_ignore_ascii_case("true") => "off".to_owned(),
            "OTEL_TRACES_EXPORTER" if value == "none" => "off".to_owned(),
            _ => return None,
        };
        Some((*variable, "endpoint", value))
    });
    // The later ones are stronger.
    let endpoint = endpoint.next_back();
    let argument = || said("OTEL_TRACES_SAMPLER_ARG").unwrap_or("1").to_owned();
    let ratio = match said("OTEL_TRACES_SAMPLER").unwrap_or_default() {
        "always_off" | "parentbased_always_off" => {
            Some(("OTEL_TRACES_SAMPLER", "ratio", "0".to_owned()))
        }
        "traceidratio" | "parentbased_traceidratio" => {
            Some(("OTEL_TRACES_SAMPLER_ARG", "ratio", argument()))
        }
        _ => None,
    };
    endpoint.into_iter().chain(ratio).collect()
}

/// `None` if nothing is to be exported.
pub(super) fn traces(table: &Table<'_>) -> Option<TraceConfig> {
    let endpoint = table.read("endpoint", endpoint);
    let ratio = table.read("ratio", ratio);
    let headers_file = table.read("headers_file", values::file);
    table.finish();
    Some(TraceConfig {
        endpoint: endpoint.flatten()?,
        ratio: ratio?,
        headers_file,
    })
}

fn endpoint(value: &str) -> Result<Option<Uri>, String> {
    if value == "off" {
        return Ok(None);
    }
    if value.contains(['@', '?']) {
        let message = "must hold neither a password nor a query: put keys into `headers_file`";
        return Err(message.to_owned());
    }
    let bad = || {
        format!(
            "{value:?} is neither a collector's URL, such as http://127.0.0.1:4318, nor \"off\""
        )
    };
    let uri: Uri = value.parse().map_err(|_| bad())?;
    match (uri.scheme_str(), uri.path()) {
        (Some("http" | "https"), "/") => {
            let whole = format!("{}{PATH}", value.trim_end_matches('/'));
            whole.parse().map(Some).map_err(|_| bad())
        }
        (Some("http" | "https"), _) => Ok(Some(uri)),
        _ => Err(bad()),
    }
}

fn ratio(value: &str) -> Result<f64, String> {
    let ratio: Option<f64> = value.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| format!("{value:?} is no number from 0 to 1"))
}
