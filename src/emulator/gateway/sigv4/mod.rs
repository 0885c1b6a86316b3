//! The judge of what is signed for API Gateway and other services, by headers or in the query.
//!
//! In flow a head as it was received, its body, and the rules of the host it names; out flows a
//! verdict, and with a denial AWS's text for it. It never reads a clock.
//!
//! What AppSync's judge has, too (keys, scope, dates, the signature itself), it shares with it.

mod canonical;
mod presented;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
#[cfg(test)]
mod vectors;

use time::{Duration, OffsetDateTime};

use super::denial::Denial;
use super::head::Head;
use super::sites::{Payload, Site};
use canonical::Pair;
use presented::Presigned;

use crate::options::Key;
use crate::sigv4::{self as shared, ALGORITHM, Authorization, sha256_hex};

/// What a signature is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) site: &'a Site,
    /// The canonical path is without empty and dot segments. Whether `execute-api` does that is not
    /// known.
    pub(super) normalizes_paths: bool,
    pub(super) keys: &'a [Key],
    pub(super) keys_expired: bool,
    pub(super) now: OffsetDateTime,
}

/// Proof that [`verify`] accepted a request, and how it read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) canonical: String,
    pub(super) signed_headers: Vec<String>,
    pub(super) is_presigned: bool,
}

/// What a request says of its own signature.
struct Claim<'a> {
    authorization: Authorization<'a>,
    date: &'a str,
    token: Option<&'a str>,
    lifetime: Duration,
    is_presigned: bool,
}

pub(super) fn verify(head: &Head, body: &[u8], rules: &Rules<'_>) -> Result<Verified, Denial> {
    let (_, query) = head.path_and_query();
    let pairs = canonical::pairs(query, rules.site.has_rest_queries())?;
    let header = head
        .text("authorization")
        .filter(|header| !header.is_empty());
    match (header, Presigned::find(&pairs)) {
        (Some(_), Some(_)) => Err(Denial::BadSignature(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP \
             header."
                .to_owned(),
        )),
        (Some(header), None) => {
            let (date, token) = (head.text("x-amz-date"), head.text("x-amz-security-token"));
            let claim = Claim {
                authorization: presented::authorization(&header, date.is_some())?,
                date: date.as_deref().unwrap_or_default(),
                token: token.as_deref(),
                lifetime: shared::TOLERANCE,
                is_presigned: false,
            };
            judge(head, body, &pairs, &claim, rules)
        }
        (None, Some(presigned)) => {
            let presigned = presigned.complete()?;
            let claim = Claim {
                authorization: Authorization::of(
                    &presigned.credential,
                    &presigned.signed_headers,
                    &presigned.signature,
                )?,
                date: &presigned.date,
                token: presigned.token.as_deref(),
                lifetime: presigned.lifetime()?,
                is_presigned: true,
            };
            judge(head, body, &pairs, &claim, rules)
        }
        (None, None) => Err(Denial::MissingToken),
    }
}

fn judge(
    head: &Head,
    body: &[u8],
    pairs: &[Pair],
    claim: &Claim<'_>,
    rules: &Rules<'_>,
) -> Result<Verified, Denial> {
    let authorization = &claim.authorization;
    let signed_headers = &authorization.signed_headers;
    check_signed_headers(head, signed_headers)?;
    let signed_at = shared::parse_date(claim.date)?;
    let key = shared::known_key(
        rules.keys,
        authorization.access_key_id,
        claim.token,
        rules.keys_expired,
    )?;
    let site = rules.site;
    shared::check_scope(authorization, claim.date, &site.region, &site.service)?;
    shared::check_time(signed_at, rules.now, claim.lifetime)?;

    let payload = payload(head, body, site.payload())?;
    let (path, _) = head.path_and_query();
    let path = match rules.normalizes_paths {
        true => canonical::normalized(path),
        false => path.to_vec(),
    };
    let readings = match claim.is_presigned && site.takes_appended_token() {
        true => &[Token::Signed, Token::Appended][..],
        false => &[Token::Signed],
    };
    let mut denied = String::new();
    for token in readings.iter().rev() {
        let signed: Vec<&Pair> = pairs
            .iter()
            .filter(|(name, _)| !claim.is_presigned || !token.leaves_out(name))
            .collect();
        let canonical = canonical::request(head, &path, &signed, signed_headers, &payload);
        let string_to_sign = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            claim.date,
            authorization.scope(),
            sha256_hex(&canonical),
        );
        let canonical = String::from_utf8_lossy(&canonical).into_owned();
        if authorization.headers_in_order()
            && shared::matches(key, authorization, string_to_sign.as_bytes())
        {
            return Ok(Verified {
                canonical,
                signed_headers: signed_headers.clone(),
                is_presigned: claim.is_presigned,
            });
        }
        denied = shared::mismatch(&canonical, &string_to_sign);
    }
    Err(Denial::BadSignature(denied))
}

/// `host` and every `x-amz-` header must be signed, and what is named as signed must be there. The
/// date is in the string to sign, anyway.
fn check_signed_headers(head: &Head, signed: &[String]) -> Result<(), Denial> {
    let is_signed = |name: &str| {
        signed
            .iter()
            .any(|signed| signed.eq_ignore_ascii_case(name))
    };
    if !is_signed("host") {
        return Err(Denial::BadSignature(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
        ));
    }
    if let Some(name) = signed.iter().find(|name| head.joined(name).is_none()) {
        return Err(Denial::Incomplete(format!(
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
        Some(name) => Err(Denial::BadSignature(format!(
            "'{name}' must be a 'SignedHeader' in the AWS Authorization."
        ))),
        None => Ok(()),
    }
}

/// The last line of the canonical request. Only where a service is known to take an unsigned
/// payload, the request may say so; a hash that it states must be the body's, else nothing matches.
fn payload(head: &Head, body: &[u8], rule: Payload) -> Result<String, Denial> {
    let stated = head.text("x-amz-content-sha256");
    let is_unsigned = stated.as_deref() == Some(UNSIGNED_PAYLOAD);
    match (rule, stated) {
        (Payload::Stated | Payload::MayBeUnsigned, None) => Err(Denial::Forbidden),
        (Payload::MayBeUnsigned, Some(stated)) if is_unsigned => Ok(stated),
        _ => Ok(sha256_hex(body)),
    }
}

/// Whether the session token of a presigned URL was there when it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Signed,
    Appended,
}

// === impl Token ===

impl Token {
    fn leaves_out(self, name: &[u8]) -> bool {
        name == presented::SIGNATURE || (self == Self::Appended && name == presented::TOKEN)
    }
}

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
