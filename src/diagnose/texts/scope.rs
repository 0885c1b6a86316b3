//! The credential scope: `{date}/{region}/{service}/aws4_request`.

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
