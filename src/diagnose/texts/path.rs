//! The method and the path.

use super::Texts;

pub(in super::super) const METHOD: Texts = Texts {
    sentence: "The method that was signed is not the method that AWS verifies.",
    explanation: "AppSync verifies realtime handshakes and messages as POST, although the handshake is sent as\n\
                  GET. API Gateway verifies a WebSocket handshake as the GET that it is. Redirects and\n\
                  X-HTTP-Method-Override change the method too.",
    fix: "Sign POST for the handshakes and messages of AppSync; otherwise the method that is sent, in upper case.",
    code: &[
        (
            "Python",
            "request = AWSRequest(\"POST\", f\"https://{api_host}/graphql/connect\", data=b\"{}\", headers=headers)",
        ),
        (
            "JavaScript",
            "await signer.sign({ method: \"POST\", path: \"/graphql/connect\", body: \"{}\", headers, hostname, protocol: \"https:\" });",
        ),
    ],
};

pub(in super::super) const DECODED: Texts = Texts {
    sentence: "The path was decoded before it was signed.",
    explanation: "AWS encodes the path as it arrives once more, so %20 becomes %2520, and %2F does not become a\n\
                  slash. URL libraries and routers decode paths when they parse them.",
    fix: ENCODE,
    code: ENCODE_CODE,
};

pub(in super::super) const NOT_DOUBLE_ENCODED: Texts = Texts {
    sentence: "The path was signed as it is sent; it must be encoded once more.",
    explanation: "For every service but S3, each byte of the sent path except A-Z a-z 0-9 - _ . ~ / is encoded in\n\
                  the canonical request, also the % of its escapes: %20 becomes %2520, @ becomes %40.",
    fix: ENCODE,
    code: ENCODE_CODE,
};

pub(in super::super) const DOUBLE_ENCODED_TWICE: Texts = Texts {
    sentence: "The path was encoded once too often.",
    explanation: "The path is encoded once for sending, and once more for the signature. The signer received the\n\
                  path already encoded for the signature, or the HTTP library sent it less encoded than it was\n\
                  signed.",
    fix: ENCODE,
    code: ENCODE_CODE,
};

pub(in super::super) const NORMALIZED: Texts = Texts {
    sentence: "The path was normalized before it was signed, and was sent as it is.",
    explanation: "Empty segments (//) and dot segments (/./, /../) were removed from the signed path only. Whether\n\
                  a service removes them too differs.",
    fix: "Send the path without empty and dot segments.",
    code: &[],
};

pub(in super::super) const STAGE_MISSING: Texts = Texts {
    sentence: "The first segment of the path, the stage, was not signed.",
    explanation: "On API Gateway's own host names, the path begins with the stage, and on custom domains with the\n\
                  base path of the mapping. Frameworks behind the API, and proxies, see the path without it.",
    fix: "Sign the whole path of the URL that the request is sent to.",
    code: &[
        ("Python", "path = urlsplit(url).path"),
        ("JavaScript", "const path = new URL(url).pathname;"),
    ],
};

pub(in super::super) const WRONG: Texts = Texts {
    sentence: "The path that was signed is not the path that AWS verifies.",
    explanation: "AppSync verifies a realtime handshake on /graphql/connect with the body {}, and each query and\n\
                  `start` on /graphql with its own body; Events always on /event. Each of them needs a signature\n\
                  of its own. Elsewhere, a proxy or a base URL changed the path.",
    fix: "Sign each request for its own path: the handshake on /graphql/connect, queries and `start` on /graphql.",
    code: &[
        (
            "Python",
            "connect = sign(\"POST\", f\"https://{api_host}/graphql/connect\", \"{}\")\nstart = sign(\"POST\", f\"https://{api_host}/graphql\", data)",
        ),
        (
            "JavaScript",
            "const connect = await sign(\"POST\", \"/graphql/connect\", \"{}\");\nconst start = await sign(\"POST\", \"/graphql\", data);",
        ),
    ],
};

const ENCODE: &str =
    "Encode the path exactly as it is sent, once, when building the canonical request.";
const ENCODE_CODE: &[(&str, &str)] = &[
    (
        "Python",
        "canonical_path = urllib.parse.quote(urlsplit(url).path, safe=\"/-_.~\")",
    ),
    (
        "JavaScript",
        "const canonicalPath = new URL(url).pathname.split(\"/\").map((segment) =>\n  encodeURIComponent(segment).replace(/[!'()*]/g, (c) => \"%\" + c.charCodeAt(0).toString(16).toUpperCase())).join(\"/\");",
    ),
];
