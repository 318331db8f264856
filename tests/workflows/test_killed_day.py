"""A watcher and a collector killed at 50 random instants of a day leave nothing wrong behind."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from app.simulator.fleet import Fleet
from app.simulator.spec import FleetSpec
from tests.workflows.dying import Day, random_deaths
from tests.workflows.nursery import Nursery, running_nursery

MONDAY_MS = 1_795_392_000_000


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with running_nursery(tmp_path_factory.mktemp("nursery")) as running:
        yield running


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet.build(
        FleetSpec(
            seed=5,
            start_ms=MONDAY_MS,
            hours=24,
            nodes=4,
            services=2,
            replicas=1,
            requests_per_second=0.02,
            restarts_per_replica_day=4.0,
            rollouts=1,
            trainings=0,
            jobs_per_gpu_hour=1.0,
            short_job_share=0.7,
            prometheus_outages=1,
            target_outages=3,
        )
    )


def test_x(
    fleet: Fleet, nursery: Nursery, database_url: URL, module_database_url: URL, tmp_path: Path
) -> None:
    t = time.time()
    calm = Day(fleet, nursery, module_database_url, tmp_path, name="calm")
    calm.run(())
    print("calm", time.time() - t)
    killed = Day(fleet, nursery, database_url, tmp_path, name="killed")
    killed.run(random_deaths(fleet, seed=11, count=50))
    print("killed", time.time() - t)
