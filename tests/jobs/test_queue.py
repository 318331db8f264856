"""What the queue's tasks hand out, in which order, and what becomes of those that fail or die."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import procrastinate
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app import jobs
from app.jobs import build_app, give_back_stalled_jobs, queue_due, run_worker
from app.store.engine import connection_string
from tests.jobs.fake_ledger import FakeLedger, hours
from tests.store.builders import NOON, an_hour

TICK = int(NOON.timestamp())


@pytest.fixture
def ledger(database_url: URL) -> FakeLedger:
    return FakeLedger(connection_string(database_url))


def unclocked(ledger: FakeLedger) -> procrastinate.App:
    """The application without its clock: a tick of the real time would queue more than the test."""
    app = build_app(ledger)
    app.periodic_registry.periodic_tasks.clear()
    return app


def tick(ledger: FakeLedger) -> None:
    """Do all that is due, as a worker does after a tick."""
    app = unclocked(ledger)
    queue_due(app, NOON)
    run_worker(app, wait=False)


def waiting(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT task_name, status FROM procrastinate_jobs ORDER BY id")
        )
        return [(row.task_name, row.status) for row in rows if row.task_name.endswith("_window")]


def asked(app: procrastinate.App, do: Callable[[procrastinate.App], Awaitable[object]]) -> None:
    async def run() -> None:
        async with app.open_async():
            await do(app)

    asyncio.run(run())


async def take_and_die(app: procrastinate.App) -> None:
    """Take a job as a worker would, and never be heard of again."""
    worker = await app.job_manager.register_worker()
    job = await app.job_manager.fetch_job(queues=None, worker_id=worker)
    assert job is not None
    assert job.task_name == "collect_window"


async def give_back(app: procrastinate.App) -> None:
    await give_back_stalled_jobs(app, stalled_seconds=0.0)


def queue_window(app: procrastinate.App, lock: str = "collect/a/12") -> None:
    with app.open():
        app.configure_task("collect_window", queueing_lock=lock, lock=lock).defer(
            cluster="a", start=an_hour(0).start.isoformat()
        )


def test_hours_are_collected_then_rated_and_what_rests_on_them_comes_last(
    ledger: FakeLedger, database: Engine
) -> None:
    ledger.missing = {"a": hours(0, 1)}

    tick(ledger)

    kept = [call for call in ledger.calls if call[0] in {"collect", "rate"}]
    assert kept == [
        ("collect", "a", "12"),
        ("collect", "a", "13"),
        ("rate", "a", "12"),
        ("rate", "a", "13"),
    ]
    assert {call[0] for call in ledger.calls[-3:]} == {"detect", "notify", "publish"}
    assert waiting(database) == []


def test_a_cluster_that_does_not_answer_does_not_hold_up_the_others(ledger: FakeLedger) -> None:
    ledger.missing = {"a": hours(0), "b": hours(1), "c": hours(2)}
    ledger.down = {"b"}

    tick(ledger)

    assert [call[1] for call in ledger.calls if call[0] == "collect"] == ["a", "c"]
    assert ledger.missing["b"] == hours(1)


def test_clusters_take_turns(ledger: FakeLedger) -> None:
    ledger.missing = {"a": hours(0, 1, 2), "b": hours(0)}

    tick(ledger)

    assert [call[1] for call in ledger.calls if call[0] == "collect"] == ["a", "b", "a", "a"]


def test_a_collection_that_fails_waits_for_the_next_tick(
    ledger: FakeLedger, database: Engine
) -> None:
    ledger.missing = {"a": hours(0)}
    ledger.fails = set(hours(0))

    tick(ledger)
    assert [call[0] for call in ledger.calls if call[0] in {"collect", "rate"}] == ["collect"]
    assert waiting(database) == []

    ledger.fails = set()
    tick(ledger)
    assert [call[0] for call in ledger.calls if call[0] in {"collect", "rate"}] == [
        "collect",
        "collect",
        "rate",
    ]


def test_a_copy_of_a_job_finds_nothing_to_do(ledger: FakeLedger) -> None:
    ledger.missing = {"a": hours(0)}
    app = unclocked(ledger)
    queue_window(app, lock="one")
    queue_window(app, lock="two")

    run_worker(app, wait=False)

    assert [call[0] for call in ledger.calls].count("collect") == 1


def test_the_job_of_a_dead_worker_is_done_by_another(ledger: FakeLedger) -> None:
    ledger.missing = {"a": hours(0)}
    queue_window(unclocked(ledger))
    asked(unclocked(ledger), take_and_die)

    run_worker(unclocked(ledger), wait=False)
    assert ledger.calls == []

    asked(unclocked(ledger), give_back)
    run_worker(unclocked(ledger), wait=False)
    assert ledger.calls[0] == ("collect", "a", "12")


def test_a_dead_workers_job_does_not_block_the_copy_that_waits_behind_it(
    ledger: FakeLedger, database: Engine
) -> None:
    ledger.missing = {"a": hours(0)}
    queue_window(unclocked(ledger))
    asked(unclocked(ledger), take_and_die)
    queue_window(unclocked(ledger))
    assert waiting(database) == [("collect_window", "doing"), ("collect_window", "todo")]

    asked(unclocked(ledger), give_back)
    assert waiting(database) == [("collect_window", "todo")]

    run_worker(unclocked(ledger), wait=False)
    assert ledger.calls[0] == ("collect", "a", "12")


def test_two_workers_never_collect_an_hour_at_once_or_twice(ledger: FakeLedger) -> None:
    ledger.missing = {"a": hours(*range(12))}
    ledger.seconds = 0.02
    queue_due(unclocked(ledger), NOON)

    workers = [
        threading.Thread(target=run_worker, args=(unclocked(ledger),), kwargs={"wait": False})
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    # Whoever found the queue empty before the first tick was done has gone home early.
    run_worker(unclocked(ledger), wait=False)

    collected = [call for call in ledger.calls if call[0] == "collect"]
    assert len(collected) == len(set(collected)) == 12
    assert set(ledger.most_at_once.values()) == {1}


def test_the_times_of_a_worker_give_a_job_back_within_a_minute() -> None:
    """Silent for so long it counts as dead; others look every half of that, and for jobs."""
    late = jobs._STALLED_SECONDS * 1.5 + jobs._POLLING_SECONDS

    assert late < 60
    assert jobs._HEARTBEAT_SECONDS < jobs._STALLED_SECONDS / 2
