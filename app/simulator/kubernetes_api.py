"""A Kubernetes API server that knows a simulated fleet, over HTTP on 127.0.0.1."""

import base64
import binascii
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from app.simulator.dra_objects import GROUP, VERSIONS
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_events import History, Resource
from app.simulator.kubernetes_objects import JsonObject, owner_object
from app.simulator.loopback import LoopbackServer
from app.simulator.pods import Owner
from app.simulator.spec import HOUR_MS, MINUTE_MS, OPEN_MS

_POLL_SECONDS = 0.01
_BOOKMARK_EVERY_MS = MINUTE_MS
_DEFAULT_WATCH_SECONDS = 1_800
_OWNER_PATHS = {"replicasets": ("apps", "ReplicaSet"), "jobs": ("batch", "Job")}
_VERSION: JsonObject = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.4",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-08-12T00:00:00Z",
    "goVersion": "go1.24.5",
    "compiler": "gc",
    "platform": "linux/amd64",
}
_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: JsonObject


@dataclass(frozen=True, slots=True)
class _Stream:
    lines: Iterator[bytes]


class SimulatedKubernetes(LoopbackServer):
    """List, watch and owner look-ups over a fleet; ``clock`` gives the present in milliseconds.

    Watches send every event whose instant has come and then wait for the clock to move on.
    Resource versions expire after 5 minutes of that clock: as an ``ERROR`` event in a stream, or,
    with ``gone_as_event`` false, as HTTP status 410. What tests may set at any time:
    ``gone_as_event``; ``forbidden``, path prefixes answered with 403; ``token``;
    ``dra_versions``, the versions of ``resource.k8s.io`` that are served, which are none where no
    node hands out devices by claims.
    """

    def __init__(
        self,
        fleet: Fleet,
        clock: Callable[[], int],
        *,
        gone_as_event: bool = True,
        token: str = "",
        port: int = 0,
        dra_versions: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(_handler(self), port)
        by_claims = any(node.mode.by_claims for node in fleet.nodes)
        served = VERSIONS[:1] if by_claims else ()
        self.dra_versions = served if dra_versions is None else dra_versions
        self.history = History(fleet)
        self.clock = clock
        self.gone_as_event = gone_as_event
        self.token = token
        self.forbidden: tuple[str, ...] = ()
        self._owners = _owners(fleet)
        self._lock = threading.Lock()
        self._failures: list[int] = []
        self._cuts = 0
        self._delivered = dict.fromkeys(Resource, 0)
        self._expired_tokens = 0

    def fail_next(self, status: int = 503, *, times: int = 1) -> None:
        """Answer the next requests with a status."""
        with self._lock:
            self._failures += [status] * times

    def cut_next_stream(self, *, times: int = 1) -> None:
        """Break the next watches off in the middle of their first event."""
        with self._lock:
            self._cuts += times

    def expire_next_continue(self, *, times: int = 1) -> None:
        """Answer 410 to the next requests that continue a list."""
        with self._lock:
            self._expired_tokens += times

    def delivered_ms(self, resource: str) -> int:
        """Return up to which instant the latest watch of a collection was sent events."""
        return self._delivered[Resource(resource)]

    def answer(self, path: str, form: dict[str, str], authorization: str) -> "_Answer | _Stream":
        """Return the answer to one request."""
        with self._lock:
            if self._failures:
                return _status(self._failures.pop(0), "the server is currently unable")
        if self.token and authorization != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        if any(path.startswith(prefix) for prefix in self.forbidden):
            return _status(403, f"{path} is forbidden")
        return self._route(path, form)

    def _route(self, path: str, form: dict[str, str]) -> "_Answer | _Stream":
        match path.strip("/").split("/"):
            case ["version"]:
                return _Answer(200, dict(_VERSION))
            case ["api", "v1", ("pods" | "nodes") as name]:
                return self._collection(Resource(name), form, "v1")
            case ["apis", group] if group == GROUP and self.dra_versions:
                return _Answer(200, _group(self.dra_versions))
            case [
                "apis",
                group,
                api,
                ("resourceclaims" | "resourceslices" | "deviceclasses") as name,
            ] if group == GROUP and api in self.dra_versions:
                return self._collection(Resource(name), form, api)
            case ["apis", group, "v1", "namespaces", namespace, plural, name]:
                return self._owner(group, namespace, plural, name)
        return _status(404, f"the server could not find {path}")

    def _collection(
        self, resource: Resource, form: dict[str, str], api: str
    ) -> "_Answer | _Stream":
        if form.get("watch") in ("true", "1"):
            return self._watch(resource, form, api)
        return self._list(resource, form, api)

    def _list(self, resource: Resource, form: dict[str, str], api: str) -> _Answer:
        now_ms = self.clock()
        at_ms, skip = now_ms, 0
        if form.get("continue"):
            try:
                token = json.loads(base64.urlsafe_b64decode(form["continue"]))
                at_ms, skip = int(token["at"]), int(token["skip"])
            except (binascii.Error, ValueError, KeyError, TypeError):
                return _status(400, "continue key is not valid")
            with self._lock:
                spoiled = self._expired_tokens > 0
                self._expired_tokens -= spoiled
            if spoiled or now_ms - at_ms > self.history.kept_ms:
                return _status(410, "The provided continue parameter is too old")
        items = self.history.snapshot(resource, at_ms, api)
        limit = int(form.get("limit") or 0) or len(items)
        metadata: JsonObject = {"resourceVersion": str(self.history.version_at(at_ms))}
        left = len(items) - skip - limit
        if left > 0:
            token = json.dumps({"at": at_ms, "skip": skip + limit}).encode()
            metadata["continue"] = base64.urlsafe_b64encode(token).decode()
            metadata["remainingItemCount"] = left
        kind = f"{resource.kind}List"
        page = items[skip : skip + limit]
        # Items of a list carry no kind of their own.
        bare = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in page]
        return _Answer(
            200,
            {
                "kind": kind,
                "apiVersion": _api_version(resource, api),
                "metadata": metadata,
                "items": [*bare],
            },
        )

    def _watch(self, resource: Resource, form: dict[str, str], api: str) -> "_Answer | _Stream":
        now_ms = self.clock()
        text = form.get("resourceVersion", "")
        if not text.isdigit():
            return _status(400, f"resourceVersion {text!r} is not a version to watch from")
        version = int(text)
        if self.history.expired(version, now_ms):
            oldest = self.history.version_at(now_ms - self.history.kept_ms)
            gone = _status(410, f"too old resource version: {version} ({oldest})")
            if not self.gone_as_event:
                return gone
            return _Stream(iter([_line("ERROR", gone.body)]))
        with self._lock:
            cut = self._cuts > 0
            self._cuts -= cut
        lines = self._lines(resource, version, form, api)
        return _Stream((line[: len(line) // 2] for line in lines) if cut else lines)

    def _lines(
        self, resource: Resource, version: int, form: dict[str, str], api: str
    ) -> Iterator[bytes]:
        """Yield events as the clock reaches them, until the client's time is over."""
        polls = float(form.get("timeoutSeconds") or _DEFAULT_WATCH_SECONDS) / _POLL_SECONDS
        bookmarks = form.get("allowWatchBookmarks") in ("true", "1")
        number, marked_ms = self.history.after(version), self.clock()
        while not self.stopping.is_set():
            now_ms = self.clock()
            while number < len(self.history.events):
                event = self.history.events[number]
                if event.at_ms > now_ms:
                    break
                number += 1
                if event.resource is resource:
                    yield _line(event.kind, event.object(api))
            self._delivered[resource] = now_ms
            polls -= 1
            if bookmarks and (polls <= 0 or now_ms - marked_ms >= _BOOKMARK_EVERY_MS):
                marked_ms = now_ms
                version = self.history.version_at(now_ms)
                yield _line("BOOKMARK", _bookmark(resource, version, api))
            if polls <= 0:
                return
            self.stopping.wait(_POLL_SECONDS)

    def _owner(self, group: str, namespace: str, plural: str, name: str) -> _Answer:
        known_group, kind = _OWNER_PATHS.get(plural, ("", ""))
        found = self._owners.get((kind, namespace, name))
        if group != known_group or found is None:
            return _status(404, f'{plural}.{group} "{name}" not found')
        owner, end_ms = found
        if not owner.created_ms <= self.clock() < end_ms:
            return _status(404, f'{plural}.{group} "{name}" not found')
        return _Answer(200, owner_object(owner, namespace))


def _owners(fleet: Fleet) -> dict[tuple[str, str, str], tuple[Owner, int]]:
    """Return direct owners and until when they exist: a Job outlives its pod, others stay."""
    found: dict[tuple[str, str, str], tuple[Owner, int]] = {}
    for pod in fleet.pods:
        if pod.owner is not None:
            end_ms = pod.removed_ms + HOUR_MS if pod.owner.kind == "Job" else OPEN_MS
            found[pod.owner.kind, pod.namespace, pod.owner.name] = (pod.owner, end_ms)
    return found


def _status(code: int, text: str) -> _Answer:
    return _Answer(
        code,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": text,
            "reason": _REASONS.get(code, "BadRequest"),
            "code": code,
        },
    )


def _api_version(resource: Resource, api: str) -> str:
    return api if resource in (Resource.PODS, Resource.NODES) else f"{GROUP}/{api}"


def _group(versions: tuple[str, ...]) -> JsonObject:
    """Return the description of the group, the preferred version first."""
    served: list[JsonObject] = [
        {"groupVersion": f"{GROUP}/{version}", "version": version} for version in versions
    ]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": [*served],
        "preferredVersion": served[0],
    }


def _bookmark(resource: Resource, version: int, api: str) -> JsonObject:
    metadata: JsonObject = {"resourceVersion": str(version), "creationTimestamp": None}
    return {
        "kind": resource.kind,
        "apiVersion": _api_version(resource, api),
        "metadata": metadata,
        "spec": {},
        "status": {},
    }


def _line(kind: str, body: JsonObject) -> bytes:
    return json.dumps({"type": kind, "object": body}, separators=(",", ":")).encode() + b"\n"


def _handler(owner: SimulatedKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes; without this the second waits 40 ms for the client's ACK.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            form = {name: texts[-1] for name, texts in parse_qs(address.query).items()}
            authorization = self.headers.get("Authorization", "")
            answer = owner.answer(address.path, form, authorization)
            if isinstance(answer, _Stream):
                self._send_stream(answer)
            else:
                self._send(answer)

        def log_message(self, *_: object) -> None:
            """Stay silent: a test's output is the test's."""

        def date_time_string(self, timestamp: float | None = None) -> str:
            """Return the ``Date`` header by the fleet's clock."""
            del timestamp
            present = datetime.fromtimestamp(owner.clock() // 1000, tz=UTC)
            return format_datetime(present, usegmt=True)

        def _send(self, answer: _Answer) -> None:
            body = json.dumps(answer.body, separators=(",", ":")).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _send_stream(self, stream: _Stream) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in stream.lines:
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
                if not line.endswith(b"\n"):
                    # A broken-off watch ends without the last chunk.
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")

    return Handler
