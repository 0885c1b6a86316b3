//! Verifies the signatures of requests to AppSync: key, scope, date, and the signature itself.
//!
//! [`verify`] takes the bytes as received and the rules (region, keys, time). An error carries AWS's
//! text. The code follows AWS's description of Signature Version 4, and not the code of a signer, so that
//! it detects mistakes in the signer that countersign uses. It never reads a clock.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

mod authorization;
mod canonical;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
#[cfg(test)]
mod vectors;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::appsync_error::AppSyncError;
use super::options::Key;

pub(super) use authorization::{ALGORITHM, Authorization};
pub(super) use canonical::{Headers, PlusSign, Received, percent_decode, sha256_hex};

/// The rules by which a signature is verified.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) region: &'a str,
    pub(super) keys: &'a [Key],
    pub(super) keys_expired: bool,
    pub(super) now: OffsetDateTime,
}

/// Proof that [`verify`] accepted a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) signed_headers: Vec<String>,
}

/// Verifies a request by its `authorization` header.
///
/// AWS does not document the order of its checks. This order reports the most specific mistake first,
/// and "the signature does not match" last.
pub(super) fn verify(received: &Received<'_>, rules: &Rules<'_>) -> Result<Verified, AppSyncError> {
    let header = match received.headers.joined("authorization") {
        Some(header) if !header.is_empty() => header,
        Some(_) | None if received.headers.joined("x-api-key").is_some() => {
            return Err(AppSyncError::NotAuthorized);
        }
        Some(_) | None => return Err(AppSyncError::MissingAuthorization),
    };
    let date = received.headers.joined("x-amz-date");
    let authorization = Authorization::parse(&header, date.is_some())?;
    let date = date.unwrap_or_default();

    check_signed_headers(received, &authorization)?;
    let signed_at = parse_date(&date)?;
    let token = received.headers.joined("x-amz-security-token");
    let key = find_key(
        rules.keys,
        authorization.access_key_id,
        token.as_deref(),
        rules.keys_expired,
    )?;
    check_scope(&authorization, &date, rules.region, SERVICE)?;
    check_time(signed_at, rules.now, TOLERANCE)?;

    let canonical = canonical::request(received, &authorization.signed_headers);
    let string_to_sign = format!(
        "{ALGORITHM}\n{date}\n{}\n{}",
        authorization.scope(),
        sha256_hex(canonical.as_bytes()),
    );
    if !authorization.headers_are_sorted()
        || !signature_matches(key, &authorization, string_to_sign.as_bytes())
    {
        return Err(AppSyncError::BadSignature(mismatch_message(
            &canonical,
            &string_to_sign,
        )));
    }
    Ok(Verified {
        signed_headers: authorization.signed_headers,
    })
}

fn check_signed_headers(
    received: &Received<'_>,
    authorization: &Authorization<'_>,
) -> Result<(), AppSyncError> {
    let signed = &authorization.signed_headers;
    if !signed.iter().any(|name| name == "host") {
        return Err(AppSyncError::BadSignature(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into(),
        ));
    }
    if let Some(name) = signed
        .iter()
        .find(|name| received.headers.joined(name).is_none())
    {
        return Err(AppSyncError::Incomplete(format!(
            "'{name}' is named as a SignedHeader, but it does not exist in the HTTP request."
        )));
    }
    // Every known client signs the token. It is unknown whether AppSync accepts an unsigned one, so
    // this rejects it.
    let token = "x-amz-security-token";
    if received.headers.joined(token).is_some() && !signed.iter().any(|name| name == token) {
        return Err(AppSyncError::Incomplete(format!(
            "'{token}' must be a 'SignedHeader' in the AWS Authorization."
        )));
    }
    Ok(())
}

/// Returns the key with this id, if `token` is that key's session token.
pub(super) fn find_key<'a>(
    keys: &'a [Key],
    access_key_id: &str,
    token: Option<&str>,
    are_expired: bool,
) -> Result<&'a Key, AppSyncError> {
    let key = keys
        .iter()
        .find(|key| key.access_key_id == access_key_id)
        .ok_or(AppSyncError::UnrecognizedClient)?;
    let is_own_token = match (&key.session_token, token) {
        (Some(expected), Some(given)) => constant_time_eq(expected.as_bytes(), given.as_bytes()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if !is_own_token {
        return Err(AppSyncError::UnrecognizedClient);
    }
    if are_expired {
        return Err(AppSyncError::ExpiredToken);
    }
    Ok(key)
}

/// Checks the credential scope. All its mistakes are in one text.
pub(super) fn check_scope(
    authorization: &Authorization<'_>,
    date: &str,
    region: &str,
    service: &str,
) -> Result<(), AppSyncError> {
    let day = date.get(..8).unwrap_or_default();
    let mut problems: Vec<String> = Vec::new();
    if authorization.region != region {
        problems.push("Credential should be scoped to a valid region.".to_owned());
    }
    if authorization.service != service {
        problems.push(format!(
            "Credential should be scoped to correct service: '{service}'."
        ));
    }
    if authorization.terminator != TERMINATOR {
        problems.push(format!(
            "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
            authorization.terminator
        ));
    }
    if authorization.date != day {
        problems.push(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '{}' != '{day}', from '{date}'.",
            authorization.date
        ));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(AppSyncError::BadSignature(problems.join(" ")))
}

/// Checks the date, with five minutes of tolerance in both directions
/// ([Authenticating Requests](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html)).
///
/// `lifetime` is also five minutes, unless the request declares one.
pub(super) fn check_time(
    signed_at: OffsetDateTime,
    now: OffsetDateTime,
    lifetime: Duration,
) -> Result<(), AppSyncError> {
    let (earliest, latest) = (now.saturating_sub(lifetime), now.saturating_add(TOLERANCE));
    if signed_at < earliest {
        let lifetime = match (lifetime.whole_minutes(), lifetime.whole_seconds()) {
            (minutes, seconds) if minutes * 60 == seconds => format!("{minutes} min."),
            (_, seconds) => format!("{seconds} sec."),
        };
        return Err(AppSyncError::BadSignature(format!(
            "Signature expired: {} is now earlier than {} ({} - {lifetime})",
            format_date(signed_at),
            format_date(earliest),
            format_date(now),
        )));
    }
    if signed_at > latest {
        return Err(AppSyncError::BadSignature(format!(
            "Signature not yet current: {} is still later than {} ({} + 5 min.)",
            format_date(signed_at),
            format_date(latest),
            format_date(now),
        )));
    }
    Ok(())
}

pub(super) fn signature_matches(
    key: &Key,
    authorization: &Authorization<'_>,
    string_to_sign: &[u8],
) -> bool {
    let secret = format!("AWS4{}", key.secret_access_key);
    let signing_key = [
        authorization.date,
        authorization.region,
        authorization.service,
        authorization.terminator,
    ]
    .into_iter()
    .fold(secret.into_bytes(), |key, part| {
        hmac(&key, part.as_bytes()).finalize().into_bytes().to_vec()
    });
    // `verify_slice` takes constant time.
    decode_hex(authorization.signature).is_some_and(|given| {
        hmac(&signing_key, string_to_sign)
            .verify_slice(&given)
            .is_ok()
    })
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn hmac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(message);
    mac
}

/// Decodes hexadecimal digits. Accepts only lower case, because AWS compares signatures as text.
fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?))
        .collect()
}

fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0, |diff, (a, b)| diff | (a ^ b))
            == 0
}

pub(super) fn parse_date(date: &str) -> Result<OffsetDateTime, AppSyncError> {
    PrimitiveDateTime::parse(date, BASIC_FORMAT)
        .map(PrimitiveDateTime::assume_utc)
        .map_err(|_| {
            AppSyncError::Incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{date}'. \
                 See http://en.wikipedia.org/wiki/ISO_8601"
            ))
        })
}

fn format_date(at: OffsetDateTime) -> String {
    at.format(BASIC_FORMAT).unwrap_or_default()
}

pub(super) fn mismatch_message(canonical: &str, string_to_sign: &str) -> String {
    format!(
        "The request signature we calculated does not match the signature you provided. Check your \
         AWS Secret Access Key and signing method. Consult the service documentation for details.\n\
         \n\
         The Canonical String for this request should have been\n\
         '{canonical}'\n\
         \n\
         The String-to-Sign should have been\n\
         '{string_to_sign}'\n"
    )
}

const SERVICE: &str = "appsync";
const TERMINATOR: &str = "aws4_request";
pub(super) const TOLERANCE: Duration = Duration::minutes(5);
const BASIC_FORMAT: &[time::format_description::BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
