"""Sends requests with one mistake each, signed by hand as tutorials do it, and saves what a developer has
afterwards: the answer, the request, the canonical request and the string to sign.

usage: python refused.py CASE ADDRESS API_HOST REST_HOST REGION CA_FILE DIRECTORY
Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
"""

import asyncio
import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import os
import pathlib
import socket
import ssl
import sys

import websockets

CASE, ADDRESS, API_HOST, REST_HOST, REGION, CA_FILE, DIRECTORY = sys.argv[1:]
KEY, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
TOKEN = os.environ["AWS_SESSION_TOKEN"]
QUERY = json.dumps({"query": "{ rooms { id } }"})
SUBSCRIPTION = json.dumps({"query": "subscription { onMessage { id body } }", "variables": {}})


def sign(method, host, path, query="", headers=None, body="", service="appsync", secret=SECRET, minutes=0):
    """Returns the headers to send, the canonical request, and the string to sign."""
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    amz_date = now.strftime("%Y%m%dT%H%M%SZ")
    day = amz_date[:8]
    headers = {**(headers or {}), "host": host, "x-amz-date": amz_date, "x-amz-security-token": TOKEN}
    names = sorted(headers)
    signed_headers = ";".join(names)
    canonical_headers = "".join(f"{name}:{headers[name]}\n" for name in names)
    payload_hash = hashlib.sha256(body.encode()).hexdigest()
    canonical_request = f"{method}\n{path}\n{query}\n{canonical_headers}\n{signed_headers}\n{payload_hash}"
    scope = f"{day}/{REGION}/{service}/aws4_request"
    hashed = hashlib.sha256(canonical_request.encode()).hexdigest()
    string_to_sign = f"AWS4-HMAC-SHA256\n{amz_date}\n{scope}\n{hashed}"
    key = f"AWS4{secret}".encode()
    for part in (day, REGION, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, string_to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={signed_headers}, Signature={signature}"
    )
    return headers, canonical_request, string_to_sign


def save(answer, request, canonical_request, string_to_sign):
    directory = pathlib.Path(DIRECTORY)
    texts = {"answer": answer, "request": request, "canonical": canonical_request, "string": string_to_sign}
    for name, text in texts.items():
        (directory / f"{name}.txt").write_text(text, newline="")


def context():
    return ssl.create_default_context(cafile=CA_FILE)


def exchange(method, host, target, headers, body=""):
    """Sends exactly these headers, and returns the request and the response as text."""
    if body:
        headers = {**headers, "content-length": str(len(body.encode()))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"{method} {target} HTTP/1.1\r\n{head}\r\n{body}"
    address, port = ADDRESS.rsplit(":", 1)
    with socket.create_connection((address, int(port)), timeout=10) as plain:
        with context().wrap_socket(plain, server_hostname=host) as secure:
            secure.sendall(request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1).encode())
            response = b""
            with contextlib.suppress(ssl.SSLEOFError):
                while piece := secure.recv(65536):
                    response += piece
    return request, response.decode()


def http(method, host, path, query="", headers=None, body="", sent_headers=None, **mistake):
    signed, canonical_request, string_to_sign = sign(method, host, path, query, headers, body, **mistake)
    target = f"{path}?{query}" if query else path
    request, response = exchange(method, host, target, {**signed, **(sent_headers or {})}, body)
    save(response, request, canonical_request, string_to_sign)


# What every client signs for a connect and for a start.
REALTIME_HEADERS = {
    "accept": "application/json, text/javascript",
    "content-encoding": "amz-1.0",
    "content-type": "application/json; charset=UTF-8",
}


def connect(headers):
    header = base64.b64encode(json.dumps(headers).encode()).decode()
    realtime_host = API_HOST.replace("appsync-api", "appsync-realtime-api")
    address, port = ADDRESS.rsplit(":", 1)
    return websockets.connect(
        f"wss://{realtime_host}/graphql?header={header}&payload=e30=",
        ssl=context(),
        subprotocols=["graphql-ws"],
        host=address,
        port=int(port),
        proxy=None,
    )


async def signs_the_query_on_connect():
    signed, canonical_request, string_to_sign = sign(
        "POST", API_HOST, "/graphql/connect", headers=REALTIME_HEADERS, body=SUBSCRIPTION
    )
    async with connect(signed) as websocket:
        answer = await asyncio.wait_for(websocket.recv(), 10)
        head = f"GET {websocket.request.path} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in websocket.request.headers.raw_items()
        )
    save(answer, head + "\r\n", canonical_request, string_to_sign)


async def reuses_the_connect_signature_for_start():
    signed, canonical_request, string_to_sign = sign(
        "POST", API_HOST, "/graphql/connect", headers=REALTIME_HEADERS, body="{}"
    )
    async with connect(signed) as websocket:
        await websocket.send('{"type":"connection_init"}')
        start = {"data": SUBSCRIPTION, "extensions": {"authorization": signed}}
        frame = json.dumps({"id": "1", "type": "start", "payload": start})
        await websocket.send(frame)
        while True:
            answer = await asyncio.wait_for(websocket.recv(), 10)
            if json.loads(answer)["type"] == "error":
                break
    save(answer, frame, canonical_request, string_to_sign)


JSON = {"content-type": "application/json"}
CASES = {
    "connect": lambda: asyncio.run(signs_the_query_on_connect()),
    "start": lambda: asyncio.run(reuses_the_connect_signature_for_start()),
    "query": lambda: http(
        "GET", REST_HOST, "/prod/orders", "status=open&customer=A/B", service="execute-api"
    ),
    "service": lambda: http("GET", REST_HOST, "/prod/orders", service="apigateway"),
    "clock": lambda: http("POST", API_HOST, "/graphql", headers=JSON, body=QUERY, minutes=-10),
    "secret": lambda: http("POST", API_HOST, "/graphql", headers=JSON, body=QUERY, secret=SECRET + "\n"),
    "header": lambda: http(
        "POST",
        API_HOST,
        "/graphql",
        headers=JSON,
        body=QUERY,
        sent_headers={"content-type": "application/json; charset=UTF-8"},
    ),
}
CASES[CASE]()
