//! Runs the README's recipes. Only the address is replaced.

mod rust;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{JSON, Scratch, World, demo_key, post, within};

const README: &str = include_str!("../../README.md");
const RUST: &str = include_str!("recipes/rust.rs");
/// The address of countersign in the README.
const ADDRESS: &str = "127.0.0.1:4100";

/// The recipes that the README must have, and whether each has a subscription.
const RECIPES: [(&str, bool); 13] = [
    ("amplify", true),
    ("apollo", true),
    ("curl", true),
    ("gql", true),
    ("graphiql", false),
    ("graphql-request", false),
    ("graphql-sse", true),
    ("graphql-ws", true),
    ("relay", true),
    ("rust", true),
    ("sgqlc", true),
    ("urql", true),
    ("websocat", true),
];

/// Returns the marked blocks of the README with their languages.
type Blocks = BTreeMap<String, (String, String)>;

fn blocks() -> Blocks {
    let parts = README.split("<!-- recipe: ").skip(1);
    let block = |part: &str| {
        let (name, rest) = part
            .split_once(" -->\n```")
            .expect("a fence after its mark");
        let (language, rest) = rest.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").expect("the fence's end");
        (name.to_owned(), (language.to_owned(), text.to_owned()))
    };
    parts.map(block).collect()
}

#[test]
fn the_readme_has_every_recipe() {
    let names: Vec<String> = blocks().into_keys().collect();
    assert_eq!(names, RECIPES.map(|(name, _)| name));
}

/// The heading names the version that the tests install.
#[test]
fn every_recipe_names_the_pinned_version() {
    let pins = [
        include_str!("../clients/package.json"),
        include_str!("../clients/requirements.txt"),
        include_str!("../clients/requirements-sgqlc.txt"),
        include_str!("../../Cargo.toml"),
        include_str!("../run"),
    ];
    for (name, _) in RECIPES.iter().filter(|(name, _)| *name != "curl") {
        let mark = format!("<!-- recipe: {name} -->");
        let (before, _) = README.split_once(&mark).unwrap();
        let (_, heading) = before.rsplit_once("<summary>").unwrap();
        let (heading, _) = heading.split_once("</summary>").unwrap();
        let words: Vec<&str> = heading.split([' ', '(', ')']).collect();
        let is_pinned = words.windows(2).any(|pair| {
            let [package, version] = pair else {
                return false;
            };
            let spellings = [
                format!("\"{package}\": \"{version}\""),
                format!("{package}=={version}\n"),
                format!("{package} = {{ version = \"={version}\""),
                format!("{package}={version}\n"),
            ];
            let is_in = |pin: &&str| spellings.iter().any(|text| pin.contains(text));
            pins.iter().any(is_in)
        });
        assert!(is_pinned, "{heading}: no such pin");
    }
}

#[test]
fn the_rust_recipe_is_the_code_that_runs() {
    let (_, text) = &blocks()["rust"];
    let from = RUST.find("    // recipe\n").unwrap() + "    // recipe\n".len();
    let to = RUST.find("    // end of the recipe").unwrap();
    let code = RUST[from..to].replace("\n    ", "\n");
    let url = format!("let url = \"ws://{ADDRESS}/graphql\";");
    assert_eq!(text.trim(), format!("{url}\n{}", code.trim()));
}

#[tokio::test]
async fn every_recipe_prints_the_documented_output() {
    let world = World::new().await;
    let World { emulator, home } = &world;
    let mut environment = demo_key();
    environment.push(("XDG_STATE_HOME", home.0.to_str().unwrap()));
    let mut daemon = world.daemon(&["--tls-dev"], &environment);
    let addr = daemon.address().await;
    let blocks = blocks();
    let ca = world.path("countersign/ca.pem");
    for (name, subscribes) in RECIPES {
        let begun = std::time::Instant::now();
        let started = emulator.stats().realtime.starts_total;
        let (print, mut printed) = unbounded_channel();
        let (language, text) = &blocks[name];
        let text = text.replace(ADDRESS, &addr.to_string());
        let mut running = match language.as_str() {
            "rust" => tokio::spawn(async move { rust::run(addr, print).await.unwrap() }),
            _ => {
                let command = command(home, name, language, &text, &ca);
                tokio::spawn(run(command, print))
            }
        };
        let all = async {
            printed_line(name, &mut printed, "Lobby").await;
            if subscribes {
                emulator
                    .wait_for(|stats| stats.realtime.starts_total > started)
                    .await;
                let query =
                    "mutation { postMessage(room: \"lobby\", body: \"hello\") { room body } }";
                let body = serde_json::json!({ "query": query }).to_string();
                post(addr, "/graphql", &[JSON], &body).await;
                printed_line(name, &mut printed, "hello").await;
            }
        };
        within(name, all).await;
        println!("{name}: {} ms", begun.elapsed().as_millis());
        if !subscribes {
            within(name, &mut running).await.unwrap();
        }
        running.abort();
    }
    assert_eq!(emulator.stats().requests.refused, 0);
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

fn command(scratch: &Scratch, name: &str, language: &str, text: &str, ca: &Path) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (interpreter, file) = match language {
        "js" => {
            // The directory in which its imports are found.
            let modules = root.join("tests/clients/node_modules/.recipes");
            std::fs::create_dir_all(&modules).unwrap();
            ("node".into(), modules.join(format!("{name}.mjs")))
        }
        "python" => {
            let venv = match name {
                "sgqlc" => "sgqlc-venv",
                _ => "clients-venv",
            };
            let python = root.join("target").join(venv).join("bin/python");
            (python, scratch.0.join(format!("{name}_recipe.py")))
        }
        "sh" => (PathBuf::from("bash"), scratch.0.join(format!("{name}.sh"))),
        other => panic!("{name}: no interpreter for {other}"),
    };
    // Node.js before 22 has no WebSocket, as the recipe for graphql-ws says.
    let preload = root.join("tests/clients/websocket.cjs");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(interpreter);
    if language == "js" {
        command.arg("--require").arg(preload);
    }
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
