"""One loopback exporter for all texts, and a real Prometheus that scrapes each as its own target.

Each text is scraped as it is, then with every counter doubled: what grows is what the text shows.
"""

import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import requests

from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import Window, hour_of
from tests.real.ports import LOOPBACK, wait_until
from tests.real.prometheus import running_prometheus
from tests.samples.mending import MENDERS
from tests.samples.places import expositions
from tests.samples.targets import MENDED, PLAIN, has_plain, labels_of_targets

SCRAPE_MS = 1_000
# Which target a series is of; no sample has such a label.
MARK = "text"
_COUNTS = re.compile(r"(_total|_sum|_count|_bucket)$")
_CREATED = re.compile(r"_created$")
_SERIES = re.compile(r"^(?P<name>[^\s{#]+)(?P<labels>\{.*\})?\s+(?P<value>\S+)$")
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")
_TYPE = re.compile(r"^\s*# TYPE (?P<name>\S+) (?P<type>\S+)$", re.MULTILINE)
# Counters by their meaning whose names have no ending and whose texts no TYPE.
_BARE = re.compile(
    r"nv_inference_(request_success|queue_duration_us)|route_upstream_.+|"
    r"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
)


@dataclass(slots=True)
class _Exporter:
    """The texts by path, and whether their counters are doubled yet."""

    texts: Mapping[str, str]
    doubled: bool = False

    def text(self, name: str) -> str:
        found = self.texts[name]
        return with_doubled_counters(found) if self.doubled else found


@dataclass(frozen=True, slots=True)
class Scraped:
    """A Prometheus with all texts, and the window in which it scraped them."""

    url: str
    window: Window
    # What Prometheus said of the last scrape of a target, "" where it took the text.
    errors: Mapping[str, str]

    def only(self, *texts: str) -> "SomeTargets":
        """Return a source that knows the series of some texts alone."""
        return SomeTargets(self.url, texts)

    @property
    def everything(self) -> PrometheusSource:
        """A source that knows all targets."""
        return PrometheusSource(PrometheusSettings(url=self.url))


class SomeTargets(PrometheusSource):
    """A client that adds to each question which texts are meant."""

    def __init__(self, url: str, texts: Sequence[str]) -> None:
        super().__init__(PrometheusSettings(url=url))
        self._condition = f'{MARK}=~"{"|".join(texts)}"'

    def fetch(self, promql: str, at_ms: int) -> bytes:
        return super().fetch(self._narrowed(promql), at_ms)

    def label_values(
        self, label: str, *, start_ms: int, end_ms: int, match: str = ""
    ) -> tuple[str, ...]:
        narrowed = self._narrowed(match) if match else f"{{{self._condition}}}"
        return super().label_values(label, start_ms=start_ms, end_ms=end_ms, match=narrowed)

    def _narrowed(self, selector: str) -> str:
        """Put the condition into the one selector of a query; one without braces gets them."""
        if selector == "vector(time())":
            return selector
        if "{" in selector:
            return selector.replace("{", f"{{{self._condition},", 1)
        return re.sub(r"(?=\[\d+ms\])|$", f"{{{self._condition}}}", selector, count=1)


def with_doubled_counters(text: str) -> str:
    """Return an exposition with every counter's value doubled; what it calls a gauge stays."""
    types = {found["name"]: found["type"] for found in _TYPE.finditer(text)}
    return "\n".join(_doubled(line, types) for line in text.splitlines()) + "\n"


def _doubled(line: str, types: Mapping[str, str]) -> str:
    found = _SERIES.match(line.strip())
    if found is None:
        return line
    name = found["name"]
    family = _COUNTS.sub("", name)
    kind = types.get(name) or types.get(family) or ""
    counts = kind in {"counter", "histogram", "summary"} and 'quantile="' not in line
    counts |= not kind and bool(_COUNTS.search(name) or _BARE.fullmatch(name))
    if not counts or _CREATED.search(name):
        return line
    return f"{name}{found['labels'] or ''} {float(found['value']) * 2!r}"


@contextmanager
def scraped(folder: Path, texts: Mapping[str, str]) -> Iterator[Scraped]:
    """Run exporter and Prometheus; give them once every target was scraped before and after."""
    exporter = _Exporter(texts)
    with _serving(exporter.text) as port:
        config = _config(exporter.texts, port)
        with running_prometheus(folder, config=config) as server:
            start = datetime.now(UTC)
            _wait_for_scrapes(server.url, texts, start)
            exporter.doubled = True
            _wait_for_scrapes(server.url, texts, datetime.now(UTC))
            first = hour_of(start).start
            # Two hours: a run over the full hour has its scrapes in one window all the same.
            window = Window(first, first + timedelta(hours=2))
            errors = {one.text: one.error for one in _targets(server.url)}
            yield Scraped(server.url, window, errors)


def texts_of_targets() -> dict[str, str]:
    """Return what each target serves: each text, some mended, those of devices a second time."""
    texts = expositions()
    texts |= {name + MENDED: mend(texts[name]) for name, mend in MENDERS.items()}
    return texts | {name + PLAIN: text for name, text in texts.items() if has_plain(name)}


@contextmanager
def _serving(text_of: Callable[[str], str]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text_of(self.path.removeprefix("/")).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Let go of a scrape that Prometheus broke off: it comes again."""

    server = Server((LOOPBACK, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _config(names: Mapping[str, str], port: int) -> str:
    """Return the configuration, in JSON, which is YAML."""
    jobs = [
        {
            "job_name": name,
            "metrics_path": "/" + name,
            "honor_labels": not name.endswith(PLAIN),
            "static_configs": [
                {"targets": [f"{LOOPBACK}:{port}"], "labels": {MARK: name, **labels}}
                for labels in labels_of_targets(name)
            ],
        }
        for name in names
    ]
    document = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": jobs,
    }
    return orjson.dumps(document).decode()


def _wait_for_scrapes(url: str, names: Collection[str], since: datetime) -> None:
    """Wait until each target was scraped twice since an instant: by then the first is stored."""

    def all_done(since: datetime) -> bool:
        scrapes = _targets(url)
        done = all(one.done_since(since) for one in scrapes)
        return done and {one.text for one in scrapes} == set(names)

    for _ in range(2):
        wait_until(partial(all_done, since), timeout_seconds=60, what="A scrape of every text")
        since = datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Scrape:
    """What Prometheus says of the last scrape of a target."""

    text: str
    error: str
    at: datetime

    def done_since(self, since: datetime) -> bool:
        return self.at > since and "deadline" not in self.error


def _targets(url: str) -> list[_Scrape]:
    answer = requests.get(f"{url}/api/v1/targets", timeout=10).json()
    return [
        _Scrape(
            one["labels"][MARK],
            one["lastError"],
            # To the microsecond, in whatever zone the server is.
            datetime.fromisoformat(_NANOSECONDS.sub(r"\1", one["lastScrape"])),
        )
        for one in answer["data"]["activeTargets"]
    ]
