//! AppSync's HTTP responses: common headers, errors, and the fixed response of a switch.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response};
use http_body_util::Full;
use uuid::Uuid;

use super::appsync::AppSync;
use super::appsync_error::AppSyncError;
use super::fixed_response::FixedResponse;

pub(super) type Body = Full<Bytes>;

/// Counts a rejected request and returns the error response.
pub(super) fn error_response(api: &AppSync, error: &AppSyncError) -> Response<Body> {
    api.context.ledger.record_refusal(error);
    let signature = api.context.switches.settings().signature_status();
    let mut response = Response::new(Body::from(error.body(signature)));
    *response.status_mut() = error.status(signature);
    let headers = response.headers_mut();
    common_headers(api, headers);
    headers.insert(
        ERROR_TYPE,
        HeaderValue::from_static(error.error_type(signature)),
    );
    response
}

/// Returns the fixed response that a switch sets for every request.
pub(super) fn fixed_response(api: &AppSync, fixed: &FixedResponse) -> Response<Body> {
    let mut response = Response::new(Body::from(fixed.bytes()));
    common_headers(api, response.headers_mut());
    fixed.apply_to(&mut response);
    response
}

pub(super) fn common_headers(api: &AppSync, headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json;charset=UTF-8"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "x-amzn-RequestId,x-amzn-ErrorType,x-amz-user-agent,x-amzn-ErrorMessage,Date,\
             x-amz-schema-version",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // hyper would send the system time; the emulator's clock may be skewed.
    for (name, value) in [
        (header::DATE, api.context.clock.http_date()),
        (REQUEST_ID, Uuid::new_v4().to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
