//! A fake OpenTelemetry collector: OTLP over HTTP, decoded by the types that
//! OpenTelemetry generates.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::within;

/// A batch as it was received.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The request's line and headers, names in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

/// Answers every batch with 200 and stores it.
#[derive(Clone)]
pub struct Collector {
    pub addr: SocketAddr,
    kept: Arc<Kept>,
}

pub struct Kept {
    batches: Mutex<Vec<Batch>>,
    count: watch::Sender<usize>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let kept = Kept::new();
        let keeper = Arc::clone(&kept);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(Arc::clone(&keeper), stream));
            }
        });
        Self { addr, kept }
    }

    /// Returns a collector for connections that the test accepts and passes to [`serve`].
    pub fn keeping(addr: SocketAddr, kept: &Arc<Kept>) -> Self {
        let kept = Arc::clone(kept);
        Self { addr, kept }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn batches(&self) -> Vec<Batch> {
        self.kept.batches.lock().clone()
    }

    /// Returns all spans received so far.
    pub fn spans(&self) -> Vec<Span> {
        let batches = self.batches();
        batches.iter().flat_map(Batch::spans).collect()
    }

    /// Waits until `wanted` accepts the spans.
    pub async fn wait_for(&self, what: &str, wanted: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut count = self.kept.count.subscribe();
        let waiting = async {
            loop {
                let spans = self.spans();
                if wanted(&spans) {
                    return spans;
                }
                count.changed().await.unwrap();
            }
        };
        within(what, waiting).await
    }
}

impl Kept {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            batches: Mutex::default(),
            count: watch::Sender::new(0),
        })
    }
}

impl Batch {
    pub fn decoded(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(self.body.as_slice()).unwrap()
    }

    pub fn spans(&self) -> Vec<Span> {
        let resources = self.decoded().resource_spans;
        let scopes = resources.into_iter().flat_map(|of| of.scope_spans);
        scopes.flat_map(|of| of.spans).collect()
    }

    /// Returns the attributes of the resource.
    pub fn resource(&self) -> BTreeMap<String, String> {
        let resources = self.decoded().resource_spans;
        let resource = resources[0].resource.clone().unwrap();
        attributes(&resource.attributes)
    }
}

pub fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    list.iter()
        .map(|pair| (pair.key.clone(), text(&pair.value)))
        .collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Receives the batches of one connection.
pub async fn serve(kept: Arc<Kept>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_lowercase();
        let length = head.split("\r\ncontent-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        kept.batches.lock().push(Batch { head, body });
        kept.count.send_modify(|count| *count += 1);
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
