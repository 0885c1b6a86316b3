//! The `Authorization` header, the access key and the session token.

use super::Texts;

pub(in super::super) const ALGORITHM: Texts = Texts {
    sentence: "The algorithm of the signature is not AWS4-HMAC-SHA256.",
    explanation: "The Authorization header and the first line of the string to sign both name the algorithm.\n\
                  AppSync and API Gateway accept AWS4-HMAC-SHA256 only: no other hash, and not SigV4A.",
    fix: "Sign with AWS4-HMAC-SHA256, and write this name in the header and in the string to sign.",
    code: &[],
};

pub(in super::super) const MALFORMED: Texts = Texts {
    sentence: "The Authorization header of Signature Version 4 cannot be read.",
    explanation: "The header is the algorithm, a space, and Credential, SignedHeaders and Signature as name=value,\n\
                  separated by commas. One of them is missing, empty or repeated.",
    fix: "Write the header in this form, on one line.",
    code: &[
        (
            "Python",
            "authorization = (\n    f\"AWS4-HMAC-SHA256 Credential={credential}, \"\n    f\"SignedHeaders={signed_headers}, Signature={signature}\"\n)",
        ),
        (
            "JavaScript",
            "const authorization =\n  `AWS4-HMAC-SHA256 Credential=${credential}, ` +\n  `SignedHeaders=${signedHeaders}, Signature=${signature}`;",
        ),
    ],
};

pub(in super::super) const NOT_SIGNED: Texts = Texts {
    sentence: "The request is not signed: it has neither an Authorization header nor a signature in its query.",
    explanation: "The API requires IAM. An API key does not replace the signature. In a realtime handshake, the\n\
                  signature is in the subprotocol `header-…`, or in the query parameters header and payload.",
    fix: "Sign the request, or send it through countersign, which signs it.",
    code: &[
        ("countersign", "countersign URL"),
        (
            "shell",
            "curl --aws-sigv4 \"aws:amz:REGION:SERVICE\" --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" \\\n     -H \"x-amz-security-token: $AWS_SESSION_TOKEN\" URL",
        ),
        (
            "Python",
            "SigV4Auth(credentials, service, region).add_auth(request)",
        ),
    ],
};

pub(in super::super) const NOT_SIGV4: Texts = Texts {
    sentence: "The Authorization header does not use Signature Version 4.",
    explanation: "The API requires IAM, and the header has a scheme such as Bearer or Basic, or no scheme. HTTP clients\n\
                  and frameworks replace the header when they have a token of their own.",
    fix: "Send only the signature in Authorization. Send the application's own token in another header.",
    code: &[],
};

pub(in super::super) const SIGNED_TWICE: Texts = Texts {
    sentence: "The request has a signature in its headers and another one in its query.",
    explanation: "A presigned URL carries its signature in the query, and must be sent without an Authorization\n\
                  header. A client that signs each request signs the presigned one again.",
    fix: "Send a presigned URL without an Authorization header, or sign the URL without its X-Amz- parameters.",
    code: &[],
};

pub(in super::super) const TOKEN_EXPIRED: Texts = Texts {
    sentence: "The session token has expired.",
    explanation: "Temporary credentials are valid for 15 minutes to 36 hours. The program kept them after that,\n\
                  or took them from environment variables, which nothing refreshes.",
    fix: "Load the credentials again, and have the SDK refresh them instead of copying them once.",
    code: &[
        ("shell", "aws sso login --profile PROFILE"),
        (
            "Python",
            "credentials = session.get_credentials().get_frozen_credentials()  # before each request",
        ),
        (
            "JavaScript",
            "const credentials = fromNodeProviderChain();  // a function, not its result",
        ),
    ],
};

pub(in super::super) const TOKEN_EXTRA: Texts = Texts {
    sentence: "A session token was sent with an access key that has none.",
    explanation: "Access keys of IAM users begin with AKIA and have no session token. An empty token counts as a\n\
                  wrong one. Usually a variable AWS_SESSION_TOKEN of other credentials is still set.",
    fix: "Remove x-amz-security-token from the headers and from the signature.",
    code: &[
        ("shell", "unset AWS_SESSION_TOKEN"),
        (
            "Python",
            "if credentials.token:\n    headers[\"x-amz-security-token\"] = credentials.token",
        ),
        (
            "JavaScript",
            "if (sessionToken) headers[\"x-amz-security-token\"] = sessionToken;",
        ),
    ],
};

pub(in super::super) const TOKEN_MISSING: Texts = Texts {
    sentence: "The credentials are temporary, and the request does not have their session token.",
    explanation: "Access keys that begin with ASIA come from STS, SSO or a role, and are valid only together with\n\
                  their session token. It must be sent as x-amz-security-token, and signed.",
    fix: "Add x-amz-security-token to the headers before signing.",
    code: &[
        (
            "Python",
            "if credentials.token:\n    headers[\"x-amz-security-token\"] = credentials.token",
        ),
        (
            "JavaScript",
            "if (sessionToken) headers[\"x-amz-security-token\"] = sessionToken;",
        ),
        ("shell", "-H \"x-amz-security-token: $AWS_SESSION_TOKEN\""),
    ],
};

pub(in super::super) const TOKEN_WRONG: Texts = Texts {
    sentence: "The session token does not belong to the access key.",
    explanation: "Access key, secret access key and session token are issued together. One of them was replaced\n\
                  alone, such as by an environment variable, or the token was cut or changed on its way.",
    fix: "Take all three values from the same credentials.",
    code: &[
        (
            "shell",
            "eval \"$(aws configure export-credentials --format env)\"",
        ),
        (
            "Python",
            "credentials = session.get_credentials().get_frozen_credentials()",
        ),
    ],
};

pub(in super::super) const UNKNOWN_KEY: Texts = Texts {
    sentence: "AWS does not know the access key, or it is not active.",
    explanation: "The access key was deleted or deactivated, was copied wrongly, or belongs to another partition\n\
                  (aws, aws-cn, aws-us-gov) or to a local emulator.",
    fix: "Determine which credentials the program uses, and whether they are active.",
    code: &[(
        "shell",
        "aws sts get-caller-identity\naws iam list-access-keys",
    )],
};
