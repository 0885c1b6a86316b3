//! Streams that one request reserves, another opens, and others start operations on ("single
//! connection" of GraphQL over SSE).
//!
//! A client sends these requests on several connections. Until a stream is open, it counts against the
//! connection that reserved it; then the connection that opened it is counted. Each connection and each
//! token may reserve a limited number. When the connection that reserved a stream ends, the client has
//! [`ORPHANED`] to open it, because some clients use each connection for one request only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::dialect::{SseSingle, StreamDialect as _, StreamRequest, StreamResponse};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::context::SessionContext;
use super::operations::count_refusals;
use super::stream::{MachineCall, Piece, PieceSender, Stream};
use crate::deadline::Deadline;
use crate::guard::Admission;

/// The reserved streams of the process, by their tokens.
#[derive(Clone, Debug, Default)]
pub struct ReservedStreams(Arc<Mutex<HashMap<StreamToken, Entry>>>);

/// The secret name of a reserved stream. A client needs it, and must have the same owner, to use the
/// stream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StreamToken(String);

/// The owner of a stream: the clients of a route that send the same token. Others may not use the
/// stream, because its operations are checked against the owner's policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOwner {
    route: String,
    /// The name of the clients' token.
    grant: Option<Arc<str>>,
}

/// The client connection on which a stream is reserved.
#[derive(Clone, Debug)]
pub struct ClientConnection {
    number: u64,
    ended: CancellationToken,
}

/// The outcome of a request to open a stream.
#[derive(Debug)]
pub enum OpenOutcome {
    /// The pieces of the response's body.
    Opened(mpsc::Receiver<Piece>),
    AlreadyOpen,
    NotFound,
}

struct Entry {
    owner: StreamOwner,
    connection: ClientConnection,
    since: Instant,
    /// Opens the stream. `None` if it is open.
    open: Option<oneshot::Sender<PieceSender>>,
    calls: mpsc::Sender<MachineCall<SseSingle>>,
}

/// The driver's end of a reserved stream. Removes the entry when it is dropped.
pub(super) struct Reservation {
    registry: ReservedStreams,
    token: StreamToken,
    opened: oneshot::Receiver<PieceSender>,
    calls: mpsc::Receiver<MachineCall<SseSingle>>,
    connection: ClientConnection,
}

/// The maximum number of streams that are reserved and not open. An open stream counts as a client
/// connection instead.
const MAX_RESERVED: usize = 1024;
/// The maximum number of those that one connection, and one token, may reserve.
const OF_A_CONNECTION: usize = 16;
const OF_A_TOKEN: usize = 256;
/// How long a stream is kept after the connection that reserved it has ended.
const ORPHANED: Duration = Duration::from_secs(2);

impl StreamOwner {
    /// Returns the owner of the streams that a client of `route` reserves.
    pub fn new(route: &str, admission: &Admission) -> Self {
        let grant = match admission {
            Admission::Granted(grant) => grant.name.clone(),
            Admission::Pending(_) => None,
        };
        Self {
            route: route.to_owned(),
            grant,
        }
    }
}

impl ReservedStreams {
    /// Adds a stream. Returns `None` if the connection, the token or all clients together have reserved
    /// the maximum number.
    pub(super) fn add(
        &self,
        owner: StreamOwner,
        connection: ClientConnection,
    ) -> Option<(StreamToken, Reservation)> {
        let (open, opened) = oneshot::channel();
        let (calls, received) = mpsc::channel(1);
        let token = StreamToken(Uuid::new_v4().simple().to_string());
        let mut entries = self.0.lock();
        make_room(&mut entries, &owner, &connection)?;
        let entry = Entry {
            owner,
            connection: connection.clone(),
            since: Instant::now(),
            open: Some(open),
            calls,
        };
        entries.insert(token.clone(), entry);
        let reservation = Reservation {
            registry: self.clone(),
            token: token.clone(),
            opened,
            calls: received,
            connection,
        };
        Some((token, reservation))
    }

    /// Returns whether `owner` has a stream with this token.
    pub fn contains(&self, owner: &StreamOwner, token: &str) -> bool {
        let entries = self.0.lock();
        let entry = entries.get(&StreamToken(token.to_owned()));
        entry.is_some_and(|entry| entry.owner == *owner)
    }

    /// Opens the stream that `token` names.
    pub fn open(&self, owner: &StreamOwner, token: &str) -> OpenOutcome {
        let mut entries = self.0.lock();
        let entry = entries.get_mut(&StreamToken(token.to_owned()));
        let Some(entry) = entry.filter(|entry| entry.owner == *owner) else {
            return OpenOutcome::NotFound;
        };
        let (body, pieces) = mpsc::channel(1);
        match entry.open.take().map(|open| open.send(body)) {
            Some(Ok(())) => OpenOutcome::Opened(pieces),
            Some(Err(_)) => OpenOutcome::NotFound,
            None => OpenOutcome::AlreadyOpen,
        }
    }

    /// Starts an operation on a stream. Returns `None` if the stream does not exist.
    pub async fn start(
        &self,
        owner: &StreamOwner,
        token: &str,
        request: StreamRequest,
    ) -> Option<StreamResponse> {
        let start = move |machine: &mut SseSingle| {
            let outcome = machine.handle(request);
            count_refusals(machine.take_refusals());
            outcome
        };
        self.call(owner, token, start).await
    }

    /// Stops an operation of a stream. Returns `None` if the stream does not exist.
    pub async fn stop(
        &self,
        owner: &StreamOwner,
        token: &str,
        id: String,
    ) -> Option<StreamResponse> {
        self.call(owner, token, move |machine| machine.stop(&id))
            .await
    }

    /// Calls the protocol machine of a stream. Returns `None` if the stream does not exist.
    async fn call(
        &self,
        owner: &StreamOwner,
        token: &str,
        call: impl FnOnce(&mut SseSingle) -> StreamResponse + Send + 'static,
    ) -> Option<StreamResponse> {
        let calls = {
            let entries = self.0.lock();
            let entry = entries.get(&StreamToken(token.to_owned()));
            entry.filter(|entry| entry.owner == *owner)?.calls.clone()
        };
        let (reply, outcome) = oneshot::channel();
        let machine_call: MachineCall<SseSingle> = Box::new(move |machine| {
            let _ = reply.send(call(machine));
        });
        calls.send(machine_call).await.ok()?;
        outcome.await.ok()
    }
}

impl ClientConnection {
    /// Returns a connection. `number` must be unique among all connections; `ended` is cancelled when the
    /// connection ends.
    pub fn new(number: u64, ended: CancellationToken) -> Self {
        Self { number, ended }
    }
}

/// Checks that one more stream may be reserved. At the maximum number of streams, removes one whose
/// connection has ended or, if there is none, one of the connection that has reserved most. Returns `None`
/// if no stream may be reserved.
fn make_room(
    entries: &mut HashMap<StreamToken, Entry>,
    owner: &StreamOwner,
    connection: &ClientConnection,
) -> Option<()> {
    let mut of_token = 0;
    let mut waiting = 0;
    let mut of_connections: HashMap<u64, usize> = HashMap::new();
    for entry in entries.values().filter(|entry| entry.open.is_some()) {
        waiting += 1;
        *of_connections.entry(entry.connection.number).or_default() += 1;
        of_token += usize::from(entry.owner.grant == owner.grant);
    }
    let count = |connection: &ClientConnection| {
        of_connections.get(&connection.number).copied().unwrap_or(0)
    };
    let own = count(connection);
    let is_token_full = owner.grant.is_some() && of_token >= OF_A_TOKEN;
    if own >= OF_A_CONNECTION || is_token_full {
        return None;
    }
    if waiting < MAX_RESERVED {
        return Some(());
    }
    let rest = entries.iter().filter(|(_, entry)| entry.open.is_some());
    let (token, entry) = rest.max_by_key(|(_, entry)| {
        let is_orphan = entry.connection.ended.is_cancelled();
        (
            is_orphan,
            count(&entry.connection),
            std::cmp::Reverse(entry.since),
        )
    })?;
    if !entry.connection.ended.is_cancelled() && count(&entry.connection) <= own + 1 {
        return None;
    }
    let token = token.clone();
    // The stream's task ends when its entry is gone.
    entries.remove(&token).map(drop)
}

/// Runs a reserved stream. Until it is open, operations start and end, but nothing is written.
pub(super) async fn serve(context: SessionContext, mut reservation: Reservation) {
    let context = Arc::new(context);
    let machine = SseSingle::new(context.config.limits(), context.documents.clone());
    let mut stream = Stream::new(Arc::clone(&context), machine);
    let mut deadline = Deadline::default();
    let mut open_until = Instant::now() + context.config.init;
    let mut is_orphan = false;
    let body = loop {
        tokio::select! {
            opened = &mut reservation.opened => match opened {
                Ok(body) => break body,
                Err(_) => return,
            },
            machine_call = reservation.calls.recv() => if let Some(machine_call) = machine_call {
                machine_call(&mut stream.machine);
                stream.prepare();
            },
            () = reservation.connection.ended.cancelled(), if !is_orphan => {
                is_orphan = true;
                open_until = open_until.min(Instant::now() + ORPHANED);
            }
            () = deadline.passed(open_until) => return,
            () = context.draining.cancelled() => return,
        }
    };
    stream.machine.open();
    stream.run(body, Some(&mut reservation.calls)).await;
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.registry.0.lock().remove(&self.token);
    }
}

impl StreamToken {
    /// Returns the token as clients send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for StreamToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamToken")
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections, and the streams that they reserved.
    #[derive(Default)]
    struct Bench {
        reserved: ReservedStreams,
        kept: Vec<(StreamToken, Reservation)>,
        last: u64,
    }

    impl Bench {
        fn connection(&mut self) -> ClientConnection {
            self.last += 1;
            ClientConnection::new(self.last, CancellationToken::new())
        }

        fn reserve(&mut self, connection: &ClientConnection, token: Option<&str>) -> bool {
            let owner = owner(token);
            let reserved = self.reserved.add(owner, connection.clone());
            let is_reserved = reserved.is_some();
            self.kept.extend(reserved);
            is_reserved
        }

        /// The streams of `connection` that are still reserved.
        fn left(&self, connection: &ClientConnection) -> usize {
            let entries = self.reserved.0.lock();
            let of_it = |entry: &&Entry| entry.connection.number == connection.number;
            entries.values().filter(of_it).count()
        }
    }

    fn owner(token: Option<&str>) -> StreamOwner {
        StreamOwner {
            route: "graphql".to_owned(),
            grant: token.map(Into::into),
        }
    }

    #[test]
    fn a_connection_and_a_token_reserve_a_few_streams_each() {
        let mut bench = Bench::default();
        let (one, other) = (bench.connection(), bench.connection());
        for _ in 0..OF_A_CONNECTION {
            assert!(bench.reserve(&one, None));
        }
        assert!(!bench.reserve(&one, None));
        assert!(bench.reserve(&other, None));
        // An open stream is not counted.
        let (token, _) = &bench.kept[0];
        let opened = bench.reserved.open(&owner(None), token.as_str());
        assert!(matches!(opened, OpenOutcome::Opened(_)));
        assert!(bench.reserve(&one, None));
        assert!(!bench.reserve(&one, None));
        for _ in 0..OF_A_TOKEN / OF_A_CONNECTION {
            let connection = bench.connection();
            for _ in 0..OF_A_CONNECTION {
                assert!(bench.reserve(&connection, Some("ci")));
            }
        }
        let connection = bench.connection();
        assert!(!bench.reserve(&connection, Some("ci")));
        assert!(bench.reserve(&connection, Some("dev")));
    }

    #[test]
    fn a_new_stream_replaces_one_of_an_ended_connection_or_of_the_one_with_the_most() {
        let mut bench = Bench::default();
        let many: Vec<ClientConnection> = (0..MAX_RESERVED / OF_A_CONNECTION)
            .map(|_| bench.connection())
            .collect();
        for connection in &many {
            for _ in 0..OF_A_CONNECTION {
                assert!(bench.reserve(connection, None));
            }
        }
        let newcomer = bench.connection();
        many[7].ended.cancel();
        for count in 1..=OF_A_CONNECTION {
            assert!(bench.reserve(&newcomer, None));
            assert_eq!(bench.left(&many[7]), OF_A_CONNECTION - count);
        }
        assert!(!bench.reserve(&newcomer, None));
        let latest = bench.connection();
        assert!(bench.reserve(&latest, None));
        assert_eq!(bench.left(&latest), 1);
        assert_eq!(bench.reserved.0.lock().len(), MAX_RESERVED);
    }
}
