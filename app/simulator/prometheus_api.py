"""A Prometheus that knows a simulated fleet's samples, over HTTP on 127.0.0.1."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.loopback import LoopbackServer
from app.simulator.promql import Matcher, PromqlError, Selector, parse
from app.simulator.query_engine import ExecutionError, QueryEngine

_Form = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: str
    content_type: str = "application/json"


class SimulatedPrometheus(LoopbackServer):
    """The query API over a fleet; ``clock`` gives the present in milliseconds.

    What tests may set at any time: ``warnings``, ``infos``, ``is_partial`` go into every answer to
    a query; ``max_samples`` is the server's limit; ``oldest_ms`` its retention. `fail_next` and
    `truncate_next` spoil the answers that come next. ``queries`` records every query received.
    """

    def __init__(
        self,
        fleet: Fleet,
        clock: Callable[[], int],
        *,
        exposition: Exposition | None = None,
        left_open: bool = False,
        token: str = "",
        port: int = 0,
    ) -> None:
        super().__init__(_handler(self), port)
        self._clock = clock
        self._engine = QueryEngine(exposition or Exposition(fleet), left_open=left_open)
        self._lock = threading.Lock()
        self._failures: list[_Answer] = []
        self._truncations = 0
        self.token = token
        self.warnings: tuple[str, ...] = ()
        self.infos: tuple[str, ...] = ()
        self.is_partial = False
        self.queries: list[str] = []

    @property
    def max_samples(self) -> int:
        """How many samples one query may load."""
        return self._engine.max_samples

    @max_samples.setter
    def max_samples(self, count: int) -> None:
        self._engine.max_samples = count

    @property
    def oldest_ms(self) -> int:
        """Samples before this instant have expired."""
        return self._engine.oldest_ms

    @oldest_ms.setter
    def oldest_ms(self, at_ms: int) -> None:
        self._engine.oldest_ms = at_ms

    def fail_next(self, status: int = 503, *, times: int = 1, body: str = "") -> None:
        """Answer the next requests with a status and a body, as a proxy before it would."""
        with self._lock:
            self._failures += [_Answer(status, body or f"{status} upstream failed")] * times

    def truncate_next(self, *, times: int = 1) -> None:
        """Cut the next bodies in the middle."""
        with self._lock:
            self._truncations += times

    def answer(self, path: str, form: _Form, authorization: str) -> _Answer:
        """Return the answer to one request."""
        with self._lock:
            if self._failures:
                return self._failures.pop(0)
        if self.token and authorization != f"Bearer {self.token}":
            return _Answer(401, "Unauthorized\n", "text/plain")
        # The engine fills caches: one request at a time.
        with self._lock:
            answer = self._route(path, form)
            if self._truncations and path == "/api/v1/query":
                self._truncations -= 1
                return _Answer(answer.status, answer.body[: len(answer.body) // 2])
        return answer

    def _route(self, path: str, form: _Form) -> _Answer:
        if path in ("/-/ready", "/-/healthy"):
            return _Answer(200, "Prometheus Server is Ready.\n", "text/plain")
        try:
            data = self._data(path, form)
        except PromqlError as failure:
            return _error(400, "bad_data", failure.message)
        except ExecutionError as failure:
            return _error(422, "execution", failure.message)
        if data is None:
            return _Answer(404, "404 page not found\n", "text/plain")
        return self._success(data)

    def _data(self, path: str, form: _Form) -> str | None:
        match path.strip("/").split("/")[2:]:
            case ["query"]:
                return self._query(form)
            case ["label", name, "values"]:
                return json.dumps(self._label_values(name, form))
            case ["labels"]:
                return json.dumps(sorted({name for found in self._matched(form) for name in found}))
            case ["series"]:
                return json.dumps(self._matched(form))
            case ["status", "buildinfo"]:
                version = "3.5.0" if self._engine.left_open else "2.42.0"
                return json.dumps({"version": version, "goVersion": "go1.24"})
            case _:
                return None

    def _query(self, form: _Form) -> str:
        query = form.get("query", [""])[0]
        self.queries.append(query)
        now_ms = self._clock()
        at_ms = _instant(form, "time", now_ms)
        return self._engine.query(parse(query), at_ms, now_ms)

    def _success(self, data: str) -> _Answer:
        extra = ""
        for name, texts in (("warnings", self.warnings), ("infos", self.infos)):
            if texts:
                extra += f',"{name}":{json.dumps(texts)}'
        if self.is_partial:
            extra += ',"isPartial":true'
        return _Answer(200, f'{{"status":"success","data":{data}{extra}}}')

    def _label_values(self, name: str, form: _Form) -> list[str]:
        return sorted({labels[name] for labels in self._matched(form) if name in labels})

    def _matched(self, form: _Form) -> list[dict[str, str]]:
        """Return the label sets of all series that match any selector inside the asked span."""
        now_ms = self._clock()
        low_ms, high_ms = _instant(form, "start", 0), _instant(form, "end", now_ms)
        texts = form.get("match[]", ['{__name__=~".+"}'])
        selectors = [parse(text) for text in texts]
        matchers: list[tuple[Matcher, ...]] = [
            selector.matchers for selector in selectors if isinstance(selector, Selector)
        ]
        return [
            found.labels
            for matcher in matchers
            for found in self._engine.select(matcher, low_ms, min(high_ms, now_ms))
        ]


def _instant(form: _Form, name: str, default_ms: int) -> int:
    """Return a parameter given in seconds or as RFC 3339, in milliseconds."""
    text = form.get(name, [""])[0]
    if not text:
        return default_ms
    try:
        return round(float(text) * 1000)
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError as failure:
        message = f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp'
        raise PromqlError(message) from failure


def _error(status: int, kind: str, text: str) -> _Answer:
    body = {"status": "error", "errorType": kind, "error": text}
    return _Answer(status, json.dumps(body))


def _handler(owner: SimulatedPrometheus) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes; without this the second waits 40 ms for the client's ACK.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._respond(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = parse_qs(self.rfile.read(length).decode())
            self._respond({**parse_qs(urlsplit(self.path).query), **body})

        def log_message(self, *_: object) -> None:
            """Stay silent: a test's output is the test's."""

        def _respond(self, form: _Form) -> None:
            path = urlsplit(self.path).path
            answer = owner.answer(path, form, self.headers.get("Authorization", ""))
            body = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
