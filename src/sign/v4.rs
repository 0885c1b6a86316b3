//! Signs with SigV4 (IAM user guide, "Create a signed AWS API request").
//!
//! A signature covers the hash of the canonical request:
//!
//! ```text
//! POST                                             method
//! /prod/a%2520b                                    path of the target, escaped once more
//! a=1&b=2                                          parameters, sorted
//! content-type:application/json                    signed headers, sorted
//! host:example.execute-api.eu-west-1.amazonaws.com
//! x-amz-date:20260115T120000Z
//!
//! content-type;host;x-amz-date                     names of the signed headers
//! 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
//! ```
//!
//! The last line is the SHA-256 hash of the body, or `UNSIGNED-PAYLOAD`.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use ring::hmac;
use time::OffsetDateTime;

use super::credentials::Snapshot;
use super::signable::{Context, Scope, SignError, Signable, Signed, UNSIGNED_PAYLOAD};
use super::style::{PayloadSigning, SignaturePlacement, TokenMode};
use super::target::push_strictly;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";

/// What the signatures of a day have in common. It is derived once, because that costs more than a signature,
/// and kept until the day ends or the credentials change.
#[derive(Debug, Default)]
pub(super) struct SigningKey {
    derived: Mutex<Option<Arc<DerivedKey>>>,
}

#[derive(Debug)]
struct DerivedKey {
    credentials: Arc<Snapshot>,
    /// `YYYYMMDD/{region}/{service}/aws4_request`
    scope: String,
    key: hmac::Key,
    /// The session token as the value of a header. Every token that `keys::check` accepts can be one.
    token: Option<HeaderValue>,
}

/// A short text of ASCII characters.
struct Ascii<const LENGTH: usize>([u8; LENGTH]);

// === impl SigningKey ===

impl SigningKey {
    /// Returns the key of the day `date` for `scope`, which must always be the same.
    ///
    /// # Errors
    /// [`SignError::Header`] if the session token cannot be sent in a header.
    fn get(
        &self,
        date: &str,
        scope: &Scope,
        credentials: &Arc<Snapshot>,
    ) -> Result<Arc<DerivedKey>, SignError> {
        let mut derived = self.derived.lock();
        if let Some(derived) = &*derived
            && derived.scope.starts_with(date)
            && Arc::ptr_eq(&derived.credentials, credentials)
        {
            return Ok(Arc::clone(derived));
        }
        let new = Arc::new(DerivedKey::new(date, scope, credentials)?);
        *derived = Some(Arc::clone(&new));
        Ok(new)
    }
}

// === impl DerivedKey ===

impl DerivedKey {
    fn new(date: &str, scope: &Scope, credentials: &Arc<Snapshot>) -> Result<Self, SignError> {
        let secret = format!("AWS4{}", credentials.secret_key());
        let first = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let steps = [date, &scope.region, &scope.service, "aws4_request"];
        let key = steps.iter().fold(first, |key, step| {
            let derived = hmac::sign(&key, step.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
        });
        let token = credentials.session_token().map(str::to_owned);
        Ok(Self {
            credentials: Arc::clone(credentials),
            scope: steps.join("/"),
            key,
            token: token.map(secret_value).transpose()?,
        })
    }
}

// === impl Ascii ===

impl<const LENGTH: usize> Ascii<LENGTH> {
    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

// === signing ===

/// Signs `request` at the time `now`.
///
/// # Errors
/// [`SignError::Header`] if the access key or the session token cannot be sent in a header.
pub(super) fn sign(
    context: &Context<'_>,
    key: &SigningKey,
    request: &Signable<'_>,
    now: SystemTime,
) -> Result<Signed, SignError> {
    let time = timestamp(now);
    let time = time.as_str();
    let day = key.get(&time[..8], context.scope, context.credentials)?;
    let body_hash = match context.style.payload {
        PayloadSigning::Hashed | PayloadSigning::HashedInHeader => Some(sha256(request.body)),
        PayloadSigning::Unsigned => None,
    };
    let payload = body_hash.as_ref().map_or(UNSIGNED_PAYLOAD, Ascii::as_str);
    let headers = signed_headers(context, request, time, payload);
    let names = names(&headers);
    let query = presigned_query(context, time, &day.scope, &names);
    let token = signed_token_parameter(context);

    let (path, parameters) = request
        .target
        .split_once('?')
        .unwrap_or((request.target, ""));
    let parameters = [Some(parameters), query.as_deref(), token.as_deref()];
    let canonical = canonical_request(request.method, path, parameters, &headers, &names, payload);
    let hash = sha256(canonical.as_bytes());
    // Reuses the memory of the canonical request.
    let mut to_sign = canonical;
    to_sign.clear();
    for line in [ALGORITHM, time, &day.scope] {
        to_sign.push_str(line);
        to_sign.push('\n');
    }
    to_sign.push_str(hash.as_str());
    let signature = hex(hmac::sign(&day.key, to_sign.as_bytes()).as_ref());

    match query {
        None => in_headers(context, &day, time, &names, payload, signature.as_str()),
        Some(query) => Ok(in_query(context, query, signature.as_str())),
    }
}

/// Returns the headers that the signature covers, sorted by name.
fn signed_headers<'a>(
    context: &Context<'a>,
    request: &Signable<'a>,
    time: &'a str,
    payload: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let mut headers = Vec::with_capacity(request.headers.len() + 4);
    headers.push(("host", context.host));
    headers.extend_from_slice(request.headers);
    let is_in_headers = context.style.placement == SignaturePlacement::Headers;
    if is_in_headers {
        headers.push((DATE, time));
    }
    if let Some(token) = context.credentials.session_token()
        && is_in_headers
        && context.style.token == TokenMode::Signed
    {
        headers.push((TOKEN, token));
    }
    match context.style.payload {
        PayloadSigning::HashedInHeader if is_in_headers => {
            headers.push((CONTENT_SHA256, payload));
        }
        PayloadSigning::Unsigned => headers.push((CONTENT_SHA256, payload)),
        PayloadSigning::Hashed | PayloadSigning::HashedInHeader => {}
    }
    // Stable, because values of the same name keep their order.
    headers.sort_by_key(|(name, _)| *name);
    headers
}

/// Returns the parameters of a presigned URL, except the signature and the session token.
fn presigned_query(context: &Context<'_>, time: &str, scope: &str, names: &str) -> Option<String> {
    let SignaturePlacement::Query { expires } = context.style.placement else {
        return None;
    };
    let access_key = context.credentials.access_key();
    let mut query = format!("X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential=");
    push_strictly(&mut query, &format!("{access_key}/{scope}"));
    query.push_str(&format!(
        "&X-Amz-Date={time}&X-Amz-Expires={}",
        expires.as_secs()
    ));
    query.push_str("&X-Amz-SignedHeaders=");
    push_strictly(&mut query, names);
    Some(query)
}

/// Returns the parameter of a presigned URL for the session token, if the signature covers it.
fn signed_token_parameter(context: &Context<'_>) -> Option<String> {
    let is_signed = context.style.token == TokenMode::Signed;
    let is_in_query = context.style.placement != SignaturePlacement::Headers;
    (is_signed && is_in_query).then(|| token_parameter(context))?
}

fn token_parameter(context: &Context<'_>) -> Option<String> {
    let mut parameter = "X-Amz-Security-Token=".to_owned();
    push_strictly(&mut parameter, context.credentials.session_token()?);
    Some(parameter)
}

fn in_headers(
    context: &Context<'_>,
    day: &DerivedKey,
    time: &str,
    names: &str,
    payload: &str,
    signature: &str,
) -> Result<Signed, SignError> {
    let access_key = context.credentials.access_key();
    let parts = [
        ALGORITHM,
        " Credential=",
        access_key,
        "/",
        &day.scope,
        ", SignedHeaders=",
        names,
        ", Signature=",
        signature,
    ];
    let authorization = parts.concat();
    let mut headers = Vec::with_capacity(4);
    headers.push((AUTHORIZATION, secret_value(authorization)?));
    headers.push((HeaderName::from_static(DATE), HeaderValue::from_str(time)?));
    if let Some(token) = &day.token {
        headers.push((HeaderName::from_static(TOKEN), token.clone()));
    }
    if context.style.payload != PayloadSigning::Hashed {
        let name = HeaderName::from_static(CONTENT_SHA256);
        headers.push((name, HeaderValue::from_str(payload)?));
    }
    Ok(Signed {
        headers,
        query: None,
    })
}

fn in_query(context: &Context<'_>, mut query: String, signature: &str) -> Signed {
    query.push_str("&X-Amz-Signature=");
    query.push_str(signature);
    if let Some(token) = token_parameter(context) {
        query.push('&');
        query.push_str(&token);
    }
    let mut headers = Vec::new();
    if context.style.payload == PayloadSigning::Unsigned {
        let name = HeaderName::from_static(CONTENT_SHA256);
        headers.push((name, HeaderValue::from_static(UNSIGNED_PAYLOAD)));
    }
    Signed {
        headers,
        query: Some(query),
    }
}

fn secret_value(value: String) -> Result<HeaderValue, SignError> {
    let mut value = HeaderValue::try_from(value)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the names of the sorted `headers`: `content-type;host;x-amz-date`.
fn names(headers: &[(&str, &str)]) -> String {
    let mut names = String::with_capacity(64);
    let mut last = "";
    for (name, _) in headers {
        if *name == last {
            continue;
        }
        if !last.is_empty() {
            names.push(';');
        }
        names.push_str(name);
        last = name;
    }
    names
}

/// Returns the canonical request. `parameters` are parts of the query, with escaped names and values.
fn canonical_request(
    method: &str,
    path: &str,
    parameters: [Option<&str>; 3],
    headers: &[(&str, &str)],
    names: &str,
    payload: &str,
) -> String {
    let lines = headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2);
    let parts = [method, path, names, payload];
    let length = lines.sum::<usize>() + parts.map(str::len).iter().sum::<usize>();
    // The path and the query may become longer.
    let mut text = String::with_capacity(length + 64);
    text.push_str(method);
    text.push('\n');
    push_path(&mut text, path);
    text.push('\n');
    push_parameters(&mut text, parameters);
    push_headers(&mut text, headers);
    text.push_str("\n\n");
    text.push_str(names);
    text.push('\n');
    text.push_str(payload);
    text
}

/// Appends the path, which is already escaped, escaped once more.
fn push_path(out: &mut String, path: &str) {
    let mut segments = path.split('/');
    push_strictly(out, segments.next().unwrap_or_default());
    for segment in segments {
        out.push('/');
        push_strictly(out, segment);
    }
}

/// Appends the parameters, sorted by name and then by value.
fn push_parameters(out: &mut String, parameters: [Option<&str>; 3]) {
    let parts = parameters
        .into_iter()
        .flatten()
        .flat_map(|part| part.split('&'));
    let pairs = parts.filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
}

/// Appends a line `\nname:value,value` for each name of the sorted headers.
fn push_headers(out: &mut String, headers: &[(&str, &str)]) {
    let mut last = "";
    for (name, value) in headers {
        if *name == last {
            out.push(',');
        } else {
            out.push('\n');
            out.push_str(name);
            out.push(':');
        }
        push_trimmed(out, value);
        last = name;
    }
}

/// Appends a header's value without the spaces around it, and with single spaces inside.
fn push_trimmed(out: &mut String, value: &str) {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    out.push_str(words.next().unwrap_or_default());
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
}

/// Returns `YYYYMMDDTHHMMSSZ`.
fn timestamp(now: SystemTime) -> Ascii<16> {
    let now = OffsetDateTime::from(now);
    let year = now.year().unsigned_abs();
    let century = u8::try_from(year / 100 % 100).unwrap_or_default();
    let year = u8::try_from(year % 100).unwrap_or_default();
    let fields = [
        (0, century),
        (2, year),
        (4, now.month().into()),
        (6, now.day()),
        (9, now.hour()),
        (11, now.minute()),
        (13, now.second()),
    ];
    let mut text = *b"YYYYMMDDTHHMMSSZ";
    for (at, field) in fields {
        text[at] = b'0' + field / 10;
        text[at + 1] = b'0' + field % 10;
    }
    Ascii(text)
}

/// Returns the SHA-256 hash in hexadecimal digits.
fn sha256(bytes: &[u8]) -> Ascii<64> {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Returns a hash in hexadecimal digits.
fn hex(hash: &[u8]) -> Ascii<64> {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut text = [b'0'; 64];
    for (digits, byte) in text.chunks_exact_mut(2).zip(hash) {
        digits.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
    Ascii(text)
}

#[cfg(test)]
mod tests;
