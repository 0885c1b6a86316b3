//! Configuration in two stages: what was said, then what it means.
//!
//! [`raw`] merges the sources (built-in defaults, file, environment, flags) and remembers where
//! each value came from. [`resolved`] turns the result into the settings struct of each part.
//! Mistakes are gathered, not thrown: one run reports them all, each with its key, its source and
//! the nearest valid name.

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
mod traces;
mod types;
mod values;

use std::cell::RefCell;
use std::net::SocketAddr;

pub use opentelemetry::OPENTELEMETRY;
pub use problem::{Problem, Problems};
pub use raw::{Flag, Raw, Sources};
pub use resolved::{Config, DrainConfig};
pub use route::{Credentials, RouteConfig, Trust};
pub use setting::{Section, Setting};
pub use settings::SECTIONS;
pub use types::Describe;

use table::Table;

use crate::proxy::MemoryLimit;

/// Reads the sources and resolves them.
///
/// # Errors
/// All mistakes of all sources.
pub fn load(sources: &Sources) -> Result<(Raw, Config), Problems> {
    let raw = Raw::read(sources, SECTIONS)?;
    let config = Config::resolve(&raw)?;
    Ok((raw, config))
}

/// The address of the admin listener alone, which commands that talk to it want; of other mistakes
/// they need not know.
///
/// # Errors
/// What is wrong with it, or with a source as a whole.
pub fn admin(sources: &Sources) -> Result<Option<SocketAddr>, Problems> {
    let raw = Raw::read(sources, SECTIONS)?;
    let problems = RefCell::default();
    let admin = Table::root(&raw, &problems).read("admin", &values::ADMIN, None);
    admin.ok_or_else(|| Problems(problems.into_inner()))
}

/// `limits.memory` alone, for what is to be done before anything else; `None` where it is wrong.
pub fn memory(sources: &Sources) -> Option<MemoryLimit> {
    let raw = Raw::read(sources, SECTIONS).ok()?;
    let problems = RefCell::default();
    let root = Table::root(&raw, &problems);
    root.table("limits").read("memory", &values::MEMORY, None)
}

#[cfg(test)]
mod tests;
