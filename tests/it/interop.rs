//! Other people's clients against countersign: every client with every feature that it has.
//!
//! The rows, and the reasons for cells that a client cannot have, are in
//! tests/clients/matrix/rows.json; each row's script prints its cells. docs/clients/compatibility.md shows
//! the table:
//! `REGENERATE=1 cargo nextest run --test it interop::` writes it.

mod rust_client;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use tokio::process::Command;

use crate::support::{Daemon, Running, World};

const COLUMNS: [(&str, &str); 7] = [
    ("query", "query"),
    ("mutation", "mutation"),
    ("subscription", "subscription with variables"),
    ("error", "server error"),
    ("stop", "stop"),
    ("reconnect", "reconnect"),
    ("many", "200 at once"),
];

/// The timeout of one row.
const ROW: Duration = Duration::from_secs(200);
/// How many rows run concurrently.
const AT_ONCE: usize = 3;

/// A line of rows.json.
#[derive(Deserialize)]
struct Row {
    row: String,
    title: String,
    /// An interpreter and its script.
    command: Vec<String>,
    needs_tls: bool,
    /// The reasons for columns that the client cannot have.
    na: BTreeMap<String, String>,
}

/// The result of a column: how long it took, or what went wrong.
#[derive(Debug)]
struct Cell {
    row: String,
    column: String,
    outcome: Result<String, String>,
}

/// A daemon with a local CA and its own emulator.
async fn start() -> Running<Daemon> {
    World::builder()
        .arguments(&["--tls-dev"])
        .variables(&[("XDG_STATE_HOME", "$DIR")])
        .daemon()
        .await
}

fn local_ca(world: &World) -> PathBuf {
    world.path("countersign/ca.pem")
}

#[tokio::test]
async fn every_client_passes_its_row_of_the_matrix() {
    let rows: Vec<Row> = serde_json::from_str(&read("tests/clients/matrix/rows.json")).unwrap();
    let cells: Vec<Vec<Cell>> = stream::iter(&rows)
        .map(run)
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut cells: Vec<Cell> = cells.into_iter().flatten().collect();
    let world = start().await;
    cells.extend(rust_client::cells(world.addr, &world.emulator).await);

    let table = table(&rows, &cells);
    println!("{table}");
    for cell in &cells {
        println!("{} {}: {:?}", cell.row, cell.column, cell.outcome);
    }
    let failed: Vec<&Cell> = cells.iter().filter(|cell| cell.outcome.is_err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    for row in &rows {
        for (column, _) in COLUMNS {
            let count = cells
                .iter()
                .filter(|cell| cell.row == row.row && cell.column == column);
            let wanted = usize::from(!row.na.contains_key(column));
            assert_eq!(count.count(), wanted, "{} {column}", row.row);
        }
    }
    check_page(&table);
    drop(world);
}

/// Runs a row's script. A script that fails without a failed cell gets one.
async fn run(row: &Row) -> Vec<Cell> {
    let world = start().await;
    let addr = world.addr;
    let [interpreter, script, arguments @ ..] = row.command.as_slice() else {
        panic!("{}: a command has an interpreter and a script", row.row);
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients/matrix")
        .join(script);
    let interpreter = match interpreter.as_str() {
        "node" => PathBuf::from("node"),
        "python" => venv("clients-venv"),
        "sgqlc-python" => venv("sgqlc-venv"),
        other => panic!("{}: unknown interpreter {other}", row.row),
    };
    let mut command = Command::new(interpreter);
    command
        .arg(script)
        .args(arguments)
        .args(["--http", &format!("http://{addr}/graphql")])
        .args(["--ws", &format!("ws://{addr}/graphql")])
        .args(["--https", &format!("https://{addr}/graphql")])
        .args(["--control", &world.control()])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if row.needs_tls {
        command.env("NODE_EXTRA_CA_CERTS", local_ca(&world));
        command.env("SSL_CERT_FILE", local_ca(&world));
    }
    let output = tokio::time::timeout(ROW, command.output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{}: not within {ROW:?}", row.row))
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut cells: Vec<Cell> = text.lines().filter_map(cell).collect();
    let is_told = cells.iter().any(|cell| cell.outcome.is_err());
    if !output.status.success() && !is_told {
        cells.push(Cell {
            row: row.row.clone(),
            column: "script".to_owned(),
            outcome: Err(format!("{text}\n{errors}")),
        });
    }
    // AWS never rejects our signatures; it may reject a field that does not exist.
    let refusal = world.emulator.stats().last_refusal;
    let is_harmless = refusal
        .as_ref()
        .is_none_or(|text| text == "Validation error");
    assert!(is_harmless, "{}: {refusal:?}", row.row);
    drop(world);
    cells
}

/// `cell ROW COLUMN ok MILLIS` or `cell ROW COLUMN FAIL REASON`
fn cell(line: &str) -> Option<Cell> {
    let mut words = line.strip_prefix("cell ")?.splitn(4, ' ');
    let (row, column) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (verdict, rest) = (words.next()?, words.next().unwrap_or_default().to_owned());
    let outcome = if verdict == "ok" { Ok(rest) } else { Err(rest) };
    Some(Cell {
        row,
        column,
        outcome,
    })
}

fn table(rows: &[Row], cells: &[Cell]) -> String {
    let mut text = String::from("| client |");
    for (_, title) in COLUMNS {
        text.push_str(&format!(" {title} |"));
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(COLUMNS.len()));
    let mut notes: Vec<&str> = Vec::new();
    let none = BTreeMap::new();
    let listed = rows
        .iter()
        .map(|row| (row.row.as_str(), row.title.as_str(), &row.na));
    for (row, title, na) in listed.chain([(rust_client::ROW, rust_client::TITLE, &none)]) {
        text.push_str(&format!("\n| {title} |"));
        for (column, _) in COLUMNS {
            let cell = cells
                .iter()
                .find(|cell| cell.row == row && cell.column == column);
            let shown = match (na.get(column), cell.map(|cell| &cell.outcome)) {
                (Some(reason), _) => {
                    let at = notes.iter().position(|note| *note == reason.as_str());
                    let at = at.unwrap_or_else(|| {
                        notes.push(reason);
                        notes.len() - 1
                    });
                    format!("n/a ({})", at + 1)
                }
                (None, Some(Ok(_))) => "ok".to_owned(),
                (None, Some(Err(_)) | None) => "**fails**".to_owned(),
            };
            text.push_str(&format!(" {shown} |"));
        }
    }
    text.push('\n');
    for (at, note) in notes.iter().enumerate() {
        text.push_str(&format!("\n{}. {note}", at + 1));
    }
    text
}

const PAGE: &str = "docs/clients/compatibility.md";
const BEGIN: &str = "<!-- interop: begin -->\n";
const END: &str = "\n<!-- interop: end -->";

fn check_page(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = read(PAGE);
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page has no place for the table");
    let (shown, after) = rest
        .split_once(END)
        .expect("the page has no end of the table");
    if std::env::var_os("REGENERATE").is_some() {
        let text = [before, BEGIN, table, END, after].concat();
        std::fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(
        shown, table,
        "{PAGE} shows another table: see this file's head"
    );
}

fn venv(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(name)
        .join("bin/python");
    assert!(path.is_file(), "no {}: run tests/run", path.display());
    path
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
