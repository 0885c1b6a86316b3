#!/usr/bin/env python3
"""The WebSocket side of the benchmark, with the standard library only.

    sockets.py echo PORT CERTIFICATE KEY
        Runs a TLS server that accepts any WebSocket and echoes every text message. Prints "ready".
    sockets.py hold PORT PATH SOCKETS SUBSCRIPTIONS PROTOCOL
        Opens SOCKETS WebSockets, each with SUBSCRIPTIONS subscriptions, and holds them until its
        standard input ends. Prints "ready" once all are open. PROTOCOL graphql: the handshake and
        the subscribe messages of graphql-transport-ws. PROTOCOL echo: the subscribe messages only,
        each awaited back.
    sockets.py ask PORT PATH MESSAGES
        Opens a WebSocket to an echo server, and sends messages, each after the echo of the last one.
    sockets.py fan-out UPSTREAM CERTIFICATE KEY PORT PATH SOCKETS EVENTS [PROTOCOL]
        Runs a realtime server on UPSTREAM, opens SOCKETS WebSockets on PORT, each with one
        subscription, and publishes events, each after all subscriptions have received the last one.
        The server has AppSync's protocol; or with PROTOCOL graphql-transport-ws that of the sockets,
        for a proxy that passes them through. With PROTOCOL, prints "ready" before the events, begins
        with them once it reads a line, and then prints how many seconds they took.
"""

import asyncio
import base64
import functools
import hashlib
import json
import os
import ssl
import struct
import sys
import time

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DOCUMENT = "subscription OnMessage { onMessage(room: \"general\") { id body author sentAt } }"
# A message of 300 bytes.
MESSAGE = {"id": "1", "author": "a", "sentAt": "2026-11-30T09:00:00Z", "body": 228 * "m"}
DIALS_AT_A_TIME = 32
# Seconds until all sockets must be open, or all messages must have arrived.
PATIENCE = 120


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


async def listen(port, certificate, key, protocol, handle):
    """Starts a TLS server of WebSockets. `handle` gets each message and a function that sends one."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def serve(reader, writer):
        try:
            _, headers = await read_head(reader)
            digest = hashlib.sha1((headers["sec-websocket-key"] + GUID).encode()).digest()
            writer.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Protocol: {protocol}\r\n"
                f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n".encode()
            )

            def send(opcode, payload):
                writer.write(frame(opcode, payload, masked=False))

            while True:
                opcode, payload = await read_frame(reader)
                if opcode == CLOSE:
                    break
                if opcode == PING:
                    send(PONG, payload)
                else:
                    handle(payload, functools.partial(send, opcode))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls, backlog=4096)


async def echo(port, certificate, key):
    protocol = "graphql-transport-ws"
    server = await listen(port, certificate, key, protocol, lambda payload, send: send(payload))
    async with server:
        print("ready", flush=True)
        await server.serve_forever()


async def upgrade(port, path):
    """Opens a WebSocket, and returns functions that send a message and receive the next one."""
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

    return send, next_text


async def open_socket(port, path, subscriptions, protocol):
    send, next_text = await upgrade(port, path)
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
    return next_text


async def stay(next_text):
    message = await next_text()
    raise RuntimeError(f"an idle subscription was sent {message!r}")


async def hold(port, path, sockets, subscriptions, protocol):
    gate = asyncio.Semaphore(DIALS_AT_A_TIME)

    async def one():
        async with gate:
            return stay(await open_socket(port, path, subscriptions, protocol))

    stays = await asyncio.wait_for(asyncio.gather(*(one() for _ in range(sockets))), PATIENCE)
    # Pings must be answered as soon as the first socket is open, so read all sockets from here on.
    idle = asyncio.gather(*stays)
    print("ready", flush=True)
    end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([end, asyncio.ensure_future(idle)], return_when=asyncio.FIRST_COMPLETED)
    if idle.done():
        idle.result()
    os._exit(0)


async def ask(port, path, messages):
    send, next_text = await upgrade(port, path)
    for _ in range(messages):
        sent = send(MESSAGE)
        if await next_text() != sent:
            raise RuntimeError("the echo differs")


async def fan_out(upstream, certificate, key, port, path, sockets, events, protocol=None):
    data = {"data": {"onMessage": MESSAGE}}
    is_direct = protocol == "graphql-transport-ws"
    # For each subscription, the function that sends to it, and its event.
    subscriptions = []

    def handle(payload, send):
        message = json.loads(payload)
        if message["type"] == "connection_init":
            answer = {"type": "connection_ack", "payload": {"connectionTimeoutMs": 300_000}}
        elif message["type"] in ("start", "subscribe"):
            event = {"type": "next" if is_direct else "data", "id": message["id"], "payload": data}
            subscriptions.append((send, json.dumps(event, separators=(",", ":")).encode()))
            answer = {"type": "start_ack", "id": message["id"]}
        else:
            return
        if message["type"] != "subscribe":
            send(json.dumps(answer).encode())

    protocol_of_server = protocol if is_direct else "graphql-ws"
    async with await listen(upstream, certificate, key, protocol_of_server, handle):
        clients = [await open_socket(port, path, 1, "graphql") for _ in range(sockets)]
        while len(subscriptions) < sockets:
            await asyncio.sleep(0.01)
        if protocol:
            print("ready", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        expected = {"type": "next", "id": "0", "payload": data}
        texts = set()
        begun = time.monotonic()
        for _ in range(events):
            for send, event in subscriptions:
                send(event)
            for next_text in clients:
                texts.add(await next_text())
            if any(json.loads(text) != expected for text in texts):
                raise RuntimeError(f"a subscription received one of {texts}")
        if protocol:
            print(time.monotonic() - begun, flush=True)
            # The sockets stay open until their number of events is read.
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        os._exit(0)


def main():
    command, *arguments = sys.argv[1:]
    if command == "echo":
        port, certificate, key = arguments
        asyncio.run(echo(int(port), certificate, key))
    elif command == "hold":
        port, path, sockets, subscriptions, protocol = arguments
        asyncio.run(hold(int(port), path, int(sockets), int(subscriptions), protocol))
    elif command == "ask":
        port, path, messages = arguments
        asyncio.run(asyncio.wait_for(ask(int(port), path, int(messages)), PATIENCE))
    elif command == "fan-out":
        upstream, certificate, key, port, path, sockets, events, *protocol = arguments
        running = fan_out(
            int(upstream), certificate, key, int(port), path, int(sockets), int(events), *protocol
        )
        asyncio.run(asyncio.wait_for(running, PATIENCE))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
