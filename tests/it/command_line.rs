//! The program's version, shell completions, manual pages, and the errors of `emulate`.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::{Scratch, command, within};

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
