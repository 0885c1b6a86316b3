//! Configuration in two stages: [`raw`] merges the sources (defaults, file, environment, flags) and
//! remembers the source of each value, and [`resolved`] turns the result into the settings struct of
//! each part of the program.
//!
//! [`settings`] declares every setting once. One run reports all mistakes, each with its key, its
//! source and the nearest valid name.

mod declare;
mod guard;
mod lost;
mod opentelemetry;
mod parse;
mod policy;
mod problem;
mod raw;
mod resolved;
mod route;
mod setting;
mod settings;
mod table;
mod tls;
mod toml_error;
mod traces;
mod types;
mod unreadable;
mod values;
mod variables;

use std::cell::RefCell;
use std::net::SocketAddr;

pub use opentelemetry::OPENTELEMETRY;
pub use parse::{duration, log_filter, port, socket_address};
pub use problem::{Problem, Problems};
pub use raw::{DEFAULT_FILE, Flag, REGION_VARIABLES, Raw, Sources};
pub use resolved::{Config, DrainConfig, InspectConfig};
pub use route::{Credentials, RouteConfig, Trust};
pub use setting::{Section, Setting};
pub use settings::SECTIONS;
pub use types::Describe;
pub use unreadable::unreadable;
pub use variables::is_of_url;

use table::Table;

use crate::memory::MemoryLimit;

/// Reads the sources and resolves them.
///
/// # Errors
/// All mistakes of all sources.
pub fn load(sources: &Sources) -> Result<(Raw, Config), Problems> {
    let raw = Raw::read(sources, SECTIONS)?;
    let config = Config::resolve(&raw)?;
    Ok((raw, config))
}

/// Returns the address of the admin listener, for commands that connect to it. Ignores mistakes in
/// other settings.
///
/// # Errors
/// A mistake in this setting, or a source that cannot be read.
pub fn admin(sources: &Sources) -> Result<Option<SocketAddr>, Problems> {
    let raw = Raw::read(sources, SECTIONS)?;
    let problems = RefCell::default();
    let admin = Table::root(&raw, &problems).read("admin", &values::ADMIN, None);
    admin.ok_or_else(|| Problems(problems.into_inner()))
}

/// Returns `limits.memory`, which must be known before anything else starts, or `None` if it is
/// invalid.
pub fn memory(sources: &Sources) -> Option<MemoryLimit> {
    let raw = Raw::read(sources, SECTIONS).ok()?;
    let problems = RefCell::default();
    let root = Table::root(&raw, &problems);
    root.table("limits").read("memory", &values::MEMORY, None)
}

#[cfg(test)]
mod tests;
