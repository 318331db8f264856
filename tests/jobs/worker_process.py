"""A worker as a process of its own, with short times; arguments: database URL, Prometheus URL."""

import sys
from datetime import UTC, datetime

from sqlalchemy.engine import make_url

from app.jobs import build_app, run_worker
from app.settings import ClusterSettings, KubernetesSettings, PrometheusSettings, Settings
from app.store.engine import engine_of
from app.wiring import Ledger

CLUSTER = "prod-eu"
HEARTBEAT_SECONDS = 0.5
STALLED_SECONDS = 2.0


def ledger_of(database_url: str, prometheus_url: str) -> Ledger:
    cluster = ClusterSettings(
        name=CLUSTER,
        prometheus=PrometheusSettings(url=prometheus_url, timeout_seconds=120),
        kubernetes=KubernetesSettings(mode="off"),
    )
    url = make_url(database_url)
    return Ledger(Settings(clusters=(cluster,)), url, engine_of(url), lambda: datetime.now(UTC))


if __name__ == "__main__":
    ledger = ledger_of(sys.argv[1], sys.argv[2])
    run_worker(
        build_app(ledger),
        wait=True,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        stalled_seconds=STALLED_SECONDS,
    )
