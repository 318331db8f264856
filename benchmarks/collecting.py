"""Collecting an hour, next to fetching and decoding the same answers and copying the same rows."""

import gc
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson
import requests
from psycopg import sql
from sqlalchemy.engine import URL

from app.sources.catalogue import load_catalogue
from app.sources.prometheus import PrometheusSettings, PrometheusSource, seconds
from app.store.engine import engine_of
from app.units.window import HOUR_MS, Window
from app.workflows.collecting import Collected, CollectFrom, collect_hour
from benchmarks.database import FACTS, copied_in, copied_out, empty, plain_connection
from benchmarks.measuring import Stopwatch
from benchmarks.scale import CLUSTER, SCRAPE_MS

# A query longer than this is posted, as the collector does.
_LONGEST_GET = 1_500
_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it goes over the wire: a path of the API and its parameters."""

    path: str
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a collection asked, and what it came to."""

    asked: tuple[Asked, ...]
    collected: Collected
    rows: int


class RecordingSource(PrometheusSource):
    """A source that writes down what it asks."""

    def __init__(self, settings: PrometheusSettings) -> None:
        super().__init__(settings)
        self.asked: list[Asked] = []

    def fetch(self, promql: str, at_ms: int) -> bytes:
        """Ask, and note the query."""
        parameters = (("query", promql), ("time", seconds(at_ms)))
        self.asked.append(Asked("/api/v1/query", parameters))
        return super().fetch(promql, at_ms)

    def label_values(
        self, label: str, *, start_ms: int, end_ms: int, match: str = ""
    ) -> tuple[str, ...]:
        """Ask, and note the label."""
        parameters = [("start", seconds(start_ms)), ("end", seconds(end_ms))]
        if match:
            parameters.append(("match[]", match))
        self.asked.append(Asked(f"/api/v1/label/{label}/values", tuple(parameters)))
        return super().label_values(label, start_ms=start_ms, end_ms=end_ms, match=match)


def record(stopwatch: Stopwatch, url: URL, prometheus: str, hour: Window, folder: Path) -> Recorded:
    """Collect once, note the questions, and keep the rows that came of it in ``folder``."""
    source = RecordingSource(PrometheusSettings(url=prometheus))
    with stopwatch:
        collected = _collect(url, source, hour)
    rows = 0
    with closing(plain_connection(url)) as connection:
        for table in FACTS:
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
            (folder / table).write_bytes(copied_out(connection, query))
            counted = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            rows += sum(count for (count,) in connection.execute(counted))
    return Recorded(tuple(source.asked), collected, rows)


def collect(stopwatch: Stopwatch, url: URL, prometheus: str, hour: Window) -> Collected:
    """Collect the hour as the command does, into a ledger without facts."""
    empty(url, FACTS)
    source = PrometheusSource(PrometheusSettings(url=prometheus))
    with stopwatch:
        return _collect(url, source, hour)


def fetch_and_copy(
    stopwatch: Stopwatch, url: URL, prometheus: str, asked: Sequence[Asked], folder: Path
) -> int:
    """Do what no collector can avoid; return the number of bytes that came."""
    empty(url, FACTS)
    bodies = {table: (folder / table).read_bytes() for table in FACTS}
    session = requests.Session()
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"
    count = 0
    with stopwatch, closing(plain_connection(url)) as connection:
        for question in asked:
            body = _body(session, prometheus, question)
            gc.disable()
            orjson.loads(body)
            gc.enable()
            count += len(body)
        for table, rows in bodies.items():
            copied_in(connection, table, rows)
        connection.commit()
    return count


def _collect(url: URL, source: PrometheusSource, hour: Window) -> Collected:
    given = CollectFrom(
        cluster=CLUSTER,
        source=source,
        catalogue=load_catalogue(),
        scrape_ms=SCRAPE_MS,
        counter_lookback_ms=24 * HOUR_MS,
        watched=True,
    )
    return collect_hour(given, hour, engine=engine_of(url))


def _body(session: requests.Session, prometheus: str, question: Asked) -> bytes:
    parameters = [*question.parameters]
    posts = sum(len(name) + len(value) for name, value in parameters) > _LONGEST_GET
    answer = session.request(
        "POST" if posts else "GET",
        f"{prometheus}{question.path}",
        params=None if posts else parameters,
        data=parameters if posts else None,
        timeout=_TIMEOUT_SECONDS,
    )
    answer.raise_for_status()
    return answer.content
