"""Looks at everything that the service depends on, and says what does not work."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine

from app.errors import GpuledgerError
from app.settings import ClusterSettings, Settings
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
