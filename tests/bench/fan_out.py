"""Measures what the delivery of events to many subscriptions costs."""

import statistics
import subprocess
import sys

from stage import HERE, Failed, cpu_seconds

CLIENTS, EVENTS = 1000, 100
# The CPU time per event of countersign may be at most this many times that of nginx.
LIMIT = 1.0
NGINX, OURS = "nginx, passed through", "countersign, bridged"


def deliver(bench, contender, path, protocol):
    """Returns the events per second, and the CPU time of the contender for each in microseconds."""
    command = [
        sys.executable, HERE / "sockets.py", "fan-out", bench.ports["REALTIME"],
        bench.tmp / "leaf.pem", bench.tmp / "leaf.key", bench.ports["PORT"], path, CLIENTS, EVENTS,
        protocol,
    ]
    load = bench.stage.start(
        command, bench.stage.rest, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if load.stdout.readline().strip() != "ready":
        raise Failed(f"{CLIENTS} subscriptions could not be opened")
    cpu = cpu_seconds(contender)
    print("begin", file=load.stdin, flush=True)
    seconds = load.stdout.readline()
    if not seconds:
        raise Failed(f"{EVENTS} events did not arrive at {CLIENTS} subscriptions")
    cpu = cpu_seconds(contender) - cpu
    bench.stage.stop(load)
    bench.stage.stop(contender)
    return CLIENTS * EVENTS / float(seconds), cpu / CLIENTS / EVENTS * 1e6


def passed_through(bench):
    contender = bench.nginx("proxy", bench.stage.contender)
    bench.wait_for_answer(contender, "nginx")
    return deliver(bench, contender, "/realtime", "graphql-transport-ws")


def bridged(bench, url):
    realtime = f"127.0.0.1:{bench.ports['REALTIME']}"
    contender = bench.countersign(
        [url, "--connect", realtime, "--ca-file", bench.tmp / "ca.pem", "--log", "warn"],
        bench.tmp / "countersign.log",
    )
    bench.wait_for_listener(contender, "countersign")
    return deliver(bench, contender, "/graphql", "graphql-ws")


def measure(bench, url, rounds):
    """Returns the medians of events per second and of CPU time for each program, and of its ratio."""
    samples = {NGINX: [], OURS: []}
    for number in range(rounds):
        for name, run in ((NGINX, passed_through), (OURS, lambda bench: bridged(bench, url))):
            rate, cpu = run(bench)
            samples[name].append((rate, cpu))
            print(
                f"{CLIENTS} clients, round {number + 1}/{rounds}  {name:22} {rate:8.0f}/s  {cpu:.1f} µs",
                file=sys.stderr,
            )
    ratios = [ours[1] / theirs[1] for ours, theirs in zip(samples[OURS], samples[NGINX])]
    medians = {
        name: tuple(statistics.median(column) for column in zip(*pairs))
        for name, pairs in samples.items()
    }
    return medians, statistics.median(ratios)
