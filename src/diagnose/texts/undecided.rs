//! What to check first if the evidence does not decide the cause.

/// For `Forbidden`, without a reason.
pub const FORBIDDEN: &str = "Check, in this order: that the method's authorization is AWS_IAM, and a policy of the \
    identity allows execute-api:Invoke on it (HTTP APIs do not say so); that the API's resource policy allows the \
    identity and this network; whether a usage plan requires x-api-key; the sampled requests of AWS WAF; and that \
    the Host header is that of the API (--host).";

/// For `Missing Authentication Token` if the request is not known.
pub(in super::super) const MISSING_TOKEN: &str = "Check, in this order: that the path begins with the stage, and the \
    method exists there (REST APIs answer signed requests for unknown routes with this text too); that the API was \
    deployed after its last change; that the Authorization header arrives, because redirects and proxies remove it.";

/// For `Unauthorized` and other texts about the kind of authorization.
pub(in super::super) const UNAUTHORIZED: &str = "Check, in this order: that the request has an Authorization header \
    that begins with AWS4-HMAC-SHA256; that the API's authorization modes (AppSync), or the method's or route's \
    authorization (API Gateway), include AWS_IAM; that no proxy or library replaces the header.";

/// For an access key or a session token that AWS does not know.
pub(in super::super) const CREDENTIALS: &str = "Check, in this order: that an access key that begins with ASIA is sent \
    with its x-amz-security-token, and one that begins with AKIA without; that all values are from the same \
    credentials; that the credentials are still valid:\n\n  \
    shell:\n    aws sts get-caller-identity";

/// For a signature that does not match if what was signed is not known.
pub(in super::super) const MISMATCH: &str = "Check, in this order: that the secret access key is that of the access \
    key, without white space around it; that host, path, query and body are signed exactly as they are sent; that \
    region and service are those of the API. To see what was signed, print the signer's canonical request:\n\n  \
    Python:\n    boto3.set_stream_logger(\"botocore.auth\")  # logs CanonicalRequest and StringToSign";

/// For an error of a resolver's data source.
pub(in super::super) const DATA_SOURCE: &str = "Find the error in the log of the data source, or in that of the API in \
    CloudWatch. If access was denied, allow it in a policy of the data source's service role, not of the caller:\n\n  \
    shell:\n    aws appsync list-data-sources --api-id ID --query 'dataSources[].[name,serviceRoleArn]'";

/// For a Lambda function URL that answers `Forbidden`.
pub(in super::super) const FUNCTION_URL: &str = "Check, in this order: that the request is signed for the service \
    lambda; that a policy of the identity allows lambda:InvokeFunctionUrl on the function; for another account, that \
    the function's resource policy allows it too; that the URL's AuthType is AWS_IAM:\n\n  \
    shell:\n    aws lambda get-function-url-config --function-name NAME\n    \
    aws lambda get-policy --function-name NAME";
