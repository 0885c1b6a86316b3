//! A log that cannot be written, and a disk that is full, end neither requests nor the process.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::support::{Daemon, JSON, World, command, demo_key, get, post, within};

/// Returns an address that is free, for daemons whose log cannot be read.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Starts the program with this device as its standard error, or with a pipe that is closed soon.
async fn with_stderr(
    world: &World,
    device: Option<&str>,
) -> (tokio::process::Child, [SocketAddr; 2]) {
    let addresses = [free().await, free().await];
    let [listen, admin] = addresses.map(|address| address.to_string());
    let stderr = match device {
        Some(path) => fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .into(),
        None => Stdio::piped(),
    };
    let arguments = world.arguments(&["--listen", &listen, "--admin", &admin]);
    let mut child = command(&arguments, &demo_key())
        .env_remove("COUNTERSIGN_ADMIN")
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    for address in addresses {
        let listening = async { while TcpStream::connect(address).await.is_err() {} };
        within("the daemon listens", listening).await;
    }
    (child, addresses)
}

#[tokio::test]
async fn log_lines_that_cannot_be_written_are_counted() {
    for device in [Some("/dev/full"), None] {
        let world = World::new().await;
        let (mut child, [addr, admin]) = with_stderr(&world, device).await;
        let body = json!({ "query": "{ rooms { id } }" }).to_string();
        for _ in 0..20 {
            let answer = post(addr, "/graphql", &[JSON], &body).await;
            assert_eq!(answer.status, 200, "{device:?}: {answer:?}");
        }
        let counted = async {
            loop {
                let page = get(admin, "/metrics", &[]).await.body;
                let mut lines = page.lines();
                let name = "countersign_log_lines_dropped_total ";
                let count = lines.find_map(|line| line.strip_prefix(name)).unwrap();
                // The lines of the start cannot be written, either.
                if count.parse::<u64>().unwrap() >= 20 {
                    break;
                }
            }
        };
        within("the lines are counted", counted).await;
        let pid = child.id().unwrap().to_string();
        let signalled = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(signalled.unwrap().success());
        let status = within("the daemon's end", child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0), "{device:?}");
    }
}

#[tokio::test]
async fn a_recording_that_met_a_full_disk_is_written_later() {
    let world = World::builder().start().await;
    let record = world.path("record.json");
    let config = world.route("graphql", "https://$API/graphql", "");
    let config = format!("{config}iam.record = {record:?}\nadmin = \"off\"\n");
    let config = world.home.file("countersign.toml", &config);
    let mut launched = Command::new("sh");
    // A file may grow to 512 or 1,024 bytes. The signal for longer ones is ignored, so that writes fail.
    let script = "trap '' XFSZ; ulimit -S -f 1; exec \"$@\"";
    launched
        .args(["-c", script, "sh"])
        .arg(env!("CARGO_BIN_EXE_countersign"))
        .args(["--listen", "127.0.0.1:0", "--config", &config])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", &world.home.0)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(demo_key())
        .stdin(Stdio::null());
    let mut daemon = Daemon::spawn(&mut launched);
    let addr = daemon.address().await;
    let fields: Vec<String> = (10..22)
        .map(|n| format!("field{n}{}", "a".repeat(100)))
        .collect();
    for field in &fields {
        let body = json!({ "query": format!("{{ {field} }}") }).to_string();
        // The emulator does not have the field.
        let answer = post(addr, "/graphql", &[JSON], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    daemon.line("record.json\" cannot be written").await;
    let temporary = || {
        fs::read_dir(&world.home.0).unwrap().any(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(".new")
        })
    };
    // The next attempt is seconds away.
    assert!(!temporary(), "a temporary file remains");
    let before = fs::read_to_string(&record).unwrap();
    assert!(
        serde_json::from_str::<serde_json::Value>(&before).is_ok(),
        "{before}"
    );

    let pid = Pid::from_raw(daemon.pid().parse().unwrap());
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, unlimited).unwrap();
    let written = async {
        loop {
            let text = fs::read_to_string(&record).unwrap();
            if fields.iter().all(|field| text.contains(field)) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    within("the recording", written).await;
    assert!(!temporary(), "a temporary file remains");
    daemon.signal("-TERM");
    assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
}
