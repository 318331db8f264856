"""A loopback HTTP server whose answers a test writes, and which remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    # Bytes announced beyond those sent: a body cut short.
    missing: int = 0
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class ScriptedServer:
    url: str
    asked: list[Request] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [request.path for request in self.asked]


def json_reply(document: object, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(document).encode())


@contextmanager
def scripted_server(answer: Callable[[Request], Reply]) -> Iterator[ScriptedServer]:
    """Serve until the block ends."""
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
            self._send(answer(request))

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            # No idle connection outlives its request, so that the server can end its threads.
            self.send_header("Connection", "close")
            self.close_connection = True
            if not reply.lines:
                self.send_header("Content-Length", str(len(reply.body) + reply.missing))
                self.end_headers()
                self.wfile.write(reply.body)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in reply.lines:
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
