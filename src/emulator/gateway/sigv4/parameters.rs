//! The signature parameters of a request, from the `authorization` header or from the query.
//!
//! They are parsed but not verified here. Missing parameters are reported with AWS's texts.

use time::Duration;

use super::super::error::GatewayError;
use super::canonical::Pair;
use crate::appsync_error::AppSyncError;
use crate::sigv4::{self as shared, ALGORITHM, Authorization};

/// The signature parameters of a presigned URL, decoded. An empty one counts as missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Presigned {
    algorithm: String,
    pub(super) credential: String,
    pub(super) signature: String,
    pub(super) signed_headers: String,
    pub(super) date: String,
    pub(super) token: Option<String>,
    expires: Option<String>,
}

/// Parses the header. `has_date` states whether the request has a date.
pub(super) fn authorization(
    header: &str,
    has_date: bool,
) -> Result<Authorization<'_>, GatewayError> {
    Authorization::parse(header, has_date).map_err(|error| {
        if error == AppSyncError::OtherAuthorization {
            GatewayError::Incomplete(other_scheme_error(header, has_date))
        } else {
            error.into()
        }
    })
}

/// Returns the error for `Bearer …`, `Basic …` and other algorithms. API Gateway parses what follows
/// as the parameters of a signature.
fn other_scheme_error(header: &str, has_date: bool) -> String {
    let mut words = header
        .split([',', ' '])
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let algorithm = words.next().unwrap_or_default();
    let parameters: Vec<&str> = words.collect();
    let malformed = parameters.iter().find(|parameter| !parameter.contains('='));
    if let Some(malformed) = malformed {
        return format!(
            "'{malformed}' not a valid key=value pair (missing equal-sign) in Authorization header: \
             '{header}'."
        );
    }
    let is_given = |name: &str| {
        let mut names = parameters.iter().filter_map(|given| given.split_once('='));
        names.any(|(given, _)| given == name)
    };
    if has_date
        && ["Credential", "Signature", "SignedHeaders"]
            .iter()
            .all(|name| is_given(name))
    {
        return unsupported(algorithm);
    }
    let date = if has_date {
        ""
    } else {
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    };
    format!(
        "Authorization header requires 'Credential' parameter. Authorization header requires \
         'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. \
         {date}Authorization={header}"
    )
}

fn unsupported(algorithm: &str) -> String {
    format!("Unsupported AWS 'algorithm': '{algorithm}'.")
}

// === impl Presigned ===

impl Presigned {
    /// Returns `None` if the query has no signature parameter.
    pub(super) fn from_query(pairs: &[Pair]) -> Option<Self> {
        let value = |expected: &[u8]| {
            let mut found = pairs.iter().filter(|(name, _)| name == expected);
            let (_, value) = found.next()?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let presigned = Self {
            algorithm: value(b"X-Amz-Algorithm").unwrap_or_default(),
            credential: value(b"X-Amz-Credential").unwrap_or_default(),
            signature: value(SIGNATURE).unwrap_or_default(),
            signed_headers: value(b"X-Amz-SignedHeaders").unwrap_or_default(),
            date: value(b"X-Amz-Date").unwrap_or_default(),
            token: value(TOKEN),
            expires: value(b"X-Amz-Expires"),
        };
        let is_signed = value(b"X-Amz-Algorithm").is_some() || value(SIGNATURE).is_some();
        is_signed.then_some(presigned)
    }

    pub(super) fn validate(self) -> Result<Self, GatewayError> {
        let missing: String = [
            ("X-Amz-Algorithm", &self.algorithm),
            ("X-Amz-Credential", &self.credential),
            ("X-Amz-Signature", &self.signature),
            ("X-Amz-SignedHeaders", &self.signed_headers),
            ("X-Amz-Date", &self.date),
        ]
        .into_iter()
        .filter(|(_, value)| value.is_empty())
        .map(|(name, _)| format!("AWS query-string parameters must include '{name}'. "))
        .collect();
        if !missing.is_empty() {
            return Err(GatewayError::Incomplete(format!(
                "{missing}Re-examine the query-string parameters."
            )));
        }
        if self.algorithm != ALGORITHM {
            return Err(GatewayError::Incomplete(unsupported(&self.algorithm)));
        }
        Ok(self)
    }

    /// Returns the declared lifetime, at most a week, or five minutes if none is declared.
    pub(super) fn lifetime(&self) -> Result<Duration, GatewayError> {
        let Some(expires) = &self.expires else {
            return Ok(shared::TOLERANCE);
        };
        match expires.parse::<u32>() {
            Ok(seconds @ 1..=MAX_LIFETIME_S) => Ok(Duration::seconds(seconds.into())),
            Ok(_) | Err(_) => Err(GatewayError::Incomplete(format!(
                "X-Amz-Expires must be a number of seconds between 1 and {MAX_LIFETIME_S}. Got \
                 '{expires}'."
            ))),
        }
    }
}

pub(super) const SIGNATURE: &[u8] = b"X-Amz-Signature";
pub(super) const TOKEN: &[u8] = b"X-Amz-Security-Token";
const MAX_LIFETIME_S: u32 = 7 * 24 * 60 * 60;
