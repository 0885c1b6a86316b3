//! The recipe of docs/clients/graphql-ws-client.md, between the markers.

use std::net::SocketAddr;

use tokio::sync::mpsc::UnboundedSender;

// head of the recipe
use futures_util::StreamExt as _;
use graphql_ws_client::{Client, graphql::GraphqlOperation};
use serde_json::{Error, Value};
use tokio_tungstenite_0_28::connect_async;
use tokio_tungstenite_0_28::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite_0_28::tungstenite::http::HeaderValue;

#[derive(serde::Serialize)]
struct Operation {
    query: &'static str,
}

impl GraphqlOperation for Operation {
    type Response = Value;
    type Error = Error;

    fn decode(&self, data: Value) -> Result<Value, Error> {
        Ok(data)
    }
}
// end of the head

pub(super) async fn run(
    addr: SocketAddr,
    printed: UnboundedSender<String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let url = format!("ws://{addr}/graphql");
    macro_rules! println {
        ($($arguments:tt)*) => {
            printed.send(format!($($arguments)*))?
        };
    }
    // recipe
    let mut request = url.into_client_request()?;
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", protocol);
    let (socket, _) = connect_async(request).await?;
    let (client, actor) = Client::build(socket).build().await?;
    tokio::spawn(actor.into_future());

    let query = "{ rooms { id name } }";
    let mut rooms = client.subscribe(Operation { query }).await?;
    while let Some(answer) = rooms.next().await {
        println!("{}", answer?["data"]["rooms"][0]["name"]);
    }
    let query = r#"subscription { onMessage(room: "lobby") { body } }"#;
    let mut messages = client.subscribe(Operation { query }).await?;
    while let Some(answer) = messages.next().await {
        println!("{}", answer?["data"]["onMessage"]["body"]);
    }
    // end of the recipe
    Ok(())
}
