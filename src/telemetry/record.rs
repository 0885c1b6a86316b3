//! One log line for every request and for every operation of a socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

/// What is known about a request so far; written out once, when it is over. It holds no header,
/// no query, no variable and no body.
#[derive(Debug)]
pub struct Record {
    begun: Instant,
    pub method: &'static str,
    pub route: Option<String>,
    pub operation: Option<&'static str>,
    /// The name of the token that let the client in.
    pub token: Option<Arc<str>>,
    /// The client chose it: it is cut and escaped.
    pub name: Option<String>,
    pub status: u16,
    /// Our error code, or the type that AWS gave its own.
    pub code: Option<String>,
    /// AWS's id of the exchange.
    pub request_id: Option<String>,
    /// The causes of an error of ours, for the log alone.
    pub cause: Option<String>,
    pub bytes_in: usize,
    pub bytes_out: usize,
    pub signing: Duration,
    pub connect: Duration,
    pub first_byte: Duration,
}

const MAX_NAME: usize = 64;

impl Record {
    pub fn new(method: &'static str) -> Self {
        Self {
            begun: Instant::now(),
            method,
            route: None,
            operation: None,
            token: None,
            name: None,
            status: 0,
            code: None,
            request_id: None,
            cause: None,
            bytes_in: 0,
            bytes_out: 0,
            signing: Duration::ZERO,
            connect: Duration::ZERO,
            first_byte: Duration::ZERO,
        }
    }

    pub fn set_name(&mut self, name: Option<&str>) {
        self.name = name.map(|name| name.chars().take(MAX_NAME).collect());
    }

    /// Writes the line.
    pub fn write(&self) {
        let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    target: "countersign::request",
                    method = self.method,
                    route = self.route,
                    operation = self.operation,
                    name = self.name,
                    token = self.token.as_deref(),
                    status = self.status,
                    code = self.code,
                    request_id = self.request_id,
                    bytes_in = self.bytes_in,
                    bytes_out = self.bytes_out,
                    signing_ms = millis(self.signing),
                    connect_ms = millis(self.connect),
                    first_byte_ms = millis(self.first_byte),
                    total_ms = millis(self.begun.elapsed()),
                    cause = self.cause,
                    "request"
                )
            };
        }
        match self.cause {
            Some(_) => line!(warn),
            None => line!(info),
        }
    }
}
