//! Every error code of countersign, declared once.
//!
//! A code appears in `extensions.code` of GraphQL errors, in the `code` of other errors and the
//! header `x-countersign-error`, in log lines, and as a label of metrics. The reference page
//! `docs/reference/errors.md` is generated from this table.

use std::fmt;

use http::StatusCode;

/// Whether AWS may have acted on a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    No,
    Maybe,
    Yes,
}

/// The HTTP status of the errors with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// One of these. The first one is the default.
    OneOf(&'static [StatusCode]),
    /// The status of the response from AWS.
    Upstream,
    /// None: the code appears on sockets and streams, or in the log and the metrics alone.
    None,
}

/// The declaration of a code.
struct Entry {
    name: &'static str,
    status: Status,
    /// The first one is the default. Empty for codes that clients never receive.
    sent: &'static [Sent],
    meaning: &'static str,
    remedy: &'static str,
}

/// Declares each code: variant, name, HTTP status, `sent`, meaning, and remedy.
macro_rules! codes {
    ($($code:ident = $name:literal, $status:expr, $sent:expr, $meaning:literal, $remedy:literal;)*) => {
        /// The stable name of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $code,)*
        }

        impl Code {
            /// Every code, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$code => {
                        const ENTRY: Entry = Entry {
                            name: $name,
                            status: $status,
                            sent: $sent,
                            meaning: $meaning,
                            remedy: $remedy,
                        };
                        &ENTRY
                    })*
                }
            }
        }
    };
}

// Columns of the table below.
const NO: &[Sent] = &[Sent::No];
const YES: &[Sent] = &[Sent::Yes];
const NO_OR_MAYBE: &[Sent] = &[Sent::No, Sent::Maybe];
const MAYBE_OR_NO: &[Sent] = &[Sent::Maybe, Sent::No];
const MAYBE_FIRST: &[Sent] = &[Sent::Maybe, Sent::Yes, Sent::No];
const ANY: &[Sent] = &[Sent::No, Sent::Maybe, Sent::Yes];
/// The code is logged and counted, and no client receives it.
const LOGGED: &[Sent] = &[];

const BAD_REQUEST: Status = Status::OneOf(&[StatusCode::BAD_REQUEST]);
const UNAUTHORIZED: Status = Status::OneOf(&[StatusCode::UNAUTHORIZED]);
const FORBIDDEN: Status = Status::OneOf(&[StatusCode::FORBIDDEN]);
const NOT_FOUND: Status = Status::OneOf(&[StatusCode::NOT_FOUND]);
const METHOD: Status = Status::OneOf(&[StatusCode::METHOD_NOT_ALLOWED]);
const NOT_ACCEPTABLE: Status = Status::OneOf(&[StatusCode::NOT_ACCEPTABLE]);
const TIMEOUT: Status = Status::OneOf(&[StatusCode::REQUEST_TIMEOUT]);
const CONFLICT: Status = Status::OneOf(&[StatusCode::CONFLICT]);
const TOO_LARGE: Status = Status::OneOf(&[StatusCode::PAYLOAD_TOO_LARGE]);
const MEDIA_TYPE: Status = Status::OneOf(&[StatusCode::UNSUPPORTED_MEDIA_TYPE]);
const EXPECTATION: Status = Status::OneOf(&[StatusCode::EXPECTATION_FAILED]);
const TOO_MANY: Status = Status::OneOf(&[StatusCode::TOO_MANY_REQUESTS]);
const HEAD_TOO_LARGE: Status = Status::OneOf(&[StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE]);
const INTERNAL: Status = Status::OneOf(&[StatusCode::INTERNAL_SERVER_ERROR]);
const NOT_IMPLEMENTED: Status = Status::OneOf(&[StatusCode::NOT_IMPLEMENTED]);
const BAD_GATEWAY: Status = Status::OneOf(&[StatusCode::BAD_GATEWAY]);
const UNAVAILABLE: Status = Status::OneOf(&[StatusCode::SERVICE_UNAVAILABLE]);
const GATEWAY_TIMEOUT: Status = Status::OneOf(&[StatusCode::GATEWAY_TIMEOUT]);
const VERSION: Status = Status::OneOf(&[StatusCode::HTTP_VERSION_NOT_SUPPORTED]);
const CHANNEL: Status = Status::OneOf(&[
    StatusCode::BAD_REQUEST,
    StatusCode::FORBIDDEN,
    StatusCode::SERVICE_UNAVAILABLE,
]);
const UPSTREAM: Status = Status::Upstream;
const NONE: Status = Status::None;

codes! {
    AccessDenied = "ACCESS_DENIED", NONE, NO,
        "AWS rejected the request: the IAM identity is not allowed to do this.",
        "Grant the identity `execute-api:Invoke`, or the action of the service, on the resource.";
    BadBatch = "BAD_BATCH", BAD_REQUEST, NO,
        "The batch has more operations than `limits.batch` allows.",
        "Send fewer operations in one request, or raise `limits.batch`.";
    BadDocument = "BAD_DOCUMENT", BAD_REQUEST, NO,
        "The GraphQL document is invalid, or GraphQL parsers could interpret it differently.",
        "Correct the document at the line and column in the message.";
    BadEvents = "BAD_EVENTS", BAD_REQUEST, NO,
        "The publish has no channel or no events.",
        "Send `channel` and a non-empty list `events` of strings.";
    BadExpectation = "BAD_EXPECTATION", EXPECTATION, NO,
        "The header `Expect` has a value other than `100-continue`. The connection is closed.",
        "Remove the header.";
    BadFraming = "BAD_FRAMING", BAD_REQUEST, NO,
        "It is unclear where the request ends. The connection is closed.",
        "Send exactly one of `Content-Length` and `Transfer-Encoding: chunked`.";
    BadHead = "BAD_HEAD", BAD_REQUEST, NO,
        "The request line or a header is not valid HTTP/1.1. The connection is closed.",
        "Correct the request: see RFC 9112, sections 3 and 5.";
    BadJson = "BAD_JSON", BAD_REQUEST, NO,
        "The body is not JSON, or not a GraphQL request in JSON.",
        "Correct the body at the line and column in the message.";
    BadMessage = "BAD_MESSAGE", NONE, NO,
        "The payload or the id of an operation is malformed, or has an invalid Unicode escape such as `\\ud83d`.",
        "Send an object with `query` as the payload, an id of at most 1024 bytes, and strings of whole characters.";
    BadParameter = "BAD_PARAMETER", BAD_REQUEST, NO,
        "A query parameter is missing, malformed, or repeated.",
        "Correct the parameter that the message names.";
    BadUpgrade = "BAD_UPGRADE", BAD_REQUEST, NO,
        "The WebSocket handshake is incomplete, or has a body.",
        "Correct the header that the message names.";
    BodyBroken = "BODY_BROKEN", BAD_REQUEST, NO,
        "The request's body ended early or is not valid chunked coding.",
        "Send the whole body.";
    BodyTimeout = "BODY_TIMEOUT", TIMEOUT, NO,
        "The body stalled for `timeouts.request_body`, or took longer than `timeouts.request_body_total`.",
        "Send the body faster, or raise the setting that the message names.";
    BodyTooLarge = "BODY_TOO_LARGE", TOO_LARGE, NO,
        "The request's body is larger than the route allows.",
        "Raise `limits.request_body`, or `limits.http_request_body` for routes that are not AppSync.";
    BuffersFull = "BUFFERS_FULL", BAD_GATEWAY, YES,
        "The response was dropped: too many responses wait for their clients, or memory is short.",
        "Read responses faster, or raise `limits.buffered`.";
    Cancelled = "CANCELLED", NONE, LOGGED,
        "The client abandoned the request before the response was complete.",
        "None needed. If clients time out, compare their timeouts with `first_byte_ms` in the log, beside `sent`.";
    CertificateMissing = "CERTIFICATE_MISSING", FORBIDDEN, NO,
        "The port requires a client certificate.",
        "Use TLS with a certificate issued by an authority in `tls.client_ca`.";
    ClockSkew = "CLOCK_SKEW", BAD_GATEWAY, NO,
        "This machine's clock differs from AWS's by more than 24 hours, so it is not corrected.",
        "Set this machine's clock.";
    CredentialsUnavailable = "CREDENTIALS_UNAVAILABLE", UNAVAILABLE, NO,
        "There are no valid AWS credentials. The message lists the sources that were tried.",
        "Log in again, for example with `aws sso login`, or configure another source.";
    CrossSite = "CROSS_SITE", FORBIDDEN, NO,
        "A browser sent the request for a page of another site.",
        "Allow the page's origin with `guard.allow_origins` (`--allow-origin`), and use `fetch` there.";
    DocumentIdNotSupported = "DOCUMENT_ID_NOT_SUPPORTED", BAD_REQUEST, NO,
        "The request has the id of a persisted document, which AppSync does not support.",
        "Send the document's text as `query`.";
    EventsNotAcceptable = "EVENTS_NOT_ACCEPTABLE", NOT_ACCEPTABLE, NO,
        "An Events channel cannot be read in the accepted media type.",
        "Accept `text/event-stream`, or subscribe over a WebSocket.";
    EventsRefused = "EVENTS_REFUSED", CHANNEL, NO,
        "AppSync rejected the subscription to the channel, or its realtime endpoint could not be reached.",
        "See the message. After a 503, try again.";
    Forbidden = "FORBIDDEN", NONE, NO,
        "AWS rejected the request with `Forbidden`, without a reason.",
        "Check the Host header, the API key, and the API's resource policy and WAF rules.";
    Forwarded = "FORWARDED", FORBIDDEN, NO,
        "Another proxy forwarded the request. That proxy may be reachable from other machines.",
        "Set `guard.forwarded` to `\"strip\"` or `\"pass\"`.";
    HeaderNotForwardable = "HEADER_NOT_FORWARDABLE", BAD_REQUEST, NO,
        "A header of a subscription is not UTF-8, or a header in a message has a name or a value that HTTP does not allow.",
        "Encode the header that the message names as UTF-8 without control characters, or leave it out.";
    HeaderNotSignable = "HEADER_NOT_SIGNABLE", BAD_REQUEST, NO,
        "A header's value has a tab, two consecutive spaces, or a byte that is not ASCII.",
        "Remove or encode the header that the message names.";
    HeadTooLarge = "HEAD_TOO_LARGE", HEAD_TOO_LARGE, NO,
        "The request line and headers are larger than `limits.request_head`, or there are more than 2048 headers.",
        "Send fewer or shorter headers, or raise `limits.request_head`.";
    HostMalformed = "HOST_MALFORMED", BAD_REQUEST, NO,
        "The request does not have exactly one valid Host header.",
        "Send one Host header: a host name with an optional port.";
    HostNotAllowed = "HOST_NOT_ALLOWED", FORBIDDEN, NO,
        "The Host header names a host that is not allowed, as in a DNS rebinding attack.",
        "Allow the host with `guard.allow_hosts` (`--allow-host`).";
    HttpVersion = "HTTP_VERSION", VERSION, NO,
        "The request's HTTP version is not 1.1. The connection is closed. HTTP/2 is answered with GOAWAY (`HTTP_1_1_REQUIRED`).",
        "Use HTTP/1.1.";
    Internal = "INTERNAL", INTERNAL, MAYBE_OR_NO,
        "countersign has an internal error. If it ends a socket, the close code is 1011.",
        "Report the log line `panicked`, which has the location.";
    MemoryShort = "MEMORY_SHORT", UNAVAILABLE, NO,
        "Memory is short.",
        "Try again. If it happens often, raise `limits.memory`.";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", METHOD, NO,
        "The path does not accept this method.",
        "Use a method that the header `Allow` lists.";
    MutationByGet = "MUTATION_BY_GET", METHOD, NO,
        "The GET request contains a mutation. Any web page could cause a GET.",
        "Send mutations by POST.";
    Navigation = "NAVIGATION", FORBIDDEN, NO,
        "A browser requests the URL as a page, as a part of a page, or in advance.",
        "Use `fetch` from an allowed origin, or set the route's `navigations = \"allow\"`.";
    NotAcceptable = "NOT_ACCEPTABLE", NOT_ACCEPTABLE, NO,
        "The header `Accept` lists no media type that countersign can send.",
        "Accept `application/json`, `application/graphql-response+json` or `text/event-stream`.";
    NoQuery = "NO_QUERY", BAD_REQUEST, NO,
        "The request has no `query`.",
        "Send the document's text as `query`.";
    NoRoute = "NO_ROUTE", NOT_FOUND, NO,
        "No route matches the path.",
        "Use one of the paths in the message, or add a route.";
    NoSuchRoute = "NO_SUCH_ROUTE", NONE, NO,
        "The REST API does not have this path or method.",
        "Check the path, the method, and that the stage is in the route's target.";
    OperationIdExists = "OPERATION_ID_EXISTS", CONFLICT, NO,
        "The stream already has an operation with this id.",
        "Choose another `extensions.operationId`.";
    OperationIdMissing = "OPERATION_ID_MISSING", BAD_REQUEST, NO,
        "An operation on a single-connection SSE stream has no id, or one that is not a string of at most 1024 bytes.",
        "Set `extensions.operationId`, or `?operationId=` to stop an operation.";
    OperationNotAllowed = "OPERATION_NOT_ALLOWED", FORBIDDEN, NO,
        "The route's `read_only` or `operations`, or those of the token, do not allow the operation.",
        "Change the setting that the message names.";
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED", FORBIDDEN, NO,
        "The Origin header names an origin that is not allowed.",
        "Allow the origin with `guard.allow_origins` (`--allow-origin`).";
    PathAmbiguous = "PATH_AMBIGUOUS", BAD_REQUEST, NO,
        "Servers could interpret the path as one of another route, or as one outside the route.",
        "Send the path without the part that the message names.";
    PersistedQueryNotSupported = "PERSISTED_QUERY_NOT_SUPPORTED", BAD_REQUEST, NO,
        "The request has the hash of a persisted query, which AppSync does not support.",
        "Send the document's text as `query`. Clients of automatic persisted queries do so automatically.";
    ScopeWrong = "SCOPE_WRONG", NONE, NO,
        "AWS rejected the signature: it is for another region or service.",
        "Set the route's `region` or `service` to the one in AWS's message.";
    ShuttingDown = "SHUTTING_DOWN", UNAVAILABLE, NO_OR_MAYBE,
        "countersign is draining, or its drain deadline has passed.",
        "With `sent: no`, try again at another instance or after the restart.";
    SignatureExpired = "SIGNATURE_EXPIRED", NONE, NO,
        "AWS rejected the signature: it is more than 5 minutes old.",
        "countersign corrects a clock that is behind. If this recurs, find what delays requests.";
    SignatureIncomplete = "SIGNATURE_INCOMPLETE", NONE, NO,
        "AWS could not parse the signature.",
        "Check whether a proxy between countersign and AWS changes the Authorization header.";
    SignatureMismatch = "SIGNATURE_MISMATCH", NONE, NO,
        "AWS computed another signature.",
        "Check the secret key, and whether a proxy between countersign and AWS changes the request.";
    SignatureNotYetCurrent = "SIGNATURE_NOT_YET_CURRENT", NONE, NO,
        "AWS rejected the signature: its time is in the future.",
        "countersign corrects a clock that is ahead. If this recurs, check what sets it.";
    SigningFailed = "SIGNING_FAILED", INTERNAL, NO,
        "The credentials cannot sign the request.",
        "See the message and the log line.";
    SimpleContentType = "SIMPLE_CONTENT_TYPE", MEDIA_TYPE, NO,
        "A browser sent a content type that any web page may send without a preflight.",
        "Send `application/json`, or allow the page's origin with `guard.allow_origins` (`--allow-origin`).";
    SlowConsumer = "SLOW_CONSUMER", NONE, YES,
        "The subscription ended because the client did not read its events in time.",
        "Read events faster, or raise `limits.outbox`.";
    StreamsExhausted = "STREAMS_EXHAUSTED", UNAVAILABLE, NO,
        "The connection, the token, or all clients together have reserved too many streams.",
        "Open reserved streams by GET, or try again.";
    StreamAlreadyOpen = "STREAM_ALREADY_OPEN", CONFLICT, NO,
        "The single-connection SSE stream is already open.",
        "Open each reserved stream once.";
    StreamAlreadyRegistered = "STREAM_ALREADY_REGISTERED", CONFLICT, NO,
        "The connection has already reserved a single-connection SSE stream.",
        "Open the reserved stream.";
    StreamNotFound = "STREAM_NOT_FOUND", NOT_FOUND, NO,
        "The single-connection SSE stream was not reserved, or has ended.",
        "Reserve a stream by PUT.";
    StreamNotOpened = "STREAM_NOT_OPENED", TOO_MANY, NO,
        "Too many results wait for the single-connection SSE stream to be opened.",
        "Open the stream before sending more operations.";
    SubscriptionLost = "SUBSCRIPTION_LOST", NONE, YES,
        "The connection of a subscription was lost, and events may have been missed.",
        "Subscribe again.";
    SubscriptionOverHttp = "SUBSCRIPTION_OVER_HTTP", NOT_ACCEPTABLE, NO,
        "The operation is a subscription, which does not have a single response.",
        "Accept `text/event-stream` or `multipart/mixed;subscriptionSpec=1.0`, or use a WebSocket.";
    TargetForm = "TARGET_FORM", BAD_REQUEST, NO,
        "The request target is not a path.",
        "Do not use countersign as a forward proxy: send requests to its own URL.";
    TargetNotSignable = "TARGET_NOT_SIGNABLE", BAD_REQUEST, NO,
        "The path or query cannot be signed exactly as it was sent.",
        "Correct the target, or set the route's `odd_paths`.";
    TokenExpired = "TOKEN_EXPIRED", NONE, NO,
        "AWS rejected the credentials: they have expired.",
        "Renew the credentials, for example with `aws sso login`.";
    TokenInvalid = "TOKEN_INVALID", NONE, NO,
        "AWS does not recognize the access key or session token, or they are not valid in this region.",
        "Check the credentials and the region.";
    TokenMissing = "TOKEN_MISSING", UNAUTHORIZED, NO,
        "The request has no token. Sockets are closed with code 4401.",
        "Send `authorization: Bearer TOKEN` with a token of `guard.token_file`.";
    TokenWrong = "TOKEN_WRONG", UNAUTHORIZED, NO,
        "The token is not valid for this route. Sockets are closed with code 4403.",
        "Send a token of `guard.token_file` or `guard.tokens` that this route accepts.";
    TooManyClients = "TOO_MANY_CLIENTS", UNAVAILABLE, NO,
        "There are as many client connections as `limits.connections` allows. The connection is closed.",
        "Try again, use fewer connections, or raise `limits.connections`.";
    TooManyConnections = "TOO_MANY_CONNECTIONS", NONE, NO,
        "The route has 256 realtime connections, and all of them are full.",
        "Close subscriptions, or raise `pool.subscriptions`.";
    TooManyInFlight = "TOO_MANY_IN_FLIGHT", UNAVAILABLE, NO,
        "Too many requests, or too many unread request bodies, are in progress.",
        "Try again, or raise `limits.in_flight`.";
    TooManyOperations = "TOO_MANY_OPERATIONS", NONE, NO,
        "The client has too many operations running on one socket or stream.",
        "Stop some of them, or raise `limits.subscriptions` or `limits.operations`.";
    TransferCoding = "TRANSFER_CODING", NOT_IMPLEMENTED, NO,
        "The header `Transfer-Encoding` has a coding other than `chunked`. The connection is closed.",
        "Use `chunked` alone.";
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", MEDIA_TYPE, NO,
        "The body is not JSON in UTF-8, or is compressed.",
        "Send `content-type: application/json`, without Content-Encoding.";
    UploadNotSupported = "UPLOAD_NOT_SUPPORTED", MEDIA_TYPE, NO,
        "The request is a multipart upload, which AppSync does not support.",
        "Upload to a presigned S3 URL, and send the object's key in a mutation.";
    UpstreamBroken = "UPSTREAM_BROKEN", BAD_GATEWAY, MAYBE_FIRST,
        "The connection to AWS was interrupted, or the response is not valid HTTP.",
        "Try again with `sent: no`, or if the operation can be repeated.";
    UpstreamConnectTimeout = "UPSTREAM_CONNECT_TIMEOUT", GATEWAY_TIMEOUT, NO,
        "AWS did not accept a connection within `timeouts.connect`.",
        "Check the route's `target` and `connect`, DNS, and `HTTPS_PROXY`.";
    UpstreamErrorUnreadable = "UPSTREAM_ERROR_UNREADABLE", UPSTREAM, YES,
        "AWS rejected the request, and its response could not be searched for session tokens.",
        "See the log line for AWS's request id.";
    UpstreamFull = "UPSTREAM_FULL", NONE, NO,
        "AppSync accepts no more subscriptions.",
        "Close subscriptions, or lower `pool.subscriptions` to AppSync's limit for a connection.";
    UpstreamNotJson = "UPSTREAM_NOT_JSON", NONE, ANY,
        "AppSync's response to an operation on a socket or stream is not JSON.",
        "Check the route's `target`.";
    UpstreamRefused = "UPSTREAM_REFUSED", NONE, NO,
        "AWS rejected the WebSocket. AppSync's `errorType` is beside the code.",
        "See the message.";
    UpstreamResponseTooLarge = "UPSTREAM_RESPONSE_TOO_LARGE", BAD_GATEWAY, YES,
        "The response is larger than `limits.response_body`.",
        "Request less data, or raise `limits.response_body`.";
    UpstreamStatus = "UPSTREAM_STATUS", NONE, ANY,
        "AppSync's response to an operation on a socket or stream has an error status, for a reason without a code of its own.",
        "See the message, and `status` beside the code.";
    UpstreamTimeout = "UPSTREAM_TIMEOUT", GATEWAY_TIMEOUT, MAYBE_OR_NO,
        "AWS did not respond in time.",
        "Raise the setting that the message names.";
    UpstreamTls = "UPSTREAM_TLS", BAD_GATEWAY, NO,
        "The TLS handshake with AWS failed.",
        "Check the route's `target` and `ca_file`, and `SSL_CERT_FILE`.";
    UpstreamUnreachable = "UPSTREAM_UNREACHABLE", BAD_GATEWAY, NO,
        "The connection to AWS, or to the proxy before it, could not be opened.",
        "Check the route's `target` and `connect`, DNS, `HTTPS_PROXY` and `NO_PROXY`.";
}

impl Code {
    /// Returns the name of the code in responses, logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// Returns the code with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|code| code.as_str() == name)
    }

    /// Returns the HTTP status of its errors.
    pub fn status(self) -> Status {
        self.entry().status
    }

    /// Returns whether AWS may have acted, the usual case first; empty for a code that no client
    /// receives.
    pub fn sent(self) -> &'static [Sent] {
        self.entry().sent
    }

    /// Returns the default status and `sent` of an error with this code. The status is 500 for codes
    /// that have none, which are not sent in HTTP responses.
    pub fn defaults(self) -> (StatusCode, Sent) {
        let Entry { status, sent, .. } = self.entry();
        let status = match status {
            Status::OneOf([usual, ..]) => *usual,
            Status::OneOf([]) | Status::Upstream | Status::None => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, sent.first().copied().unwrap_or(Sent::Maybe))
    }

    /// Returns a sentence that describes what has happened.
    pub fn meaning(self) -> &'static str {
        self.entry().meaning
    }

    /// Returns a sentence that describes what to do about it.
    pub fn remedy(self) -> &'static str {
        self.entry().remedy
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Sent {
    /// Returns the value of `extensions.sent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }

    /// Returns the value with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::No, Self::Maybe, Self::Yes];
        all.into_iter().find(|sent| sent.as_str() == name)
    }
}

#[cfg(test)]
mod tests;
