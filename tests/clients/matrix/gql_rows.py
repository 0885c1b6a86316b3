"""The Python gql client with each of its transports: https://gql.readthedocs.io

Its AppSync transport signs by itself, with the keys of the emulator's demo; countersign replaces these
signatures with its own.
"""

import asyncio
from urllib.parse import urlsplit

from botocore.credentials import Credentials
from cells import matrix
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.appsync_auth import AppSyncIAMAuthentication
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport

DIRECT = {"proxy": None}  # loopback must not use a proxy of the environment
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "AQoDYXdzEXAMPLETOKEN==")


class Gql:
    """Opens a session that reconnects, as gql's documentation describes; subscriptions do not restart."""

    retries = False

    @classmethod
    async def connect(cls, transport):
        self = cls()
        self._client = Client(transport=transport)
        self._session = await self._client.connect_async(reconnecting=True)
        return self

    async def run(self, operation, variables):
        try:
            return await self._session.execute(request(operation, variables)), None
        except TransportQueryError as error:
            return error.data, messages(error)

    def subscribe(self, operation, variables, sink):
        async def read():
            try:
                async for data in self._session.subscribe(request(operation, variables)):
                    sink.put(data)
                sink.end("completed")
            except TransportQueryError as error:
                sink.end(messages(error))
            except Exception as error:  # noqa: BLE001 - every exception ends the subscription
                sink.end(error)

        return Reading(asyncio.ensure_future(read()))

    async def close(self):
        await self._client.close_async()


class Reading:
    """Stops a subscription of gql, by cancelling the task that iterates over it."""

    def __init__(self, task):
        self._task = task

    def stop(self):
        self._task.cancel()


def request(operation, variables):
    name, query = operation
    return GraphQLRequest(query, variable_values=variables, operation_name=name)


def messages(error):
    """Returns what the server sent: errors, or the payload of a legacy or an AppSync `error`."""
    errors = [each for entry in error.errors for each in entry.get("errors", [entry])]
    return [each.get("message", str(each)) for each in errors]


def websocket(subprotocol):
    def make(options):
        return Gql.connect(
            WebsocketsTransport(url=options.ws, subprotocols=[subprotocol], connect_args=DIRECT)
        )

    return make


def http(options):
    return Gql.connect(AIOHTTPTransport(url=options.http, timeout=10))


def appsync(options):
    auth = AppSyncIAMAuthentication(
        host=urlsplit(options.ws).netloc, region_name="us-east-1", credentials=KEYS
    )
    tls = {"ssl": True} if options.ws.startswith("wss:") else {}
    return Gql.connect(
        AppSyncWebsocketsTransport(url=options.ws, auth=auth, connect_args=DIRECT, **tls)
    )


if __name__ == "__main__":
    matrix(
        {
            "gql-http": http,
            "gql-transport-ws": websocket("graphql-transport-ws"),
            "gql-legacy": websocket("graphql-ws"),
            "gql-appsync": appsync,
        }
    )
