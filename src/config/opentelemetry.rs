//! Settings of `[traces]` from OpenTelemetry's own environment variables.

/// The variables that are read here ("OpenTelemetry Environment Variable Specification"). The
/// OpenTelemetry library itself reads OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and
/// OTEL_EXPORTER_OTLP_HEADERS.
pub const OPENTELEMETRY: [&str; 6] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// The path to which a collector takes traces (OTLP/HTTP).
pub(super) const PATH: &str = "/v1/traces";

/// Returns what the variables set: variable, key below `traces`, value.
pub(super) fn of_opentelemetry(
    environment: &[(String, String)],
) -> Vec<(&'static str, &'static str, String)> {
    let get = |variable: &str| {
        let (_, value) = environment.iter().find(|(name, _)| name == variable)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    };
    let mut endpoint = OPENTELEMETRY.iter().filter_map(|variable| {
        let value = get(variable)?;
        let value = match *variable {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => format!("{}{PATH}", value.trim_end_matches('/')),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => value.to_owned(),
            "OTEL_SDK_DISABLED" if value.eq_ignore_ascii_case("true") => "off".to_owned(),
            "OTEL_TRACES_EXPORTER" if value == "none" => "off".to_owned(),
            _ => return None,
        };
        Some((*variable, "endpoint", value))
    });
    // The later variables override the earlier ones.
    let endpoint = endpoint.next_back();
    let argument = || get("OTEL_TRACES_SAMPLER_ARG").unwrap_or("1").to_owned();
    let ratio = match get("OTEL_TRACES_SAMPLER").unwrap_or_default() {
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
