"""A watcher and a collector killed at 50 random instants of a day leave nothing wrong behind.

The same day is lived twice: in peace, and with a death every half hour in the middle of whatever
the processes do. Pods come and go while nobody watches. Afterwards the rows of both ledgers must
be equal but for what happened in gaps, and the gaps must be named.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from sqlalchemy.engine import URL

from app.simulator.fleet import Fleet
from app.simulator.pods import GPU_RESOURCE
from app.simulator.spec import FleetSpec
from app.store.engine import engine_of
from app.units.intervals import spans_of
from app.usage.identity import hold_id
from app.usage.kinds import HoldSource, UsageFlag
from tests.store.postgres import another_database
from tests.workflows.dying import Day, Death, random_deaths
from tests.workflows.killable import CLUSTER
from tests.workflows.lived import TABLES, Lived, held_devices, lived, spans_outside
from tests.workflows.nursery import running_nursery

# The day is lived once for all tests: they stay in one process.
pytestmark = pytest.mark.xdist_group("killed")

MONDAY_MS = 1_795_392_000_000
DEATHS = 50


@dataclass(frozen=True, slots=True)
class Days:
    """The day in peace and the day with deaths, after both were collected to the end."""

    fleet: Fleet
    deaths: tuple[Death, ...]
    calm: Lived
    killed: Lived
    cut_short: int


@pytest.fixture(scope="module")
def days(postgres_server: URL, postgres_url: URL, tmp_path_factory: pytest.TempPathFactory) -> Days:
    fleet = Fleet.build(
        FleetSpec(
            seed=5,
            start_ms=MONDAY_MS,
            hours=24,
            nodes=3,
            services=2,
            replicas=1,
            requests_per_second=0.02,
            restarts_per_replica_day=4.0,
            rollouts=1,
            trainings=0,
            jobs_per_gpu_hour=0.5,
            short_job_share=0.7,
            prometheus_outages=1,
            target_outages=3,
        )
    )
    deaths = random_deaths(fleet, seed=11, count=DEATHS)
    folder = tmp_path_factory.mktemp("killed")
    stories: list[Lived] = []
    cut_short = 0
    with running_nursery(folder) as nursery:
        for name, chosen in (("calm", ()), ("killed", deaths)):
            with another_database(postgres_server, postgres_url) as url:
                day = Day(fleet, nursery, url, folder, name=name)
                day.run(chosen)
                engine = engine_of(url)
                stories.append(lived(engine, CLUSTER, MONDAY_MS, 24))
                engine.dispose()
                cut_short = day.cut_short
    return Days(fleet, deaths, *stories, cut_short)


def test_the_day_had_what_it_should_have(days: Days) -> None:
    born_and_gone_unseen = [
        hold
        for hold in days.fleet.truth.holds
        if any(death.at_ms < hold.start_ms and hold.end_ms < death.back_ms for death in days.deaths)
    ]

    assert len(days.deaths) == DEATHS
    assert len(born_and_gone_unseen) >= 5
    assert days.cut_short >= 10
    assert days.calm.gaps().length() == 0
    assert len(days.killed.hours_with_gaps()) < 24


def test_in_peace_every_hold_is_exact(days: Days) -> None:
    held = days.calm.rows["hold_usage"].groupby("hold_id")["held_ms"].sum()

    truth = days.fleet.truth.held_ms(MONDAY_MS, MONDAY_MS + 24 * 3_600_000)
    assert held.to_dict() == {
        hold_id(CLUSTER, pod_uid, GPU_RESOURCE): ms for pod_uid, ms in truth.items()
    }


def test_nobody_is_said_to_have_watched_while_nobody_was_alive(days: Days) -> None:
    claimed = [
        days.killed.watched.clip(death.at_ms, death.back_ms).length() for death in days.deaths
    ]

    assert claimed == [0] * DEATHS


def test_the_gaps_are_hardly_longer_than_the_deaths(days: Days) -> None:
    """A watch knows how far it is at every bookmark, here two minutes before each death."""
    dead = spans_of(
        np.array([death.at_ms for death in days.deaths]),
        np.array([death.back_ms for death in days.deaths]),
    )

    assert days.killed.gaps().length() < dead.length() + DEATHS * 180_000


@pytest.mark.parametrize("table", TABLES)
def test_hours_without_a_gap_have_equal_rows(days: Days, table: str) -> None:
    gaps = days.killed.hours_with_gaps()
    peaceful = [hour.start_ms for hour in days.killed.window.hours() if hour.start_ms not in gaps]

    assert peaceful
    assert days.killed.of_hours(table, peaceful).equals(days.calm.of_hours(table, peaceful))


@pytest.mark.parametrize(
    "table", ["token_usage", "latency_usage", "service_minutes", "cold_starts"]
)
def test_what_was_served_is_equal_in_all_hours(days: Days, table: str) -> None:
    hours = [hour.start_ms for hour in days.killed.window.hours()]

    assert days.killed.of_hours(table, hours).equals(days.calm.of_hours(table, hours))


def test_outside_gaps_every_pool_is_in_equal_states(days: Days) -> None:
    gaps = days.killed.gaps()

    for state in ("devices", "held_ms", "unobserved_ms", "stranded_ms", "unallocated_ms"):
        calm, killed = (held_devices(one, state, gaps) for one in (days.calm, days.killed))
        assert calm == killed
        assert len(calm) == 3


def test_outside_gaps_every_hold_is_equal(days: Days) -> None:
    gaps = days.killed.gaps()

    assert spans_outside(days.killed, gaps) == spans_outside(days.calm, gaps)


def test_rows_of_holds_that_no_gap_touches_are_equal(days: Days) -> None:
    gaps = days.killed.gaps()
    calm, killed = (one.untouched("hold_usage", gaps) for one in (days.calm, days.killed))

    assert len(calm) > 100
    assert killed.equals(calm)


def test_what_a_gap_changed_is_marked(days: Days) -> None:
    """Its source is not the watch, or an edge is unsure, or its end was lost."""
    key = ["window_start_ms", "hold_id"]
    calm, killed = (one.rows["hold_usage"].set_index(key) for one in (days.calm, days.killed))
    both = killed.index.intersection(calm.index)
    span = ["node_id", "start_ms", "end_ms", "held_ms"]
    moved = (killed.loc[both, span] != calm.loc[both, span]).any(axis="columns")
    changed = killed.loc[[*both[moved], *killed.index.difference(calm.index)]]

    marked = (
        (changed["source"] == HoldSource.KUBE_STATE_METRICS)
        | (changed["start_unsure_ms"] + changed["end_unsure_ms"] > 0)
        | (changed["flags"] & UsageFlag.END_LOST > 0)
    )
    assert len(changed) > 0
    assert marked.all()


def test_every_gap_is_named_in_its_hour(days: Days) -> None:
    gaps = days.killed.hours_with_gaps()

    for start_ms, notes in days.killed.notes.items():
        named = notes.loc[notes["kind"] == "watch_gap", "quantity"].tolist()
        found = gaps.get(start_ms)
        lengths = [] if found is None else (found.end - found.start).tolist()
        assert sorted(named) == sorted(lengths)
