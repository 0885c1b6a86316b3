//! Resolves `[traces]`.

use super::declare::SettingsTable as _;
use super::settings::TraceSettings;
use super::table::Table;
use crate::telemetry::TraceConfig;

/// Returns `None` if no spans are exported.
pub(super) fn traces(table: &Table<'_>) -> Option<TraceConfig> {
    let traces = TraceSettings::read(table)?;
    Some(TraceConfig {
        endpoint: traces.endpoint.flatten()?,
        ratio: traces.ratio,
        headers_file: traces.headers_file,
    })
}
