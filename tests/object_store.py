"""A real S3-compatible server for tests, in a process of its own, and a proxy before it that fails as stores do."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACCESS_KEY = "AKIATESTTESTTESTTEST"
SECRET = "a-secret-that-must-not-be-written-anywhere"
_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class ObjectStore:
    """A running server; `environment()` is what a user would set for it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._buckets = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": endpoint or self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.address,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def new_bucket(self) -> str:
        self._buckets += 1
        name = f"bucket-{self._buckets:03d}"
        self.client().create_bucket(Bucket=name)
        return name

    def upload(self, folder: Path, bucket: str, prefix: str) -> str:
        """Put every file of a folder under a prefix; give the prefix's address."""
        client = self.client()
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                client.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(folder).as_posix()}")
        return f"s3://{bucket}/{prefix}"

    def contents(self, bucket: str) -> dict[str, bytes]:
        client = self.client()
        keys = [
            entry["Key"]
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            for entry in page.get("Contents", [])
        ]
        return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@contextmanager
def running_store() -> Iterator[ObjectStore]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield ObjectStore(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


# What a request is answered with instead of what the store says: a status; "cut" for half a body and a closed line;
# "lost" for a 500 although the store has done what was asked.
Fault = Callable[[str, str, int], int | str | None]


@contextmanager
def faulty_proxy(store: ObjectStore, fault: Fault) -> Iterator[str]:
    """Run a proxy; `fault(method, path, number of the request)` says what goes wrong, None for nothing."""
    counter, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            with lock:
                counter[0] += 1
                number = counter[0]
            body = self._body()
            wrong = fault(self.command, self.path, number)
            if wrong == "lost":
                self._forward(body)
                wrong = 500
            if isinstance(wrong, int):
                code = "SlowDown" if wrong == 503 else "InternalError"
                text = f"<Error><Code>{code}</Code><Message>not now</Message></Error>"
                self._answer(wrong, {"Content-Type": "application/xml"}, text.encode())
                return
            status, headers, content = self._forward(body)
            self._answer(status, headers, content, cut=wrong == "cut")

        def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = HTTPConnection("127.0.0.1", store.port)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body

        def _answer(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
            self.send_response_only(status)
            length = headers.pop("Content-Length", None) or headers.pop("content-length", None) or str(len(content))
            for name, value in headers.items():
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
            self.end_headers()
            if cut:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
            elif self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 (http.server's names)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
