//! The admin listener over real sockets, and the commands that use it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use countersign_emulator as emulator;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    Answer, Daemon, JSON, PATIENCE, World, command, demo_key, get, post, raw, raw_on, within,
};

/// A running daemon.
struct Running {
    daemon: Daemon,
    addr: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    async fn start(world: &World, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let environment = [&[("COUNTERSIGN_ADMIN", "127.0.0.1:0")], environment].concat();
        let mut daemon = world.daemon(more, &environment);
        let admin = daemon.admin().await;
        let addr = daemon.address().await;
        Self {
            daemon,
            addr,
            admin,
        }
    }

    /// Starts a daemon whose upstream accepts connections and sends nothing.
    async fn before_silence(world: &World, silent: &TcpListener) -> Self {
        let connect = silent.local_addr().unwrap();
        let arguments = world.arguments_to(
            "https://$API/graphql",
            connect,
            &["--listen", "127.0.0.1:0"],
        );
        let own = [
            ("COUNTERSIGN_ADMIN", "127.0.0.1:0"),
            ("COUNTERSIGN_TIMEOUTS__CONNECT", "1s"),
        ];
        let mut daemon = Daemon::start(&arguments, &[&demo_key(), &own[..]].concat());
        let running = Self {
            admin: daemon.admin().await,
            addr: daemon.address().await,
            daemon,
        };
        running.until("/readyz", 200).await;
        running
    }

    /// Opens many more connections than the limit, and sends no request on them.
    async fn silence(&self) -> Vec<TcpStream> {
        let mut silent = Vec::new();
        for _ in 0..300 {
            silent.push(TcpStream::connect(self.admin).await.unwrap());
        }
        silent
    }

    /// Starts a deep check that waits for `upstream`. Returns the client's and the upstream's connection.
    async fn begin_deep_check(&self, upstream: &TcpListener) -> (TcpStream, TcpStream) {
        let mut asker = TcpStream::connect(self.admin).await.unwrap();
        let head = "GET /readyz?deep HTTP/1.1\r\nhost: localhost\r\n\r\n";
        asker.write_all(head.as_bytes()).await.unwrap();
        let (dialled, _) = within("a dial", upstream.accept()).await.unwrap();
        (asker, dialled)
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.admin, path, &[]).await
    }

    async fn query(&self) -> u16 {
        let body = json!({ "query": "{ rooms { id } }" }).to_string();
        post(self.addr, "/graphql", &[JSON], &body).await.status
    }

    /// Repeats the request until the response has this status.
    async fn until(&self, path: &str, status: u16) -> Answer {
        let asked = async {
            loop {
                let answer = self.get(path).await;
                if answer.status == status {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(&format!("{status} of {path}"), asked).await
    }
}

/// Adds a row to the table: the status of each path, and the reasons of /readyz.
async fn row(table: &mut String, when: &str, running: &Running, expected: [u16; 4]) {
    let mut seen = [0; 4];
    let mut reasons = String::new();
    let paths = ["/startupz", "/livez", "/readyz", "/readyz?deep"];
    for (at, path) in paths.into_iter().enumerate() {
        let answer = running.get(path).await;
        seen[at] = answer.status;
        if path.starts_with("/readyz") {
            let json = answer.json();
            assert_eq!(json["status"] == "ready", answer.status == 200, "{json}");
            reasons = json["reasons"].to_string();
        }
    }
    let [startup, live, ready, deep] = seen;
    let query = running.query().await;
    let _ = writeln!(
        table,
        "{when:<24} {startup:>9} {live:>6} {ready:>7} {deep:>12} {query:>6}  {reasons}"
    );
    assert_eq!(seen, expected, "{when}:\n{table}");
}

#[tokio::test]
async fn probes_follow_the_life_of_a_pod() {
    let world = World::new().await;
    let environment = [
        ("PATH", "/usr/bin:/bin"),
        ("COUNTERSIGN_DRAIN__DELAY", "5s"),
        ("COUNTERSIGN_TIMEOUTS__CONNECT", "2s"),
    ];
    let mut running = Running::start(&world, &[], &environment).await;
    let mut table = format!(
        "{:<24} {:>9} {:>6} {:>7} {:>12} {:>6}  reasons\n",
        "", "/startupz", "/livez", "/readyz", "/readyz?deep", "query"
    );
    running.daemon.logged("credentials not loaded").await;
    row(
        &mut table,
        "without credentials",
        &running,
        [503, 200, 503, 503],
    )
    .await;

    std::fs::create_dir_all(world.path(".aws")).unwrap();
    let keys = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n",
        emulator::DEMO_ACCESS_KEY_ID,
        emulator::DEMO_SECRET_ACCESS_KEY,
        emulator::DEMO_SESSION_TOKEN,
    );
    let fresh = world.home.file("fresh", &keys);
    std::fs::rename(fresh, world.path(".aws/credentials")).unwrap();
    running.until("/readyz", 200).await;
    row(
        &mut table,
        "credentials have come",
        &running,
        [200, 200, 200, 200],
    )
    .await;

    let World { emulator, home } = world;
    within("the emulator's end", emulator.shutdown()).await;
    // A successful dial is remembered for ten seconds.
    within_long(
        "a deep check that fails",
        running.until("/readyz?deep", 503),
    )
    .await;
    row(
        &mut table,
        "upstream is down",
        &running,
        [200, 200, 200, 503],
    )
    .await;

    running.daemon.signal("-TERM");
    running.daemon.line("stopping").await;
    row(
        &mut table,
        "told to stop (delay)",
        &running,
        [200, 200, 503, 503],
    )
    .await;
    assert_eq!(running.daemon.exited().await, 0);
    println!("{table}");
    drop(home);
}

/// Waits for something that takes longer than [`PATIENCE`] by design.
async fn within_long<T>(what: &str, future: impl Future<Output = T>) -> T {
    let found = tokio::time::timeout(PATIENCE * 2, future).await;
    found.unwrap_or_else(|_| panic!("no {what}"))
}

#[tokio::test]
async fn requests_are_served_during_the_drain_delay() {
    let world = World::new().await;
    let delay = [("COUNTERSIGN_DRAIN__DELAY", "2s")];
    let mut running = Running::start(&world, &[], &[&demo_key(), &delay[..]].concat()).await;
    running.until("/readyz", 200).await;
    running.daemon.signal("-TERM");
    running.daemon.line("drain.delay").await;
    let ready = running.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["draining"], true, "{ready:?}");
    assert_eq!(running.query().await, 200, "new connections are served");
    running.daemon.line("draining").await;
    assert_eq!(running.daemon.exited().await, 0);
}

#[tokio::test]
async fn a_second_signal_ends_the_delay() {
    let world = World::new().await;
    let delay = [("COUNTERSIGN_DRAIN__DELAY", "10m")];
    for signal in ["-TERM", "-INT"] {
        let mut running = Running::start(&world, &[], &[&demo_key(), &delay[..]].concat()).await;
        running.daemon.signal(signal);
        running.daemon.line("drain.delay").await;
        running.daemon.signal(signal);
        let line = running.daemon.line("second signal received").await;
        // The user wants this end, so it does not deserve a warning.
        assert!(line.contains(" INFO "), "{signal}: {line}");
        assert_eq!(running.daemon.exited().await, 0, "{signal}");
    }
}

/// The app of a Job reports that it has finished, before or after the pod's SIGTERM.
#[tokio::test]
async fn quitquitquit_skips_the_drain_delay() {
    let world = World::new().await;
    let delay = [("COUNTERSIGN_DRAIN__DELAY", "10m")];
    for is_signalled in [false, true] {
        let environment = [&demo_key(), &delay[..]].concat();
        let mut running = Running::start(&world, &[], &environment).await;
        if is_signalled {
            running.daemon.signal("-TERM");
            running.daemon.line("drain.delay").await;
        }
        let answer = post(running.admin, "/quitquitquit", &[], "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(running.daemon.exited().await, 0, "{}", running.daemon.log);
    }
}

#[tokio::test]
async fn quitquitquit_is_refused_to_pages_and_other_hosts() {
    let world = World::new().await;
    let mut running = Running::start(&world, &[], &demo_key()).await;
    running.until("/readyz", 200).await;
    let admin = running.admin;
    let ask = |head: String| async move { raw(admin, head.as_bytes()).await.status };
    let refused = [
        ("GET", "localhost", "", 405),
        ("POST", "localhost", "origin: http://evil.example\r\n", 403),
        ("POST", "localhost", "origin: null\r\n", 403),
        (
            "POST",
            "localhost",
            "origin: http://app.localhost:3000\r\n",
            403,
        ),
        ("POST", "localhost", "sec-fetch-site: cross-site\r\n", 403),
        ("POST", "rebound.example", "", 403),
    ];
    for (method, host, headers, status) in refused {
        let head = format!(
            "{method} /quitquitquit HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n"
        );
        assert_eq!(ask(head.clone()).await, status, "{head}");
    }
    let answer = post(admin, "/quitquitquit", &[], "").await;
    assert_eq!((answer.status, answer.body.trim()), (200, "stopping"));
    assert_eq!(running.daemon.exited().await, 0);
    assert!(running.daemon.log.contains("/quitquitquit"));
}

#[tokio::test]
async fn pages_are_refused_and_unknown_paths_list_the_known_ones() {
    let world = World::new().await;
    let allowed = ["--allow-origin", "http://app.example"];
    let running = Running::start(&world, &allowed, &demo_key()).await;
    let page = [("origin", "http://app.example")];
    for path in ["/metrics", "/readyz", "/livez"] {
        assert_eq!(get(running.admin, path, &page).await.status, 403, "{path}");
        let answer = post(running.admin, path, &[], "").await;
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.headers["allow"], "GET", "{path}");
    }
    let answer = running.get("/").await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("/readyz"), "{answer:?}");
    assert!(!answer.body.contains("/inspect/"), "{answer:?}");
    // The proxied port does not serve these paths either.
    for path in ["/metrics", "/readyz", "/livez", "/quitquitquit"] {
        assert_eq!(get(running.addr, path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn metrics_come_in_both_formats() {
    let world = World::new().await;
    let running = Running::start(&world, &[], &demo_key()).await;
    running.until("/readyz", 200).await;
    let plain = running.get("/metrics").await;
    assert_eq!(
        plain.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(plain.body.contains("\ncountersign_ready 1\n"), "{plain:?}");
    let lines = plain.body.lines();
    let build = lines.filter_map(|line| line.strip_prefix("countersign_build_info{"));
    let build = build.collect::<Vec<_>>().concat();
    for label in ["version", "revision", "rustc", "target"] {
        assert!(build.contains(&format!("{label}=\"")), "{build}");
    }
    assert!(!plain.body.contains("# EOF"), "{plain:?}");
    let accept = [(
        "accept",
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    )];
    let open = get(running.admin, "/metrics", &accept).await;
    assert_eq!(
        open.headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.body.ends_with("# EOF\n"), "{open:?}");
    let held = "credentials_remaining_seconds{identity=\"default chain\"} ";
    assert!(open.body.contains(held), "{open:?}");
}

/// Runs a command of the program and returns its exit code and standard error.
async fn run(arguments: &[impl AsRef<OsStr>], environment: &[(&str, &str)]) -> (i32, String) {
    let output = command(arguments, environment).output();
    let output = within("the command's end", output).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), text)
}

#[tokio::test]
async fn wait_and_shutdown_report_the_outcome() {
    let world = World::new().await;
    let empty = [("PATH", "/usr/bin:/bin")];
    let mut without = Running::start(&world, &[], &empty).await;
    without.daemon.logged("credentials not loaded").await;
    let admin = without.admin.to_string();
    let at = ["--admin", admin.as_str(), "--timeout", "200ms"];
    let (code, text) = run(&[&["wait"], &at[..]].concat(), &[]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("not ready after 200ms"), "{text}");
    assert!(text.contains("no valid credentials are held"), "{text}");
    let (code, text) = run(&[&["wait", "--for", "started"], &at[..]].concat(), &[]).await;
    assert_eq!(code, 1, "{text}");
    let live = [&["wait", "--for", "live"], &at[..]].concat();
    assert_eq!(run(&live, &[]).await, (0, String::new()));

    let with = Running::start(&world, &[], &demo_key()).await;
    let address = with.admin.to_string();
    // As in a container, where the daemon's own environment holds the address, or all addresses.
    let everywhere = format!("0.0.0.0:{}", with.admin.port());
    for place in [&address, &everywhere] {
        let environment = [("COUNTERSIGN_ADMIN", place.as_str())];
        assert_eq!(run(&["wait"], &environment).await, (0, String::new()));
    }

    let mut running = with;
    let environment = [("COUNTERSIGN_ADMIN", address.as_str())];
    assert_eq!(run(&["shutdown"], &environment).await, (0, String::new()));
    assert_eq!(running.daemon.exited().await, 0);
    let (code, text) = run(&["shutdown"], &environment).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains(&format!("nothing answers at {address}")),
        "{text}"
    );
    let (code, text) = run(&["wait", "--timeout", "0s"], &environment).await;
    assert_eq!(code, 1, "{text}");
    let (code, text) = run(&["wait"], &[("COUNTERSIGN_ADMIN", "off")]).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("no admin listener to connect to"), "{text}");
}

#[tokio::test]
async fn an_admin_address_in_use_is_named() {
    let world = World::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let (port, address) = (address.port(), address.to_string());
    let listen = ["--listen", "127.0.0.1:0"];
    let arguments = world.arguments(&[&listen[..], &["--admin", &address]].concat());
    let (code, text) = run(&arguments, &demo_key()).await;
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains(&format!("port {port} is in use (the admin listener)")),
        "{text}"
    );
}

#[tokio::test]
async fn readiness_names_the_provider_of_credentials_and_their_expiry() {
    let world = World::new().await;
    let mut variables = demo_key();
    variables.push(("AWS_CREDENTIAL_EXPIRATION", "2099-01-01T00:00:00Z"));
    let running = Running::start(&world, &[], &variables).await;
    running.until("/readyz", 200).await;
    let ready = running.get("/readyz").await.json();
    let expected =
        serde_json::json!({ "provider": "environment", "expires": "2099-01-01T00:00:00Z" });
    assert_eq!(ready["providers"]["default chain"], expected, "{ready}");
    let none = [("AWS_ACCESS_KEY_ID", "AKID")];
    let running = Running::start(&world, &[], &none).await;
    let ready = running.get("/readyz").await;
    let expected = "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY";
    assert!(
        ready.status == 503 && ready.body.contains(expected),
        "{ready:?}"
    );
}

#[tokio::test]
async fn health_checks_need_no_token() {
    let world = World::new().await;
    let token = world.home.file("token", &"t".repeat(40));
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&token, mode).unwrap();
    let running = Running::start(&world, &["--token-file", &token], &demo_key()).await;
    running.until("/readyz", 200).await;
    assert_eq!(running.get("/metrics").await.status, 200);
    assert_eq!(running.query().await, 401);
}

/// They held their slots without limit and kept probes out.
#[tokio::test]
async fn admin_connections_that_do_not_read_are_closed() {
    let world = World::new().await;
    let running = Running::start(&world, &[], &demo_key()).await;
    let head = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n\r\n", running.admin);
    let mut unread = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(running.admin).await.unwrap();
        stream.write_all(head.repeat(100).as_bytes()).await.unwrap();
        unread.push(stream);
    }
    assert_eq!(running.until("/livez", 200).await.status, 200);
    drop(unread);
}

/// Each held its slot for ten seconds, and the next connection waited behind all of them:
/// Kubernetes stopped the pod.
#[tokio::test]
async fn silent_connections_do_not_keep_probes_out() {
    let world = World::new().await;
    let running = Running::start(&world, &[], &demo_key()).await;
    let silent = running.silence().await;
    assert_eq!(running.get("/livez").await.status, 200);
    drop(silent);
}

#[tokio::test]
async fn a_connection_with_a_request_is_not_evicted() {
    let world = World::new().await;
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = Running::before_silence(&world, &upstream).await;
    let (first, dialled) = running.begin_deep_check(&upstream).await;
    let silent = running.silence().await;
    assert_eq!(running.get("/livez").await.status, 200);
    assert_eq!(raw_on(first, b"").await.status, 503);
    drop((dialled, silent));
}

/// The next request was answered as ready although no upstream had been reached.
#[tokio::test]
async fn a_cancelled_deep_check_does_not_affect_others() {
    let world = World::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = Running::before_silence(&world, &silent).await;
    let (first, dialled) = running.begin_deep_check(&silent).await;
    drop(first);
    let second = running.get("/readyz?deep").await;
    assert_eq!(second.status, 503, "{second:?}");
    let reason = "the upstream of graphql cannot be reached";
    assert_eq!(second.json()["reasons"], json!([reason]));
    drop(dialled);
}
