//! The settings of a route, and of tokens, which share some of them.

use std::path::PathBuf;
use std::time::Duration;

use countersign_protocol::realtime::placement::OnLoss;
use http::HeaderName;

use crate::config::declare::settings;
use crate::config::values;
use crate::guard::{FieldPattern, Navigations, ResponseHeaders};
use crate::sign::{PathHandling, PayloadSigning, TokenMode};
use crate::upstream::Address;

settings! {
    /// `[route.NAME]`
    RouteSettings {
        /// URL of the upstream (https); region, service and realtime host are inferred from it. The
        /// TLS certificate must be for its host.
        target: Option<String> = values::TARGET, unset "required", flag "URL";
        /// Path at which clients reach the route.
        path: Option<String> = values::PATH_OF_URL,
            unset "`/graphql` or `/event` for AppSync, `/NAME` for other upstreams";
        /// Region of the API, if its host does not contain it.
        region: Option<String> = values::REGION,
            unset "inferred from an AWS host name, else `AWS_REGION` or `AWS_DEFAULT_REGION`",
            flag "--region REGION";
        /// Name of the service in SigV4, if the host does not contain it.
        service: Option<String> = values::SERVICE, unset "inferred from an AWS host name",
            flag "--service SERVICE";
        /// Profile of `~/.aws/config` to take credentials from.
        profile: Option<String> = values::TEXT, unset "the AWS SDK's default provider chain",
            flag "--profile PROFILE";
        /// IAM role to assume.
        assume_role: Option<String> = values::ROLE, unset "no role", flag "--assume-role ARN";
        /// Host header to send and sign, for private endpoints and custom domains.
        host: Option<String> = values::HOST, unset "the host of `target`", flag "--host HOST";
        /// Address to connect to instead of the URL's host, also for realtime. Connections to it
        /// use no proxy.
        connect: Option<Address> = values::ADDRESS, unset "the host of `target`",
            flag "--connect ADDR";
        /// PEM file of the certificate authorities to trust, instead of the system's.
        ca_file: Option<PathBuf> = values::FILE, unset "the system's authorities",
            flag "--ca-file FILE";
        /// Headers to forward although they are dropped by default: `cookie`, `x-api-key`,
        /// `x-original-url`. Only letters and digits count when names are compared.
        forward_headers: Vec<HeaderName> = values::HEADER_NAME, default [];
        /// Headers to drop although they are forwarded by default.
        drop_headers: Vec<HeaderName> = values::HEADER_NAME, default [];
        /// Handling of headers whose names have characters other than letters, digits and `-`, such
        /// as `_` or `.`. `drop` removes them, `keep` forwards them.
        odd_headers: bool = values::KEEPS_ODD_HEADERS, default "drop";
        /// Handling of subscriptions whose realtime connection is lost. `close` disconnects their
        /// clients; `resume` subscribes again, for at most `timeouts.resume`, and events may be lost
        /// in between.
        on_upstream_loss: OnLoss = values::ON_LOSS, default "close";
        /// Give AppSync's request errors the status that the GraphQL over HTTP specification
        /// requires, for clients that accept `application/graphql-response+json`.
        strict: bool = values::SWITCH, default false;
        /// Handling of requests with which a browser loads a page, a part of a page or a prefetch.
        /// `refuse` rejects them with 403. `allow` accepts GET requests for URLs that a user types,
        /// follows or is redirected to, also from other programs; pages still cannot embed or
        /// prefetch anything.
        navigations: Navigations = values::NAVIGATIONS, default "refuse";
        /// Handling of response headers that act on browsers. `restrict` removes Set-Cookie,
        /// Clear-Site-Data and the like, and adds headers that restrict browsers. `pass` forwards
        /// Set-Cookie, Clear-Site-Data and the upstream's own Content-Security-Policy and
        /// Cross-Origin-Resource-Policy, and adds nothing.
        response_headers: ResponseHeaders = values::RESPONSE_HEADERS, default "restrict";
        /// Reject requests that may change something: mutations, publishes, and, for upstreams other
        /// than AppSync, WebSockets and all methods but GET, HEAD and OPTIONS.
        read_only: bool = values::SWITCH, default false, flag "--read-only";
        /// Place of the signature. `headers` puts it into headers, `presign` into the query.
        auth: Option<bool> = values::IS_PRESIGNED, unset "as the service requires", only Http;
        /// Validity of a presigned request, in whole seconds.
        presign_expires: Option<Duration> = values::PRESIGN_EXPIRES, unset "`5m`", only Http;
        /// How a session token is sent. `signed` makes it part of the signature; `appended` adds it
        /// after signing, as AWS IoT Core requires.
        session_token: Option<TokenMode> = values::SESSION_TOKEN, unset "as the service requires",
            only Http;
        /// How the body is signed. `hashed` signs its hash, `hashed-in-header` also sends the hash
        /// in `x-amz-content-sha256`, `unsigned` leaves the body out of the signature.
        payload: Option<PayloadSigning> = values::PAYLOAD, unset "as the service requires",
            only Http;
        /// Regions for which to sign with SigV4A.
        region_set: Option<String> = values::REGION_SET, unset "SigV4, for `region`", only Http;
        /// Headers to sign in addition to `host` and every `x-amz-*` header.
        sign_headers: Vec<HeaderName> = values::HEADER_NAME, default [], only Http;
        /// Handling of paths with `//`, `.` or `..`. `refuse` rejects the request, `collapse`
        /// normalises the path before the route is chosen, `keep` signs and sends it unchanged. No
        /// path may lead out of its route, or be read as another route's.
        odd_paths: PathHandling = values::ODD_PATHS, default "refuse", only Http;
        /// Message to send over a tunnelled WebSocket when its client has sent nothing for
        /// `timeouts.keepalive`.
        keepalive_message: Option<String> = values::MESSAGE, unset "no message", only Http;
    }
}

settings! {
    /// `[route.NAME.limits]`
    RouteLimitSettings {
        /// Maximum size of the body of a request. A larger one is answered with 413.
        request_body: Option<usize> = values::SIZE,
            unset "`limits.request_body` for AppSync, else `limits.http_request_body`";
        /// Maximum size of the response to a query or mutation over a WebSocket.
        response_body: Option<usize> = values::SIZE, unset "`limits.response_body`";
    }
}

settings! {
    /// `[route.NAME.timeouts]`
    RouteTimeoutSettings {
        /// Maximum time to connect to the upstream, including DNS, TCP, proxy and TLS.
        connect: Option<Duration> = values::DURATION, unset "`timeouts.connect`";
        /// Maximum time until the upstream's response begins.
        first_byte: Option<Duration> = values::DURATION, unset "`timeouts.first_byte`";
        /// Maximum time between two pieces of the upstream's response.
        idle: Option<Duration> = values::DURATION, unset "`timeouts.idle`";
        /// Time without a message from the client after which `keepalive_message` is sent.
        keepalive: Option<Duration> = values::DURATION, unset "`timeouts.keepalive`";
        /// Maximum time to resume a subscription whose realtime connection was lost.
        resume: Option<Duration> = values::DURATION, unset "`timeouts.resume`";
    }
}

settings! {
    /// `[route.NAME.operations]`
    OperationSettings {
        /// Names of the allowed operations.
        names: Option<Vec<String>> = values::OPERATION_NAME, unset "any";
        /// SHA-256 of the text of each allowed document.
        sha256: Option<Vec<[u8; 32]>> = values::SHA256, unset "any";
        /// Allowed root fields. `__typename` is always allowed.
        fields: Option<Vec<FieldPattern>> = values::FIELD_PATTERN, unset "any";
        /// Whether `__schema` and `__type` are allowed, regardless of `fields`.
        introspection: Option<bool> = values::SWITCH, unset "as `fields` allows";
        /// Maximum depth of nested fields.
        depth: Option<usize> = values::COUNT, unset "any";
        /// Maximum number of aliases. Those of a fragment count wherever it is spread.
        aliases: Option<usize> = values::NUMBER, unset "any";
        /// Maximum size of a document.
        size: Option<usize> = values::SIZE, unset "any";
    }
}

settings! {
    /// `[guard.tokens.NAME]`
    TokenSettings {
        /// File of tokens.
        file: Option<PathBuf> = values::TOKEN_FILE, unset "required";
        /// Routes for which the tokens are valid.
        routes: Option<Vec<String>> = values::ROUTE_NAME, unset "all routes";
        /// Reject requests that may change something, as `read_only` of a route does.
        read_only: bool = values::SWITCH, default false;
    }
}
