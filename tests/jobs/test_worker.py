import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app.jobs import build_app, run_worker
from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import FleetSpec
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window, from_ms, to_ms
from tests.jobs.worker_process import CLUSTER, ledger_of

ROOT = Path(__file__).parents[2]
# Two hours that settled long ago.
HOURS = 2
END = from_ms(to_ms(datetime.now(UTC)) // HOUR_MS * HOUR_MS) - timedelta(hours=6)
WINDOW = Window(END - timedelta(hours=HOURS), END)


@pytest.fixture(scope="module")
def prometheus_url() -> Iterator[str]:
    fleet = Fleet.build(
        FleetSpec(start_ms=WINDOW.start_ms, hours=HOURS, nodes=1, services=1, trainings=0)
    )
    with SimulatedPrometheus(fleet, lambda: fleet.spec.closes_ms) as server:
        yield server.url


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A server that takes a question and never answers it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def a_worker(database: URL, prometheus: str) -> Iterator["subprocess.Popen[bytes]"]:
    address = database.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.worker_process", address, prometheus], cwd=ROOT
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def eventually(holds: Callable[[], bool], *, within_seconds: float) -> bool:
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return holds()


def queue(database_url: URL, prometheus: str) -> None:
    """Queue the collection of the first hour."""
    ledger = ledger_of(database_url.render_as_string(hide_password=False), prometheus)
    app = build_app(ledger)
    with app.open():
        app.configure_task("collect_window").defer(cluster=CLUSTER, start=WINDOW.start.isoformat())
    ledger.engine.dispose()


def statuses(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT status FROM procrastinate_jobs WHERE task_name = 'collect_window'")
        )
        return [str(row.status) for row in rows]


def rated(engine: Engine) -> int:
    with engine.connect() as connection:
        states = WindowStore(connection, CLUSTER).within(WINDOW)
    return sum(state.rated_revision == state.revision for state in states)


def test_a_job_collects_and_rates_its_hour(
    database: Engine, database_url: URL, prometheus_url: str
) -> None:
    queue(database_url, prometheus_url)
    ledger = ledger_of(database_url.render_as_string(hide_password=False), prometheus_url)

    run_worker(build_app(ledger), wait=False)

    assert rated(database) >= 1
    assert statuses(database) == []
    ledger.engine.dispose()


def test_a_killed_workers_job_is_given_to_another_within_a_minute(
    database: Engine, database_url: URL, prometheus_url: str, silent_url: str
) -> None:
    queue(database_url, silent_url)
    with a_worker(database_url, silent_url) as first:
        assert eventually(lambda: "doing" in statuses(database), within_seconds=30)
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=10)

    with a_worker(database_url, prometheus_url):
        assert eventually(lambda: rated(database) >= 1, within_seconds=60)


def test_a_worker_ends_on_sigterm(database: Engine, database_url: URL, prometheus_url: str) -> None:
    with a_worker(database_url, prometheus_url) as process:
        assert eventually(lambda: _workers(database) == 1, within_seconds=30)

        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=20) == 0


def _workers(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM procrastinate_workers")) or 0
