"""Measures the memory that subscriptions use."""

import json
import pathlib
import re
import resource
import statistics
import subprocess
import sys

from stage import Failed, rss_kib, wait_until

HERE = pathlib.Path(__file__).resolve().parent
COUNT = 1000
# countersign is measured with so many, too, or with as many as this system allows.
MANY = 10_000
# The memory that countersign may use with them, before and after they are opened, in KiB.
LIMIT = 100 * 1000 * 1000 / 1024
PATIENCE = 180


def hold(bench, port, path, sockets, each, protocol):
    process = bench.stage.start(
        [sys.executable, HERE / "sockets.py", "hold", port, path, sockets, each, protocol],
        bench.stage.rest, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    if process.stdout.readline().strip() != "ready":
        raise Failed(f"{sockets} WebSockets could not be opened on port {port}")
    return process


def bridged(bench, sockets, each):
    """Returns the KiB of countersign before and with all subscriptions, in front of the emulator."""
    emulator = bench.stage.start(
        [
            bench.binary, "emulate", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
            "--max-subscriptions", "100", "--ca-file", bench.tmp / "emulator.pem",
            "--log", "warn",
        ],
        bench.stage.rest, env=bench.environment(), stdout=subprocess.PIPE,
        stderr=open(bench.tmp / "emulator.log", "wb"), text=True,
    )
    banner = ""
    while "curl" not in banner:
        line = emulator.stdout.readline()
        if not line:
            raise Failed(f"the emulator did not start: {banner}")
        banner += line
    identity = re.search(
        r"AWS_ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+) AWS_SESSION_TOKEN=(\S+)", banner
    ).groups()
    address, url = re.search(r"--connect (\S+) .* (https://\S+)", banner).groups()
    control = int(re.search(r"control +http://[^/]*:(\d+)/", banner)[1])

    def subscriptions():
        state = json.loads(bench.ask(control, path="/state")[1])
        return state["realtime"]["subscriptions"]

    contender = bench.countersign(
        [url, "--connect", address, "--ca-file", bench.tmp / "emulator.pem", "--log", "warn"],
        bench.tmp / "countersign.log", identity, COUNTERSIGN_LIMITS__CONNECTIONS=str(MANY + 500),
    )
    port = bench.ports["PORT"]
    warm_up = '{"query":"{ rooms { id } }"}'
    wait_until(
        lambda: bench.ask(port, body=warm_up)[0] == 200,
        "countersign does not answer in front of the emulator",
    )
    idle = rss_kib(contender)
    clients = hold(bench, port, "/graphql", sockets, each, "graphql")
    wait_until(
        lambda: subscriptions() == sockets * each,
        f"the emulator does not have {sockets * each} subscriptions", patience=PATIENCE,
    )
    used = rss_kib(contender)
    # Reading the state takes time; all subscriptions must have existed throughout.
    if subscriptions() != sockets * each or clients.poll() is not None:
        bench.problems.append(f"countersign lost some of {sockets * each} subscriptions")
    for process in (clients, contender, emulator):
        bench.stage.stop(process)
    return idle, used


def passed_through(bench, sockets, each):
    """Returns the KiB of nginx before and with all subscriptions, in front of sockets.py."""
    upstream = bench.stage.start(
        [
            sys.executable, HERE / "sockets.py", "echo", bench.ports["REALTIME"],
            bench.tmp / "leaf.pem", bench.tmp / "leaf.key",
        ],
        bench.stage.rest, stdout=subprocess.PIPE, text=True,
    )
    if upstream.stdout.readline().strip() != "ready":
        raise Failed("sockets.py echo did not start")
    contender = bench.nginx("proxy", bench.stage.contender)
    bench.wait_for_answer(contender, "nginx")
    idle = rss_kib(contender)
    clients = hold(bench, bench.ports["PORT"], "/realtime", sockets, each, "echo")
    used = rss_kib(contender)
    if clients.poll() is not None:
        bench.problems.append(f"nginx lost some of {sockets} WebSockets")
    for process in (clients, contender, upstream):
        bench.stage.stop(process)
    return idle, used


def measure(bench, rounds):
    """Returns the KiB before and with all subscriptions, for each program and number of sockets."""
    measured = {}
    for sockets in (COUNT // 5, COUNT):
        each = COUNT // sockets
        for name, run in (("nginx", passed_through), ("countersign", bridged)):
            print(f"{name}: {sockets} sockets × {each} subscriptions", file=sys.stderr)
            pairs = [run(bench, sockets, each) for _ in range(rounds)]
            measured[name, sockets, each] = tuple(
                statistics.median(column) for column in zip(*pairs)
            )
    for sockets, each in ((100, MANY // 100), (most_sockets(), 1)):
        print(f"countersign: {sockets} sockets × {each} subscriptions", file=sys.stderr)
        idle, used = measured["countersign", sockets, each] = bridged(bench, sockets, each)
        expected = idle + (LIMIT - idle) * sockets * each / MANY
        if used > expected:
            bench.problems.append(
                f"{used:,.0f} KiB with {sockets} × {each} subscriptions, above {expected:,.0f}"
            )
    return measured


def most_sockets():
    """Returns how many client sockets countersign accepts: each may need two of its open files."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MANY, (files - 1500) // 2)
