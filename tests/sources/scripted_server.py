"""A loopback HTTP server whose answers a test writes, and which remembers what it was asked."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    form: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: bytes = b""
    # Lines sent one by one as chunks, instead of a body.
    lines: tuple[bytes, ...] = ()
    # The end of the chunks is never sent: the connection breaks.
    breaks: bool = False
    # Bytes announced beyond those sent: a body cut short.
    missing: int = 0
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class ScriptedServer:
    url: str
    asked: list[Request] = field(default_factory=list)
    # Handshakes of TLS that failed.
    refused: int = 0

    def paths(self) -> list[str]:
        return [request.path for request in self.asked]


def json_reply(document: object, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(document).encode())


class _Listener(ThreadingHTTPServer):
    """Shakes hands in the thread of a request, so that a failure there ends nothing else."""

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        tls: ssl.SSLContext | None,
        served: ScriptedServer,
    ) -> None:
        super().__init__(address, handler)
        self._handler = handler
        self._tls = tls
        self._served = served

    def finish_request(self, request: object, client_address: object) -> None:
        connection = cast("socket.socket", request)
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                self._served.refused += 1
                return
        with connection:
            self._handler(connection, cast("tuple[str, int]", client_address), self)


@contextmanager
def scripted_server(
    answer: Callable[[Request], Reply], *, tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedServer]:
    """Serve until the block ends, over TLS where there is a context for it."""
    served = ScriptedServer(url="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve("")

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self._serve(self.rfile.read(length).decode())

        def log_message(self, *_: object) -> None:
            pass

        def _serve(self, body: str) -> None:
            parts = urlsplit(self.path)
            form = {
                key: values[-1]
                for text in (parts.query, body)
                for key, values in parse_qs(text).items()
            }
            request = Request(self.command, parts.path, form, dict(self.headers.items()))
            served.asked.append(request)
            _send(self, answer(request))

    server = _Listener(("127.0.0.1", 0), Handler, tls, served)
    scheme = "http" if tls is None else "https"
    served.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response(reply.status)
    for name, value in reply.headers:
        handler.send_header(name, value)
    # No idle connection outlives its request, so that the server can end its threads.
    handler.send_header("Connection", "close")
    handler.close_connection = True
    if not reply.lines:
        handler.send_header("Content-Length", str(len(reply.body) + reply.missing))
        handler.end_headers()
        handler.wfile.write(reply.body)
        return
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for line in reply.lines:
        handler.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        handler.wfile.flush()
    if not reply.breaks:
        handler.wfile.write(b"0\r\n\r\n")
