"""Prints cases for the diagnosis of rejected requests, as JSON: `src/diagnose/tests/cases.json`.

Each case is a request with one mistake. botocore computes what AWS expects, and signs; the mistake is made
in what was signed, or in the request after signing. The answer is AWS's text with botocore's canonical
request. Run it with the Python of target/clients-venv:

    target/clients-venv/bin/python tests/clients/diagnose_cases.py > src/diagnose/tests/cases.json
"""

import base64
import hashlib
import hmac
import json
import sys
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

APPSYNC = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com"
REALTIME = APPSYNC.replace("appsync-api", "appsync-realtime-api")
GATEWAY = "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"
DATE = "20260115T120000Z"
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TEMPORARY, TOKEN = "ASIAEXAMPLE", "IQoJb3JpZ2luX2VjEXAMPLE//TOKEN=="
CONNECT = {
    "accept": "application/json, text/javascript",
    "content-encoding": "amz-1.0",
    "content-type": "application/json; charset=UTF-8",
}
QUERY = '{"query":"query Q { ping }","variables":null}'
DATA = '{"query":"subscription S { onMsg { id } }","variables":{}}'

cases = []


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def botocore(method, host, path, query, headers, body, service, region):
    """Returns botocore's canonical request as its lines."""
    url = f"https://{host}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers=headers, data=body)
    request.context["timestamp"] = DATE
    auth = SigV4Auth(Credentials(KEY, SECRET), service, region)
    return auth.canonical_request(request).split("\n")


def signature(secret, scope, string, key_scope=None, prefix="AWS4"):
    key = (prefix + secret).encode()
    for part in (key_scope or scope).split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, string.encode(), hashlib.sha256).hexdigest()


def mismatch(canonical, string):
    return (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
        "Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String "
        f"for this request should have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{string}'\n"
    )


def case(
    cause,
    *,
    name=None,
    method="POST",
    host=APPSYNC,
    path="/graphql",
    query="",
    headers=None,
    body=QUERY,
    service="appsync",
    region="us-east-1",
    key=KEY,
    token=None,
    date=DATE,
    scope=None,
    change=None,
    change_string=None,
    after=None,
    key_scope=None,
    prefix="AWS4",
    secret=SECRET,
    credentials=None,
    as_sent=None,
    text=None,
    kind="InvalidSignatureException",
    status=403,
    answer="gateway",
    alone="unknown",
    is_public=False,
    swap=False,
):
    """`change` mistakes the lines that are signed; `after` changes the request after signing. botocore
    normalizes paths; with `swap`, AWS does not, and the signer does."""
    headers = {"host": host, "x-amz-date": date} | (headers or {})
    if token is not None:
        headers["x-amz-security-token"] = token
    scope = scope or f"{date[:8]}/{region}/{service}/aws4_request"
    right = botocore(method, host, path, query, headers, body, service, region)
    yours = list(right)
    if change:
        yours = change(yours) or yours
    yours = "\n".join(yours)
    string = ["AWS4-HMAC-SHA256", date, scope, sha(yours)]
    if change_string:
        change_string(string)
    string = "\n".join(string)
    signed = yours.split("\n")[-2]
    request = {
        "method": method,
        "target": path + (f"?{query}" if query else ""),
        "headers": dict(headers),
        "body": body,
    }
    request["headers"]["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, "
        f"Signature={signature(secret, scope, string, key_scope, prefix)}"
    )
    if after:
        after(request)
    # What AWS computes for the request that arrived.
    sent = {name.lower(): value for name, value in request["headers"].items()}
    signed = sent.get("authorization", "").partition("SignedHeaders=")[2].partition(",")[0].split(";")
    arrived = {name.lower(): sent[name.lower()] for name in signed if name.lower() in sent}
    arrived["host"] = sent["host"]
    target, _, arrived_query = request["target"].partition("?")
    aws = botocore(
        request["method"], sent["host"], target, arrived_query, arrived, request["body"], service, region
    )
    # botocore trusts the header x-amz-content-sha256.
    aws = "\n".join(aws[:-1] + [sha(request["body"])])
    aws_string = f"AWS4-HMAC-SHA256\n{sent.get('x-amz-date', '')}\n{scope}\n{sha(aws)}"
    if swap:
        aws, yours = yours, aws
        aws_string = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{sha(aws)}"
        string = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{sha(yours)}"
        request["target"] = aws.split("\n")[1]
    message = text or mismatch(aws, aws_string)
    if as_sent:
        request = as_sent(request)
    body = {
        "gateway": lambda: json.dumps({"message": message}),
        "appsync": lambda: '{\n  "errors" : [ {\n    "errorType" : "%s",\n    "message" : %s\n  } ]\n}'
        % (kind, json.dumps(message)),
        "connect": lambda: json.dumps(
            {
                "payload": {
                    "errors": [
                        {
                            "errorType": "com.amazonaws.deepdish.graphql.auth#BadRequestException",
                            "message": message,
                            "errorCode": 400,
                        }
                    ]
                },
                "type": "connection_error",
            }
        ),
        "message": lambda: json.dumps(
            {"id": "1", "type": "error", "payload": {"errors": [{"errorType": kind, "message": message}]}}
        ),
        "hidden": lambda: '{"message":"Forbidden"}',
    }[answer]()
    known = credentials or {"access_key_id": key, "secret_access_key": SECRET, "session_token": token}
    cases.append(
        {
            "name": name or cause,
            "cause": cause,
            "alone": alone,
            "status": status,
            "kind": kind if answer in ("gateway", "appsync") else None,
            "answer": body,
            "request": request,
            "canonical_request": yours,
            "string_to_sign": string,
            "credentials": None if is_public else known,
        }
    )


def line(at, value):
    def change(lines):
        lines[at] = value(lines[at]) if callable(value) else value

    return change


def header(name, value):
    """Changes the line of a header."""

    def change(lines):
        for at, text in enumerate(lines):
            if text.startswith(name + ":"):
                lines[at] = f"{name}:{value(text.split(':', 1)[1])}"

    return change


def set_header(name, value):
    return lambda request: request["headers"].__setitem__(name, value)


def body_hash(text):
    return line(-1, sha(text))


def frame(data=DATA):
    def as_sent(request):
        headers = request["headers"]
        message = {
            "id": "1",
            "type": "start",
            "payload": {"data": data, "extensions": {"authorization": headers}},
        }
        return {"method": "", "target": "", "headers": {}, "body": json.dumps(message)}

    return as_sent


def handshake(path="/graphql"):
    def as_sent(request):
        encoded = base64.urlsafe_b64encode(json.dumps(request["headers"]).encode()).decode().rstrip("=")
        headers = {
            "Host": REALTIME,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Protocol": f"graphql-ws, header-{encoded}",
        }
        return {"method": "GET", "target": path, "headers": headers, "body": ""}

    return as_sent


connect = dict(path="/graphql/connect", body="{}", headers=CONNECT, as_sent=handshake(), answer="connect")
start = dict(path="/graphql", body=DATA, headers=CONNECT, as_sent=frame(), answer="message")
events = dict(path="/event", body='{"channel":"/default/a","events":["1"]}')
rest = dict(host=GATEWAY, service="execute-api", method="GET", body="")
post = rest | dict(method="POST", body='{"a":1}', headers={"content-type": "application/json"})

# The seeds.
case("path-wrong", name="query signed on /graphql/connect", change=body_hash(DATA), **connect)
case(
    "path-wrong",
    name="connect signature reused for start",
    change=lambda lines: lines.__setitem__(1, "/graphql/connect") or lines.__setitem__(-1, sha("{}")),
    **start,
)
case("path-wrong", name="query signed on /graphql/connect, start", change=line(1, "/graphql/connect"), **start)
case("path-wrong", name="connect signed on /graphql", change=line(1, "/graphql"), **connect)
case("path-wrong", name="events connect", path="/event", body="{}", headers=CONNECT, change=line(1, "/event/connect"),
     as_sent=handshake("/event/realtime"), answer="connect")
case(
    "token-missing",
    name="javascript signer without the session token",
    key=TEMPORARY,
    credentials={"access_key_id": TEMPORARY, "secret_access_key": SECRET, "session_token": TOKEN},
    text="The security token included in the request is invalid.",
    kind="UnrecognizedClientException",
    answer="appsync",
)
case(
    "query-unsorted",
    name="unsorted, unencoded query",
    path="/prod/orders",
    query="a=1%202&b=x%2Fy",
    change=line(2, "b=x/y&a=1 2"),
    **rest,
)
case(
    "wrong-service",
    name="apigateway instead of execute-api",
    path="/prod/orders",
    scope="20260115/us-east-1/apigateway/aws4_request",
    text="Credential should be scoped to correct service: 'execute-api'.",
    alone="wrong-service",
    **rest,
)
case(
    "clock-slow",
    name="ten minutes behind",
    text="Signature expired: 20260115T120000Z is now earlier than 20260115T120500Z (20260115T121000Z - 5 min.)",
    answer="appsync",
    alone="clock-slow",
)
case("wrong-secret", secret="other", answer="appsync")
case("wrong-secret", name="wrong secret, gateway", secret="other", path="/prod/orders", **rest)
case("header-changed", headers={"content-type": "application/json"},
     after=set_header("content-type", "application/json; charset=utf-8"), answer="appsync")

# Each line of the canonical request.
case("method-wrong", name="connect signed as GET", change=line(0, "GET"), **connect)
case("method-wrong", path="/prod/orders", change=line(0, "GET"), **post)
case("path-not-double-encoded", path="/prod/a%20b", change=line(1, "/prod/a%20b"), **rest)
case("path-not-double-encoded", name="@connections", path="/prod/@connections/a=", change=line(1, "/prod/@connections/a="), **rest)
case("path-decoded", path="/prod/a%20b", change=line(1, "/prod/a b"), **rest)
case("path-decoded", name="slash decoded", path="/prod/a%2Fb", change=line(1, "/prod/a/b"), **rest)
case("path-double-encoded-twice", path="/prod/a%20b", change=line(1, "/prod/a%252520b"), **rest)
case("path-double-encoded-twice", name="connections encoded twice", path="/prod/@connections/a%3D",
     change=line(1, "/prod/%2540connections/a%25253D"), **rest)
case("path-stage-missing", path="/prod/orders", change=line(1, "/orders"), **rest)
case("path-stage-missing", name="stage root", path="/prod", change=line(1, "/"), **rest)
case("path-stage-missing", name="stage and escapes", path="/prod/a%20b", change=line(1, "/a%2520b"), **rest)
case("path-wrong", name="another path", path="/prod/orders", change=line(1, "/prod/order"), **rest)
case("path-wrong", name="slash at the end", path="/prod/orders/", change=line(1, "/prod/orders"), **rest)
case("path-normalized", path="/prod/a/b", change=line(1, "/prod/a//b"), swap=True, **rest)
case("query-added", path="/prod/o", query="a=1&b=2", change=line(2, "a=1"), **rest)
case("query-removed", path="/prod/o", query="a=1", change=line(2, "a=1&b=2"), **rest)
case("query-changed", path="/prod/o", query="a=1", change=line(2, "a=2"), **rest)
case("query-missing", path="/prod/o", query="a=1", change=line(2, ""), **rest)
case("query-removed", name="query removed", path="/prod/o", query="", change=line(2, "a=1"), **rest)
case("query-bare-name", path="/prod/o", query="a=1&flag=", change=line(2, "a=1&flag"), **rest)
case("query-lower-hex", path="/prod/o", query="a=%2F", change=line(2, "a=%2f"), **rest)
case("query-plus", path="/prod/o", query="a=1%202", change=line(2, "a=1+2"), **rest)
case("query-plus", name="plus encoded", path="/prod/o", query="a=1%202", change=line(2, "a=1%2B2"), **rest)
case("query-unsorted", path="/prod/o", query="a=1&b=2", change=line(2, "b=2&a=1"), **rest)
case("query-unsorted", name="sorted as pairs", path="/prod/o", query="a=1&a-b=1", change=line(2, "a-b=1&a=1"), **rest)
case("query-not-encoded", path="/prod/o", query="a=x%2Fy%3D", change=line(2, "a=x/y="), **rest)
case("query-encoded-twice", path="/prod/o", query="a=x%2Fy", change=line(2, "a=x%252Fy"), **rest)
case("host-port", change=header("host", lambda host: host + ":443"), answer="appsync")
case("host-port", name="local port", after=set_header("host", APPSYNC + ":8443"), answer="appsync")
case("host-wrong", name="realtime host", change=header("host", lambda _: REALTIME), **connect)
case("host-wrong", change=header("host", lambda _: "localhost"), answer="appsync")
case("header-spaces", change=header("accept", lambda value: value.replace(" ", "  ")), **connect)
case("header-spaces", headers={"x-amz-meta": "a b"}, change=header("x-amz-meta", lambda _: " a   b "), path="/prod/o", **rest)
case("header-unsorted", change=lambda lines: lines.__setitem__(slice(3, 5), lines[4:2:-1]), answer="appsync")
case(
    "header-unsorted",
    name="list unsorted",
    change=lambda lines: lines.__setitem__(-2, "x-amz-date;host"),
    answer="appsync",
)
case(
    "header-unsorted",
    name="upper case",
    change=lambda lines: lines.__setitem__(3, lines[3].replace("host:", "Host:")) or lines.__setitem__(-2, "Host;x-amz-date"),
    answer="appsync",
)
case("header-changed", name="accept changed", headers={"accept": "*/*"}, after=set_header("accept", "application/json"), path="/prod/o", **rest)
case(
    "signed-headers",
    headers={"content-type": "application/json"},
    change=lambda lines: lines.__delitem__(3) or lines.__setitem__(-2, "host;x-amz-date"),
    after=lambda request: request["headers"].__setitem__(
        "authorization",
        request["headers"]["authorization"].replace("=host;", "=content-type;host;"),
    ),
    answer="appsync",
)
case("content-sha-header", headers={"x-amz-content-sha256": sha("other")}, change=body_hash("other"), path="/prod/o",
     name="declared hash", alone="content-sha-header", **(rest | {"method": "POST", "body": "{}"}))

# The body.
case("body-changed", after=lambda request: request.__setitem__("body", QUERY.replace("ping", "pong")), answer="appsync")
case("body-changed", name="spaces", change=body_hash(json.dumps(json.loads(QUERY))), answer="appsync")
case("body-changed", name="line break", change=body_hash(QUERY + "\n"), answer="appsync")
case("body-changed", name="start", change=body_hash(DATA + " "), **start)
case("body-escapes", body='{"channel":"/default/a","events":["{\\"m\\":\\"a\\u003cb\\"}"]}', path="/event",
     change=body_hash('{"channel":"/default/a","events":["{\\"m\\":\\"a<b\\"}"]}'), answer="appsync")
case("body-escapes", name="non-ASCII", body='{"query":"{ a(b: \\"é\\") }"}',
     change=body_hash('{"query":"{ a(b: \\"\\u00e9\\") }"}'), answer="appsync")
case("body-hash-empty", name="connect", change=body_hash(""), **connect)
case("body-hash-empty", change=body_hash(""), answer="appsync")
case("body-hash-unsigned", change=line(-1, "UNSIGNED-PAYLOAD"), path="/prod/o", **post)
case("body-hash-unsigned", name="streaming", change=line(-1, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), answer="appsync")


def envelope(*, keep):
    """Signs the message without its authorization, or its payload."""
    message = {"id": "1", "type": "start", "payload": {"data": DATA}}
    return json.dumps(message if keep else message["payload"])


case("body-hash-envelope", change=body_hash(envelope(keep=True)), **start)
case("body-hash-envelope", name="payload", change=body_hash(envelope(keep=False)), **start)

# The string to sign and the signing key.
case("algorithm", change_string=line(0, "AWS4-HMAC-SHA512"), answer="appsync")
case("scope-date", name="string to sign, date", change_string=line(2, "20260114/us-east-1/appsync/aws4_request"), answer="appsync")
case("wrong-region", name="string to sign, region", change_string=line(2, "20260115/eu-west-1/appsync/aws4_request"), answer="appsync")
case("wrong-service", name="string to sign, service", change_string=line(2, "20260115/us-east-1/execute-api/aws4_request"), answer="appsync")
case("scope-terminator", name="string to sign, end", change_string=line(2, "20260115/us-east-1/appsync/aws4-request"), answer="appsync")
case("scope-malformed", name="string to sign, parts", change_string=line(2, "20260115/us-east-1/appsync"), answer="appsync")
case("header-changed", name="string to sign, time", change_string=line(1, "20260115T120001Z"), answer="appsync")
case("canonical-form", name="hash of a text with a line break", change_string=lambda string: string.__setitem__(3, sha("x")), answer="appsync")
case("hash-case", name="hash in upper case", change_string=line(3, str.upper), answer="appsync")
case("hash-case", name="body hash in upper case", change=line(-1, str.upper), answer="appsync")
case("signing-key-date", key_scope="20260114/us-east-1/appsync/aws4_request", answer="appsync")
case("signing-key-date", name="key of the day before, gateway", key_scope="20260114/us-east-1/execute-api/aws4_request", path="/prod/o", **rest)
case("signing-key-region", key_scope="20260115/eu-west-1/appsync/aws4_request", answer="appsync")
case("signing-key-service", key_scope="20260115/us-east-1/execute-api/aws4_request", answer="appsync")
case("signing-key-form", prefix="", answer="appsync")
case("wrong-secret", name="public evidence", secret="other", answer="appsync", is_public=True)

# Rejections before the signature.
for cause, text, kind in [
    ("scope-malformed", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'x'", "IncompleteSignatureException"),
    ("scope-terminator", "Credential should be scoped with a valid terminator: 'aws4_request', not 'x'.", "InvalidSignatureException"),
    ("scope-date", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260114' != '20260115', from '20260115T120000Z'.", "InvalidSignatureException"),
    ("wrong-region", "Credential should be scoped to a valid region, not 'eu-west-1'. ", "InvalidSignatureException"),
    ("date-format", "Date must be in ISO-8601 'basic format'. Got 'Thu, 15 Jan 2026'. See http://en.wikipedia.org/wiki/ISO_8601", "IncompleteSignatureException"),
    ("date-missing", "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 Credential=x", "IncompleteSignatureException"),
    ("authorization-malformed", "Authorization header requires 'Signature' parameter. Authorization=AWS4-HMAC-SHA256 Credential=x", "IncompleteSignatureException"),
    ("authorization-malformed", "'Signature' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Credential=x, Signature'.", "IncompleteSignatureException"),
    ("host-not-signed", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.", "InvalidSignatureException"),
    ("header-not-signed", "'x-amz-meta' must be a 'SignedHeader' in the AWS Authorization.", "InvalidSignatureException"),
    ("content-sha-header", "'x-amz-content-sha256' must be a 'SignedHeader' in the AWS Authorization.", "InvalidSignatureException"),
    ("header-removed", "'accept' is named as a SignedHeader, but it does not exist in the HTTP request.", "IncompleteSignatureException"),
    ("token-missing", "'x-amz-security-token' is named as a SignedHeader, but it does not exist in the HTTP request.", "IncompleteSignatureException"),
    ("token-expired", "The security token included in the request is expired", "ExpiredTokenException"),
    ("clock-fast", "Signature not yet current: 20260115T120000Z is still later than 20260115T115500Z (20260115T115000Z + 5 min.)", "InvalidSignatureException"),
    ("not-authorized", "Permission denied", "UnauthorizedException"),
    ("not-authorized", "Not Authorized to access rooms on type Query", "Unauthorized"),
    ("not-authorized", "User: arn:aws:iam::111122223333:user/a is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:us-east-1:********3333:a1/prod/GET/o", "AccessDeniedException"),
    ("waf", "403 Forbidden", "WAFForbiddenException"),
    ("no-subprotocol", "NoProtocolError", ""),
    ("signed-twice", "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.", "InvalidSignatureException"),
    ("not-signed", "Missing authorization header", "UnauthorizedException"),
]:
    case(cause, name=f"text: {text[:50]}", text=text, kind=kind, answer="appsync", alone=cause)

bearer = lambda request: request["headers"].__setitem__("authorization", "Bearer secret-token")
unsigned = lambda request: request["headers"].pop("authorization")
sha512 = lambda request: request["headers"].__setitem__(
    "authorization", request["headers"]["authorization"].replace("SHA256", "SHA512")
)
as_is = lambda change: lambda request: change(request) and request or request
provided = dict(kind="UnauthorizedException", status=401, answer="appsync")
for cause, change, text, alone in [
    ("not-sigv4", bearer, "Valid authorization header not provided.", "unknown"),
    ("algorithm", sha512, "Valid authorization header not provided.", "unknown"),
    ("iam-not-enabled", lambda _: None, "Unable to parse JWT token.", "unknown"),
    ("not-authorized", lambda _: None, "You are not authorized to make this call.", "unknown"),
    ("not-signed", unsigned, "You are not authorized to make this call.", "unknown"),
    ("not-signed", unsigned, "Missing Authentication Token", "unknown"),
    ("no-such-route", lambda _: None, "Missing Authentication Token", "unknown"),
    ("not-sigv4", bearer, "'secret-token' not a valid key=value pair (missing equal-sign) in Authorization header: 'Bearer secret-token'.", "not-sigv4"),
    ("not-sigv4", bearer, "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): 'abc='.", "unknown"),
    ("algorithm", sha512, "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA512 Credential=x", "algorithm"),
]:
    case(cause, name=f"{cause}: {text[:40]}", as_sent=as_is(change), text=text, alone=alone, **provided)

invalid = dict(text="The security token included in the request is invalid.", kind="UnrecognizedClientException", answer="appsync")
own = {"access_key_id": TEMPORARY, "secret_access_key": SECRET, "session_token": TOKEN}
case("token-wrong", key=TEMPORARY, token="IQoJb3RoZXJ0b2tlbg==", credentials=own, **invalid)
case("token-extra", key="AKIAEXAMPLE", token=TOKEN, is_public=True, **invalid)
case("token-extra", name="empty token", key="AKIAEXAMPLE", token="", is_public=True, **invalid)
case("token-missing", name="public evidence", key=TEMPORARY, is_public=True, **invalid)
case("unknown-key", key="AKIAOTHER", is_public=True, **invalid)
case("unknown-key", name="another key", key="AKIAOTHER", credentials=own, **invalid)

# HTTP APIs do not show the reason.
hidden = rest | dict(answer="hidden", path="/orders")
case("wrong-region", name="hidden region", scope="20260115/eu-west-1/execute-api/aws4_request", **hidden)
case("wrong-service", name="hidden service", scope="20260115/us-east-1/apigateway/aws4_request", **hidden)
case("scope-date", name="hidden scope date", scope="20260114/us-east-1/execute-api/aws4_request", **hidden)
case("header-removed", name="hidden header", headers={"accept": "*/*"}, after=lambda request: request["headers"].pop("accept"), **hidden)
case("query-unsorted", name="hidden query", query="a=1&b=2", change=line(2, "b=2&a=1"), **hidden)
case("wrong-secret", name="hidden secret", secret="other", **hidden)
case("not-signed", name="hidden, unsigned", as_sent=as_is(unsigned), **hidden)
case("signing-key-date", name="hidden key date", key_scope="20260114/us-east-1/execute-api/aws4_request", **hidden)

json.dump(cases, sys.stdout, indent=1, ensure_ascii=False)
print()
