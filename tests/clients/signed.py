"""Shared by the test clients that sign requests themselves: botocore's SigV4 and a plain HTTPS exchange.

`sign` returns exactly the headers to send; `exchange` sends exactly its arguments, so that a check can
alter anything in between.
"""

import asyncio
import contextlib
import datetime
import http.client
import json
import os
import ssl
import unittest.mock
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

# The headers that AppSync clients sign for the POST that represents a connect or a start.
REALTIME_HEADERS = {
    "accept": "application/json, text/javascript",
    "content-encoding": "amz-1.0",
    "content-type": "application/json; charset=UTF-8",
}


def credentials_from_environment():
    return Credentials(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ.get("AWS_SESSION_TOKEN") or None,
    )


def trust(ca_file):
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def sign(method, url, headers, body, credentials, region, service="appsync", when=None):
    """Returns every header of the request, signed by botocore as of `when` (default: now)."""
    host = urlsplit(url).netloc
    request = AWSRequest(method=method, url=url, headers={"host": host, **headers}, data=body)
    with _clock(when):
        SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


def signature(headers):
    return headers["Authorization"].rpartition("Signature=")[2]


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers.get('x-amzn-errortype')} {self.body[:600]!r}"


async def exchange(context, method, url, headers, body=b"", seconds=10):
    """Sends these headers and no others (except content-length), and reads the response."""
    return await asyncio.to_thread(_exchange, context, method, url, headers, body, seconds)


def _exchange(context, method, url, headers, body, seconds):
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


@contextlib.contextmanager
def _clock(when):
    if when is None:
        yield
        return
    naive = when.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    with unittest.mock.patch("botocore.auth.get_current_datetime", return_value=naive):
        yield
