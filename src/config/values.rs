//! The types of all settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countersign_protocol::realtime::placement::OnLoss;
use http::{HeaderName, Uri};

use super::parse;
use super::types::{Bound, Type};
use crate::guard::{AllowedOrigin, FieldPattern, HostName, Navigations, ResponseHeaders};
use crate::memory::{MIN_MEMORY, MemoryLimit};
use crate::server::Listen;
use crate::sign::{PathHandling, PayloadSigning, TokenMode};
use crate::telemetry::{LogFormat, When};
use crate::upstream::Address;

/// `guard.non_loopback`: whether to listen on addresses that other machines can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NonLoopback {
    Refuse,
    /// Only if clients must send a token or a certificate.
    Token,
    Open,
}

/// `guard.forwarded`: the handling of headers that other proxies add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    Strip,
    Refuse,
    Pass,
}

/// The longest duration that can be set: clocks panic at times that are too far in the future.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The longest validity that SigV4 allows.
const LONGEST_PRESIGNED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// hyper does not accept less.
const LEAST_HEAD: usize = 8 * 1024;
/// Less holds only a few requests.
const LEAST_INSPECTED: usize = 1024 * 1024;

pub(super) const TEXT: Type<String> = Type::parsed("text", "\"dev\"", parse::text);
pub(super) const REGION: Type<String> = Type {
    example: "\"eu-central-1\"",
    ..TEXT
};
pub(super) const SERVICE: Type<String> = Type {
    example: "\"appsync\"",
    ..TEXT
};
pub(super) const HOST: Type<String> = Type {
    example: "\"api.internal\"",
    ..TEXT
};
pub(super) const MESSAGE: Type<String> = Type {
    example: "\"ping\"",
    ..TEXT
};
pub(super) const ROUTE_NAME: Type<String> = Type {
    example: "\"graphql\"",
    ..TEXT
};
pub(super) const SWITCH: Type<bool> = Type::parsed("true or false", "true", parse::switch);
pub(super) const COUNT: Type<usize> = Type {
    about: "A whole number above zero.",
    ..Type::parsed("count", "64", parse::count)
};
pub(super) const NUMBER: Type<usize> = Type {
    about: "A whole number; zero is allowed.",
    ..Type::parsed("number", "0", parse::number)
};
pub(super) const RATIO: Type<f64> = Type::parsed("number from 0 to 1", "0.1", parse::ratio);

pub(super) const DURATION: Type<Duration> = Type {
    about: "A number with a unit, in quotes: `ns`, `us`, `ms`, `s`, `m`, `h` or `d`. Several can \
            be combined: `\"1m 30s\"`.",
    bounds: &[
        Bound {
            holds: |duration| !duration.is_zero(),
            text: "more than zero",
        },
        Bound {
            holds: |duration| *duration <= LONGEST,
            text: "at most 365 days",
        },
    ],
    ..Type::parsed("duration", "\"5s\"", parse::duration)
};
pub(super) const DURATION_OR_ZERO: Type<Duration> = Type {
    about: "A duration that may be `\"0s\"`.",
    bounds: &[Bound {
        holds: |duration| *duration <= LONGEST,
        text: "at most 365 days",
    }],
    ..Type::parsed("duration or zero", "\"0s\"", parse::duration)
};
pub(super) const PRESIGN_EXPIRES: Type<Duration> = Type {
    bounds: &[
        Bound {
            holds: |expires| !expires.is_zero(),
            text: "more than zero",
        },
        Bound {
            holds: |expires| *expires <= LONGEST_PRESIGNED,
            text: "at most 7 days",
        },
        Bound {
            holds: |expires| expires.subsec_nanos() == 0,
            text: "whole seconds",
        },
    ],
    ..Type::parsed("duration", "\"5m\"", parse::duration)
};

pub(super) const SIZE: Type<usize> = Type {
    about: "A number of bytes above zero, or a number with a unit, in quotes: `B`, `KB`, `KiB`, \
            `MB`, `MiB` or `GiB`.",
    ..Type::parsed("size", "\"1MiB\"", parse::size)
};
pub(super) const SIZE_OF_HEAD: Type<usize> = Type {
    bounds: &[Bound {
        holds: |size| *size >= LEAST_HEAD,
        text: "at least 8KiB",
    }],
    ..SIZE
};
pub(super) const SIZE_OF_INSPECTOR: Type<usize> = Type {
    bounds: &[Bound {
        holds: |size| *size >= LEAST_INSPECTED,
        text: "at least 1MiB",
    }],
    ..SIZE
};
pub(super) const MEMORY: Type<MemoryLimit> = Type {
    bounds: &[Bound {
        holds: |limit| !matches!(limit, MemoryLimit::Bytes(bytes) if *bytes < MIN_MEMORY),
        text: "at least 32MiB",
    }],
    ..Type::parsed("`\"auto\"`, `\"off\"` or a size", "\"auto\"", parse::memory)
};

/// A file that exists.
pub(super) const FILE: Type<PathBuf> = Type {
    about: "The path of a file that exists, relative to the working directory.",
    ..Type::parsed("file", "\"file.pem\"", parse::file)
};
/// The path of a file that need not exist.
pub(super) const PATH_OF_FILE: Type<PathBuf> =
    Type::parsed("path of a file", "\"operations.json\"", parse::path_of_file);
pub(super) const TOKEN_FILE: Type<PathBuf> = Type {
    about: "The path of a file of mode 0600 with one token a line. A token has at least 32 \
            letters, digits, `-`, `.`, `_` and `~`. The file is read again when it changes.",
    ..Type::parsed("token file", "\"/run/secrets/token\"", parse::path_of_file)
};

pub(super) const LISTEN: Type<Vec<Listen>> = Type {
    about: "An IP address with a port, a port, or `unix:` and the path of a socket.",
    ..Type::parsed("listen address", "\"127.0.0.1:4100\"", parse::listen)
};
pub(super) const ADMIN: Type<Option<SocketAddr>> = Type::parsed(
    "IP address with a port, or `\"off\"`",
    "\"127.0.0.1:4101\"",
    parse::admin,
);
pub(super) const UID: Type<u32> = Type::parsed("user ID", "1000", parse::uid);
pub(super) const ADDRESS: Type<Address> = Type {
    about: "A host name or an IP address, with an optional port (443 by default).",
    ..Type::parsed("address", "\"10.0.0.7:443\"", parse::address)
};
pub(super) const HOST_NAME: Type<HostName> =
    Type::parsed("host name", "\"api.localhost\"", parse::host_name);
pub(super) const ORIGIN: Type<AllowedOrigin> = Type {
    about: "A scheme and a host, such as `https://app.example.com`. An extension or an app has a scheme of \
            its own, such as `chrome-extension://ID`. `localhost` stands for the pages of every web \
            server on this machine.",
    ..Type::parsed("origin", "\"https://app.example.com\"", parse::origin)
};
pub(super) const HEADER_NAME: Type<HeaderName> =
    Type::parsed("header name", "\"x-team\"", parse::header_name);
/// A collector's URL; `None` is `off`.
pub(super) const COLLECTOR: Type<Option<Uri>> = Type::parsed(
    "URL, or `\"off\"`",
    "\"http://127.0.0.1:4318\"",
    parse::collector,
);

pub(super) const TARGET: Type<String> = Type {
    about: "For AppSync, `/graphql` is the default path. AppSync's realtime URL and a host without a \
            scheme are accepted.",
    ..Type::parsed(
        "https URL",
        "\"https://ID.appsync-api.eu-central-1.amazonaws.com/graphql\"",
        parse::text,
    )
};
pub(super) const PATH_OF_URL: Type<String> = Type {
    about: "Begins with `/`; letters, digits, `-`, `.`, `_`, `~` and `/`.",
    ..Type::parsed("path", "\"/graphql\"", parse::path)
};
pub(super) const ROLE: Type<String> = Type::parsed(
    "role ARN",
    "\"arn:aws:iam::123456789012:role/NAME\"",
    parse::role,
);
pub(super) const REGION_SET: Type<String> = Type {
    about: "`*`, or regions with commas between them.",
    ..Type::parsed("region set", "\"eu-west-1,us-east-1\"", parse::region_set)
};

pub(super) const OPERATION_NAME: Type<String> =
    Type::parsed("GraphQL name", "\"GetPost\"", parse::graphql_name);
pub(super) const FIELD_PATTERN: Type<FieldPattern> = Type {
    about: "A root type and one of its fields, or `*` for all of them.",
    ..Type::parsed("root field", "\"Query.getPost\"", parse::field_pattern)
};
pub(super) const SHA256: Type<[u8; 32]> = Type::parsed(
    "SHA-256, 64 hexadecimal digits",
    "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
    parse::sha256,
);
pub(super) const LOG_FILTER: Type<String> = Type {
    about: "A level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or levels by target, \
            separated by commas.",
    ..Type::parsed(
        "log filter",
        "\"info,countersign::realtime=debug\"",
        parse::log_filter,
    )
};

pub(super) const NON_LOOPBACK: Type<NonLoopback> = Type::choice(&[
    ("refuse", NonLoopback::Refuse),
    ("token", NonLoopback::Token),
    ("open", NonLoopback::Open),
]);
pub(super) const FORWARDED: Type<Forwarded> = Type::choice(&[
    ("strip", Forwarded::Strip),
    ("refuse", Forwarded::Refuse),
    ("pass", Forwarded::Pass),
]);
pub(super) const ON_LOSS: Type<OnLoss> =
    Type::choice(&[("close", OnLoss::Close), ("resume", OnLoss::Resume)]);
/// Whether the signature is in the query.
pub(super) const IS_PRESIGNED: Type<bool> = Type::choice(&[("headers", false), ("presign", true)]);
pub(super) const SESSION_TOKEN: Type<TokenMode> = Type::choice(&[
    ("signed", TokenMode::Signed),
    ("appended", TokenMode::Appended),
]);
pub(super) const PAYLOAD: Type<PayloadSigning> = Type::choice(&[
    ("hashed", PayloadSigning::Hashed),
    ("hashed-in-header", PayloadSigning::HashedInHeader),
    ("unsigned", PayloadSigning::Unsigned),
]);
/// Whether headers are forwarded whose names have characters other than letters, digits and `-`.
pub(super) const KEEPS_ODD_HEADERS: Type<bool> = Type::choice(&[("drop", false), ("keep", true)]);
pub(super) const ODD_PATHS: Type<PathHandling> = Type::choice(&[
    ("refuse", PathHandling::Refuse),
    ("collapse", PathHandling::Collapse),
    ("keep", PathHandling::Keep),
]);
pub(super) const NAVIGATIONS: Type<Navigations> = Type::choice(&[
    ("refuse", Navigations::Refuse),
    ("allow", Navigations::Allow),
]);
pub(super) const RESPONSE_HEADERS: Type<ResponseHeaders> = Type::choice(&[
    ("restrict", ResponseHeaders::Restrict),
    ("pass", ResponseHeaders::Pass),
]);
pub(super) const LOG_FORMAT: Type<LogFormat> = Type::choice(&[
    ("auto", LogFormat::Auto),
    ("pretty", LogFormat::Pretty),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
]);
pub(super) const WHEN: Type<When> = Type::choice(&[
    ("auto", When::Auto),
    ("always", When::Always),
    ("never", When::Never),
]);
