//! The program's version, shell completions, manual pages, and the errors of `emulate`.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::{Daemon, Scratch, command, within};

const HOST: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.eu-central-1.amazonaws.com";

/// Runs the program and returns its standard output.
async fn output(arguments: &[&str]) -> String {
    let output = within("the program", command(arguments, &[]).output());
    let output = output.await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the names of the commands from `--help`.
async fn commands() -> Vec<String> {
    let help = output(&["--help"]).await;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let entries = lines.take_while(|line| line.starts_with("  "));
    let names = entries.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
    let names: Vec<String> = names.collect();
    assert!(names.contains(&"serve".to_owned()), "{help}");
    names
}

/// Runs a script in a shell with this input and returns its output.
async fn accepted(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; see tests/run"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = within(program, child.wait_with_output()).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn version_shows_revision_and_build() {
    let long = output(&["--version"]).await;
    let lines: Vec<&str> = long.lines().collect();
    let version = concat!("countersign ", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines[0], version);
    let names = lines[1..].iter().map(|line| line.split_once(": ").unwrap());
    let (names, values): (Vec<&str>, Vec<&str>) = names.unzip();
    assert_eq!(names, ["revision", "target", "rustc", "profile"]);
    assert!(values.iter().all(|value| !value.is_empty()), "{long}");
    let target = format!("{}-", std::env::consts::ARCH);
    assert!(values[1].starts_with(&target), "{long}");
    assert!(values[2].starts_with("1."), "{long}");
    assert!(["debug", "release"].contains(&values[3]), "{long}");
    assert_eq!(output(&["-V"]).await, format!("{version}\n"));
}

#[tokio::test]
async fn bash_completes_commands_and_flags() {
    let script = output(&["completions", "bash"]).await;
    accepted("bash", &["-n"], &script).await;
    let scratch = Scratch::new("completions");
    let file = scratch.file("countersign.bash", &script);
    let complete = async |words: &[&str]| {
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let ask = format!(
            "source {file}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n\
             _countersign countersign '{last}' '{before}'\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            words.join(" "),
            words.len() - 1
        );
        let found = accepted("bash", &["--norc", "--noprofile"], &ask).await;
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["countersign", "pre"]).await, ["presign"]);
    assert_eq!(
        complete(&["countersign", "--allow"]).await,
        ["--allow-host", "--allow-origin"]
    );
    assert_eq!(
        complete(&["countersign", "demo", "--cont"]).await,
        ["--control"]
    );
    let shells = complete(&["countersign", "completions", "f"]).await;
    assert_eq!(shells, ["fish"]);
    let file = scratch.file(
        "registered.bash",
        &format!("{script}\ncomplete -p countersign"),
    );
    let registered = accepted("bash", &["--norc", &file], "").await;
    assert!(registered.contains("-F _countersign"), "{registered}");
}

#[tokio::test]
async fn completions_of_every_shell_have_all_commands() {
    let commands = commands().await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = output(&["completions", shell]).await;
        let missing = commands.iter().find(|name| !script.contains(*name));
        assert_eq!(missing, None, "{shell}");
    }
    let refused = command(&["completions", "csh"], &[]).output();
    assert_eq!(within("it", refused).await.unwrap().status.code(), Some(2));
}

#[tokio::test]
async fn groff_renders_every_manual_page_without_a_warning() {
    let arguments = ["-man", "-ww", "-Tutf8", "-P-cbou"];
    let page = output(&["man"]).await;
    let text = accepted("groff", &arguments, &page).await;
    let commands = commands().await;
    for command in commands.iter().filter(|command| *command != "help") {
        assert!(
            text.contains(&format!("countersign-{command}(1)")),
            "{text}"
        );
        let page = output(&["man", command]).await;
        let text = accepted("groff", &arguments, &page).await;
        let begin = format!("countersign-{command}(1)");
        assert!(text.trim_start().starts_with(&begin), "{text}");
        assert!(text.contains("\nDESCRIPTION\n"), "{text}");
    }
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS"] {
        assert!(
            text.contains(&format!("\n{section}\n")),
            "{section}: {text}"
        );
    }
    assert!(text.contains("--allow-origin"), "{text}");

    let output = command(&["man", "nothing"], &[]).output();
    let output = within("it", output).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("unknown command \"nothing\""), "{errors}");
    assert!(errors.contains("The commands are: serve, demo"), "{errors}");
}

/// Cargo passes the variables of a build script to the programs that it runs, and they were read as
/// unknown settings.
#[tokio::test]
async fn cargo_run_ignores_variables_of_the_build() {
    let url = "https://abc.appsync-api.eu-central-1.amazonaws.com/graphql";
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["config", "--check", url])
        .stdin(Stdio::null())
        .output();
    let output = within("the program", output).await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn emulate_names_the_file_that_it_cannot_write() {
    let (any, file) = ("127.0.0.1:0", "/dev/null/ca.pem");
    let arguments = [
        "emulate",
        "--listen",
        any,
        "--control",
        any,
        "--ca-file",
        file,
    ];
    let output = within("the program", command(&arguments, &[]).output());
    let output = output.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    let expected = format!("cannot write the certificate authority to {file:?}: Not a directory");
    assert!(errors.contains(&expected), "{errors}");
    assert!(errors.contains("--ca-file"), "{errors}");
}

/// Returns the exit code and the first line of the errors.
async fn first_line(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = within("it", command(arguments, environment).output());
    let output = output.await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let line = errors.lines().next().unwrap_or_default().to_owned();
    (output.status.code(), line)
}

/// Every word was read as an API's ID.
#[tokio::test]
async fn an_unknown_command_is_rejected_with_the_nearest_ones() {
    for (words, meant) in [
        (&["doctor"][..], "countersign check URL"),
        (&["doctor", "now"], "countersign check URL"),
        (&["test", "--profile", "x"], "countersign check URL"),
        (&["lint"], "countersign config --check"),
        (&["status"], "countersign wait"),
        (&["stop"], "countersign shutdown"),
        (&["run"], "countersign serve URL"),
        (&["Start"], "countersign serve URL"),
        (&["demp"], "countersign demo"),
        (&["polcy", "query.graphql"], "countersign policy"),
        (&["version"], "countersign --version"),
        (&["8080"], "countersign --port 8080 URL"),
    ] {
        let expected = format!(
            "countersign: unknown command {:?}. Did you mean: {meant}? `countersign --help` lists the commands",
            words[0]
        );
        assert_eq!(first_line(words, &[]).await, (Some(2), expected));
    }
    let (code, line) = first_line(&["frobnicate"], &[]).await;
    let expected = "countersign: unknown command \"frobnicate\". The commands are: serve, demo, ";
    assert!(code == Some(2) && line.starts_with(expected), "{line}");
    let (_, line) = first_line(&["abcdefghijklmnopqrstuvwxyz"], &[]).await;
    assert!(line.contains("aws appsync get-graphql-api"), "{line}");
}

#[tokio::test]
async fn ports_are_given_in_short_forms() {
    for arguments in [
        ["--port", "8123"],
        ["--listen", "8123"],
        ["--listen", ":8123"],
    ] {
        let shown = output(&[&["config", HOST], &arguments[..]].concat()).await;
        assert!(
            shown.contains(&format!("listen = [\"{}\"]", arguments[1])),
            "{shown}"
        );
    }
    let (code, line) = first_line(&["--port", "1", "--listen", "2", HOST], &[]).await;
    assert!(
        code == Some(2) && line.contains("cannot be used with"),
        "{line}"
    );
    let mut daemon = Daemon::start(&["--port", "0", HOST], &[]);
    daemon.line("/graphql -> AppSync GraphQL https://").await;
    daemon.address().await;
    let mut demo = Daemon::start(&["demo", "--port", "0"], &[]);
    demo.address().await;
}

/// A second instance did not start without `--admin`.
#[tokio::test]
async fn a_second_instance_takes_the_next_free_admin_port() {
    let start = |arguments: &[&str]| {
        let mut command = command(arguments, &[]);
        Daemon::spawn(command.env_remove("COUNTERSIGN_ADMIN"))
    };
    let mut first = start(&["--port", "0", HOST]);
    let first_admin = first.admin().await;
    let mut second = start(&["demo", "--port", "0"]);
    let line = second
        .line("port 4101 is in use, so the admin listener uses ")
        .await;
    let admin = second.admin().await;
    assert_ne!(admin, first_admin);
    assert!(line.contains(&format!("--admin {admin} ")), "{line}");
}

#[tokio::test]
async fn the_file_of_the_working_directory_is_used_without_a_url() {
    let scratch = Scratch::new("working-directory");
    let text = format!("listen = [\"127.0.0.1:0\"]\n[route.mine]\ntarget = \"{HOST}\"\n");
    let file = scratch.file("countersign.toml", &text);
    let run = |arguments: &[&str]| {
        let mut command = command(arguments, &[]);
        command.current_dir(&scratch.0);
        command
    };
    let mut daemon = Daemon::spawn(&mut run(&[]));
    daemon.line("configuration file: countersign.toml").await;
    daemon.line("route mine: /graphql -> ").await;
    daemon.address().await;
    for arguments in [&["config"][..], &["config", HOST]] {
        let output = within("it", run(arguments).output()).await.unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let is_used = shown.contains("# countersign.toml:3");
        assert_eq!(is_used, arguments.len() == 1, "{shown}");
    }
    // Who can write the file decides what is signed.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&file, mode).unwrap();
    let output = within("it", run(&[]).output()).await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = "countersign: countersign.toml: other users may read or write it (mode 666). To use it anyway: --config countersign.toml\n";
    assert!(errors.starts_with(expected), "{errors}");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn help_is_grouped() {
    let help = output(&["--help"]).await;
    let headings = [
        "Commands:",
        "Options:",
        "Listening:",
        "Upstream, for the URL:",
        "Credentials, for the URL:",
        "Access:",
        "TLS:",
        "Logging:",
        "Examples:",
    ];
    let found = help
        .lines()
        .filter(|line| line.ends_with(':') && !line.starts_with(' '));
    let found: Vec<&str> = found.filter(|line| *line != "Arguments:").collect();
    assert_eq!(found, headings);
}

#[tokio::test]
async fn help_of_every_command_fits_80_columns_and_has_an_example() {
    let commands = commands().await;
    for command in commands.iter().map(String::as_str).chain([""]) {
        if command == "help" {
            continue;
        }
        let words: Vec<&str> = [command, "--help"]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
        let help = output(&words).await;
        let example = format!("countersign {command}");
        let (_, examples) = help.split_once("\nExamples:\n").unwrap();
        assert!(
            examples.lines().next().unwrap().contains(example.trim()),
            "{help}"
        );
        // A URL is not wrapped.
        let long = help
            .lines()
            .find(|line| line.len() > 80 && !line.contains("https://"));
        assert_eq!(long, None, "{command}");
    }
}

/// The client reports only a broken connection.
#[tokio::test]
async fn tls_on_a_plain_port_is_logged_with_the_flag_that_allows_it() {
    let mut daemon = Daemon::start(&["--port", "0", HOST], &[]);
    let addr = daemon.address().await;
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let line = daemon.line("the client speaks TLS").await;
    assert!(
        line.contains("WARN") && line.contains("--tls-dev"),
        "{line}"
    );
}

#[tokio::test]
async fn a_trailing_slash_is_the_same_route_and_a_404_names_the_path() {
    let mut daemon = Daemon::start(&["--port", "0", HOST], &[]);
    let addr = daemon.address().await;
    let body = "{\"query\":\"{ a }\"}";
    let answer = crate::support::post(addr, "/graphql/", &[crate::support::JSON], body).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let answer = crate::support::post(addr, "/query", &[crate::support::JSON], body).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    let message = "no route matches \\\"/query\\\". Routes: /graphql";
    assert!(answer.body.contains(message), "{answer:?}");
}
