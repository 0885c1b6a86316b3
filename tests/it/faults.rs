//! The fault table: each fault is injected while a query, a mutation and a subscription run, and what
//! their clients saw is compared with what they should see.
//!
//! `tests/fault-table` runs all rows and prints them. Three rules hold for every row: a mutation is
//! executed at most once, and exactly as often as its error's `sent` says; after the fault, each kind is
//! served within the row's time; and clients of another route see nothing of the fault.

mod client;
mod clients;
mod credentials;
mod machine;
mod process;
mod realtime;
mod relay;
mod site;
mod table;
mod upstream;

use std::fmt::Write as _;
use std::time::Duration;

/// The kind of operation that runs during a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Query,
    Mutation,
    Subscription,
}

/// A fault, and what clients should see.
pub struct Row {
    /// The name of its test, by which rows are sorted.
    pub name: &'static str,
    pub id: &'static str,
    pub fault: &'static str,
    /// For a query, a mutation and a subscription. A text that begins with `–` is the reason why there is
    /// nothing to see.
    pub expected: [&'static str; 3],
    /// The time in which each kind must be served again.
    pub back: Duration,
}

/// What clients saw of a fault.
#[derive(Debug)]
pub struct Seen {
    pub cells: [Cell; 3],
    /// How long a query and an event of another route took during the fault, or what they failed with.
    /// `None` if the fault is one of the whole process.
    pub neighbour: Option<Result<Duration, String>>,
}

/// What the client of one operation saw.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub outcome: String,
    /// The name under which the emulator counts the mutation.
    pub mutation: Option<String>,
    /// How often it was executed.
    pub executed: Option<u64>,
    /// The time from the fault's end until an operation was served.
    pub back: Option<Duration>,
}

/// The time in which most faults are over.
const SOON: Duration = Duration::from_secs(2);
/// The time in which new credentials are used.
const CREDENTIALS: Duration = Duration::from_secs(5);
/// The time in which hundreds of clients are back: most of it goes to their own handshakes.
const STORM: Duration = Duration::from_secs(15);
/// The time in which another route's query and event must arrive.
const UNDISTURBED: Duration = Duration::from_secs(2);

// === impl Kind ===

impl Kind {
    pub const ALL: [Self; 3] = [Self::Query, Self::Mutation, Self::Subscription];
}

// === impl Cell ===

impl Cell {
    pub fn new(outcome: impl Into<String>) -> Self {
        Self {
            outcome: outcome.into(),
            ..Self::default()
        }
    }

    /// Returns what the table shows.
    fn text(&self) -> String {
        let mut text = self.outcome.clone();
        if let Some(executed) = self.executed {
            write!(text, "; executed {executed}×").unwrap();
        }
        if let Some(back) = self.back {
            write!(text, "; back in {} ms", back.as_millis()).unwrap();
        }
        text
    }

    /// Returns what is wrong with the cell.
    fn faults(&self, expected: &str, back: Duration) -> Vec<String> {
        let mut faults = Vec::new();
        if self.outcome != expected && !(expected.starts_with('–') && self.outcome.is_empty()) {
            faults.push(format!("expected {expected:?}"));
        }
        let allowed = match self.outcome.as_str() {
            "served" => 1..=1,
            outcome if outcome.ends_with("sent no") => 0..=0,
            outcome if outcome.ends_with("sent yes") => 1..=1,
            _ => 0..=1,
        };
        if let Some(executed) = self.executed.filter(|executed| !allowed.contains(executed)) {
            faults.push(format!("executed {executed} times"));
        }
        if let Some(late) = self.back.filter(|late| *late > back) {
            faults.push(format!(
                "served again after {late:.1?}, not within {back:?}"
            ));
        }
        faults
    }
}

// === impl Seen ===

impl Seen {
    /// What clients saw of a fault of the whole process.
    pub fn of_process(outcomes: [impl Into<String>; 3]) -> Self {
        Self {
            cells: outcomes.map(Cell::new),
            neighbour: None,
        }
    }
}

// === impl Row ===

impl Row {
    /// Compares, and prints the row: to standard output, and to a file of the directory FAULT_TABLE.
    fn check(&self, seen: &Seen) {
        let mut faults = Vec::new();
        let mut line = format!("| {} | {} |", self.id, self.fault);
        for ((kind, cell), expected) in Kind::ALL.iter().zip(&seen.cells).zip(self.expected) {
            let found = cell.faults(expected, self.back);
            faults.extend(found.iter().map(|fault| format!("{kind:?}: {fault}")));
            write!(line, " {expected} | {} |", cell.text()).unwrap();
        }
        let neighbour = match &seen.neighbour {
            Some(Ok(took)) => {
                if *took > UNDISTURBED {
                    faults.push(format!("another route was disturbed for {took:?}"));
                }
                format!("{} ms", took.as_millis())
            }
            Some(Err(outcome)) => {
                faults.push(format!("another route was disturbed: {outcome}"));
                outcome.clone()
            }
            None => "–".to_owned(),
        };
        let verdict = match faults.is_empty() {
            true => "ok".to_owned(),
            false => faults.join("; "),
        };
        write!(line, " {neighbour} | {verdict} |").unwrap();
        println!("{line}");
        if let Ok(directory) = std::env::var("FAULT_TABLE") {
            let path = std::path::Path::new(&directory).join(self.name);
            std::fs::write(path, format!("{line}\n")).unwrap();
        }
        assert!(faults.is_empty(), "{line}");
    }
}
