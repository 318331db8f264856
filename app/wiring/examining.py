"""Looks at everything that the service depends on, and says what does not work."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine

from app.errors import GpuledgerError
from app.settings import ClusterSettings, Settings
from app.sources.readiness import newest_sample_ms
from app.store.migrating import require_head
from app.store.windows import WindowStore
from app.units.window import from_ms
from app.wiring.clients import kubernetes_source, prometheus_source


@dataclass(frozen=True, slots=True)
class Examined:
    """One thing that must work, whether it does, and what was found."""

    name: str
    ok: bool
    detail: str


def ready(engine: Engine) -> tuple[Examined, ...]:
    """Say whether requests can be answered: the database is there, at this version."""
    return (_try("database", partial(_database, engine)),)


def examine(settings: Settings, engine: Engine) -> tuple[Examined, ...]:
    """Look at the database, every configured source, and the hours of every cluster."""
    found = [*ready(engine)]
    for cluster in settings.clusters:
        found.append(_try(f"{cluster.name} Prometheus", partial(_see_prometheus, cluster)))
        if cluster.kubernetes.mode != "off":
            found.append(_try(f"{cluster.name} Kubernetes", partial(_see_kubernetes, cluster)))
        found.append(_try(f"{cluster.name} ledger", partial(_hours, cluster, engine)))
    if not settings.clusters:
        found.append(Examined("configuration", ok=False, detail="No cluster is configured."))
    return tuple(found)


def clocks(settings: Settings, now_ms: Callable[[], int]) -> tuple[Examined, ...]:
    """Compare the clock of whoever answers with ours, and see how old the newest sample is.

    Nothing is said of what does not answer, or tells no time: that is for `examine`.
    """
    found: list[Examined] = []
    for cluster in settings.clusters:
        # A sample speaks for two scrapes at most; beyond that, holds and samples do not meet.
        most_ms = 2000 * cluster.prometheus.scrape_interval_seconds
        for name, look in (
            ("Prometheus clock", _prometheus_clock),
            ("newest sample", _newest_sample),
            ("Kubernetes clock", _kubernetes_clock),
        ):
            try:
                seen = look(cluster, now_ms, most_ms)
            except GpuledgerError:
                continue
            if seen is not None:
                found.append(Examined(f"{cluster.name} {name}", *seen))
    return tuple(found)


def _prometheus_clock(
    cluster: ClusterSettings, now_ms: Callable[[], int], most_ms: int
) -> tuple[bool, str] | None:
    source = prometheus_source(cluster)
    before_ms = now_ms()
    told_ms = source.server_time_ms()
    return _compared(told_ms, before_ms, now_ms(), most_ms)


def _kubernetes_clock(
    cluster: ClusterSettings, now_ms: Callable[[], int], most_ms: int
) -> tuple[bool, str] | None:
    if cluster.kubernetes.mode == "off":
        return None
    source = kubernetes_source(cluster)
    before_ms = now_ms()
    source.version_of_nodes()
    if source.answered_ms is None:
        return None
    # Its Date header has whole seconds.
    return _compared(source.answered_ms, before_ms - 1000, now_ms(), most_ms)


def _compared(told_ms: int, before_ms: int, after_ms: int, most_ms: int) -> tuple[bool, str]:
    """Compare a clock with ours, which showed the two times around the answer."""
    skew_ms = max(before_ms - told_ms, told_ms - after_ms, 0)
    if not skew_ms:
        return True, "agrees with ours"
    way = "behind" if told_ms < before_ms else "ahead of"
    said = f"{skew_ms / 1000:,.0f} s {way} ours"
    if skew_ms <= most_ms:
        return True, said
    return False, f"{said}; set both by NTP: samples and holds are joined by their times"


def _newest_sample(
    cluster: ClusterSettings, now_ms: Callable[[], int], most_ms: int
) -> tuple[bool, str] | None:
    del most_ms
    at_ms = now_ms()
    newest_ms = newest_sample_ms(prometheus_source(cluster), at_ms)
    if newest_ms is None:
        return False, "no target has a sample of the last 5 minutes; look at /targets"
    return True, f"{max(0, at_ms - newest_ms) / 1000:,.0f} s old"


def _try(name: str, look: Callable[[], str]) -> Examined:
    try:
        return Examined(name, ok=True, detail=look())
    except GpuledgerError as error:
        return Examined(name, ok=False, detail=str(error))


def _database(engine: Engine) -> str:
    with engine.connect() as connection:
        require_head(connection)
    return "reachable and at this version"


def _see_prometheus(cluster: ClusterSettings) -> str:
    source = prometheus_source(cluster)
    return f"answers as {source.build_info().backend.value}"


def _see_kubernetes(cluster: ClusterSettings) -> str:
    nodes, _ = kubernetes_source(cluster).list_nodes()
    return f"answers with {len(nodes)} nodes"


def _hours(cluster: ClusterSettings, engine: Engine) -> str:
    with engine.connect() as connection:
        coverage = WindowStore(connection, cluster.name).coverage()
    if coverage.watermark_ms is None:
        return "no hour is collected yet"
    return (
        f"{coverage.hours} hours, unbroken until"
        f" {from_ms(coverage.watermark_ms):%Y-%m-%d %H:%M} UTC,"
        f" {coverage.partial_hours} partial, {coverage.pending_hours} to be rated"
    )
