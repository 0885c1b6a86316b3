"""Checks the emulator's API Gateway, with requests that botocore signed, that are sent byte for byte, and that
are altered here.

usage: python honest_gateway.py ADDRESS REGION CA_FILE CONTROL_URL REST HTTP WEBSOCKET ANALYZER
  ADDRESS      127.0.0.1:PORT  the emulator, with TLS
  REGION       the region it expects in credential scopes
  CA_FILE      the certificate authority of its certificate
  CONTROL_URL  its control listener
               (it treats api.example.com as an API of eu-west-1)
  the others   the names of its REST, HTTP and WebSocket API, and of IoT Wireless
Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.

Accepted requests are compared with the sent bytes and with the canonical request that botocore signed.
"""

import asyncio
import base64
import contextlib
import datetime
import gzip
import hashlib
import http.client
import itertools
import json
import re
import socket
import sys
from urllib.parse import parse_qsl, quote, urlsplit

import websockets
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import signed
from check import Checks, Control, equal, require, within

MISMATCH = r"^The request signature we calculated does not match the signature you provided\. Check your AWS Secret Access Key and signing method\. Consult the service documentation for details\.\n\nThe Canonical String for this request should have been\n'(?s:.*)'\n\nThe String-to-Sign should have been\n'AWS4-HMAC-SHA256\n(?s:.*)'\n$"
EXPIRED = r"^Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 5 min\.\)$"
AHEAD = r"^Signature not yet current: \d{8}T\d{6}Z is still later than \d{8}T\d{6}Z \(\d{8}T\d{6}Z \+ 5 min\.\)$"
INVALID = "InvalidSignatureException"
INCOMPLETE = "IncompleteSignatureException"
UNRECOGNIZED = "UnrecognizedClientException"
BYTES = bytes(range(256))


class AsDocumented(SigV4Auth):
    """botocore, but with path and query as the IAM guide describes them.

    botocore itself normalises paths, and sorts queries without decoding them.
    """

    def _normalize_url_path(self, path):
        return quote(path or "/", safe="/~")

    def canonical_query_string(self, request):
        # Bytes that are not UTF-8 must stay unchanged.
        odd = {"errors": "surrogateescape"}
        pairs = parse_qsl(urlsplit(request.url).query, keep_blank_values=True, **odd)
        strict = [(quote(name, safe="~", **odd), quote(value, safe="~", **odd)) for name, value in pairs]
        return "&".join(f"{name}={value}" for name, value in sorted(strict))


class Gateway:
    """Signs for the emulator's hosts, and sends the signed request or an altered one."""

    def __init__(self, address, region, ca_file, credentials):
        name, _, port = address.rpartition(":")
        self.address = (name, int(port))
        self.region = region
        self.context = signed.trust(ca_file)
        self.credentials = credentials

    def sign(self, host, method, target, headers=(), body=b"", by=None, signer=SigV4Auth, when=None, **scope):
        """Returns a signed request (`[method, target, headers, body]`) and its canonical request."""
        scope = {"service": "execute-api", "region": self.region, **scope}
        request = AWSRequest(method=method, url=f"https://{host}{target}", data=body)
        request.headers["Host"] = host
        for name, value in headers:
            request.headers.add_header(name, value)
        auth = signer(by or self.credentials, scope["service"], scope["region"])
        with signed._clock(when):
            auth.add_auth(request)
        canonical = auth.canonical_request(_without_authorization(request))
        return [method, target, request.headers.items(), body], canonical

    def presign(self, host, target, expires=60, by=None, when=None, headers=(), **scope):
        """Returns the target with the signature in its query."""
        scope = {"service": "execute-api", "region": self.region, **scope}
        request = AWSRequest(method="GET", url=f"https://{host}{target}")
        request.headers["Host"] = host
        for name, value in headers:
            request.headers.add_header(name, value)
        with signed._clock(when):
            SigV4QueryAuth(by or self.credentials, scope["service"], scope["region"], expires).add_auth(request)
        parts = urlsplit(request.url)
        return f"{parts.path}?{parts.query}"

    async def send(self, method, target, headers, body=b"", server_name=None):
        return await asyncio.to_thread(self._send, method, target, headers, body, server_name)

    def _send(self, method, target, headers, body, server_name):
        host = dict((name.lower(), value) for name, value in headers)["host"]
        raw = target if isinstance(target, bytes) else target.encode()
        head = method.encode() + b" " + raw + b" HTTP/1.1\r\n"
        for name, value in headers:
            head += f"{name}: {value}\r\n".encode()
        if body:
            head += f"Content-Length: {len(body)}\r\n".encode()
        head += b"\r\n"
        with contextlib.closing(socket.create_connection(self.address, timeout=10)) as plain:
            stream = self.context.wrap_socket(plain, server_hostname=server_name or host.split(":")[0])
            with contextlib.closing(stream):
                stream.sendall(head + body)
                response = http.client.HTTPResponse(stream, method=method)
                response.begin()
                return signed.Answer(response.status, response.headers, response.read())

    async def exchange(self, host, raw, count):
        """Sends exactly these bytes, and reads `count` responses on one connection."""
        return await asyncio.to_thread(self._exchange, host, raw, count)

    def _exchange(self, host, raw, count):
        with contextlib.closing(socket.create_connection(self.address, timeout=10)) as plain:
            with contextlib.closing(self.context.wrap_socket(plain, server_hostname=host)) as stream:
                stream.sendall(raw)
                # One buffer for all responses.
                shared = stream.makefile("rb")
                answers = []
                for _ in range(count):
                    response = http.client.HTTPResponse(stream)
                    response.fp.close()
                    response.fp = _Unclosed(shared)
                    response.begin()
                    answers.append(signed.Answer(response.status, response.headers, response.read()))
                return answers

    def dial(self, host, target, headers=(), **more):
        return websockets.connect(
            f"wss://{host}{target}",
            host=self.address[0],
            port=self.address[1],
            ssl=self.context,
            additional_headers=[each for each in headers if each[0].lower() != "host"],
            open_timeout=10,
            proxy=None,
            compression=None,
            **more,
        )


class _Unclosed:
    """A file that stays open after a response has been read from it."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def close(self):
        pass


def _without_authorization(request):
    """Returns the request as botocore had it before it signed."""
    copy = AWSRequest(method=request.method, url=request.url, data=request.body)
    for name, value in request.headers.items():
        if name.lower() not in ("authorization", "x-amz-signature"):
            copy.headers.add_header(name, value)
    return copy


async def main(address, region, ca_file, control, rest, http_api, websocket, analyzer):
    checks = Checks(140)
    credentials = signed.credentials_from_environment()
    require(credentials.token, "AWS_SESSION_TOKEN is not set")
    gateway = Gateway(address, region, ca_file, credentials)
    control = Control(control)
    await accepted_checks(checks, gateway, rest, http_api)
    await refused_checks(checks, gateway, control, rest, http_api)
    await integration_checks(checks, gateway, rest)
    await wire_checks(checks, gateway, rest)
    await service_checks(checks, gateway)
    await websocket_checks(checks, gateway, control, websocket)
    await analyzer_checks(checks, gateway, control, analyzer)
    await statistics_check(checks, control)
    checks.finish()


# --- requests that must be accepted, and echoed as they were sent ---


def matrix():
    """Yields (name, method, target, headers, body, signer): every shape once, and some pairs of them."""
    paths = [
        "/prod", "/prod/", "/prod/items/7", "/prod/a%20b", "/prod/a%2Fb", "/prod/a%2fb", "/prod/~user",
        "/prod/%7Euser", "/prod/a+b", "/prod/a:b", "/prod/a=b;c,d", "/prod/%C3%A9", "/prod/@name", "/prod/(x)'!*$",
        "/prod/arn%3Aaws%3Aiam", "/prod/%25", "/" + "a" * 128 + "/x", "/prod/" + "seg/" * 200,
    ]
    queries = [
        "a=1", "b=2&a=1", "a=2&a=1", "a=", "a=%20", "a=%2B", "a=%3D%3D", "%C3%A9=%E1%88%B4", "A=0&a-b=1&a=1",
        "x=%2F%3F", "list%5B%5D=1&list%5B%5D=2", "q=" + "y" * 2000, "a=%00%01", "Z=1&a=1&_=1&~=1",
    ]
    raw_paths = ["/prod//a", "/prod/./a", "/prod/x/../a", "/prod/é", '/prod/"q"', "/prod/<t>", "/prod/a|b", "/prod/{id}", "/prod/a\\b", "/prod/^`", "/prod/a;b=c", "/prod/[1]"]
    raw_queries = ["flag", "a=1+2", "a=b=c", "a=%2f", "&&a=1&", "=v", "a=é", "a=~!*'()", "a=/?:@", "a=%FF%FE", 'a="<>"', "a=[1]"]
    headers = [
        [("x-api-key", "k")],
        [("X-Amz-Meta", "v"), ("x-amz-a", "w")],
        [("Content-Type", "text/plain; charset=utf-8")],
        [("x-team", "a   b"), ("Accept", "*/*")],
        [("x-many", "2"), ("x-many", "1"), ("X-Many", "3")],
        [("x-empty", "")],
        [("Cookie", "a=b; c=d"), ("x-quoted", '"a, b"')],
        [("x-amz-content-sha256", hashlib.sha256(b"").hexdigest())],
    ]
    bodies = [
        ("POST", b"{}"), ("PUT", BYTES), ("PATCH", "é".encode()), ("DELETE", b""), ("OPTIONS", b""),
        ("POST", b"x" * 100_000), ("POST", b"\r\n\r\n0\r\n\r\n"), ("QUERY", b"q"),
    ]
    for path in paths:
        yield f"path {path[:30]}", "GET", path, [], b"", SigV4Auth
    for query in queries:
        yield f"query {query[:30]}", "GET", f"/prod/q?{query}", [], b"", SigV4Auth
    for path in raw_paths:
        yield f"raw path {path}", "GET", path, [], b"", AsDocumented
    for query in raw_queries:
        yield f"raw query {query}", "GET", f"/prod/q?{query}", [], b"", AsDocumented
    for each in headers:
        yield f"header {each[0][0]}", "GET", "/prod/h", each, b"", SigV4Auth
    for method, body in bodies:
        yield f"{method} of {len(body)} bytes", method, "/prod/b", [], body, SigV4Auth
    mixed = itertools.product(paths[3:6], queries[1:3], headers[1:2], bodies[:1])
    for path, query, each, (method, body) in mixed:
        yield f"all of {path}?{query}", method, f"{path}?{query}", each, body, SigV4Auth


async def accepted_checks(checks, gateway, rest, http_api):
    for name, method, target, headers, body, signer in matrix():
        for host in (rest, http_api) if method == "POST" else (rest,):

            async def echoed(host=host, method=method, target=target, headers=headers, body=body, signer=signer):
                sent, canonical = gateway.sign(host, method, target, headers, body, signer=signer)
                compare(await gateway.send(*sent), sent, canonical)

            await checks.check(f"accepted: {'HTTP API: ' if host == http_api else ''}{name}", echoed)

    async def presigned(target, headers=()):
        signed_target = gateway.presign(rest, target, headers=headers)
        answer = await gateway.send("GET", signed_target, [("Host", rest), *headers])
        equal(answer.status, 200, repr(answer))
        equal(answer.json()["target"], signed_target, "target")
        require(answer.json()["presigned"], "not seen as presigned")

    await checks.check("accepted: presigned", lambda: presigned("/prod/p"))
    await checks.check("accepted: presigned, with a query", lambda: presigned("/prod/p?b=%20&a=1"))
    await checks.check("accepted: presigned, with a header", lambda: presigned("/prod/p", [("x-team", "a")]))

    async def sent_otherwise(change, **more):
        sent, _ = gateway.sign(rest, "GET", "/prod/o?b=2&a=1", **more)
        answer = await gateway.send(*change(*sent))
        equal(answer.status, 200, repr(answer))

    await checks.check(
        "accepted: another order of the query",
        lambda: sent_otherwise(lambda method, _, *rest_: [method, "/prod/o?a=1&b=2", *rest_]),
    )
    await checks.check(
        "accepted: the query escaped in another way",
        lambda: sent_otherwise(lambda method, _, *rest_: [method, "/prod/o?%62=2&a=%31", *rest_]),
    )
    await checks.check(
        "accepted: another order and case of the headers",
        lambda: sent_otherwise(
            lambda method, target, headers, body: [method, target, [(name.upper(), value) for name, value in headers[::-1]], body]
        ),
    )
    await checks.check(
        "accepted: a header that was not signed",
        lambda: sent_otherwise(lambda method, target, headers, body: [method, target, [*headers, ("User-Agent", "x")], body]),
    )
    for minutes in (-4, 4):
        when = now() + datetime.timedelta(minutes=minutes)
        await checks.check(
            f"accepted: a date {minutes} minutes off",
            lambda when=when: sent_otherwise(lambda *sent: sent, when=when),
        )


def compare(answer, sent, canonical):
    method, target, headers, body = sent
    equal(answer.status, 200, repr(answer))
    echo = answer.json()
    equal(echo["method"], method, "method")
    equal(base64.b64decode(echo["target_base64"]), target.encode(), "target")
    received = [tuple(each) for each in echo["headers"] if each[0].lower() != "content-length"]
    equal(received, [(name, value) for name, value in headers], "headers")
    equal(echo["body_length"], len(body), "length")
    equal(echo["body_sha256"], hashlib.sha256(body).hexdigest(), "hash of the body")
    if len(body) <= 65536:
        equal(base64.b64decode(echo["body_base64"]), body, "body")
    equal(echo["canonical_request"], canonical, "canonical request")
    head = base64.b64decode(echo["raw_head_base64"])
    require(head.startswith(f"{method} {target} HTTP/1.1\r\n".encode()), "raw head")


# --- requests that must be rejected, and the messages ---


async def refused_checks(checks, gateway, control, rest, http_api):
    body = b'{"n":1}'
    headers = [("x-team", "red"), ("Content-Type", "application/json")]

    def sign(target="/prod/items?b=2&a=1", **more):
        sent, _ = gateway.sign(rest, "POST", target, headers, body, **more)
        return sent

    async def refused(name, kind, message, send_it):
        async def tried():
            answer = await send_it()
            equal((answer.status, answer.headers.get("x-amzn-errortype")), (403, kind), repr(answer))
            equal(answer.headers["content-type"], "application/json", "content-type")
            require(answer.headers.get("x-amzn-requestid"), "no request id")
            require(re.search(message, answer.json()["message"]), repr(answer.json()["message"]))

        await checks.check(f"refused: {name}", tried)

    async def altered(name, change, kind=INVALID, message=MISMATCH, **more):
        """`change` maps the signed method, target, headers (a dict) and body to those that are sent."""

        async def send_it():
            method, target, headers, sent_body = sign(**more)
            method, target, headers, sent_body = change(method, target, dict(headers), sent_body)
            return await gateway.send(method, target, list(headers.items()), sent_body)

        await refused(name, kind, message, send_it)

    def header(name, value):
        return lambda m, t, h, b: [m, t, {**less(h, name), name: value}, b]

    def authorization(old, new):
        def change(m, t, h, b):
            require(re.search(old, h["Authorization"]), f"no {old}")
            return [m, t, {**h, "Authorization": re.sub(old, new, h["Authorization"], count=1)}, b]

        return change

    await altered("method", lambda m, t, h, b: ["PUT", t, h, b])
    await altered("one byte of the path", lambda m, t, h, b: [m, t.replace("items", "itemz"), h, b])
    await altered("a slash more in the path", lambda m, t, h, b: [m, t.replace("/items", "//items"), h, b])
    await altered("a slash behind the path", lambda m, t, h, b: [m, t.replace("?", "/?"), h, b])
    await altered("an escape in the path where there was none", lambda m, t, h, b: [m, t.replace("items", "%69tems"), h, b])
    await altered(
        "an escape in the path decoded",
        lambda m, t, h, b: [m, t.replace("%40", "@"), h, b],
        target="/prod/%40x",
    )
    await altered(
        "an escape in the path in lower case",
        lambda m, t, h, b: [m, t.replace("%2F", "%2f"), h, b],
        target="/prod/a%2Fb",
    )
    await altered("a value of the query", lambda m, t, h, b: [m, t.replace("a=1", "a=2"), h, b])
    await altered("a name of the query in another case", lambda m, t, h, b: [m, t.replace("a=1", "A=1"), h, b])
    await altered("a parameter more", lambda m, t, h, b: [m, t + "&c=3", h, b])
    await altered("a parameter less", lambda m, t, h, b: [m, t.replace("&a=1", ""), h, b])
    await altered("a signed header", header("x-team", "blue"))
    await altered("a signed header in another case", header("x-team", "Red"))
    await altered("the content type", header("Content-Type", "text/plain"))
    await altered("one byte of the body", lambda m, t, h, b: [m, t, h, b.replace(b"1", b"2")])
    await altered("a space more in the body", lambda m, t, h, b: [m, t, h, b + b" "])
    await altered("no body", lambda m, t, h, b: [m, t, h, b""])
    await altered("a second", header("X-Amz-Date", stamp(now() + datetime.timedelta(seconds=9))))
    await altered("the signature's last digit", authorization(r"(.)$", lambda found: "0" if found[1] != "0" else "1"))
    await altered("the signature in upper case", authorization(r"Signature=.*", lambda found: "Signature=" + found[0][10:].upper()))
    await altered("the order of SignedHeaders", authorization("content-type;host", "host;content-type"))
    await altered("a SignedHeader less", authorization(";x-team", ""))
    await altered(
        "an unsigned payload", header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), INVALID, r"'x-amz-content-sha256' must be a 'SignedHeader'"
    )
    await altered("a header x-amz- that was not signed", header("x-amz-meta", "1"), INVALID, r"^'x-amz-meta' must be a 'SignedHeader'")
    await altered("the token less", lambda m, t, h, b: [m, t, less(h, "X-Amz-Security-Token"), b], INCOMPLETE, r"^'x-amz-security-token' is named as a SignedHeader")
    await altered("one byte of the token", header("X-Amz-Security-Token", gateway.credentials.token[:-1] + "A"), UNRECOGNIZED, r"^The security token included in the request is invalid\.$")
    await altered("the key id", authorization("Credential=AKID", "Credential=AKIX"), UNRECOGNIZED, r"^The security token included in the request is invalid\.$")
    await altered("the day of the scope", authorization(r"/\d{8}/", "/20200101/"), INVALID, r"^Date in Credential scope does not match YYYYMMDD")
    await altered("no host signed", authorization("host;", ""), INVALID, r"^'Host' or ':authority' must be a 'SignedHeader'")
    await altered("no date", lambda m, t, h, b: [m, t, less(h, "X-Amz-Date"), b], INCOMPLETE, r"requires existence of either a 'X-Amz-Date' or a 'Date' header")
    await altered("no signature", authorization(r", Signature=.*", ""), INCOMPLETE, r"^Authorization header requires 'Signature' parameter\. Authorization=")
    await altered("a short credential", authorization("/aws4_request", ""), INCOMPLETE, r"^Credential must have exactly 5 slash-delimited elements")
    await altered("Bearer", header("Authorization", "Bearer abc.def"), INCOMPLETE, r"^'abc\.def' not a valid key=value pair \(missing equal-sign\)")
    await altered("a query that is signed, too", lambda m, t, h, b: [m, t + "&X-Amz-Signature=00", h, b], INVALID, r"^Found both 'X-Amz-Algorithm' as a query-string param")
    await altered("unsigned", lambda m, t, h, b: [m, t, less(h, "Authorization"), b], "MissingAuthenticationTokenException", r"^Missing Authentication Token$")

    for name, kind, message, more in [
        ("another region", INVALID, r"^Credential should be scoped to a valid region\.", {"region": another(gateway.region)}),
        ("another service", INVALID, r"^Credential should be scoped to correct service: 'execute-api'\.", {"service": "appsync"}),
        ("a stale date", INVALID, EXPIRED, {"when": now() - datetime.timedelta(minutes=5, seconds=30)}),
        ("a date ahead", INVALID, AHEAD, {"when": now() + datetime.timedelta(minutes=5, seconds=30)}),
        ("a wrong secret", INVALID, MISMATCH, {"by": Credentials(gateway.credentials.access_key, "no", gateway.credentials.token)}),
        ("no token", UNRECOGNIZED, r"^The security token included in the request is invalid\.$", {"by": Credentials(gateway.credentials.access_key, gateway.credentials.secret_key)}),
    ]:
        await refused(name, kind, message, lambda more=more: gateway.send(*sign(**more)))

    unsigned = [("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]
    await refused(
        "a payload that is not signed", INVALID, MISMATCH,
        lambda: gateway.send(*gateway.sign(rest, "POST", "/prod", unsigned, body)[0]),
    )  # fmt: skip

    async def single_encoded():
        """The path encoded once, as for S3: execute-api requires it twice."""

        class Once(AsDocumented):
            def _normalize_url_path(self, path):
                return path

        sent, _ = gateway.sign(rest, "GET", "/prod/a%20b", signer=Once)
        return await gateway.send(*sent)

    await refused("a path encoded once", INVALID, MISMATCH, single_encoded)

    async def another_host():
        sent, _ = gateway.sign("other.execute-api.us-east-1.amazonaws.com", "GET", "/prod")
        headers = {**dict(sent[2]), "Host": rest}
        return await gateway.send("GET", "/prod", list(headers.items()))

    await refused("signed for another host", INVALID, MISMATCH, another_host)

    async def unknown_host():
        host = rest.replace(rest.split(".")[0], "nobody")
        sent, _ = gateway.sign(host, "GET", "/prod")
        return await gateway.send(*sent, server_name=rest)

    await refused("a host without an API", "ForbiddenException", r"^Forbidden$", unknown_host)
    sign_root = lambda: gateway.sign(rest, "GET", "/")[0]
    await refused("no stage", "ForbiddenException", r"^Forbidden$", lambda: gateway.send(*sign_root()))

    async def told():
        """The canonical string contains the request as the server read it, which shows the difference."""
        method, target, headers, sent_body = sign()
        answer = await gateway.send(method, target.replace("items", "it%20ms"), headers, sent_body)
        message = answer.json()["message"]
        require("should have been\n'POST\n/prod/it%2520ms\na=1&b=2\ncontent-type:application/json\nhost:" in message, message)
        require(f"x-amz-security-token:{gateway.credentials.token}\n" in message, "the token is echoed by AWS")

    await checks.check("refused: the text has the canonical string that was calculated", told)

    async def withheld():
        sent, _ = gateway.sign(http_api, "GET", "/x")
        answer = await gateway.send("GET", "/y", sent[2])
        equal((answer.status, answer.json()), (403, {"message": "Forbidden"}), repr(answer))
        require(answer.headers.get("apigw-requestid"), "no request id")

    await checks.check("refused: HTTP APIs give no reason", withheld)

    for query in ("a=%zz", "a=%2"):

        async def malformed(query=query):
            sent, _ = gateway.sign(rest, "GET", f"/prod?{query}")
            equal((await gateway.send(*sent)).status, 400, "status")

        await checks.check(f"refused: a query with {query}", malformed)
    for query in ("a=|", "a={b}"):

        async def unsupported(query=query):
            sent, _ = gateway.sign(rest, "GET", f"/prod?{query}", signer=AsDocumented)
            equal((await gateway.send(*sent)).status, 400, "status")
            sent, _ = gateway.sign(http_api, "GET", f"/prod?{query}", signer=AsDocumented)
            equal((await gateway.send(*sent)).status, 200, "status of the HTTP API")

        await checks.check(f"refused: a query with {query} by REST APIs", unsupported)

    async def semicolon():
        """REST APIs split a query at a semicolon, so they reject a signature over the unsplit query."""
        sent, _ = gateway.sign(rest, "GET", "/prod?b=1;a=2", signer=AsDocumented)
        answer = await gateway.send(*sent)
        equal((answer.status, answer.headers["x-amzn-errortype"]), (403, INVALID), repr(answer))
        require("\na=2&b=1\n" in answer.json()["message"], answer.json()["message"])
        sent, _ = gateway.sign(http_api, "GET", "/prod?b=1;a=2", signer=AsDocumented)
        equal((await gateway.send(*sent)).status, 200, "status of the HTTP API")

    await checks.check("refused: a query with a semicolon by REST APIs", semicolon)

    for name, change, kind, message in [
        ("one byte of the path", lambda t: t.replace("/p?", "/q?"), INVALID, MISMATCH),
        ("a parameter more", lambda t: t + "&a=1", INVALID, MISMATCH),
        ("more time", lambda t: t.replace("Expires=60", "Expires=61"), INVALID, MISMATCH),
        ("the signature less", lambda t: re.sub(r"&X-Amz-Signature=\w+", "", t), INCOMPLETE, r"^AWS query-string parameters must include 'X-Amz-Signature'\. Re-examine the query-string parameters\.$"),
        ("the token less", lambda t: re.sub(r"&X-Amz-Security-Token=[^&]+", "", t), UNRECOGNIZED, r"^The security token included in the request is invalid\.$"),
    ]:
        await refused(
            f"presigned: {name}",
            kind,
            message,
            lambda change=change: gateway.send("GET", change(gateway.presign(rest, "/prod/p")), [("Host", rest)]),
        )
    stale = now() - datetime.timedelta(seconds=90)
    await refused(
        "presigned: expired",
        INVALID,
        r"^Signature expired: \w+ is now earlier than \w+ \(\w+ - 1 min\.\)$",
        lambda: gateway.send("GET", gateway.presign(rest, "/prod/p", when=stale), [("Host", rest)]),
    )
    appended = lambda: (
        gateway.presign(rest, "/prod/p", by=Credentials(gateway.credentials.access_key, gateway.credentials.secret_key))
        + f"&X-Amz-Security-Token={quote(gateway.credentials.token, safe='')}"
    )
    await refused("presigned: the token appended", INVALID, MISMATCH, lambda: gateway.send("GET", appended(), [("Host", rest)]))

    async def expired_keys():
        await control.switch(expire_keys=True)
        try:
            answer = await gateway.send(*sign())
        finally:
            await control.switch(expire_keys=False)
        equal((answer.status, answer.headers["x-amzn-errortype"]), (403, "ExpiredTokenException"), repr(answer))
        equal(answer.json()["message"], "The security token included in the request is expired", "message")

    await checks.check("refused: expired keys", expired_keys)

    async def normalized():
        """With the switch, paths are normalised as the IAM guide describes and as botocore signs them."""
        sent, _ = gateway.sign(rest, "GET", "/prod//x/./y/../z/")
        equal((await gateway.send(*sent)).status, 403, "as it came")
        await control.switch(normalize_paths=True)
        try:
            answer = await gateway.send(*sent)
        finally:
            await control.switch(normalize_paths=False)
        equal(answer.status, 200, repr(answer))
        equal(answer.json()["target"], "/prod//x/./y/../z/", "target")
        require("\n/prod/x/z/\n" in answer.json()["canonical_request"], "canonical request")

    await checks.check("switch: paths are normalised before they are verified", normalized)


# --- responses of integrations ---


async def integration_checks(checks, gateway, rest):
    async def ask(target, method="GET", body=b""):
        sent, _ = gateway.sign(rest, method, target, body=body)
        return await gateway.send(*sent)

    async def statuses():
        for status in (200, 201, 204, 302, 304, 404, 429, 500, 503):
            answer = await ask(f"/prod/status/{status}")
            equal(answer.status, status, "status")
            require(answer.headers.get("x-amzn-requestid"), "no request id")

    async def streams():
        answer = await ask("/prod/stream?chunks=3&every=1")
        equal(answer.body, b"chunk 1\nchunk 2\nchunk 3\n", "chunks")
        equal(answer.headers["transfer-encoding"], "chunked", "framing")

    async def events():
        answer = await ask("/prod/sse?events=2")
        equal(answer.headers["content-type"], "text/event-stream", "content-type")
        equal(answer.body, b'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\n', "events")

    async def cut():
        try:
            await ask("/prod/cut?chunks=1")
        except http.client.IncompleteRead as error:
            equal(error.partial, b"chunk 1\n", "chunks")
        else:
            raise AssertionError("the answer was whole")

    async def compressed():
        answer = await ask("/prod/gzip")
        equal(answer.headers["content-encoding"], "gzip", "content-encoding")
        equal(json.loads(gzip.decompress(answer.body)), {"compressed": True}, "body")

    async def sink():
        body = BYTES * 40_960
        answer = await ask("/prod/sink", "POST", body)
        equal(answer.json(), {"length": 10_485_760, "sha256": hashlib.sha256(body).hexdigest()}, "body")

    async def too_large():
        sent, _ = gateway.sign(rest, "POST", "/prod/sink")
        answer = await gateway.send(*sent[:2], [*sent[2], ("Content-Length", "10485761")])
        equal((answer.status, answer.json()), (413, {"message": "Request Too Long"}), repr(answer))

    async def head():
        answer = await ask("/prod/sse?events=2", "HEAD")
        equal((answer.status, answer.body), (200, b""), repr(answer))
        answer = await ask("/prod/x", "HEAD")
        require(int(answer.headers["content-length"]) > 100, "content-length of the echo")

    for name, body in [
        ("statuses", statuses), ("streamed chunks", streams), ("server-sent events", events), ("a cut", cut),
        ("gzip", compressed), ("ten megabytes", sink), ("a byte more", too_large), ("HEAD", head),
    ]:  # fmt: skip
        await checks.check(f"integration: {name}", body)


async def wire_checks(checks, gateway, rest):
    """Requests that an HTTP library between the socket and the verification would change or reject."""

    def sent(method="GET", target="/prod/w", body=b"", **more):
        return gateway.sign(rest, method, target, body=body, **more)[0]

    def head(method, target, headers):
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join(lines).encode() + b"\r\n"

    async def absolute():
        method, target, headers, body = sent()
        answer = await gateway.send(method, f"https://{rest}{target}", headers, body)
        equal((answer.status, answer.json()["target"]), (200, f"https://{rest}/prod/w"), repr(answer))

    async def chunked():
        method, target, headers, body = sent("POST", "/prod/sink", b"hello world")
        raw = head(method, target, [*headers, ("Transfer-Encoding", "chunked")]) + b"\r\n"
        [answer] = await gateway.exchange(rest, raw + b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx: y\r\n\r\n", 1)
        equal(answer.json()["length"], 11, "length")

    async def expecting():
        method, target, headers, body = sent("POST", "/prod/sink", b"x")
        raw = head(method, target, [*headers, ("Expect", "100-continue"), ("Content-Length", "1")])
        [answer] = await gateway.exchange(rest, raw + b"\r\nx", 1)
        equal(answer.json()["length"], 1, "length")

    async def pipelined():
        raw = b"".join(head(*sent(target=f"/prod/{n}")[:3]) + b"\r\n" for n in range(3))
        answers = await gateway.exchange(rest, raw, 3)
        equal([answer.json()["target"] for answer in answers], ["/prod/0", "/prod/1", "/prod/2"], "targets")

    async def continued():
        """A folded value counts as one value with spaces."""
        method, target, headers, _ = gateway.sign(rest, "GET", "/prod/w", [("x-team", "a b")])[0]
        raw = head(method, target, headers).replace(b"x-team: a b", b"x-team: a\r\n\t b")
        [answer] = await gateway.exchange(rest, raw + b"\r\n", 1)
        equal(answer.status, 200, repr(answer))

    for name, body in [
        ("a target in absolute form", absolute), ("a chunked body", chunked), ("Expect", expecting),
        ("three requests at once", pipelined), ("a header on several lines", continued),
    ]:  # fmt: skip
        await checks.check(f"wire: {name}", body)

    for name, change in [
        ("a space in the target", lambda raw: raw.replace(b"/prod/w", b"/prod/w w")),
        ("two hosts", lambda raw: raw + b"host: x\r\n"),
        ("two lengths", lambda raw: raw + b"content-length: 0\r\ncontent-length: 0\r\n"),
        ("length and chunks", lambda raw: raw + b"content-length: 0\r\ntransfer-encoding: chunked\r\n"),
        ("HTTP/1.0", lambda raw: raw.replace(b"HTTP/1.1", b"HTTP/1.0")),
    ]:

        async def bad(change=change):
            raw = change(head(*sent()[:3]))
            [answer] = await gateway.exchange(rest, raw + b"\r\n", 1)
            equal(answer.status, 400, repr(answer))

        await checks.check(f"wire: refused: {name}", bad)


async def service_checks(checks, gateway):
    region = gateway.region
    unsigned = [("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]
    for host, service, headers, *scope in [
        ("api.example.com", "execute-api", [], another(region)),
        (f"search-x.{region}.es.amazonaws.com", "es", []),
        (f"x.{region}.aoss.amazonaws.com", "aoss", [("x-amz-content-sha256", hashlib.sha256(b"{}").hexdigest())]),
        (f"x.lambda-url.{region}.on.aws", "lambda", []),
        (f"x.vpc-lattice-svcs.{region}.on.aws", "vpc-lattice-svcs", unsigned),
        (f"aps-workspaces.{region}.amazonaws.com", "aps", []),
    ]:

        async def echoed(host=host, service=service, headers=headers, scope=scope):
            where = {"region": scope[0] if scope else region}
            sent, canonical = gateway.sign(host, "POST", "/any/a%20b?x=1", headers, b"{}", service=service, **where)
            compare(await gateway.send(*sent), sent, canonical)
            sent, _ = gateway.sign(host, "POST", "/any", headers, b"{}", service="s3", **where)
            answer = await gateway.send(*sent)
            require(f"scoped to correct service: '{service}'" in answer.json()["message"], repr(answer))

        await checks.check(f"accepted: {service} as {host.partition('.')[0]}", echoed)

    async def stated(host, service):
        sent, _ = gateway.sign(host, "GET", "/any", service=service)
        equal((await gateway.send(*sent)).status, 403, "status without x-amz-content-sha256")

    await checks.check("refused: aoss without a stated hash", lambda: stated(f"x.{region}.aoss.amazonaws.com", "aoss"))


# --- WebSocket API ---


async def websocket_checks(checks, gateway, control, host):
    def by_headers(target="/prod", **more):
        sent, _ = gateway.sign(host, "GET", target, **more)
        return gateway.dial(host, target, sent[2])

    async def echoes(connection):
        async with connection as socket:
            for text in ("hello", '{"no":"action"}', '{"action":"echo","n":1}', "é" * 20_000):
                await socket.send(text if len(text) < 10_000 else [text[at : at + 8_000] for at in range(0, len(text), 8_000)])
                equal(await within(socket.recv(), "the echo"), text, "echo")

    await checks.check("websocket: by headers", lambda: echoes(by_headers()))
    await checks.check("websocket: by headers, with a query", lambda: echoes(by_headers("/prod?b=%20&a=1")))
    await checks.check(
        "websocket: by presigned query", lambda: echoes(gateway.dial(host, gateway.presign(host, "/prod?a=1")))
    )

    async def told():
        async with by_headers("/prod?a=1") as socket:
            await socket.send('{"action":"info"}')
            info = json.loads(await within(socket.recv(), "info"))
            equal(info["handshake"]["target"], "/prod?a=1", "target")
            names = [name.lower() for name, _ in info["handshake"]["headers"]]
            require("sec-websocket-key" in names and "authorization" in names, names)
            state = await control.until("the connection", lambda state: info["connectionId"] in state["gateway"]["connections"])
            require(state["gateway"]["connections_total"] > 0, state)
        await control.until("its end", lambda state: info["connectionId"] not in state["gateway"]["connections"])

    await checks.check("websocket: the handshake is echoed", told)

    async def unknown_route():
        async with by_headers() as socket:
            await socket.send('{"action":"nothing"}')
            answer = json.loads(await within(socket.recv(), "an answer"))
            equal((sorted(answer), answer["message"]), (["connectionId", "message", "requestId"], "Forbidden"), "answer")

    await checks.check("websocket: an unknown route", unknown_route)

    async def closes(code, send):
        async with by_headers() as socket:
            await send(socket)
            with contextlib.suppress(websockets.ConnectionClosed):
                await within(socket.recv(), "the close")
            equal(socket.close_code, code, "close code")

    part = "x" * 32_768
    await checks.check("websocket: a frame of 32 KB and a byte", lambda: closes(1009, lambda socket: socket.send(part + "x")))
    await checks.check(
        "websocket: a message of 128 KB and a byte", lambda: closes(1009, lambda socket: socket.send([part] * 4 + ["x"]))
    )
    await checks.check("websocket: a binary message", lambda: closes(1003, lambda socket: socket.send(b"x")))

    async def largest():
        async with by_headers() as socket:
            await socket.send([part] * 4)
            equal(len(await within(socket.recv(), "the echo")), 131_072, "length")

    await checks.check("websocket: a message of 128 KB", largest)

    async def subprotocols():
        for target, offered, expected in [
            ("/prod", ["a", "b"], "a"), ("/prod?subprotocol=b", ["a", "b"], "b"), ("/prod?subprotocol=none", ["a"], None),
        ]:  # fmt: skip
            sent, _ = gateway.sign(host, "GET", target)
            async with gateway.dial(host, target, sent[2], subprotocols=offered) as socket:
                equal(socket.subprotocol, expected, f"subprotocol of {target}")

    await checks.check("websocket: subprotocols", subprotocols)

    async def managed():
        async def call(method, identity, body=b""):
            target = f"/prod/%40connections/{quote(identity, safe='')}"
            sent, _ = gateway.sign(host, method, target, body=body)
            return await gateway.send(*sent)

        async with by_headers() as socket:
            await socket.send('{"action":"info"}')
            identity = json.loads(await within(socket.recv(), "info"))["connectionId"]
            equal((await call("POST", identity, b"pushed")).status, 200, "POST")
            equal(await within(socket.recv(), "the message"), "pushed", "message")
            described = await call("GET", identity)
            equal(sorted(described.json()), ["connectedAt", "identity", "lastActiveAt"], repr(described))
            target = f"/prod/@connections/{identity}"
            sent, _ = gateway.sign(host, "POST", target, body=b"raw")
            equal((await gateway.send(*sent)).status, 200, "POST to an id that is not encoded")
            equal(await within(socket.recv(), "the message"), "raw", "message")
            equal((await call("POST", identity, b"x" * 131_073)).status, 413, "POST of too much")
            equal((await call("DELETE", identity)).status, 204, "DELETE")
            with contextlib.suppress(websockets.ConnectionClosed):
                await within(socket.recv(), "the close")
            equal(socket.close_code, 1000, "close code")
        await control.until("its end", lambda state: identity not in state["gateway"]["connections"])
        for method in ("POST", "GET", "DELETE"):
            gone = await call(method, identity)
            equal((gone.status, gone.headers["x-amzn-errortype"]), (410, "GoneException"), repr(gone))

    await checks.check("websocket: @connections", managed)

    async def switched(change, code):
        async with by_headers() as socket:
            await socket.send("here")
            await within(socket.recv(), "the echo")
            await control.switch(**change)
            with contextlib.suppress(websockets.ConnectionClosed):
                await within(socket.recv(), "the end")
            equal(socket.close_code, code, "close code")

    await checks.check("websocket: closed by a switch", lambda: switched({"close_clean": 1001}, 1001))
    await checks.check("websocket: dropped by a switch", lambda: switched({"close_all": True}, 1006))

    async def refused(name, status, kind, message, connection):
        async def tried():
            try:
                async with connection():
                    raise AssertionError("the upgrade was granted")
            except websockets.InvalidStatus as error:
                response = error.response
                equal((response.status_code, response.headers.get("x-amzn-errortype")), (status, kind), repr(response))
                require(re.search(message, json.loads(response.body)["message"]), repr(response.body))

        await checks.check(f"websocket: refused: {name}", tried)

    def altered(change):
        def connection():
            sent, _ = gateway.sign(host, "GET", "/prod")
            return gateway.dial(host, "/prod", list(change(dict(sent[2])).items()))

        return connection

    await refused("unsigned", 403, "MissingAuthenticationTokenException", r"^Missing Authentication Token$", lambda: gateway.dial(host, "/prod"))
    await refused(
        "a date altered", 403, INVALID, MISMATCH,
        altered(lambda headers: {**headers, "X-Amz-Date": stamp(now() + datetime.timedelta(seconds=9))}),
    )  # fmt: skip
    await refused(
        "a wrong secret", 403, INVALID, MISMATCH,
        lambda: by_headers(by=Credentials(gateway.credentials.access_key, "no", gateway.credentials.token)),
    )  # fmt: skip
    await refused(
        "another service", 403, INVALID, r"scoped to correct service: 'execute-api'", lambda: by_headers(service="appsync")
    )
    await refused(
        "presigned, one byte altered", 403, INVALID, MISMATCH,
        lambda: gateway.dial(host, gateway.presign(host, "/prod?a=1").replace("a=1", "a=2")),
    )  # fmt: skip
    stale = now() - datetime.timedelta(minutes=6)
    await refused("presigned, expired", 403, INVALID, r"^Signature expired: ", lambda: gateway.dial(host, gateway.presign(host, "/prod", when=stale)))
    await refused("not the stage alone", 403, "ForbiddenException", r"^Forbidden$", lambda: by_headers("/prod/x"))
    await refused("by the integration", 401, None, r"^refused by the integration$", lambda: by_headers("/prod?status=401"))

    async def no_upgrade():
        sent, _ = gateway.sign(host, "GET", "/prod")
        equal((await gateway.send(*sent)).status, 426, "status")

    await checks.check("websocket: refused: no upgrade", no_upgrade)


# --- IoT Wireless ---


async def analyzer_checks(checks, gateway, control, host):
    path = "/start-network-analyzer-stream"

    def presign(target=path, **more):
        return gateway.presign(host, target, **{"service": "iotwireless", **more})

    async def packets(target, configuration="NetworkAnalyzerConfig_Default"):
        async with gateway.dial(host, target) as socket:
            for n in (1, 2, 3):
                packet = json.loads(await within(socket.recv(), "a packet"))
                equal((packet["frameCount"], packet["networkAnalyzerConfigurationName"]), (n, configuration), "packet")

    without_token = Credentials(gateway.credentials.access_key, gateway.credentials.secret_key)
    token = quote(gateway.credentials.token, safe="")
    await checks.check("analyzer: presigned", lambda: packets(presign()))
    await checks.check(
        "analyzer: presigned with a configuration", lambda: packets(presign(f"{path}?configuration-name=mine"), "mine")
    )
    await checks.check(
        "analyzer: the token appended", lambda: packets(presign(by=without_token) + f"&X-Amz-Security-Token={token}")
    )

    async def refused(name, status, message, connection):
        async def tried():
            try:
                async with connection():
                    raise AssertionError("the upgrade was granted")
            except websockets.InvalidStatus as error:
                equal(error.response.status_code, status, repr(error.response))
                require(re.search(message, json.loads(error.response.body)["message"]), repr(error.response.body))

        await checks.check(f"analyzer: refused: {name}", tried)

    stale = now() - datetime.timedelta(seconds=301)
    await refused(
        "expired", 403, r"^Signature expired: \w+ is now earlier than \w+ \(\w+ - 5 min\.\)$",
        lambda: gateway.dial(host, presign(expires=300, when=stale)),
    )  # fmt: skip
    await refused("more than five minutes", 403, r"^Forbidden$", lambda: gateway.dial(host, presign(expires=301)))
    await refused("for execute-api", 403, r"scoped to correct service: 'iotwireless'", lambda: gateway.dial(host, presign(service="execute-api")))
    await refused("a configuration altered", 403, MISMATCH, lambda: gateway.dial(host, presign(f"{path}?configuration-name=a").replace("=a&", "=b&")))
    await refused("another token", 403, r"security token included in the request is invalid", lambda: gateway.dial(host, presign(by=without_token) + "&X-Amz-Security-Token=x"))
    headers = lambda: gateway.sign(host, "GET", path, service="iotwireless")[0][2]
    await refused("signed by headers", 403, r"^Forbidden$", lambda: gateway.dial(host, path, headers()))
    await checks.check(
        "analyzer: streams are counted",
        lambda: control.until("three streams", lambda state: state["gateway"]["analyzer_streams"] == 3),
    )


async def statistics_check(checks, control):
    async def counted():
        state = (await control.state())["gateway"]
        require(state["requests"] > 150 and state["verified"] > 90, state)
        expected = {"mismatch", "expired", "not_yet_current", "scope", "signed_headers", "incomplete", "missing_token", "unrecognized_client", "expired_token", "forbidden", "bad_request", "gone", "too_large"}
        require(expected <= set(state["refused"]), state["refused"])

    await checks.check("statistics: verified, and refused by reason", counted)


# --- pieces ---


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def stamp(when):
    return when.strftime("%Y%m%dT%H%M%SZ")


def another(region):
    return "eu-west-1" if region != "eu-west-1" else "us-east-1"


def less(headers, name):
    return {each: value for each, value in headers.items() if each.lower() != name.lower()}


if __name__ == "__main__":
    if len(sys.argv) != 9:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
