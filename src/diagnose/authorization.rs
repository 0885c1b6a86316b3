//! The authorization of a request, from its header or its query. It is parsed leniently.

use super::encode::{decode, decode_query};
use super::evidence::header;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// More names of signed headers are ignored.
const MAX_NAMES: usize = 1000;

/// The authorization of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Authorization {
    pub(super) scheme: Scheme,
    /// `{key}/{date}/{region}/{service}/aws4_request`
    pub(super) credential: Option<String>,
    /// As written.
    pub(super) signed_headers: Option<Vec<String>>,
    pub(super) signature: Option<String>,
    pub(super) date: Option<String>,
    pub(super) token: Option<String>,
    /// Whether it is in the query.
    pub(super) is_presigned: bool,
}

/// The kind of an authorization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Scheme {
    /// There is none.
    #[default]
    Missing,
    /// `AWS4-HMAC-SHA256`
    Sigv4,
    /// Another algorithm of AWS, such as `AWS4-HMAC-SHA512`.
    OtherAlgorithm(String),
    /// Another scheme, such as `Bearer`, if the value shows its name.
    Other(Option<String>),
}

/// The credential scope of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    pub(super) key: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) terminator: &'a str,
}

impl Authorization {
    /// Parses the authorization in `headers`, or else in `query`.
    pub(super) fn new(headers: &[(String, String)], query: &str) -> Self {
        let value = header(headers, "authorization").filter(|value| !value.is_empty());
        if value.is_none() {
            let presigned = Self::presigned(query);
            if presigned.scheme != Scheme::Missing {
                return presigned;
            }
        }
        let owned = |name| header(headers, name).map(str::to_owned);
        let mut parsed = value.map_or_else(Self::default, Self::parse);
        parsed.date = owned("x-amz-date").or_else(|| owned("date"));
        parsed.token = owned("x-amz-security-token");
        parsed
    }

    /// Parses the value of an `Authorization` header.
    pub(super) fn parse(value: &str) -> Self {
        let value = value.trim();
        let (scheme, parameters) = value.split_once(' ').unwrap_or((value, ""));
        let mut parsed = Self {
            scheme: Scheme::new(scheme, !parameters.is_empty()),
            ..Self::default()
        };
        for parameter in parameters.split([',', ' ']) {
            let Some((name, value)) = parameter.trim().split_once('=') else {
                continue;
            };
            let value = Some(value.to_owned()).filter(|value| !value.is_empty());
            match name {
                "Credential" => parsed.credential = value,
                "SignedHeaders" => parsed.signed_headers = value.as_deref().map(names),
                "Signature" => parsed.signature = value,
                _ => {}
            }
        }
        parsed
    }

    fn presigned(query: &str) -> Self {
        let value = |expected: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(name, _)| decode(name) == expected.as_bytes())?;
            let value = String::from_utf8_lossy(&decode_query(value)).into_owned();
            Some(value).filter(|value| !value.is_empty())
        };
        let algorithm = value("X-Amz-Algorithm");
        let signature = value("X-Amz-Signature");
        let scheme = match (&algorithm, &signature) {
            (Some(algorithm), _) => Scheme::new(algorithm, true),
            (None, Some(_)) => Scheme::Sigv4,
            (None, None) => Scheme::Missing,
        };
        Self {
            scheme,
            credential: value("X-Amz-Credential"),
            signed_headers: value("X-Amz-SignedHeaders").as_deref().map(names),
            signature,
            date: value("X-Amz-Date"),
            token: value("X-Amz-Security-Token"),
            is_presigned: true,
        }
    }

    /// Returns the scope, if it has five parts.
    pub(super) fn scope(&self) -> Option<Scope<'_>> {
        Scope::parse(self.credential.as_deref()?)
    }

    /// Returns the id of the access key.
    pub(super) fn key(&self) -> Option<&str> {
        self.credential.as_deref()?.split('/').next()
    }
}

impl Scheme {
    fn new(scheme: &str, has_parameters: bool) -> Self {
        let upper = scheme.to_ascii_uppercase();
        if scheme == ALGORITHM {
            Self::Sigv4
        } else if upper.starts_with("AWS4-") && scheme.len() <= 40 {
            Self::OtherAlgorithm(scheme.to_owned())
        } else {
            // A lone word is a token.
            let is_name = has_parameters
                && scheme.len() <= 20
                && scheme
                    .bytes()
                    .all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
            Self::Other(is_name.then(|| scheme.to_owned()))
        }
    }
}

impl<'a> Scope<'a> {
    /// Parses `{key}/{date}/{region}/{service}/aws4_request`.
    pub(super) fn parse(credential: &'a str) -> Option<Self> {
        let parts: Vec<&str> = credential.splitn(7, '/').collect();
        let [key, date, region, service, terminator] = parts[..] else {
            return None;
        };
        Some(Self {
            key,
            date,
            region,
            service,
            terminator,
        })
    }
}

/// Returns whether names of headers are in lower case, sorted, and without duplicates.
pub(super) fn is_sorted(names: &[String]) -> bool {
    let is_lower = |name: &String| !name.bytes().any(|byte| byte.is_ascii_uppercase());
    names.iter().all(is_lower) && names.windows(2).all(|pair| pair[0] < pair[1])
}

/// Returns the names in a list of signed headers.
pub(super) fn names(list: &str) -> Vec<String> {
    let names = list.split(';').take(MAX_NAMES);
    names.map(|name| name.trim().to_owned()).collect()
}
