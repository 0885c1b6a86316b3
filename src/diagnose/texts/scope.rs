//! The credential scope, `{date}/{region}/{service}/aws4_request`, and the signing key.

use super::Texts;

pub(in super::super) const DATE: Texts = Texts {
    sentence: "The date in the credential scope is not the day of x-amz-date.",
    explanation: "The first part of the scope is the day of x-amz-date in UTC. The two differ when each is\n\
                  formatted from its own reading of the clock, or one of them in local time.",
    fix: "Format x-amz-date once in UTC, and take its first eight characters for the scope.",
    code: &[
        ("shell", "date_stamp=${amz_date%%T*}"),
        ("Python", "date_stamp = amz_date[:8]"),
        ("JavaScript", "const dateStamp = amzDate.slice(0, 8);"),
    ],
};

pub(in super::super) const MALFORMED: Texts = Texts {
    sentence: "The credential scope does not have its five parts.",
    explanation: "Credential is {access key}/{date}/{region}/{service}/aws4_request. A part is missing, or one\n\
                  contains a slash, such as an ARN in place of the access key.",
    fix: "Write all five parts of Credential.",
    code: &[
        (
            "shell",
            "credential=\"$AWS_ACCESS_KEY_ID/$date_stamp/$region/$service/aws4_request\"",
        ),
        (
            "Python",
            "credential = f\"{access_key}/{date_stamp}/{region}/{service}/aws4_request\"",
        ),
        (
            "JavaScript",
            "const credential = [accessKeyId, dateStamp, region, service, \"aws4_request\"].join(\"/\");",
        ),
    ],
};

pub(in super::super) const TERMINATOR: Texts = Texts {
    sentence: "The credential scope does not end with aws4_request.",
    explanation: "The last part of the scope is the constant aws4_request, with an underscore and in lower\n\
                  case. It is also the last input of the signing key.",
    fix: "End the scope with aws4_request, and derive the signing key with it.",
    code: KEY_CODE,
};

pub(in super::super) const REGION: Texts = Texts {
    sentence: "The request is signed for another region than that of the API.",
    explanation: "The credential scope names the region of the API, not that of the caller. It is part of the\n\
                  API's host name. A custom domain does not show it: there it is the API's region too, even\n\
                  if CloudFront serves the domain.",
    fix: "Sign with the API's region.",
    code: &[
        ("countersign", "countersign --region REGION URL"),
        (
            "Python",
            "SigV4Auth(credentials, service, \"REGION\").add_auth(request)",
        ),
        (
            "JavaScript",
            "new SignatureV4({ region: \"REGION\", service, credentials, sha256: Sha256 })",
        ),
    ],
};

pub(in super::super) const SERVICE: Texts = Texts {
    sentence: "The request is signed for another service.",
    explanation: "The credential scope names the service as it is called in signatures: `appsync` for AppSync\n\
                  GraphQL and Events, `execute-api` for REST, HTTP and WebSocket APIs of API Gateway. The\n\
                  name `apigateway` is that of the service that manages the APIs.",
    fix: "Sign with the service's name for signatures.",
    code: &[
        ("countersign", "countersign --service SERVICE URL"),
        (
            "Python",
            "SigV4Auth(credentials, \"SERVICE\", region).add_auth(request)",
        ),
        (
            "JavaScript",
            "new SignatureV4({ service: \"SERVICE\", region, credentials, sha256: Sha256 })",
        ),
    ],
};

pub(in super::super) const SECRET: Texts = Texts {
    sentence: "The signature was computed with another secret access key than AWS has for the access key.",
    explanation: "What was signed is what AWS expects, so only the key can differ: the secret belongs to\n\
                  another access key, was copied with a space or line break, or lost characters such as + and\n\
                  /. A signing key that was derived with another date, region or service has the same effect.",
    fix: "Copy the access key and its secret again, from one source. If both are right, derive the signing \
          key from the parts of the scope.",
    code: KEY_CODE,
};

pub(in super::super) const KEY_DATE: Texts = Texts {
    sentence: "The signing key was derived with another date than that of the credential scope.",
    explanation: "The signing key of a day is valid for signatures of that day only, in UTC. A key that was\n\
                  derived once and kept over midnight is the usual reason, and a date in local time.",
    fix: "Derive the signing key with the date of the scope, and a new key for each day.",
    code: KEY_CODE,
};

pub(in super::super) const KEY_REGION: Texts = Texts {
    sentence: "The signing key was derived with another region than that of the credential scope.",
    explanation: "The signing key depends on the region. The scope and the key take it from different settings,\n\
                  or the key is kept and used for several APIs.",
    fix: "Derive the signing key with the region of the scope.",
    code: KEY_CODE,
};

pub(in super::super) const KEY_SERVICE: Texts = Texts {
    sentence: "The signing key was derived with another service than that of the credential scope.",
    explanation: "The signing key depends on the service. The scope and the key take it from different settings,\n\
                  or the key is kept and used for several APIs.",
    fix: "Derive the signing key with the service of the scope.",
    code: KEY_CODE,
};

pub(in super::super) const KEY_FORM: Texts = Texts {
    sentence: "The signing key was derived with a step missing or changed.",
    explanation: "The key is an HMAC-SHA256 of four steps: the date, with AWS4 and the secret as key; then the\n\
                  region, the service and aws4_request, each with the bytes of the step before as key, not with\n\
                  its hexadecimal text.",
    fix: "Derive the signing key in all four steps.",
    code: KEY_CODE,
};

const KEY_CODE: &[(&str, &str)] = &[
    (
        "Python",
        "def step(key, text):\n    return hmac.new(key, text.encode(), hashlib.sha256).digest()\n\n\
         key = (\"AWS4\" + secret).encode()\nfor part in (date_stamp, region, service, \"aws4_request\"):\n    \
         key = step(key, part)\nsignature = step(key, string_to_sign).hex()",
    ),
    (
        "JavaScript",
        "const step = (key, text) => createHmac(\"sha256\", key).update(text).digest();\n\
         const key = [dateStamp, region, service, \"aws4_request\"].reduce(step, \"AWS4\" + secret);\n\
         const signature = step(key, stringToSign).toString(\"hex\");",
    ),
];
