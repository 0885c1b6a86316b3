"""The parts of a measurement: the upstream, and everything that is measured in front of it."""

import contextlib
import http.client
import json
import pathlib
import re
import ssl
import subprocess
from typing import NamedTuple

from stage import PATH, Failed, free_port, wait_until

HERE = pathlib.Path(__file__).resolve().parent

NAME = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com"
KEY = "AKIDBENCH"
# As long as typical tokens of STS.
TOKEN = "IQoJb3JpZ2luX2VjEBenchmark" + 774 * "x"
IDENTITY = (KEY, "benchmark-secret", TOKEN)
BODY_SIZE, ANSWER_SIZE, LARGE_SIZE = 400, 300, 100_000
DOCUMENT = (
    "query Q($id: ID!) { getPost(id: $id) { id title content createdAt author { id name } "
    "comments(limit: 10) { items { id content createdAt author { id name } } nextToken } } }"
)


class Load(NamedTuple):
    """What the contenders are asked for."""

    name: str
    connections: int
    is_large: bool = False
    is_http2: bool = False


def make_certificates(tmp, *names):
    """Creates a certificate authority, and a certificate for these names."""

    def openssl(*arguments):
        done = subprocess.run(
            ["openssl", *arguments], cwd=tmp, capture_output=True, text=True, timeout=30
        )
        if done.returncode != 0:
            raise Failed(f"openssl {arguments[0]}: {done.stderr}")

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=benchmark",
            "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-new", *key, "-subj", "/CN=upstream", "-keyout", "leaf.key", "-out", "leaf.csr")
    names = ",".join(f"DNS:{name}" for name in names)
    (tmp / "leaf.ext").write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "leaf.ext", "-out", "leaf.pem")


def make_body():
    def body(identifier):
        return json.dumps(
            {"query": DOCUMENT, "variables": {"id": identifier}, "operationName": "Q"},
            separators=(",", ":"),
        )

    body = body((BODY_SIZE - len(body(""))) * "0")
    assert len(body) == BODY_SIZE, len(body)
    return body


def make_answer(size):
    start, end = '{"data":{"getPost":{"id":"1","content":"', '"}}}'
    return start + (size - len(start) - len(end)) * "a" + end


class Bench:
    def __init__(self, stage, tmp, binary):
        self.stage, self.tmp, self.binary = stage, tmp, binary
        self.body, self.answer = make_body(), make_answer(ANSWER_SIZE)
        (tmp / "body.json").write_text(self.body)
        self.large = make_answer(LARGE_SIZE)
        (tmp / "large.json").write_text(self.large)
        # As root, nginx's worker is another user, who reads this file.
        tmp.chmod(0o711)
        roles = ("PLAIN", "SIGNED", "PLAIN_HTTP2", "SIGNED_HTTP2", "STATUS", "PORT", "REALTIME")
        self.ports = {role: free_port() for role in roles}
        self.direct_tls = ssl.create_default_context(cafile=str(tmp / "ca.pem"))
        self.direct_tls.check_hostname = False
        self.problems = []
        for name in ("upstream.nginx.conf", "proxy.nginx.conf"):
            self.write(name)

    def write(self, name, **more):
        """Writes a configuration with its words replaced."""
        words = {
            **self.ports, "TMP": self.tmp, "NAME": NAME, "KEY": KEY, "TOKEN": TOKEN,
            "ANSWER": self.answer, **more,
        }
        text = (HERE / name).read_text()
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        (self.tmp / name).write_text(text)

    def environment(self, identity=None, **more):
        """Returns an environment without the user's configuration and credentials."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        more.update(zip(names, identity or ()))
        return {
            "PATH": PATH, "HOME": str(self.tmp), "AWS_EC2_METADATA_DISABLED": "true",
            "TOKIO_WORKER_THREADS": "1", **more,
        }

    # Starting.

    def nginx(self, name, core):
        command = ["nginx", "-p", self.tmp, "-c", self.tmp / f"{name}.nginx.conf"]
        log = open(self.tmp / f"{name}.out", "ab")
        return self.stage.start(
            command, core, env=self.environment(), stdout=log, stderr=log
        )

    def countersign(self, arguments, log, identity=IDENTITY, under=(), **more):
        """Starts it, as an argument of the command `under` if there is one. Its environment has `more`."""
        listen = f"127.0.0.1:{self.ports['PORT']}"
        command = [*under, self.binary, "--listen", listen, *arguments]
        return self.stage.start(
            command, self.stage.contender, env=self.environment(identity, **more),
            stdout=subprocess.DEVNULL, stderr=open(log, "wb"),
        )

    def for_upstream(self, *arguments, is_http2=False):
        upstream = self.ports["SIGNED_HTTP2" if is_http2 else "SIGNED"]
        return [
            f"https://{NAME}/graphql", "--connect", f"127.0.0.1:{upstream}",
            "--ca-file", self.tmp / "ca.pem", *arguments,
        ]

    def floor(self, binary, signs, is_http2):
        """Starts the minimal proxy."""
        role = "SIGNED" if signs else "PLAIN"
        upstream = self.ports[role + "_HTTP2" * is_http2]
        arguments = [
            "--listen", f"127.0.0.1:{self.ports['PORT']}", "--ca-file", self.tmp / "ca.pem",
            "--upstream", f"{NAME}=127.0.0.1:{upstream}",
            *["--sign"] * signs, *["--http2"] * is_http2,
        ]
        log = open(self.tmp / "floor.log", "wb")
        return self.stage.start(
            [binary, *arguments], self.stage.contender, env=self.environment(IDENTITY),
            stdout=log, stderr=log,
        )

    def envoy(self, binary, is_http2):
        """Starts Envoy with its signing filter and one worker."""
        self.write(
            "proxy.envoy.yaml",
            UPSTREAM=self.ports["SIGNED_HTTP2" if is_http2 else "SIGNED"],
            PROTOCOL="http2_protocol_options" if is_http2 else "http_protocol_options",
        )
        arguments = [
            "--config-path", self.tmp / "proxy.envoy.yaml", "--concurrency", "1",
            "--use-dynamic-base-id", "--log-level", "warning",
        ]
        log = open(self.tmp / "envoy.log", "wb")
        return self.stage.start(
            [binary, *arguments], self.stage.contender, env=self.environment(IDENTITY),
            stdout=log, stderr=log,
        )

    # Requests.

    def ask(self, port, tls=None, body=None, path="/graphql", is_large=False):
        """Returns status and text of one response."""
        if tls:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=tls)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        headers = {"content-type": "application/json", "x-answer": answer_name(is_large)}
        with contextlib.closing(connection):
            connection.request("POST" if body else "GET", path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def is_answered(self, port, tls=None, is_large=False):
        status, text = self.ask(port, tls, self.body, is_large=is_large)
        if (status, text) != (200, self.large if is_large else self.answer):
            raise Failed(f"port {port} answered {status}: {text[:1000]}")
        return True

    def wait_for_answer(self, contender, name, pause=0.02, is_large=False):
        def answered():
            if contender.poll() is not None:
                raise Failed(f"{name} ended with {contender.returncode}")
            return self.is_answered(self.ports["PORT"], is_large=is_large)

        wait_until(answered, f"{name} does not answer", pause=pause)

    def wait_for_listener(self, contender, name, patience=20):
        def accepts():
            if contender.poll() is not None:
                raise Failed(f"{name} ended with {contender.returncode}")
            address = "127.0.0.1", self.ports["PORT"]
            with contextlib.closing(http.client.HTTPConnection(*address, timeout=5)) as probe:
                probe.connect()
                return True

        wait_until(accepts, f"{name} does not accept connections", patience=patience)

    def logs(self):
        """Returns the ends of all logs, for a failure."""
        paths = sorted([*self.tmp.glob("*.log"), *self.tmp.glob("*.out")])
        ends = ((path.name, path.read_bytes()[-2000:].decode(errors="replace")) for path in paths)
        return "\n".join(f"{name}: {end}" for name, end in ends if end)

    def upstream_requests(self):
        """Returns the number of requests that the upstream has received."""
        _, text = self.ask(self.ports["STATUS"], path="/status")
        return int(re.search(r"(\d+) (\d+) (\d+)", text)[3])

    def url(self):
        return f"http://127.0.0.1:{self.ports['PORT']}/graphql"

    def wrk(self, url, load, seconds):
        """Sends as many requests as it can, and returns what post.lua prints."""
        command = [
            "wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "5s",
            "-s", HERE / "post.lua", url,
        ]
        environment = self.environment(
            BENCH_BODY=str(self.tmp / "body.json"), BENCH_ANSWER=answer_name(load.is_large)
        )
        return json.loads(self.output(command, environment, seconds + 20).splitlines()[-1])

    def h2load(self, url, connections, rate, seconds):
        """Sends requests at a fixed rate, and returns their durations in ms, in ascending order."""
        log = self.tmp / "h2load.log"
        log.unlink(missing_ok=True)
        command = [
            "h2load", "--h1", "-t1", "-c", connections, "-n", rate * seconds,
            "--rps", rate / connections, "-d", self.tmp / "body.json",
            "-H", "content-type: application/json", "--log-file", log, url,
        ]
        self.output(command, self.environment(), seconds + 30)
        rows = [line.split("\t") for line in log.read_text().splitlines()]
        failed = sum(status != "200" for _, status, *_ in rows) + rate * seconds - len(rows)
        if failed:
            raise Failed(f"h2load: {failed} requests failed")
        return sorted(int(duration) / 1e3 for _, _, duration, *_ in rows)

    def output(self, command, environment, patience):
        process = self.stage.start(
            command, self.stage.rest, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            text, _ = process.communicate(timeout=patience)
        finally:
            self.stage.stop(process)
        if process.returncode != 0:
            raise Failed(f"{command[0]} failed: {text}")
        return text.strip()

    def start_upstream(self):
        self.nginx("upstream", self.stage.rest)
        wait_until(
            lambda: self.is_answered(self.ports["PLAIN"], self.direct_tls),
            "the upstream does not answer",
        )
        self.is_answered(self.ports["PLAIN"], self.direct_tls, is_large=True)
        status, _ = self.ask(self.ports["SIGNED"], self.direct_tls, self.body)
        if status != 403:
            raise Failed(f"the upstream answers {status} to a request without a signature")


def answer_name(is_large):
    return "large" if is_large else "small"
