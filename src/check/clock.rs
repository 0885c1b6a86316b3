//! The step `clock`: this machine's clock against AWS's.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::report::{Fault, NotPassed, Passed};
use super::target::Target;
use crate::diagnose::synchronize_clock;
use crate::sign::clock;
use crate::telemetry::error_chain;
use crate::upstream::current_date;

/// AWS rejects signatures that are older, or newer, than this.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// A `Date` has whole seconds, and its response takes a while.
const RESOLUTION: Duration = Duration::from_secs(2);

/// Sends an unsigned `HEAD`, which AWS need not accept, and compares the `Date` of its response with this
/// machine's clock.
pub(super) async fn compare(
    target: &Target,
    stream: TlsStream<TcpStream>,
) -> Result<Passed<()>, NotPassed> {
    let after = target.upstream.config().first_byte;
    let unknown = |reason: String| NotPassed::Skipped(format!("AWS's time is not known: {reason}"));
    let response = match timeout(after, head(target, stream)).await {
        Ok(Ok(response)) => response,
        Ok(Err(reason)) => return Err(unknown(reason)),
        Err(_) => return Err(unknown(format!("no response within {after:?}"))),
    };
    let ours = clock::now();
    let Some(theirs) = current_date(response.headers()) else {
        return Err(unknown("the response has no Date header".to_owned()));
    };
    let (offset, direction) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if offset <= RESOLUTION {
        let detail = "this machine's clock agrees with AWS's".to_owned();
        return Ok(Passed { value: (), detail });
    }
    let rounded = Duration::from_secs((offset + Duration::from_millis(500)).as_secs());
    let shown = humantime::format_duration(rounded);
    let detail = format!("this machine's clock is {shown} {direction} AWS's");
    if offset < TOLERANCE {
        return Ok(Passed { value: (), detail });
    }
    let cause = if direction == "behind" {
        "clock-slow"
    } else {
        "clock-fast"
    };
    let detail = format!(
        "{detail}: it says {}, and AWS's {}",
        time(ours),
        time(theirs)
    );
    let fix = format!(
        "{}\nAWS accepts a difference of five minutes. countersign corrects its own signatures up to a day.",
        synchronize_clock()
    );
    Err(Fault::new(cause, detail, fix).into())
}

async fn head(target: &Target, stream: TlsStream<TcpStream>) -> Result<Response<Incoming>, String> {
    let endpoint = target.upstream.endpoint();
    let shown = |error: hyper::Error| error_chain(&error);
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(shown)?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::HEAD;
    let path = if endpoint.path.is_empty() {
        "/"
    } else {
        &endpoint.path
    };
    *request.uri_mut() = Uri::try_from(path).map_err(|error| error.to_string())?;
    let host = HeaderValue::from_str(&endpoint.wire_host);
    let host = host.map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    let mut connection = std::pin::pin!(connection);
    let mut response = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        biased;
        response = response.as_mut() => response.map_err(shown),
        // The response may have arrived before the connection ended, and is an error otherwise.
        _ = connection.as_mut() => response.await.map_err(shown),
    }
}

fn time(at: SystemTime) -> String {
    // `humantime` panics on a time before 1970.
    let at = at.max(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_seconds(at).to_string()
}
