"""A collector or a rating killed in the middle of a replace leaves the old rows or the new ones."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import MINUTE_MS, FleetSpec
from app.store.charges import ChargeStore
from app.store.usage import UsageStore
from app.units.window import HOUR_MS, Window, from_ms
from tests.real.ports import wait_until
from tests.workflows.killable import CLUSTER, Board, charge, gather
from tests.workflows.lived import TABLES
from tests.workflows.nursery import Job, Nursery, running_nursery
from tests.workflows.stored import UTC_ZONE, prices

pytestmark = pytest.mark.xdist_group("killed")

# 2026-11-23T10:00:00Z, a Monday.
TEN_MS = 1_795_428_000_000
WINDOW = Window(from_ms(TEN_MS), from_ms(TEN_MS + HOUR_MS))
Rows = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with running_nursery(tmp_path_factory.mktemp("nursery")) as running:
        yield running


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    """Two servers of one fleet: one has forgotten the first half of the hour."""
    fleet = Fleet.build(
        FleetSpec(
            seed=3,
            start_ms=TEN_MS,
            hours=1,
            nodes=2,
            services=1,
            replicas=1,
            requests_per_second=0.1,
            trainings=0,
        )
    )
    with ExitStack() as running:
        half, whole = (
            running.enter_context(SimulatedPrometheus(fleet, lambda: fleet.spec.closes_ms))
            for _ in range(2)
        )
        half.oldest_ms = TEN_MS + 30 * MINUTE_MS
        yield half.url, whole.url


@dataclass(frozen=True, slots=True)
class Killing:
    """Jobs on one database, and what it has."""

    nursery: Nursery
    database: URL
    engine: Engine
    owner: Engine
    board: Path

    def start(self, job: Job, prometheus: str, **options: object) -> int:
        return self.nursery.start(
            job,
            database=self.database.render_as_string(hide_password=False),
            prometheus=prometheus,
            kubernetes="",
            board=str(self.board),
            hours=[TEN_MS],
            **options,
        )

    def do(self, job: Job, prometheus: str, **options: object) -> None:
        assert self.nursery.wait(self.start(job, prometheus, **options)) == 0

    def rows(self) -> Rows:
        """Return all that a replace writes, in the order of the keys."""
        with self.engine.connect() as connection:
            usage = UsageStore(connection, CLUSTER)
            charges = ChargeStore(connection, CLUSTER, UTC_ZONE)
            found = {name: getattr(usage, name)(WINDOW) for name in TABLES}
            found |= {"evidence": usage.evidence(WINDOW), "notes": usage.notes(WINDOW)}
            found |= {"charges": charges.within(WINDOW), "days": charges.days(WINDOW)}
            state = pd.read_sql(
                text("SELECT revision, rated_revision, content_sha256::text FROM window_state"),
                connection,
            )
        return {
            name: frame.sort_values([*frame.columns], ignore_index=True)
            for name, frame in {**found, "state": state}.items()
        }

    def kill_at(self, table: str, job: Job, prometheus: str) -> None:
        """Kill a job that has come to writing a table, with all before it written."""
        with self.owner.connect() as connection:
            connection.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))
            child = self.start(job, prometheus)
            wait_until(lambda: self.waiting() == 1, timeout_seconds=30, what=f"a write to {table}")
            assert self.nursery.kill(child)
            connection.rollback()
        wait_until(self.gone, timeout_seconds=10, what="the end of the dead child's session")

    def waiting(self) -> int:
        return self._count("wait_event_type = 'Lock'")

    def gone(self) -> bool:
        """Say whether the server has noticed that the child's connections are dead."""
        return self._count("state <> 'idle'") == 0

    def _count(self, condition: str) -> int:
        question = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            f" AND pid <> pg_backend_pid() AND {condition}"
        )
        with self.owner.connect() as connection:
            return int(connection.scalar(text(question)) or 0)


def equal(one: Rows, other: Rows) -> bool:
    return all(one[name].equals(other[name]) for name in one)


@pytest.fixture
def killing(
    nursery: Nursery, database: Engine, database_url: URL, owner: Engine, tmp_path: Path
) -> Killing:
    board = tmp_path / "board"
    Board(board).write("clock_ms", TEN_MS + 12 * HOUR_MS)
    return Killing(nursery, database_url, database, owner, board)


@pytest.mark.parametrize(
    "table", ["window_evidence", "hold_usage", "token_usage", "cold_starts", "window_state"]
)
def test_a_collector_killed_amid_a_replace_leaves_the_old_rows(
    killing: Killing, servers: tuple[str, str], table: str
) -> None:
    half, whole = servers
    killing.do(gather, half)
    old = killing.rows()
    assert len(old["hold_usage"]) > 0

    killing.kill_at(table, gather, whole)

    assert equal(killing.rows(), old)
    killing.do(gather, whole)
    new = killing.rows()
    assert not new["hold_usage"].equals(old["hold_usage"])
    assert new["state"]["revision"].tolist() == [2]


@pytest.mark.parametrize("table", ["charges", "charge_days", "window_state"])
def test_a_rating_killed_amid_a_replace_leaves_the_old_charges(
    killing: Killing, servers: tuple[str, str], table: str
) -> None:
    half, whole = servers
    prices(killing.engine)
    killing.do(gather, half)
    killing.do(charge, half)
    killing.do(gather, whole)
    old = killing.rows()
    assert len(old["charges"]) > 0

    killing.kill_at(table, charge, whole)

    assert equal(killing.rows(), old)
    killing.do(charge, whole)
    new = killing.rows()
    assert not new["charges"].equals(old["charges"])
    assert new["state"]["rated_revision"].tolist() == [2]


def test_whenever_a_collector_is_killed_the_rows_are_all_old_or_all_new(
    killing: Killing, servers: tuple[str, str]
) -> None:
    dice = random.Random(4)
    known: list[Rows] = []
    for server in servers:
        killing.do(gather, server, forced_reason="a drill")
        known.append(killing.rows())
    found: list[int] = []
    for number in range(12):
        child = killing.start(gather, servers[number % 2], forced_reason="a drill")
        time.sleep(dice.uniform(0.05, 0.6))
        killing.nursery.kill(child)
        wait_until(killing.gone, timeout_seconds=10, what="the end of the dead child's session")
        rows = killing.rows()
        del rows["state"]
        (place,) = [
            place for place, one in enumerate(known) if all(one[n].equals(rows[n]) for n in rows)
        ]
        found.append(place)

    assert len(found) == 12
