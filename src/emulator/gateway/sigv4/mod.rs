//! Verifies signatures for API Gateway and other services, in headers or in the query.
//!
//! [`verify`] takes a head as received, its body, and the rules of its host. An error carries AWS's
//! text. It never reads a clock.
//!
//! It shares the checks of keys, scope, dates and the signature itself with AppSync's verification.

mod canonical;
mod parameters;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
#[cfg(test)]
mod vectors;

use time::{Duration, OffsetDateTime};

use super::error::GatewayError;
use super::head::Head;
use super::sites::{PayloadRule, Site};
use canonical::Pair;
use parameters::Presigned;

use crate::options::Key;
use crate::sigv4::{self as shared, ALGORITHM, Authorization, sha256_hex};

/// The rules by which a signature is verified.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiteRules<'a> {
    pub(super) site: &'a Site,
    /// Whether the canonical path omits empty and dot segments. It is not known whether
    /// `execute-api` does that.
    pub(super) normalizes_paths: bool,
    pub(super) keys: &'a [Key],
    pub(super) keys_expired: bool,
    pub(super) now: OffsetDateTime,
}

/// Proof that [`verify`] accepted a request, and the canonical request that it computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerifiedRequest {
    pub(super) canonical: String,
    pub(super) signed_headers: Vec<String>,
    pub(super) is_presigned: bool,
}

/// The signature parameters of a request, from its headers or its query.
struct SignatureParameters<'a> {
    authorization: Authorization<'a>,
    date: &'a str,
    token: Option<&'a str>,
    lifetime: Duration,
    is_presigned: bool,
}

pub(super) fn verify(
    head: &Head,
    body: &[u8],
    rules: &SiteRules<'_>,
) -> Result<VerifiedRequest, GatewayError> {
    let (_, query) = head.path_and_query();
    let pairs = canonical::pairs(query, rules.site.has_rest_queries())?;
    let header = head
        .text("authorization")
        .filter(|header| !header.is_empty());
    match (header, Presigned::from_query(&pairs)) {
        (Some(_), Some(_)) => Err(GatewayError::BadSignature(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP \
             header."
                .to_owned(),
        )),
        (Some(header), None) => {
            let (date, token) = (head.text("x-amz-date"), head.text("x-amz-security-token"));
            let parameters = SignatureParameters {
                authorization: parameters::authorization(&header, date.is_some())?,
                date: date.as_deref().unwrap_or_default(),
                token: token.as_deref(),
                lifetime: shared::TOLERANCE,
                is_presigned: false,
            };
            verify_signature(head, body, &pairs, &parameters, rules)
        }
        (None, Some(presigned)) => {
            let presigned = presigned.validate()?;
            let parameters = SignatureParameters {
                authorization: Authorization::from_parts(
                    &presigned.credential,
                    &presigned.signed_headers,
                    &presigned.signature,
                )?,
                date: &presigned.date,
                token: presigned.token.as_deref(),
                lifetime: presigned.lifetime()?,
                is_presigned: true,
            };
            verify_signature(head, body, &pairs, &parameters, rules)
        }
        (None, None) => Err(GatewayError::MissingToken),
    }
}

fn verify_signature(
    head: &Head,
    body: &[u8],
    pairs: &[Pair],
    parameters: &SignatureParameters<'_>,
    rules: &SiteRules<'_>,
) -> Result<VerifiedRequest, GatewayError> {
    let authorization = &parameters.authorization;
    let signed_headers = &authorization.signed_headers;
    check_signed_headers(head, signed_headers)?;
    let signed_at = shared::parse_date(parameters.date)?;
    let key = shared::find_key(
        rules.keys,
        authorization.access_key_id,
        parameters.token,
        rules.keys_expired,
    )?;
    let site = rules.site;
    shared::check_scope(authorization, parameters.date, &site.region, &site.service)?;
    shared::check_time(signed_at, rules.now, parameters.lifetime)?;

    let payload = payload(head, body, site.payload_rule())?;
    let (path, _) = head.path_and_query();
    let path = if rules.normalizes_paths {
        canonical::normalized(path)
    } else {
        path.to_vec()
    };
    let placements = if parameters.is_presigned && site.accepts_appended_token() {
        &[TokenPlacement::Signed, TokenPlacement::Appended][..]
    } else {
        &[TokenPlacement::Signed]
    };
    let mut mismatch = String::new();
    for placement in placements.iter().rev() {
        let signed: Vec<&Pair> = pairs
            .iter()
            .filter(|(name, _)| !parameters.is_presigned || !placement.excludes(name))
            .collect();
        let canonical = canonical::request(head, &path, &signed, signed_headers, &payload);
        let string_to_sign = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            parameters.date,
            authorization.scope(),
            sha256_hex(&canonical),
        );
        let canonical = String::from_utf8_lossy(&canonical).into_owned();
        if authorization.headers_are_sorted()
            && shared::signature_matches(key, authorization, string_to_sign.as_bytes())
        {
            return Ok(VerifiedRequest {
                canonical,
                signed_headers: signed_headers.clone(),
                is_presigned: parameters.is_presigned,
            });
        }
        mismatch = shared::mismatch_message(&canonical, &string_to_sign);
    }
    Err(GatewayError::BadSignature(mismatch))
}

/// Checks that `host` and every `x-amz-` header are signed, and that every signed header is present.
/// The date needs no check, because the string to sign contains it.
fn check_signed_headers(head: &Head, signed: &[String]) -> Result<(), GatewayError> {
    let is_signed = |name: &str| {
        signed
            .iter()
            .any(|signed| signed.eq_ignore_ascii_case(name))
    };
    if !is_signed("host") {
        return Err(GatewayError::BadSignature(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
        ));
    }
    if let Some(name) = signed.iter().find(|name| head.joined(name).is_none()) {
        return Err(GatewayError::Incomplete(format!(
            "'{name}' is named as a SignedHeader, but it does not exist in the HTTP request."
        )));
    }
    let names = head
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase());
    let unsigned = names
        .filter(|name| name.starts_with("x-amz-") && name != "x-amz-date")
        .find(|name| !is_signed(name));
    match unsigned {
        Some(name) => Err(GatewayError::BadSignature(format!(
            "'{name}' must be a 'SignedHeader' in the AWS Authorization."
        ))),
        None => Ok(()),
    }
}

/// Returns the last line of the canonical request. A request may declare an unsigned payload only
/// for services that are known to accept one; a hash that it declares must be that of the body.
fn payload(head: &Head, body: &[u8], rule: PayloadRule) -> Result<String, GatewayError> {
    let declared = head.text("x-amz-content-sha256");
    let is_unsigned = declared.as_deref() == Some(UNSIGNED_PAYLOAD);
    match (rule, declared) {
        (PayloadRule::DeclaredBodyHash | PayloadRule::MayBeUnsigned, None) => {
            Err(GatewayError::Forbidden)
        }
        (PayloadRule::MayBeUnsigned, Some(declared)) if is_unsigned => Ok(declared),
        _ => Ok(sha256_hex(body)),
    }
}

/// Whether the session token of a presigned URL is covered by its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenPlacement {
    Signed,
    Appended,
}

// === impl TokenPlacement ===

impl TokenPlacement {
    fn excludes(self, name: &[u8]) -> bool {
        name == parameters::SIGNATURE || (self == Self::Appended && name == parameters::TOKEN)
    }
}

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
