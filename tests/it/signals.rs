//! How the built program handles signals.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::support::{Daemon, JSON, Socket, World, demo_key, get, post, within};

/// Signals that would kill by default, and that are only logged.
const IGNORED: [&str; 3] = ["HUP", "USR1", "USR2"];

#[tokio::test]
async fn unused_signals_are_logged_and_end_no_command() {
    let world = World::new().await;
    let serve = world.arguments(&["serve", "--listen", "127.0.0.1:0"]);
    let ca = world.path("ca.pem").display().to_string();
    let demo = ["demo", "--listen", "127.0.0.1:0"];
    let emulate = ["emulate", "--listen", "127.0.0.1:0", "--control"];
    let emulate = [&emulate[..], &["127.0.0.1:0", "--ca-file", &ca]].concat();
    let owned = |arguments: &[&str]| arguments.iter().map(|&text| text.to_owned()).collect();
    let commands: [Vec<String>; 3] = [serve, owned(&demo), owned(&emulate)];
    for arguments in commands {
        let mut daemon = Daemon::start(&arguments, &demo_key());
        let started = match arguments[0].as_str() {
            "emulate" => "emulator started",
            _ => "listening on",
        };
        daemon.line(started).await;
        for name in IGNORED {
            daemon.signal(&format!("-{name}"));
            daemon.line(&format!("ignored SIG{name}: ")).await;
        }
        daemon.signal("-QUIT");
        daemon.line("received SIGQUIT: stopping").await;
        assert_eq!(daemon.exited().await, 0, "{arguments:?}\n{}", daemon.log);
    }
}

#[tokio::test]
async fn stop_signals_let_running_requests_finish() {
    for name in ["TERM", "INT", "QUIT"] {
        let world = World::new().await;
        let mut daemon = world.daemon(&[], &demo_key());
        let addr = daemon.address().await;
        let mut socket = Socket::open(addr, &[]).await;
        socket.init().await;
        let hold = |is_held: bool| {
            world.switch(json!({ "gate": is_held }));
        };
        hold(true);
        let body = json!({ "query": "{ slow(ms: 1) }" }).to_string();
        let answered = async { post(addr, "/graphql", &[JSON], &body).await.status };
        let signalled = async {
            let arrived = world.emulator.wait_for(|stats| stats.requests.http > 0);
            within("the request", arrived).await;
            for ignored in IGNORED {
                daemon.signal(&format!("-{ignored}"));
                daemon.line(&format!("ignored SIG{ignored}: ")).await;
            }
            daemon.signal(&format!("-{name}"));
            daemon.line(&format!("received SIG{name}: stopping")).await;
            // They are ignored during the drain too.
            daemon.signal("-HUP");
            daemon.line("ignored SIGHUP: ").await;
            hold(false);
        };
        let (status, ()) = tokio::join!(answered, signalled);
        assert_eq!(status, 200, "{name}");
        let close = socket.closed().await;
        assert_eq!(u16::from(close.code), 1012, "{name}");
        assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    }
}

#[tokio::test]
async fn a_stop_with_open_streams_logs_no_warning() {
    let world = World::new().await;
    let mut daemon = world.daemon(&[], &demo_key());
    let addr = daemon.address().await;
    let body = json!({ "query": "subscription { onMessage { id } }" }).to_string();
    let events = [JSON, ("accept", "text/event-stream")];
    let interrupted = async { post(addr, "/graphql", &events, &body).await };
    let stopped = async {
        let started = world
            .emulator
            .wait_for(|stats| stats.realtime.subscriptions > 0);
        within("the subscription", started).await;
        daemon.signal("-INT");
        assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    };
    tokio::join!(interrupted, stopped);
    assert!(daemon.log.contains("SHUTTING_DOWN"), "{}", daemon.log);
    assert!(!daemon.log.contains("WARN"), "{}", daemon.log);
}

/// Returns whether a process catches a signal, from /proc.
fn catches(pid: &str, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask >> (signal - 1) & 1 == 1
}

#[tokio::test]
async fn a_signal_while_the_configuration_is_read_is_not_lost() {
    let world = World::new().await;
    let pipe = world.path("countersign.toml");
    let made = Command::new("mkfifo").arg(&pipe).status().await.unwrap();
    assert!(made.success());
    let write = |text: &'static str| {
        let pipe = pipe.clone();
        // `open` blocks until the daemon opens the other end.
        let written = tokio::task::spawn_blocking(move || {
            let mut file = OpenOptions::new().write(true).open(pipe).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        });
        async { within("the daemon reads", written).await.unwrap() }
    };
    let text = "listen = [\"127.0.0.1:0\"]\n[route.a]\npath = \"/graphql\"\ntarget = \
                \"https://a.appsync-api.eu-west-1.amazonaws.com/graphql\"\n";
    // The program first reads the file for the memory limit. With the variable it is not executed
    // a second time after that.
    let environment = [&demo_key()[..], &[("MALLOC_TRIM_THRESHOLD_", "131072")]].concat();
    let pipe = pipe.display().to_string();
    let mut daemon = Daemon::start(&["--config", &pipe], &environment);
    write(text).await;
    let pid = daemon.pid();
    let caught = async {
        while !catches(&pid, 15) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("a handler of SIGTERM before the second read", caught).await;
    daemon.signal("-TERM");
    write(text).await;
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
    assert!(daemon.log.contains("received SIGTERM"), "{}", daemon.log);
}

/// A script that runs countersign in a pseudo-terminal and reads commands from standard input: `hup` sends
/// SIGHUP, and `close` closes the terminal. It copies the log to standard output, and the last line is how
/// countersign exited.
const AT_A_TERMINAL: &str = r#"
import ctypes, os, pty, signal, sys, threading
log_read, log_write = os.pipe()
pid, terminal = pty.fork()
if pid == 0:
    # PR_SET_PDEATHSIG: countersign does not outlive a test that fails.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.dup2(log_write, 2)
    if sys.argv[1] == "nohup":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.execv(sys.argv[2], sys.argv[2:])
os.close(log_write)
def copy():
    for line in os.fdopen(log_read):
        print(line, end="", flush=True)
copying = threading.Thread(target=copy)
copying.start()
for line in sys.stdin:
    if line == "hup\n":
        os.kill(pid, signal.SIGHUP)
    elif line == "close\n":
        os.close(terminal)
    elif line == "term\n":
        os.kill(pid, signal.SIGTERM)
        break
_, status = os.waitpid(pid, 0)
copying.join()
print("ended", os.waitstatus_to_exitcode(status))
"#;

#[tokio::test]
async fn sighup_drains_only_when_the_terminal_is_closed() {
    let cases: [(&str, &[(&str, &str)]); 3] = [
        ("a terminal that stays", &[("hup", "ignored SIGHUP: ")]),
        (
            "a terminal that is closed",
            &[
                ("hup", "ignored SIGHUP: "),
                ("close", "the terminal was closed: stopping"),
            ],
        ),
        // As nohup does.
        ("nohup", &[("close", "ignored SIGHUP: ")]),
    ];
    for (case, steps) in cases {
        let world = World::new().await;
        let arguments = world.arguments(&["--listen", "127.0.0.1:0"]);
        let mut child = Command::new("python3")
            .args(["-c", AT_A_TERMINAL, case, env!("CARGO_BIN_EXE_countersign")])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("COUNTERSIGN_ADMIN", "off")
            .envs(demo_key())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut steering = child.stdin.take().unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        let mut expect = async |text: &str| {
            while !seen.lines().last().is_some_and(|line| line.contains(text)) {
                let line = within(text, log.next_line()).await.unwrap();
                let line = line.unwrap_or_else(|| panic!("{case}: no {text:?} in\n{seen}"));
                seen = format!("{seen}{line}\n");
            }
            seen.lines().last().unwrap().to_owned()
        };
        let line = expect("listening on http://127.").await;
        let (_, address) = line.rsplit_once("http://").unwrap();
        let address = address.trim().parse().unwrap();
        let mut is_stopped = false;
        for (step, text) in steps {
            let line = format!("{step}\n");
            steering.write_all(line.as_bytes()).await.unwrap();
            expect(text).await;
            is_stopped = text.ends_with("stopping");
            if !is_stopped {
                let answer = get(address, "/graphql?query=%7Brooms%7Bid%7D%7D", &[]).await;
                assert_eq!(answer.status, 200, "{case}");
            }
        }
        if !is_stopped {
            steering.write_all(b"term\n").await.unwrap();
        }
        drop(steering);
        expect("ended 0").await;
    }
}
