"""`gpuledger doctor`: what works, what is measured of the last days, and what to do."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from app.simulator.exposition import Exposition, Transform
from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import HOUR_MS, FleetSpec
from tests.cli.commands import CommandLine, shell
from tests.cli.spoiling import without
from tests.cli.stage import CONTRACT, PRICES, cluster, configuration

# An hour of yesterday: the doctor looks at the last days.
START = (datetime.now(UTC) - timedelta(hours=20)).replace(minute=0, second=0, microsecond=0)
SPAN = ("--start", START.isoformat(), "--end", (START + timedelta(hours=1)).isoformat())


def serve(spoil: Transform | None) -> SimulatedPrometheus:
    start_ms = int(START.timestamp()) * 1000
    fleet = Fleet.build(
        FleetSpec(
            seed=5,
            start_ms=start_ms,
            hours=1,
            nodes=1,
            gpus_per_node=4,
            services=1,
            replicas=1,
            restarts_per_replica_day=0.0,
            rollouts=0,
            trainings=0,
            jobs_per_gpu_hour=0.0,
            unhealthy_devices=0,
            util_only=False,
            node_joins=0,
            node_leaves=0,
            outages=(),
        )
    )

    def now_ms() -> int:
        return int(datetime.now(UTC).timestamp() * 1000)

    assert now_ms() > start_ms + HOUR_MS
    return SimulatedPrometheus(fleet, now_ms, exposition=Exposition(fleet, transform=spoil))


@pytest.fixture(scope="module")
def here(
    module_database_url: URL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CommandLine]:
    """A ledger with one hour of a cluster whose exporter of devices is not there."""
    shell_here = shell(tmp_path_factory.mktemp("doctor"), module_database_url)
    with serve(without("DCGM")) as prometheus:
        shell_here.file("gpuledger.toml", configuration(cluster("eu", prometheus.url)))
        shell_here.file("prices.csv", PRICES)
        shell_here.file("teams.yaml", CONTRACT)
        for command in (
            ("prices", "import", "prices.csv"),
            ("contract", "apply", "teams.yaml"),
            ("collect", *SPAN),
            ("rate", *SPAN),
        ):
            shell_here.run(*command).done()
        yield shell_here


def test_it_says_what_is_measured_and_what_to_do(here: CommandLine) -> None:
    said = here.run("doctor").done().out

    line = next(line.split() for line in said.splitlines() if "ranker" in line)
    assert line[:6] == ["eu", "search-prod", "ranker", "1.0", "0.0", "%"]
    assert line[6:] == ["100.0", "%"] * 5
    assert "missing: unmeasured" in said
    assert "\n  eu ranker: 1.0 GPU-hours held without a sample." in said
    assert "→ Run dcgm-exporter" in said
    assert "eu sandbox: no team owns the namespace (in 1 hours)" in said
    assert "were never collected" in said


def test_what_needs_nothing_is_no_hole_for_people(here: CommandLine) -> None:
    assert "alias" not in here.run("doctor").done().out


def test_checks_figures_and_holes_are_one_table_for_programs(here: CommandLine) -> None:
    rows = here.run("doctor", "--format", "csv").done().rows()
    same = here.run("doctor", "--format", "json").done().json()

    assert [row["section"] for row in rows] == [row["section"] for row in same]
    assert {row["section"] for row in rows} == {"check", "measured", "hole"}
    (checked,) = (row for row in rows if row["subject"] == "database")
    assert (checked["status"], checked["section"]) == ("ok", "check")
    found = {row["subject"]: row for row in rows if row["service"] == "ranker"}
    assert (found["gpu_utilization"]["status"], found["gpu_utilization"]["time_ratio"]) == (
        "nothing",
        "0.0000",
    )
    assert (found["price"]["status"], found["price"]["gpu_seconds_measured"]) == ("all", "3600")
    assert all(row["what_to_do"] for row in rows if row["section"] == "hole")
    assert any(row["detail"] == "Read as vllm:generation_tokens_total." for row in rows)


def test_conformance_cannot_tell_what_it_cannot_see(here: CommandLine) -> None:
    rows = here.run("doctor", "--conformance", "--format", "json").done().json()

    assert len(rows) == 15
    assert {row["cluster"] for row in rows} == {"eu"}
    assert {row["indication"] for row in rows} == {"cannot tell"}
    assert "Kubernetes is switched off" in str(rows[1]["evidence"])


def test_a_failed_check_is_a_failure_and_the_rest_is_still_told(
    here: CommandLine, tmp_path: Path
) -> None:
    other = CommandLine(tmp_path, here.variables)
    other.file("gpuledger.toml", configuration(cluster("eu", "http://127.0.0.1:9")))

    ended = other.run("doctor")

    assert ended.code == 1
    assert "failed eu Prometheus" in ended.out
    assert "missing: unmeasured" in ended.out


def test_a_cluster_that_is_not_configured_is_refused(here: CommandLine) -> None:
    here.run("doctor", "--cluster", "us").refused("us")
