//! Faults of the machine: descriptors, memory, ports, files, the log's device, and processors.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::sleep;

use super::client::{Subscription, mutation, open, post_bytes, request_on, slow_mutation};
use super::process::signal;
use super::relay::Mode;
use super::site::{Launch, Setup, Site};
use super::{Cell, Kind, Seen};
use crate::support::{
    Daemon, JSON, PATIENCE, Running, Socket, World, command, demo_key, get, post, within,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
const ROOMS: &str = "{ rooms { id } }";

/// A command that runs the program in a shell, as `"$0" "$@"`.
fn shell(script: &'static str) -> Launch {
    Box::new(move |arguments| {
        let mut command = Command::new("sh");
        command
            .args(["-c", script, PROGRAM])
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null());
        command
    })
}

/// No descriptor is left for new connections. The open ones are served.
pub async fn no_descriptors() -> Seen {
    let site = Site::start(Setup {
        launch: Some(shell("ulimit -n 64; exec \"$0\" \"$@\"")),
        ..Setup::default()
    });
    let site = site.await;
    let mut live = site.subscribe("/graphql").await;
    site.world.switch(json!({ "gate": true }));
    let change = slow_mutation("crowded");
    let crowded = async {
        let is_held = |stats: &countersign_emulator::Stats| {
            stats.requests.queries >= 1 && stats.mutations.contains_key("lobby/crowded")
        };
        site.world.saw("both operations", is_held).await;
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(TcpStream::connect(site.addr).await.unwrap());
        }
        sleep(Duration::from_millis(300)).await;
        let event = site.event(&mut live).await;
        site.world.switch(json!({ "gate": false }));
        (event, crowd)
    };
    let (query, change, (subscription, crowd)) = tokio::join!(
        site.request("/graphql", "{ slow(ms: 0) }"),
        site.request("/graphql", &change),
        crowded,
    );
    let mut seen = Seen::of_process([query, change, subscription]);
    seen.cells[1].mutation = Some("crowded".to_owned());
    drop(crowd);
    site.recovery(&mut seen).await;
    seen
}

/// Requests whose bodies upstream does not read fill the memory limit.
pub async fn memory_short() -> Seen {
    let site = Site::with("limits.memory = \"64MiB\"\n").await;
    site.relay.set(Mode::Deaf);
    let large = post_bytes(
        "/graphql",
        &format!("{{ rooms {{ id }} }} #{}", "x".repeat(900_000)),
        "close",
    );
    let mut crowd = Vec::new();
    // Another route's operations would be served if memory were not short.
    let mut seen = loop {
        let (query, change, subscription) = tokio::join!(
            site.send_to(Kind::Query, "/neighbour"),
            site.send_to(Kind::Mutation, "/neighbour"),
            site.send_to(Kind::Subscription, "/neighbour"),
        );
        let cells = [query, change, subscription];
        if cells.iter().all(|cell| cell.outcome.starts_with("503 ")) {
            let neighbour = None;
            break Seen { cells, neighbour };
        }
        assert!(crowd.len() < 200, "180 MB are held");
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        let _ = stream.write_all(large.as_bytes()).await;
        crowd.push(stream);
    };
    site.relay.set(Mode::Reset);
    drop(crowd);
    site.relay.set(Mode::Forward);
    site.recovery(&mut seen).await;
    seen
}

/// Runs the program until it ends, and returns its exit code and log.
async fn ended(arguments: &[&str]) -> (i32, String) {
    let output = within(
        "the program's end",
        command(arguments, &demo_key()).output(),
    )
    .await;
    let output = output.unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), log)
}

pub async fn port_in_use() -> Seen {
    let world = World::new().await;
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let arguments = world.arguments(&["--listen", &address.to_string()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, log) = ended(&arguments).await;
    let named = match log.contains(&format!("port {} is in use", address.port())) {
        true => "port named",
        false => "port not named",
    };
    Seen::of_process([
        format!("exit {code}, {named}"),
        String::new(),
        String::new(),
    ])
}

/// What is wrong in a file, the line, and a part of the error.
const MISTAKES: [(&str, &str, &str); 8] = [
    ("[route.graphql]\ntargte = \"https://a\"\n", ":2", "target"),
    ("[limits]\nconnections = \"many\"\n", ":2", "connections"),
    ("[timeouts]\nconnect = \"5\"\n", ":2", "connect"),
    ("listen = [\"nowhere\"]\n", ":1", "listen"),
    ("[limit]\nconnections = 1\n", ":1", "limits"),
    ("log.format = \"xml\"\n", ":1", "format"),
    ("sandbox = \"maybe\"\n", ":1", "sandbox"),
    ("listen = [\n", ":2", "listen"),
];

pub async fn bad_configuration() -> Seen {
    let world = World::new().await;
    let mut outcome = "exit 2, file, line and key named".to_owned();
    for (text, line, part) in MISTAKES {
        let file = world.home.file("countersign.toml", text);
        let (code, log) = ended(&["--config", &file]).await;
        if code != 2 || !log.contains(&format!("{file}{line}")) || !log.contains(part) {
            outcome = format!("exit {code} for {text:?}: {log}");
        }
    }
    Seen::of_process([outcome, String::new(), String::new()])
}

/// The file of tokens changes to a good one and to an unusable one, while clients use the old token.
pub async fn file_changes() -> Seen {
    let world = World::builder().file("token", &"a".repeat(40)).admin();
    let mut world = world
        .config("[guard]\ntoken_file = \"$DIR/token\"\n")
        .daemon()
        .await;
    let status = async |world: &Running<Daemon>, token: &str, query: &str| {
        let token = format!("Bearer {}", token.repeat(40));
        let body = json!({ "query": query }).to_string();
        let headers = [JSON, ("authorization", &token)];
        post(world.addr, "/graphql", &headers, &body).await.status
    };
    assert_eq!(status(&world, "a", ROOMS).await, 200);
    let write = |token: &str| std::fs::write(world.world.path("token"), token).unwrap();
    write(&"b".repeat(40));
    let good = async {
        while status(&world, "b", ROOMS).await != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within("the new token", good).await;
    write("short");
    world.countersign.line("token").await;
    let mut outcomes = Vec::new();
    for query in [ROOMS, &mutation("reloaded")] {
        outcomes.push(match status(&world, "b", query).await {
            200 => "served by the last good file".to_owned(),
            other => other.to_string(),
        });
    }
    let token = format!("Bearer {}", "b".repeat(40));
    let mut socket = Socket::open(world.addr, &[("authorization", &token)]).await;
    socket.init().await;
    socket
        .subscribe("1", "subscription { onMessage { body } }")
        .await;
    world.subscriptions(1).await;
    outcomes.push("served by the last good file".to_owned());
    Seen::of_process([outcomes.remove(0), outcomes.remove(0), outcomes.remove(0)])
}

/// Nobody reads the log: its pipe is full, and then the queue of lines before it.
pub async fn log_blocked() -> Seen {
    let filter = "info";
    let site = Site::start(Setup {
        filter,
        ..Setup::default()
    })
    .await;
    let requests = "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(2_000);
    let (mut read, mut write) = TcpStream::connect(site.addr).await.unwrap().into_split();
    let reading = tokio::spawn(async move {
        let mut bytes = vec![0; 64 * 1024];
        while read.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    });
    // Each has a line of its own. More than PATIENCE, because thousands are needed.
    let begun = Instant::now();
    while site.metric("log_lines_dropped_total").await == 0.0 {
        assert!(begun.elapsed() < 3 * PATIENCE, "no line is dropped");
        write.write_all(requests.as_bytes()).await.unwrap();
    }
    reading.abort();
    let mut seen = site.all().await;
    site.recovery(&mut seen).await;
    seen
}

/// The device of the log is full.
pub async fn log_disk_full() -> Seen {
    let script = "exec 3>&2 2>/dev/full; exec \"$0\" \"$@\"";
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (addr, admin) = (free(), free());
    let world = World::new().await;
    let (listen, admin_text) = (addr.to_string(), admin.to_string());
    let arguments = world.arguments(&["--listen", &listen, "--admin", &admin_text]);
    let mut command = Command::new("sh");
    command
        .args(["-c", script, PROGRAM])
        .args(&arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", &world.home.0)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(demo_key())
        .stdin(Stdio::null());
    let daemon = Daemon::spawn(&mut command);
    let started = async {
        while TcpStream::connect(addr).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within("the start", started).await;
    let request = async |query: &str| {
        request_on(TcpStream::connect(addr).await.unwrap(), "/graphql", query).await
    };
    let query = request(ROOMS).await;
    let change = request(&mutation("full")).await;
    let mut socket = open(addr, "/graphql").await.unwrap();
    world.subscriptions(1).await;
    assert_eq!(request(&mutation("event")).await, "served");
    let frame = within("an event", socket.0.next()).await.unwrap().unwrap();
    let subscription = match frame.to_string().contains("event") {
        true => "served".to_owned(),
        false => frame.to_string(),
    };
    let mut seen = Seen::of_process([query, change, subscription]);
    let executed = world.emulator.stats().mutations["lobby/full"];
    seen.cells[1].executed = Some(executed);
    let page = get(admin, "/metrics", &[]).await.body;
    let line = page
        .lines()
        .find(|line| line.starts_with("countersign_log_lines_dropped_total "));
    let dropped: f64 = line
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0.0);
    if dropped == 0.0 {
        seen.cells[0].outcome.push_str(", no dropped line counted");
    }
    drop(daemon);
    seen
}

/// Eight busy processes share the processor of countersign.
pub async fn one_processor() -> Seen {
    let spin = || {
        let mut spinner = Command::new("taskset");
        spinner
            .args(["-c", "0", "sh", "-c", "while :; do :; done"])
            .kill_on_drop(true);
        spinner.spawn().unwrap()
    };
    let config = "timeouts.ping = \"2s\"\n".to_owned();
    let launch = Some(shell("exec taskset -c 0 \"$0\" \"$@\""));
    let site = Site::start(Setup {
        config,
        launch,
        ..Setup::default()
    })
    .await;
    let mut live = site.subscribe("/graphql").await;
    let spinners: Vec<_> = (0..8).map(|_| spin()).collect();
    let end = Instant::now() + Duration::from_secs(5);
    let mut slowest = Duration::ZERO;
    let mut established = "served".to_owned();
    let mut neighbour = site.undisturbed().await;
    while Instant::now() < end && established == "served" && neighbour.is_ok() {
        let begun = Instant::now();
        assert_eq!(site.health("/livez").await, 200);
        slowest = slowest.max(begun.elapsed());
        established = site.event(&mut live).await;
        neighbour = site.undisturbed().await;
    }
    println!("/livez took at most {slowest:?}");
    let mut seen = site.all().await;
    if slowest > Duration::from_secs(1) {
        seen.cells[0]
            .outcome
            .push_str(", /livez took longer than a second");
    }
    seen.cells[2].outcome = format!("established {established}, new {}", seen.cells[2].outcome);
    drop(spinners);
    site.recovery(&mut seen).await;
    seen
}

/// The process is stopped for longer than pings are waited for. The pongs have arrived by then.
pub async fn frozen() -> Seen {
    let site = Site::with("timeouts.ping = \"2s\"\n").await;
    *site.neighbour.lock().await = None;
    let opening = (0..60).map(|_| open(site.addr, "/graphql"));
    let sockets = join_all(opening).await;
    let mut sockets: Vec<_> = sockets.into_iter().map(Result::unwrap).collect();
    site.world.subscriptions(60).await;
    // Reading answers pings. The event comes after the process goes on.
    let reading = join_all(sockets.iter_mut().map(Subscription::end_or_event));
    let daemon = site.daemon.pid();
    let freezing = async {
        sleep(Duration::from_secs(1)).await;
        signal(&daemon, "-STOP");
        sleep(Duration::from_secs(5)).await;
        signal(&daemon, "-CONT");
        let query = site.send(Kind::Query).await;
        let change = site.send(Kind::Mutation).await;
        sleep(Duration::from_secs(1)).await;
        let live = site.subscribe("/graphql").await;
        (query, change, live)
    };
    let (mut ended, (query, change, _live)) = tokio::join!(reading, freezing);
    ended.retain(|outcome| outcome != "served");
    let subscription = match ended.first() {
        None => "served".to_owned(),
        Some(outcome) => format!("{} of 60 {outcome}", ended.len()),
    };
    let mut seen = Seen {
        cells: [query, change, Cell::new(subscription)],
        neighbour: None,
    };
    site.count(&mut seen);
    seen
}
