//! One request to the gateway: its verification from raw bytes, then the response or an error.

use bytes::Bytes;
use http::Request;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;
use uuid::Uuid;

use super::body::{GatewayBody, GatewayResponse};
use super::error::GatewayError;
use super::head::Head;
use super::sigv4::SiteRules;
use super::sites::{Site, SiteKind};
use super::state::Gateway;
use super::websocket::RequestOutcome;
use super::{routes, sigv4, websocket};
use crate::options::ACCOUNT;

/// Handles an HTTP/2 request.
pub(crate) async fn handle_http2_request(
    gateway: &Gateway,
    request: Request<Incoming>,
) -> GatewayResponse {
    let (parts, body) = request.into_parts();
    let head = Head::from_parts(&parts);
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(GatewayError::TooLarge),
        // The client has disconnected, so this response is not read.
        Err(_) => Err(GatewayError::BadRequest("Bad Request".to_owned())),
    };
    match handle_request(gateway, &head, body).await {
        RequestOutcome::Response(response) => response,
        // HTTP/2 does not have this kind of upgrade.
        RequestOutcome::Upgrade(_) => error_response(gateway, None, &GatewayError::UpgradeRequired),
    }
}

/// Handles a request and counts it.
pub(super) async fn handle_request(
    gateway: &Gateway,
    head: &Head,
    body: Result<Bytes, GatewayError>,
) -> RequestOutcome {
    gateway.context.ledger.count(|counts| {
        counts.requests.http += 1;
        counts.gateway.requests += 1;
    });
    let site = gateway.names.site(&head.host());
    let outcome = match &site {
        Some(site) => body.and_then(|body| respond(gateway, site, head, &body)),
        None => Err(GatewayError::Forbidden),
    };
    let settings = gateway.context.switches.settings();
    let delay = if head.is_upgrade() {
        settings.connect_delay()
    } else {
        settings.delay()
    };
    tokio::time::sleep(delay).await;
    match outcome {
        Ok(RequestOutcome::Response(mut response)) => {
            common_headers(gateway, site.as_ref(), &mut response);
            RequestOutcome::Response(response)
        }
        Ok(RequestOutcome::Upgrade(upgrade)) => RequestOutcome::Upgrade(upgrade),
        Err(error) => {
            let summary = error.summary();
            tracing::info!(reason = %summary, "refused");
            gateway.context.ledger.record_refusal_summary(summary);
            gateway.context.ledger.count(|counts| {
                let reason = error.reason().to_owned();
                *counts.gateway.refused.entry(reason).or_default() += 1;
            });
            RequestOutcome::Response(error_response(gateway, site.as_ref(), &error))
        }
    }
}

/// Verifies a request, checks the switches and the policy, and returns the response of the API.
fn respond(
    gateway: &Gateway,
    site: &Site,
    head: &Head,
    body: &Bytes,
) -> Result<RequestOutcome, GatewayError> {
    let settings = gateway.context.switches.settings();
    if site.kind == SiteKind::UnknownApi {
        return Err(GatewayError::Forbidden);
    }
    if settings.throttle {
        return Err(GatewayError::Throttled);
    }
    if settings.refuse_realtime && head.is_upgrade() {
        return Err(GatewayError::Unavailable);
    }
    let (path, query) = head.path_and_query();
    if !path.is_empty() && !path.starts_with(b"/") {
        return Err(GatewayError::BadRequest("Bad Request".to_owned()));
    }
    let is_unsafe = |byte: &u8| matches!(byte, b'|' | b'{' | b'}');
    if site.has_rest_queries() && query.iter().any(is_unsafe) {
        return Err(GatewayError::BadRequest("Bad Request".to_owned()));
    }
    let rules = SiteRules {
        site,
        normalizes_paths: settings.normalize_paths,
        keys: &settings.accepted_keys(&gateway.context.options.keys),
        keys_expired: settings.expire_keys,
        now: gateway.context.clock.now(),
    };
    let verified = sigv4::verify(head, body, &rules).map_err(|error| {
        if settings.revoked_as_expired && error == GatewayError::UnrecognizedClient {
            GatewayError::ExpiredToken
        } else {
            error
        }
    })?;
    gateway
        .context
        .ledger
        .count(|counts| counts.gateway.verified += 1);
    check_policy(gateway, site, head)?;

    if let Some(fixed) = settings.answer_http.filter(|_| !head.is_upgrade()) {
        let mut response = GatewayResponse::new(GatewayBody::Full(fixed.bytes()));
        fixed.apply_to(&mut response);
        return Ok(RequestOutcome::Response(response));
    }
    let response = match site.kind {
        SiteKind::WebSocket => {
            return websocket::websocket_response(gateway, site, head, body, &verified);
        }
        SiteKind::Analyzer => return websocket::analyzer_response(head, &verified),
        SiteKind::Rest => {
            let (stage, route) = routes::stage_and_route(head)?;
            routes::integration_response(
                &gateway.context.ledger,
                site,
                &stage,
                &route,
                head,
                body,
                &verified,
            )
        }
        SiteKind::Http | SiteKind::Service | SiteKind::UnknownApi => {
            let route = String::from_utf8_lossy(path);
            routes::integration_response(
                &gateway.context.ledger,
                site,
                "",
                &route,
                head,
                body,
                &verified,
            )
        }
    };
    Ok(RequestOutcome::Response(response))
}

/// Checks a request against the policy of the `policy` switch. For services other than API Gateway,
/// the emulator does not know the action, and always allows the request.
fn check_policy(gateway: &Gateway, site: &Site, head: &Head) -> Result<(), GatewayError> {
    let invoke = "execute-api:Invoke";
    let (action, resource) = match site.kind {
        SiteKind::Rest => {
            let (stage, route) = routes::stage_and_route(head)?;
            let route = route.strip_prefix('/').unwrap_or_default();
            (invoke, format!("{stage}/{}/{route}", head.method))
        }
        SiteKind::Http => {
            let path = String::from_utf8_lossy(head.path_and_query().0);
            (invoke, format!("$default/{}{path}", head.method))
        }
        SiteKind::WebSocket => {
            let (stage, route) = routes::stage_and_route(head)?;
            match websocket::connection_id(&route) {
                Some(id) => (
                    "execute-api:ManageConnections",
                    format!("{stage}/{}/@connections/{id}", head.method),
                ),
                None => (invoke, format!("{stage}/$connect")),
            }
        }
        SiteKind::Analyzer | SiteKind::Service | SiteKind::UnknownApi => return Ok(()),
    };
    let host = head.host();
    let id = host.split('.').next().unwrap_or_default();
    let permission = gateway
        .context
        .allows("execute-api", action, &format!("{id}/{resource}"));
    permission.map_err(|arn| {
        GatewayError::AccessDenied(format!(
            "User: arn:aws:iam::{ACCOUNT}:user/demo is not authorized to perform: {action} on \
             resource: {arn} because no identity-based policy allows the {action} action"
        ))
    })
}

/// Returns `{"message": …}`. WebSocket APIs add two ids.
fn error_response(gateway: &Gateway, site: Option<&Site>, error: &GatewayError) -> GatewayResponse {
    let kind = site.map(|site| site.kind);
    let shown = match kind {
        Some(SiteKind::Http) => error.clone().hide_reason(),
        _ => error.clone(),
    };
    let mut body = json!({ "message": shown.to_string() });
    if kind == Some(SiteKind::WebSocket) {
        body["connectionId"] = websocket::new_id().into();
        body["requestId"] = Uuid::new_v4().to_string().into();
    }
    let mut response = routes::json_response(&body);
    *response.status_mut() = shown.status();
    let error_type = HeaderValue::from_static(shown.error_type());
    response.headers_mut().insert(ERROR_TYPE, error_type);
    common_headers(gateway, site, &mut response);
    response
}

fn common_headers(gateway: &Gateway, site: Option<&Site>, response: &mut GatewayResponse) {
    let request_id = match site.map(|site| site.kind) {
        Some(SiteKind::Http) => APIGW_REQUEST_ID,
        _ => REQUEST_ID,
    };
    let mut headers = vec![
        // The time of the emulator's clock, which may be skewed.
        (header::DATE, gateway.context.clock.http_date()),
        (request_id, Uuid::new_v4().to_string()),
    ];
    if site.is_some_and(|site| site.kind == SiteKind::Rest) {
        headers.push((APIGW_ID, websocket::new_id()));
    }
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// The largest body, in bytes.
pub(super) const MAX_BODY: usize = 10 << 20;
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const APIGW_REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");
const APIGW_ID: HeaderName = HeaderName::from_static("x-amz-apigw-id");
