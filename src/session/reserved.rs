//! Streams that one request reserves, another opens, and others start operations on ("single
//! connection" of GraphQL over SSE).
//!
//! Clients send these requests on several connections, so an open stream belongs to the connection
//! that opened it. Until then it belongs to the connection that reserved it. Each connection and each
//! token may reserve a few. When the connection ends, the client has [`ORPHANED`] to open the stream,
//! because some clients use each connection once.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::dialect::{Answer, SseSingle, Streamed as _};
use countersign_protocol::graphql::Operation;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::context::Context;
use super::operations::count_refusals;
use super::stream::{Body, Command, Piece, Stream};
use crate::guard::Admission;

/// The reserved streams of the process, by their tokens.
#[derive(Clone, Debug, Default)]
pub struct Reserved(Arc<Mutex<HashMap<Token, Entry>>>);

/// The name of a reserved stream; a client of the same holder that knows it may use the stream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

/// The owner of a stream. Others may not use it, because its operations are checked against the
/// owner's policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    route: String,
    /// The name of the client's token.
    grant: Option<Arc<str>>,
}

/// The connection that a stream was reserved on.
#[derive(Clone, Debug)]
pub struct Origin {
    number: u64,
    ended: CancellationToken,
}

/// The outcome of a request to open a stream.
#[derive(Debug)]
pub enum Opening {
    /// The pieces of the response's body.
    Opened(mpsc::Receiver<Piece>),
    AlreadyOpen,
    NotFound,
}

struct Entry {
    holder: Holder,
    origin: Origin,
    since: Instant,
    /// `None` once the stream is open.
    open: Option<oneshot::Sender<Body>>,
    commands: mpsc::Sender<Command<SseSingle>>,
}

/// The stream's side of its entry. Removes the entry when it is dropped.
pub(super) struct Reservation {
    registry: Reserved,
    token: Token,
    opened: oneshot::Receiver<Body>,
    commands: mpsc::Receiver<Command<SseSingle>>,
    origin: Origin,
}

/// Streams that are reserved and not open. An open stream counts as a client connection instead.
const MAX_RESERVED: usize = 1024;
/// How many of those one connection, and one token, may have reserved.
const OF_A_CONNECTION: usize = 16;
const OF_A_TOKEN: usize = 256;
/// How long a stream is kept after the connection that reserved it has ended.
const ORPHANED: Duration = Duration::from_secs(2);

impl Holder {
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

impl Reserved {
    /// Adds a stream. Returns `None` if the connection, the token or all clients together have
    /// reserved too many.
    pub(super) fn add(&self, holder: Holder, origin: Origin) -> Option<(Token, Reservation)> {
        let (open, opened) = oneshot::channel();
        let (commands, received) = mpsc::channel(1);
        let token = Token(Uuid::new_v4().simple().to_string());
        let mut entries = self.0.lock();
        make_room(&mut entries, &holder, &origin)?;
        let entry = Entry {
            holder,
            origin: origin.clone(),
            since: Instant::now(),
            open: Some(open),
            commands,
        };
        entries.insert(token.clone(), entry);
        let reservation = Reservation {
            registry: self.clone(),
            token: token.clone(),
            opened,
            commands: received,
            origin,
        };
        Some((token, reservation))
    }

    /// Whether `holder` has a stream of this token.
    pub fn contains(&self, holder: &Holder, token: &str) -> bool {
        let entries = self.0.lock();
        let entry = entries.get(&Token(token.to_owned()));
        entry.is_some_and(|entry| entry.holder == *holder)
    }

    /// Opens the stream that `token` names.
    pub fn open(&self, holder: &Holder, token: &str) -> Opening {
        let mut entries = self.0.lock();
        let entry = entries.get_mut(&Token(token.to_owned()));
        let Some(entry) = entry.filter(|entry| entry.holder == *holder) else {
            return Opening::NotFound;
        };
        let (body, pieces) = mpsc::channel(1);
        match entry.open.take().map(|open| open.send(body)) {
            Some(Ok(())) => Opening::Opened(pieces),
            Some(Err(_)) => Opening::NotFound,
            None => Opening::AlreadyOpen,
        }
    }

    /// Starts an operation on a stream. Returns `None` if the stream does not exist.
    pub async fn start(
        &self,
        holder: &Holder,
        token: &str,
        operation: Operation,
    ) -> Option<Answer> {
        let start = move |form: &mut SseSingle| {
            let answer = form.start(operation);
            count_refusals(form.take_refusals());
            answer
        };
        self.call(holder, token, start).await
    }

    /// Stops an operation of a stream. Returns `None` if the stream does not exist.
    pub async fn stop(&self, holder: &Holder, token: &str, id: String) -> Option<Answer> {
        self.call(holder, token, move |form| form.stop(&id)).await
    }

    async fn call(
        &self,
        holder: &Holder,
        token: &str,
        call: impl FnOnce(&mut SseSingle) -> Answer + Send + 'static,
    ) -> Option<Answer> {
        let commands = {
            let entries = self.0.lock();
            let entry = entries.get(&Token(token.to_owned()));
            entry
                .filter(|entry| entry.holder == *holder)?
                .commands
                .clone()
        };
        let (reply, answer) = oneshot::channel();
        let command: Command<SseSingle> = Box::new(move |form| {
            let _ = reply.send(call(form));
        });
        commands.send(command).await.ok()?;
        answer.await.ok()
    }
}

impl Origin {
    /// `number` must be unique among connections; `ended` is cancelled when the connection ends.
    pub fn new(number: u64, ended: CancellationToken) -> Self {
        Self { number, ended }
    }
}

/// Makes sure that one more stream may be reserved. If there are too many already, removes one whose
/// connection has ended, or else one of the connection that has the most.
fn make_room(entries: &mut HashMap<Token, Entry>, holder: &Holder, origin: &Origin) -> Option<()> {
    let mut of_token = 0;
    let mut waiting = 0;
    let mut of_origins: HashMap<u64, usize> = HashMap::new();
    for entry in entries.values().filter(|entry| entry.open.is_some()) {
        waiting += 1;
        *of_origins.entry(entry.origin.number).or_default() += 1;
        of_token += usize::from(entry.holder.grant == holder.grant);
    }
    let count = |origin: &Origin| of_origins.get(&origin.number).copied().unwrap_or(0);
    let own = count(origin);
    let is_token_full = holder.grant.is_some() && of_token >= OF_A_TOKEN;
    if own >= OF_A_CONNECTION || is_token_full {
        return None;
    }
    if waiting < MAX_RESERVED {
        return Some(());
    }
    let rest = entries.iter().filter(|(_, entry)| entry.open.is_some());
    let (token, entry) = rest.max_by_key(|(_, entry)| {
        let is_orphan = entry.origin.ended.is_cancelled();
        (
            is_orphan,
            count(&entry.origin),
            std::cmp::Reverse(entry.since),
        )
    })?;
    if !entry.origin.ended.is_cancelled() && count(&entry.origin) <= own + 1 {
        return None;
    }
    let token = token.clone();
    // The stream's task ends when its entry is gone.
    entries.remove(&token).map(drop)
}

/// Runs a reserved stream. Until it is open, performs only what does not need a response.
pub(super) async fn serve(context: Context, mut reservation: Reservation) {
    let context = Arc::new(context);
    let form = SseSingle::new(context.config.limits(), context.documents.clone());
    let mut stream = Stream::new(Arc::clone(&context), form);
    let mut deadline = pin!(tokio::time::sleep(context.config.init));
    let mut is_orphan = false;
    let body = loop {
        tokio::select! {
            opened = &mut reservation.opened => match opened {
                Ok(body) => break body,
                Err(_) => return,
            },
            command = reservation.commands.recv() => if let Some(command) = command {
                command(&mut stream.form);
                stream.prepare();
            },
            () = reservation.origin.ended.cancelled(), if !is_orphan => {
                is_orphan = true;
                let at = (Instant::now() + ORPHANED).min(deadline.deadline());
                deadline.as_mut().reset(at);
            }
            () = &mut deadline => return,
            () = context.draining.cancelled() => return,
        }
    };
    stream.form.open();
    stream.run(body, Some(&mut reservation.commands)).await;
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.registry.0.lock().remove(&self.token);
    }
}

impl Token {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
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

    /// Connections, and the streams that they have reserved.
    #[derive(Default)]
    struct Bench {
        reserved: Reserved,
        kept: Vec<(Token, Reservation)>,
        last: u64,
    }

    impl Bench {
        fn origin(&mut self) -> Origin {
            self.last += 1;
            Origin::new(self.last, CancellationToken::new())
        }

        fn reserve(&mut self, origin: &Origin, token: Option<&str>) -> bool {
            let holder = holder(token);
            let reserved = self.reserved.add(holder, origin.clone());
            let is_reserved = reserved.is_some();
            self.kept.extend(reserved);
            is_reserved
        }

        /// The streams of `origin` that are still reserved.
        fn left(&self, origin: &Origin) -> usize {
            let entries = self.reserved.0.lock();
            let of_it = |entry: &&Entry| entry.origin.number == origin.number;
            entries.values().filter(of_it).count()
        }
    }

    fn holder(token: Option<&str>) -> Holder {
        Holder {
            route: "graphql".to_owned(),
            grant: token.map(Into::into),
        }
    }

    #[test]
    fn a_connection_and_a_token_reserve_a_few_streams_each() {
        let mut bench = Bench::default();
        let (one, other) = (bench.origin(), bench.origin());
        for _ in 0..OF_A_CONNECTION {
            assert!(bench.reserve(&one, None));
        }
        assert!(!bench.reserve(&one, None));
        assert!(bench.reserve(&other, None));
        // An open stream is not counted.
        let (token, _) = &bench.kept[0];
        let opened = bench.reserved.open(&holder(None), token.as_str());
        assert!(matches!(opened, Opening::Opened(_)));
        assert!(bench.reserve(&one, None));
        assert!(!bench.reserve(&one, None));
        for _ in 0..OF_A_TOKEN / OF_A_CONNECTION {
            let origin = bench.origin();
            for _ in 0..OF_A_CONNECTION {
                assert!(bench.reserve(&origin, Some("ci")));
            }
        }
        let origin = bench.origin();
        assert!(!bench.reserve(&origin, Some("ci")));
        assert!(bench.reserve(&origin, Some("dev")));
    }

    #[test]
    fn a_new_stream_replaces_one_of_an_ended_connection_or_of_the_one_with_the_most() {
        let mut bench = Bench::default();
        let many: Vec<Origin> = (0..MAX_RESERVED / OF_A_CONNECTION)
            .map(|_| bench.origin())
            .collect();
        for origin in &many {
            for _ in 0..OF_A_CONNECTION {
                assert!(bench.reserve(origin, None));
            }
        }
        let newcomer = bench.origin();
        many[7].ended.cancel();
        for count in 1..=OF_A_CONNECTION {
            assert!(bench.reserve(&newcomer, None));
            assert_eq!(bench.left(&many[7]), OF_A_CONNECTION - count);
        }
        assert!(!bench.reserve(&newcomer, None));
        let latest = bench.origin();
        assert!(bench.reserve(&latest, None));
        assert_eq!(bench.left(&latest), 1);
        assert_eq!(bench.reserved.0.lock().len(), MAX_RESERVED);
    }
}
