"""Shared by the Python test clients: one line per check, an overall deadline, the emulator's control address."""

import asyncio
import json
import os
import sys
import threading
import time
import urllib.request

ONE_WAIT = 10.0


class Checks:
    """Counts and prints; a failing check never ends the run."""

    def __init__(self, seconds):
        self.passed = 0
        self.failed = 0
        self._current = "start"
        self._deadline = threading.Timer(seconds, self._too_late, [seconds])
        self._deadline.daemon = True
        self._deadline.start()

    async def check(self, name, body, seconds=3 * ONE_WAIT):
        """Runs the coroutine function `body` under `name`."""
        self._current = name
        try:
            await asyncio.wait_for(body(), seconds)
        except Exception as error:  # noqa: BLE001 - every failure is a finding
            self._fail(name, f"{type(error).__name__}: {error}")
        else:
            self.passed += 1
            print(f"ok - {name}", flush=True)

    def finish(self):
        self._deadline.cancel()
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)

    def _fail(self, name, reason):
        self.failed += 1
        reason = " | ".join(line.strip() for line in reason.splitlines() if line.strip())
        print(f"not ok - {name}: {reason}", flush=True)

    def _too_late(self, seconds):
        self._fail(self._current, f"the whole run took longer than {seconds} s")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        os._exit(1)


class Control:
    """The emulator's control address."""

    def __init__(self, base):
        self._base = base.rstrip("/")

    async def state(self):
        return await asyncio.to_thread(self._state)

    async def until(self, what, predicate, seconds=ONE_WAIT):
        """Polls until the state satisfies `predicate`, for a bounded time."""
        end = time.monotonic() + seconds
        while True:
            state = await self.state()
            if predicate(state):
                return state
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {seconds} s; state {json.dumps(state)}")
            await asyncio.sleep(0.01)

    async def subscriptions(self, count):
        """Waits until the emulator reports it as live, because standard protocols have no acknowledgement."""
        await self.until(
            f"{count} live subscriptions", lambda state: state["realtime"]["subscriptions"] == count
        )

    async def switch(self, **change):
        return await asyncio.to_thread(self._ask, "/switch", json.dumps(change).encode())

    def _state(self):
        return self._ask("/state")

    def _ask(self, path, body=None):
        # Loopback must not use a proxy of the environment.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self._base}{path}", data=body, timeout=ONE_WAIT) as response:
            return json.load(response)


async def within(awaitable, what, seconds=ONE_WAIT):
    """Fails, instead of hanging, when `awaitable` does not settle."""
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        raise TimeoutError(f"{what}: nothing within {seconds} s") from None


def require(condition, reason):
    """Like assert, but not removed by -O."""
    if not condition:
        raise AssertionError(reason)


def equal(actual, expected, what="value"):
    require(actual == expected, f"{what}: {actual!r} is not {expected!r}")
