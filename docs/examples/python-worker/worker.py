"""Answers each message of a room: a subscription and a mutation, with gql.

Needs gql[aiohttp,websockets] 4.4.0. GRAPHQL_URL is the address of countersign.
"""

import asyncio
import os

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportError
from gql.transport.websockets import WebsocketsTransport

URL = os.environ.get("GRAPHQL_URL", "http://127.0.0.1:4100/graphql")
MESSAGES = gql('subscription { onMessage(room: "lobby") { room body } }')
# A mutation selects what subscriptions filter by and show: `room` and `body`.
POST = gql('mutation Post($body: String!) { postMessage(room: "lobby", body: $body) { room body } }')


async def work():
    """Serves one connection, until it is lost."""
    events = Client(transport=WebsocketsTransport(url=URL.replace("http", "ws", 1)))
    calls = Client(transport=AIOHTTPTransport(url=URL))
    async with events as subscription, calls as api:
        print("subscribed", flush=True)
        async for event in subscription.subscribe(MESSAGES):
            body = event["onMessage"]["body"]
            if body.startswith("answer to "):
                continue
            await api.execute(POST, variable_values={"body": f"answer to {body}"})
            print(f"answered {body}", flush=True)


async def main():
    while True:
        try:
            await work()
        except (OSError, TransportError) as error:
            # countersign closes sockets with 1012 after a lost connection to AWS: events may be missing.
            print(f"connecting again: {error}", flush=True)
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())
