//! The hash of the body, and the canonical request as a whole.

use super::Texts;

pub(in super::super) const CHANGED: Texts = Texts {
    sentence: "The body that was signed is not the body that AWS received.",
    explanation: "The hash covers the exact bytes. Usually the JSON is written twice, once for the signature and\n\
                  once by the HTTP library, with other spaces, another order or unused variables removed; or a\n\
                  proxy changed the body.",
    fix: "Write the JSON once, and sign and send the same bytes.",
    code: &[
        (
            "Python",
            "body = json.dumps(payload).encode()\nrequest = AWSRequest(\"POST\", url, data=body, headers=headers)  # and data=body when sending",
        ),
        (
            "JavaScript",
            "const body = JSON.stringify(payload); // sign body, then fetch(url, { body })",
        ),
        (
            "shell",
            "curl --data-binary @body.json URL  # -d removes line breaks",
        ),
    ],
};

pub(in super::super) const ESCAPES: Texts = Texts {
    sentence: "The JSON that was signed escapes characters differently than the JSON that AWS verifies.",
    explanation: "For Events messages on a WebSocket, AppSync writes {channel, events} again, and escapes < > &\n\
                  as \\u003c \\u003e \\u0026 before it hashes them. JSON libraries differ in the same way, and in\n\
                  non-ASCII characters and slashes.",
    fix: "Sign and send the same bytes. For Events messages, escape these characters inside each event, which \
          is JSON itself, before signing; or publish over HTTP.",
    code: &[
        (
            "JavaScript",
            "const event = JSON.stringify(data).replace(/[<>&=']/g, (c) => \"\\\\u\" + c.charCodeAt(0).toString(16).padStart(4, \"0\"));",
        ),
        (
            "Python",
            "event = re.sub(\"[<>&=']\", lambda m: f\"\\\\u{ord(m[0]):04x}\", json.dumps(data))",
        ),
    ],
};

pub(in super::super) const HASH_EMPTY: Texts = Texts {
    sentence: "The hash of an empty body was signed, and the body is not empty.",
    explanation: "AppSync verifies a realtime handshake as a POST with the two bytes {} as body, although the\n\
                  handshake itself has none. For a request with a body, the signer did not see the body.",
    fix: "Sign the body: {} for a handshake of AppSync.",
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

pub(in super::super) const HASH_ENVELOPE: Texts = Texts {
    sentence: "The whole realtime message was signed instead of its data.",
    explanation: "AppSync verifies a `start` as POST /graphql whose body is the string in payload.data, byte for\n\
                  byte. An Events message is verified as POST /event with {\"channel\":…,\"events\":…}, compact and\n\
                  without type, id and authorization.",
    fix: "Sign the data alone, then put the same text into the message.",
    code: &[
        (
            "Python",
            "data = json.dumps({\"query\": query, \"variables\": variables})\nauthorization = sign(\"POST\", f\"https://{api_host}/graphql\", data)\n\
             message = {\"id\": id, \"type\": \"start\", \"payload\": {\"data\": data, \"extensions\": {\"authorization\": authorization}}}",
        ),
        (
            "JavaScript",
            "const data = JSON.stringify({ query, variables });\nconst authorization = await sign(\"POST\", `https://${apiHost}/graphql`, data);\n\
             const message = { id, type: \"start\", payload: { data, extensions: { authorization } } };",
        ),
    ],
};

pub(in super::super) const HASH_UNSIGNED: Texts = Texts {
    sentence: "The body was declared as unsigned, but the service requires its hash.",
    explanation: "UNSIGNED-PAYLOAD and the STREAMING- values are accepted by S3 and a few other services. AppSync\n\
                  and API Gateway compute the hash of the body themselves.",
    fix: "Sign the SHA-256 of the body, and remove x-amz-content-sha256 or set it to this hash.",
    code: &[
        (
            "Python",
            "request.context[\"payload_signing_enabled\"] = True  # or SigV4Auth instead of S3SigV4Auth",
        ),
        (
            "JavaScript",
            "delete request.headers[\"x-amz-content-sha256\"];",
        ),
    ],
};

pub(in super::super) const HASH_CASE: Texts = Texts {
    sentence: "The hash of the body is written in upper case.",
    explanation: "The last line of the canonical request is the SHA-256 of the body in lower-case hexadecimal\n\
                  digits.",
    fix: "Write the hash in lower case.",
    code: &[
        ("Python", "body_hash = hashlib.sha256(body).hexdigest()"),
        (
            "JavaScript",
            "const bodyHash = createHash(\"sha256\").update(body).digest(\"hex\");",
        ),
    ],
};

pub(in super::super) const FORM: Texts = Texts {
    sentence: "A line of the canonical request or of the string to sign is missing, extra or malformed.",
    explanation: "A canonical request is: method, path, query (empty if there is none), one line for each header,\n\
                  an empty line, the list of signed headers, and the hash of the body, without a line break at the\n\
                  end. The string to sign is: algorithm, time, scope, and the hash of the canonical request.",
    fix: "Join the parts in this order with line breaks.",
    code: &[
        (
            "Python",
            "canonical = \"\\n\".join([method, path, query, header_lines, signed_headers, body_hash])\n# header_lines: each header followed by \"\\n\"",
        ),
        (
            "JavaScript",
            "const canonical = [method, path, query, headerLines, signedHeaders, bodyHash].join(\"\\n\");\n// headerLines: each header followed by \"\\n\"",
        ),
    ],
};
