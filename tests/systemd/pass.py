#!/usr/bin/env python3
"""Binds sockets and executes a program that inherits them, as sd_listen_fds(3) describes.

pass.py [NAME=]KIND:PLACE... -- PROGRAM ARGUMENTS

KIND is tcp (PLACE is ADDRESS:PORT), unix, abstract, datagram or silent (TCP, not listening). Prints the address of
each socket before the program's own output.
"""
import os
import socket
import sys

cut = sys.argv.index("--")
passed, names = [], []
for said in sys.argv[1:cut]:
    name, equals, rest = said.partition("=")
    names.append(name if equals else "unknown")
    said = rest if equals else said
    kind, place = said.split(":", 1)
    if kind in ("tcp", "silent"):
        host, port = place.rsplit(":", 1)
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.bind((host, int(port)))
    else:
        kind_of = socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM
        found = socket.socket(socket.AF_UNIX, kind_of)
        found.bind("\0" + place if kind == "abstract" else place)
    if kind not in ("datagram", "silent"):
        found.listen(16)
    name = found.getsockname()
    print(name[1] if isinstance(name, tuple) else place, flush=True)
    passed.append(found)
# Duplicate to high descriptors first, so that none overwrites another.
kept = [os.dup2(found.fileno(), 100 + at) for at, found in enumerate(passed)]
for at, number in enumerate(kept):
    os.dup2(number, 3 + at, inheritable=True)
os.closerange(3 + len(kept), 256)
os.environ["LISTEN_FDS"] = str(len(kept))
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDNAMES"] = ":".join(names)
os.execv(sys.argv[cut + 1], sys.argv[cut + 1 :])
