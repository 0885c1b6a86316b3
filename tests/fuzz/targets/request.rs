//! Fuzzes the head of a request, publishes, and upstream's errors.

use std::net::IpAddr;

use countersign::guard::{Cors, Guard, GuardConfig, LocalAddress, Navigations, Scheme};
use countersign::proxy::{self, Accept, Media, ResponseFormat, begins_with_data, envelope};
use countersign::telemetry::Record;
use countersign::upstream::{self, HeaderPolicy, filter_response_headers};
use countersign_protocol::events::{Channel, Publish, Subscribe};
use countersign_protocol::graphql::OperationKind;
use http::header::{ACCEPT, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use serde_json::Value;

use super::{head, is_json, text};

/// `Accept`, a line for each of its values.
pub fn accept(data: &[u8]) {
    let mut headers = HeaderMap::new();
    let lines = data.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
    for value in values {
        headers.append(ACCEPT, value);
    }
    let accept = Accept::of(&headers);
    let subscription = accept.response_format(Some(OperationKind::Subscription));
    assert!(matches!(
        subscription,
        None | Some(ResponseFormat::Sse | ResponseFormat::Multipart)
    ));
    let query = accept.response_format(Some(OperationKind::Query));
    assert!(matches!(
        query,
        None | Some(ResponseFormat::Sse | ResponseFormat::Json(_))
    ));
    assert_eq!(query, accept.response_format(Some(OperationKind::Mutation)));
    assert_eq!(query, accept.response_format(None));
    if let Some(ResponseFormat::Json(media)) = query {
        assert_eq!(media, accept.media());
    }
    if accept.accepts_events() {
        assert!(query.is_some() && subscription.is_some());
    }
    if headers.is_empty() {
        assert_eq!(query, Some(ResponseFormat::Json(Media::Json)));
    }
}

/// A channel, and what is published to it in the lines below.
pub fn channel(data: &[u8]) {
    let Some((name, body)) = text(data).map(head) else {
        return;
    };
    let is_plain = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-/*".contains(c);
        text.chars().all(is_plain) && !text.contains("//") && text.len() < 300
    };
    if let Ok(channel) = Channel::pattern(name) {
        assert!(is_plain(name));
        assert_eq!(channel.as_str(), name);
        let subscribe = Subscribe {
            channel,
            headers: Vec::new(),
        };
        let data: Value = serde_json::from_str(&subscribe.to_data()).unwrap();
        assert_eq!(data["channel"], name);
    }
    let exact = Channel::exact(name);
    if let Ok(channel) = exact.clone() {
        assert!(is_plain(name) && !name.contains('*'));
        assert_eq!(Channel::pattern(name), exact);
        let publish = Publish {
            channel,
            events: vec![body.to_owned()],
            headers: Vec::new(),
        };
        let sent: Value = serde_json::from_str(&publish.to_body()).unwrap();
        assert_eq!(sent["events"][0], body);
    }
    if let Ok(sent) = envelope(name, body.as_bytes()) {
        assert!(exact.is_ok());
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(sent["channel"], name);
        let events = sent["events"].as_array().unwrap();
        assert!(!events.is_empty());
        assert!(events.iter().all(|event| is_json(event.as_str().unwrap())));
    }
}

/// A header for each line, `name: value`.
fn header_map(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = HeaderName::try_from(name);
        let value = HeaderValue::from_str(value.trim());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// A request's headers, `name: value`.
pub fn headers(data: &[u8]) {
    let Some(text) = text(data) else {
        return;
    };
    let sent = header_map(text);
    let named: Vec<String> = sent
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let is_left = |left: &HeaderMap| {
        for name in left.keys() {
            assert!(left.get_all(name).iter().eq(sent.get_all(name).iter()));
            assert!(!named.contains(&name.as_str().to_owned()), "{name}");
        }
    };
    for kind in [
        upstream::UpstreamKind::Graphql,
        upstream::UpstreamKind::Events,
        upstream::UpstreamKind::Http,
    ] {
        let policy = HeaderPolicy::new(kind, &[], Vec::new());
        let mut request = sent.clone();
        policy.filter_request(&mut request);
        is_left(&request);
        for gone in [
            "authorization",
            "connection",
            "content-length",
            "cookie",
            "host",
            "proxy-authorization",
            "te",
            "transfer-encoding",
            "upgrade",
            "x-amz-date",
            "x-amz-security-token",
            "x-forwarded-for",
        ] {
            assert!(!request.contains_key(gone), "{gone}");
        }
        assert!(kind == upstream::UpstreamKind::Http || !request.contains_key("x-api-key"));
        let mut twice = request.clone();
        policy.filter_request(&mut twice);
        assert_eq!(twice, request);
        let mut session = sent.clone();
        policy.filter_session(&mut session);
        is_left(&session);
        for name in session.keys() {
            assert!(request.contains_key(name) && !name.as_str().starts_with("sec-"));
        }
    }
    let mut response = sent.clone();
    filter_response_headers(&mut response);
    is_left(&response);
}

/// A request's target, and its headers in the lines below.
pub fn guard(data: &[u8]) {
    let Some((target, rest)) = text(data).map(head) else {
        return;
    };
    let Ok(mut request) = Request::builder().uri(target).body(()) else {
        return;
    };
    *request.headers_mut() = header_map(rest);
    let guard = Guard::new(GuardConfig::default()).unwrap();
    let local = LocalAddress::Tcp([127, 0, 0, 1].into());
    for scheme in [Scheme::Http, Scheme::Https] {
        let Ok(mut cors) = guard.check(&request, local, scheme, Navigations::Refuse) else {
            continue;
        };
        let headers = request.headers();
        let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
        assert_eq!(hosts.len(), 1);
        let host = hosts[0].to_str().unwrap().to_ascii_lowercase();
        assert!(is_ours(&host), "{host}");
        let origins: Vec<_> = headers.get_all(ORIGIN).iter().collect();
        match origins.as_slice() {
            [] => assert_eq!(cors, Cors::NoOrigin),
            [origin] => {
                let origin = origin.to_str().unwrap().to_ascii_lowercase();
                let (_, place) = origin.split_once("://").unwrap();
                assert!(is_ours(place), "{origin}");
                assert_eq!(cors, Cors::SameOrigin);
            }
            _ => panic!("several origins were allowed"),
        }
        let mut answer = HeaderMap::new();
        let _ = Cors::is_preflight(&request);
        cors.apply(&mut answer);
        cors = Cors::SameOrigin;
        cors.apply_preflight(headers, &mut answer);
    }
}

/// Returns whether this is a loopback name with an optional port. Shares no code with the guard.
fn is_ours(authority: &str) -> bool {
    let port_at = authority.rfind(':').filter(|at| {
        let port = &authority[at + 1..];
        port.bytes().all(|byte| byte.is_ascii_digit())
    });
    let name = &authority[..port_at.unwrap_or(authority.len())];
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let ip: Option<IpAddr> = bare.parse().ok();
    name == "localhost" || ip.is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// The body of an error response.
pub fn refusal(data: &[u8]) {
    for status in [StatusCode::FORBIDDEN, StatusCode::BAD_GATEWAY] {
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = status;
        let mut record = Record::new("POST");
        let body = proxy::rejection_body(&head, data, &mut record);
        record.discard();
        let body: Value = match serde_json::from_slice(&body) {
            Ok(body) => body,
            // It is nested more deeply than serde_json reads, and passed on unchanged.
            Err(error) => {
                assert!(is_json(std::str::from_utf8(&body).unwrap()), "{error}");
                continue;
            }
        };
        match body["errors"].as_array() {
            Some(errors) => {
                assert!(!errors.is_empty());
                assert!(errors.iter().all(|error| error["message"].is_string()));
            }
            None => assert!(body.get("data").is_some()),
        }
    }
}

/// The body of a successful response, which may contain only errors.
pub fn request_errors(data: &[u8]) {
    let _ = begins_with_data(data);
    let Some(body) = proxy::request_errors(data) else {
        return;
    };
    assert!(is_json(text(&body).unwrap()));
    // Nothing is left to take out of it.
    assert_eq!(proxy::request_errors(&body), Some(body));
}
