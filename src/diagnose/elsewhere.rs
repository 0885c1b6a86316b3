//! Texts that are not about the request and its signature: what browsers, clients and SDKs print if no answer
//! arrived, and errors of other parts of AWS.

/// What a text means, and what to do.
pub(super) struct Elsewhere {
    pub(super) summary: &'static str,
    pub(super) fix: &'static str,
}

/// A failure, and the parts of texts that name it.
struct Failure {
    marks: &'static [&'static str],
    meaning: Elsewhere,
}

/// In this order: a text about a certificate may also say that the connection failed.
const FAILURES: [Failure; 11] = [
    Failure {
        marks: &[
            "blocked by CORS policy",
            "Cross-Origin Request Blocked",
            "CORS header",
            "Access-Control-Allow-Origin",
            "is not allowed by Access-Control",
        ],
        meaning: Elsewhere {
            summary: "This text is not from AWS: the browser does not show the answer to a page of another origin \
                      (CORS).",
            fix: "The answer itself is in the network panel of the browser: open the request there, and give its \
                  response. Through countersign, allow the page with --allow-origin ORIGIN, where ORIGIN is its \
                  scheme, host and port, such as http://localhost:3000.",
        },
    },
    Failure {
        marks: &[
            "Unable to locate credentials",
            "NoCredentialsError",
            "NoCredentialProviders",
            "Could not load credentials from any providers",
            "CredentialsProviderError",
            "no EC2 IMDS role found",
            "failed to refresh cached credentials",
            "Unable to load AWS credentials",
            "SSO session associated with this profile has expired",
            "Token has expired and refresh failed",
            "Error loading SSO Token",
            "PartialCredentialsError",
            "Missing credentials in config",
            "Unable to load credentials from any of the providers",
            "NoCredentials: No credentials",
            "No federated jwt",
            "NoValidAuthTokens",
            "User needs to be authenticated to call this API",
        ],
        meaning: Elsewhere {
            summary: "This text is not from AWS: the SDK found no credentials that are valid, so it sent no signed \
                      request.",
            fix: "Sign in, or name a profile, and see whether the credentials can be used:\n\n  \
                  shell:\n    aws sso login --profile NAME\n    aws sts get-caller-identity --profile NAME",
        },
    },
    Failure {
        marks: &[
            "CERTIFICATE_VERIFY_FAILED",
            "certificate verify failed",
            "self-signed certificate",
            "self signed certificate",
            "unable to get local issuer certificate",
            "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            "SSL certificate problem",
            "x509: ",
            "invalid peer certificate",
        ],
        meaning: Elsewhere {
            summary: "This text is not from AWS: the client does not trust the certificate of the server, so it \
                      sent no request.",
            fix: "If a proxy of your network inspects TLS, give its CA to the client (SSL_CERT_FILE, or \
                  NODE_EXTRA_CA_CERTS for Node.js). This names the issuer of the certificate:\n\n  \
                  shell:\n    countersign check URL",
        },
    },
    Failure {
        marks: &[
            "ENOTFOUND",
            "EAI_AGAIN",
            "getaddrinfo",
            "Could not resolve host",
            "Name or service not known",
            "nodename nor servname",
            "Failed to resolve",
            "NameResolutionError",
            "no such host",
            "ERR_NAME_NOT_RESOLVED",
            "name resolution",
        ],
        meaning: Elsewhere {
            summary: "This text is not from AWS: the host of the URL has no address.",
            fix: "Compare the host with that of the API; a deleted API has none. Each step of the connection is \
                  tested by:\n\n  shell:\n    countersign check URL",
        },
    },
    Failure {
        marks: &[
            "ECONNREFUSED",
            "ECONNRESET",
            "ETIMEDOUT",
            "EHOSTUNREACH",
            "ENETUNREACH",
            "Connection refused",
            "connection refused",
            "Connection reset",
            "connection reset",
            "socket hang up",
            "Connection timed out",
            "ConnectTimeoutError",
            "Failed to connect to",
            "Could not connect to",
            "No route to host",
            "Network is unreachable",
            "i/o timeout",
            "ERR_CONNECTION_",
        ],
        meaning: Elsewhere {
            summary: "This text is not from AWS: the connection to the server failed.",
            fix: "Compare host and port of the URL, and the proxy and firewall of the network. Each step of the \
                  connection is tested by:\n\n  shell:\n    countersign check URL",
        },
    },
    Failure {
        marks: &[
            "Failed to fetch",
            "NetworkError when attempting to fetch",
            "Load failed",
            "Network request failed",
            "Network Error",
            "fetch failed",
            "ERR_NETWORK",
        ],
        meaning: Elsewhere {
            summary: "This text is not from AWS: the client got no answer that it may show. The reason is in another \
                      place.",
            fix: "In a browser, the console names the reason, often CORS, and the network panel has the answer. In \
                  Node.js, print error.cause.",
        },
    },
    Failure {
        marks: &["UnknownOperationException"],
        meaning: Elsewhere {
            summary: "The host does not know the path of the URL, or the method.",
            fix: "Send queries to AppSync with POST to /graphql, subscriptions to /graphql of the host \
                  appsync-realtime-api, and events to /event.",
        },
    },
    Failure {
        marks: &["Request body is empty"],
        meaning: Elsewhere {
            summary: "The request has no body. AppSync does not execute it, whatever its signature is.",
            fix: "Send the query as JSON, {\"query\": \"…\"}, with content-type application/json, and sign exactly this \
                  body. A redirect, and a client that is given the body under another name than it expects, leave it \
                  out.",
        },
    },
    Failure {
        marks: &[
            "AuthorizerConfigurationException",
            "AuthorizerFailureException",
        ],
        meaning: Elsewhere {
            summary: "The authorizer of the API failed, so the signature was not checked.",
            fix: "The log of the authorizer's Lambda function names the reason. If it has no entry, the API must be \
                  allowed to invoke the function (lambda:InvokeFunction in its resource policy).",
        },
    },
    Failure {
        marks: &[
            "error=\"invalid_token\"",
            "The incoming token has expired",
            "Token has expired.",
        ],
        meaning: Elsewhere {
            summary: "The API rejects a token of a user pool or of OpenID Connect (JWT). It checks no signature of \
                      this request.",
            fix: "Sign in again, or refresh the token. To call the API with credentials of AWS, its authorization \
                  must include AWS_IAM.",
        },
    },
    Failure {
        marks: &[
            "Rate exceeded",
            "Too Many Requests",
            "TooManyRequests",
            "Max number of ",
            "Limit Exceeded",
            "Limit exceeded",
            "LimitExceeded",
            "Throttling",
        ],
        meaning: Elsewhere {
            summary: "AWS rejects the request because of a limit, not because of its signature.",
            fix: "Send fewer requests at a time, and repeat a rejected one after a pause. Service Quotas in AWS's \
                  console shows the limits of the account; the usage plan of an API key has a quota of its own.",
        },
    },
];

/// Returns what an answer means that is not about the request and its signature.
pub(super) fn meaning(kind: &str, text: &str) -> Option<&'static Elsewhere> {
    let is_named = |failure: &&Failure| {
        let mut marks = failure.marks.iter();
        marks.any(|mark| text.contains(mark) || kind.starts_with(mark))
    };
    FAILURES
        .iter()
        .find(is_named)
        .map(|failure| &failure.meaning)
}

/// Returns what a page of HTML means. AWS's APIs answer with JSON or XML.
pub(super) fn of_page(text: &str) -> Option<&'static Elsewhere> {
    let start: String = text.trim_start().chars().take(MAX_START).collect();
    let lower = start.to_ascii_lowercase();
    let is_page = PAGES.iter().any(|start| lower.contains(start));
    is_page.then_some(&PAGE)
}

/// The beginnings of pages, in lower case. The last one is in those of nginx and of AWS's load balancers.
const PAGES: [&str; 3] = ["<!doctype html", "<html", "<center><h1>"];
/// Where a page begins at the latest, in characters: messages of clients quote it.
const MAX_START: usize = 2048;

const PAGE: Elsewhere = Elsewhere {
    summary: "This page is not from the API: a web server, load balancer or proxy answered instead.",
    fix: "The header `server` of the answer, or the last line of the page, names it: nginx, awselb (a load balancer of \
          AWS), CloudFront. Compare host and port of the URL with those of the API, and look for a proxy of your \
          network. Each step of the connection is tested by:\n\n  shell:\n    countersign check URL",
};

/// What to do if a program printed only the status.
pub(super) const ONLY_STATUS: &str = "Give AWS's answer: the body of the response, with its headers if possible.\n\n  \
     browser:\n    the network panel, the request, Response\n  \
     JavaScript:\n    console.log(await response.text())   // fetch\n    \
     console.log(error.response.data)     // axios\n  \
     Python:\n    print(response.text)                 # requests\n  \
     shell:\n    curl -v URL 2>&1 | countersign explain";

/// Returns whether a text shows the status of an answer, and nothing of the answer itself: the console of a
/// browser or of Postman, the message of a client.
pub(super) fn shows_only_status(text: &str) -> bool {
    const MARKS: [&str; 13] = [
        "Failed to load resource: the server responded with a status of",
        "Request failed with status code",
        "Response code 4",
        "HTTP Error 4",
        "HTTP status client error",
        "returned error: 4",
        " Client Error: ",
        "Response not successful: Received status code 4",
        "The remote server returned an error: (4",
        "Unexpected server response: 4",
        "Unexpected response code: 4",
        "TransportServerError: 4",
        // Python's websocket-client.
        "Handshake status 4",
    ];
    let line = text.trim().lines().next().unwrap_or_default();
    let mut words = line.split_ascii_whitespace();
    let is_line_of_console = words.by_ref().take(3).any(|word| {
        let url = word.trim_start_matches(['"', '(']);
        url.starts_with("http://") || url.starts_with("https://")
    }) && words.any(|word| {
        let word = word.trim_matches(|char: char| !char.is_ascii_digit());
        word.len() == 3 && word.starts_with('4')
    });
    // The message is the last line of a stack trace of Python.
    let last = text.trim().lines().next_back().unwrap_or_default();
    is_line_of_console
        || MARKS
            .iter()
            .any(|mark| line.contains(mark) || last.contains(mark))
}
