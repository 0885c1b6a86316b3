//! The built program when one name has several addresses, or the resolver hangs. It runs in a mount
//! namespace with its own /etc/hosts and /etc/resolv.conf, which needs `unshare` of util-linux.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::time::timeout;

use crate::fakes::{Heard, Proxy, TlsPeer};
use crate::support::{Answer, Daemon, JSON, Scratch, demo_key, post, within};

const API: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const NAME: &str = "two.example";

/// Mounts the two files, then executes the rest of the command line.
const INSIDE: &str = "mount --bind \"$0\" /etc/hosts && mount --bind \"$1\" /etc/resolv.conf && \
                      shift && exec \"$@\"";

/// The files of a namespace.
pub struct Inside {
    scratch: Scratch,
    pub hosts: String,
    resolver: String,
}

impl Inside {
    pub fn new(name: &str, hosts: &str, resolver: &str) -> Self {
        let scratch = Scratch::new(name);
        let hosts = scratch.file("hosts", hosts);
        let resolver = scratch.file("resolv.conf", resolver);
        Self {
            scratch,
            hosts,
            resolver,
        }
    }

    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args([
                "--mount",
                "sh",
                "-c",
                INSIDE,
                &self.hosts,
                &self.resolver,
                program,
            ])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn output(&self, program: &str, arguments: &[&str]) -> Output {
        let run = self.command(program, arguments).output();
        within("a command in the namespace", run).await.unwrap()
    }

    /// Starts the program with `NAME` at `port` as its upstream.
    async fn daemon(&self, ca_pem: &str, port: u16, more: &[(&str, &str)]) -> (Daemon, SocketAddr) {
        let ca_file = self.scratch.file("ca.pem", ca_pem);
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\nadmin = \"off\"\n[route.graphql]\n\
             target = \"https://{API}/graphql\"\nconnect = \"{NAME}:{port}\"\nca_file = \"{ca_file}\"\n"
        );
        let config = self.scratch.file("countersign.toml", &config);
        let mut command = self.command(env!("CARGO_BIN_EXE_countersign"), &["--config", &config]);
        command
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(demo_key())
            .envs(more.iter().copied());
        let mut daemon = Daemon::spawn(&mut command);
        let addr = daemon.address().await;
        (daemon, addr)
    }
}

async fn upstream(address: [u8; 4], port: u16) -> TlsPeer {
    let address = SocketAddr::from((address, port));
    TlsPeer::start_at(address, &[API], &["http/1.1"], |_, stream| async move {
        let mut stream = BufReader::new(stream);
        while Heard::read(&mut stream).await.is_some() {
            stream.write_all(OK.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
    })
    .await
}

async fn query(addr: SocketAddr) -> Answer {
    let body = json!({ "query": "{ a }" }).to_string();
    post(addr, "/graphql", &[JSON], &body).await
}

/// How an address fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// Neither accepts nor refuses connections.
    BlackHole,
    Refused,
    /// Accepts connections, but the TLS handshake hangs.
    Silent,
}

pub struct DeadEnd {
    _listener: Option<TcpListener>,
    _queued: Vec<TcpStream>,
}

impl Dead {
    pub async fn at(self, address: SocketAddr) -> DeadEnd {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.unwrap();
        socket.bind(address).unwrap();
        let mut queued = Vec::new();
        let listener = match self {
            Self::Refused => None,
            Self::Silent => Some(socket.listen(1024).unwrap()),
            Self::BlackHole => {
                let listener = socket.listen(1).unwrap();
                let patience = Duration::from_millis(200);
                while let Ok(stream) = timeout(patience, TcpStream::connect(address)).await {
                    queued.push(stream.unwrap());
                }
                Some(listener)
            }
        };
        DeadEnd {
            _listener: listener,
            _queued: queued,
        }
    }
}

#[tokio::test]
async fn a_dead_first_address_is_skipped_after_one_attempt() {
    let peer = upstream([127, 0, 0, 3], 0).await;
    let port = peer.addr.port();
    for (dead, how) in [
        ("127.0.0.2", Dead::BlackHole),
        ("127.0.0.2", Dead::Refused),
        ("::1", Dead::BlackHole),
        ("::1", Dead::Refused),
    ] {
        let hosts = format!("{dead} {NAME}\n127.0.0.3 {NAME}\n");
        let inside = Inside::new("dialling", &hosts, "");
        let order = inside.output("getent", &["ahosts", NAME]).await;
        let order = String::from_utf8(order.stdout).unwrap();
        assert!(
            order.starts_with(dead),
            "{order:?}: unshare (util-linux) and user namespaces, or root, are needed"
        );
        let _end = how.at(SocketAddr::new(dead.parse().unwrap(), port)).await;

        let url = format!("https://{NAME}:{port}/");
        let curl = [
            "-sk",
            "--connect-timeout",
            "5",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{time_total}",
            &url,
        ];
        let curl = inside.output("curl", &curl).await;
        let (_daemon, addr) = inside
            .daemon(&peer.ca_pem, port, &[("COUNTERSIGN_POOL__MAX_AGE", "1ms")])
            .await;
        let mut times = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let answer = query(addr).await;
            assert_eq!(answer.status, 200, "{dead} {how:?}: {answer:?}");
            times.push(begun.elapsed());
        }
        println!(
            "first address {dead} {how:?}: countersign {times:?}, curl {}",
            String::from_utf8_lossy(&curl.stdout)
        );
        assert!(
            times[0] < Duration::from_secs(2),
            "{dead} {how:?}: {times:?}"
        );
        if how == Dead::BlackHole {
            assert!(times[0] >= Duration::from_millis(250), "{dead}: {times:?}");
        }
        let later = times.iter().skip(1).max().unwrap();
        assert!(
            *later < Duration::from_millis(250),
            "{dead} {how:?}: {times:?}"
        );
    }
}

/// The race between addresses covers only TCP, so the first request fails.
#[tokio::test]
async fn an_address_whose_handshake_hangs_is_tried_last_afterwards() {
    let peer = upstream([127, 0, 0, 1], 0).await;
    let port = peer.addr.port();
    let inside = Inside::new(
        "dialling-tls",
        &format!("::1 {NAME}\n127.0.0.1 {NAME}\n"),
        "",
    );
    let _end = Dead::Silent.at((Ipv6Addr::LOCALHOST, port).into()).await;
    let (_daemon, addr) = inside
        .daemon(
            &peer.ca_pem,
            port,
            &[("COUNTERSIGN_TIMEOUTS__CONNECT", "1s")],
        )
        .await;
    let answer = query(addr).await;
    assert_eq!(
        (answer.status, answer.code()),
        (504, "UPSTREAM_CONNECT_TIMEOUT".to_owned())
    );
    assert_eq!(query(addr).await.status, 200);
}

#[tokio::test]
async fn a_proxy_with_a_dead_first_address_is_reached() {
    let peer = upstream([127, 0, 0, 1], 0).await;
    let proxy = Proxy::start(peer.addr).await;
    let port = proxy.addr.port();
    let inside = Inside::new(
        "dialling-proxy",
        &format!("::1 {NAME}\n127.0.0.1 {NAME}\n"),
        "",
    );
    let _end = Dead::BlackHole.at((Ipv6Addr::LOCALHOST, port).into()).await;
    let ca_file = inside.scratch.file("ca.pem", &peer.ca_pem);
    let target = format!("https://{API}/graphql");
    let arguments = ["--listen", "127.0.0.1:0", "--ca-file", &ca_file, &target];
    let mut command = inside.command(env!("CARGO_BIN_EXE_countersign"), &arguments);
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("COUNTERSIGN_ADMIN", "off")
        .env("HTTPS_PROXY", format!("http://{NAME}:{port}"))
        .envs(demo_key());
    let mut daemon = Daemon::spawn(&mut command);
    let addr = daemon.address().await;
    let answer = query(addr).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(proxy.heard().len(), 1);
}

#[tokio::test]
async fn a_change_in_dns_takes_effect() {
    let old = upstream([127, 0, 0, 3], 0).await;
    let port = old.addr.port();
    let new = upstream([127, 0, 0, 4], port).await;
    let inside = Inside::new("dialling-change", &format!("127.0.0.3 {NAME}\n"), "");
    let both = format!("{}{}", old.ca_pem, new.ca_pem);
    let age = [("COUNTERSIGN_POOL__MAX_AGE", "500ms")];
    let (_daemon, addr) = inside.daemon(&both, port, &age).await;
    for _ in 0..10 {
        assert_eq!(query(addr).await.status, 200);
    }
    assert_eq!(new.connections(), 0);
    std::fs::write(&inside.hosts, format!("127.0.0.4 {NAME}\n")).unwrap();
    let changed = Instant::now();
    while new.connections() == 0 {
        assert_eq!(query(addr).await.status, 200);
        assert!(changed.elapsed() < Duration::from_secs(10));
    }
    println!("the new address serves after {:?}", changed.elapsed());
    let before = old.connections();
    for _ in 0..25 {
        assert_eq!(query(addr).await.status, 200);
    }
    assert_eq!(old.connections(), before);
}

/// Returns the names of the process's threads from /proc.
fn threads(pid: &str) -> usize {
    let tasks = Path::new("/proc").join(pid).join("task");
    std::fs::read_dir(tasks).unwrap().count()
}

/// Answers queries for IPv4 addresses with 127.0.0.1, and others with no record.
async fn answer_questions(socket: UdpSocket) {
    let mut question = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut question).await.unwrap();
        let question = &question[..length];
        // After the header: the labels of the name, its end, type and class (RFC 1035, section 4.1).
        let mut end = 12;
        while question[end] != 0 {
            end += usize::from(question[end]) + 1;
        }
        let is_a = question[end + 2] == 1;
        let mut answer = question[..end + 5].to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
        if is_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
        }
        socket.send_to(&answer, from).await.unwrap();
    }
}

#[tokio::test]
async fn a_hanging_resolver_holds_two_threads_and_recovers_at_once() {
    let peer = upstream([127, 0, 0, 1], 0).await;
    let resolver = UdpSocket::bind("127.0.0.77:53").await;
    let resolver = resolver.unwrap_or_else(|error| panic!("port 53 (root is needed): {error}"));
    let inside = Inside::new(
        "hanging",
        "127.0.0.1 localhost\n",
        "nameserver 127.0.0.77\n",
    );
    let settings = [("COUNTERSIGN_TIMEOUTS__CONNECT", "3s")];
    let (daemon, addr) = inside
        .daemon(&peer.ca_pem, peer.addr.port(), &settings)
        .await;
    let before = threads(&daemon.pid());
    let load = join_all((0..500).map(|_| query(addr)));
    tokio::pin!(load);
    let mut most = 0;
    let answers = loop {
        match timeout(Duration::from_millis(50), &mut load).await {
            Ok(answers) => break answers,
            Err(_) => most = most.max(threads(&daemon.pid())),
        }
    };
    for answer in &answers {
        assert_eq!(answer.status, 504, "{answer:?}");
    }
    // The log and the runtime may add one thread.
    println!("threads: {before} before, {most} at most during 500 requests");
    assert!(most <= before + 3, "{before} {most}");
    // Queries sent so far get no response.
    while resolver.try_recv_from(&mut [0; 512]).is_ok() {}
    let answering = tokio::spawn(answer_questions(resolver));
    let recovered = Instant::now();
    let mut failed = 0;
    while query(addr).await.status != 200 {
        failed += 1;
    }
    println!("200 after {:?}, {failed} failed", recovered.elapsed());
    assert!(recovered.elapsed() < Duration::from_secs(5));
    answering.abort();
}
