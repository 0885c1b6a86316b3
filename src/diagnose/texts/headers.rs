//! The headers that are signed.

use super::Texts;

pub(in super::super) const CHANGED: Texts = Texts {
    sentence: "A header that was signed has another value when it arrives.",
    explanation: "A proxy, a CDN or the HTTP library changed the header after it was signed: accept, content-type\n\
                  with an added charset, user-agent, content-length. A second header of the same name counts too.",
    fix: FEW,
    code: FEW_CODE,
};

pub(in super::super) const REMOVED: Texts = Texts {
    sentence: "A header that was signed did not arrive.",
    explanation: "Every name in SignedHeaders must be a header of the request when it reaches AWS. Proxies,\n\
                  browsers and HTTP libraries remove headers such as accept, connection and content-length.",
    fix: FEW,
    code: FEW_CODE,
};

pub(in super::super) const SPACES: Texts = Texts {
    sentence: "The white space in the signed value of a header differs from what AWS reads.",
    explanation: "In the canonical request, a value is trimmed, and each sequence of spaces in it becomes one.\n\
                  Values of repeated headers are joined with a comma.",
    fix: "Trim and collapse the white space of each value.",
    code: &[
        ("Python", "value = \" \".join(value.split())"),
        (
            "JavaScript",
            "value = value.trim().replace(/\\s+/g, \" \");",
        ),
    ],
};

pub(in super::super) const UNSORTED: Texts = Texts {
    sentence: "The names of the signed headers are not sorted, or not in lower case.",
    explanation: "The headers of the canonical request and the list SignedHeaders have lower-case names, sorted by\n\
                  their bytes, each of them once.",
    fix: "Write the names in lower case, then sort them.",
    code: &[
        (
            "Python",
            "headers = {name.lower(): value for name, value in headers.items()}\nsigned_headers = \";\".join(sorted(headers))",
        ),
        (
            "JavaScript",
            "const names = Object.keys(headers).map((name) => name.toLowerCase()).sort();",
        ),
    ],
};

pub(in super::super) const NOT_SIGNED: Texts = Texts {
    sentence: "A header that begins with x-amz- was sent and is not signed.",
    explanation: "AWS requires that host and every x-amz- header of the request are signed. A library or proxy\n\
                  added one after signing, or the signer left it out.",
    fix: "Add the header before signing, and its name to SignedHeaders.",
    code: &[],
};

pub(in super::super) const LIST: Texts = Texts {
    sentence: "SignedHeaders does not name the headers of the canonical request.",
    explanation: "AWS builds its canonical request from the names in SignedHeaders of the Authorization header.\n\
                  The signer used other headers, or another list.",
    fix: "Derive the header lines, the list in the canonical request and SignedHeaders from the same names.",
    code: &[(
        "Python",
        "names = sorted(headers)\nlines = \"\".join(f\"{name}:{headers[name]}\\n\" for name in names)\nsigned_headers = \";\".join(names)",
    )],
};

pub(in super::super) const CONTENT_SHA: Texts = Texts {
    sentence: "The header x-amz-content-sha256 is not signed, or is not the hash of the body.",
    explanation: "If the header is sent, it must be signed, and its value must be the SHA-256 of the body in lower\n\
                  case. Some services require it. Signers that find the header take its value for the last line\n\
                  of the canonical request.",
    fix: "Compute the header from the bytes that are sent, or remove it.",
    code: &[
        (
            "Python",
            "headers[\"x-amz-content-sha256\"] = hashlib.sha256(body).hexdigest()",
        ),
        (
            "JavaScript",
            "headers[\"x-amz-content-sha256\"] = createHash(\"sha256\").update(body).digest(\"hex\");",
        ),
    ],
};

pub(in super::super) const HOST_NOT_SIGNED: Texts = Texts {
    sentence: "The host header is not signed.",
    explanation: "Every signature must cover host. HTTP libraries add the header when the request is sent, so a\n\
                  signer that signs the headers it is given does not see it.",
    fix: "Add host to the headers before signing.",
    code: &[
        ("Python", "headers[\"host\"] = urlsplit(url).netloc"),
        ("JavaScript", "headers.host = new URL(url).host;"),
    ],
};

pub(in super::super) const HOST_PORT: Texts = Texts {
    sentence: "The port in the signed host is not the port in the Host header.",
    explanation: "HTTP clients send the port in Host unless it is that of the scheme, 443 for https. The signed\n\
                  value must be the one that is sent. A proxy can add or remove the port.",
    fix: "Sign the host exactly as it is sent: with its port, unless that is 443.",
    code: &[
        (
            "Python",
            "host = url.hostname if url.port in (None, 443) else f\"{url.hostname}:{url.port}\"",
        ),
        (
            "JavaScript",
            "const host = new URL(url).host;  // omits the port of the scheme",
        ),
    ],
};

pub(in super::super) const HOST_WRONG: Texts = Texts {
    sentence: "The host that was signed is not the host that AWS received.",
    explanation: "AppSync's handshakes and realtime messages are signed for the appsync-api host, never for\n\
                  appsync-realtime-api. Behind a proxy, a CDN or a VPC endpoint, the host that counts is the Host\n\
                  header that reaches AWS, not the name that the client connects to.",
    fix: "Sign the API's own host name.",
    code: &[
        (
            "countersign",
            "countersign --host API-ID.appsync-api.REGION.amazonaws.com URL",
        ),
        (
            "Python",
            "host = url.netloc.replace(\"appsync-realtime-api\", \"appsync-api\")",
        ),
        (
            "JavaScript",
            "const host = url.host.replace(\"appsync-realtime-api\", \"appsync-api\");",
        ),
    ],
};

const FEW: &str = "Sign only host, x-amz-date, x-amz-security-token and content-type, and send the other \
                   headers unsigned.";
const FEW_CODE: &[(&str, &str)] = &[
    (
        "Python",
        "signed = {\"host\", \"x-amz-date\", \"x-amz-security-token\", \"content-type\"}\nheaders_to_sign = {n: v for n, v in headers.items() if n.lower() in signed}",
    ),
    (
        "JavaScript",
        "await signer.sign(request, { unsignableHeaders: new Set([\"accept\", \"content-length\", \"user-agent\"]) });",
    ),
];
