//! Streams that one request reserves, another opens, and others use ("single connection" of
//! GraphQL over SSE).

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Context;
use super::stream::{Body, Command, Piece, Stream};
use crate::dialect::{Answer, SseSingle, Streamed as _};
use crate::graphql::Operation;
use crate::guard::Admission;

/// The reserved streams of the process, by their tokens.
#[derive(Clone, Debug, Default)]
pub struct Reserved(Arc<Mutex<HashMap<Token, Entry>>>);

/// Names a reserved stream; whoever knows it may use the stream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

/// Whose a stream is: another client's policies are not those that its operations are judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    route: String,
    /// The name of its token.
    grant: Option<Arc<str>>,
}

/// What becomes of a request to open a stream.
#[derive(Debug)]
pub enum Opening {
    /// The pieces of the response's body.
    Opened(mpsc::Receiver<Piece>),
    AlreadyOpen,
    NotFound,
}

struct Entry {
    holder: Holder,
    open: Option<oneshot::Sender<Body>>,
    commands: mpsc::Sender<Command<SseSingle>>,
}

/// A stream's own end of its entry, which it removes when it is over.
pub(super) struct Reservation {
    registry: Reserved,
    token: Token,
    opened: oneshot::Receiver<Body>,
    commands: mpsc::Receiver<Command<SseSingle>>,
}

/// Streams that are reserved or open; each open one is a client connection too.
const MAX_RESERVED: usize = 1024;

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
    pub(super) fn add(&self, holder: Holder) -> Option<(Token, Reservation)> {
        let (open, opened) = oneshot::channel();
        let (commands, received) = mpsc::channel(1);
        let token = Token(Uuid::new_v4().simple().to_string());
        let mut entries = self.0.lock();
        if entries.len() >= MAX_RESERVED {
            return None;
        }
        let entry = Entry {
            holder,
            open: Some(open),
            commands,
        };
        entries.insert(token.clone(), entry);
        let reservation = Reservation {
            registry: self.clone(),
            token: token.clone(),
            opened,
            commands: received,
        };
        Some((token, reservation))
    }

    /// Whether `holder` has a stream of this token.
    pub fn contains(&self, holder: &Holder, token: &str) -> bool {
        let entries = self.0.lock();
        let entry = entries.get(&Token(token.to_owned()));
        entry.is_some_and(|entry| entry.holder == *holder)
    }

    /// Opens the stream of `token`.
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

    /// Starts an operation on a stream; `None` if there is no such stream.
    pub async fn start(
        &self,
        holder: &Holder,
        token: &str,
        operation: Operation,
    ) -> Option<Answer> {
        self.ask(holder, token, move |form| form.start(operation))
            .await
    }

    /// Stops an operation of a stream; `None` if there is no such stream.
    pub async fn stop(&self, holder: &Holder, token: &str, id: String) -> Option<Answer> {
        self.ask(holder, token, move |form| form.stop(&id)).await
    }

    async fn ask(
        &self,
        holder: &Holder,
        token: &str,
        question: impl FnOnce(&mut SseSingle) -> Answer + Send + 'static,
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
            let _ = reply.send(question(form));
        });
        commands.send(command).await.ok()?;
        answer.await.ok()
    }
}

/// Runs a reserved stream: until it is opened only what needs no response.
pub(super) async fn serve(context: Context, mut reservation: Reservation) {
    let context = Arc::new(context);
    let form = SseSingle::new(context.config.limits());
    let mut stream = Stream::new(Arc::clone(&context), form);
    let mut deadline = pin!(tokio::time::sleep(context.config.init));
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
