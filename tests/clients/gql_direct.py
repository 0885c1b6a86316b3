"""Runs gql's own AppSync transport, with IAM, directly against the emulator, without countersign.

usage: python gql_direct.py HTTPS_URL REGION CA_FILE CONTROL
  HTTPS_URL  https://127.0.0.1:PORT/graphql  the emulator
  REGION     the region it expects in credential scopes
  CA_FILE    the certificate authority of its certificate
  CONTROL    http://...                      the emulator's control address
Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if set, AWS_SESSION_TOKEN.
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit

from gql import Client, GraphQLRequest
from gql.transport.appsync_auth import AppSyncIAMAuthentication
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport
from gql.transport.exceptions import TransportError, TransportQueryError

import signed
from check import Checks, Control, equal, require, within

ON_MESSAGE = "subscription S($room: ID) { onMessage(room: $room) { id room body author sentAt } }"
POST = "mutation P($room: ID!, $body: String!) { postMessage(room: $room, body: $body) { id room body author sentAt } }"


async def main(url, region, ca_file, control_url):
    checks = Checks(60)
    control = Control(control_url)
    context = signed.trust(ca_file)
    credentials = signed.credentials_from_environment()

    def transport(with_credentials=credentials):
        auth = AppSyncIAMAuthentication(
            host=urlsplit(url).netloc, region_name=region, credentials=with_credentials
        )
        return AppSyncWebsocketsTransport(url=url, auth=auth, ssl=context, connect_args={"proxy": None})

    async def mutate(query, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = signed.sign(
            "POST", url, {"content-type": "application/json"}, body, credentials, region
        )
        answer = await signed.exchange(context, "POST", url, headers, body)
        equal(answer.status, 200, repr(answer))
        result = answer.json()
        require("errors" not in result, repr(result))
        return result["data"]

    async def new_room(name):
        created = await mutate("mutation C($name: String!) { createRoom(name: $name) { id } }", name=name)
        return created["createRoom"]["id"]

    async def live(count):
        await control.subscriptions(idle + count)

    idle = (await control.state())["realtime"]["subscriptions"]

    async def one():
        room = await new_room("one")
        async with Client(transport=transport()) as session:
            events = session.subscribe(GraphQLRequest(ON_MESSAGE, variable_values={"room": room}))
            first = asyncio.ensure_future(events.__anext__())
            await live(1)
            posted = (await mutate(POST, room=room, body="grüße \N{GRINNING FACE} \"\\"))["postMessage"]
            equal(await within(first, "an event"), {"onMessage": posted}, "event")
            await events.aclose()
            await live(0)

    async def two():
        rooms = [await new_room("red"), await new_room("blue")]
        async with Client(transport=transport()) as session:
            streams = [
                session.subscribe(GraphQLRequest(ON_MESSAGE, variable_values={"room": room})) for room in rooms
            ]
            reading = [asyncio.ensure_future(stream.__anext__()) for stream in streams]
            await live(2)
            for room in rooms:
                await mutate(POST, room=room, body=f"for {room}")
            for room, event in zip(rooms, reading):
                equal((await within(event, "an event"))["onMessage"]["body"], f"for {room}", "body")
            for stream in streams:
                await stream.aclose()
            await live(0)

    async def refused():
        async with Client(transport=transport()) as session:
            events = session.subscribe(GraphQLRequest("subscription { onNothing { id } }"))
            try:
                event = await within(events.__anext__(), "the error")
            except TransportQueryError as error:
                require(error.errors, "an error without errors")
            else:
                raise AssertionError(f"got {event!r}")

    async def wrong_secret():
        wrong = signed.Credentials(credentials.access_key, "not the secret", credentials.token)
        try:
            async with Client(transport=transport(wrong)):
                pass
        except TransportError:
            # The close follows the error at once, and gql may notice it while it still writes its
            # init, so the message is read from the emulator.
            refusal = (await control.state())["last_refusal"]
            require("signature we calculated does not match" in refusal, f"refused with {refusal}")
        else:
            raise AssertionError("connected")

    await checks.check("a subscription receives the event of a signed mutation", one)
    await checks.check("two subscriptions on one connection each get their own", two)
    await checks.check("a subscription to an unknown field is an error", refused)
    await checks.check("a wrong secret is rejected at connect, with AWS's message", wrong_secret)
    checks.finish()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: python gql_direct.py HTTPS_URL REGION CA_FILE CONTROL")
    asyncio.run(main(*sys.argv[1:]))
