"""Runs Python's websockets through countersign against the emulator's WebSocket API.

usage: python tunnel.py ADDRESS CONTROL_URL
  ADDRESS      127.0.0.1:PORT  countersign; /api and /wrong lead to the API, /wrong with an unknown access key
  CONTROL_URL  the emulator's control listener
"""

import asyncio
import contextlib
import json
import sys
from http.client import HTTPConnection

import websockets

from check import Checks, Control, equal, require, within

CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999]
FRAME = 32 << 10


async def main(address, control):
    checks = Checks(120)
    control = Control(control)

    def dial(target="/api", **more):
        return websockets.connect(f"ws://{address}{target}", open_timeout=10, close_timeout=10, proxy=None, **more)

    async def info(socket):
        await socket.send('{"action":"info"}')
        return json.loads(await within(socket.recv(), "the info"))

    async def closed(socket):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await within(socket.recv(), "the close")
        return socket.close_code

    async def messages():
        async with dial() as socket:
            for text in ["a", "", "é\u0000", '{"action":"echo"}', "y" * FRAME]:
                await socket.send(text)
                equal(await within(socket.recv(), "the echo"), text)
            frames = [letter * FRAME for letter in "abcd"]
            await socket.send(frames)
            equal(await within(socket.recv(), "the echo"), "".join(frames))
            await socket.send(["one ", "", "two"])
            equal(await within(socket.recv(), "the echo"), "one two")
        equal(socket.close_code, 1000)

    await checks.check("text, fragments, and 128 KB in frames of 32 KB", messages)

    async def fragments_come_back():
        async with dial() as socket:
            await socket.send(["x" * FRAME, "y" * FRAME])
            received = [part async for part in socket.recv_streaming()]
            equal([part[0] for part in received if part], ["x", "y"], "the API's own frames")

    await checks.check("the API's frames arrive as frames", fragments_come_back)

    async def too_large(message):
        async with dial() as socket:
            with contextlib.suppress(websockets.ConnectionClosed):
                await socket.send(message)
            equal(await closed(socket), 1009)

    await checks.check("a frame of more than 32 KB: 1009", lambda: too_large("x" * (FRAME + 1)))
    await checks.check("a message of more than 128 KB: 1009", lambda: too_large(["x" * FRAME] * 4 + ["y"]))

    async def binary():
        async with dial() as socket:
            await socket.send(b"x")
            equal(await closed(socket), 1003)

    await checks.check("a binary message: 1003", binary)

    async def pings():
        async with dial(ping_interval=None) as socket:
            for _ in range(3):
                await within(await socket.ping("are you there"), "the pong")
            await socket.pong("unasked")
            await socket.send("still here")
            equal(await within(socket.recv(), "the echo"), "still here")

    await checks.check("pings are answered by the API", pings)

    for code in CODES:

        async def by_client(code=code):
            async with dial() as socket:
                await socket.close(code, "because")
                # The code that the peer sent back, not the code that was sent.
                equal((socket.protocol.close_rcvd.code, socket.protocol.close_rcvd_then_sent), (code, False))
            await control.until("its end", lambda state: not state["gateway"]["connections"])

        async def by_api(code=code):
            async with dial() as socket:
                await info(socket)
                await control.switch(close_clean=code)
                equal(await closed(socket), code)

        await checks.check(f"close {code}, by the client", by_client)
        await checks.check(f"close {code}, by the API", by_api)

    async def client_gone():
        async with dial() as socket:
            identity = (await info(socket))["connectionId"]
            socket.transport.abort()
            await control.until("its end", lambda state: identity not in state["gateway"]["connections"])

    await checks.check("a lost client is closed for the API", client_gone)

    async def api_gone():
        async with dial() as socket:
            await info(socket)
            await control.switch(close_all=True)
            # A close handshake may take five seconds; a dropped connection ends sooner.
            equal(await within(closed(socket), "the drop", seconds=4), 1006)

    await checks.check("a lost API is closed for the client", api_gone)

    async def subprotocols():
        for target, offered, expected in [
            ("/api", None, None), ("/api", ["a", "b"], "a"), ("/api?subprotocol=b", ["a", "b"], "b"), ("/api?subprotocol=none", ["a"], None),
        ]:  # fmt: skip
            async with dial(target, subprotocols=offered) as socket:
                equal(socket.subprotocol, expected, f"subprotocol of {target}")

    await checks.check("subprotocols: the API's choice", subprotocols)

    async def compression():
        async with dial(compression="deflate") as socket:
            equal(socket.protocol.extensions, [], "extensions")
            headers = (await info(socket))["handshake"]["headers"]
            offers = [value for name, value in headers if name.lower() == "sec-websocket-extensions"]
            require(offers and "permessage-deflate" in offers[0], repr(offers))

    await checks.check("compression: offered, but not negotiated", compression)

    async def handshake():
        headers = {"x-team": "red", "X-Amz-Meta": "m", "Authorization": "Bearer x", "x-amz-security-token": "x"}
        async with dial("/api?b=2&a=x+y&c=%2f&flag&X-Amz-Signature=0", additional_headers=headers) as socket:
            echo = (await info(socket))["handshake"]
            equal(echo["target"], "/prod?b=2&a=x%20y&c=%2F&flag=", "target")
            equal(echo["signed_headers"], ["host", "x-amz-date", "x-amz-meta", "x-amz-security-token"], "signed")
            received = {name.lower(): value for name, value in echo["headers"]}
            equal((received["x-team"], received["x-amz-meta"]), ("red", "m"))
            require(received["authorization"].startswith("AWS4-HMAC-SHA256 "), received["authorization"])
            require(received["host"].endswith(".amazonaws.com"), received["host"])

    await checks.check("the query is escaped again, and x-amz-* headers are signed", handshake)

    def request(method, target, body=None):
        connection = HTTPConnection(address, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, target, body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    async def managed():
        async with dial() as socket:
            identity = (await info(socket))["connectionId"]
            target = f"/api/@connections/{identity}"
            equal(await asyncio.to_thread(request, "POST", target, b"pushed"), (200, b""))
            equal(await within(socket.recv(), "the message"), "pushed")
            status, body = await asyncio.to_thread(request, "GET", target)
            equal((status, sorted(json.loads(body))), (200, ["connectedAt", "identity", "lastActiveAt"]))
            equal((await asyncio.to_thread(request, "DELETE", target))[0], 204)
            equal(await closed(socket), 1000)
        await control.until("its end", lambda state: identity not in state["gateway"]["connections"])
        for method in ("POST", "GET", "DELETE"):
            equal((await asyncio.to_thread(request, method, target))[0], 410, method)

    await checks.check("@connections on the same route", managed)

    async def refused(target, status, kind, message):
        try:
            async with dial(target):
                raise AssertionError("the upgrade was granted")
        except websockets.InvalidStatus as error:
            response = error.response
            equal((response.status_code, response.headers.get("x-amzn-errortype")), (status, kind), repr(response))
            equal(json.loads(response.body)["message"], message)

    invalid = "The security token included in the request is invalid."
    for name, target, *expected in [
        ("by the integration", "/api?status=401", 401, None, "refused by the integration"),
        ("by the integration, 503", "/api?status=503", 503, None, "refused by the integration"),
        ("not the stage alone", "/api/x", 403, "ForbiddenException", "Forbidden"),
        ("an unknown key", "/wrong", 403, "UnrecognizedClientException", invalid),
    ]:
        await checks.check(f"refused: {name}", lambda target=target, expected=expected: refused(target, *expected))

    async def while_switched(change, back, *expected):
        await control.switch(**change)
        try:
            await refused("/api", *expected)
        finally:
            await control.switch(**back)

    expired = "The security token included in the request is expired"
    await checks.check(
        "refused: expired keys",
        lambda: while_switched({"expire_keys": True}, {"expire_keys": False}, 403, "ExpiredTokenException", expired),
    )

    async def malformed(headers, code):
        before = (await control.state())["gateway"]["requests"]
        try:
            async with dial(additional_headers=headers):
                raise AssertionError("the upgrade was granted")
        except websockets.InvalidStatus as error:
            equal((error.response.status_code, json.loads(error.response.body)["code"]), (400, code))
        equal((await control.state())["gateway"]["requests"], before, "what the emulator saw")

    await checks.check("refused: what cannot be signed", lambda: malformed({"x-amz-odd": "a  b"}, "HEADER_NOT_SIGNABLE"))

    checks.finish()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
