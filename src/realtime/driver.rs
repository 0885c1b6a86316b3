//! Owns the socket of one realtime connection and does what the machine says.
//!
//! The order of the `select!` is policy: reading comes before everything else, because the
//! reader must never wait for a client, and writing before new commands.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use countersign_protocol::graphql::{Event, GraphqlError};
use countersign_protocol::realtime::connection::{Connection, Key, Output};
use countersign_protocol::realtime::{Failure, Start, wire};
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::pool::{ConnectionId, Shared, Wanted};
use super::{MAX_MESSAGE, REDACTION, log_ignored};
use crate::graphql::outbox::Overflow;
use crate::sign::{SignError, Signable, SignedHeaders, clock};
use crate::telemetry::error_chain;
use crate::telemetry::metrics::{Held, LastHeard, RouteMetrics};
use crate::telemetry::tasks::{Panicked, Task, caught};
use crate::upstream::{Endpoint, Error, Handshake, RealtimeEndpoint, Socket};

/// What the pool asks of a connection.
#[derive(Debug)]
pub(super) enum Command {
    Subscribe(Wanted),
    Stop(Key),
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// It had nothing to do for the linger time.
    Idle,
    /// It was open, and is no more.
    Lost(&'static str),
    /// It was open, and a panic ended it.
    Panicked,
    /// AppSync, or the lack of credentials, refused it for good.
    Refused(Vec<GraphqlError>),
    /// It could not be opened; that may change.
    Unreachable(GraphqlError),
}

struct Open {
    heard: Arc<LastHeard>,
    _count: Held,
}

pub(super) struct Driver {
    pool: Arc<Shared>,
    id: ConnectionId,
    commands: mpsc::Receiver<Command>,
    wanted: HashMap<Key, Wanted>,
    /// Subscriptions that were ended here and not yet upstream.
    over: HashSet<Key>,
    /// When each start was sent of which there is no word yet.
    starts: HashMap<Key, Instant>,
    /// What tells of the connection once it is open.
    open: Option<Open>,
    is_ready: bool,
    idle_since: Option<Instant>,
}

impl Driver {
    pub(super) fn new(
        pool: Arc<Shared>,
        id: ConnectionId,
        commands: mpsc::Receiver<Command>,
        wanted: Vec<Wanted>,
    ) -> Self {
        let wanted = wanted.into_iter().map(|wanted| (wanted.key, wanted));
        Self {
            pool,
            id,
            commands,
            wanted: wanted.collect(),
            over: HashSet::new(),
            starts: HashMap::new(),
            open: None,
            is_ready: false,
            idle_since: None,
        }
    }

    pub(super) async fn run(mut self) {
        let lived = caught(Task::Realtime, async {
            match self.open().await {
                Ok((socket, machine)) => self.drive(socket, machine).await,
                Err(error) => error,
            }
        });
        let ending = match lived.await {
            Ok(ending) => ending,
            Err(_) if self.is_ready => Ending::Panicked,
            Err(panicked) => {
                let message = panicked.to_string();
                Ending::Unreachable(GraphqlError::coded(message, Panicked::CODE, "no"))
            }
        };
        match &ending {
            Ending::Lost(_) | Ending::Panicked => _ = self.metrics().realtime_losses.inc(),
            Ending::Refused(_) => self.metrics().realtime_connect("refused"),
            Ending::Unreachable(_) => self.metrics().realtime_connect("unreachable"),
            Ending::Idle => {}
        }
        self.open = None;
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.take_early(command);
        }
        self.wanted.retain(|key, _| !self.over.contains(key));
        let live = self.wanted.into_values().collect();
        self.pool.ended(self.id, ending, live);
    }

    fn metrics(&self) -> &RouteMetrics {
        self.pool.upstream.metrics()
    }

    /// A command that comes while there is no machine to give it to.
    fn take_early(&mut self, command: Command) {
        match command {
            Command::Subscribe(wanted) => {
                self.wanted.insert(wanted.key, wanted);
            }
            Command::Stop(key) => {
                if let Some(wanted) = self.wanted.remove(&key) {
                    self.pool.released(self.id, &wanted);
                }
            }
        }
    }

    /// Whoever gives up meanwhile frees a place for who comes next: the dial goes on.
    async fn open(&mut self) -> Result<(Socket, Connection), Ending> {
        let begun = Instant::now();
        let config = self.pool.config;
        let pool = Arc::clone(&self.pool);
        let mut dialling = pin!(pool.dial());
        let socket = loop {
            tokio::select! {
                biased;
                dialled = dialling.as_mut() => break dialled?,
                Some(command) = self.commands.recv() => self.take_early(command),
            }
        };
        let now = Instant::now();
        let ack_deadline = (begun + config.handshake).max(now);
        let mut machine = Connection::new(
            self.pool.protocol,
            now,
            ack_deadline,
            config.start_ack,
            config.keepalive,
            REDACTION,
        );
        for wanted in self.wanted.values() {
            machine.subscribe(wanted.key, Uuid::new_v4(), Arc::clone(&wanted.start));
        }
        Ok((socket, machine))
    }

    async fn drive(&mut self, socket: Socket, mut machine: Connection) -> Ending {
        let (mut sink, mut stream) = socket.split();
        let mut signing = FuturesUnordered::new();
        // A frame is handed over when the one before has left: so reading goes on while upstream
        // does not read, and what waits stays in the machine.
        let mut writing_since = None;
        loop {
            while let Some(output) = machine.poll_output() {
                if let Output::Sign(key, start) = output {
                    signing.push(sign(Arc::clone(&self.pool), key, start));
                } else if let Some(ending) = self.perform(output, &mut machine) {
                    return ending;
                }
            }
            if writing_since.is_none()
                && let Some(frame) = machine.poll_frame()
            {
                writing_since = Some(Instant::now());
                if sink.feed(Message::text(frame)).await.is_err() {
                    machine.handle_closed();
                }
            }
            let idle_at = self.idle_deadline(&machine);
            let stalled_at = writing_since.map(|since| since + self.pool.config.handshake);
            let deadlines = [machine.poll_timeout(), idle_at, stalled_at];
            tokio::select! {
                biased;
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if let Some(open) = &self.open {
                            open.heard.now(Instant::now());
                        }
                        let ignored = machine.handle_frame(Instant::now(), &Bytes::from(text));
                        if let Some(ignored) = ignored {
                            log_ignored(&ignored);
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => machine.handle_closed(),
                    Some(Ok(
                        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                    )) => {}
                },
                flushed = sink.flush(), if writing_since.is_some() => {
                    writing_since = None;
                    if flushed.is_err() {
                        machine.handle_closed();
                    }
                }
                Some((key, signed)) = signing.next() => {
                    if self.wanted.contains_key(&key) {
                        self.starts.insert(key, Instant::now());
                    }
                    machine.handle_signed(Instant::now(), key, signed);
                }
                command = self.commands.recv() => match command {
                    Some(Command::Subscribe(wanted)) => {
                        machine.subscribe(wanted.key, Uuid::new_v4(), Arc::clone(&wanted.start));
                        self.wanted.insert(wanted.key, wanted);
                    }
                    Some(Command::Stop(key)) => machine.stop(Instant::now(), key),
                    None => return Ending::Idle,
                },
                () = sleep_until(deadlines.into_iter().flatten().min()) => {
                    let now = Instant::now();
                    machine.handle_timeout(now);
                    if stalled_at.is_some_and(|at| at <= now) {
                        machine.handle_closed();
                    }
                    if idle_at.is_some_and(|at| at <= now) && self.pool.retire(self.id) {
                        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                        let closing = sink.send(Message::Close(Some(frame)));
                        let _ = tokio::time::timeout(self.pool.config.handshake, closing).await;
                        debug!("realtime connection closed: idle");
                        return Ending::Idle;
                    }
                }
            }
        }
    }

    /// Does what needs no waiting; answers the connection's end, if this is it.
    fn perform(&mut self, output: Output, machine: &mut Connection) -> Option<Ending> {
        match output {
            Output::Sign(..) => {}
            Output::Event(key, event) => {
                match &event {
                    Event::Started => {
                        if let Some(sent) = self.starts.remove(&key) {
                            let took = sent.elapsed().as_secs_f64();
                            self.metrics().subscription_start.observe(took);
                        }
                    }
                    Event::Next(_) => _ = self.metrics().events_received.inc(),
                    Event::Missed(_) | Event::Error(_) | Event::Complete | Event::Lost => {}
                }
                self.offer(key, event, machine);
            }
            Output::Ended(key, ending) => {
                let is_over = self.over.contains(&key);
                if let Some(wanted) = self.release(key).filter(|_| !is_over) {
                    wanted.outbox.end(wanted.operation, ending);
                }
            }
            Output::Released(key) => {
                self.release(key);
            }
            Output::Full(key) => {
                self.starts.remove(&key);
                if let Some(wanted) = self.wanted.remove(&key) {
                    self.pool.full(self.id, wanted);
                }
            }
            Output::Ready => {
                self.is_ready = true;
                self.metrics().realtime_connect("ok");
                self.open = Some(Open {
                    heard: self.metrics().listen(),
                    _count: Held::new(&self.metrics().realtime_connections),
                });
                self.pool.ready();
                info!(subscriptions = machine.count(), "realtime connection open");
            }
            Output::Refused(failures) => {
                warn!(
                    error = Failure::summary(&failures),
                    "realtime connection refused"
                );
                let errors = failures.iter().map(|failure| {
                    let code = "UPSTREAM_REFUSED";
                    failure.to_graphql().with("code", code).with("sent", "no")
                });
                return Some(Ending::Refused(errors.collect()));
            }
            Output::Lost(reason) if self.is_ready => return Some(Ending::Lost(reason)),
            Output::Lost(reason) => {
                let error = GraphqlError::coded(reason, "UPSTREAM_UNREACHABLE", "no");
                return Some(Ending::Unreachable(error));
            }
        }
        None
    }

    /// Never waits: what does not fit ends the subscription.
    fn offer(&mut self, key: Key, event: Event, machine: &mut Connection) {
        let Some(wanted) = self.wanted.get(&key).filter(|_| !self.over.contains(&key)) else {
            return;
        };
        if let Err(Overflow) = wanted.outbox.offer(wanted.operation, event) {
            self.metrics().slow_consumers.inc();
            warn!("a subscription ends: its client reads too slowly");
            let error = GraphqlError::coded(
                "the subscription was ended because its events were not read in time (limits.outbox)",
                "SLOW_CONSUMER",
                "yes",
            );
            wanted
                .outbox
                .end(wanted.operation, Event::Error(vec![error]));
            machine.stop(Instant::now(), key);
            self.over.insert(key);
        }
    }

    fn release(&mut self, key: Key) -> Option<Wanted> {
        let wanted = self.wanted.remove(&key)?;
        self.starts.remove(&key);
        self.over.remove(&key);
        self.pool.released(self.id, &wanted);
        Some(wanted)
    }

    fn idle_deadline(&mut self, machine: &Connection) -> Option<Instant> {
        if !self.is_ready || machine.count() > 0 {
            self.idle_since = None;
            return None;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        Some(since + self.pool.config.linger)
    }
}

/// Signs a start, beside the driver's loop: credentials may have to be waited for.
async fn sign(
    pool: Arc<Shared>,
    key: Key,
    start: Arc<Start>,
) -> (Key, Result<String, GraphqlError>) {
    let endpoint = pool.upstream.endpoint();
    // A panic ends the one subscription, and not all of the connection.
    let signed = caught(Task::Signing, pool.sign(&endpoint.path, &start.data)).await;
    let authorization = match signed {
        Ok(Ok(signed)) => Ok(wire::authorization(
            &endpoint.wire_host,
            &signed,
            &start.headers,
        )),
        Ok(Err(error)) => Err(GraphqlError::coded(error.to_string(), error.code(), "no")),
        Err(panicked) => {
            let message = panicked.to_string();
            Err(GraphqlError::coded(message, Panicked::CODE, "no"))
        }
    };
    (key, authorization)
}

impl Shared {
    /// Dials the realtime endpoint; the machine does what follows.
    async fn dial(&self) -> Result<Socket, Ending> {
        let endpoint = self.upstream.endpoint();
        let Some(realtime) = &endpoint.realtime else {
            return Err(Ending::Refused(vec![GraphqlError::new(
                "this route has no realtime endpoint",
            )]));
        };
        let authorization = self.authorize_connect(endpoint).await;
        let authorization = authorization.map_err(|error| {
            let code = error.code();
            Ending::Refused(vec![GraphqlError::coded(error.to_string(), code, "no")])
        })?;
        let opened = self.shake_hands(realtime, &authorization).await;
        opened.map_err(|error| {
            warn!(
                error = error_chain(&error),
                "realtime connection not opened"
            );
            let code = error.code();
            let message = match error.remedy() {
                Some(remedy) => format!("{error}. {remedy}"),
                None => error.to_string(),
            };
            Ending::Unreachable(GraphqlError::coded(message, code, "no"))
        })
    }

    async fn authorize_connect(&self, endpoint: &Endpoint) -> Result<String, Error> {
        let target = self.protocol.connect_target(&endpoint.path);
        let signed = self.sign(&target, wire::CONNECT_BODY).await?;
        Ok(wire::authorization(&endpoint.wire_host, &signed, &[]))
    }

    async fn shake_hands(
        &self,
        realtime: &RealtimeEndpoint,
        authorization: &str,
    ) -> Result<Socket, Error> {
        let handshake = Handshake {
            protocols: &self.protocol.subprotocols(authorization),
            max_message: MAX_MESSAGE,
            timeout: self.config.handshake,
        };
        handshake.open(realtime, &self.dialer).await
    }

    /// Signs the fake `POST` of a connect or a start.
    async fn sign(&self, target: &str, body: &str) -> Result<SignedHeaders, Error> {
        let signer = self.upstream.signer();
        let now = clock::now();
        let credentials = signer.credentials(now).await.map_err(SignError::from)?;
        let request = Signable {
            method: "POST",
            target,
            headers: &wire::FIXED_HEADERS,
            body: body.as_bytes(),
        };
        Ok(signer.sign(&credentials, &request, now)?.headers)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
