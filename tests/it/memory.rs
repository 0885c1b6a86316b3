//! The memory limit: what it caps, that requests are refused before it is reached, and that they are
//! served again once memory is free. Also the number of threads for a number of processors.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use countersign_protocol::error_code::{Code, Sent};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use crate::error_codes::check_response;
use crate::fakes::TlsPeer;
use crate::load;
use crate::support::{
    Answer, Daemon, JSON, QUIET, Running, Socket, World, demo_key, get, post, raw, within,
};

const MIB: u64 = 1024;
/// Longer than an answer waits for room.
const SLOW: Duration = Duration::from_secs(60);
const SETTINGS: &str = "limits.memory = \"64MiB\"";

async fn query(load: &Running<Daemon>) -> Answer {
    let body = json!({ "query": "{ rooms { id } }" }).to_string();
    post(load.addr, "/graphql", &[JSON], &body).await
}

/// Repeats a query until it is served, and returns how long that took.
async fn served_again(load: &Running<Daemon>) -> Duration {
    let begun = Instant::now();
    let served = async {
        loop {
            let answer = query(load).await;
            match answer.status {
                200 => return,
                _ => assert_eq!(answer.code(), "MEMORY_SHORT"),
            }
        }
    };
    within("an answer that is served", served).await;
    begun.elapsed()
}

/// An upstream that reads the heads of requests, and the bodies when it is allowed to.
struct Holding {
    peer: TlsPeer,
    /// A permit for each head.
    heads: Arc<Semaphore>,
    is_open: watch::Sender<bool>,
}

/// Fills the memory of a daemon.
struct Held {
    /// Requests whose bodies wait for the upstream.
    whole: JoinSet<Answer>,
    /// Connections with bodies that never end.
    unfinished: Vec<TcpStream>,
}

impl Holding {
    async fn start() -> Self {
        let heads = Arc::new(Semaphore::new(0));
        let (is_open, opened) = watch::channel(true);
        let told = Arc::clone(&heads);
        let peer = TlsPeer::start(&["held.example.com"], &["http/1.1"], move |_, stream| {
            let (told, opened) = (Arc::clone(&told), opened.clone());
            async move {
                // The client or the test ends it.
                let _ = hold(BufReader::new(stream), &told, opened).await;
            }
        });
        Self {
            peer: peer.await,
            heads,
            is_open,
        }
    }

    /// Starts a daemon with the route `/held` to this upstream.
    async fn load(&self) -> Running<Daemon> {
        let more = "region = \"eu-west-1\"
service = \"execute-api\"";
        World::builder()
            .routes(&["http"])
            .peer("held", &self.peer, "https://held.example.com", more)
            .config(QUIET)
            .config(SETTINGS)
            .daemon()
            .await
    }

    /// Holds whole bodies, one after another, until one is refused. What had arrived of that one is
    /// freed, so bodies that never end are added until even a query is refused. The bodies are shorter than
    /// what must become free before requests are served again.
    async fn fill(&self, load: &Running<Daemon>) -> (Held, Answer) {
        self.is_open.send_replace(false);
        let body = "x".repeat(1 << 20);
        let mut held = JoinSet::new();
        let refused = loop {
            let (addr, body) = (load.addr, body.clone());
            held.spawn(async move { post(addr, "/held", &[], &body).await });
            tokio::select! {
                answer = held.join_next() => break answer.unwrap().unwrap(),
                head = self.heads.acquire() => head.unwrap().forget(),
            }
            assert!(held.len() < 60, "60 MiB are held");
        };
        assert!(!held.is_empty());
        let mut unfinished = Vec::new();
        while query(load).await.status != 503 {
            assert!(unfinished.len() < 64, "16 MiB more are held");
            let mut stream = TcpStream::connect(load.addr).await.unwrap();
            let head = "POST /held HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
            let half = "x".repeat(256 << 10);
            stream
                .write_all(format!("{head}{half}").as_bytes())
                .await
                .unwrap();
            unfinished.push(stream);
        }
        let held = Held {
            whole: held,
            unfinished,
        };
        (held, refused)
    }

    /// The requests that were accepted are served, whatever else is refused.
    async fn release(&self, held: Held) {
        drop(held.unfinished);
        self.is_open.send_replace(true);
        let answers = within("the accepted requests", held.whole.join_all()).await;
        assert!(
            answers.iter().all(|answer| answer.status == 200),
            "{answers:?}"
        );
    }
}

async fn hold(
    mut stream: BufReader<TlsStream<TcpStream>>,
    heads: &Semaphore,
    mut is_open: watch::Receiver<bool>,
) -> io::Result<()> {
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(said) = line.strip_prefix("content-length: ") {
                length = said.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        heads.add_permits(1);
        is_open.wait_for(|is_open| *is_open).await.unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await?;
        stream.flush().await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_refused_while_memory_is_short_and_served_afterwards() {
    let upstream = Holding::start().await;
    let load = upstream.load().await;
    assert!(
        load.countersign.log.contains(
            "64 MiB of memory (limits.memory): 512 connections, 8 MiB of queued events; requests \
             are rejected above 57 MiB"
        ),
        "{}",
        load.countersign.log
    );
    let (before, _) = load.memory();
    for round in 0..3 {
        let mut kept = TcpStream::connect(load.addr).await.unwrap();
        let (held, refused) = upstream.fill(&load).await;
        assert_eq!(refused.status, 503);
        assert_eq!(refused.headers["retry-after"], "1");
        let said = refused.json();
        assert_eq!(
            (&said["code"], &said["sent"]),
            (&json!("MEMORY_SHORT"), &json!("no"))
        );
        // The daemon does not wait for the body.
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                    connection: close\r\ncontent-length: 1000\r\n\r\n";
        let mut answer = [0; 12];
        kept.write_all(head.as_bytes()).await.unwrap();
        within("a refusal", kept.read_exact(&mut answer))
            .await
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 503");
        assert_eq!(query(&load).await.code(), "MEMORY_SHORT");
        let (_, peak) = load.memory();
        let count = held.whole.len();
        upstream.release(held).await;
        let took = served_again(&load).await;
        let (after, _) = load.memory();
        println!(
            "round {round}: resident before {} MiB, peak {} MiB with {count} held, {} MiB when \
             served again after {took:.1?}",
            before / MIB,
            peak / MIB,
            after / MIB
        );
        assert!(peak < 80 * MIB, "{peak}");
    }
    load.stop().await;
}

/// Only HTTP requests were refused, and an open socket accepted every operation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_sockets_are_refused_while_memory_is_short() {
    let upstream = Holding::start().await;
    let load = upstream.load().await;
    let mut socket = Socket::open(load.addr, &[]).await;
    socket.init().await;
    let operations = [
        ("query", "{ rooms { id } }"),
        (
            "mutation",
            "mutation { postMessage(room: \"lobby\", body: \"short\") { id } }",
        ),
        (
            "subscription",
            "subscription { onMessage(room: \"lobby\") { body } }",
        ),
    ];
    let (held, _) = upstream.fill(&load).await;
    for (id, text) in operations {
        socket.subscribe(id, text).await;
        let told = socket.next().await;
        assert_eq!(told["id"], id, "{told}");
        assert_eq!(told["type"], "error", "{told}");
        let said = &told["payload"][0]["extensions"];
        assert_eq!(
            (&said["code"], &said["sent"]),
            (&json!("MEMORY_SHORT"), &json!("no")),
            "{told}"
        );
    }
    let stats = load.emulator.stats();
    assert!(stats.mutations.is_empty(), "{:?}", stats.mutations);
    assert_eq!(stats.realtime.starts_total, 0);
    upstream.release(held).await;
    served_again(&load).await;
    let (_, text) = operations[0];
    socket.subscribe("again", text).await;
    assert_eq!(socket.next().await["type"], "next");
    drop(socket);
    load.stop().await;
}

/// Every protocol, by HTTP and on sockets that are open already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_protocol_is_refused_alike_while_memory_is_short() {
    let upstream = Holding::start().await;
    let load = upstream.load().await;
    let query = "{ rooms { id } }";
    let single = json!({ "query": query });
    let data = json!({ "data": single.to_string(), "extensions": { "authorization": {} } });
    // The path, the wire token, the type of a start, its payload, and the place of the error's code.
    let protocols = [
        (
            "/graphql",
            "graphql-transport-ws",
            "subscribe",
            &single,
            "/payload/0/extensions",
        ),
        (
            "/graphql",
            "graphql-ws",
            "start",
            &single,
            "/payload/extensions",
        ),
        (
            "/graphql/realtime",
            "graphql-ws",
            "start",
            &data,
            "/payload/errors/0/errorInfo",
        ),
    ];
    let mut sockets = Vec::new();
    for protocol in protocols {
        let (path, token, ..) = protocol;
        let mut socket = Socket::dial(load.addr, path, token, &[]).await;
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        sockets.push((protocol, socket));
    }
    let (held, _) = upstream.fill(&load).await;
    let body = single.to_string();
    let batch = json!([single, single]).to_string();
    for (accept, body) in [
        ("application/json", &body),
        ("application/json", &batch),
        ("text/event-stream", &body),
        ("multipart/mixed;subscriptionSpec=1.0", &body),
    ] {
        let answer = post(load.addr, "/graphql", &[JSON, ("accept", accept)], body).await;
        check_response(&answer, Code::MemoryShort, Sent::No);
    }
    let path = "/graphql?query=%7Brooms%7Bid%7D%7D";
    let answer = get(load.addr, path, &[]).await;
    check_response(&answer, Code::MemoryShort, Sent::No);
    for ((_, token, kind, payload, place), socket) in &mut sockets {
        let start = json!({ "id": "1", "type": kind, "payload": payload });
        socket.send(start).await;
        let frame = loop {
            let frame = socket.next().await;
            if frame["type"] != "ka" && frame["type"] != "start_ack" {
                break frame;
            }
        };
        assert_eq!(frame["type"], "error", "{token}: {frame}");
        let error = frame.pointer(place).unwrap_or(&frame);
        assert_eq!(
            (&error["code"], &error["sent"]),
            (&json!("MEMORY_SHORT"), &json!("no")),
            "{token}: {frame}"
        );
    }
    let stats = load.emulator.stats();
    assert_eq!(stats.realtime.starts_total, 0);
    upstream.release(held).await;
    served_again(&load).await;
    drop(sockets);
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_come_all_at_once_are_cut_short() {
    let load = load::start(SETTINGS).await;
    // 160 MiB in all, and each body starts before memory is short.
    let (before, _) = load.memory();
    let mut crowd = JoinSet::new();
    for _ in 0..20 {
        let addr = load.addr;
        crowd.spawn(async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            let (mut read, mut write) = stream.into_split();
            let head = format!(
                "POST /http/a HTTP/1.1\r\nhost: {addr}\r\ncontent-length: {}\r\n\r\n",
                9 << 20
            );
            let pouring = async {
                let piece = [b'x'; 64 << 10];
                write.write_all(head.as_bytes()).await?;
                for _ in 0..128 {
                    write.write_all(&piece).await?;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok::<(), io::Error>(())
            };
            let poured = async {
                match pouring.await {
                    Ok(()) => {}
                    // It is refused.
                    Err(_) => std::future::pending().await,
                }
            };
            let mut status = [0; 12];
            tokio::select! {
                read = read.read_exact(&mut status) => {
                    read.unwrap();
                    Some(String::from_utf8_lossy(&status).into_owned())
                }
                () = poured => None,
            }
        });
    }
    let answers = within("refusals", crowd.join_all()).await;
    let refused: Vec<String> = answers.into_iter().flatten().collect();
    // No more than four of them fit beside the memory that is resident anyway.
    assert!(refused.len() >= 16, "{refused:?}");
    assert!(
        refused.iter().all(|status| status == "HTTP/1.1 503"),
        "{refused:?}"
    );
    let (_, peak) = load.memory();
    let took = served_again(&load).await;
    let (after, _) = load.memory();
    println!(
        "20 slow bodies of 9 MiB: resident before {} MiB, peak {} MiB, {} MiB when served again \
         after {took:.1?}",
        before / MIB,
        peak / MIB,
        after / MIB
    );
    assert!(peak < 96 * MIB, "{peak}");
    load.stop().await;
}

/// Returns how many threads of each name a daemon has on these processors.
async fn threads(processors: &str) -> BTreeMap<String, usize> {
    let mut command = tokio::process::Command::new("taskset");
    command
        .args(["-c", processors, env!("CARGO_BIN_EXE_countersign")])
        .args(["--listen", "127.0.0.1:0", "--admin", "off"])
        .arg("https://a.appsync-api.eu-west-1.amazonaws.com/graphql")
        .env_clear()
        .envs(demo_key())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut daemon = command.spawn().unwrap();
    let mut log = BufReader::new(daemon.stderr.take().unwrap()).lines();
    loop {
        let line = within("the daemon", log.next_line()).await.unwrap();
        if line.expect("it runs").contains("listening on") {
            break;
        }
    }
    let mut names = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{}/task", daemon.id().unwrap())).unwrap() {
        let name = fs::read_to_string(task.unwrap().path().join("comm")).unwrap();
        *names.entry(name.trim().to_owned()).or_default() += 1;
    }
    names
}

#[tokio::test]
async fn the_runtime_has_a_thread_for_each_of_several_processors() {
    let own = [("countersign".to_owned(), 1), ("log".to_owned(), 1)];
    let one = threads("0").await;
    assert_eq!(one, BTreeMap::from(own.clone()));
    let two = threads("0,1").await;
    let workers = ("tokio-rt-worker".to_owned(), 2);
    assert_eq!(two, own.into_iter().chain([workers]).collect());
}

/// Clients that read nothing are disconnected soon.
const HARD: &str = "limits.memory = \"256MiB\"\ntimeouts.write = \"1s\"";

/// Makes the emulator answer every operation that selects `big`, and returns the length of the body.
fn big(load: &Running<Daemon>, status: u16, size: usize) -> usize {
    let text = "x".repeat(size);
    let body = match status {
        200 => json!({ "data": { "big": text } }),
        _ => json!({ "errors": [{ "message": text }] }),
    };
    let body = body.to_string();
    let length = body.len();
    let answer = json!({
        "status": status, "content_type": "application/json", "body": body, "only": "big",
    });
    load.switch(json!({ "answer_http": answer }));
    length
}

/// Checks that the peak of resident memory is below the limit of 256 MiB.
fn stays_within(load: &Running<Daemon>, what: &str) {
    let (after, peak) = load.memory();
    println!("{what}: peak {} MiB, after {} MiB", peak / MIB, after / MIB);
    assert!(peak < 256 * MIB, "{what}: {} MiB", peak / MIB);
}

/// Reads to the end, and returns the number of bytes and of occurrences of `mark`.
async fn drain(mut stream: TcpStream, mark: &str) -> (usize, usize) {
    let mut bytes = vec![0; 64 << 10];
    let (mut length, mut count) = (0, 0);
    let mut tail = Vec::new();
    loop {
        let read = tokio::time::timeout(SLOW, stream.read(&mut bytes)).await;
        let read = read.expect("more of the answer").unwrap();
        if read == 0 {
            return (length, count);
        }
        length += read;
        tail.extend_from_slice(&bytes[..read]);
        count += String::from_utf8_lossy(&tail).matches(mark).count();
        let kept = tail.len().min(mark.len() - 1);
        tail.drain(..tail.len() - kept);
    }
}

async fn ask(load: &Running<Daemon>, accept: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(load.addr).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: {accept}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// 833 bytes made 1,552 MiB resident.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_long_answers_stays_within_the_limit() {
    let load = load::start(HARD).await;
    let length = big(&load, 200, (16 << 20) - 100);
    let batch = json!(vec![json!({ "query": "{ big }" }); 32]).to_string();
    let work = async {
        // One response is read, and four are not.
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(ask(&load, "application/json", &batch).await);
        }
        let stream = ask(&load, "application/json", &batch).await;
        let (read, answers) = drain(stream, "{\"data\":").await;
        assert_eq!(answers, 32);
        assert!(read > 32 * length, "{read}");
        drop(held);
    };
    load.during("batches of long answers", work).await;
    stays_within(&load, "batches of 32 answers of 16 MiB");
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_with_long_answers_stay_within_the_limit() {
    let load = load::start(HARD).await;
    big(&load, 200, (16 << 20) - 100);
    let work = async {
        // Sockets that are not read are closed after the timeout, and their memory is freed.
        let mut silent = Vec::new();
        for _ in 0..5 {
            let mut socket = Socket::open(load.addr, &[]).await;
            socket.init().await;
            for id in 0..64 {
                socket.subscribe(&id.to_string(), "{ big }").await;
            }
            silent.push(socket);
        }
        let mut reader = Socket::open(load.addr, &[]).await;
        reader.init().await;
        let ended = async {
            for id in ["a", "b"] {
                reader.subscribe(id, "{ big }").await;
                let told = reader.next_of(id).await;
                assert_eq!(told["type"], "next");
                let text = told["payload"]["data"]["big"].as_str().unwrap();
                assert_eq!(text.len(), (16 << 20) - 100);
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended)
            .await
            .expect("the answers of a client that reads");
        drop(silent);
    };
    load.during("sockets with long answers", work).await;
    stays_within(&load, "5 silent sockets with 64 answers of 16 MiB each");
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_are_not_read_stay_within_the_limit() {
    load::allow_files(4_000);
    let load = load::start(HARD).await;
    big(&load, 403, 250 << 10);
    let body = json!({ "query": "{ big }" }).to_string();
    let mut held = Vec::new();
    for _ in 0..900 {
        held.push(ask(&load, "application/json", &body).await);
    }
    // It has waited for room behind the others, and is answered with or without it.
    let (read, count) = drain(held.pop().unwrap(), "\"errors\"").await;
    assert_eq!(count, 1, "{read}");
    // Room for short answers is kept apart.
    assert_eq!(query(&load).await.status, 200);
    drop(held);
    stays_within(&load, "900 refusals of 250 KiB");
    load.stop().await;
}

/// Sends a request about reserved streams, and returns the status and the body.
async fn of_stream(
    load: &Running<Daemon>,
    method: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "{method} /graphql HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let answer = raw(load.addr, request.as_bytes()).await;
    (answer.status, answer.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserved_streams_with_long_answers_stay_within_the_limit() {
    let load = load::start(HARD).await;
    let length = big(&load, 200, (16 << 20) - 100);
    let open = async || {
        let (status, token) = of_stream(&load, "PUT", "", "").await;
        assert_eq!(status, 201, "{token}");
        let mut stream = TcpStream::connect(load.addr).await.unwrap();
        let head = format!(
            "GET /graphql HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
             x-graphql-event-stream-token: {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        within("a stream", stream.read_exact(&mut line))
            .await
            .unwrap();
        assert_eq!(&line, b"HTTP/1.1 200");
        (token, stream)
    };
    let start = async |token: &str, id: usize| {
        let headers =
            format!("content-type: application/json\r\nx-graphql-event-stream-token: {token}\r\n");
        let body = json!({
            "query": "{ big }", "extensions": { "operationId": id.to_string() },
        });
        of_stream(&load, "POST", &headers, &body.to_string()).await
    };
    let work = async {
        let mut silent = Vec::new();
        for _ in 0..5 {
            let (token, stream) = open().await;
            for id in 0..8 {
                let (status, text) = start(&token, id).await;
                assert_eq!(status, 202, "{text}");
            }
            silent.push(stream);
        }
        let (token, mut reader) = open().await;
        let (status, text) = start(&token, 0).await;
        assert_eq!(status, 202, "{text}");
        // Room for short answers is kept apart.
        assert_eq!(query(&load).await.status, 200);
        // The long one waits for room behind the others, and comes with or without it.
        let mut bytes = vec![0; 64 << 10];
        let mut read = Vec::new();
        let is_refused = |read: &[u8]| {
            read.len() < 4_096 && String::from_utf8_lossy(read).contains("BUFFERS_FULL")
        };
        while read.len() < length && !is_refused(&read) {
            let more = tokio::time::timeout(SLOW, reader.read(&mut bytes)).await;
            let more = more.expect("more of the stream").unwrap();
            assert!(more > 0, "closed after {} bytes", read.len());
            read.extend_from_slice(&bytes[..more]);
        }
        drop(silent);
    };
    load.during("reserved streams with long answers", work)
        .await;
    stays_within(&load, "5 silent streams with 8 answers of 16 MiB each");
    load.stop().await;
}
