//! Runs the recipes of docs/clients under their names, with the packages of their install lines. Only
//! the address is replaced.

mod rust;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{JSON, Scratch, World, demo_key, post, within};

const README: &str = include_str!("../../README.md");
const RUST: &str = include_str!("recipes/rust.rs");
/// The address of countersign in the recipes.
const ADDRESS: &str = "127.0.0.1:4100";

/// The recipes that the pages must have, and whether each has a subscription.
const RECIPES: [(&str, bool); 14] = [
    ("amplify", true),
    ("apollo", true),
    ("curl", true),
    ("gql", true),
    ("graphiql", false),
    ("graphql-request", false),
    ("graphql-sse", true),
    ("graphql-ws", true),
    ("java", true),
    ("relay", true),
    ("rust", true),
    ("sgqlc", true),
    ("urql", true),
    ("websocat", true),
];

/// The marked block of a page.
struct Recipe {
    /// The title of the page.
    title: String,
    language: String,
    text: String,
    /// The name of its file; empty for commands.
    file: String,
    /// The commands that install what it needs; none for curl.
    install: Vec<String>,
}

fn recipes() -> BTreeMap<String, Recipe> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients");
    let pages = std::fs::read_dir(pages).unwrap().filter_map(|page| {
        let page = std::fs::read_to_string(page.unwrap().path()).unwrap();
        let (before, after) = page.split_once("<!-- recipe: ")?;
        let (name, rest) = after
            .split_once(" -->\n```")
            .expect("a fence after its mark");
        assert!(!rest.contains("<!-- recipe: "), "{name}: a second recipe");
        let (language, rest) = rest.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").expect("the fence's end");
        let (title, _) = before.split_once('\n').unwrap();
        let (_, line) = before.trim().rsplit_once("\n\n").unwrap();
        let line = line.replace('\n', " ");
        let (before, after) = line.split_once(", after ").unwrap_or((&line, ""));
        let install = after.split('`').skip(1).step_by(2);
        let recipe = Recipe {
            title: title.to_owned(),
            language: language.to_owned(),
            text: text.to_owned(),
            file: before
                .strip_prefix('`')
                .map_or("", |file| file.trim_end_matches('`'))
                .to_owned(),
            install: install.map(str::to_owned).collect(),
        };
        Some((name.to_owned(), recipe))
    });
    pages.collect()
}

impl Recipe {
    /// Returns the packages of its install line with their versions, if they have one.
    fn packages(&self) -> Vec<(&str, &str)> {
        let packages = self.install.iter().flat_map(|command| {
            let (command, _) = command.split_once(" --features ").unwrap_or((command, ""));
            let words = command.split_whitespace().skip(2);
            words.filter(|word| !word.starts_with('-'))
        });
        let package = packages.map(|word| {
            let word = word.trim_matches('\'');
            // A scope begins with `@`.
            match word.rfind(['@', '=']).filter(|at| *at > 0) {
                Some(at) => (word[..at].trim_end_matches('='), &word[at + 1..]),
                None => (word, ""),
            }
        });
        package.collect()
    }
}

#[test]
fn the_pages_have_every_recipe() {
    let names: Vec<String> = recipes().into_keys().collect();
    assert_eq!(names, RECIPES.map(|(name, _)| name));
}

/// The heading and the install line name the versions that the tests install.
#[test]
fn every_recipe_names_its_file_and_the_pinned_versions() {
    let pins = [
        include_str!("../clients/package.json"),
        include_str!("../clients/requirements.txt"),
        include_str!("../clients/requirements-sgqlc.txt"),
        include_str!("../../Cargo.toml"),
        include_str!("../run"),
    ];
    let is_pinned = |package: &str, version: &str| {
        let spellings = [
            format!("\"{package}\": \"{version}\""),
            format!("{package}=={version}\n"),
            format!("{package} = {{ version = \"={version}\""),
            format!("package = \"{package}\", version = \"{version}\""),
            format!("{package}={version}\n"),
        ];
        let is_in = |pin: &&str| spellings.iter().any(|text| pin.contains(text));
        pins.iter().any(is_in)
    };
    let mut recipes = recipes();
    // They need no package.
    recipes.retain(|name, _| !["curl", "java"].contains(&name.as_str()));
    for (name, recipe) in &recipes {
        let words: Vec<&str> = recipe.title.split([' ', '(', ')']).collect();
        let has_pin = words.windows(2).any(|pair| is_pinned(pair[0], pair[1]));
        assert!(has_pin, "{}: no such pin", recipe.title);

        let packages = recipe.packages();
        assert!(!packages.is_empty(), "{name} does not say what to install");
        for (package, version) in packages {
            let (package, extras) = package.split_once('[').unwrap_or((package, ""));
            // What Cargo adds without a version may be any compatible one.
            let is_free = version.is_empty() && recipe.language == "rust";
            assert!(
                is_free || is_pinned(package, version),
                "{name}: {package} {version}"
            );
            let extras = extras.trim_end_matches(']').split(',');
            for extra in extras.filter(|extra| !extra.is_empty()) {
                let package = if extra == "websocket" {
                    "websocket-client"
                } else {
                    extra
                };
                let pinned = format!("\n{package}==");
                assert!(
                    pins.iter().any(|pin| pin.contains(&pinned)),
                    "{name}: {extra}"
                );
            }
        }
        let ending = match recipe.language.as_str() {
            "js" => ".mjs",
            "python" => ".py",
            "rust" => "src/main.rs",
            _ => "",
        };
        assert!(recipe.file.ends_with(ending), "{name}: {}", recipe.file);
        assert_eq!(recipe.file.is_empty(), ending.is_empty(), "{name}");
    }
}

#[test]
fn the_rust_recipe_is_the_code_that_runs() {
    let between = |from: &str, to: &str| {
        let (_, text) = RUST.split_once(from).unwrap();
        text.split_once(to).unwrap().0
    };
    let head = between("// head of the recipe\n", "// end of the head");
    let head = head.replace("tokio_tungstenite_0_28", "tokio_tungstenite");
    let body = between("    // recipe\n", "    // end of the recipe");
    let expected = format!(
        "{head}\n#[tokio::main]\nasync fn main() -> Result<(), Box<dyn std::error::Error>> {{\n    \
         let url = \"ws://{ADDRESS}/graphql\";\n{body}    Ok(())\n}}"
    );
    assert_eq!(recipes()["rust"].text, expected);
}

#[tokio::test]
async fn every_recipe_prints_the_documented_output() {
    let world = World::new().await;
    let World { emulator, home } = &world;
    let mut environment = demo_key();
    environment.push(("XDG_STATE_HOME", home.0.to_str().unwrap()));
    let mut daemon = world.daemon(&["--tls-dev"], &environment);
    let addr = daemon.address().await;
    let recipes = recipes();
    let nodes = nodes();
    let ca = world.path("countersign/ca.pem");
    let mutation = demo_mutation();
    for (name, subscribes) in RECIPES {
        let recipe = &recipes[name];
        let interpreters = match recipe.language.as_str() {
            "js" => nodes.clone(),
            "python" => vec![python(name)],
            "java" => vec![PathBuf::from("java")],
            "sh" => vec![PathBuf::from("bash")],
            "rust" => vec![PathBuf::new()],
            other => panic!("{name}: no interpreter for {other}"),
        };
        for interpreter in interpreters {
            let begun = std::time::Instant::now();
            let started = emulator.stats().realtime.starts_total;
            let (print, mut printed) = unbounded_channel();
            let mut running = if recipe.language == "rust" {
                tokio::spawn(async move { rust::run(addr, print).await.unwrap() })
            } else {
                let file = write(home, name, recipe, addr);
                tokio::spawn(run(command(&interpreter, &file, &ca), print))
            };
            let all = async {
                printed_line(name, &mut printed, "Lobby").await;
                if subscribes {
                    emulator
                        .wait_for(|stats| stats.realtime.starts_total > started)
                        .await;
                    post(addr, "/graphql", &[JSON], &mutation).await;
                    printed_line(name, &mut printed, "hello").await;
                }
            };
            within(name, all).await;
            let taken = begun.elapsed().as_millis();
            println!("{name} {}: {taken} ms", interpreter.display());
            if !subscribes {
                within(name, &mut running).await.unwrap();
            }
            running.abort();
        }
    }
    assert_eq!(emulator.stats().requests.refused, 0);
}

/// Returns the interpreters for JavaScript: that of the machine, and Node.js 22.
fn nodes() -> Vec<PathBuf> {
    let newer = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/node22/bin/node");
    assert!(newer.is_file(), "no {}: run tests/run", newer.display());
    vec![PathBuf::from("node"), newer]
}

fn python(name: &str) -> PathBuf {
    let venv = match name {
        "sgqlc" => "sgqlc-venv",
        _ => "clients-venv",
    };
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    target.join(venv).join("bin/python")
}

/// The demo's mutation, which the README names.
fn demo_mutation() -> String {
    let (_, rest) = README
        .split_once("-d '{\"query\":\"mutation")
        .expect("the demo's mutation");
    let (body, _) = rest.split_once("'\n").unwrap();
    format!("{{\"query\":\"mutation{body}")
}

/// Writes a recipe into a directory in which JavaScript finds only the packages of its install line.
fn write(scratch: &Scratch, name: &str, recipe: &Recipe, addr: SocketAddr) -> PathBuf {
    let directory = scratch.0.join(name);
    std::fs::create_dir_all(&directory).unwrap();
    if recipe.language == "js" {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = root.join("tests/clients/node_modules");
        for (package, _) in recipe.packages() {
            let link = directory.join("node_modules").join(package);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            if !link.exists() {
                std::os::unix::fs::symlink(installed.join(package), &link).unwrap();
            }
        }
    }
    let file = match recipe.file.as_str() {
        "" => directory.join("commands.sh"),
        file => directory.join(file),
    };
    let text = recipe.text.replace(ADDRESS, &addr.to_string());
    std::fs::write(&file, text).unwrap();
    file
}

/// Returns a PATH that starts with the programs of `tests/run`.
fn tools() -> String {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
    format!("{}:{}", own.display(), std::env::var("PATH").unwrap())
}

/// Reads up to a line with `wanted`, and shows the other lines.
async fn printed_line(name: &str, printed: &mut UnboundedReceiver<String>, wanted: &str) {
    loop {
        match printed.recv().await {
            Some(line) if line.contains(wanted) => return,
            Some(line) => println!("{name}: {line}"),
            None => panic!("{name} ended without {wanted}"),
        }
    }
}

fn command(interpreter: &Path, file: &Path, ca: &Path) -> Command {
    let mut command = Command::new(interpreter);
    command
        .arg(file)
        .env("no_proxy", "*")
        .env("NODE_EXTRA_CA_CERTS", ca)
        .env("PATH", tools())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command, print: UnboundedSender<String>) {
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    tokio::join!(lines(stdout, print.clone()), lines(stderr, print));
    child.wait().await.unwrap();
}

async fn lines(output: impl AsyncRead + Unpin, print: UnboundedSender<String>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if print.send(line).is_err() {
            return;
        }
    }
}
