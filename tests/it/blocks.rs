//! Every block of code on every page is run, or parsed by what reads it; a block of another kind fails.
//!
//! A block's language is that of its fence. The comment before a fence can give it a mark:
//! `<!-- recipe: NAME -->` (run by `recipes`), `<!-- file: NAME -->` (written by `troubleshooting`),
//! `<!-- run -->` (run here, in front of the demo), `<!-- run: stream -->` (the same, for a command that
//! does not end: it must print something after the other commands of its page have run).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rcgen::{CertificateParams, KeyPair};
use yaml_rust2::YamlLoader;

use crate::support::{Scratch, demo_key};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
const SUBCOMMANDS: [&str; 13] = [
    "serve",
    "demo",
    "emulate",
    "explain",
    "policy",
    "check",
    "schema",
    "presign",
    "config",
    "wait",
    "shutdown",
    "completions",
    "man",
];

/// How a block is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Run by this file, `recipes`, `troubleshooting` or `demo`.
    Run,
    /// Shell commands: the syntax, the options of countersign, and the files of this project that they name.
    Commands,
    /// The settings of countersign.
    Settings,
    Yaml,
    Json,
    /// The syntax of JavaScript.
    Script,
    /// The syntax of Go, of a part of a program; its page is marked † in the list of clients.
    Go,
    /// A part of a program whose toolchain the tests do not have; its page is marked † in the list of clients.
    Excerpt,
    /// Not read by a program: output, a picture, a difference.
    Text,
    /// Of a generated page, whose generator has its own tests.
    Generated,
}

struct Block {
    /// The path of its page in the project, and the line of its first line.
    page: String,
    line: usize,
    /// Empty for an indented block.
    language: String,
    mark: String,
    text: String,
}

// === the pages ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the pages of the project and their texts.
fn pages() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    for folder in ["docs", "deploy", "docker"] {
        below(&root().join(folder), &mut files);
    }
    let top = fs::read_dir(root()).unwrap();
    files.extend(top.map(|entry| entry.unwrap().path()));
    let pages = files.into_iter().filter(|path| is_page(path));
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, fs::read_to_string(&path).unwrap())
    };
    pages.map(read).collect()
}

fn below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            found.push(path);
        } else if !path.ends_with("node_modules") {
            below(&path, found);
        }
    }
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// Returns the blocks of a page, and the text between them.
fn parse(page: &str, text: &str) -> (Vec<Block>, String) {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut prose, mut mark) = (String::new(), String::new());
    let mut lines = text.lines().enumerate().peekable();
    let mut is_after_blank = true;
    while let Some((index, line)) = lines.next() {
        let block = |language: &str, mark: &str, text| Block {
            page: page.to_owned(),
            line: index + 1,
            language: language.to_owned(),
            mark: mark.to_owned(),
            text,
        };
        let indent = line.len() - line.trim_start().len();
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let inner = lines.by_ref().map(|(_, line)| line);
            let inner = inner.take_while(|line| line.trim_start() != "```");
            let inner: Vec<&str> = inner.map(|line| line.get(indent..).unwrap_or("")).collect();
            blocks.push(block(language, &mark, inner.join("\n")));
        } else if indent >= 4 && is_after_blank {
            let mut inner = vec![&line[4..]];
            let is_part = |line: &str| line.starts_with("    ") || line.is_empty();
            while let Some((_, line)) = lines.next_if(|(_, line)| is_part(line)) {
                inner.push(line.get(4..).unwrap_or(""));
            }
            blocks.push(block("", "", inner.join("\n")));
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
        let comment = line.strip_prefix("<!-- ");
        let comment = comment.and_then(|line| line.strip_suffix(" -->"));
        mark = comment.unwrap_or("").to_owned();
        is_after_blank = line.trim().is_empty();
    }
    (blocks, prose)
}

fn all_blocks() -> Vec<Block> {
    let pages = pages();
    let blocks = pages.iter().flat_map(|(page, text)| parse(page, text).0);
    blocks.collect()
}

impl Block {
    fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// Returns how the block is verified.
    fn kind(&self, pages: &BTreeMap<String, String>) -> Result<Kind, &'static str> {
        let is_generated = pages[&self.page].starts_with("<!-- Generated");
        let (mark, _) = self.mark.split_once(": ").unwrap_or((&self.mark, ""));
        let has_test = match mark {
            "recipe" => self.page.starts_with("docs/clients/"),
            "file" => self.page == "docs/troubleshooting.md",
            "run" => self.language == "sh",
            _ => false,
        };
        if has_test {
            return Ok(Kind::Run);
        }
        match self.language.as_str() {
            "" if is_generated => Ok(Kind::Generated),
            "" if self.page.starts_with("docs/") || self.page == "README.md" => {
                Err("an indented block: use a fence with a language")
            }
            "" | "sh" => Ok(Kind::Commands),
            "console" if self.page == "docs/troubleshooting.md" => Ok(Kind::Run),
            "toml" => Ok(Kind::Settings),
            "yaml" => Ok(Kind::Yaml),
            "json" => Ok(Kind::Json),
            "js" => Ok(Kind::Script),
            "go" | "csharp" | "kotlin" | "swift" if !pages[&self.page].contains(" †\n") => {
                Err("a part of a program, on a page without †")
            }
            "go" => Ok(Kind::Go),
            "csharp" | "kotlin" | "swift" => Ok(Kind::Excerpt),
            "text" | "diff" => Ok(Kind::Text),
            _ => Err("no test reads blocks of this language here"),
        }
    }
}

/// Returns the blocks of one kind.
fn of_kind(wanted: Kind) -> Vec<Block> {
    let pages = pages();
    let blocks = all_blocks().into_iter();
    let blocks = blocks.filter(|block| block.kind(&pages) == Ok(wanted));
    blocks.collect()
}

#[test]
fn every_block_is_of_a_known_kind() {
    let pages = pages();
    let (mut counts, mut wrong) = (BTreeMap::new(), Vec::new());
    for block in all_blocks() {
        match block.kind(&pages) {
            Ok(kind) => *counts.entry(kind).or_insert(0) += 1,
            Err(reason) => wrong.push(format!("{}: {}: {reason}", block.place(), block.language)),
        }
    }
    let sum: usize = counts.values().sum();
    println!("{sum} blocks on {} pages: {counts:?}", pages.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(
        counts[&Kind::Run] > 80 && counts[&Kind::Commands] > 30,
        "{counts:?}"
    );
}

#[test]
fn blocks_without_a_test_are_found() {
    let text = "# A\n\n<!-- run -->\n```sh\na\n```\n\n```ruby\nb\n```\n\n    c\n    d\n\n1. e\n\n   ```yaml\n   f: 1\n   ```\n";
    let (blocks, prose) = parse("docs/a.md", text);
    let pages = BTreeMap::from([("docs/a.md".to_owned(), text.to_owned())]);
    let found: Vec<_> = blocks
        .iter()
        .map(|block| (block.text.as_str(), block.line, block.kind(&pages).ok()))
        .collect();
    let expected = [
        ("a", 4, Some(Kind::Run)),
        ("b", 8, None),
        ("c\nd\n", 12, None),
        ("f: 1", 17, Some(Kind::Yaml)),
    ];
    assert_eq!(found, expected);
    assert!(prose.contains("1. e") && !prose.contains('f'), "{prose}");
}

// === commands ===

/// Returns the simple commands of a script, as words, without redirections.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let mut command = Vec::new();
        let mut words = shlex::split(line).unwrap_or_default().into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "|" | "&&" | "||" | ";" | "&" => commands.push(std::mem::take(&mut command)),
                "<" | ">" => _ = words.next(),
                "…" => {}
                _ => command.push(word),
            }
        }
        commands.push(command);
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// The names and values of environment variables.
type Variables = Vec<(String, String)>;

/// Returns the arguments of countersign in a command, and the variables before it.
fn arguments(command: &[String]) -> Option<(Vec<String>, Variables)> {
    let is_variable = |word: &&String| !word.starts_with('-') && word.contains('=');
    let variables = command.iter().take_while(is_variable);
    let variables: Variables = variables
        .map(|word| word.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let command = &command[variables.len()..];
    let is_program =
        |word: &String| Path::new(word).ends_with("countersign") && !word.contains(':');
    let program = match command {
        [docker, run, ..] if docker == "docker" && (run == "run" || run == "exec") => {
            command.iter().rposition(is_program)?
        }
        [npx, ..] if npx == "npx" => 1,
        [pipx, run, ..] if pipx == "pipx" && run == "run" => 2,
        [first, ..] if is_program(first) => 0,
        _ => return None,
    };
    Some((command[program + 1..].to_vec(), variables))
}

/// Runs countersign where the files of the pages are.
fn countersign(arguments: &[String], variables: &[(String, String)], directory: &Path) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .env_clear()
        .env("HOME", directory)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .output()
        .unwrap()
}

/// Creates the files that commands and settings of the pages read.
fn files() -> Scratch {
    let scratch = Scratch::new("blocks");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    let target =
        "[route.graphql]\ntarget = \"https://ID.appsync-api.eu-central-1.amazonaws.com/graphql\"\n";
    fs::create_dir_all(scratch.0.join("src")).unwrap();
    for (name, text) in [
        ("token", "0123456789abcdef0123456789abcdef\n"),
        ("cert.pem", &certificate),
        ("key.pem", &key.serialize_pem()),
        ("countersign.toml", target),
        ("src/app.graphql", "query Rooms { rooms { id } }\n"),
        (
            "error.json",
            "{\"message\": \"The security token included in the request is expired\"}\n",
        ),
    ] {
        scratch.file(name, text);
    }
    for name in ["token", "key.pem"] {
        fs::set_permissions(scratch.0.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    scratch
}

/// Returns what countersign does not accept in a command.
fn rejected(command: &[String], directory: &Path) -> Option<String> {
    let (arguments, variables) = arguments(command)?;
    let mut help = arguments.clone();
    help.push("--help".to_owned());
    let mut outputs = vec![countersign(&help, &variables, directory)];
    let is_serve = arguments
        .first()
        .is_some_and(|first| !SUBCOMMANDS.contains(&first.as_str()));
    let is_question = |word: &String| word == "--help" || word == "--version";
    if is_serve && !arguments.iter().any(is_question) {
        let mut config = arguments;
        config.insert(0, "config".to_owned());
        outputs.push(countersign(&config, &variables, directory));
    }
    let failed = outputs.into_iter().find(|output| !output.status.success());
    failed.map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_command_is_understood() {
    let scratch = files();
    let (mut wrong, mut own, mut all) = (Vec::new(), 0, 0);
    let mut blocks = of_kind(Kind::Commands);
    blocks.extend(of_kind(Kind::Run));
    for block in blocks
        .iter()
        .filter(|block| ["", "sh"].contains(&block.language.as_str()))
    {
        let syntax = Command::new("bash")
            .args(["-n", "-c", &block.text])
            .output()
            .unwrap();
        if !syntax.status.success() {
            wrong.push(format!(
                "{}: {}",
                block.place(),
                String::from_utf8_lossy(&syntax.stderr)
            ));
        }
        for command in commands(&block.text) {
            all += 1;
            own += usize::from(arguments(&command).is_some());
            if let Some(reason) = rejected(&command, &scratch.0) {
                wrong.push(format!(
                    "{}: {}: {reason}",
                    block.place(),
                    command.join(" ")
                ));
            }
            for word in &command {
                let folders = [".ci/", "config/", "deploy/", "docker/", "docs/", "tests/"];
                let is_ours = folders.iter().any(|folder| word.starts_with(folder));
                let path = word.split(['{', '*', ':']).next().unwrap();
                if is_ours && path.len() == word.len() && !root().join(path).exists() {
                    wrong.push(format!("{}: {path} does not exist", block.place()));
                }
            }
        }
    }
    println!(
        "{own} commands of countersign among {all} in {} blocks",
        blocks.len()
    );
    assert!(own > 40 && all > 80, "{own} of {all}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_command_in_a_sentence_is_understood() {
    let scratch = files();
    let mut found = BTreeSet::new();
    for (page, text) in &pages() {
        // History, which is not edited.
        if page == "CHANGELOG.md" {
            continue;
        }
        let prose = parse(page, text).1.replace('\n', " ");
        for code in prose.split('`').skip(1).step_by(2) {
            if code.starts_with("countersign ") {
                found.insert((code.to_owned(), page.clone()));
            }
        }
    }
    let mut wrong = Vec::new();
    for (code, page) in &found {
        for command in commands(code) {
            let (arguments, variables) = arguments(&command).unwrap_or_default();
            let mut help = arguments;
            help.push("--help".to_owned());
            let output = countersign(&help, &variables, &scratch.0);
            if !output.status.success() {
                let reason = String::from_utf8_lossy(&output.stderr);
                wrong.push(format!("{page}: {code}: {reason}"));
            }
        }
    }
    println!("{} commands in sentences", found.len());
    assert!(found.len() > 30, "{}", found.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn commands_with_unknown_options_are_found() {
    let scratch = files();
    let url = "https://ID.appsync-api.eu-central-1.amazonaws.com/graphql";
    for (line, is_wrong) in [
        (format!("countersign --prt 1 {url}"), true),
        (format!("A=b countersign check --jsn {url} | cat"), true),
        (
            "docker run -d --name countersign countersign dmo --x".to_owned(),
            true,
        ),
        (
            "countersign --port 99999 https://a.example".to_owned(),
            true,
        ),
        (format!("countersign --port 0 {url}"), false),
        ("curl --prt 1".to_owned(), false),
        (
            "docker run -d --name countersign countersign demo".to_owned(),
            false,
        ),
    ] {
        let all = commands(&line);
        let reason = all.iter().find_map(|command| rejected(command, &scratch.0));
        assert_eq!(reason.is_some(), is_wrong, "{line}: {reason:?}");
    }
}

// === configuration and scripts ===

#[test]
fn every_configuration_is_valid() {
    let scratch = files();
    let target = fs::read_to_string(scratch.0.join("countersign.toml")).unwrap();
    let settings = of_kind(Kind::Settings);
    assert!(settings.len() >= 3, "{}", settings.len());
    for block in settings {
        let text = if block.text.contains("target = ") {
            block.text.clone()
        } else {
            format!("{target}\n{}", block.text)
        };
        let file = scratch.file("page.toml", &text);
        let arguments = ["config".to_owned(), "--config".to_owned(), file];
        let output = countersign(&arguments, &[], &scratch.0);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", block.place());
    }
    for block in of_kind(Kind::Yaml) {
        let parsed = YamlLoader::load_from_str(&block.text);
        assert!(parsed.is_ok_and(|all| all.len() == 1), "{}", block.place());
    }
    for block in of_kind(Kind::Json) {
        let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
        assert!(parsed.is_ok(), "{}: {parsed:?}", block.place());
    }
    for block in of_kind(Kind::Script) {
        let file = scratch.file("page.mjs", &block.text);
        let output = Command::new("node")
            .args(["--check", &file])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", block.place());
    }
    for block in of_kind(Kind::Go) {
        let text = fs::File::open(scratch.file("page.go", &block.text)).unwrap();
        let output = Command::new("gofmt").arg("-e").stdin(text).output();
        let output = output.expect("no gofmt: run tests/run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", block.place());
        let formatted = String::from_utf8_lossy(&output.stdout);
        assert_eq!(formatted, block.text, "{}", block.place());
    }
}

// === commands that run ===

/// A child that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the demo, and returns the addresses of the pages, each with its own.
fn demo() -> (Running, Vec<(&'static str, String)>) {
    let child = Command::new(PROGRAM)
        .args(["demo", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("COUNTERSIGN_ADMIN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut demo = Running(child.unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let mut address = |start: &str| loop {
        let line = lines.next().expect("the banner").unwrap();
        if line.starts_with(start) {
            let (_, rest) = line.split_once("://").unwrap();
            return rest.split(['/', ' ']).next().unwrap().to_owned();
        }
    };
    let addresses = vec![
        ("127.0.0.1:4100", address("countersign demo: ")),
        ("127.0.0.1:4101", address("  health ")),
        ("127.0.0.1:4444", address("  faults ")),
    ];
    (demo, addresses)
}

/// Waits until the emulator has started so many subscriptions.
fn wait_for_subscriptions(addresses: &[(&str, String)], count: usize) {
    let (_, control) = &addresses[2];
    let url = format!("http://{control}/state");
    for _ in 0..400 {
        let output = Command::new("curl")
            .args(["-s", "--noproxy", "*", &url])
            .output();
        let state: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        if state["requests"]["subscriptions_started"] == count {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("subscription {count} has not started");
}

fn shell(text: &str, directory: &Path) -> Command {
    let path = Path::new(PROGRAM).parent().unwrap().display().to_string();
    let mut command = Command::new("timeout");
    command
        .args(["20", "bash", "-euo", "pipefail", "-c", text])
        .env_clear()
        .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()))
        .env("HOME", directory)
        .env("no_proxy", "*")
        .envs(demo_key())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn marked_commands_run_in_front_of_the_demo() {
    let mut pages: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    for block in of_kind(Kind::Run) {
        if block.mark.starts_with("run") {
            pages.entry(block.page.clone()).or_default().push(block);
        }
    }
    let mut count = 0;
    for (page, blocks) in &pages {
        let (_demo, addresses) = demo();
        let scratch = files();
        let mut streams = Vec::new();
        for block in blocks {
            let mut text = block.text.clone();
            for (written, actual) in &addresses {
                text = text.replace(written, actual);
            }
            count += 1;
            if block.mark == "run: stream" {
                let stream = Running(shell(&text, &scratch.0).spawn().unwrap());
                streams.push((block.place(), stream));
                wait_for_subscriptions(&addresses, streams.len());
                continue;
            }
            let output = shell(&text, &scratch.0).output().unwrap();
            let shown = format!("{}: {output:?}", block.place());
            assert!(output.status.success(), "{shown}");
            assert!(
                !String::from_utf8_lossy(&output.stdout).contains("\"errors\""),
                "{shown}"
            );
        }
        for (place, mut stream) in streams {
            let lines = BufReader::new(stream.0.stdout.take().unwrap()).lines();
            let mut lines = lines.map_while(Result::ok);
            assert!(
                lines.any(|line| line.contains("\"data\"")),
                "{place}: no event"
            );
        }
        println!("{page}: {} blocks run", blocks.len());
    }
    assert!(count >= 6, "only {count} blocks");
}
