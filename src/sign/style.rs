//! The variants of SigV4 that services require.

use std::time::Duration;

/// How a service requires requests to be signed. The default is the style that most services accept: the
/// signature is in headers, and covers the hash of the body and the session token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigningStyle {
    pub algorithm: Algorithm,
    pub placement: SignaturePlacement,
    pub token: TokenMode,
    pub payload: PayloadSigning,
}

/// The signing algorithm, which also determines where a signature is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// `AWS4-HMAC-SHA256`, in one region.
    #[default]
    V4,
    /// `AWS4-ECDSA-P256-SHA256` (SigV4A), in a set of regions: the region of the scope is the value of
    /// `x-amz-region-set`, such as `*` or `eu-west-1,us-east-1`.
    V4a,
}

/// Where the signature is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignaturePlacement {
    /// `authorization`, `x-amz-date`, `x-amz-security-token`.
    #[default]
    Headers,
    /// In the query: a presigned URL with `X-Amz-Algorithm=…&X-Amz-Signature=…`. Anyone who has the URL
    /// can use it until it expires. `expires` is a duration of 1 second to 7 days.
    Query { expires: Duration },
}

/// How a session token is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenMode {
    /// The signature covers it.
    #[default]
    Signed,
    /// It is added after signing, as AWS IoT Core requires.
    Appended,
}

/// How the signature covers the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadSigning {
    /// It covers the SHA-256 hash of the body.
    #[default]
    Hashed,
    /// Like `Hashed`; the header `x-amz-content-sha256` also contains the hash.
    HashedInHeader,
    /// It does not cover the body (`x-amz-content-sha256: UNSIGNED-PAYLOAD`).
    Unsigned,
}

impl SignaturePlacement {
    /// A presigned URL with a lifetime of five minutes, the longest that all services accept.
    pub const PRESIGNED: Self = Self::Query {
        expires: Duration::from_secs(300),
    };
}
