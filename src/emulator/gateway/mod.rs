//! API Gateway, and other services that are signed for: REST, HTTP and WebSocket APIs with IAM, the
//! packet stream of IoT Wireless, and an echo behind any other service's name.
//!
//! A host name tells which API is meant. Every request is judged from its raw bytes by
//! `sigv4`, then told back to the client as it arrived, or refused in API Gateway's words.
//!
//! | file | what |
//! |---|---|
//! | `connection`, `head` | HTTP/1.1 from the socket, without an HTTP library |
//! | `sites` | which API a host name stands for |
//! | `sigv4`, `denial` | the verdict, and how no is said |
//! | `routes`, `content` | what integrations answer |
//! | `websocket`, `sockets` | upgrades and `@connections`, the sockets behind them |
//!
//! Not known of AWS, and read strictly or told by a switch: whether `execute-api` tidies paths up
//! before it verifies them; what it makes of `%zz` in a query, which is refused here.

mod connection;
mod content;
mod denial;
mod head;
mod routes;
mod sigv4;
mod sites;
mod sockets;
mod websocket;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Request;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;
use uuid::Uuid;

use super::ACCOUNT;
use super::api::Api;
use sigv4::Rules;
use sites::{Kind, Site};
use sockets::Upgrade;

pub(super) use connection::{first_head, serve};
pub(super) use content::{Content, Reply};
use denial::Denial;
pub(super) use head::Head;
pub(super) use sites::Names;
pub(super) use sockets::Sockets;

/// What the gateway keeps beside what all parts share.
pub(super) struct Gateway {
    pub(super) names: Names,
    pub(super) sockets: Arc<Sockets>,
}

enum Answer {
    Reply(Reply),
    Upgrade(Upgrade),
}

// === impl Gateway ===

impl Gateway {
    pub(super) fn new(names: Names, sockets: Arc<Sockets>) -> Self {
        Self { names, sockets }
    }

    /// Whether a host is one of the gateway's, and not AppSync's.
    pub(super) fn has(&self, host: &str) -> bool {
        self.names.site(host).is_some()
    }

    /// Whether what was read of a connection begins with a request for the gateway.
    pub(super) fn is_meant(&self, read: &BytesMut) -> bool {
        let host = host_line(read);
        host.is_some_and(|host| self.has(host.trim()))
    }
}

/// Answers a request by HTTP/2.
pub(super) async fn answer_h2(api: &Arc<Api>, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let head = Head::of_parts(&parts);
    let body = Limited::new(body, connection::LARGEST_BODY).collect().await;
    let body = match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Denial::TooLarge),
        // Nobody is left to read the answer.
        Err(_) => Err(Denial::BadRequest("Bad Request".to_owned())),
    };
    match answer(api, &head, body).await {
        Answer::Reply(reply) => reply,
        // There are none by HTTP/2.
        Answer::Upgrade(_) => denied(api, None, &Denial::UpgradeRequired),
    }
}

/// Answers a request, and counts it.
async fn answer(api: &Arc<Api>, head: &Head, body: Result<Bytes, Denial>) -> Answer {
    api.ledger.count(|counts| {
        counts.requests.http += 1;
        counts.gateway.requests += 1;
    });
    let site = api.gateway.names.site(&head.host());
    let answered = match &site {
        Some(site) => body.and_then(|body| judge(api, site, head, &body)),
        None => Err(Denial::Forbidden),
    };
    let settings = api.switches.settings();
    let delay = match head.is_upgrade() {
        true => settings.connect_delay(),
        false => settings.delay(),
    };
    tokio::time::sleep(delay).await;
    match answered {
        Ok(Answer::Reply(mut reply)) => {
            common_headers(api, site.as_ref(), &mut reply);
            Answer::Reply(reply)
        }
        Ok(Answer::Upgrade(upgrade)) => Answer::Upgrade(upgrade),
        Err(denial) => {
            let summary = denial.summary();
            tracing::info!(reason = %summary, "refused");
            api.ledger.refused_with(summary);
            api.ledger.count(|counts| {
                let reason = denial.reason().to_owned();
                *counts.gateway.refused.entry(reason).or_default() += 1;
            });
            Answer::Reply(denied(api, site.as_ref(), &denial))
        }
    }
}

fn judge(api: &Arc<Api>, site: &Site, head: &Head, body: &Bytes) -> Result<Answer, Denial> {
    let settings = api.switches.settings();
    if site.kind == Kind::Nobody {
        return Err(Denial::Forbidden);
    }
    if settings.throttle {
        return Err(Denial::Throttled);
    }
    if settings.refuse_realtime && head.is_upgrade() {
        return Err(Denial::Unavailable);
    }
    let (path, query) = head.path_and_query();
    if !path.is_empty() && !path.starts_with(b"/") {
        return Err(Denial::BadRequest("Bad Request".to_owned()));
    }
    let odd = |byte: &u8| matches!(byte, b'|' | b'{' | b'}');
    if site.has_rest_queries() && query.iter().any(odd) {
        return Err(Denial::BadRequest("Bad Request".to_owned()));
    }
    let rules = Rules {
        site,
        normalizes_paths: settings.normalize_paths,
        keys: &api.options.keys,
        keys_expired: settings.expire_keys,
        now: api.clock.now(),
    };
    let verified = sigv4::verify(head, body, &rules)?;
    api.ledger.count(|counts| counts.gateway.verified += 1);
    permit(api, site, head)?;

    if let Some(answer) = settings.answer_http.filter(|_| !head.is_upgrade()) {
        return Ok(Answer::Reply(answer.of_gateway()));
    }
    let reply = match site.kind {
        Kind::WebSocket => return websocket::answer(api, site, head, body, &verified),
        Kind::Analyzer => return websocket::analyzer(head, &verified),
        Kind::Rest => {
            let (stage, route) = stage_and_route(head)?;
            routes::answer(&api.ledger, site, &stage, &route, head, body, &verified)
        }
        Kind::Http | Kind::Service | Kind::Nobody => {
            let route = String::from_utf8_lossy(path);
            routes::answer(&api.ledger, site, "", &route, head, body, &verified)
        }
    };
    Ok(Answer::Reply(reply))
}

/// Judges by the policy that a switch has, if it has one. Of the names that other services have for
/// their actions nothing is known here.
fn permit(api: &Api, site: &Site, head: &Head) -> Result<(), Denial> {
    let invoke = "execute-api:Invoke";
    let (action, resource) = match site.kind {
        Kind::Rest => {
            let (stage, route) = stage_and_route(head)?;
            let route = route.strip_prefix('/').unwrap_or_default();
            (invoke, format!("{stage}/{}/{route}", head.method))
        }
        Kind::Http => {
            let path = String::from_utf8_lossy(head.path_and_query().0);
            (invoke, format!("$default/{}{path}", head.method))
        }
        Kind::WebSocket => {
            let (stage, route) = stage_and_route(head)?;
            match websocket::connection_id(&route) {
                Some(id) => (
                    "execute-api:ManageConnections",
                    format!("{stage}/{}/@connections/{id}", head.method),
                ),
                None => (invoke, format!("{stage}/$connect")),
            }
        }
        Kind::Analyzer | Kind::Service | Kind::Nobody => return Ok(()),
    };
    let host = head.host();
    let id = host.split('.').next().unwrap_or_default();
    let refused = api.allows("execute-api", action, &format!("{id}/{resource}"));
    refused.map_err(|arn| {
        Denial::AccessDenied(format!(
            "User: arn:aws:iam::{ACCOUNT}:user/demo is not authorized to perform: {action} on \
             resource: {arn} because no identity-based policy allows the {action} action"
        ))
    })
}

/// The first segment of the path, and what follows it with its slash.
fn stage_and_route(head: &Head) -> Result<(String, String), Denial> {
    let (path, _) = head.path_and_query();
    let path = String::from_utf8_lossy(path);
    let behind = path.strip_prefix('/').unwrap_or_default();
    let end = behind.find('/').unwrap_or(behind.len());
    let (stage, route) = behind.split_at(end);
    let is_stage = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match (1..=128).contains(&stage.len()) && stage.bytes().all(is_stage) {
        true => Ok((stage.to_owned(), route.to_owned())),
        false => Err(Denial::Forbidden),
    }
}

/// `{"message": …}`; WebSocket APIs add two ids.
fn denied(api: &Api, site: Option<&Site>, denial: &Denial) -> Reply {
    let kind = site.map(|site| site.kind);
    let told = match kind {
        Some(Kind::Http) => denial.clone().withheld(),
        _ => denial.clone(),
    };
    let mut body = json!({ "message": told.to_string() });
    if kind == Some(Kind::WebSocket) {
        body["connectionId"] = websocket::new_id().into();
        body["requestId"] = Uuid::new_v4().to_string().into();
    }
    let mut reply = routes::as_json(&body);
    *reply.status_mut() = told.status();
    let error_type = HeaderValue::from_static(told.error_type());
    reply.headers_mut().insert(ERROR_TYPE, error_type);
    common_headers(api, site, &mut reply);
    reply
}

fn common_headers(api: &Api, site: Option<&Site>, reply: &mut Reply) {
    let request_id = match site.map(|site| site.kind) {
        Some(Kind::Http) => APIGW_REQUEST_ID,
        _ => REQUEST_ID,
    };
    let mut headers = vec![
        // Not the machine's own time.
        (header::DATE, api.clock.http_date()),
        (request_id, Uuid::new_v4().to_string()),
    ];
    if site.is_some_and(|site| site.kind == Kind::Rest) {
        headers.push((APIGW_ID, websocket::new_id()));
    }
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            reply.headers_mut().insert(name, value);
        }
    }
}

/// The value of the first `host` line of a head.
fn host_line(read: &[u8]) -> Option<&str> {
    let mut lines = read.split(|byte| *byte == b'\n').skip(1);
    let line = lines.find(|line| {
        let name = line.get(..5).unwrap_or_default();
        name.eq_ignore_ascii_case(b"host:")
    })?;
    std::str::from_utf8(&line[5..]).ok()
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const APIGW_REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");
const APIGW_ID: HeaderName = HeaderName::from_static("x-amz-apigw-id");
