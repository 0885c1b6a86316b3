//! How a service wants to be signed for.

use std::time::Duration;

/// What differs between services. The default is what most take: a signature in headers, over the
/// hash of the body and over the session token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigningStyle {
    pub algorithm: Algorithm,
    pub placement: Placement,
    pub token: TokenMode,
    pub payload: Payload,
}

/// By which key, and where it is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// `AWS4-HMAC-SHA256`, in one region.
    #[default]
    V4,
    /// `AWS4-ECDSA-P256-SHA256`, SigV4A, in all regions of a set: the scope's region is what
    /// `x-amz-region-set` says, such as `*` or `eu-west-1,us-east-1`.
    V4a,
}

/// Where the signature goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// `authorization`, `x-amz-date`, `x-amz-security-token`.
    #[default]
    Headers,
    /// A presigned URL: `X-Amz-Algorithm=…&X-Amz-Signature=…`. Whoever has it can use it until it
    /// expires, from 1 s to 7 days after.
    Query { expires: Duration },
}

/// What becomes of a session token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenMode {
    #[default]
    Signed,
    /// Added after signing, as AWS IoT Core wants it.
    Appended,
}

/// What the signature says of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    #[default]
    Hashed,
    /// `x-amz-content-sha256` tells the hash, too.
    HashedInHeader,
    /// `x-amz-content-sha256: UNSIGNED-PAYLOAD`.
    Unsigned,
}

impl Placement {
    /// For the longest that every service takes.
    pub const PRESIGNED: Self = Self::Query {
        expires: Duration::from_secs(300),
    };
}
