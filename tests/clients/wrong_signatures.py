"""Signs requests wrongly, sends them to the emulator, and prints what a developer would then have at hand.

usage: python wrong_signatures.py ADDRESS REGION CA_FILE CONTROL_URL API REALTIME REST HTTP WEBSOCKET
  ADDRESS      127.0.0.1:PORT  the emulator, with TLS
  REGION       the region it expects in credential scopes
  CA_FILE      the certificate authority of its certificate
  CONTROL_URL  its control listener
  the others   the host names of its APIs
The emulator must accept two keys: LONG_TERM, without a session token, and TEMPORARY, with one.

botocore signs every request. A case changes one thing: the signer's inputs, a step of the signer, or the
request after it was signed. First, the unchanged request of each kind must be accepted.

Prints one JSON object a line:
  cause, kind, change  what was done wrong, to which kind of upstream, in a few words
  full                 the right verdicts with all evidence; `unknown` if even that does not decide
  request              the request as sent: HTTP, or the JSON of a realtime message
  canonical_request, string_to_sign
                       as the signer computed them; absent if nothing was signed
  credentials          the credentials that the developer means to use
  answer, at           the answer, and when it arrived
"""

import base64
import contextlib
import dataclasses
import datetime
import email.utils
import hashlib
import http.client
import itertools
import json
import os
import socket
import struct
import sys
import urllib.request
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import signed

# Keys from AWS's documentation.
LONG_TERM = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
TEMPORARY = Credentials("ASIAIOSFODNN7EXAMPLE", "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY", "AQoDYXdzEXAMPLETOKEN==")

QUERY = '{"query":"query Q { echo(text: \\"ping\\") }","variables":null}'
ACCENTS = '{"query":"query Q { echo(text: \\"caf\u00e9\\") }","variables":null}'
SUBSCRIPTION = '{"query":"subscription S { onMessage { id body } }","variables":{}}'
ACCENTED_SUBSCRIPTION = '{"query":"subscription S($r: ID) { onMessage(room: $r) { id } }","variables":{"r":"caf\u00e9"}}'
CHANNEL = '{"channel":"/default/room-1"}'
PUBLISH = '{"channel":"/default/room-1","events":["{\\"msg\\":\\"hi\\"}"]}'
ACCENTED_PUBLISH = '{"channel":"/default/room-1","events":["{\\"msg\\":\\"caf\u00e9\\"}"]}'
ORDER = '{"item":"tea","count":2}'
ACCENTED_ORDER = '{"item":"caf\u00e9","count":2}'
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
DENIED_CONNECT = {
    "errors": [{"errorType": "UnauthorizedException", "message": "You are not authorized to make this call.", "errorCode": 400}]
}

HTTP_APPSYNC = ("appsync-http", "events-http")
CONNECTS = ("appsync-connect", "events-connect")
MESSAGES = ("appsync-start", "events-subscribe")
REALTIME = CONNECTS + MESSAGES
GATEWAY = ("rest", "http-api", "websocket")
WITH_BODY = ("appsync-http", "appsync-start", "events-http", "rest", "http-api")
ALL = HTTP_APPSYNC + REALTIME + GATEWAY
# What HTTP APIs never say: they answer every rejection with `Forbidden`.
SILENT = ("http-api",)


@dataclasses.dataclass(frozen=True)
class Message:
    """A request to sign. For realtime, this is the POST that is never sent."""

    method: str
    host: str
    target: str
    headers: tuple
    body: bytes
    # The id of the realtime message.
    name: str = ""

    def replace(self, **changes):
        return dataclasses.replace(self, **changes)

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def with_header(self, name, value):
        """Sets a header in its place, or appends it."""
        if self.header(name) is None:
            return self.replace(headers=(*self.headers, (name, value)))
        headers = tuple((key, value if key.lower() == name.lower() else old) for key, old in self.headers)
        return self.replace(headers=headers)

    def without_header(self, name):
        return self.replace(headers=tuple(pair for pair in self.headers if pair[0].lower() != name.lower()))


class Signer(SigV4Auth):
    """botocore's signer, with path and query as the IAM guide describes them. It keeps its two texts."""

    def canonical_request(self, request):
        self.canonical = self.edited(super().canonical_request(request))
        return self.canonical

    def edited(self, canonical):
        return canonical

    def string_to_sign(self, request, canonical_request):
        self.to_sign = super().string_to_sign(request, canonical_request)
        return self.to_sign

    def _normalize_url_path(self, path):
        return quote(path or "/", safe="/~")

    def canonical_query_string(self, request):
        pairs = parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
        strict = [(quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs]
        return "&".join(f"{name}={value}" for name, value in sorted(strict))


def variant(**methods):
    """Returns a signer in which these methods are wrong."""
    return type("Variant", (Signer,), methods)


def editing(method=None, path=None, query=None, headers=None, names=None, payload=None):
    """Returns a signer that changes parts of the canonical request; each function gets the part."""

    def edited(self, canonical):
        lines = canonical.split("\n")
        parts = [lines[0], lines[1], lines[2], "\n".join(lines[3:-3]), lines[-2], lines[-1]]
        functions = [method, path, query, headers, names, payload]
        parts = [function(part) if function else part for function, part in zip(functions, parts)]
        return "\n".join([*parts[:4], "", *parts[4:]])

    return variant(edited=edited)


def always(value):
    return lambda _part: value


def same(message):
    return message


@dataclasses.dataclass
class Change:
    """How a case differs from the correct request."""

    cause: str
    words: str
    kinds: tuple
    # What is sent and signed.
    before: object = same
    # What is signed in place of what is sent.
    instead: object = same
    signer: type = Signer
    # Credentials, service, region or time of the signer.
    credentials: object = None
    service: object = None
    region: str = None
    minutes: float = 0
    # What happens to the request after it was signed.
    after: object = same
    # The credentials that the developer means to use, if not those of the signer.
    meant: object = None
    # How a connect carries its headers.
    carrier: str = "subprotocol"
    # Further right verdicts with all evidence; or, by kind, all of them.
    also: tuple = ()
    undecided: tuple = ()
    # For messages: changes the frame.
    frame: object = same
    is_signed: bool = True
    switches: dict = dataclasses.field(default_factory=dict)


# --- the changes ---


def target(text):
    """Replaces the path after the stage and the query."""
    return lambda message: message.replace(target=stage(message) + text)


def stage(message):
    return "" if urlsplit(message.target).path in ("/items", "/items/") else "/prod"


def get(message):
    return message.replace(method="GET", body=b"").without_header("content-type")


def getting(text):
    """A GET of this path and query."""
    return lambda message: get(message).replace(target=stage(message) + text)


def graphql_get(more=""):
    def before(message):
        query = quote('query Q { echo(text: "ping") }', safe="")
        return get(message).replace(target=f"/graphql?query={query}{more}")

    return before


def body(text):
    return lambda message: message.replace(body=text.encode())


def set_header(name, value):
    return lambda message: message.with_header(name, value)


def drop_header(name):
    return lambda message: message.without_header(name)


def chain(*functions):
    def chained(message):
        for function in functions:
            message = function(message)
        return message

    return chained


def authorization(old, new):
    def after(message):
        value = message.header("Authorization")
        assert old in value, (old, value)
        return message.with_header("Authorization", value.replace(old, new))

    return after


def unsorted_names(self, headers_to_sign):
    return ";".join(reversed(sorted({name.lower() for name in headers_to_sign})))


def unsorted_headers(self, headers_to_sign):
    names = reversed(sorted({name.lower() for name in headers_to_sign}))
    return "\n".join(f"{name}:{self._header_value(headers_to_sign[name])}" for name in names)


def signature_with(date=None, region=None):
    """A signature whose key is derived for another date, such as that of a cache."""

    def signature(self, string_to_sign, request):
        day = date(request.context["timestamp"][:8]) if date else request.context["timestamp"][:8]
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in (day, region or self._region_name, self._service_name, "aws4_request"):
            key = self._sign(key, part)
        return self._sign(key, string_to_sign, hex=True)

    return signature


def key_of(service=None, prefix="AWS4"):
    """A signature whose key is derived for another service, or from the secret alone."""

    def signature(self, string_to_sign, request):
        key = f"{prefix}{self.credentials.secret_key}".encode()
        for part in (request.context["timestamp"][:8], self._region_name, service or self._service_name, "aws4_request"):
            key = self._sign(key, part)
        return self._sign(key, string_to_sign, hex=True)

    return signature


def day_before(day):
    date = datetime.datetime.strptime(day, "%Y%m%d") - datetime.timedelta(days=1)
    return date.strftime("%Y%m%d")


def day_after(day):
    date = datetime.datetime.strptime(day, "%Y%m%d") + datetime.timedelta(days=1)
    return date.strftime("%Y%m%d")


def scope_of(day):
    """A signer whose scope and key have another date than X-Amz-Date."""

    def credential_scope(self, request):
        return "/".join([day(request.context["timestamp"][:8]), self._region_name, self._service_name, "aws4_request"])

    def scope(self, request):
        return f"{self.credentials.access_key}/{credential_scope(self, request)}"

    return variant(credential_scope=credential_scope, scope=scope, signature=signature_with(date=day))


def terminated(terminator):
    def credential_scope(self, request):
        return "/".join([request.context["timestamp"][:8], self._region_name, self._service_name, terminator])

    def scope(self, request):
        return f"{self.credentials.access_key}/{credential_scope(self, request)}"

    return variant(credential_scope=credential_scope, scope=scope)


def algorithm(name):
    def string_to_sign(self, request, canonical_request):
        text = SigV4Auth.string_to_sign(self, request, canonical_request)
        self.to_sign = name + text.removeprefix("AWS4-HMAC-SHA256")
        return self.to_sign

    return variant(string_to_sign=string_to_sign)


def keeps_spaces(self, value):
    return value


def dated(form):
    """A signer that writes the date in another form."""

    def _set_necessary_date_headers(self, request):
        request.headers["X-Amz-Date"] = form(request.context["timestamp"])

    def string_to_sign(self, request, canonical_request):
        lines = SigV4Auth.string_to_sign(self, request, canonical_request).split("\n")
        lines[1] = form(request.context["timestamp"])
        self.to_sign = "\n".join(lines)
        return self.to_sign

    return variant(_set_necessary_date_headers=_set_necessary_date_headers, string_to_sign=string_to_sign)


def extended(stamp):
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:15]}Z"


def as_in_mail(stamp):
    when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    return email.utils.format_datetime(when, usegmt=True)


def dateless(self, request):
    pass


def hostless(self, request):
    headers = Signer.headers_to_sign(self, request)
    del headers["host"]
    return headers


def without_query(part):
    return ""


def reversed_query(part):
    return "&".join(reversed(part.split("&")))


def lower_hex(part):
    pieces = part.split("%")
    return "%".join([pieces[0], *(piece[:2].lower() + piece[2:] for piece in pieces[1:])])


def hash_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


def frame_hash(message_type, member):
    """The hash of a whole message, as a signer that has not yet added the authorization would see it."""

    def instead(message):
        data = message.body.decode()
        if message_type == "start":
            whole = {"id": message.name, "type": "start", "payload": {"data": data, "extensions": {}} if member else {"data": data}}
        else:
            whole = {"type": message_type, "id": message.name, **json.loads(data)}
        return message.replace(body=json.dumps(whole, separators=(",", ":")).encode())

    return instead


def other_service(kind):
    return "execute-api" if kind in HTTP_APPSYNC + REALTIME else "apigateway"


def upstream_service(kind):
    return "appsync-realtime" if kind in HTTP_APPSYNC + REALTIME else "lambda"


def escapes(text, form=lambda text: text.encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00")):
    """Sends `text`, but signs it with escapes in place of characters that are not ASCII."""
    return {"before": body(text), "instead": body(form(text))}


def slashes(text):
    return text.replace("/", "\\/")


def changes():
    wrong_secret = {
        LONG_TERM: Credentials(LONG_TERM.access_key, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEYX"),
        TEMPORARY: Credentials(TEMPORARY.access_key, TEMPORARY.secret_key.lower(), TEMPORARY.token),
    }
    realtime_host = lambda message: message.replace(host=message.host.replace("appsync-api", "appsync-realtime-api"))
    vpc_host = lambda message: message.replace(host="vpce-0a1b2c3d4e5f60718-abcdefgh.execute-api.us-east-1.vpce.amazonaws.com")
    local_host = lambda message: message.replace(host="localhost")
    accent = "/caf%C3%A9%20bar?limit=10"
    space = "/a%20b"
    connection = "/%40connections/abc%3D"
    return [
        # algorithm
        Change("algorithm", "string to sign with AWS4-HMAC-SHA1", ALL, signer=algorithm("AWS4-HMAC-SHA1")),
        Change("algorithm", "string to sign with HMAC-SHA256", ("appsync-http", "appsync-start", "rest"), signer=algorithm("HMAC-SHA256")),
        Change("algorithm", "Authorization with AWS4-HMAC-SHA512", ("rest", "http-api", "websocket"), signer=algorithm("AWS4-HMAC-SHA512"), after=authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512")),
        # body
        Change("body-changed", "a space appended after signing", WITH_BODY, after=lambda message: message.replace(body=message.body + b" ")),
        Change("body-changed", "a value changed after signing", WITH_BODY, after=lambda message: message.replace(body=message.body.replace(b"a", b"b", 1))),
        Change("body-changed", "a payload other than {} in the query", ("appsync-connect",), carrier="query", after=lambda message: message.replace(body=b'{"a":1}')),
        Change("body-escapes", "signed with \\u00e9, sent as \u00e9", ("appsync-http",), **escapes(ACCENTS)),
        Change("body-escapes", "signed with \\u00e9, sent as \u00e9", ("appsync-start",), **escapes(ACCENTED_SUBSCRIPTION)),
        Change("body-escapes", "signed with \\u00e9, sent as \u00e9", ("events-http",), **escapes(ACCENTED_PUBLISH)),
        Change("body-escapes", "signed with \\u00e9, sent as \u00e9", ("rest", "http-api"), **escapes(ACCENTED_ORDER)),
        Change("body-escapes", "signed with \\/, sent with /", ("events-http", "events-subscribe"), instead=lambda message: message.replace(body=slashes(message.body.decode()).encode())),
        Change("body-hash-empty", "signed over no body", WITH_BODY + CONNECTS + ("events-subscribe",), instead=body("")),
        Change("body-hash-empty", "the empty hash as a constant", ("appsync-http", "appsync-connect", "rest"), signer=editing(payload=always(EMPTY_HASH))),
        Change("body-hash-envelope", "the frame without its authorization", ("appsync-start",), instead=frame_hash("start", True)),
        Change("body-hash-envelope", "the frame without its extensions", ("appsync-start",), instead=frame_hash("start", False)),
        Change("body-hash-envelope", "the frame without its authorization", ("events-subscribe",), instead=frame_hash("subscribe", False)),
        Change("body-hash-unsigned", "UNSIGNED-PAYLOAD in the header", ALL, before=set_header("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD")),
        Change("body-hash-unsigned", "UNSIGNED-PAYLOAD in the canonical request", ("appsync-http", "appsync-start", "rest", "http-api"), signer=editing(payload=always("UNSIGNED-PAYLOAD"))),
        Change("content-sha-header", "the hash of another body in the header", ALL, before=set_header("X-Amz-Content-SHA256", hash_of("another body"))),
        Change("content-sha-header", "the empty hash in the header", ("appsync-http", "events-http", "rest"), before=set_header("X-Amz-Content-SHA256", EMPTY_HASH)),
        # clock and date
        Change("clock-slow", "ten minutes slow", ALL, minutes=-10),
        Change("clock-slow", "an hour slow", ("appsync-http", "appsync-connect", "rest"), minutes=-60),
        Change("clock-fast", "ten minutes fast", ALL, minutes=10),
        Change("clock-fast", "six hours fast", ("appsync-http", "appsync-start", "websocket"), minutes=360),
        Change("date-format", "2026-01-15T12:00:00Z", ALL, signer=dated(extended)),
        Change("date-format", "Thu, 15 Jan 2026 12:00:00 GMT", ("appsync-http", "appsync-connect", "rest"), signer=dated(as_in_mail)),
        Change("date-missing", "no date in the request", ALL, signer=variant(_set_necessary_date_headers=dateless)),
        Change("date-missing", "X-Amz-Date removed after signing", ("appsync-http", "appsync-start", "rest", "http-api"), after=drop_header("X-Amz-Date")),
        # headers
        Change("header-changed", "content-type with a charset", ("appsync-http", "events-http", "rest", "http-api"), after=set_header("content-type", "application/json; charset=utf-8")),
        Change("header-changed", "another accept", REALTIME, after=set_header("accept", "*/*")),
        Change("header-changed", "another x-team", GATEWAY, before=set_header("x-team", "red"), after=set_header("x-team", "blue")),
        Change("header-removed", "content-type", ("appsync-http", "events-http", "rest", "http-api"), after=drop_header("content-type")),
        Change("header-removed", "accept", REALTIME, after=drop_header("accept")),
        Change("header-removed", "x-team", GATEWAY, before=set_header("x-team", "red"), after=drop_header("x-team")),
        Change("header-spaces", "spaces not collapsed", ALL, before=set_header("x-team", "red   and  blue"), signer=variant(_header_value=keeps_spaces)),
        Change("header-spaces", "spaces not trimmed", ("appsync-start", "appsync-connect"), before=set_header("x-team", " red "), signer=variant(_header_value=keeps_spaces)),
        Change("header-unsorted", "in reverse", ALL, signer=variant(signed_headers=unsorted_names, canonical_headers=unsorted_headers)),
        Change("header-unsorted", "only the names in reverse", ("appsync-http", "rest", "http-api"), signer=variant(signed_headers=unsorted_names)),
        # host
        Change("host-not-signed", "host left out", ALL, signer=variant(headers_to_sign=hostless)),
        Change("host-port", "signed with :443", ALL, signer=editing(headers=lambda part: part.replace("amazonaws.com", "amazonaws.com:443"))),
        Change("host-port", "signed with a proxy's port", ("appsync-http", "rest"), signer=editing(headers=lambda part: part.replace("amazonaws.com", "amazonaws.com:8443"))),
        Change("host-wrong", "the realtime host", HTTP_APPSYNC, instead=realtime_host),
        Change("host-wrong", "the realtime host, in the headers, too", REALTIME, instead=realtime_host, after=realtime_host),
        Change("host-wrong", "the realtime host", ("appsync-connect", "appsync-start"), instead=realtime_host),
        Change("host-wrong", "the VPC endpoint's name", GATEWAY, instead=vpc_host),
        Change("host-wrong", "localhost", ("appsync-http", "rest", "http-api"), instead=local_host),
        # method and path
        Change("method-wrong", "signed as GET", ("appsync-http", "events-http", "rest", "http-api", *REALTIME), signer=editing(method=always("GET"))),
        Change("method-wrong", "signed as POST", ("websocket",), signer=editing(method=always("POST"))),
        Change("method-wrong", "signed in lower case", ("appsync-http", "rest"), signer=editing(method=str.lower)),
        Change("path-decoded", "caf\u00e9 bar", ("rest", "http-api"), before=target(accent), signer=editing(path=lambda part: unquote(unquote(part)))),
        Change("path-decoded", "@connections/abc=", ("websocket",), before=getting(connection), signer=editing(path=lambda part: unquote(unquote(part)))),
        Change("path-double-encoded-twice", "caf\u00e9 bar", ("rest", "http-api"), before=target(accent), signer=editing(path=quote)),
        Change("path-double-encoded-twice", "@connections/abc=", ("websocket",), before=getting(connection), signer=editing(path=quote)),
        Change("path-not-double-encoded", "caf\u00e9 bar", ("rest", "http-api"), before=target(accent), signer=editing(path=unquote)),
        Change("path-not-double-encoded", "a b", ("rest", "http-api"), before=target(space), signer=editing(path=unquote)),
        Change("path-not-double-encoded", "@connections/abc=", ("websocket",), before=getting(connection), signer=editing(path=unquote)),
        Change("path-stage-missing", "without /prod", ("rest", "websocket"), signer=editing(path=lambda part: part.removeprefix("/prod") or "/")),
        Change("path-stage-missing", "without /prod, below it", ("rest",), before=target("/items/7"), signer=editing(path=lambda part: part.removeprefix("/prod"))),
        Change("path-wrong", "signed on /graphql/connect", ("appsync-http", "appsync-start"), signer=editing(path=always("/graphql/connect"))),
        Change("path-wrong", "signed on /graphql", ("appsync-connect",), signer=editing(path=always("/graphql"))),
        Change("path-wrong", "the signature of the connect", ("appsync-start",), instead=lambda message: message.replace(target="/graphql/connect", body=b"{}")),
        Change("path-wrong", "signed on /event/connect", ("events-connect", "events-subscribe"), signer=editing(path=always("/event/connect"))),
        Change("path-wrong", "signed on /", ("events-http",), signer=editing(path=always("/"))),
        Change("path-wrong", "signed on the path of another item", ("rest", "http-api"), signer=editing(path=lambda part: part.replace("items", "item"))),
        Change("path-wrong", "signed on /prod/$connect", ("websocket",), signer=editing(path=always("/prod/%24connect"))),
        # query
        Change("query-added", "a parameter after signing", GATEWAY, after=lambda message: message.replace(target=message.target + "&trace=1")),
        Change("query-added", "a parameter after signing", ("appsync-http",), before=graphql_get(), after=lambda message: message.replace(target=message.target + "&trace=1")),
        Change("query-missing", "the whole query not signed", GATEWAY, signer=editing(query=without_query)),
        Change("query-missing", "the whole query not signed", ("appsync-http",), before=graphql_get(), signer=editing(query=without_query)),
        Change("query-bare-name", "flag without =", GATEWAY, before=lambda message: message.replace(target=message.target + "&flag"), signer=editing(query=lambda part: part.replace("flag=", "flag"))),
        Change("query-bare-name", "flag without =", ("appsync-http",), before=graphql_get("&flag"), signer=editing(query=lambda part: part.replace("flag=", "flag"))),
        Change("query-lower-hex", "%2f", GATEWAY, before=lambda message: message.replace(target=message.target + "&path=a%2Fb"), signer=editing(query=lower_hex)),
        Change("query-lower-hex", "%7b", ("appsync-http",), before=graphql_get(), signer=editing(query=lower_hex)),
        Change("query-plus", "+ for a space, signed as it is", GATEWAY, before=lambda message: message.replace(target=message.target + "&text=a+b"), signer=editing(query=lambda part: part.replace("a%20b", "a+b"))),
        Change("query-plus", "+ for a space, signed as %2B", GATEWAY, before=lambda message: message.replace(target=message.target + "&text=a+b"), signer=editing(query=lambda part: part.replace("a%20b", "a%2Bb"))),
        Change("query-plus", "+ for a space, signed as it is", ("appsync-http",), before=lambda message: graphql_get()(message).replace(target="/graphql?query=query+Q+%7B+rooms+%7B+id+%7D+%7D"), signer=editing(query=lambda part: part.replace("%20", "+"))),
        Change("query-unsorted", "in the order of the URL", GATEWAY, signer=editing(query=reversed_query)),
        Change("query-unsorted", "in the order of the URL", ("appsync-http",), before=graphql_get("&operationName=Q"), signer=editing(query=reversed_query)),
        # authorization
        Change("not-authorized", "a policy denies it", tuple(kind for kind in ALL if kind != "appsync-connect"), switches={"policy": json.dumps(DENY)}, undecided=SILENT),
        Change("not-authorized", "the API denies the connect", CONNECTS, switches={"refuse_connect": json.dumps(DENIED_CONNECT)}),
        Change("not-signed", "no Authorization", ALL, after=drop_header("Authorization"), is_signed=False),
        Change("not-signed", "no headers at all", ("appsync-connect", "events-connect"), carrier="none", is_signed=False),
        Change("not-sigv4", "a bearer token", ALL, after=set_header("Authorization", f"Bearer {JWT}"), is_signed=False),
        Change("not-sigv4", "Basic", ("appsync-http", "rest", "websocket"), after=set_header("Authorization", "Basic dXNlcjpwYXNz"), is_signed=False),
        Change("not-sigv4", "an API key", ("appsync-http", "appsync-connect"), after=chain(drop_header("Authorization"), set_header("x-api-key", "da2-abcdefghijklmnopqrstuvwxyz")), is_signed=False),
        # scope
        Change("scope-date", "yesterday", ALL, signer=scope_of(day_before)),
        Change("scope-date", "tomorrow", ("appsync-http", "appsync-connect", "rest", "http-api"), signer=scope_of(day_after)),
        Change("scope-malformed", "without aws4_request", ALL, after=authorization("/aws4_request", "")),
        Change("scope-malformed", "with a slash too many", ("appsync-http", "appsync-start", "rest", "http-api"), after=authorization("/aws4_request", "/aws4/request")),
        Change("scope-terminator", "aws4_reqest", ALL, signer=terminated("aws4_reqest")),
        Change("scope-terminator", "AWS4_REQUEST", ("appsync-http", "rest", "http-api"), signer=terminated("AWS4_REQUEST")),
        Change("signing-key-date", "the key of yesterday", ALL, signer=variant(signature=signature_with(date=day_before))),
        Change("signing-key-date", "the key of tomorrow", ("appsync-http", "appsync-connect", "rest"), signer=variant(signature=signature_with(date=day_after))),
        # keys
        Change("token-extra", "a token with a long-term key", ALL, credentials=Credentials(LONG_TERM.access_key, LONG_TERM.secret_key, TEMPORARY.token), meant=LONG_TERM),
        Change("token-missing", "no token", ALL, credentials=Credentials(TEMPORARY.access_key, TEMPORARY.secret_key), meant=TEMPORARY),
        Change("token-wrong", "the token of another key", ALL, credentials=Credentials(TEMPORARY.access_key, TEMPORARY.secret_key, "IQoJb3JpZ2luX2VjEXAMPLEOTHER=="), meant=TEMPORARY),
        Change("token-wrong", "a truncated token", ("appsync-http", "rest", "http-api"), credentials=Credentials(TEMPORARY.access_key, TEMPORARY.secret_key, TEMPORARY.token[:-6]), meant=TEMPORARY),
        Change("unknown-key", "a deleted key", ALL, credentials=Credentials("AKIAI44QH8DHBEXAMPLE", LONG_TERM.secret_key), undecided=SILENT),
        Change("wrong-region", "eu-west-1", ALL, region="eu-west-1"),
        Change("wrong-region", "US-EAST-1", ("appsync-http", "appsync-connect", "rest", "http-api"), region="US-EAST-1"),
        Change("wrong-service", "a name of another service", ALL, service=other_service),
        Change("wrong-service", "another name", ("appsync-http", "appsync-connect", "rest", "http-api"), service=upstream_service),
        *further_changes(),
        Change("wrong-secret", "one character too many", ALL, credentials=wrong_secret[LONG_TERM], undecided=SILENT),
        Change("wrong-secret", "another secret than the one meant", ALL, credentials=wrong_secret[TEMPORARY], meant=TEMPORARY),
    ]


def further_changes():
    """Causes that are rarer."""
    spaced = lambda message: message.replace(target=message.target + "&text=a%20b")
    return [
        Change("authorization-malformed", "without Signature", ("appsync-http", "appsync-start", "rest", "websocket"), after=authorization(", Signature=", ", Sig=")),
        Change("authorization-malformed", "without SignedHeaders", ("events-connect", "rest", "http-api"), after=authorization("SignedHeaders=", "Headers=")),
        Change("hash-case", "the hash of the body in upper case", ("appsync-http", "appsync-connect", "rest", "http-api"), signer=editing(payload=str.upper)),
        Change("header-not-signed", "an x-amz- header after signing", ("rest", "websocket"), after=set_header("x-amz-meta", "1")),
        Change("no-subprotocol", "only header-", CONNECTS, carrier="alone"),
        Change("path-normalized", "// signed as /", ("rest", "http-api"), before=target("//items//7"), signer=editing(path=lambda part: part.replace("//", "/"))),
        Change("query-changed", "a value after signing", GATEWAY, after=lambda message: message.replace(target=message.target[:-1] + "x")),
        Change("query-encoded-twice", "a%2520b", GATEWAY, before=spaced, signer=editing(query=lambda part: part.replace("%20", "%2520"))),
        Change("query-not-encoded", "a b", GATEWAY, before=spaced, signer=editing(query=lambda part: part.replace("%20", " "))),
        Change("query-removed", "a parameter after signing", GATEWAY, after=lambda message: message.replace(target=message.target.split("&")[0])),
        Change("signing-key-form", "without AWS4 before the secret", ("appsync-http", "appsync-start", "rest", "http-api"), signer=variant(signature=key_of(prefix=""))),
        Change("signing-key-region", "the key of eu-west-1", ("appsync-http", "appsync-connect", "rest", "http-api"), signer=variant(signature=signature_with(region="eu-west-1"))),
        Change("signing-key-service", "the key of apigateway", GATEWAY, signer=variant(signature=key_of(service="apigateway"))),
        Change("token-expired", "an expired token", tuple(kind for kind in ALL if kind not in SILENT), switches={"expire_keys": True}),
    ]


# --- the upstreams ---


class Upstreams:
    """Knows the correct request of each kind, and delivers signed ones."""

    def __init__(self, address, region, ca_file, control, api, realtime, rest, http_api, websocket):
        name, _, port = address.rpartition(":")
        self.address = (name, int(port))
        self.region = region
        self.context = signed.trust(ca_file)
        self.control = control
        self.api, self.realtime = api, realtime
        self.hosts = {"rest": rest, "http-api": http_api, "websocket": websocket}
        self.sockets = {}
        self.ids = itertools.count(1)

    def correct(self, kind):
        json_type = (("content-type", "application/json"),)
        realtime = tuple(signed.REALTIME_HEADERS.items())

        def post(path, headers, text, host=self.api):
            return Message("POST", host, path, headers, text.encode(), str(next(self.ids)))

        match kind:
            case "appsync-http":
                return post("/graphql", json_type, QUERY)
            case "appsync-connect":
                return post("/graphql/connect", realtime, "{}")
            case "appsync-start":
                return post("/graphql", realtime, SUBSCRIPTION)
            case "events-http":
                return post("/event", json_type, PUBLISH)
            case "events-connect":
                return post("/event", realtime, "{}")
            case "events-subscribe":
                return post("/event", realtime, CHANNEL)
            case "rest":
                return post("/prod/items?limit=10&page=2", json_type, ORDER, self.hosts[kind])
            case "http-api":
                return post("/items?limit=10&page=2", json_type, ORDER, self.hosts[kind])
            case "websocket":
                return Message("GET", self.hosts[kind], "/prod?room=lobby&user=ann", (), b"")

    def sign(self, kind, message, change):
        service = "execute-api" if kind in GATEWAY else "appsync"
        if change.service:
            service = change.service(kind)
        credentials = change.credentials or TEMPORARY
        signer = change.signer(credentials, service, change.region or self.region)
        request = AWSRequest(method=message.method, url=f"https://{message.host}{message.target}", data=message.body)
        request.headers["host"] = message.host
        for name, value in message.headers:
            request.headers.add_header(name, value)
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=change.minutes)
        with signed._clock(when):
            signer.add_auth(request)
        headers = tuple((name, value) for name, value in request.headers.items() if name.lower() != "host")
        return headers, signer.canonical, signer.to_sign

    def run(self, kind, change):
        """Returns the sent request, the signer's texts and the answer."""
        wire = change.before(self.correct(kind))
        headers, canonical, to_sign = self.sign(kind, change.instead(wire), change)
        sent = change.after(wire.replace(headers=headers))
        request, answer = self.deliver(kind, sent, change)
        return request, canonical, to_sign, answer

    def deliver(self, kind, message, change):
        if kind in CONNECTS:
            return self.connect(kind, message, change.carrier)
        if kind in MESSAGES:
            return self.message(kind, message)
        upgrade = UPGRADE if kind == "websocket" and "connections" not in message.target else ()
        request = head(message.method, message.target, (("Host", message.host), *upgrade, *message.headers), message.body)
        with self.dial(message.host) as stream:
            stream.sendall(request)
            return request.decode(), http_answer(stream, message.method)

    @contextlib.contextmanager
    def dial(self, host):
        with contextlib.closing(socket.create_connection(self.address, timeout=10)) as plain:
            with contextlib.closing(self.context.wrap_socket(plain, server_hostname=host)) as stream:
                yield stream

    def connect(self, kind, message, carrier):
        """Opens a realtime connection, and returns the handshake and the first message."""
        protocol, path = PROTOCOLS[kind]
        entries = json.dumps({"host": message.host, **dict(message.headers)}, separators=(",", ":")).encode()
        protocols, query = [protocol], ""
        match carrier:
            case "subprotocol":
                protocols.append("header-" + base64.urlsafe_b64encode(entries).rstrip(b"=").decode())
            case "alone":
                protocols = ["header-" + base64.urlsafe_b64encode(entries).rstrip(b"=").decode()]
            case "query":
                payload = base64.b64encode(message.body).decode()
                query = f"?header={quote(base64.b64encode(entries).decode(), safe='')}&payload={quote(payload, safe='')}"
        headers = (("Host", self.realtime), *UPGRADE, ("Sec-WebSocket-Protocol", ", ".join(protocols)))
        request = head("GET", path + query, headers)
        with self.dial(self.realtime) as stream:
            return request.decode(), self.handshake(stream, request)

    def handshake(self, stream, request):
        stream.sendall(request)
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += stream.recv(1)
        assert b" 101 " in received.split(b"\r\n")[0], received
        stream.sendall(text_frame('{"type":"connection_init"}'))
        return read_text(stream)

    def message(self, kind, message):
        """Sends a message on a connection that all cases share, and returns the frame and its answer."""
        if kind not in self.sockets:
            connect = "appsync-connect" if kind == "appsync-start" else "events-connect"
            change = Change("none", "", (connect,))
            headers, _, _ = self.sign(connect, self.correct(connect), change)
            entries = json.dumps({"host": self.api, **dict(headers)}).encode()
            protocol, path = PROTOCOLS[connect]
            protocols = f"{protocol}, header-{base64.urlsafe_b64encode(entries).rstrip(b'=').decode()}"
            plain = socket.create_connection(self.address, timeout=10)
            stream = self.context.wrap_socket(plain, server_hostname=self.realtime)
            request = head("GET", path, (("Host", self.realtime), *UPGRADE, ("Sec-WebSocket-Protocol", protocols)))
            assert "connection_ack" in self.handshake(stream, request)
            self.sockets[kind] = stream
        stream, name = self.sockets[kind], message.name
        entries = {"host": message.host, **dict(message.headers)}
        if kind == "appsync-start":
            payload = {"data": message.body.decode(), "extensions": {"authorization": entries}}
            frame = {"id": name, "type": "start", "payload": payload}
        else:
            frame = {"type": "subscribe", "id": name, **json.loads(message.body), "authorization": entries}
        text = json.dumps(frame, separators=(",", ":"), ensure_ascii=False)
        stream.sendall(text_frame(text))
        while True:
            answer = read_text(stream)
            if json.loads(answer).get("id") == name:
                return text, answer

    def switch(self, settings):
        request = urllib.request.Request(f"{self.control}/switch", settings.encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200, answer


UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)
PROTOCOLS = {
    "appsync-connect": ("graphql-ws", "/graphql"),
    "events-connect": ("aws-appsync-event-ws", "/event/realtime"),
}


def head(method, target, headers, body=b""):
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def http_answer(stream, method):
    """Reads a response, and returns it as `curl -i` prints it."""
    response = http.client.HTTPResponse(stream, method=method)
    response.begin()
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    text = "" if response.status == 101 else response.read().decode()
    return "\r\n".join(lines) + "\r\n\r\n" + text


def text_frame(text):
    payload = text.encode()
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    if len(payload) < 126:
        length = struct.pack("!B", 0x80 | len(payload))
    else:
        length = struct.pack("!BH", 0x80 | 126, len(payload))
    return b"\x81" + length + mask + masked


def read_text(stream):
    """Returns the next text frame that is not a keepalive."""
    while True:
        first, length = read(stream, 2)
        if length == 126:
            (length,) = struct.unpack("!H", read(stream, 2))
        payload = read(stream, length)
        assert first == 0x81, (first, payload)
        if payload != b'{"type":"ka"}':
            return payload.decode()


def read(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        assert more, "closed"
        data += more
    return data


def is_accepted(answer):
    if answer.startswith("HTTP/1.1 "):
        return answer.split(" ")[1] in ("101", "200", "404", "410")
    return json.loads(answer)["type"] in ("connection_ack", "start_ack", "subscribe_success")


def meant(change):
    return change.meant or change.credentials or TEMPORARY


def main(upstreams):
    for kind in ALL:
        for credentials in (LONG_TERM, TEMPORARY):
            _, _, _, answer = upstreams.run(kind, Change("none", "", (kind,), credentials=credentials))
            assert is_accepted(answer), (kind, answer)
    # Every second case is answered in AppSync's older words.
    older = ("bad_signature_as_400", "error_type_prefix")
    off = {"policy": "", "refuse_connect": "", "expire_keys": False}
    cases = []
    for change in changes():
        for kind in change.kinds:
            switches = {name: len(cases) % 2 == 1 for name in older} | off | change.switches
            cases.append((json.dumps(switches), kind, change))
    cases.sort(key=lambda case: case[0])
    current = None
    for switches, kind, change in cases:
        if switches != current:
            upstreams.switch(switches)
            current = switches
        request, canonical, to_sign, answer = upstreams.run(kind, change)
        now = datetime.datetime.now(datetime.timezone.utc)
        assert not is_accepted(answer), (change.cause, change.words, kind, request, answer)
        full = ["unknown"] if kind in change.undecided else [change.cause, *change.also]
        own = meant(change)
        case = {
            "cause": change.cause,
            "kind": kind,
            "change": change.words,
            "full": full,
            "request": request,
            "answer": answer,
            "at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "credentials": {"access_key": own.access_key, "secret_key": own.secret_key, "token": own.token},
        }
        if change.is_signed:
            case |= {"canonical_request": canonical, "string_to_sign": to_sign}
        print(json.dumps(case))


if __name__ == "__main__":
    if len(sys.argv) != 10:
        sys.exit(__doc__)
    main(Upstreams(*sys.argv[1:]))
