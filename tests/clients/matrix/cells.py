"""Shared by the Python clients of the matrix, as cells.mjs is by the Node clients.

This file is independent of any protocol; each client is an object that is passed to `matrix`:

    await run(operation, variables)          a query or mutation: (data, errors)
    subscribe(operation, variables, sink)    starts a subscription and returns an object whose `stop()` ends
                                             it; the sink has put(data, errors) and end(reason)
    await close()
    retries                                  whether the client restarts its subscriptions by itself
    also                                     further checks, by column

`errors` and a sink's `reason` are the values that the client itself passes to an application: a list of
messages if the server sent GraphQL errors, and any other value if the client gave up.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from check import Control, equal, require, within  # noqa: E402

COLUMNS = ("query", "mutation", "subscription", "error", "stop", "reconnect", "many")
CELL = 30.0
ALL = 60.0
STEP = 10.0
MANY = 200
AT_ONCE = 20
SETTLE = 2.0

# A subscriber gets only the fields that the mutation selected.
MESSAGE = ("id", "room", "body", "author", "sentAt")
_FIELDS = " ".join(MESSAGE)

ROOMS = ("Rooms", "query Rooms { rooms { id name } }")
ECHO = ("Echo", "query Echo($text: String!) { said: echo(text: $text) }")
FAILING = ("Failing", "query Failing { failingHard }")
CREATE = ("Create", "mutation Create($name: String!) { createRoom(name: $name) { id name } }")
POST = (
    "Post",
    "mutation Post($room: ID!, $body: String!, $author: String) "
    f"{{ postMessage(room: $room, body: $body, author: $author) {{ {_FIELDS} }} }}",
)
ON_MESSAGE = (
    "OnMessage",
    f"subscription OnMessage($room: ID) {{ onMessage(room: $room) {{ {_FIELDS} }} }}",
)
ON_AUTHOR = (
    "OnAuthor",
    "subscription OnAuthor($room: ID, $author: String) "
    f"{{ onMessage(room: $room, author: $author) {{ {_FIELDS} }} }}",
)
REFUSED = ("Refused", "subscription Refused { onNothing { id } }")


def matrix(makers):
    """Runs the row that the command line names.

    `makers` has, by row, a coroutine function from the options (http, ws, control) to a client.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("row", choices=makers)
    for name in ("http", "ws", "control"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--https", help="not used here")
    options = parser.parse_args()
    asyncio.run(_row(options.row, makers[options.row], options))


async def _row(row, make, options):
    rows = json.loads((HERE / "rows.json").read_text())
    na = next(each["na"] for each in rows if each["row"] == row)
    control = Control(options.control)
    end = time.monotonic() + ALL
    failed = False
    for column in (column for column in COLUMNS if column not in na):
        begun = time.monotonic()
        cell = _Cell(control, options, row, na)
        try:
            left = min(CELL, end - begun)
            require(left > 0, f"the row took longer than {ALL:.0f} s")
            await within(cell.run(column, make), f"the cell {column}", left)
        except Exception as error:  # noqa: BLE001 - every failure is a finding
            failed = True
            outcome = f"FAIL {_one_line(error)}"
        else:
            outcome = f"ok {round((time.monotonic() - begun) * 1000)}ms"
        print(f"cell {row} {column} {outcome}", flush=True)
        # Subscriptions that a failed cell left behind must not fail the next one.
        try:
            await within(cell.close(), "the close", SETTLE)
            await control.until("no subscriptions", lambda state: _live(state) == 0, SETTLE)
        except Exception:  # noqa: BLE001, S110 - the next cell reports the failure
            pass
    print(f"done {row}", flush=True)
    # A client may have left a thread behind that waits forever.
    os._exit(1 if failed else 0)


class _Cell:
    """One client, created for one column."""

    def __init__(self, control, options, row, na):
        self._control = control
        self._options = options
        self._row = row
        self._na = na
        self._client = None

    async def run(self, column, make):
        self._idle = _live(await self._control.state())
        self._client = await make(self._options)
        await getattr(self, f"_{column}")()
        also = getattr(self._client, "also", {}).get(column)
        if also:
            await also()

    async def close(self):
        if self._client:
            await self._client.close()

    async def _query(self):
        rooms = (await self._data(ROOMS))["rooms"]
        require(any(room["id"] == "lobby" for room in rooms), f"rooms {rooms!r}")
        text = 'grüße "\\" \N{GRINNING FACE}'
        equal((await self._data(ECHO, text=text))["said"], text, "said")

    async def _mutation(self):
        room = await self._new_room("attic")
        equal((await self._post(room, "once"))["body"], "once", "body")
        equal((await self._control.state())["mutations"][f"{room}/once"], 1, "mutations")

    async def _subscription(self):
        red, blue = await self._new_room("red"), await self._new_room("blue")
        events = self._subscribe(ON_MESSAGE, room=red)
        await self._until_live(1)
        await self._post(blue, "not for red")
        for body in ("first", "second"):
            posted = await self._post(red, body, "ann")
            event = await events.next()
            for field in MESSAGE:
                equal(event[field], posted[field], field)
        await self._nothing_more(events)
        events.stop()
        await self._until_live(0)

    async def _error(self):
        if "query" not in self._na:
            _, errors = await within(self._client.run(FAILING, {}), FAILING[0], STEP)
            _says(errors, "always fails")
        refused = self._subscribe(REFUSED) if "subscription" not in self._na else None
        if refused:
            _says(await within(refused.ended, "the end of the subscription", STEP), "onNothing")
            refused.stop()
            await self._until_live(0)

    async def _stop(self):
        room = await self._new_room("quiet")
        leaving = self._subscribe(ON_MESSAGE, room=room)
        staying = self._subscribe(ON_AUTHOR, room=room, author="ann")
        await self._until_live(2)
        await self._post(room, "for both", "ann")
        for events in (leaving, staying):
            equal((await events.next())["body"], "for both", "body")
        leaving.stop()
        await self._until_live(1)
        await self._post(room, "for one", "ann")
        equal((await staying.next())["body"], "for one", "body")
        await self._nothing_more(leaving)
        staying.stop()
        await self._until_live(0)
        await self._post(room, "for nobody", "ann")
        for events in (leaving, staying):
            await self._nothing_more(events)

    async def _reconnect(self):
        room = await self._new_room("again")
        events = self._subscribe(ON_MESSAGE, room=room)
        await self._until_live(1)
        await self._post(room, "before")
        equal((await events.next())["body"], "before", "body")

        starts = (await self._control.state())["realtime"]["starts_total"]
        events.want()
        await asyncio.to_thread(self._switch, {"close_all": True})
        back = asyncio.ensure_future(
            self._control.until(
                "the subscription again",
                lambda state: state["realtime"]["starts_total"] > starts and _live(state) == self._idle + 1,
            )
        )
        attempts = 0
        # gql's documentation puts a backoff around the function that subscribes.
        while not back.done():
            await asyncio.wait({back, events.ended}, return_when=asyncio.FIRST_COMPLETED)
            if back.done():
                break
            require(not self._client.retries, f"it ended: {_one_line(events.ended.result())}")
            await asyncio.sleep(0.1 * 2**attempts)
            attempts += 1
            events = self._subscribe(ON_MESSAGE, room=room)
        await back
        await self._post(room, "after")
        equal((await events.next())["body"], "after", "body")
        events.stop()
        await self._until_live(0)
        unaided = "by its own retry" if self._client.retries else "it noticed nothing"
        note = "by subscribing again" if attempts else unaided
        print(f"note {self._row} reconnect {note}", flush=True)

    async def _many(self):
        room = await self._new_room("crowd")
        authors = [f"author {number}" for number in range(MANY)]
        crowd = [self._subscribe(ON_AUTHOR, room=room, author=author) for author in authors]
        await self._until_live(MANY)
        for start in range(0, MANY, AT_ONCE):
            some = authors[start : start + AT_ONCE]
            await asyncio.gather(*(self._post(room, f"by {author}", author) for author in some))
        for author, events in zip(authors, crowd):
            equal((await events.next())["body"], f"by {author}", "body")
        for events in crowd:
            await self._nothing_more(events)
        for events in crowd:
            events.stop()
        await self._until_live(0)

    async def _until_live(self, count):
        """Waits until the emulator reports it as live; most clients do not report it."""
        await self._control.subscriptions(self._idle + count)

    async def _data(self, operation, **variables):
        data, errors = await within(self._client.run(operation, variables), operation[0], STEP)
        require(not errors, f"errors {errors!r}")
        return data

    async def _new_room(self, name):
        return (await self._mutate(CREATE, name=name))["createRoom"]["id"]

    async def _post(self, room, body, author=None):
        return (await self._mutate(POST, room=room, body=body, author=author))["postMessage"]

    async def _mutate(self, operation, **variables):
        """Stops it with the client's own method, if there is one."""
        if "mutation" not in self._na:
            return await self._data(operation, **variables)
        body = {"query": operation[1], "operationName": operation[0], "variables": variables}
        result = await asyncio.to_thread(_send_json, self._options.http, body)
        require("errors" not in result, f"errors {result.get('errors')!r}")
        return result["data"]

    def _switch(self, settings):
        _send_json(f"{self._options.control.rstrip('/')}/switch", settings)

    def _subscribe(self, operation, **variables):
        events = _Events()
        events.handle = self._client.subscribe(operation, variables, events)
        return events

    async def _nothing_more(self, events):
        """Waits for a response of the emulator that is newer than anything it may have sent."""
        await self._control.state()
        equal(events.drain(), [], "more events")


class _Events:
    """The events of one subscription. Use it only from the event loop's thread."""

    def __init__(self):
        self._seen = asyncio.Queue()
        self.handle = None
        self.ended = asyncio.get_running_loop().create_future()

    def put(self, data, errors=None):
        if errors:
            self.end(errors)
        else:
            self._seen.put_nowait(data["onMessage"])

    def end(self, reason):
        if not self.ended.done():
            self.ended.set_result(reason)

    def want(self):
        """Lets the client read, because some clients read only on request."""
        if self._seen.empty() and hasattr(self.handle, "want"):
            self.handle.want()

    def stop(self):
        self.handle.stop()

    def drain(self):
        return [self._seen.get_nowait() for _ in range(self._seen.qsize())]

    async def next(self):
        self.want()
        event = asyncio.ensure_future(self._seen.get())
        await asyncio.wait({event, self.ended}, timeout=STEP, return_when=asyncio.FIRST_COMPLETED)
        if event.done():
            return event.result()
        event.cancel()
        if self.ended.done():
            raise AssertionError(f"it ended: {_one_line(self.ended.result())}")
        raise TimeoutError(f"an event: nothing within {STEP:.0f} s")


def _send_json(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    # Loopback must not use a proxy of the environment.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=STEP) as response:
        return json.load(response)


def _live(state):
    return state["realtime"]["subscriptions"]


def _says(errors, words):
    require(isinstance(errors, list), f"no GraphQL errors: {_one_line(errors)}")
    require(any(words in message for message in errors), f'not "{words}": {_one_line(errors)}')


def _one_line(reason):
    if isinstance(reason, Exception):
        reason = f"{type(reason).__name__}: {reason}"
    return " | ".join(line.strip() for line in str(reason).splitlines() if line.strip())
