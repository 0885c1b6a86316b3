//! The schema of the emulated API: a small chat, and fields that fail or wait on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_graphql::futures_util::stream::{self, Empty};
use async_graphql::{
    Context, Error, ErrorExtensions, ID, MaybeUndefined, Object, Result, Subscription, Value,
};
use parking_lot::Mutex;

use super::chat::{Chat, Message, Room};
use crate::context::Context as EmulatorContext;
use crate::selection::SelectedField;
use crate::sigv4::Headers;

pub(super) type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// The state that resolvers share.
pub(super) struct ResolverState {
    pub(super) chat: Chat,
    pub(super) context: Arc<EmulatorContext>,
}

/// One request, and the subscriptions and triggers that its resolvers record.
#[derive(Debug)]
pub(super) struct RequestState {
    headers: Headers,
    /// The number of bytes that may still be added to the response.
    budget: AtomicUsize,
    recorded: Mutex<Vec<RecordedField>>,
}

/// A root field that a resolver recorded: a subscription, or a mutation that triggers subscriptions.
#[derive(Debug)]
pub(super) struct RecordedField {
    /// The field of `Subscription`.
    pub(super) field: &'static str,
    /// The field of the request.
    pub(super) selected: SelectedField,
    pub(super) filter: Vec<(String, Value)>,
    /// The first event of a subscription.
    pub(super) first_event: Option<Value>,
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
        let rooms = state(ctx)?.chat.rooms();
        reserve_bytes(ctx, rooms.iter().map(|room| room.name.len()).sum())?;
        Ok(rooms)
    }

    async fn room(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Room>> {
        Ok(state(ctx)?.chat.room(&id))
    }

    /// The latest messages of a room, the oldest first.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        room: ID,
        limit: Option<i32>,
    ) -> Result<Vec<Message>> {
        let limit = limit.map_or(50, |limit| usize::try_from(limit).unwrap_or(0));
        let messages = state(ctx)?.chat.messages(&room, limit);
        reserve_bytes(ctx, messages.iter().map(Message::size).sum())?;
        Ok(messages)
    }

    async fn echo(&self, ctx: &Context<'_>, text: String) -> Result<String> {
        reserve_bytes(ctx, text.len())?;
        Ok(text)
    }

    /// The headers of this request, as a JSON object with names in lower case.
    async fn headers(&self, ctx: &Context<'_>, names: Option<Vec<String>>) -> Result<String> {
        let json = headers_json(&request_state(ctx)?.headers, names, &[])?;
        reserve_bytes(ctx, json.len())?;
        Ok(json)
    }

    /// Responds after this time, at most thirty seconds.
    async fn slow(&self, ctx: &Context<'_>, ms: i32) -> Result<String> {
        state(ctx)?.context.switches.gate().await;
        let ms = sleep(ms).await;
        Ok(format!("{ms} ms"))
    }

    /// A text of this length, at most five megabytes.
    async fn large(&self, ctx: &Context<'_>, bytes: i32) -> Result<String> {
        let bytes = usize::try_from(bytes).unwrap_or(0).min(MAX_RESPONSE);
        reserve_bytes(ctx, bytes)?;
        Ok("x".repeat(bytes))
    }

    async fn failing(&self) -> Result<Option<String>> {
        Err(resolver_error(
            "Emulator:Failing",
            "This field always fails.",
        ))
    }

    async fn failing_hard(&self) -> Result<String> {
        Err(resolver_error(
            "Emulator:Failing",
            "This field always fails.",
        ))
    }
}

#[Object]
#[allow(
    clippy::unused_async,
    reason = "async-graphql takes async resolvers only"
)]
impl Mutation {
    async fn create_room(&self, ctx: &Context<'_>, name: String) -> Result<Room> {
        let state = state(ctx)?;
        state.context.ledger.mutation(format!("createRoom/{name}"));
        let room = state.chat.create_room(&name);
        record_trigger(ctx, "onCreateRoom")?;
        Ok(room)
    }

    async fn post_message(
        &self,
        ctx: &Context<'_>,
        room: ID,
        body: String,
        author: Option<String>,
    ) -> Result<Message> {
        state(ctx)?
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
        let state = state(ctx)?;
        state.context.ledger.mutation(format!("{}/{body}", *room));
        state.context.switches.gate().await;
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
    /// Posted messages: all, or those with these values.
    async fn on_message(
        &self,
        ctx: &Context<'_>,
        room: MaybeUndefined<ID>,
        author: MaybeUndefined<String>,
    ) -> Result<Empty<Option<Message>>> {
        let room = argument("room", room.map_value(|room| room.to_string()));
        let author = argument("author", author);
        record_subscription(
            ctx,
            "onMessage",
            room.into_iter().chain(author).collect(),
            None,
        )
    }

    async fn on_create_room(&self, ctx: &Context<'_>) -> Result<Empty<Option<Room>>> {
        record_subscription(ctx, "onCreateRoom", Vec::new(), None)
    }

    /// Sends one event immediately: the headers in the authorization of this `start`, as a JSON object
    /// with names in lower case, without the signature and the token.
    async fn on_headers(
        &self,
        ctx: &Context<'_>,
        names: Option<Vec<String>>,
    ) -> Result<Empty<Option<String>>> {
        let json = headers_json(&request_state(ctx)?.headers, names, &SECRET_HEADERS)?;
        record_subscription(ctx, "onHeaders", Vec::new(), Some(Value::String(json)))
    }
}

fn state<'a>(ctx: &Context<'a>) -> Result<&'a ResolverState> {
    ctx.data::<ResolverState>()
}

fn request_state<'a>(ctx: &Context<'a>) -> Result<&'a Arc<RequestState>> {
    ctx.data::<Arc<RequestState>>()
}

/// Limits the response's size, so that many aliases in a small request cannot make it huge.
fn reserve_bytes(ctx: &Context<'_>, bytes: usize) -> Result<()> {
    request_state(ctx)?
        .budget
        .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(bytes)
        })
        .map(|_| ())
        .map_err(|_| Error::new("The response is too large."))
}

async fn sleep(ms: i32) -> u64 {
    let ms = u64::try_from(ms).unwrap_or(0).min(MAX_SLEEP_MS);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    ms
}

fn post(ctx: &Context<'_>, room: &str, body: &str, author: Option<String>) -> Result<Message> {
    let state = state(ctx)?;
    let now = state.context.clock.now();
    let Some(message) = state.chat.post(room, body, author, now) else {
        let text = format!("Room '{room}' does not exist.");
        return Err(resolver_error("NotFound", &text));
    };
    reserve_bytes(ctx, message.size())?;
    record_trigger(ctx, "onMessage")?;
    Ok(message)
}

fn record_trigger(ctx: &Context<'_>, field: &'static str) -> Result<()> {
    request_state(ctx)?.recorded.lock().push(RecordedField {
        field,
        selected: SelectedField::from_field(&ctx.field()),
        filter: Vec::new(),
        first_event: None,
    });
    Ok(())
}

fn record_subscription<T>(
    ctx: &Context<'_>,
    field: &'static str,
    filter: Vec<(String, Value)>,
    first_event: Option<Value>,
) -> Result<Empty<T>> {
    request_state(ctx)?.recorded.lock().push(RecordedField {
        field,
        selected: SelectedField::from_field(&ctx.field()),
        filter,
        first_event,
    });
    Ok(stream::empty())
}

/// Returns the filter for an argument, or `None` if the argument is absent. Null matches null.
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

/// Returns an error with an `errorType`, as in AppSync's responses.
fn resolver_error(error_type: &str, message: &str) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("errorType", error_type))
}

// === impl RequestState ===

impl RequestState {
    pub(super) fn new(headers: Headers) -> Self {
        Self {
            headers,
            budget: AtomicUsize::new(MAX_RESPONSE),
            recorded: Mutex::default(),
        }
    }

    pub(super) fn take_recorded(&self) -> Vec<RecordedField> {
        std::mem::take(&mut self.recorded.lock())
    }
}

const MAX_RESPONSE: usize = 5_000_000;
const MAX_SLEEP_MS: u64 = 30_000;
const SECRET_HEADERS: [&str; 2] = ["authorization", "x-amz-security-token"];
