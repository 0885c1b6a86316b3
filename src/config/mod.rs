//! Configuration in two stages: what was said, then what it means.
//!
//! [`raw`] merges the sources (built-in defaults, file, environment, flags) and remembers where
//! each value came from. [`resolved`] turns the result into the settings struct of each part.
//! Mistakes are gathered, not thrown: one run reports them all, each with its key, its source and
//! the nearest valid name.

mod guard;
mod lost;
mod policy;
mod raw;
mod resolved;
mod route;
mod tls;
mod traces;
mod values;

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;

pub use raw::{Flag, Raw, Sources};
pub use resolved::{Config, DrainConfig};
pub use route::{Credentials, RouteConfig, Trust};
pub use traces::OPENTELEMETRY;

use crate::proxy::MemoryLimit;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key, as in the file: `route.graphql.target`.
    pub key: String,
    /// A file and line, a variable, or a flag.
    pub source: Option<String>,
    pub message: String,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// Reads the sources and resolves them.
///
/// # Errors
/// All mistakes of all sources.
pub fn load(sources: &Sources) -> Result<(Raw, Config), Problems> {
    let raw = Raw::read(sources)?;
    let config = Config::resolve(&raw)?;
    Ok((raw, config))
}

/// The address of the admin listener alone, which commands that talk to it want; of other mistakes
/// they need not know.
///
/// # Errors
/// What is wrong with it, or with a source as a whole.
pub fn admin(sources: &Sources) -> Result<Option<SocketAddr>, Problems> {
    let raw = Raw::read(sources)?;
    let problems = RefCell::default();
    let admin = raw.table(&problems).read("admin", values::admin);
    admin.ok_or_else(|| Problems(problems.into_inner()))
}

/// `limits.memory` alone, for what is to be done before anything else; `None` where it is wrong.
pub fn memory(sources: &Sources) -> Option<MemoryLimit> {
    let raw = Raw::read(sources).ok()?;
    let problems = RefCell::default();
    let root = raw.table(&problems);
    root.table("limits").read("memory", values::memory)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}: ")?;
        }
        match self.key.as_str() {
            "" => f.write_str(&self.message),
            key => write!(f, "`{key}`: {}", self.message),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
