//! Parses the `authorization` header of Signature Version 4.
//!
//! The parts are parsed but not verified here. Missing parts are reported with AWS's texts.

use crate::appsync_error::AppSyncError;

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authorization<'a> {
    pub(crate) access_key_id: &'a str,
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) terminator: &'a str,
    pub(crate) signed_headers: Vec<String>,
    pub(crate) signature: &'a str,
}

// === impl Authorization ===

impl<'a> Authorization<'a> {
    /// Parses the header. `has_date` states whether the request has a date, because AWS reports a missing
    /// date with the missing parts of this header.
    pub(crate) fn parse(header: &'a str, has_date: bool) -> Result<Self, AppSyncError> {
        let parameters = match header.strip_prefix(ALGORITHM) {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => rest.trim(),
            Some(_) | None => return Err(AppSyncError::OtherAuthorization),
        };

        let (mut credential, mut signature, mut signed_headers) = (None, None, None);
        for parameter in parameters.split(',').map(str::trim) {
            if parameter.is_empty() {
                continue;
            }
            let invalid = || {
                AppSyncError::Incomplete(format!(
                    "'{parameter}' not a valid key=value pair (missing equal-sign) in \
                     Authorization header: '{header}'."
                ))
            };
            let (name, value) = parameter.split_once('=').ok_or_else(invalid)?;
            let field = match name {
                "Credential" => &mut credential,
                "Signature" => &mut signature,
                "SignedHeaders" => &mut signed_headers,
                _ => continue,
            };
            if field.replace(value).is_some() {
                return Err(invalid());
            }
        }

        let present = |value: Option<&'a str>| value.filter(|value| !value.is_empty());
        let (Some(credential), Some(signature), Some(signed_headers), true) = (
            present(credential),
            present(signature),
            present(signed_headers),
            has_date,
        ) else {
            return Err(AppSyncError::Incomplete(missing(
                header,
                &[
                    ("'Credential' parameter", present(credential).is_some()),
                    ("'Signature' parameter", present(signature).is_some()),
                    (
                        "'SignedHeaders' parameter",
                        present(signed_headers).is_some(),
                    ),
                    (
                        "existence of either a 'X-Amz-Date' or a 'Date' header",
                        has_date,
                    ),
                ],
            )));
        };

        Self::from_parts(credential, signed_headers, signature)
    }

    /// Builds the authorization from its three parts.
    pub(crate) fn from_parts(
        credential: &'a str,
        signed_headers: &str,
        signature: &'a str,
    ) -> Result<Self, AppSyncError> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, terminator] = parts[..] else {
            return Err(AppSyncError::Incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/term, got '{credential}'"
            )));
        };
        Ok(Self {
            access_key_id,
            date,
            region,
            service,
            terminator,
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            signature,
        })
    }

    pub(crate) fn scope(&self) -> String {
        let Self {
            date,
            region,
            service,
            terminator,
            ..
        } = self;
        format!("{date}/{region}/{service}/{terminator}")
    }

    /// Returns whether the signed headers are in lower case, sorted and unique.
    pub(crate) fn headers_are_sorted(&self) -> bool {
        self.signed_headers
            .iter()
            .all(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase()))
            && self.signed_headers.windows(2).all(|pair| pair[0] < pair[1])
    }
}

fn missing(header: &str, parts: &[(&str, bool)]) -> String {
    let requirements: String = parts
        .iter()
        .filter(|(_, present)| !present)
        .map(|(part, _)| format!("Authorization header requires {part}. "))
        .collect();
    format!("{requirements}Authorization={header}")
}
