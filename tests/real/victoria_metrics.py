"""A real VictoriaMetrics on a free port, its history imported from OpenMetrics text."""

import shutil
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.real.ports import LOOPBACK, free_port
from tests.real.processes import serving

# Lines of one import request: some megabytes.
_LINES = 50_000


@dataclass(frozen=True, slots=True)
class RunningVictoriaMetrics:
    """Where a server answers, and the process that does."""

    url: str
    pid: int
    log: Path

    def load(self, openmetrics: Path) -> None:
        """Import an OpenMetrics file, and make its samples visible to queries."""
        with openmetrics.open(encoding="utf-8") as file:
            lines = _in_milliseconds(file)
            while part := "".join(islice(lines, _LINES)):
                self._post("/api/v1/import/prometheus", part.encode())
        self.flush()

    def flush(self) -> None:
        """Make what has arrived visible to queries."""
        self._post("/internal/force_flush")

    def _post(self, path: str, body: bytes = b"") -> None:
        request = urllib.request.Request(f"{self.url}{path}", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status in {200, 204}, f"VictoriaMetrics refused {path}"


def victoria_metrics_binary() -> str:
    """Return the path of Debian's binary; a machine without it fails the test."""
    path = shutil.which("victoria-metrics")
    if path is None:
        message = "victoria-metrics is missing: apt-get install it (make test does it for root)"
        raise AssertionError(message)
    return path


@contextmanager
def running_victoria_metrics(
    data: Path, *, flags: Sequence[str] = ()
) -> Iterator[RunningVictoriaMetrics]:
    """Serve an empty storage under ``data`` until the block ends."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "victoria-metrics.log"
    port = free_port()
    command = [
        victoria_metrics_binary(),
        f"-storageDataPath={data / 'storage'}",
        f"-httpListenAddr={LOOPBACK}:{port}",
        # A fleet's history may lie years before the day of the test, or after it.
        "-retentionPeriod=100y",
        "-loggerLevel=WARN",
        # Beside the other tests: no more than this for its caches.
        "-memory.allowedBytes=256MB",
        *flags,
    ]
    url = f"http://{LOOPBACK}:{port}"
    with serving(command, ready_url=f"{url}/health", log=log, what="VictoriaMetrics") as pid:
        yield RunningVictoriaMetrics(url, pid, log)


def _in_milliseconds(lines: Iterable[str]) -> Iterator[str]:
    """Yield the samples with their instants in milliseconds, as the plain text format has them."""
    for line in lines:
        if line.startswith("#"):
            continue
        series, instant = line.rstrip("\n").rsplit(" ", 1)
        yield f"{series} {round(float(instant) * 1000)}\n"
