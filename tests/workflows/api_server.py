"""A Kubernetes API that a test writes by hand, with what real ones do and simulated fleets do not.

Versions rise by themselves, as leases make them rise in every cluster, so that the version of a
list is never that of the newest event. Events are sent when the test lets them.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from app.simulator.loopback import LoopbackServer
from tests.real.ports import wait_until
from tests.sources.dra_objects import a_group
from tests.workflows.api_objects import JsonObject

_POLL_SECONDS = 0.005
_GROUP = "resource.k8s.io"
_DRA_COLLECTIONS = {
    "resourceclaims": "ResourceClaim",
    "resourceslices": "ResourceSlice",
    "deviceclasses": "DeviceClass",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One event of the history; ``raw`` replaces what a healthy server would send."""

    version: int
    collection: str
    body: bytes
    raw: bytes = b""


@dataclass(slots=True)
class Faults:
    """What goes wrong, until the test sets it right.

    ``down`` answers 503 and breaks streams off, ``oldest`` is the oldest version that is kept,
    ``gone_as_event`` says how its absence is told, ``held_back`` is the first version not sent,
    ``forbidden`` are collections for which rights are missing, ``silent`` those without bookmarks.
    """

    down: bool = False
    oldest: int = 0
    gone_as_event: bool = True
    held_back: int = 2**62
    forbidden: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()


@dataclass(slots=True)
class _State:
    version: int = 100
    objects: dict[tuple[str, str], JsonObject] = field(default_factory=dict)
    history: list[Line] = field(default_factory=list)
    lists: int = 0
    opened: list[tuple[str, int]] = field(default_factory=list)
    streaming: int = 0


class ApiServer(LoopbackServer):
    """Lists and watches over HTTP; ``faults`` may be changed at any time.

    It has claims, slices and classes in the versions of resource.k8s.io that it ``serves``.
    """

    def __init__(self, serves: tuple[str, ...] = ()) -> None:
        super().__init__(_handler(self))
        self.serves = serves
        self.faults = Faults()
        self._state = _State()
        self._lock = threading.Lock()

    @property
    def lists(self) -> int:
        """How often a whole collection was listed."""
        return self._state.lists

    @property
    def opened(self) -> list[tuple[str, int]]:
        """The streams that were opened: collection and version."""
        return list(self._state.opened)

    @property
    def version(self) -> int:
        return self._state.version

    @property
    def collections(self) -> tuple[str, ...]:
        """What can be listed and watched."""
        return ("nodes", "pods", *(_DRA_COLLECTIONS if self.serves else ()))

    def go_down(self) -> None:
        """Answer nobody and break off the streams, until ``faults.down`` is taken back."""
        self.faults.down = True
        wait_until(
            lambda: self._state.streaming == 0, timeout_seconds=5, what="the end of the streams"
        )

    def put(self, item: JsonObject) -> int:
        """Create or change an object; return the version of its event."""
        key = _key(item)
        kind = "MODIFIED" if key in self._state.objects else "ADDED"
        return self._record(kind, key, item)

    def remove(self, item: JsonObject) -> int:
        """Delete an object, whose last state this is."""
        return self._record("DELETED", _key(item), item)

    def bookmark(self) -> None:
        """Tell all streams of the present version."""
        for collection in self.collections:
            if collection in self.faults.silent:
                continue
            with self._lock:
                version = self._next()
                item = {"kind": "X", "metadata": {"resourceVersion": str(version)}}
                self._state.history.append(Line(version, collection, _event("BOOKMARK", item)))

    def say_once(self, collection: str, raw: bytes) -> None:
        """Send something that is no event to the streams of now; whoever comes later is spared."""
        with self._lock:
            self._state.history.append(Line(self._state.version, collection, b"", raw))

    def _record(self, kind: str, key: tuple[str, str], item: JsonObject) -> int:
        with self._lock:
            version = self._next()
            metadata = item["metadata"]
            assert isinstance(metadata, dict)
            dated = {**item, "metadata": {**metadata, "resourceVersion": str(version)}}
            if kind == "DELETED":
                self._state.objects.pop(key, None)
            else:
                self._state.objects[key] = dated
            self._state.history.append(Line(version, key[0], _event(kind, dated)))
            return version

    def _next(self) -> int:
        self._state.version += 2
        return self._state.version

    def answer(
        self, collection: str, form: dict[str, str]
    ) -> tuple[int, JsonObject | Iterator[bytes]]:
        """Return status and body of one request, or the lines of a stream."""
        if (refused := self._refused(collection)) is not None:
            return refused
        if collection == _GROUP:
            return 200, a_group(*self.serves)
        if not form.get("watch"):
            return 200, self._listed(collection, form)
        version = int(form["resourceVersion"])
        if version >= self.faults.oldest:
            return 200, self._lines(collection, version)
        gone: JsonObject = {"kind": "Status", "code": 410, "message": f"too old: {version}"}
        if self.faults.gone_as_event:
            return 200, iter([_event("ERROR", gone)])
        return 410, gone

    def _refused(self, collection: str) -> tuple[int, JsonObject] | None:
        if self.faults.down:
            return 503, {"kind": "Status", "code": 503, "message": "not now"}
        if collection in self.faults.forbidden:
            return 403, {"kind": "Status", "code": 403, "message": f"{collection} is forbidden"}
        if collection not in (*self.collections, *([_GROUP] if self.serves else [])):
            return 404, {"kind": "Status", "code": 404, "message": "not here"}
        return None

    def _listed(self, collection: str, form: dict[str, str]) -> JsonObject:
        with self._lock:
            self._state.version += 1
            items = [item for key, item in self._state.objects.items() if key[0] == collection]
            if form.get("limit") != "1":
                self._state.lists += 1
            metadata = {"resourceVersion": str(self._state.version)}
            return {"metadata": metadata, "items": items[: int(form.get("limit") or 500)]}

    def _lines(self, collection: str, version: int) -> Iterator[bytes]:
        """Yield the events after a version as the test lets them go."""
        with self._lock:
            self._state.opened.append((collection, version))
            self._state.streaming += 1
            told = len([line for line in self._state.history if line.raw])
        try:
            yield from self._told(collection, version, told)
        finally:
            with self._lock:
                self._state.streaming -= 1

    def _told(self, collection: str, version: int, told: int) -> Iterator[bytes]:
        number = 0
        while not self.stopping.is_set() and not self.faults.down:
            while number < len(self._state.history):
                line = self._state.history[number]
                if line.version >= self.faults.held_back:
                    break
                number += 1
                if line.raw:
                    told -= 1
                    if told < 0 and line.collection == collection:
                        yield line.raw
                elif line.version > version and line.collection == collection:
                    yield line.body
            self.stopping.wait(_POLL_SECONDS)


def _key(item: JsonObject) -> tuple[str, str]:
    metadata, spec = item["metadata"], item["spec"]
    assert isinstance(metadata, dict)
    assert isinstance(spec, dict)
    for collection, kind in _DRA_COLLECTIONS.items():
        if item.get("kind") == kind:
            return (collection, str(metadata["uid"]))
    return ("pods" if "containers" in spec else "nodes", str(metadata["uid"]))


def _event(kind: str, item: JsonObject) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def _handler(owner: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            form = {name: texts[-1] for name, texts in parse_qs(address.query).items()}
            status, answer = owner.answer(address.path.rstrip("/").rpartition("/")[2], form)
            if isinstance(answer, dict):
                self._send(status, answer)
            else:
                self._stream(answer)

        def log_message(self, *_: object) -> None:
            """Stay silent: a test's output is the test's."""

        def _stream(self, lines: Iterator[bytes]) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            # A connection that breaks ends without the last chunk.
            self.close_connection = True
            for line in lines:
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
                if not line.endswith(b"\n"):
                    return
            if not owner.faults.down:
                self.wfile.write(b"0\r\n\r\n")

        def _send(self, status: int, document: JsonObject) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
