"""Opens presigned URLs, and computes their signatures again.

usage: python presign.py open URL [ADDRESS CA_FILE]
       python presign.py sign URL SERVICE REGION MODE
  open     opens a WebSocket at URL, connecting to ADDRESS whatever its host is; prints the result as JSON
  sign     prints botocore's signature for the request of a presigned URL, as of URL's date. MODE is `signed`,
           or `appended` for a session token that was added afterwards.
           Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
"""

import asyncio
import datetime
import json
import sys
from urllib.parse import parse_qsl, quote, urlsplit

import websockets
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import signed
from check import within


async def opened(url, address=None, ca_file=None):
    more = {}
    if address:
        name, _, port = address.rpartition(":")
        more = {"host": name, "port": int(port), "ssl": signed.trust(ca_file)}
    try:
        async with websockets.connect(url, open_timeout=10, proxy=None, **more) as socket:
            packets = [json.loads(await within(socket.recv(), "a packet")) for _ in range(3)]
            return {"status": 101, "packets": packets}
    except websockets.InvalidStatus as error:
        response = error.response
        kind = response.headers.get("x-amzn-errortype")
        return {"status": response.status_code, "type": kind, "body": response.body.decode()}


def signature(url, service, region, mode):
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    own = dict(pair for pair in query if pair[0].startswith("X-Amz-"))
    rest = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query if name not in own)
    credentials = signed.credentials_from_environment()
    if mode == "appended":
        credentials = Credentials(credentials.access_key, credentials.secret_key)
    request = AWSRequest(method="GET", url=f"https://{parts.netloc}{parts.path}?{rest}".rstrip("?"))
    request.headers["host"] = parts.netloc
    when = datetime.datetime.strptime(own["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    with signed._clock(when):
        SigV4QueryAuth(credentials, service, region, int(own["X-Amz-Expires"])).add_auth(request)
    return dict(parse_qsl(urlsplit(request.url).query))["X-Amz-Signature"]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["open", url, *where] if len(where) in (0, 2):
            print(json.dumps(asyncio.run(opened(url, *where))))
        case ["sign", url, service, region, ("signed" | "appended") as mode]:
            print(signature(url, service, region, mode))
        case _:
            sys.exit(__doc__)
