"""Object stores on loopback: moto's S3, and servers that break off at a chosen place."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

# What moto takes as credentials: anything.
OPTIONS = {"key": "loopback", "secret": "loopback"}


@contextmanager
def running_s3() -> Iterator[str]:
    """Serve an S3-compatible store on a free port; yields its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


_FORBIDDEN = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 76\r\n"
    b"Connection: close\r\n\r\n"
    b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>    "
)


class _BreaksOff(socketserver.BaseRequestHandler):
    """Reads the first bytes of a request and hangs up, stays silent, or says that it may not be."""

    server: "BreakingStore"

    def handle(self) -> None:
        request: socket.socket = self.request
        self.server.seen.append(request.recv(200).split(b"\r\n")[0])
        if self.server.silent:
            self.server.ended.wait(10)
        elif self.server.forbids:
            request.sendall(_FORBIDDEN)


class BreakingStore(socketserver.ThreadingTCPServer):
    """A store whose connections end in the middle of what is sent."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *, silent: bool, forbids: bool) -> None:
        super().__init__(("127.0.0.1", 0), _BreaksOff)
        self.silent = silent
        self.forbids = forbids
        self.seen: list[bytes] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


@contextmanager
def breaking_store(*, silent: bool = False, forbids: bool = False) -> Iterator[BreakingStore]:
    with BreakingStore(silent=silent, forbids=forbids) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
