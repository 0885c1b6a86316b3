"""Checks that the emulator accepts and rejects what AWS does, with requests that botocore signed and that
are altered here.

usage: python honest.py HTTPS_URL REGION CA_FILE [--realtime-url WSS_URL]
       python honest.py --self-test
  HTTPS_URL       https://127.0.0.1:PORT/graphql  the emulator
  REGION          the region it expects in credential scopes
  CA_FILE         the certificate authority of its certificate
  --realtime-url  where its WebSocket is, if not at HTTPS_URL with wss://
  --self-test     without network: checks this file's signatures against published vectors
Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. They must be
temporary credentials (with a token), so that a missing and a wrong token can be tested.
"""

import argparse
import asyncio
import base64
import datetime
import json
import re
import sys
from urllib.parse import quote, urlsplit

import websockets

import signed
from check import Checks, equal, require, within

MISMATCH = r"The request signature we calculated does not match the signature you provided\."
CANONICAL = MISMATCH + r"(?s:.*)The Canonical String for this request should have been\n'(?s:.*)The String-to-Sign should have been\n'"
EXPIRED = r"Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 5 min\.\)"
AHEAD = r"Signature not yet current: \d{8}T\d{6}Z is still later than \d{8}T\d{6}Z \(\d{8}T\d{6}Z \+ 5 min\.\)"
# Other AWS services name the scope; AppSync's own message is not known, so a mismatch is accepted, too.
SCOPE = rf"Credential should be scoped to|{MISMATCH}"
INVALID_TOKEN = r"The security token included in the request is invalid"
# Both pairs have been observed; it is not known which of them AppSync sends today.
BAD_SIGNATURE = {(403, "InvalidSignatureException"), (400, "BadRequestException")}
UNRECOGNIZED = {(403, "UnrecognizedClientException"), (400, "UnrecognizedClientException")}
INCOMPLETE = {(400, "IncompleteSignatureException"), (403, "IncompleteSignatureException")}
BODY = b'{"query":"query Q { echo(text: \\"ping\\") }","variables":null}'
SUBSCRIPTION = json.dumps({"query": "subscription S { onMessage { id body } }", "variables": {}}, separators=(",", ":"))


async def main(url, region, ca_file, realtime_url):
    checks = Checks(120)
    context = signed.trust(ca_file)
    credentials = signed.credentials_from_environment()
    require(credentials.token, "AWS_SESSION_TOKEN is not set")
    without_token = signed.Credentials(credentials.access_key, credentials.secret_key)
    await http_checks(checks, url, region, context, credentials, without_token)
    await realtime_checks(checks, url, region, context, credentials, without_token, realtime_url)
    checks.finish()


# --- HTTP ---


async def http_checks(checks, url, region, context, credentials, without_token):
    json_type = {"content-type": "application/json"}

    def sign(method="POST", to=url, headers=None, body=BODY, by=credentials, **scope):
        scope = {"region": region, **scope}
        return signed.sign(method, to, json_type if headers is None else headers, body, by, **scope)

    async def send(headers, body=BODY, method="POST", to=url):
        return await signed.exchange(context, method, to, headers, body)

    async def accepted(name, send_it):
        async def body():
            answer = await send_it()
            equal(answer.status, 200, repr(answer))
            equal(answer.json(), {"data": {"echo": "ping"}}, "body")
            require(answer.headers["content-type"].startswith("application/json"), "content-type")

        await checks.check(f"http: accepted: {name}", body)

    async def refused(name, kinds, message, send_it):
        async def body():
            answer = await send_it()
            kind = answer.headers.get("x-amzn-errortype")
            require((answer.status, bare(kind)) in kinds, repr(answer))
            [error] = answer.json()["errors"]
            equal(bare(error["errorType"]), bare(kind), "errorType")
            require(re.search(message, error["message"]), f"message {error['message']!r}")

        await checks.check(f"http: refused: {name}", body)

    await accepted("POST, with token", lambda: send(sign()))
    await accepted("only host, date and token signed", lambda: send(sign(headers={})))
    await accepted(
        "an unsigned header beside the signed ones", lambda: send({**sign(), "x-amz-user-agent": "honest"})
    )
    await accepted(
        "a signed header with spaces to be collapsed", lambda: send(sign(headers={**json_type, "x-team": "a   b"}))
    )
    await accepted(
        "a date 4 minutes old", lambda: send(sign(when=now() - datetime.timedelta(minutes=4)))
    )
    await accepted(
        "a date 4 minutes ahead", lambda: send(sign(when=now() + datetime.timedelta(minutes=4)))
    )

    query = url + "?query=" + quote('query Q { echo(text: "ping") }', safe="")
    get = {"method": "GET", "to": query, "body": b""}
    await accepted("GET", lambda: send(sign(headers={}, **get), **get))

    await refused(
        "GET with its query altered",
        BAD_SIGNATURE,
        MISMATCH,
        lambda: send(sign(headers={}, **get), b"", "GET", query.replace("ping", "pong")),
    )
    wrong_secret = signed.Credentials(credentials.access_key, "not the secret", credentials.token)
    await refused("wrong secret", BAD_SIGNATURE, CANONICAL, lambda: send(sign(by=wrong_secret)))
    await refused(
        "altered body", BAD_SIGNATURE, CANONICAL, lambda: send(sign(), BODY.replace(b"ping", b"pong"))
    )
    await refused("a space more in the body", BAD_SIGNATURE, MISMATCH, lambda: send(sign(), BODY + b" "))
    other = url.replace(urlsplit(url).netloc, "other.appsync-api.us-east-1.amazonaws.com")
    await refused(
        "signed for another host",
        BAD_SIGNATURE,
        MISMATCH,
        lambda: send({**sign(to=other), "host": urlsplit(url).netloc}),
    )
    await refused(
        "signed for another path", BAD_SIGNATURE, MISMATCH, lambda: send(sign(to=f"{url}/connect"))
    )
    await refused(
        "signed as GET, sent as POST", BAD_SIGNATURE, MISMATCH, lambda: send(sign(method="GET"))
    )
    await refused(
        "a signed header altered",
        BAD_SIGNATURE,
        MISMATCH,
        lambda: send({**sign(), "content-type": "application/json; charset=UTF-8"}),
    )
    await refused(
        "date altered after signing",
        BAD_SIGNATURE,
        MISMATCH,
        lambda: send({**sign(), "X-Amz-Date": stamp(now() + datetime.timedelta(seconds=7))}),
    )
    await refused(
        "stale date",
        BAD_SIGNATURE,
        EXPIRED,
        lambda: send(sign(when=now() - datetime.timedelta(minutes=5, seconds=30))),
    )
    await refused(
        "date ahead",
        BAD_SIGNATURE,
        AHEAD,
        lambda: send(sign(when=now() + datetime.timedelta(minutes=5, seconds=30))),
    )
    await refused("missing token", UNRECOGNIZED, INVALID_TOKEN, lambda: send(sign(by=without_token)))
    wrong_token = signed.Credentials(credentials.access_key, credentials.secret_key, "bm90IHRoZSB0b2tlbg==")
    await refused("wrong token", UNRECOGNIZED, INVALID_TOKEN, lambda: send(sign(by=wrong_token)))
    unknown = signed.Credentials("AKIDNOBODYKNOWS", credentials.secret_key, credentials.token)
    await refused("unknown key", UNRECOGNIZED, INVALID_TOKEN, lambda: send(sign(by=unknown)))
    await refused(
        "wrong region", BAD_SIGNATURE, SCOPE, lambda: send(sign(region=another_region(region)))
    )
    await refused("wrong service", BAD_SIGNATURE, SCOPE, lambda: send(sign(service="execute-api")))
    await refused(
        "unsigned",
        {(401, "UnauthorizedException")},
        r"^Missing authorization header$",
        lambda: send({"host": urlsplit(url).netloc, **json_type}),
    )
    await refused(
        "a SignedHeaders entry that is absent",
        INCOMPLETE,
        r"'x-absent' is named as a SignedHeader, but it does not exist in the HTTP request\.",
        lambda: send(less(sign(headers={**json_type, "x-absent": "1"}), "x-absent")),
    )
    for part in ("Credential", "Signature", "SignedHeaders"):
        await refused(
            f"Authorization without {part}",
            INCOMPLETE,
            rf"Authorization header requires '{part}' parameter\.",
            lambda part=part: send(without(sign(), part)),
        )
    await refused(
        "no date", INCOMPLETE, r"requires existence of either a 'X-Amz-Date' or a 'Date' header|'x-amz-date' is named as a SignedHeader",
        lambda: send(less(sign(), "X-Amz-Date")),
    )
    malformed = {(400, "MalformedHttpRequestException")}
    await refused("empty body", malformed, r"^Request body is empty\.$", lambda: send(sign(body=b""), b""))
    for body in (b"{}", b"[]", b"meow", b'{"query":7}', b"[" + BODY + b"]"):
        await refused(
            f"body {body.decode()[:12]}",
            malformed,
            r"^Unable to parse GraphQL query\.$",
            lambda body=body: send(sign(body=body), body),
        )


# --- realtime ---


async def realtime_checks(checks, url, region, context, credentials, without_token, realtime_url):
    connect_url = f"{url}/connect"

    def sign(to=connect_url, body="{}", headers=None, by=credentials, **scope):
        scope = {"region": region, **scope}
        headers = signed.REALTIME_HEADERS if headers is None else headers
        return signed.sign("POST", to, headers, body.encode(), by, **scope)

    def start(name, data=SUBSCRIPTION, authorization=None):
        authorization = sign(url, data) if authorization is None else authorization
        return {
            "id": name,
            "type": "start",
            "payload": {"data": data, "extensions": {"authorization": authorization}},
        }

    def dial(query="", protocols=("graphql-ws",), headers=None):
        return websockets.connect(
            realtime_url + query,
            ssl=context,
            subprotocols=list(protocols) or None,
            additional_headers=headers,
            open_timeout=10,
            proxy=None,
        )

    def by_query(headers, **more):
        return dial(f"?header={standard_base64(headers)}&payload=e30=", **more)

    async def receive(socket, *ignored):
        while True:
            message = json.loads(await within(socket.recv(), "a message"))
            if message["type"] not in ignored:
                return message

    async def acked(socket):
        await socket.send('{"type":"connection_init"}')
        # AWS's documentation allows `ka` before the ack.
        ack = await receive(socket, "ka")
        equal(ack["type"], "connection_ack", repr(ack))
        require(ack["payload"]["connectionTimeoutMs"] > 0, repr(ack))

    async def subscribes(socket, name):
        await socket.send(json.dumps(start(name)))
        equal(await head(socket), ("start_ack", name), "answer to start")

    async def head(socket):
        message = await receive(socket, "ka")
        return message["type"], message.get("id")

    async def accepted(name, connection):
        async def body():
            async with connection() as socket:
                equal(socket.subprotocol, "graphql-ws", "subprotocol")
                await acked(socket)
                equal((await receive(socket))["type"], "ka", "after the ack")
                await subscribes(socket, "1")
                await socket.send('{"type":"stop","id":"1"}')
                equal(await head(socket), ("complete", "1"), "answer to stop")

        await checks.check(f"realtime: accepted: connect {name}", body)

    async def refused(name, kind, message, connection):
        """Expects 101, then one connection_error, then the close."""

        async def body():
            async with connection() as socket:
                answer = await receive(socket)
                equal(answer["type"], "connection_error", repr(answer))
                [error] = answer["payload"]["errors"]
                if kind:
                    require(re.fullmatch(kind, bare(error.get("errorType"))), repr(error))
                require(re.search(message, error.get("message", "")), repr(error))
                require(isinstance(error["errorCode"], int), repr(error))
                try:
                    more = await within(socket.recv(), "the close")
                except websockets.ConnectionClosed:
                    return
                raise AssertionError(f"after connection_error came {more!r}")

        await checks.check(f"realtime: refused: connect {name}", body)

    await accepted("by query string", lambda: by_query(sign()))
    await accepted(
        "by query string, percent-encoded",
        lambda: dial(f"?header={quote(standard_base64(sign()), safe='')}&payload=e30%3D"),
    )
    await accepted(
        "by header- subprotocol",
        lambda: dial(protocols=("graphql-ws", f"header-{url_safe_base64(sign())}")),
    )
    await accepted("by HTTP headers", lambda: dial(headers=less(sign(), "host")))
    await accepted("with only host, date and token signed", lambda: by_query(sign(headers={})))
    await accepted(
        "with an unsigned entry in the header", lambda: by_query({**sign(), "x-amz-user-agent": "honest"})
    )

    mismatch = r"(Bad|Invalid)[A-Za-z]*Exception"
    wrong_secret = signed.Credentials(credentials.access_key, "not the secret", credentials.token)
    await refused("with a wrong secret", mismatch, CANONICAL, lambda: by_query(sign(by=wrong_secret)))
    await refused(
        "with a wrong secret, by subprotocol",
        mismatch,
        MISMATCH,
        lambda: dial(protocols=("graphql-ws", f"header-{url_safe_base64(sign(by=wrong_secret))}")),
    )
    await refused(
        "with a wrong secret, by HTTP headers",
        mismatch,
        MISMATCH,
        lambda: dial(headers=less(sign(by=wrong_secret), "host")),
    )
    await refused(
        "with the query's hash signed", mismatch, MISMATCH, lambda: by_query(sign(body=SUBSCRIPTION))
    )
    other = connect_url.replace(urlsplit(url).netloc, "other.appsync-realtime-api.us-east-1.amazonaws.com")
    await refused(
        "signed for another host",
        mismatch,
        MISMATCH,
        lambda: by_query({**sign(to=other), "host": urlsplit(url).netloc}),
    )
    await refused("signed on /graphql", mismatch, MISMATCH, lambda: by_query(sign(to=url)))
    await refused(
        "with a payload other than the one signed",
        mismatch,
        MISMATCH,
        lambda: dial(f"?header={standard_base64(sign())}&payload={standard_base64({'a': 1})}"),
    )
    await refused(
        "without graphql-ws", "", r"NoProtocolError", lambda: by_query(sign(), protocols=())
    )
    await refused(
        "without authorization",
        "",
        r"Required headers are missing|\"header\", and the \"payload\" query string parameters are missing|Missing authorization header",
        lambda: dial(),
    )
    await refused(
        "with a stale date",
        mismatch,
        EXPIRED,
        lambda: by_query(sign(when=now() - datetime.timedelta(minutes=5, seconds=30))),
    )
    await refused(
        "with a date ahead",
        mismatch,
        AHEAD,
        lambda: by_query(sign(when=now() + datetime.timedelta(minutes=5, seconds=30))),
    )
    await refused(
        "without the token", "UnrecognizedClientException", INVALID_TOKEN, lambda: by_query(sign(by=without_token))
    )
    unknown = signed.Credentials("AKIDNOBODYKNOWS", credentials.secret_key, credentials.token)
    await refused(
        "with an unknown key", "UnrecognizedClientException", INVALID_TOKEN, lambda: by_query(sign(by=unknown))
    )
    await refused(
        "for another region", mismatch, SCOPE, lambda: by_query(sign(region=another_region(region)))
    )
    await refused(
        "for another service", mismatch, SCOPE, lambda: by_query(sign(service="execute-api"))
    )
    await refused(
        "with a listed header absent",
        "IncompleteSignatureException",
        r"'x-absent' is named as a SignedHeader, but it does not exist in the HTTP request\.",
        lambda: by_query(less(sign(headers={**signed.REALTIME_HEADERS, "x-absent": "1"}), "x-absent")),
    )

    async def start_refused(name, frame, kind, message):
        """Expects an error with the start's id and no start_ack; the socket and another start stay open."""

        async def body():
            connect = sign()
            async with by_query(connect) as socket:
                await acked(socket)
                await socket.send(json.dumps(frame(connect)))
                answer = await receive(socket, "ka")
                equal((answer["type"], answer.get("id")), ("error", "bad"), repr(answer))
                [error] = answer["payload"]["errors"]
                require(re.fullmatch(kind, bare(error.get("errorType"))), repr(error))
                require(re.search(message, error["message"]), repr(error))
                await subscribes(socket, "good")

        await checks.check(f"realtime: refused: start {name}", body)

    await start_refused(
        "with the signature of connect", lambda connect: start("bad", authorization=connect), mismatch, CANONICAL
    )
    await start_refused(
        "with data altered after signing",
        lambda _: start("bad", data=SUBSCRIPTION.replace("body", "author"), authorization=sign(url, SUBSCRIPTION)),
        mismatch,
        MISMATCH,
    )
    await start_refused(
        "with reserialized data",
        lambda _: start("bad", data=json.dumps(json.loads(SUBSCRIPTION)), authorization=sign(url, SUBSCRIPTION)),
        mismatch,
        MISMATCH,
    )
    await start_refused(
        "with a stale date",
        lambda _: start(
            "bad",
            authorization=sign(url, SUBSCRIPTION, when=now() - datetime.timedelta(minutes=5, seconds=30)),
        ),
        mismatch,
        EXPIRED,
    )
    await start_refused(
        "with an unknown key",
        lambda _: start("bad", authorization=sign(url, SUBSCRIPTION, by=unknown)),
        "UnrecognizedClientException",
        INVALID_TOKEN,
    )
    await start_refused(
        "for another region",
        lambda _: start("bad", authorization=sign(url, SUBSCRIPTION, region=another_region(region))),
        mismatch,
        SCOPE,
    )

    async def escapes():
        async with by_query(sign()) as socket:
            await acked(socket)
            # The outer JSON may escape the string in any way; the decoded value is signed.
            data = json.dumps({"query": "subscription S { onMessage { id } }", "variables": {"u": "é/<😀"}}, ensure_ascii=False)
            frame = json.dumps(start("1", data=data), ensure_ascii=True).replace("/<", "\\/\\u003c")
            await socket.send(frame)
            equal(await head(socket), ("start_ack", "1"), "answer to start")

    await checks.check("realtime: accepted: start whose string is escaped otherwise", escapes)


# --- pieces ---


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def stamp(when):
    return when.strftime("%Y%m%dT%H%M%SZ")


def bare(kind):
    """Returns an error type without the optional `com.amazonaws…#` prefix."""
    return (kind or "").rpartition("#")[2].partition(":")[0]


def another_region(region):
    return "eu-west-1" if region != "eu-west-1" else "us-east-1"


def less(headers, name):
    return {each: value for each, value in headers.items() if each.lower() != name.lower()}


def without(headers, part):
    """Returns the headers without one of the three parameters of Authorization."""
    scheme, _, parameters = headers["Authorization"].partition(" ")
    kept = [each for each in parameters.split(", ") if not each.startswith(f"{part}=")]
    return {**headers, "Authorization": f"{scheme} {', '.join(kept)}"}


def standard_base64(value):
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


def url_safe_base64(value):
    raw = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# --- the published vectors ---

API = "https://abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com/graphql"
CUSTOM = "https://api.example.com/graphql"
VECTOR_TOKEN = "AQoDYXdzEXAMPLETOKEN=="
PING = '{"query":"query Q { ping }","variables":null}'
DATA = '{"query":"subscription OnMsg { onMsg { id body } }","variables":{}}'
JSON_TYPE = {"content-type": "application/json"}
REALTIME = signed.REALTIME_HEADERS
VECTORS = [
    ("A", "POST", API, JSON_TYPE, PING, None, "d3028ebcb3a9ae0a88dc36b072555db2d3c611da383d5c99af42d05254fc4ff3"),
    ("B", "POST", API, JSON_TYPE, PING, VECTOR_TOKEN, "2328ce4784beaff35bad0a2085a9df1d1750a04deac5e4961eac60da6d06aa76"),
    ("C", "GET", f"{API}?query=query%20Q%20%7B%20ping%20%7D", {}, "", None, "c7ceb2265a84c6a2cd8e645eadb2f95fa870fc04243c9db6bc38f263e55d2337"),
    ("D", "POST", f"{API}/connect", REALTIME, "{}", None, "9f9fd7ffd7df57eefe38d741869f667a6f1512e6a1aa99aba24a04a4fa9371b4"),
    ("E", "POST", f"{API}/connect", REALTIME, "{}", VECTOR_TOKEN, "dfb00624a4f57e96875ed1dc5e9bafdbb1e0a1a1696cd6922af5ea139d2eb365"),
    ("F", "POST", f"{API}/connect", {}, "{}", None, "3d22d7569c32a6e0315c9b41ab99b16b0739111cc3be8e31daf97ecf03884f00"),
    ("G", "POST", f"{CUSTOM}/connect", REALTIME, "{}", None, "65f7718b49589608183eb97ef82b209a8ba21cebe16d194f7e40cf908894430d"),
    ("H", "POST", API, REALTIME, DATA, None, "2c9f6c90ddea3166c83bb24e46f761dcc06b0b5553eb439378417e09227af1a9"),
    ("I", "POST", API, REALTIME, DATA, VECTOR_TOKEN, "57eb8aee4b79a6ea8202f42807ec88e87fd26405a84cff1e0e57e61466ed90c6"),
    ("J", "POST", CUSTOM, REALTIME, DATA, None, "ce5cbebf025de2da6a2f2808a44124228153391fb193c5ab79bbfe94f1ef1f18"),
]


async def self_test():
    checks = Checks(30)
    when = datetime.datetime(2026, 1, 15, 12, tzinfo=datetime.timezone.utc)
    for name, method, url, headers, body, token, expected in VECTORS:

        async def vector(method=method, url=url, headers=headers, body=body, token=token, expected=expected):
            credentials = signed.Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
            made = signed.sign(method, url, headers, body.encode(), credentials, "us-east-1", when=when)
            equal(signed.signature(made), expected, "signature")

        await checks.check(f"vector {name}", vector)
    checks.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("region", nargs="?")
    parser.add_argument("ca_file", nargs="?")
    parser.add_argument("--realtime-url")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        asyncio.run(self_test())
    if not arguments.ca_file:
        parser.error("HTTPS_URL REGION CA_FILE are needed")
    wss = arguments.realtime_url or arguments.url.replace("https://", "wss://", 1)
    asyncio.run(main(arguments.url, arguments.region, arguments.ca_file, wss))
