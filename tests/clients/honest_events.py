"""Checks the emulator's Events API, with requests that botocore signed and that are altered here, and the
faults that its switches cause.

usage: python honest_events.py HTTPS_URL REGION CA_FILE CONTROL API_HOST
  HTTPS_URL  https://127.0.0.1:PORT/graphql  the emulator; Events is at /event on the same port
  REGION     the region it expects in credential scopes
  CA_FILE    the certificate authority of its certificate
  CONTROL    http://...                      the emulator's control address
  API_HOST   ....appsync-api.REGION.amazonaws.com, which is never resolved
Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
"""

import asyncio
import base64
import json
import re
import sys
from urllib.parse import urlsplit

import websockets

import signed
from check import Checks, Control, equal, require, within

JSON_TYPE = {"content-type": "application/json"}
MISMATCH = r"The request signature we calculated does not match the signature you provided\."
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
PROTOCOL = "aws-appsync-event-ws"
HI = '{"msg":"hi"}'
ODD = {"errors": {"errorType": "Odd", "n": 1.50}, "é": None}
SUBSCRIPTION = '{"query":"subscription S { onMessage { id } }","variables":{}}'


class Peer:
    """A client of the emulator that has credentials."""

    def __init__(self, url, region, ca_file, control, api_host):
        self.graphql = url
        self.base = url.removesuffix("/graphql")
        self.event = f"{self.base}/event"
        self.realtime = self.event.replace("https://", "wss://", 1) + "/realtime"
        self.region = region
        self.context = signed.trust(ca_file)
        self.credentials = signed.credentials_from_environment()
        self.control = Control(control)
        self.api_host = api_host

    def sign(self, body, to=None, headers=signed.REALTIME_HEADERS, by=None):
        """Signs a POST that is never sent, as realtime messages require."""
        by = by or self.credentials
        return signed.sign("POST", to or self.event, headers, body.encode(), by, self.region)

    def wrong(self):
        return signed.Credentials(self.credentials.access_key, "not the secret", self.credentials.token)

    async def post(self, body, sent=None, to=None, method="POST"):
        to = to or self.event
        headers = signed.sign(method, to, JSON_TYPE, body.encode(), self.credentials, self.region)
        return await signed.exchange(self.context, method, to, headers, (body if sent is None else sent).encode())

    def dial(self, authorization=None, protocols=None, headers=None, to=None, **more):
        if authorization is not None:
            protocols = [PROTOCOL, f"header-{url_safe_base64(authorization)}"]
        return websockets.connect(
            to or self.realtime,
            ssl=self.context,
            subprotocols=protocols,
            additional_headers=headers,
            open_timeout=10,
            proxy=None,
            **more,
        )

    def connect(self):
        return self.dial(self.sign("{}"))

    def subscribe(self, name, channel, authorization=None):
        authorization = authorization or self.sign(compact({"channel": channel}))
        return {"type": "subscribe", "id": name, "channel": channel, "authorization": authorization}

    def publish(self, name, channel, events, authorization=None):
        authorization = authorization or self.sign(compact({"channel": channel, "events": events}))
        return {
            "type": "publish",
            "id": name,
            "channel": channel,
            "events": events,
            "authorization": authorization,
        }


async def main(peer):
    checks = Checks(120)
    await http_checks(checks, peer)
    await connect_checks(checks, peer)
    await session_checks(checks, peer)
    await shape_checks(checks, peer)
    await state_checks(checks, peer)
    checks.finish()


# --- HTTP ---


async def http_checks(checks, peer):
    def body(channel, *events):
        return compact({"channel": channel, "events": list(events)})

    async def accepted(name, text, successful, failed=()):
        async def run():
            answer = await peer.post(text)
            equal(answer.status, 200, repr(answer))
            require(answer.headers["content-type"].startswith("application/json"), "content-type")
            outcome = answer.json()
            equal(sorted(outcome), ["failed", "successful"], "members")
            for given, expected in (("successful", successful), ("failed", failed)):
                equal([each["index"] for each in outcome[given]], list(expected), given)
                for each in outcome[given]:
                    require(re.fullmatch(UUID, each["identifier"]), repr(each))
            for each in outcome["failed"]:
                require({"code", "message"} <= set(each), repr(each))

        await checks.check(f"http: accepted: {name}", run)

    async def refused(name, status, kind, message, ask):
        async def run():
            answer = await ask()
            equal((answer.status, answer.headers.get("x-amzn-errortype")), (status, kind), repr(answer))
            [error] = answer.json()["errors"]
            equal(error["errorType"], kind, "errorType")
            if message is None:
                require("message" not in error, repr(error))
            else:
                require(re.search(message, error["message"]), repr(error))

        await checks.check(f"http: refused: {name}", run)

    await accepted("one event", body("default/room-1", HI), [0])
    await accepted("a slash before the channel, five events", body("/inbox/a/b", "1", '"a<b"', "[]", HI, "null"), range(5))
    await accepted("an event that is not JSON fails alone", body("default/a", HI, "{", "2"), [0, 2], [1])

    bad = (400, "BadRequestException")
    six = body("default/a", *["1"] * 6)
    await refused("six events", *bad, r"^Input exceeded 5 event limit$", lambda: peer.post(six))
    await refused("no events", *bad, "", lambda: peer.post(body("default/a")))
    large = body("default/a", json.dumps("x" * 240_001))
    await refused("a large event", *bad, "", lambda: peer.post(large))
    await accepted("five events of almost 240 KB", body("default/a", *[json.dumps("x" * 239_900)] * 5), range(5))
    for channel in ("", "default/", "default/a_b", "default/a/b/c/d/e", "default/*"):
        await refused(f"channel {channel!r}", *bad, "", lambda channel=channel: peer.post(body(channel, HI)))
    unknown = body("elsewhere/a", HI)
    await refused("an unknown namespace", 401, "UnauthorizedException", None, lambda: peer.post(unknown))
    for text in ("", "{}", "[]", "meow", '{"channel":"default/a","events":[{"msg":"hi"}]}'):
        await refused(f"body {text!r}", *bad, "", lambda text=text: peer.post(text))
    await refused(
        "an altered body",
        403,
        "InvalidSignatureException",
        MISMATCH,
        lambda: peer.post(body("default/a", HI), body("default/b", HI)),
    )
    await refused("GET", 404, "HttpNotFoundException", "", lambda: peer.post("", method="GET"))
    await refused(
        "unsigned",
        401,
        "UnauthorizedException",
        r"^Missing authorization header$",
        lambda: signed.exchange(
            peer.context,
            "POST",
            peer.event,
            {"host": urlsplit(peer.event).netloc, **JSON_TYPE},
            body("default/a", HI).encode(),
        ),
    )


# --- connecting ---


async def connect_checks(checks, peer):
    async def accepted(name, connection):
        async def run():
            async with connection() as socket:
                equal(socket.subprotocol, PROTOCOL, "subprotocol")
                await acked(socket)

        await checks.check(f"realtime: accepted: connect {name}", run)

    async def refused(name, kind, message, connection):
        async def run():
            async with connection() as socket:
                answer = await receive(socket)
                equal(sorted(answer), ["errors", "type"], repr(answer))
                equal(answer["type"], "connection_error", "type")
                [error] = answer["errors"]
                require("errorCode" not in error, repr(error))
                equal(error.get("errorType"), kind, "errorType")
                require(re.search(message, error["message"]), repr(error))
                await closed(socket, 1000)

        await checks.check(f"realtime: refused: connect {name}", run)

    good = peer.sign("{}")
    header = f"header-{url_safe_base64(good)}"
    await accepted("by subprotocol", lambda: peer.dial(good))
    await accepted("by subprotocol, in the other order", lambda: peer.dial(protocols=[header, PROTOCOL]))
    await accepted("with only host, date and token signed", lambda: peer.dial(peer.sign("{}", headers={})))
    plain = {name: value for name, value in good.items() if name != "host"}
    await accepted("by HTTP headers", lambda: peer.dial(protocols=[PROTOCOL], headers=plain))

    host = peer.api_host
    standard = peer.sign("{}", to=f"https://{host}/event")
    realtime_host = host.replace("appsync-api", "appsync-realtime-api")
    there = {"host": "127.0.0.1", "port": urlsplit(peer.event).port}
    to = f"wss://{realtime_host}/event/realtime"
    await accepted("to the realtime host", lambda: peer.dial(standard, to=to, **there))
    as_api = {
        "to": f"wss://{host}/event/realtime",
        "protocols": [PROTOCOL],
        "headers": {name: value for name, value in standard.items() if name != "host"},
        **there,
    }
    await accepted(
        "by HTTP headers, to the realtime host as the API host",
        lambda: peer.dial(server_hostname=realtime_host, **as_api),
    )

    async def not_found():
        try:
            async with peer.dial(**as_api):
                pass
        except websockets.InvalidStatus as answer:
            equal(answer.response.status_code, 404, "status")
            return
        raise AssertionError("the upgrade was granted")

    await checks.check("realtime: refused: connect to the API host", not_found)

    mismatch = ("BadRequestException", MISMATCH)
    await refused("with a wrong secret", *mismatch, lambda: peer.dial(peer.sign("{}", by=peer.wrong())))
    await refused(
        "signed for /event/realtime", *mismatch, lambda: peer.dial(peer.sign("{}", to=f"{peer.event}/realtime"))
    )
    await refused(
        "signed for GraphQL", *mismatch, lambda: peer.dial(peer.sign("{}", to=f"{peer.graphql}/connect"))
    )
    await refused("with another body signed", *mismatch, lambda: peer.dial(peer.sign("")))
    wrong = {"protocols": ["graphql-ws", header]}
    await refused("for another protocol", None, "^NoProtocolError$", lambda: peer.dial(**wrong))
    await refused("without authorization", None, "Required headers", lambda: peer.dial(protocols=[PROTOCOL]))
    query = f"{peer.realtime}?header={base64.b64encode(compact(good).encode()).decode()}&payload=e30="
    await refused(
        "by query string", None, "Required headers", lambda: peer.dial(protocols=[PROTOCOL], to=query)
    )


# --- messages ---


async def session_checks(checks, peer):
    async def check(name, talk, init=True):
        async def run():
            async with peer.connect() as socket:
                if init:
                    await acked(socket)
                await talk(socket)

        await checks.check(f"realtime: {name}", run)

    async def subscribed(socket, name, channel):
        await send(socket, peer.subscribe(name, channel))
        equal(await receive(socket), {"type": "subscribe_success", "id": name}, "answer")

    async def error(socket, message, kind, name, error_type, text):
        """Expects this error in response to a message, and that the connection stays open."""
        await send(socket, message)
        answer = await receive(socket)
        [found] = answer.pop("errors")
        equal(answer, {"type": kind} if name is None else {"type": kind, "id": name}, repr(found))
        equal(found.get("errorType"), error_type, repr(found))
        if text is None:
            require("message" not in found, repr(found))
        else:
            require(re.search(text, found["message"]), repr(found))

    async def published(socket, name, count):
        answer = await receive(socket, "data")
        equal((answer["type"], answer["id"], answer["failed"]), ("publish_success", name, []), repr(answer))
        equal([each["index"] for each in answer["successful"]], list(range(count)), repr(answer))

    async def receives(socket, *expected):
        for name, event in expected:
            equal(await receive(socket), {"type": "data", "id": name, "event": event}, "data")

    async def over_http(socket):
        await subscribed(socket, "all", "/default/*")
        await subscribed(socket, "one", "default/room-1")
        await subscribed(socket, "other", "/default/room-2")
        answer = await peer.post(compact({"channel": "default/room-1", "events": [HI, "2"]}))
        equal(answer.status, 200, repr(answer))
        await receives(socket, ("all", HI), ("all", "2"), ("one", HI), ("one", "2"))

    await check("an HTTP publish reaches its subscribers", over_http)

    async def over_websocket(socket):
        await subscribed(socket, "all", "/default/*")
        async with peer.connect() as other:
            await send(other, peer.publish("p", "/default/a/b/c", [HI, "2"]))
            await published(other, "p", 2)
            await receives(socket, ("all", HI), ("all", "2"))
            await send(other, peer.publish("p", "/default", [HI]))
            await published(other, "p", 1)
            await send(other, peer.publish("p", "/inbox/a", [HI]))
            await published(other, "p", 1)
            await send(other, peer.publish("p", "/default/last", ["3"]))
            await published(other, "p", 1)
            await receives(socket, ("all", "3"))

    await check("a WebSocket publish reaches its subscribers", over_websocket)

    async def without_init(socket):
        await subscribed(socket, "1", "default/a")
        await send(socket, peer.publish("2", "default/a", [HI]))
        await published(socket, "2", 1)

    await check("connection_init is optional", without_init, init=False)

    async def unsubscribes(socket):
        await subscribed(socket, "1", "default/a")
        await send(socket, {"type": "unsubscribe", "id": "1"})
        equal(await receive(socket), {"type": "unsubscribe_success", "id": "1"}, "answer")
        await error(
            socket,
            {"type": "unsubscribe", "id": "1"},
            "unsubscribe_error",
            "1",
            "UnknownOperationError",
            "^Unknown operation id 1$",
        )
        await subscribed(socket, "1", "default/b")

    await check("unsubscribe", unsubscribes)

    async def duplicates(socket):
        await subscribed(socket, "1", "default/a")
        duplicated = ("1", "DuplicatedOperationError", "^Duplicated operation with id 1$")
        await error(socket, peer.subscribe("1", "default/b"), "subscribe_error", *duplicated)
        await error(socket, peer.publish("1", "default/b", [HI]), "publish_error", *duplicated)

    await check("an id is live once", duplicates)

    async def ids(socket):
        for name in ("", "a b", "x" * 129):
            invalid = (name, "InvalidInputError", "id")
            await error(socket, peer.subscribe(name, "default/b"), "subscribe_error", *invalid)
        await subscribed(socket, "aZ-9_+", "default/b")

    await check("ids are of letters, digits and -_+", ids)

    async def channels(socket):
        for channel in ("", "default//a", "default/*/a", "default/" + "x" * 51, "*", "a/b/c/d/e/f"):
            bad = ("1", "BadRequestException", "channel")
            await error(socket, peer.subscribe("1", channel), "subscribe_error", *bad)
        unknown = ("1", "UnauthorizedException", None)
        await error(socket, peer.subscribe("1", "elsewhere/a"), "subscribe_error", *unknown)
        await error(socket, peer.publish("1", "elsewhere/a", [HI]), "publish_error", *unknown)
        await error(
            socket, peer.publish("1", "default/*", [HI]), "publish_error", "1", "BadRequestException", "channel"
        )

    await check("channels are checked", channels)

    async def limits(socket):
        await error(
            socket,
            peer.publish("1", "default/a", ["1"] * 6),
            "publish_error",
            "1",
            "InvalidInputError",
            "^input exceeded 5 event limit$",
        )
        await peer.control.switch(max_subscriptions=1)
        try:
            await subscribed(socket, "1", "default/a")
            reached = ("2", "MaxSubscriptionsReachedError", "^Max number of 1 subscriptions reached$")
            await error(socket, peer.subscribe("2", "default/a"), "subscribe_error", *reached)
        finally:
            await peer.control.switch(max_subscriptions=100)

    await check("limits are kept", limits)

    async def partly(socket):
        await send(socket, peer.publish("1", "default/a", ["{", HI]))
        answer = await receive(socket)
        equal([each["index"] for each in answer["failed"]], [0], repr(answer))
        equal([each["index"] for each in answer["successful"]], [1], repr(answer))

    await check("an event that is not JSON fails alone", partly)

    async def others(socket):
        for message in ({"type": "start", "id": "1"}, {"type": "ping"}, {"type": "subscribe", "id": "1"}, [], 7):
            unsupported = ("UnsupportedOperation", "^Operation not supported through the realtime channel$")
            await error(socket, message, "error", None, *unsupported)
        await socket.send(b"binary")
        equal((await receive(socket))["type"], "error", "answer to a binary frame")

    await check("unknown types are unsupported", others)

    async def signatures(socket):
        mismatch = ("1", "BadRequestException", MISMATCH)
        connect = peer.sign("{}")
        await error(socket, peer.subscribe("1", "default/a", connect), "subscribe_error", *mismatch)
        await error(socket, peer.publish("1", "default/a", [HI], connect), "publish_error", *mismatch)
        other = peer.sign(compact({"channel": "default/b"}))
        await error(socket, peer.subscribe("1", "default/a", other), "subscribe_error", *mismatch)
        spaced = peer.sign(json.dumps({"channel": "default/a", "events": [HI]}))
        await error(socket, peer.publish("1", "default/a", [HI], spaced), "publish_error", *mismatch)
        swapped = peer.sign(compact({"events": [HI], "channel": "default/a"}))
        await error(socket, peer.publish("1", "default/a", [HI], swapped), "publish_error", *mismatch)
        altered = peer.publish("1", "default/a", [HI])
        altered["events"] = [HI.replace("hi", "ho")]
        await error(socket, altered, "publish_error", *mismatch)
        unsigned = peer.subscribe("1", "default/a")
        del unsigned["authorization"]
        missing = ("1", "UnauthorizedException", "Valid authorization header not provided")
        await error(socket, unsigned, "subscribe_error", *missing)
        await subscribed(socket, "1", "default/a")

    await check("signatures are verified over the reserialized body", signatures)

    async def escapes(socket):
        event = '{"msg":"a<b> & c\u2028\u2029"}'
        mismatch = ("1", "BadRequestException", MISMATCH)
        await error(socket, peer.publish("1", "default/a", [event]), "publish_error", *mismatch)
        escaped = event
        for character in "<>&\u2028\u2029":
            escaped = escaped.replace(character, f"\\u{ord(character):04x}")
        equal(json.loads(escaped), json.loads(event), "the event's meaning")
        await send(socket, peer.publish("1", "default/a", [escaped]))
        await published(socket, "1", 1)
        # A signature over the form that the server serializes matches, too.
        authorization = peer.sign(
            compact({"channel": "default/a", "events": ['{"msg":"a<b"}']}).replace("<", "\\u003c")
        )
        await send(socket, peer.publish("1", "default/a", ['{"msg":"a<b"}'], authorization))
        await published(socket, "1", 1)
        # The frame may be escaped in any way.
        frame = compact(peer.publish("1", "default/a", ['{"msg":"é/\'="}'])).replace("/", "\\/").replace("é", "\\u00e9")
        await socket.send(frame)
        await published(socket, "1", 1)
        # amplify-js sends everything twice.
        both = peer.publish("1", "default/a", [HI])
        extensions = {"authorization": both["authorization"]}
        both["payload"] = {"channel": "default/a", "events": [HI], "extensions": extensions}
        await send(socket, both)
        await published(socket, "1", 1)
        await peer.control.switch(escape_events=False)
        try:
            await send(socket, peer.publish("1", "default/a", [event]))
            await published(socket, "1", 1)
        finally:
            await peer.control.switch(escape_events=True)

    await check("a publish with < is refused unless its event is escaped, or the switch is off", escapes)


# --- errors on request ---


async def shape_checks(checks, peer):
    odd = "  " + json.dumps(ODD, ensure_ascii=False) + "\n"
    graphql_connect = peer.sign("{}", to=f"{peer.graphql}/connect")

    def graphql():
        header = f"header-{url_safe_base64(graphql_connect)}"
        url = peer.graphql.replace("https://", "wss://", 1)
        return peer.dial(protocols=["graphql-ws", header], to=url)

    def start(name):
        extensions = {"authorization": peer.sign(SUBSCRIPTION, to=peer.graphql)}
        return {"type": "start", "id": name, "payload": {"data": SUBSCRIPTION, "extensions": extensions}}

    async def check(name, run, **off):
        async def restored():
            try:
                await run()
            finally:
                await peer.control.switch(**off)

        await checks.check(f"on request: {name}", restored)

    async def connects():
        await peer.control.switch(refuse_connect=odd)
        async with peer.connect() as socket:
            equal(await receive(socket), {"type": "connection_error", **ODD}, "Events")
            await closed(socket, 1000)
        async with graphql() as socket:
            equal(await receive(socket), {"type": "connection_error", "payload": ODD}, "GraphQL")
            await closed(socket, 1000)
        await peer.control.switch(refuse_connect="")
        async with graphql() as socket:
            await acked(socket, "payload")

    await check("refuse_connect", connects, refuse_connect="")

    async def starts():
        async with peer.connect() as events, graphql() as socket:
            await acked(socket, "payload")
            await peer.control.switch(refuse_start=odd)
            await send(events, peer.subscribe("a", "default/a"))
            equal(await receive(events), {"type": "subscribe_error", "id": "a", **ODD}, "Events")
            await send(events, peer.subscribe("b", "default/a", peer.sign("{}")))
            equal((await receive(events))["errors"][0]["errorType"], "BadRequestException", "not otherwise accepted")
            await send(socket, start("1"))
            equal(await receive(socket), {"type": "error", "id": "1", "payload": ODD}, "GraphQL")

            await peer.control.switch(refuse_start='{"errors":[]}', refuse_start_without_id=True)
            await send(events, peer.subscribe("a", "default/a"))
            equal(await receive(events), {"type": "subscribe_error", "errors": []}, "Events, no id")
            await send(socket, start("1"))
            equal(await receive(socket), {"type": "error", "payload": {"errors": []}}, "GraphQL, no id")

            await peer.control.switch(refuse_start="")
            await send(events, peer.subscribe("a", "default/a"))
            equal((await receive(events))["type"], "subscribe_success", "Events, off")
            await send(socket, start("1"))
            equal((await receive(socket))["type"], "start_ack", "GraphQL, off")

    await check("refuse_start", starts, refuse_start="", refuse_start_without_id=False)

    async def frames():
        async with peer.connect() as events, graphql() as socket:
            await acked(socket, "payload")
            for name in ("a", "b"):
                await send(events, peer.subscribe(name, "default/a"))
                equal((await receive(events))["id"], name, "subscribed")
            odd_id = 'x\\ y"'
            await send(socket, start(odd_id))
            equal(await receive(socket), {"type": "start_ack", "id": odd_id}, "started")
            await peer.control.switch(send_all='{"type":"data","id":"$ID","event":"é $ID"}')
            for name in ("a", "b"):
                equal(await receive(events), {"type": "data", "id": name, "event": f"é {name}"}, "one for each")
            equal((await receive(socket))["id"], odd_id, "GraphQL")
            await peer.control.switch(send_all="not { JSON")
            for each in (events, socket):
                equal(await within(each.recv(), "the frame"), "not { JSON", "once")

            await peer.control.switch(error_all=True)
            for name in ("a", "b"):
                answer = await receive(events)
                equal((answer["type"], answer["id"]), ("broadcast_error", name), repr(answer))
                equal(answer["errors"][0]["errorType"], "MessageProcessingError", repr(answer))
            equal((await receive(socket))["type"], "error", "error_all on GraphQL")
            await peer.control.switch(complete_all=True)
            await send(events, {"type": "unsubscribe", "id": "a"})
            equal((await receive(events))["type"], "unsubscribe_success", "still live")

    await check("send_all and error_all", frames)

    async def answers():
        html = {"status": 502, "content_type": "text/html", "body": "<h1>é</h1>", "error_type": "WAFForbiddenException"}
        await peer.control.switch(answer_http=html)
        query = '{"query":"{ rooms { id } }"}'
        publish = compact({"channel": "default/a", "events": [HI]})
        before = await peer.control.state()
        for to, body in ((peer.graphql, query), (peer.event, publish)):
            answer = await peer.post(body, to=to)
            equal((answer.status, answer.body.decode()), (502, "<h1>é</h1>"), repr(answer))
            equal(answer.headers["content-type"], "text/html", "content-type")
            equal(answer.headers["x-amzn-errortype"], "WAFForbiddenException", "error type")
        equal((await peer.post(query, query + " ", to=peer.graphql)).status, 403, "a bad signature")
        after = await peer.control.state()
        equal(after["requests"]["queries"], before["requests"]["queries"], "queries")
        equal(after["events"]["publishes"], before["events"]["publishes"], "publishes")
        await peer.control.switch(answer_http={"status": 200, "content_type": "", "body": ""})
        answer = await peer.post(query, to=peer.graphql)
        equal((answer.status, answer.body), (200, b""), repr(answer))
        require("content-type" not in answer.headers and "x-amzn-errortype" not in answer.headers, "headers")
        await peer.control.switch(answer_http=None)
        require("data" in (await peer.post(query, to=peer.graphql)).json(), "off")

    await check("answer_http", answers, answer_http=None)

    async def throttles():
        async with peer.connect() as socket:
            await peer.control.switch(throttle=True)
            for message in (peer.subscribe("a", "default/a"), peer.publish("a", "default/a", [HI])):
                await send(socket, message)
                answer = await receive(socket)
                equal(answer["errors"][0]["errorType"], "LimitExceededError", repr(answer))
        equal((await peer.post("{}")).status, 429, "HTTP")

    await check("throttle", throttles, throttle=False)

    async def quietly():
        async with peer.connect() as socket:
            await peer.control.switch(no_start_ack=True)
            await send(socket, peer.subscribe("a", "default/a"))
            await send(socket, peer.publish("b", "default/a", [HI]))
            kinds = [(await receive(socket))["type"] for _ in range(2)]
            equal(sorted(kinds), ["data", "publish_success"], "answers")

    await check("no_start_ack", quietly, no_start_ack=False)

    async def closes():
        async with peer.connect() as socket:
            await acked(socket)
            await peer.control.switch(close_clean=1001)
            await closed(socket, 1001)

    await check("close_clean", closes)


# --- statistics ---


async def state_checks(checks, peer):
    async def counts():
        async def state():
            return await peer.control.state()

        await peer.control.until("idle", lambda state: state["events"]["connections"] == 0)
        before = (await state())["events"]
        equal((before["subscriptions"], before["live"]), (0, []), "idle")
        async with peer.connect() as socket:
            await send(socket, peer.subscribe("a", "default/*"))
            await receive(socket)
            await send(socket, peer.publish("b", "default/a", [HI, "{"]))
            await receive(socket, "data")
            await send(socket, peer.publish("b", "default/a", ["1"] * 6))
            await receive(socket, "data")
            equal((await peer.post(compact({"channel": "inbox", "events": ["1", "2"]}))).status, 200, "publish")
            seen = await state()
            events = seen["events"]
            grown = {
                name: events[name] - before[name]
                for name in before
                if isinstance(before[name], int) and events[name] != before[name]
            }
            expected = {
                "requests": 1,
                "publishes": 3,
                "accepted": 3,
                "failed": 1,
                "refused": 1,
                "connections": 1,
                "connections_total": 1,
                "subscriptions": 1,
                "subscribed": 1,
                "subscribes_total": 1,
            }
            equal(grown, expected, "grown")
            [live] = events["live"]
            equal((live["id"], live["channel"]), ("a", "/default/*"), repr(live))
            equal(seen["realtime"]["connections"], 0, "GraphQL's connections")
        await peer.control.until("gone", lambda state: state["events"]["connections"] == 0)

    await checks.check("state: statistics of Events", counts)


# --- pieces ---


async def send(socket, message):
    await socket.send(compact(message))


async def receive(socket, *ignored):
    while True:
        message = json.loads(await within(socket.recv(), "a message"))
        if message["type"] not in ("ka", *ignored):
            return message


async def acked(socket, under=None):
    """Expects the acknowledgement, which for Events has its timeout at the top level, and a `ka` at once."""
    await socket.send('{"type":"connection_init"}')
    ack = json.loads(await within(socket.recv(), "the acknowledgement"))
    contents = ack.pop("payload") if under else {"connectionTimeoutMs": ack.pop("connectionTimeoutMs")}
    equal((ack, contents), ({"type": "connection_ack"}, {"connectionTimeoutMs": 300000}), "acknowledgement")
    equal(json.loads(await within(socket.recv(), "ka")), {"type": "ka"}, "ka")


async def closed(socket, code):
    try:
        more = await within(socket.recv(), "the close")
    except websockets.ConnectionClosed as close:
        equal(close.rcvd and close.rcvd.code, code, "close code")
        return
    raise AssertionError(f"instead of the close came {more!r}")


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def url_safe_base64(value):
    return base64.urlsafe_b64encode(compact(value).encode()).rstrip(b"=").decode()


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    asyncio.run(main(Peer(*sys.argv[1:])))
