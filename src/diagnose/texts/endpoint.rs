//! Rejections that are not about the signature: permissions, routes, and what stands before the API.

use super::Texts;

pub(in super::super) const NOT_AUTHORIZED: Texts = Texts {
    sentence: "AWS knows the caller, and does not allow it to do this.",
    explanation: "AWS accepted the signature, API key or token, and then denied the action. For IAM identities, a policy\n\
                  must allow it, and none may deny it: for AppSync, appsync:GraphQL on apis/ID/types/TYPE/fields/FIELD,\n\
                  for Events appsync:EventConnect, EventPublish and EventSubscribe, for API Gateway execute-api:Invoke.\n\
                  If an AppSync API has several authorization modes, the field needs a directive such as @aws_iam too.",
    fix: "Allow the action in a policy of the identity. To print the policy for your GraphQL documents:",
    code: &[(
        "countersign",
        "countersign policy --region REGION FILE.graphql",
    )],
};

pub(in super::super) const IAM_NOT_ENABLED: Texts = Texts {
    sentence: "The API does not accept IAM signatures.",
    explanation: "The API's authorization modes do not include AWS_IAM, so it reads the header as a token of\n\
                  another kind.",
    fix: "Add AWS_IAM to the API's authorization modes.",
    code: &[
        (
            "AppSync",
            "aws appsync get-graphql-api --api-id ID --query 'graphqlApi.[name,authenticationType,additionalAuthenticationProviders]'\n\
             # The command replaces the list: repeat the other additional modes.\n\
             aws appsync update-graphql-api --api-id ID --name NAME --authentication-type MODE \\\n     \
             --additional-authentication-providers authenticationType=AWS_IAM",
        ),
        (
            "HTTP API of API Gateway",
            "aws apigatewayv2 update-route --api-id ID --route-id ROUTE --authorization-type AWS_IAM",
        ),
    ],
};

pub(in super::super) const NO_SUCH_ROUTE: Texts = Texts {
    sentence: "The request is signed, but the API has no such route or method.",
    explanation: "REST APIs answer requests for unknown paths and methods with \"Missing Authentication Token\".\n\
                  The stage is missing in the path, the path or method is misspelt, or the API was not deployed\n\
                  after the route was added. Other services, such as Lambda, answer \"Unable to determine\n\
                  service/operation name to be authorized\", also for a doubled slash or a wrong host.",
    fix: "Compare the path with the deployed routes; on API Gateway's own host names it begins with the stage.",
    code: &[(
        "shell",
        "aws apigateway get-resources --rest-api-id ID --query 'items[].[path,resourceMethods]'",
    )],
};

pub(in super::super) const WAF: Texts = Texts {
    sentence: "AWS WAF blocked the request before the API saw it.",
    explanation: "A rule of the web ACL of the API, or of its CloudFront distribution, matched the request: an address,\n\
                  a rate, a size or a pattern in the body. The signature was not verified.",
    fix: "Find the rule in the web ACL's sampled requests, and allow the request in it.",
    code: &[(
        "shell",
        "aws wafv2 get-web-acl-for-resource --resource-arn API-ARN",
    )],
};

pub(in super::super) const NO_SUBPROTOCOL: Texts = Texts {
    sentence: "The WebSocket handshake does not offer AppSync's subprotocol.",
    explanation: "The handshake must offer graphql-ws for GraphQL and aws-appsync-event-ws for Events in\n\
                  Sec-WebSocket-Protocol, beside the header-… with the signature.",
    fix: "Offer the subprotocol: graphql-ws, or aws-appsync-event-ws for Events.",
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
