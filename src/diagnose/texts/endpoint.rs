//! Rejections that are not about the signature: permissions, routes, and what stands before the API.

use super::Texts;

pub(in super::super) const NOT_AUTHORIZED: Texts = Texts {
    sentence: "The signature is right, and the IAM identity is not allowed to do this.",
    explanation: "A policy of the identity, of the API or of the organization does not allow the action, or denies\n\
                  it. For AppSync, the action is appsync:GraphQL on apis/ID/types/TYPE/fields/FIELD, for Events\n\
                  appsync:EventConnect, EventPublish and EventSubscribe, for API Gateway execute-api:Invoke. A\n\
                  directive such as @aws_cognito_user_pools on the field excludes IAM as well.",
    fix: "Allow the action. countersign prints the statement:",
    code: &[("shell", "countersign policy --help")],
};

pub(in super::super) const IAM_NOT_ENABLED: Texts = Texts {
    sentence: "The API does not accept IAM signatures.",
    explanation: "The API's authorization modes do not include AWS_IAM, so it reads the header as a token of\n\
                  another kind.",
    fix: "Add AWS_IAM to the API's authorization modes.",
    code: &[(
        "shell",
        "aws appsync get-graphql-api --api-id ID --query 'graphqlApi.[authenticationType,additionalAuthenticationProviders]'",
    )],
};

pub(in super::super) const NO_SUCH_ROUTE: Texts = Texts {
    sentence: "The request is signed, and the API has no such route or method.",
    explanation: "REST APIs answer requests for unknown paths and methods with \"Missing Authentication Token\".\n\
                  The stage is missing in the path, the path or method is misspelt, or the API was not deployed\n\
                  after the route was added.",
    fix: "Compare the path with the deployed routes; on API Gateway's own host names it begins with the stage.",
    code: &[(
        "shell",
        "aws apigateway get-resources --rest-api-id ID --query 'items[].[path,resourceMethods]'",
    )],
};

pub(in super::super) const WAF: Texts = Texts {
    sentence: "AWS WAF blocked the request before the API saw it.",
    explanation: "A rule of the web ACL of the API or its CloudFront distribution matched the request: an address,\n\
                  a rate, a size or a pattern in the body. The signature was not verified.",
    fix: "Find the rule in the web ACL's sampled requests.",
    code: &[(
        "shell",
        "aws wafv2 get-web-acl-for-resource --resource-arn API-ARN",
    )],
};

pub(in super::super) const NO_SUBPROTOCOL: Texts = Texts {
    sentence: "The WebSocket handshake does not offer AppSync's subprotocol.",
    explanation: "The handshake must offer graphql-ws for GraphQL and aws-appsync-event-ws for Events in\n\
                  Sec-WebSocket-Protocol, beside the header-… with the signature.",
    fix: "Offer the subprotocol.",
    code: &[
        (
            "Python",
            "websockets.connect(url, subprotocols=[\"graphql-ws\", header])",
        ),
        (
            "JavaScript",
            "new WebSocket(url, [\"graphql-ws\", header]);",
        ),
    ],
};
