//! countersign under a service manager: passed sockets, notifications, and what child processes
//! inherit of them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::{fs, process};

use countersign_emulator as emulator;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::{UnixDatagram, UnixStream};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::support::{Answer, JSON, World, demo_key, post, raw_on, within};

const QUERY: &str = r#"{"query":"{ rooms { id } }"}"#;

/// A daemon that another program has executed.
struct Activated {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    log: Lines<BufReader<ChildStderr>>,
}

/// Returns the program and the arguments that lead to the emulator.
fn program(world: &World) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_countersign").to_owned();
    [vec![program], world.arguments(&[])].concat()
}

/// Starts a daemon and passes it `sockets`, in the syntax of `tests/systemd/pass.py`.
fn pass(world: &World, sockets: &[&str], environment: &[(&str, &str)]) -> Activated {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/pass.py");
    let mut command = Command::new("python3");
    command
        .arg(script)
        .args(sockets)
        .arg("--")
        .args(program(world))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("COUNTERSIGN_ADMIN", "off")
        .envs(environment.iter().copied());
    Activated::spawn(command)
}

impl Activated {
    fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, out, log }
    }

    /// Returns the port of the next socket.
    async fn port(&mut self) -> u16 {
        let line = within("a port", self.out.next_line()).await.unwrap();
        line.unwrap().parse().unwrap()
    }

    /// Reads the log up to a line with this text, and returns all lines read.
    async fn line(&mut self, text: &str) -> String {
        let mut read = String::new();
        loop {
            let line = within(text, self.log.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended without {text:?}:\n{read}"));
            read.push_str(&line);
            read.push('\n');
            if line.contains(text) {
                return read;
            }
        }
    }

    fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Returns the exit code and the rest of the log.
    async fn exited(mut self) -> (i32, String) {
        let mut log = String::new();
        let read = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                log.push_str(&line);
                log.push('\n');
            }
        };
        within("the end", read).await;
        let status = within("the end", self.child.wait()).await.unwrap();
        (status.code().unwrap(), log)
    }
}

async fn ask(path: &Path) -> Answer {
    let stream = UnixStream::connect(path).await.unwrap();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{QUERY}",
        QUERY.len()
    );
    raw_on(stream, request.as_bytes()).await
}

#[tokio::test]
async fn passed_sockets_replace_configured_ones() {
    let world = World::new().await;
    let path = world.path("passed.sock");
    let configured = world.path("configured.sock");
    let unix = format!("unix:{}", path.display());
    let listen = format!("unix:{}", configured.display());
    let mut environment = demo_key();
    environment.push(("COUNTERSIGN_LISTEN", &listen));
    environment.push(("COUNTERSIGN_SANDBOX", "true"));
    // With a memory limit the program executes itself again, and must keep the sockets.
    environment.push(("COUNTERSIGN_LIMITS__MEMORY", "64MiB"));
    let mut daemon = pass(&world, &["tcp:127.0.0.1:0", &unix], &environment);
    let port = daemon.port().await;
    let log = daemon.line(&format!("listening on {unix}")).await;
    assert!(
        log.contains(&format!("listening on http://127.0.0.1:{port}")),
        "{log}"
    );
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(post(addr, "/graphql", &[JSON], QUERY).await.status, 200);
    assert_eq!(ask(&path).await.status, 200);
    assert!(!configured.exists());
    daemon.terminate();
    let (code, log) = daemon.exited().await;
    assert_eq!(code, 0, "{log}");
    assert!(path.exists(), "its file is not ours to remove");
}

#[tokio::test]
async fn socket_activation_starts_countersign_for_the_first_client() {
    let world = World::new().await;
    let path = world.path("activated.sock");
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", path.to_str().unwrap()]);
    command.args(["--setenv", "AWS_EC2_METADATA_DISABLED=true"]);
    command.args(["--setenv", "COUNTERSIGN_ADMIN=off"]);
    for (name, value) in demo_key() {
        command.args(["--setenv", &format!("{name}={value}")]);
    }
    let mut daemon = Activated::spawn({
        command.args(program(&world));
        command
    });
    daemon.line("Listening on").await;
    // Before the daemon is started.
    assert_eq!(ask(&path).await.status, 200);
    daemon
        .line(&format!("listening on unix:{}", path.display()))
        .await;
    assert_eq!(ask(&path).await.status, 200);
    daemon.terminate();
    assert_eq!(daemon.exited().await.0, 0);
    assert!(path.exists());
}

#[tokio::test]
async fn systemd_is_notified_of_start_stop_and_watchdog() {
    let world = World::new().await;
    let path = world.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut environment = demo_key();
    environment.push(("NOTIFY_SOCKET", path.to_str().unwrap()));
    environment.push(("WATCHDOG_USEC", "100000"));
    let mut daemon = pass(&world, &["tcp:127.0.0.1:0"], &environment);
    let port = daemon.port().await;
    let next = async || {
        let mut message = [0; 1_024];
        let length = within("a message", manager.recv(&mut message)).await;
        String::from_utf8(message[..length.unwrap()].to_vec()).unwrap()
    };
    let ready = "READY=1\nSTATUS=listening; waiting for AWS credentials\n";
    assert_eq!(next().await, ready);
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(post(addr, "/graphql", &[JSON], QUERY).await.status, 200);
    let (mut alive, mut statuses) = (0, 0);
    while alive < 3 || statuses < 1 {
        match next().await.as_str() {
            "WATCHDOG=1\n" => alive += 1,
            "STATUS=listening, with AWS credentials\n" => statuses += 1,
            other => panic!("{other}"),
        }
    }
    daemon.terminate();
    loop {
        match next().await.as_str() {
            "WATCHDOG=1\n" => {}
            other => break assert_eq!(other, "STOPPING=1\nSTATUS=draining\n"),
        }
    }
    let (code, log) = daemon.exited().await;
    assert_eq!(code, 0, "{log}");
}

#[tokio::test]
async fn without_a_watchdog_only_start_and_stop_are_notified() {
    let world = World::new().await;
    let path = world.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let sockets = ["tcp:127.0.0.1:0", "admin=tcp:127.0.0.1:0"];
    let mut daemon = pass(&world, &sockets, &environment);
    let (port, admin) = (daemon.port().await, daemon.port().await);
    let log = daemon.line("listening on").await;
    for line in [
        format!("health and metrics on http://127.0.0.1:{admin}"),
        format!("listening on http://127.0.0.1:{port}"),
    ] {
        assert!(log.contains(&line), "{log}");
    }
    // The stop comes from the admin listener, not from a signal.
    let addr = SocketAddr::from(([127, 0, 0, 1], admin));
    assert_eq!(post(addr, "/quitquitquit", &[], "").await.status, 200);
    assert_eq!(daemon.exited().await.0, 0);
    let mut told = String::new();
    let mut message = [0; 1_024];
    while let Ok(length) = manager.try_recv(&mut message) {
        told.push_str(std::str::from_utf8(&message[..length]).unwrap());
    }
    let told: Vec<&str> = told.lines().collect();
    let states = told.iter().filter(|line| !line.starts_with("STATUS="));
    assert_eq!(Vec::from_iter(states), [&"READY=1", &"STOPPING=1"]);
    // The credentials may be loaded before the start is notified, or after.
    let mut statuses = told.iter().filter(|line| line.starts_with("STATUS="));
    assert_eq!(statuses.next_back(), Some(&"STATUS=draining"));
    let rest: Vec<_> = statuses.collect();
    let (without, with) = (
        &"STATUS=listening; waiting for AWS credentials",
        &"STATUS=listening, with AWS credentials",
    );
    assert!(
        [vec![with], vec![without], vec![without, with]].contains(&rest),
        "{told:?}"
    );
}

#[tokio::test]
async fn no_child_process_inherits_the_sockets() {
    let world = World::new().await;
    let seen = world.path("seen");
    let keys = json!({
        "Version": 1,
        "AccessKeyId": emulator::DEMO_ACCESS_KEY_ID,
        "SecretAccessKey": emulator::DEMO_SECRET_ACCESS_KEY,
        "SessionToken": emulator::DEMO_SESSION_TOKEN,
    });
    let script = format!(
        "{{ env; ls -l /proc/$$/fd; }} > {0}.new && mv {0}.new {0}\necho '{keys}'\n",
        seen.display()
    );
    let script = world.home.file("process.sh", &script);
    fs::create_dir(world.path(".aws")).unwrap();
    world.home.file(
        ".aws/config",
        &format!("[default]\ncredential_process = /bin/sh {script}\n"),
    );
    let home = world.home.0.display().to_string();
    let path = world.path("passed.sock");
    let unix = format!("unix:{}", path.display());
    let mut daemon = pass(&world, &["tcp:127.0.0.1:0", &unix], &[("HOME", &home)]);
    let port = daemon.port().await;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(post(addr, "/graphql", &[JSON], QUERY).await.status, 200);
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.contains(&format!("HOME={home}")), "{seen}");
    for name in ["LISTEN_FDS=", "LISTEN_PID="] {
        assert!(!seen.contains(name), "{seen}");
    }
    assert!(!seen.contains("socket:"), "{seen}");
    daemon.terminate();
    assert_eq!(daemon.exited().await.0, 0);
}

#[tokio::test]
async fn a_passed_socket_follows_the_rules_of_a_configured_one() {
    let world = World::new().await;
    let daemon = pass(&world, &["tcp:0.0.0.0:0"], &demo_key());
    let (code, log) = daemon.exited().await;
    assert_eq!(code, 2, "{log}");
    assert!(
        log.contains("LISTEN_FDS: 0.0.0.0:") && log.contains("is not a loopback address"),
        "{log}"
    );

    let mut environment = demo_key();
    environment.push(("COUNTERSIGN_GUARD__NON_LOOPBACK", "open"));
    let mut daemon = pass(&world, &["tcp:0.0.0.0:0"], &environment);
    daemon
        .line("is open: every client that can reach it acts")
        .await;

    for (socket, message) in [
        (
            format!("abstract:countersign-{}", process::id()),
            "it is an abstract unix socket, which has no mode",
        ),
        (
            format!("datagram:{}", world.path("datagram").display()),
            "it is neither a TCP nor a unix stream socket",
        ),
        ("silent:127.0.0.1:0".to_owned(), "it does not listen"),
    ] {
        let daemon = pass(&world, &[&socket], &demo_key());
        let (code, log) = daemon.exited().await;
        assert_eq!(code, 3, "{socket}: {log}");
        let begin = "cannot listen on socket 0 of those passed in LISTEN_FDS: ";
        assert!(log.contains(&format!("{begin}{message}")), "{log}");
    }
}

#[tokio::test]
async fn a_passed_unix_socket_follows_the_rules_of_a_configured_one() {
    let world = World::new().await;
    let own = fs::metadata("/proc/self").unwrap();
    let own = std::os::unix::fs::MetadataExt::uid(&own);
    let path = world.path("open.sock");
    let unix = format!("unix:{}", path.display());
    let mut daemon = pass(&world, &[&unix], &demo_key());
    let log = daemon.line("listening on").await;
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    let is_open = mode & 0o007 != 0;
    assert_eq!(log.contains("is open to every user"), is_open, "{log}");
    assert!(is_open, "with this umask nothing is shown: {mode:o}");
    drop(daemon);

    let path = world.path("peers.sock");
    let unix = format!("unix:{}", path.display());
    let mut environment = demo_key();
    environment.push(("COUNTERSIGN_GUARD__PEER_UIDS", "12345"));
    let mut daemon = pass(&world, &[&unix], &environment);
    let log = daemon.line("listening on").await;
    assert!(!log.contains("is open to every user"), "{log}");
    // The test's user owns the socket. Other users are not tested here.
    assert_eq!(ask(&path).await.status, 200);
    if own == 0 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(&world.home.0, fs::Permissions::from_mode(0o755)).unwrap();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "10", "--unix-socket"]);
        curl.arg(&path)
            .args(["-d", QUERY, "http://localhost/graphql"]);
        let output = within("curl", curl.uid(65_534).output()).await.unwrap();
        assert!(!output.status.success(), "{output:?}");
        daemon.line("allow the user with guard.peer_uids").await;
    }
}
