//! What the daemon's process hides from other processes of the machine, and what it forbids itself,
//! observed from outside.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;
use std::time::Duration;

use countersign_emulator as emulator;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{Daemon, JSON, Scratch, Socket, World, demo_key, post, within};

/// A user that is not root: the current user, or `nobody`. Root could read everything.
fn user() -> u32 {
    match fs::metadata("/proc/self").unwrap().uid() {
        0 => 65_534,
        user => user,
    }
}

fn by_user(program: &str) -> Command {
    let mut command = Command::new(program);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(user()).gid(user());
    }
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Returns what the user can read of another process's environment, which holds the AWS keys.
async fn environment(of: &Child) -> Option<String> {
    let path = format!("/proc/{}/environ", of.id().unwrap());
    let output = by_user("cat").arg(path).output();
    let output = within("cat", output).await.unwrap();
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}

fn core_limit(of: &Child) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", of.id().unwrap())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core"));
    let words = line.unwrap().split_whitespace();
    words.skip(4).take(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn no_core_is_dumped_and_other_processes_cannot_read_the_memory() {
    // A path that every user can read.
    let scratch = Scratch::new("process");
    let program = scratch.0.join("countersign");
    fs::copy(env!("CARGO_BIN_EXE_countersign"), &program).unwrap();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();

    let open = by_user("sleep")
        .arg("60")
        .env_clear()
        .envs(demo_key())
        .spawn()
        .unwrap();
    // The process has executed `sleep` once its environment is this one.
    let shown = async {
        loop {
            match environment(&open).await {
                Some(text) if text.contains(emulator::DEMO_SECRET_ACCESS_KEY) => return,
                Some(_) | None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within("the environment of a process that hides nothing", shown).await;

    let serve = [
        "serve",
        "https://a.appsync-api.eu-west-1.amazonaws.com/graphql",
    ];
    for arguments in [&serve[..], &["demo"]] {
        let mut daemon = by_user(program)
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--admin", "off"])
            .env_clear()
            .envs(demo_key())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(daemon.stderr.take().unwrap()).lines();
        loop {
            let line = within("the daemon", log.next_line()).await.unwrap();
            if line.expect("it runs").contains("listening on") {
                break;
            }
        }
        assert_eq!(core_limit(&daemon), ["0", "0"], "{arguments:?}");
        assert_eq!(environment(&daemon).await, None, "{arguments:?}");
        assert_eq!(daemon.try_wait().unwrap(), None);
        daemon.kill().await.unwrap();
    }
}

/// Returns the flag that Landlock needs, of each thread. A restriction applies to threads started later.
fn no_new_privileges(of: &Daemon) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", of.pid())).unwrap();
    let statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")));
    let flag = |status: String| {
        let line = status.lines().find(|line| line.starts_with("NoNewPrivs:"));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    statuses.map(|status| flag(status.unwrap())).collect()
}

#[tokio::test]
async fn a_sandboxed_daemon_serves_and_cannot_write_files() {
    for (sandbox, flag, is_written) in [("false", "0", true), ("true", "1", false)] {
        let world = World::new().await;
        let [written, replaced, socket] =
            ["written", "replaced", "socket"].map(|name| world.path(name));
        fs::write(&replaced, "old").unwrap();
        // A child of one of the runtime's threads that tries to write files.
        let keys = json!({
            "Version": 1,
            "AccessKeyId": emulator::DEMO_ACCESS_KEY_ID,
            "SecretAccessKey": emulator::DEMO_SECRET_ACCESS_KEY,
            "SessionToken": emulator::DEMO_SESSION_TOKEN,
        });
        let script = format!(
            "echo gone > /dev/null || exit 1\necho new > {}\necho new > {}\necho '{keys}'\n",
            written.display(),
            replaced.display()
        );
        let script = world.home.file("process.sh", &script);
        fs::create_dir(world.path(".aws")).unwrap();
        world.home.file(
            ".aws/config",
            &format!("[default]\ncredential_process = /bin/sh {script}\n"),
        );

        let listen = format!("unix:{}", socket.display());
        let variables = [("PATH", "/usr/bin:/bin"), ("COUNTERSIGN_SANDBOX", sandbox)];
        let mut daemon = world.daemon(&["--listen", &listen], &variables);
        let addr = daemon.address().await;
        let is_told = daemon
            .log
            .contains("sandbox enabled: files cannot be created, written or removed");
        assert_eq!(is_told, !is_written, "{}", daemon.log);

        let query = json!({ "query": "{ rooms { id } }" }).to_string();
        let answer = post(addr, "/graphql", &[JSON], &query).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut client = Socket::open(addr, &[]).await;
        client.init().await;
        client
            .subscribe("s", "subscription { onMessage(room: \"lobby\") { body } }")
            .await;
        let emulator = &world.emulator;
        let live = emulator.wait_for(|stats| stats.realtime.subscriptions == 1);
        within("a subscription", live).await;
        let mutation = "mutation { postMessage(room: \"lobby\", body: \"hello\") { room body } }";
        client.subscribe("m", mutation).await;
        let event = client.next_of("s").await;
        assert_eq!(event["payload"]["data"]["onMessage"]["body"], "hello");

        let flags = no_new_privileges(&daemon);
        assert!(flags.len() > 1, "{flags:?}");
        assert!(flags.iter().all(|found| found == flag), "{flags:?}");
        assert_eq!(written.exists(), is_written);
        let text = if is_written { "new\n" } else { "old" };
        assert_eq!(fs::read_to_string(&replaced).unwrap(), text);
        assert!(socket.exists());
        drop(client);
        daemon.signal("-TERM");
        assert_eq!(daemon.exited().await, 0, "{}", daemon.log);
        assert!(!socket.exists());
    }
}

/// Returns whether a process of this command is a zombie and a child of `parent`.
fn child(parent: u32, command: &str) -> Option<bool> {
    let processes = fs::read_dir("/proc").unwrap();
    let stats =
        processes.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    stats
        .filter(|stat| stat.contains(&format!("({command})")))
        .find_map(|stat| {
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let (state, of) = (fields.next()?, fields.next()?);
            (of == parent.to_string()).then_some(state == "Z")
        })
}

async fn becomes(what: &str, is_so: impl Fn() -> bool) {
    let becoming = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(what, becoming).await;
}

/// A child that a `credential_process` left behind stayed a zombie for ever.
#[tokio::test]
async fn orphans_are_reaped_as_pid_1_and_as_a_subreaper() {
    const SUBREAPER: &str = "import ctypes, os, sys\n\
        assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0\n\
        os.execv(sys.argv[1], sys.argv[1:])";
    let namespace = "--user --map-current-user --pid --mount-proc --fork --kill-child";
    let namespace: Vec<&str> = namespace.split(' ').collect();
    let cases = [("unshare", &namespace[..]), ("python3", &["-c", SUBREAPER])];
    for (launcher, options) in cases {
        let world = World::new().await;
        let held = world.path("held");
        let made = Command::new("mkfifo").arg(&held).status().await.unwrap();
        assert!(made.success());
        let keys = json!({
            "Version": 1,
            "AccessKeyId": emulator::DEMO_ACCESS_KEY_ID,
            "SecretAccessKey": emulator::DEMO_SECRET_ACCESS_KEY,
            "SessionToken": emulator::DEMO_SESSION_TOKEN,
        });
        // It has its own session, so that it outlives the process group, and its own name.
        let orphan = world.path(&format!("orphan-{}", &launcher[..2]));
        fs::copy("/bin/cat", &orphan).unwrap();
        // The process ends when the orphan has left its group, which is killed then.
        let ready = world.path("ready");
        let script = format!(
            "setsid /bin/sh -c '> {ready}; exec {} {}' < /dev/null > /dev/null 2>&1 &\n\
             until [ -e {ready} ]; do sleep 0.01; done\necho '{keys}'\n",
            orphan.display(),
            held.display(),
            ready = ready.display()
        );
        let script = world.home.file("process.sh", &script);
        fs::create_dir(world.path(".aws")).unwrap();
        let profile = format!("[default]\ncredential_process = /bin/sh {script}\n");
        world.home.file(".aws/config", &profile);
        let mut launched = Command::new(launcher)
            .args(options)
            .arg(env!("CARGO_BIN_EXE_countersign"))
            .args(world.arguments(&["--listen", "127.0.0.1:0"]))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &world.home.0)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("COUNTERSIGN_ADMIN", "off")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(launched.stderr.take().unwrap()).lines();
        let mut addr = None;
        let mut has_credentials = false;
        while addr.is_none() || !has_credentials {
            let line = within(launcher, log.next_line()).await.unwrap().unwrap();
            has_credentials |= line.contains("credentials loaded");
            if line.contains("listening on http://127.") {
                addr = line.rsplit_once("http://").unwrap().1.trim().parse().ok();
            }
        }
        let pid = launched.id().unwrap();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let daemon: u32 = match launcher {
            "unshare" => children.trim().parse().unwrap(),
            _ => pid,
        };
        let name = orphan.file_name().unwrap().to_str().unwrap();
        becomes("an orphan", || child(daemon, name) == Some(false)).await;
        // It ends when its input ends.
        let writer = held.clone();
        let opened =
            tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(writer));
        drop(within("the orphan reads", opened).await.unwrap().unwrap());
        becomes("the orphan is reaped", || child(daemon, name).is_none()).await;
        let query = json!({ "query": "{ rooms { id } }" }).to_string();
        let answer = post(addr.unwrap(), "/graphql", &[JSON], &query).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // PID 1 has no default actions, so only a signal that it handles ends it.
        let daemon = daemon.to_string();
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &daemon])
            .status();
        assert!(sent.unwrap().success());
        let status = within("the end", launched.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0), "{launcher}");
    }
}
