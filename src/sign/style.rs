//! The variants of SigV4 that services require.

use std::time::Duration;

/// How a service requires requests to be signed. The default is what most services accept: a
/// signature in headers, which covers the hash of the body and the session token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigningStyle {
    pub algorithm: Algorithm,
    pub placement: Placement,
    pub token: TokenMode,
    pub payload: Payload,
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
pub enum Placement {
    /// `authorization`, `x-amz-date`, `x-amz-security-token`.
    #[default]
    Headers,
    /// A presigned URL: `X-Amz-Algorithm=…&X-Amz-Signature=…`. Anybody who has the URL can use it
    /// until it expires, which is 1 second to 7 days after signing.
    Query { expires: Duration },
}

/// How a session token is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenMode {
    #[default]
    Signed,
    /// Added after signing, as AWS IoT Core requires.
    Appended,
}

/// How the signature covers the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    #[default]
    Hashed,
    /// Like `Hashed`, with the hash also in `x-amz-content-sha256`.
    HashedInHeader,
    /// `x-amz-content-sha256: UNSIGNED-PAYLOAD`.
    Unsigned,
}

impl Placement {
    /// A presigned URL with the longest lifetime that every service accepts.
    pub const PRESIGNED: Self = Self::Query {
        expires: Duration::from_secs(300),
    };
}
