//! Races between loopback sockets, and lookups that the test controls.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};

use tokio::net::{TcpListener, TcpSocket};

use super::*;

fn at(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 0)
}

fn resolver(addresses: &[&str]) -> Resolver {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|text| at(text)).collect();
    Resolver::new(move |_| Ok(addresses.clone()))
}

/// An address that neither accepts nor refuses connections, because its backlog is full.
struct BlackHole {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    async fn at(address: SocketAddr) -> Self {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            timeout(Duration::from_millis(150), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
        }
        assert!(!queued.is_empty());
        Self {
            _listener: listener,
            _queued: queued,
        }
    }
}

/// Returns a listener at 127.0.0.1, and its port.
async fn listening() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Connects, and returns the address that won and the time that it took.
async fn connect(resolver: &Resolver, port: u16) -> (IpAddr, Duration) {
    let started = Instant::now();
    let connecting = resolver.connect("name.example", port);
    let stream = timeout(Duration::from_secs(5), connecting).await.unwrap();
    (stream.unwrap().peer_addr().unwrap().ip(), started.elapsed())
}

#[tokio::test]
async fn unreachable_address_delays_only_the_first_connection() {
    let (_listener, port) = listening().await;
    for (dead, host) in [("127.0.0.2", "name.example"), ("::1", "name.example")] {
        let mut hole = at(dead);
        hole.set_port(port);
        let _hole = BlackHole::at(hole).await;
        let resolver = resolver(&[dead, "127.0.0.1"]);
        let (winner, took) = connect(&resolver, port).await;
        assert_eq!(winner, Ipv4Addr::LOCALHOST, "{dead}");
        assert!(took >= ATTEMPT_DELAY, "{dead}: {took:?}");
        assert!(took < ATTEMPT_DELAY * 4, "{dead}: {took:?}");
        for _ in 0..5 {
            let (winner, took) = connect(&resolver, port).await;
            assert_eq!(winner, Ipv4Addr::LOCALHOST);
            assert!(took < ATTEMPT_DELAY, "{dead}: {took:?}");
        }
        // It is tried first again after FAILURE_TIME.
        let mut names = resolver.0.names.lock();
        let failed = names.get_mut(host).unwrap().failed.values_mut();
        for failed in failed {
            *failed = Instant::now().checked_sub(FAILURE_TIME).unwrap();
        }
        let name = names.get(host).unwrap();
        let ordered = name.ordered(&[at(dead), at("127.0.0.1")], Instant::now());
        assert_eq!(ordered[0], at(dead));
    }
}

#[tokio::test]
async fn next_address_is_tried_at_once_after_a_refusal() {
    let (_listener, port) = listening().await;
    let resolver = resolver(&["127.0.0.2", "127.0.0.3", "::1", "127.0.0.1"]);
    let (winner, took) = connect(&resolver, port).await;
    assert_eq!(winner, Ipv4Addr::LOCALHOST);
    assert!(took < ATTEMPT_DELAY, "{took:?}");
}

#[tokio::test]
async fn reachable_addresses_keep_the_order_of_the_lookup() {
    let (_listener, port) = listening().await;
    let _other = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let turn = AtomicUsize::new(0);
    let both = ["127.0.0.1", "127.0.0.2"];
    let resolver = Resolver::new(move |_| {
        let first = turn.fetch_add(1, Ordering::SeqCst) % 2;
        Ok(vec![at(both[first]), at(both[1 - first])])
    });
    for expected in ["127.0.0.1", "127.0.0.2", "127.0.0.1"] {
        let (winner, _) = connect(&resolver, port).await;
        assert_eq!(winner.to_string(), expected);
        resolver
            .0
            .names
            .lock()
            .get_mut("name.example")
            .unwrap()
            .cached = None;
    }
    // An address that failed after TCP was connected is tried last.
    resolver.avoid("name.example", at("127.0.0.2").ip());
    assert_eq!(connect(&resolver, port).await.0.to_string(), "127.0.0.1");
}

#[tokio::test]
async fn error_names_every_address_and_the_next_connection_starts_a_lookup() {
    let (listener, port) = listening().await;
    drop(listener);
    let lookups = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lookups);
    let resolver = Resolver::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(vec![at("127.0.0.2"), at("127.0.0.1")])
    });
    for expected in 1..=3 {
        let error = resolver.connect("name.example", port).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let text = error.to_string();
        for address in ["127.0.0.1", "127.0.0.2"] {
            assert!(text.contains(&format!("{address}:{port}: ")), "{text}");
        }
        assert_eq!(lookups.load(Ordering::SeqCst), expected);
    }
    let nothing = Resolver::new(|_| Ok(Vec::new()));
    let error = nothing.connect("name.example", port).await.unwrap_err();
    assert!(error.to_string().contains("no address"), "{error}");
    // IP literals need no lookup.
    let never = Resolver::new(|_| panic!("an IP literal was looked up"));
    for host in ["127.0.0.1", "[::1]", "::1"] {
        assert!(never.connect(host, port).await.is_err());
    }
}

#[test]
fn address_families_alternate() {
    for (given, expected) in [
        (
            &["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"][..],
            &["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"][..],
        ),
        (
            &["127.0.0.1", "127.0.0.2", "::1"],
            &["127.0.0.1", "::1", "127.0.0.2"],
        ),
        (
            &["127.0.0.1", "127.0.0.1", "127.0.0.2"],
            &["127.0.0.1", "127.0.0.2"],
        ),
        (&["::1"], &["::1"]),
        (&[], &[]),
    ] {
        let given: Vec<SocketAddr> = given.iter().map(|text| at(text)).collect();
        let expected: Vec<SocketAddr> = expected.iter().map(|text| at(text)).collect();
        assert_eq!(interleaved(&given), expected);
    }
}

#[tokio::test]
async fn callers_of_the_same_name_share_one_lookup() {
    let lookups = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lookups);
    let gate = Arc::new(Barrier::new(2));
    let pass = Arc::clone(&gate);
    let resolver = Resolver::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        pass.wait();
        Ok(vec![at("127.0.0.1")])
    });
    let waiters = (0..500).map(|_| resolver.resolve("name.example"));
    let mut waiters: FuturesUnordered<_> = waiters.collect();
    // Polls every waiter once, so that any lookup that it starts has started.
    assert!(
        timeout(Duration::from_millis(50), waiters.next())
            .await
            .is_err()
    );
    gate.wait();
    let mut served = 0;
    while let Some(addresses) = waiters.next().await {
        assert_eq!(addresses.unwrap(), [at("127.0.0.1")]);
        served += 1;
    }
    assert_eq!((served, lookups.load(Ordering::SeqCst)), (500, 1));
}

#[tokio::test]
async fn at_most_two_lookups_run_and_the_first_result_is_used() {
    let (_listener, port) = listening().await;
    let (start, started) = mpsc::sync_channel(100);
    let start = Mutex::new(start);
    let (finish, finished) = mpsc::sync_channel::<bool>(100);
    let finished = Mutex::new(finished);
    let resolver = Resolver::new(move |_| {
        start.lock().send(()).unwrap();
        if finished.lock().recv().unwrap() {
            Ok(vec![at("127.0.0.1")])
        } else {
            Err(io::Error::other("the resolver is down"))
        }
    });
    let connect = || resolver.connect("name.example", port);
    // The callers give up, but their lookups go on, and no further lookup is started.
    for _ in 0..4 {
        let mut waiters: FuturesUnordered<_> = (0..100).map(|_| connect()).collect();
        let given_up = timeout(Duration::from_millis(700), waiters.next()).await;
        assert!(given_up.is_err());
    }
    assert_eq!(started.try_iter().count(), MAX_LOOKUPS);
    // After one lookup fails, the other determines the result.
    let waiter = connect();
    tokio::pin!(waiter);
    finish.send(false).unwrap();
    assert!(
        timeout(Duration::from_millis(300), &mut waiter)
            .await
            .is_err()
    );
    finish.send(true).unwrap();
    let served = timeout(Duration::from_millis(500), waiter).await;
    served.unwrap().unwrap();
}

#[tokio::test]
async fn address_that_accepts_connections_is_returned_first() {
    let (_listener, port) = listening().await;
    let mut hole = at("127.0.0.2");
    hole.set_port(port);
    let _hole = BlackHole::at(hole).await;
    // The last address is reserved for documentation (RFC 5737).
    let resolver = resolver(&["127.0.0.2", "127.0.0.1", "192.0.2.1"]);
    let addresses = resolver
        .reachable_first("name.example", port)
        .await
        .unwrap();
    assert_eq!(addresses[0], Ipv4Addr::LOCALHOST);
    assert_eq!(addresses.len(), 3);
    // If no address accepts a connection, all are returned.
    let nothing = Resolver::new(|_| Ok(vec![at("127.0.0.2"), at("192.0.2.1")]));
    let started = Instant::now();
    let addresses = nothing.reachable_first("name.example", port).await.unwrap();
    assert_eq!(addresses.len(), 2);
    assert!(started.elapsed() < PROBE_TIMEOUT * 2);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_are_lost_when_their_peer_vanishes() {
    let (listener, port) = listening().await;
    let stream = resolver(&["127.0.0.1"]).connect("name.example", port).await;
    let stream = stream.unwrap();
    drop(listener);
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    let idle = socket.tcp_keepalive_time().unwrap();
    let interval = socket.tcp_keepalive_interval().unwrap();
    let lost = socket.tcp_user_timeout().unwrap().unwrap();
    assert!(
        !lost.is_zero() && lost <= Duration::from_secs(30),
        "{lost:?}"
    );
    assert!(idle + interval <= lost, "{idle:?} {interval:?}");
}
