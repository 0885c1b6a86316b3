//! What `[traces]` means.

use http::Uri;

use super::opentelemetry::PATH;
use super::table::Table;
use super::values;
use crate::telemetry::TraceConfig;

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
