#!/usr/bin/env python3
"""The WebSocket side of the benchmark, with the standard library only.

    sockets.py echo PORT CERTIFICATE KEY
        Runs a TLS server that accepts any WebSocket and echoes every text message. Prints "ready".
    sockets.py hold PORT PATH SOCKETS SUBSCRIPTIONS PROTOCOL
        Opens SOCKETS WebSockets, each with SUBSCRIPTIONS subscriptions, and holds them until its
        standard input ends. Prints "ready" once all are open. PROTOCOL graphql: the handshake and
        the subscribe messages of graphql-transport-ws. PROTOCOL echo: the subscribe messages only,
        each awaited back.
"""

import asyncio
import base64
import hashlib
import json
import os
import ssl
import struct
import sys

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DOCUMENT = "subscription OnMessage { onMessage(room: \"general\") { id body author sentAt } }"
DIALS_AT_A_TIME = 32
# Seconds until all sockets must be open.
PATIENCE = 60


async def read_frame(reader):
    """Returns opcode and payload of the next frame; messages here are never fragmented."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack(">Q", await reader.readexactly(8))
    mask = await reader.readexactly(4) if second & 0x80 else None
    payload = await reader.readexactly(size)
    if mask:
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return first & 0x0F, payload


def frame(opcode, payload, masked):
    head = bytes([0x80 | opcode])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    else:
        head += bytes([bit | 126]) + struct.pack(">H", len(payload))
    # A mask of zeros is a valid mask, and costs the reader the same.
    return head + (bytes(4) if masked else b"") + payload


async def read_head(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.split(":", 1) for line in head[1:] if ":" in line)
    return head[0], {name.strip().lower(): value.strip() for name, value in fields}


async def echo(port, certificate, key):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def serve(reader, writer):
        try:
            _, headers = await read_head(reader)
            digest = hashlib.sha1((headers["sec-websocket-key"] + GUID).encode()).digest()
            writer.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
                f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n".encode()
            )
            while True:
                opcode, payload = await read_frame(reader)
                if opcode == CLOSE:
                    break
                writer.write(frame(PONG if opcode == PING else opcode, payload, masked=False))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls, backlog=4096)
    async with server:
        print("ready", flush=True)
        await server.serve_forever()


async def open_socket(port, path, subscriptions, protocol):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
    )
    status, headers = await read_head(reader)
    if " 101 " not in status or headers.get("sec-websocket-protocol") != "graphql-transport-ws":
        raise RuntimeError(f"the upgrade was answered {status!r}")

    async def next_text():
        while True:
            opcode, payload = await read_frame(reader)
            if opcode == TEXT:
                return payload
            if opcode == CLOSE:
                raise RuntimeError(f"closed: {payload!r}")
            if opcode == PING:
                writer.write(frame(PONG, payload, masked=True))

    def send(message):
        payload = json.dumps(message).encode()
        writer.write(frame(TEXT, payload, masked=True))
        return payload

    if protocol == "graphql":
        send({"type": "connection_init"})
        answer = json.loads(await next_text())
        if answer.get("type") != "connection_ack":
            raise RuntimeError(f"connection_init was answered {answer}")
    for number in range(subscriptions):
        payload = {"query": DOCUMENT, "operationName": "OnMessage"}
        sent = send({"type": "subscribe", "id": str(number), "payload": payload})
        if protocol == "echo" and await next_text() != sent:
            raise RuntimeError("the echo differs")

    async def stay():
        message = await next_text()
        raise RuntimeError(f"an idle subscription was sent {message!r}")

    return stay()


async def hold(port, path, sockets, subscriptions, protocol):
    gate = asyncio.Semaphore(DIALS_AT_A_TIME)

    async def one():
        async with gate:
            return await open_socket(port, path, subscriptions, protocol)

    stays = await asyncio.wait_for(asyncio.gather(*(one() for _ in range(sockets))), PATIENCE)
    # Pings must be answered as soon as the first socket is open, so read all sockets from here on.
    idle = asyncio.gather(*stays)
    print("ready", flush=True)
    end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([end, asyncio.ensure_future(idle)], return_when=asyncio.FIRST_COMPLETED)
    if idle.done():
        idle.result()
    os._exit(0)


def main():
    command, *arguments = sys.argv[1:]
    if command == "echo":
        port, certificate, key = arguments
        asyncio.run(echo(int(port), certificate, key))
    elif command == "hold":
        port, path, sockets, subscriptions, protocol = arguments
        asyncio.run(hold(int(port), path, int(sockets), int(subscriptions), protocol))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
