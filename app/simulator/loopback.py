"""An HTTP server on 127.0.0.1 that runs in a thread and leaves no socket behind."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from app.errors import GpuledgerError

_JOIN_SECONDS = 5.0


class LoopbackError(GpuledgerError):
    """A simulated server could not be started."""


class _Server(ThreadingHTTPServer):
    """Remembers its connections: idle keep-alive ones must be cut before threads can end."""

    daemon_threads = True
    block_on_close = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), handler)

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with self._lock:
            self._connections.add(request)
        try:
            super().finish_request(request, client_address)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client went away in the middle of an answer, as watchers do
        finally:
            with self._lock:
                self._connections.discard(request)

    def cut_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # already closed by its client


class LoopbackServer:
    """Base of the simulated APIs: a context manager, or `start` and `close` by hand."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        try:
            self._server = _Server(port, handler)
        except OSError as failure:
            message = f"The simulated server could not listen on 127.0.0.1:{port}: {failure}."
            raise LoopbackError(message, hint="Choose a free port, or 0 for any.") from failure
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Serve in a thread until `close`."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving, cut what is still connected, and wait for the threads."""
        self.stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(_JOIN_SECONDS)
            self._thread = None
        self._server.cut_connections()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
