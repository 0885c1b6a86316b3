"""The Python client sgqlc: queries and mutations over HTTP, subscriptions over the legacy graphql-ws
protocol, with a socket and, because it blocks, a thread for each.

A generator cannot be closed while it waits. So the thread reads an event only when one is requested, and
stopping a subscription closes its generator between two events.
"""

import asyncio
import os
import threading

from cells import ECHO, matrix
from check import equal

# Loopback must not use a proxy of the environment.
os.environ["no_proxy"] = "*"

from sgqlc.endpoint.http import HTTPEndpoint  # noqa: E402
from sgqlc.endpoint.websocket import WebSocketEndpoint  # noqa: E402

TIMEOUT = 10


class Sgqlc:
    retries = False

    def __init__(self, options):
        self._http = HTTPEndpoint(options.http, timeout=TIMEOUT)
        self._ws = WebSocketEndpoint(options.ws)
        self._quick_ws = WebSocketEndpoint(options.ws, timeout=TIMEOUT)
        self.also = {"query": self._query_by_socket}

    async def run(self, operation, variables):
        name, query = operation
        result = await asyncio.to_thread(self._http, query, variables, name)
        return result.get("data"), messages(result)

    def subscribe(self, operation, variables, sink):
        name, query = operation
        return Reading(self._ws(query, variables, name), sink)

    async def close(self):
        pass

    async def _query_by_socket(self):
        def ask():
            name, query = ECHO
            return list(self._quick_ws(query, {"text": "by socket"}, name))

        equal(await asyncio.to_thread(ask), [{"data": {"said": "by socket"}}], "results")


class Reading:
    """One subscription, and the thread that reads it."""

    def __init__(self, events, sink):
        self._events = events
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._asked = threading.Semaphore(0)
        self._waits = False
        self._stopped = False
        self.want()
        threading.Thread(target=self._read, daemon=True).start()

    def want(self):
        if not self._waits:
            self._waits = True
            self._asked.release()

    def stop(self):
        self._stopped = True
        self._asked.release()

    def _read(self):
        try:
            while True:
                self._asked.acquire()
                if self._stopped:
                    self._events.close()
                    return
                result = next(self._events)
                self._tell(self._brought, result)
        except StopIteration:
            self._tell(self._sink.end, "completed")
        except Exception as error:  # noqa: BLE001 - every exception ends the subscription
            # sgqlc raises a ValueError that quotes the message of the server's `error`, and nothing else.
            refused = isinstance(error, ValueError) and "'type': 'error'" in str(error)
            self._tell(self._sink.end, [str(error)] if refused else error)

    def _brought(self, result):
        self._waits = False
        self._sink.put(result.get("data"), messages(result))

    def _tell(self, what, value):
        self._loop.call_soon_threadsafe(what, value)


def messages(result):
    return [each["message"] for each in result.get("errors") or []]


async def make(options):
    return Sgqlc(options)


if __name__ == "__main__":
    matrix({"sgqlc": make})
