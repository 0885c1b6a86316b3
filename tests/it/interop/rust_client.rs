//! The row of the Rust client `graphql-ws-client`.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use countersign_emulator::Emulator;
use futures_util::{FutureExt as _, StreamExt as _};
use graphql_ws_client::graphql::GraphqlOperation;
use graphql_ws_client::{Client, Subscription};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_tungstenite_0_28::connect_async;
use tokio_tungstenite_0_28::tungstenite::client::IntoClientRequest as _;

use super::Cell;
use crate::support::within;

pub(super) const ROW: &str = "graphql-ws-client";
pub(super) const TITLE: &str = "graphql-ws-client 0.13.0 (Rust)";

#[derive(Serialize)]
struct Operation {
    query: &'static str,
    variables: Value,
}

impl GraphqlOperation for Operation {
    type Response = Value;
    type Error = serde_json::Error;

    fn decode(&self, data: Value) -> Result<Value, serde_json::Error> {
        Ok(data)
    }
}

struct Row<'a> {
    addr: SocketAddr,
    emulator: &'a Emulator,
}

const MANY: usize = 200;
const ON_MESSAGE: &str = "subscription OnMessage($room: ID) { onMessage(room: $room) { id body } }";
const POST: &str = "mutation Post($room: ID!, $body: String!) { postMessage(room: $room, body: $body) { id room body } }";

/// Runs all columns.
pub(super) async fn cells(addr: SocketAddr, emulator: &Emulator) -> Vec<Cell> {
    let row = Row { addr, emulator };
    let mut cells = Vec::new();
    macro_rules! column {
        ($name:literal, $run:expr) => {
            let begun = Instant::now();
            let outcome = AssertUnwindSafe(within($name, $run)).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_| Err("it panicked".to_owned()));
            cells.push(Cell {
                row: ROW.to_owned(),
                column: $name.to_owned(),
                outcome: outcome.map(|()| format!("{}ms", begun.elapsed().as_millis())),
            });
        };
    }
    column!("query", row.query());
    column!("mutation", row.mutation());
    column!("subscription", row.subscription());
    column!("error", row.error());
    column!("stop", row.stop());
    column!("reconnect", row.reconnect());
    column!("many", row.many());
    cells
}

impl Row<'_> {
    async fn client(&self) -> Client {
        let mut request = format!("ws://{}/graphql", self.addr)
            .into_client_request()
            .unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (socket, _) = connect_async(request).await.unwrap();
        let (client, actor) = Client::build(socket).build().await.unwrap();
        tokio::spawn(actor.into_future());
        client
    }

    async fn all(&self, query: &'static str, variables: Value) -> Vec<Result<Value, String>> {
        let client = self.client().await;
        let stream = client.subscribe(Operation { query, variables }).await;
        let stream = stream.unwrap().map(|item| item.map_err(|e| e.to_string()));
        stream.collect().await
    }

    async fn query(&self) -> Result<(), String> {
        let query = "query Echo($text: String!) { echo(text: $text) }";
        let found = self.all(query, json!({"text": "é<&>"})).await;
        expect(&found, &vec![Ok(json!({"data": {"echo": "é<&>"}}))])
    }

    async fn mutation(&self) -> Result<(), String> {
        let found = self
            .all(POST, json!({"room": "lobby", "body": "rust"}))
            .await;
        let body = found[0]
            .as_ref()
            .map(|found| &found["data"]["postMessage"]["body"]);
        expect(&body, &Ok(&json!("rust")))?;
        expect(
            &self.emulator.stats().mutations.get("lobby/rust"),
            &Some(&1),
        )
    }

    async fn live(&self, count: usize) {
        let stats = self
            .emulator
            .wait_for(|stats| stats.realtime.subscriptions == count);
        within("live subscriptions", stats).await;
    }

    async fn listen(&self, client: &Client, room: &str) -> Subscription<Operation> {
        let operation = Operation {
            query: ON_MESSAGE,
            variables: json!({ "room": room }),
        };
        client.subscribe(operation).await.unwrap()
    }

    async fn heard(&self, stream: &mut Subscription<Operation>) -> Value {
        let item = within("an event", stream.next()).await;
        item.unwrap().unwrap()["data"]["onMessage"]["body"].take()
    }

    async fn subscription(&self) -> Result<(), String> {
        let client = self.client().await;
        let mut stream = self.listen(&client, "garden").await;
        self.live(1).await;
        self.all(POST, json!({"room": "lobby", "body": "not this"}))
            .await;
        self.all(POST, json!({"room": "garden", "body": "this"}))
            .await;
        expect(&self.heard(&mut stream).await, &json!("this"))?;
        drop(stream);
        self.live(0).await;
        Ok(())
    }

    async fn error(&self) -> Result<(), String> {
        let found = self.all("query { failingHard }", json!({})).await;
        let message = found[0]
            .as_ref()
            .map(|found| &found["errors"][0]["message"]);
        expect(&message, &Ok(&json!("This field always fails.")))?;
        // The client leaves a subscription open after an error, so the test does not wait for its end.
        let refused = Operation {
            query: "subscription { onNothing { id } }",
            variables: json!({}),
        };
        let client = self.client().await;
        let mut stream = client.subscribe(refused).await.unwrap();
        let found = within("an error", stream.next()).await.unwrap();
        let is_told = found.is_ok_and(|found| found["errors"][0]["message"].is_string());
        expect(&is_told, &true)
    }

    async fn stop(&self) -> Result<(), String> {
        let client = self.client().await;
        let stream = self.listen(&client, "lobby").await;
        self.live(1).await;
        stream.stop();
        self.live(0).await;
        Ok(())
    }

    /// The client does not reconnect by itself; the application does.
    async fn reconnect(&self) -> Result<(), String> {
        let client = self.client().await;
        let mut stream = self.listen(&client, "lobby").await;
        self.live(1).await;
        let change = serde_json::from_value(json!({"close_all": true})).unwrap();
        self.emulator.switch(&change).unwrap();
        while let Some(Ok(_)) = within("the end", stream.next()).await {}
        let client = self.client().await;
        let mut stream = self.listen(&client, "lobby").await;
        self.live(1).await;
        self.all(POST, json!({"room": "lobby", "body": "again"}))
            .await;
        expect(&self.heard(&mut stream).await, &json!("again"))?;
        drop(stream);
        self.live(0).await;
        Ok(())
    }

    async fn many(&self) -> Result<(), String> {
        let client = self.client().await;
        let mut streams = Vec::new();
        for _ in 0..MANY {
            streams.push(self.listen(&client, "lobby").await);
        }
        self.live(MANY).await;
        self.all(POST, json!({"room": "lobby", "body": "all"}))
            .await;
        for stream in &mut streams {
            expect(&self.heard(stream).await, &json!("all"))?;
        }
        drop(streams);
        self.live(0).await;
        Ok(())
    }
}

fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{found:?} is not {wanted:?}"))
    }
}
