//! The schema of the emulated API: a small chat, and fields that fail or stall on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_graphql::futures_util::stream::{self, Empty};
use async_graphql::{
    Context, Error, ErrorExtensions, ID, MaybeUndefined, Object, Result, Subscription, Value,
};
use parking_lot::Mutex;

use super::chat::{Chat, Message, Room};
use crate::context::Context as Shared;
use crate::selection::Selected;
use crate::sigv4::Headers;

pub(super) type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// The state that resolvers share.
pub(super) struct World {
    pub(super) chat: Chat,
    pub(super) context: Arc<Shared>,
}

/// One request, and the subscriptions and triggers that its resolvers record.
#[derive(Debug)]
pub(super) struct Call {
    headers: Headers,
    /// How many more bytes the answer may have.
    budget: AtomicUsize,
    noted: Mutex<Vec<Noted>>,
}

/// A recorded subscription, or a mutation that triggers one.
#[derive(Debug)]
pub(super) struct Noted {
    /// The field of `Subscription`.
    pub(super) field: &'static str,
    /// The field of the request.
    pub(super) selected: Selected,
    pub(super) filter: Vec<(String, Value)>,
    /// The first event of a subscription.
    pub(super) first: Option<Value>,
}

pub(super) struct Query;
pub(super) struct Mutation;
pub(super) struct Subscription;

#[Object]
#[allow(
    clippy::unused_async,
    reason = "async-graphql takes async resolvers only"
)]
impl Query {
    async fn rooms(&self, ctx: &Context<'_>) -> Result<Vec<Room>> {
        let rooms = world(ctx)?.chat.rooms();
        spend(ctx, rooms.iter().map(|room| room.name.len()).sum())?;
        Ok(rooms)
    }

    async fn room(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Room>> {
        Ok(world(ctx)?.chat.room(&id))
    }

    /// The latest messages of a room, the oldest first.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        room: ID,
        limit: Option<i32>,
    ) -> Result<Vec<Message>> {
        let limit = limit.map_or(50, |limit| usize::try_from(limit).unwrap_or(0));
        let messages = world(ctx)?.chat.messages(&room, limit);
        spend(ctx, messages.iter().map(Message::size).sum())?;
        Ok(messages)
    }

    async fn echo(&self, ctx: &Context<'_>, text: String) -> Result<String> {
        spend(ctx, text.len())?;
        Ok(text)
    }

    /// The headers of this request, as a JSON object with names in lower case.
    async fn headers(&self, ctx: &Context<'_>, names: Option<Vec<String>>) -> Result<String> {
        let json = headers_json(&call(ctx)?.headers, names, &[])?;
        spend(ctx, json.len())?;
        Ok(json)
    }

    /// Answers after this time, at most thirty seconds.
    async fn slow(&self, ctx: &Context<'_>, ms: i32) -> Result<String> {
        world(ctx)?.context.switches.gate().await;
        let ms = sleep(ms).await;
        Ok(format!("{ms} ms"))
    }

    /// A text of this length, at most five megabytes.
    async fn large(&self, ctx: &Context<'_>, bytes: i32) -> Result<String> {
        let bytes = usize::try_from(bytes).unwrap_or(0).min(LARGEST_RESPONSE);
        spend(ctx, bytes)?;
        Ok("x".repeat(bytes))
    }

    async fn failing(&self) -> Result<Option<String>> {
        Err(failure("Emulator:Failing", "This field always fails."))
    }

    async fn failing_hard(&self) -> Result<String> {
        Err(failure("Emulator:Failing", "This field always fails."))
    }
}

#[Object]
#[allow(
    clippy::unused_async,
    reason = "async-graphql takes async resolvers only"
)]
impl Mutation {
    async fn create_room(&self, ctx: &Context<'_>, name: String) -> Result<Room> {
        let world = world(ctx)?;
        world.context.ledger.mutation(format!("createRoom/{name}"));
        let room = world.chat.create_room(&name);
        trigger(ctx, "onCreateRoom")?;
        Ok(room)
    }

    async fn post_message(
        &self,
        ctx: &Context<'_>,
        room: ID,
        body: String,
        author: Option<String>,
    ) -> Result<Message> {
        world(ctx)?
            .context
            .ledger
            .mutation(format!("{}/{body}", *room));
        post(ctx, &room, &body, author)
    }

    /// Posts after this time, at most thirty seconds.
    async fn slow_post(
        &self,
        ctx: &Context<'_>,
        room: ID,
        body: String,
        ms: i32,
    ) -> Result<Message> {
        let world = world(ctx)?;
        world.context.ledger.mutation(format!("{}/{body}", *room));
        world.context.switches.gate().await;
        sleep(ms).await;
        post(ctx, &room, &body, None)
    }
}

/// The resolvers only record subscriptions. Mutations produce the events.
#[Subscription]
#[allow(
    clippy::unused_async,
    reason = "async-graphql takes async resolvers only"
)]
impl Subscription {
    /// Messages posted, all of them or those with these values.
    async fn on_message(
        &self,
        ctx: &Context<'_>,
        room: MaybeUndefined<ID>,
        author: MaybeUndefined<String>,
    ) -> Result<Empty<Option<Message>>> {
        let room = argument("room", room.map_value(|room| room.to_string()));
        let author = argument("author", author);
        note(
            ctx,
            "onMessage",
            room.into_iter().chain(author).collect(),
            None,
        )
    }

    async fn on_create_room(&self, ctx: &Context<'_>) -> Result<Empty<Option<Room>>> {
        note(ctx, "onCreateRoom", Vec::new(), None)
    }

    /// One event at once: what the authorization of this `start` carried, as a JSON object with
    /// names in lower case, without the signature and the token.
    async fn on_headers(
        &self,
        ctx: &Context<'_>,
        names: Option<Vec<String>>,
    ) -> Result<Empty<Option<String>>> {
        let json = headers_json(&call(ctx)?.headers, names, &SECRET_HEADERS)?;
        note(ctx, "onHeaders", Vec::new(), Some(Value::String(json)))
    }
}

fn world<'a>(ctx: &Context<'a>) -> Result<&'a World> {
    ctx.data::<World>()
}

fn call<'a>(ctx: &Context<'a>) -> Result<&'a Arc<Call>> {
    ctx.data::<Arc<Call>>()
}

/// Limits the answer's size, so that many aliases in a small request cannot make it huge.
fn spend(ctx: &Context<'_>, bytes: usize) -> Result<()> {
    call(ctx)?
        .budget
        .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(bytes)
        })
        .map(|_| ())
        .map_err(|_| Error::new("The response is too large."))
}

async fn sleep(ms: i32) -> u64 {
    let ms = u64::try_from(ms).unwrap_or(0).min(LONGEST_SLEEP_MS);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    ms
}

fn post(ctx: &Context<'_>, room: &str, body: &str, author: Option<String>) -> Result<Message> {
    let world = world(ctx)?;
    let now = world.context.clock.now();
    let Some(message) = world.chat.post(room, body, author, now) else {
        let text = format!("Room '{room}' does not exist.");
        return Err(failure("NotFound", &text));
    };
    spend(ctx, message.size())?;
    trigger(ctx, "onMessage")?;
    Ok(message)
}

fn trigger(ctx: &Context<'_>, field: &'static str) -> Result<()> {
    call(ctx)?.noted.lock().push(Noted {
        field,
        selected: Selected::of(&ctx.field()),
        filter: Vec::new(),
        first: None,
    });
    Ok(())
}

fn note<T>(
    ctx: &Context<'_>,
    field: &'static str,
    filter: Vec<(String, Value)>,
    first: Option<Value>,
) -> Result<Empty<T>> {
    call(ctx)?.noted.lock().push(Noted {
        field,
        selected: Selected::of(&ctx.field()),
        filter,
        first,
    });
    Ok(stream::empty())
}

/// Returns the filter of an argument: none if it is absent; null matches null.
fn argument(name: &str, value: MaybeUndefined<String>) -> Option<(String, Value)> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some((name.to_owned(), Value::Null)),
        MaybeUndefined::Value(value) => Some((name.to_owned(), Value::String(value))),
    }
}

fn headers_json(headers: &Headers, names: Option<Vec<String>>, except: &[&str]) -> Result<String> {
    let names = names.map(|names| {
        let names = names.into_iter().map(|name| name.to_ascii_lowercase());
        names.collect::<Vec<String>>()
    });
    let mut headers = headers.all();
    headers.retain(|name, _| {
        !except.contains(&name.as_str()) && names.as_ref().is_none_or(|names| names.contains(name))
    });
    Ok(serde_json::to_string(&headers)?)
}

/// Returns an error with an `errorType`, as in AppSync's answers.
fn failure(error_type: &str, message: &str) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("errorType", error_type))
}

// === impl Call ===

impl Call {
    pub(super) fn new(headers: Headers) -> Self {
        Self {
            headers,
            budget: AtomicUsize::new(LARGEST_RESPONSE),
            noted: Mutex::default(),
        }
    }

    pub(super) fn take_noted(&self) -> Vec<Noted> {
        std::mem::take(&mut self.noted.lock())
    }
}

const LARGEST_RESPONSE: usize = 5_000_000;
const LONGEST_SLEEP_MS: u64 = 30_000;
const SECRET_HEADERS: [&str; 2] = ["authorization", "x-amz-security-token"];
