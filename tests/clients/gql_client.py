"""The Python gql client, over HTTP (aiohttp) and over WebSocket, against one endpoint.

usage: python gql_client.py HTTP_URL WS_URL CONTROL
  HTTP_URL  http://...  the GraphQL endpoint
  WS_URL    ws://...    the same endpoint
  CONTROL   http://...  the emulator's control address
"""

import asyncio
import json
import sys

from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from check import Checks, Control, equal, require, within

TRANSPORT_WS = "graphql-transport-ws"
SESSION = 100.0  # seconds; the checks inside a session have their own, shorter, limits
MESSAGE = "{ id room body author sentAt }"
ON_MESSAGE = f"subscription OnMessage($room: ID) {{ onMessage(room: $room) {MESSAGE} }}"
POST = (
    "mutation Post($room: ID!, $body: String!, $author: String) "
    f"{{ postMessage(room: $room, body: $body, author: $author) {MESSAGE} }}"
)


def request(query, operation_name=None, **variables):
    return GraphQLRequest(query, variable_values=variables or None, operation_name=operation_name)


async def run(session, query, **variables):
    return await within(session.execute(request(query, **variables)), "the result")


async def new_room(session, name):
    result = await run(session, "mutation C($name: String!) { createRoom(name: $name) { id name } }", name=name)
    equal(result["createRoom"]["name"], name, "name")
    return result["createRoom"]["id"]


async def post(session, room, body, author=None):
    return (await run(session, POST, room=room, body=body, author=author))["postMessage"]


async def refused(session, query):
    """Runs an operation that must fail; returns its data and its errors."""
    try:
        result = await run(session, query)
    except TransportQueryError as error:
        require(error.errors, "an error without errors")
        for each in error.errors:
            require(isinstance(each["message"], str), f"message {each!r}")
        return error.data, error.errors
    raise AssertionError(f"answered {result!r}")


async def bodies(events, count):
    return [(await within(events.__anext__(), "an event"))["onMessage"]["body"] for _ in range(count)]


async def queries(checks, label, session):
    """Checks that are the same over HTTP and over WebSocket."""

    async def query():
        result = await run(session, "{ rooms { id name } }")
        require(isinstance(result["rooms"], list), f"rooms {result!r}")

    async def variables():
        text = 'grüße "\\" \N{GRINNING FACE}'
        document = "query Other { rooms { id } } query Wanted($text: String!) { said: echo(text: $text) }"
        wanted = request(document, operation_name="Wanted", text=text)
        equal(await within(session.execute(wanted), "the result"), {"said": text}, "result")

    async def mutation():
        room = await new_room(session, "attic")
        message = await post(session, room, "hello", "ann")
        equal((message["room"], message["body"], message["author"]), (room, "hello", "ann"), "message")
        found = await run(session, "query M($room: ID!) { messages(room: $room) { id } }", room=room)
        equal(found, {"messages": [{"id": message["id"]}]}, "messages")

    async def field_error():
        data, errors = await refused(session, '{ failing said: echo(text: "x") }')
        equal(data, {"failing": None, "said": "x"}, "data")
        equal(errors[0]["path"], ["failing"], "path")

    async def hard_error():
        data, _ = await refused(session, "{ failingHard }")
        require(data is None, f"data {data!r}")

    async def validation_error():
        data, _ = await refused(session, "{ noSuchField }")
        require(data is None, f"data {data!r}")

    async def concurrent():
        texts = [f"text {n}" for n in range(20)]
        said = await asyncio.gather(
            *(run(session, "query Q($text: String!) { echo(text: $text) }", text=text) for text in texts)
        )
        equal([each["echo"] for each in said], texts, "answers")

    await checks.check(f"{label}: a query", query)
    await checks.check(f"{label}: variables and operationName", variables)
    await checks.check(f"{label}: a mutation", mutation)
    await checks.check(f"{label}: an error in a nullable field arrives together with data", field_error)
    await checks.check(f"{label}: an error in a non-null field leaves no data", hard_error)
    await checks.check(f"{label}: a validation error is an error", validation_error)
    await checks.check(f"{label}: 20 concurrent queries each get their own answer", concurrent)


async def subscriptions(checks, label, session, control):
    idle = (await control.state())["realtime"]["subscriptions"]

    async def one():
        room = await new_room(session, "one")
        events = session.subscribe(request(ON_MESSAGE, room=room))
        first = asyncio.ensure_future(events.__anext__())
        await control.subscriptions(idle + 1)
        message = await post(session, room, "hello", "ann")
        equal(await within(first, "an event"), {"onMessage": message}, "event")
        await events.aclose()
        await control.subscriptions(idle)

    async def two():
        red, blue = await new_room(session, "red"), await new_room(session, "blue")
        on_red = session.subscribe(request(ON_MESSAGE, room=red))
        on_blue = session.subscribe(request(ON_MESSAGE, room=blue))
        reading = [asyncio.ensure_future(bodies(events, 3)) for events in (on_red, on_blue)]
        await control.subscriptions(idle + 2)
        for n in (1, 2, 3):
            await post(session, red, f"red {n}")
            await post(session, blue, f"blue {n}")
        equal(await reading[0], ["red 1", "red 2", "red 3"], "red")
        equal(await reading[1], ["blue 1", "blue 2", "blue 3"], "blue")
        await on_red.aclose()
        await on_blue.aclose()
        await control.subscriptions(idle)

    async def leave_one():
        room = await new_room(session, "quiet")
        leaving = session.subscribe(request(ON_MESSAGE, room=room))
        staying = session.subscribe(request(ON_MESSAGE, room=room))
        reading = [asyncio.ensure_future(bodies(events, 1)) for events in (leaving, staying)]
        await control.subscriptions(idle + 2)
        stops = (await control.state())["realtime"]["stops_total"]
        await post(session, room, "both")
        for each in reading:
            equal(await each, ["both"], "bodies")
        await leaving.aclose()
        await control.until(
            "one stop more upstream", lambda state: state["realtime"]["stops_total"] == stops + 1
        )
        await control.subscriptions(idle + 1)
        await post(session, room, "after")
        equal(await bodies(staying, 1), ["after"], "bodies")
        await staying.aclose()
        await control.subscriptions(idle)

    async def server_error():
        room = await new_room(session, "sibling")
        staying = session.subscribe(request(ON_MESSAGE, room=room))
        reading = asyncio.ensure_future(bodies(staying, 1))
        await control.subscriptions(idle + 1)
        refused_one = session.subscribe(request("subscription { onNothing { id } }"))
        try:
            event = await within(refused_one.__anext__(), "the error")
        except TransportQueryError as error:
            require(error.errors and isinstance(error.errors[0]["message"], str), f"errors {error.errors!r}")
        else:
            raise AssertionError(f"got {event!r}")
        await post(session, room, "after the error")
        equal(await reading, ["after the error"], "bodies")
        await staying.aclose()
        await control.subscriptions(idle)

    await checks.check(f"{label}: a subscription with variables receives the event of a mutation", one)
    await checks.check(f"{label}: two subscriptions on one session each get exactly their own", two)
    await checks.check(f"{label}: the client's complete stops one upstream; the other one continues", leave_one)
    await checks.check(f"{label}: a rejected subscription is an error; the other one continues", server_error)


async def main(http_url, ws_url, control_url):
    checks = Checks(120)
    control = Control(control_url)

    async def http():
        transport = AIOHTTPTransport(url=http_url, timeout=10)
        async with Client(transport=transport) as session:
            await queries(checks, "http", session)

    await checks.check("http: the session", http, SESSION)

    async def headers():
        transport = AIOHTTPTransport(url=http_url, headers={"x-team": "red"}, timeout=10)
        async with Client(transport=transport) as session:
            result = await run(session, '{ headers(names: ["x-team"]) }')
            equal(json.loads(result["headers"]).get("x-team"), "red", "x-team")

    await checks.check("http: a header reaches the resolver", headers)

    for label, more in {
        "ws, both subprotocols offered": {},
        f"ws, {TRANSPORT_WS} only": {"subprotocols": [TRANSPORT_WS]},
    }.items():

        async def websocket(label=label, more=more):
            transport = WebsocketsTransport(
                url=ws_url, headers={"x-team": "blue"}, connect_args={"proxy": None}, **more
            )
            async with Client(transport=transport) as session:
                equal(transport.subprotocol, TRANSPORT_WS, "subprotocol")
                await queries(checks, label, session)
                await subscriptions(checks, label, session, control)
                result = await run(session, '{ headers(names: ["x-team"]) }')
                equal(json.loads(result["headers"]).get("x-team"), "blue", "x-team")

        await checks.check(f"{label}: the session, with its header", websocket, SESSION)

    checks.finish()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python gql_client.py HTTP_URL WS_URL CONTROL")
    asyncio.run(main(*sys.argv[1:]))
