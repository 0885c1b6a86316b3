"""Recomputes SigV4 signatures with botocore, for requests as they were sent on the wire.

usage: python botocore_verify.py < requests.jsonl
       python botocore_verify.py --self-test [SEED]
stdin, one JSON object per line:
  {"id", "method", "url": full https URL exactly as on the wire, "headers": [[name, value], ...] as sent,
   "body_b64", "access_key", "secret_key", "token": string or null, "region", "service"}
stdout: one JSON line {"id", "reason", "canonical_request"} per mismatch, then `verified N, mismatched M`.
exit: 0 if at least one request was verified and none mismatched.

botocore quotes the path of the wire once more, and splits and sorts the query of the wire as text, so this
file decodes nothing. The signature is verified as of the request's own X-Amz-Date.
"""

import base64
import hashlib
import json
import random
import re
import string
import sys
import unittest.mock
from datetime import datetime
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request, ?"
    r"SignedHeaders=([^, ]+), ?Signature=([0-9a-f]{64})"
)
TIMESTAMP = re.compile(r"\d{8}T\d{6}Z")


class Mismatch(Exception):
    def __init__(self, reason, canonical_request=None):
        super().__init__(reason)
        self.canonical_request = canonical_request


class OnlyListed:
    """Signs the headers listed in SignedHeaders, instead of botocore's own choice."""

    listed = frozenset()

    def headers_to_sign(self, request):
        chosen = type(request.headers)()
        for name, value in request.headers.items():
            if name.lower() in self.listed:
                chosen[name.lower()] = value
        return chosen


class Verifier(OnlyListed, SigV4Auth):
    pass


class S3Verifier(OnlyListed, S3SigV4Auth):
    pass


def verify(seen):
    """Raises Mismatch unless botocore arrives at the request's own signature."""
    headers = [(name, value) for name, value in seen["headers"]]
    body = base64.b64decode(seen["body_b64"], validate=True)
    found = AUTHORIZATION.fullmatch(the_one(headers, "authorization"))
    expect(found, "Authorization is not of the form AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=")
    access_key, day, region, service, listed, signature = found.groups()
    timestamp = the_one(headers, "x-amz-date")
    expect(TIMESTAMP.fullmatch(timestamp), f"X-Amz-Date {timestamp!r}")
    expect(access_key == seen["access_key"], f"access key {access_key!r}")
    expect(day == timestamp[:8], f"scope is of {day}, X-Amz-Date is {timestamp}")
    expect(region == seen["region"], f"scope names region {region!r}")
    expect(service == seen["service"], f"scope names service {service!r}")

    names = listed.split(";")
    expect(names == sorted(set(names)) and listed == listed.lower(), f"SignedHeaders {listed!r} is not sorted lower case")
    present = {name.lower() for name, _ in headers}
    for name in names:
        expect(name in present, f"{name!r} is in SignedHeaders, but was not sent")
    for name in ("host", "x-amz-date"):
        expect(name in names, f"{name!r} is not in SignedHeaders")
    if seen["token"] is None:
        expect("x-amz-security-token" not in present, "a token was sent, of credentials without one")
    else:
        expect(the_one(headers, "x-amz-security-token") == seen["token"], "X-Amz-Security-Token is another")
        expect("x-amz-security-token" in names, "'x-amz-security-token' is not in SignedHeaders")
    if "x-amz-content-sha256" in present:
        # botocore trusts this header; here it must match the body, or be UNSIGNED-PAYLOAD.
        stated = the_one(headers, "x-amz-content-sha256")
        expect(
            stated in (hashlib.sha256(body).hexdigest(), "UNSIGNED-PAYLOAD"),
            f"x-amz-content-sha256 {stated!r} is not of this body",
        )

    request = AWSRequest(method=seen["method"], url=seen["url"], data=body)
    for name, value in headers:
        request.headers[name] = value
    request.context["timestamp"] = timestamp
    signer = (S3Verifier if service == "s3" else Verifier)(
        Credentials(access_key, seen["secret_key"], seen["token"]), service, region
    )
    signer.listed = frozenset(names)
    canonical_request = signer.canonical_request(request)
    string_to_sign = signer.string_to_sign(request, canonical_request)
    expected = signer.signature(string_to_sign, request)
    expect(expected == signature, f"signature {signature}, botocore's is {expected}", canonical_request)


def the_one(headers, wanted):
    values = [value for name, value in headers if name.lower() == wanted]
    expect(len(values) == 1, f"{len(values)} headers named {wanted!r}")
    return values[0].strip()


def expect(condition, reason, canonical_request=None):
    if not condition:
        raise Mismatch(reason, canonical_request)


def main():
    verified = mismatched = 0
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        told = {"id": f"line {number}"}
        try:
            seen = json.loads(line)
            told["id"] = seen["id"]
            verify(seen)
        except Mismatch as mismatch:
            told.update(reason=str(mismatch), canonical_request=mismatch.canonical_request)
        except (KeyError, TypeError, ValueError) as error:
            told.update(reason=f"not a request: {type(error).__name__}: {error}", canonical_request=None)
        else:
            verified += 1
            continue
        mismatched += 1
        print(json.dumps(told))
    print(f"verified {verified}, mismatched {mismatched}")
    sys.exit(1 if mismatched or not verified else 0)


# --- the self-test: botocore signs, this file verifies, and then one part is altered ---

PATHS = [
    "", "/", "//", "/graphql", "/graphql/connect", "/a%20b", "/a+b", "/%2F", "/a%2Fb/", "//a///b//", "/./a", "/a/../b", "/a/..",
    "/../..", "/a/./", "/~user", "/%7Euser", "/a:b@c", "/*'()!", "/%2A", "/a=b;c,d", "/%25", "/%2525", "/%E2%98%83", "/é", "/%e2%98%83",
    "/prod/@connections/abc%3D", "/$default", "/a&b", "/a|b", "/a%", "/[x]", "/a\\b", '/"', "/<>^`{}",
]
QUERIES = [
    "", "?", "?a=1", "?b=2&a=1", "?a=2&a=1", "?a", "?a=", "?=a", "?a=b=c", "?a&b", "?&", "?a=1&&b=2", "?A=1&a=2", "?a=%20", "?a=+",
    "?q=%7Bping%7D", "?a=/?:@", "?a=%2f&a=%2F", "?%C3%A9=1", "?x=a;b=c", "?a-b=1&a.b=1&a_b=1&a~b=1&ab=1", "?header=e30=&payload=e30=",
]


def self_test(seed):
    print(f"seed {seed}")
    dice = random.Random(seed)
    verified = caught = 0
    problems = []
    count = max(200, len(PATHS) * 6)
    for number in range(count):
        seen = signed_at_random(dice, number)
        try:
            verify(json.loads(json.dumps(seen)))
            verified += 1
        except Mismatch as mismatch:
            problems.append(f"not verified: {mismatch}: {seen['url']} | {mismatch.canonical_request}")
        for name, altered in alterations(dice, seen):
            try:
                verify(altered)
            except Mismatch:
                caught += 1
            else:
                problems.append(f"not caught: {name}: {json.dumps(altered)}")
    for problem in problems:
        print(problem)
    print(f"self-test: {verified} of {count} verified, {caught} alterations caught, {len(problems)} problems")
    sys.exit(1 if problems else 0)


def signed_at_random(dice, number):
    def word(least=1, most=12, alphabet=string.ascii_letters + string.digits):
        return "".join(dice.choices(alphabet, k=dice.randint(least, most)))

    path = PATHS[number % len(PATHS)]
    if path and dice.random() < 0.5:
        path += quote(word(alphabet="aé /%+~☃"), safe=dice.choice(["", "/", "~+"]))
    query = dice.choice(QUERIES)
    host = dice.choice(["abc.execute-api.us-east-1.amazonaws.com", "127.0.0.1:8443", "[::1]:8443", "example.com"])
    url = f"https://{host}{path}{query}"
    body = dice.choice([b"", b"{}", dice.randbytes(dice.randint(1, 400)), '{"é":"☃"}'.encode()])
    credentials = Credentials(
        "AK" + word(14, 18).upper(), word(40, 40, string.ascii_letters + "+/"), dice.choice([None, word(20, 300) + "=="])
    )
    region = dice.choice(["us-east-1", "eu-central-1", "cn-north-1"])
    service = dice.choice(["appsync", "execute-api", "es"])
    # HTTP/1.1 includes the port in Host unless it is the default port.
    request = AWSRequest(method=dice.choice(["GET", "POST", "PUT", "DELETE", "PATCH"]), url=url, data=body, headers={"Host": host})
    for _ in range(dice.randint(0, 4)):
        value = dice.choice([word(), f"  {word()}   {word()} ", f"{word()}\t{word()}", "a, b;c", "", "é"])
        # Some names occur twice: their values are joined, in order.
        request.headers["X-" + dice.choice(["One", "Two", "Three", "Amz-Meta-A"])] = value
    if dice.random() < 0.3:
        request.headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    when = datetime(2026, dice.randint(1, 12), dice.randint(1, 28), dice.randint(0, 23), dice.randint(0, 59), dice.randint(0, 59))
    with unittest.mock.patch("botocore.auth.get_current_datetime", return_value=when):
        SigV4Auth(credentials, service, region).add_auth(request)
    headers = [[name, value] for name, value in request.headers.items()]
    # Unsigned headers, as a client or a hop may add them.
    headers += [["User-Agent", "self-test"], ["content-length", str(len(body))]][: dice.randint(0, 2)]
    dice.shuffle(headers) if len({name.lower() for name, _ in headers}) == len(headers) else None
    return {
        "id": number, "method": request.method, "url": url, "headers": headers,
        "body_b64": base64.b64encode(body).decode(), "access_key": credentials.access_key,
        "secret_key": credentials.secret_key, "token": credentials.token, "region": region, "service": service,
    }


def alterations(dice, seen):
    """Yields the request with one change each; every change must be detected."""

    def headers(change):
        return [[name, change(name.lower(), value)] for name, value in seen["headers"]]

    def in_header(wanted, change):
        return headers(lambda name, value: change(value) if name == wanted else value)

    body = base64.b64decode(seen["body_b64"])
    before, _, query = seen["url"].partition("?")
    more = "&zz=1" if query else "?zz=1"
    root = before + "/" if not urlsplit(before).path else before
    yield "method", {**seen, "method": "HEAD"}
    yield "path", {**seen, "url": root + "x" + seen["url"][len(before):]}
    yield "query", {**seen, "url": seen["url"] + more}
    yield "body", {**seen, "body_b64": base64.b64encode(body + b" ").decode()}
    yield "secret", {**seen, "secret_key": seen["secret_key"][:-1] + "-"}
    yield "access key", {**seen, "access_key": "AKOTHER"}
    yield "region", {**seen, "region": "ap-south-1"}
    yield "service", {**seen, "service": "s3"}
    yield "token", {**seen, "token": (seen["token"] or "") + "x"}
    yield "host", {**seen, "headers": in_header("host", lambda value: value + ".")}
    yield "date", {**seen, "headers": in_header("x-amz-date", lambda value: value[:-2] + ("1" if value[-2] != "1" else "2") + "Z")}
    yield "day", {**seen, "headers": in_header("x-amz-date", lambda value: "2025" + value[4:])}
    digit = dice.randrange(64)

    def flip(value):
        at = len(value) - 64 + digit
        return value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]

    yield "signature", {**seen, "headers": in_header("authorization", flip)}
    yield "a signed header dropped", {**seen, "headers": [each for each in seen["headers"] if each[0].lower() != "host"]}
    yield "SignedHeaders shortened", {
        **seen, "headers": in_header("authorization", lambda value: value.replace("SignedHeaders=host;", "SignedHeaders="))
    }
    yield "unsigned", {**seen, "headers": [each for each in seen["headers"] if each[0] != "Authorization"]}
    if any(name.startswith("X-One") for name, _ in seen["headers"]):
        yield "a signed value", {**seen, "headers": in_header("x-one", lambda value: value + "x")}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--self-test"]:
        self_test(int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**9))
    if len(sys.argv) > 1:
        sys.exit("usage: python botocore_verify.py [--self-test [SEED]] < requests.jsonl")
    main()
