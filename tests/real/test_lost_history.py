"""A real Prometheus that lost its history: the command line refuses to collect the hour again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app.simulator.clock import VirtualClock
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.openmetrics import write_openmetrics
from app.simulator.spec import FleetSpec
from app.units.window import to_ms
from tests.house import ROOT
from tests.real.prometheus import backfill, running_prometheus
from tests.workflows.replaying import replay
from tests.workflows.rows_kept import fingerprint

GPULEDGER = Path(sys.executable).with_name("gpuledger")
START = datetime(2026, 11, 2, 10, tzinfo=UTC)
HOUR = ("--start", "2026-11-02T10:00Z", "--end", "2026-11-02T11:00Z")
CONFIG = """\
[[clusters]]
name = "watched"
prometheus = {{ url = "{prometheus}" }}
kubernetes = {{ mode = "url", url = "{kubernetes}" }}

[[clusters]]
name = "unwatched"
prometheus = {{ url = "{prometheus}" }}
kubernetes = {{ mode = "off" }}
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Two clusters with one history, configured for the command line."""

    folder: Path
    history: Path
    database: URL
    engine: Engine
    kubernetes: str

    def run(self, prometheus: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        config = self.folder / "gpuledger.toml"
        config.write_text(CONFIG.format(prometheus=prometheus, kubernetes=self.kubernetes))
        address = self.database.set(drivername="postgresql")
        return subprocess.run(
            [str(GPULEDGER), *arguments],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "COLUMNS": "500",
                "GPULEDGER_CONFIG": str(config),
                "GPULEDGER_DATABASE_URL": address.render_as_string(hide_password=False),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def journal(self) -> list[tuple[str, str]]:
        """Return how the collections of the watched cluster ended, the latest last."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT outcome, message FROM runs WHERE workflow = 'collect'"
                    " AND cluster_id = (SELECT cluster_id FROM clusters WHERE name = 'watched')"
                    " ORDER BY started_at"
                )
            )
            return [(row.outcome, row.message) for row in rows]

    def states(self) -> list[tuple[str, int, str]]:
        """Return name, revision and forced reason of each cluster's hour."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT name, revision, forced_reason FROM window_state"
                    " JOIN clusters USING (cluster_id) ORDER BY name"
                )
            )
            return [tuple(row) for row in rows]


@pytest.fixture
def deployment(tmp_path: Path, database_url: URL, database: Engine) -> Iterator[Deployment]:
    spec = FleetSpec(
        seed=4,
        start_ms=to_ms(START),
        hours=1,
        nodes=2,
        gpus_per_node=2,
        services=1,
        replicas=1,
        jobs_per_gpu_hour=2.0,
    )
    fleet = Fleet.build(spec)
    write_openmetrics(fleet, tmp_path / "fleet.om")
    backfill(tmp_path / "fleet.om", tmp_path / "history")
    clock = VirtualClock(spec.opens_ms)
    with SimulatedKubernetes(fleet, clock) as kubernetes:
        replay("watched", kubernetes=kubernetes, clock=clock, engine=database, until_ms=spec.end_ms)
        yield Deployment(tmp_path, tmp_path / "history", database_url, database, kubernetes.url)


def test_an_hour_whose_history_is_lost_is_refused_unless_forced(deployment: Deployment) -> None:
    with running_prometheus(deployment.history) as server:
        first = deployment.run(server.url, "collect", *HOUR)
    assert first.returncode == 0, first.stderr
    before = fingerprint(deployment.engine)

    with running_prometheus(deployment.folder / "empty") as server:
        refused = deployment.run(server.url, "collect", *HOUR)
        after = fingerprint(deployment.engine)
        unexplained = deployment.run(server.url, "collect", *HOUR, "--force")
        forced = deployment.run(
            server.url, "collect", *HOUR, "--force", "--reason", "the history is gone for good"
        )

    assert refused.returncode == 1
    assert refused.stderr.count("was rejected") == 2
    for lost in ("prometheus/activity", "prometheus/generation_tokens", "--force --reason"):
        assert lost in refused.stderr
    assert "Traceback" not in refused.stderr
    assert after == before
    assert unexplained.returncode == 2
    assert forced.returncode == 0, forced.stderr
    assert [outcome for outcome, _ in deployment.journal()] == ["ok", "rejected", "ok"]
    assert "prometheus/activity" in deployment.journal()[1][1]
    assert deployment.states() == [
        ("unwatched", 2, "the history is gone for good"),
        ("watched", 2, "the history is gone for good"),
    ]
