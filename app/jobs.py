"""The procrastinate App and its tasks: each calls one workflow, and what was missed is made up.

Tasks only look at what the database says is due (watermarks, marks, sent reports), so a tick that
never ran costs nothing, and one that failed is not tried again by itself: the next tick finds the
same work. The journal of runs has what failed, so no finished job is kept.
"""

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, zip_longest

import procrastinate
from procrastinate import JobContext
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, UniqueViolation
from procrastinate.jobs import DeleteJobCondition, Status

from app.errors import GpuledgerError
from app.units.window import Window, to_ms
from app.wiring import Ledger

log = logging.getLogger(__name__)

# Sync tasks run in threads under one interpreter lock: more workers are more processes.
_CONCURRENCY = 1
_POLLING_SECONDS = 2.0
# A worker says every 10 s that it lives; silent for 30 s, its jobs go to another.
_HEARTBEAT_SECONDS = 10.0
_STALLED_SECONDS = 30.0
# Windows that one tick hands out: two weeks and more.
_WINDOWS_PER_TICK = 400
# A look for what is due takes no time and must not wait for days of windows that are made up for;
# one that is asked for because windows are done comes after the last of them.
_BEFORE_WINDOWS, _AFTER_WINDOWS = 1, -1


def build_app(ledger: Ledger) -> procrastinate.App:
    """Return the application whose tasks work on ``ledger``; open it before use."""
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=ledger.connection_string)
    )
    _add_window_tasks(app, ledger)
    _add_daily_tasks(app, ledger)
    return app


def run_worker(
    app: procrastinate.App,
    *,
    wait: bool,
    heartbeat_seconds: float = _HEARTBEAT_SECONDS,
    stalled_seconds: float = _STALLED_SECONDS,
) -> None:
    """Work until stopped by a signal; with ``wait`` false, until the queue is empty.

    A worker that was silent for ``stalled_seconds`` counts as dead, and its jobs go to another.
    """

    async def work() -> None:
        async with app.open_async():
            # Not a job: behind a queue of long ones it would wait for a worker to be free.
            keeper = asyncio.create_task(_keep_giving_back(app, stalled_seconds))
            try:
                await app.run_worker_async(
                    wait=wait,
                    concurrency=_CONCURRENCY,
                    fetch_job_polling_interval=_POLLING_SECONDS,
                    update_heartbeat_interval=heartbeat_seconds,
                    stalled_worker_timeout=stalled_seconds,
                    delete_jobs=DeleteJobCondition.ALWAYS,
                )
            finally:
                keeper.cancel()
                await asyncio.gather(keeper, return_exceptions=True)

    asyncio.run(work())


def queue_due(app: procrastinate.App, at: datetime) -> None:
    """Queue at once what the periodic ticks would: the windows first, then what rests on them."""
    timestamp = int(at.timestamp())
    with app.open():
        _defer(
            app,
            "hand_out_windows",
            lock="hand_out_windows",
            queued_as="hand_out_windows",
            priority=_BEFORE_WINDOWS,
            timestamp=timestamp,
        )
        _queue_outputs(app, timestamp)


async def give_back_stalled_jobs(app: procrastinate.App, stalled_seconds: float) -> int:
    """Give the jobs of dead workers back to the queue; return how many there were."""
    manager = app.job_manager
    jobs = [*await manager.get_stalled_jobs(seconds_since_heartbeat=stalled_seconds)]
    for job in jobs:
        try:
            await manager.retry_job(job)
        except UniqueViolation:
            # A copy waits already. The dead worker's job would keep it waiting for ever.
            await manager.finish_job(job, Status.ABORTED, delete_job=True)
        except ConnectorException as error:
            # Another worker gave it back at the same moment.
            log.info("The job %s was not given back: %s", job.call_string, error.__cause__)
    return len(jobs)


async def _keep_giving_back(app: procrastinate.App, stalled_seconds: float) -> None:
    while True:
        try:
            await give_back_stalled_jobs(app, stalled_seconds)
        except ConnectorException as error:
            log.warning("Stalled jobs could not be looked for: %s", error.__cause__)
        await asyncio.sleep(stalled_seconds / 2)


def _add_window_tasks(app: procrastinate.App, ledger: Ledger) -> None:
    @app.task(name="collect_window", pass_context=True)
    def collect_window(context: JobContext, cluster: str, start: str) -> None:
        window = _hour(start)
        if ledger.is_whole(cluster, window):
            return  # a copy that waited while another worker collected it
        try:
            ledger.collect(cluster, window)
        except GpuledgerError as error:
            # The journal has it, and the stored facts stand; a later tick hands the window out
            # again if it still lacks something.
            log.error("%s", error)  # noqa: TRY400 - a foreseen failure needs no traceback
            return
        _defer_window(context.app, "rate", cluster, window)

    @app.task(name="rate_window", pass_context=True)
    def rate_window(context: JobContext, cluster: str, start: str) -> None:
        ledger.rate(cluster, _hour(start))
        _queue_outputs(context.app, to_ms(ledger.now()) // 1000)

    # Every five minutes: windows that have settled and have no facts, or only part of them.
    @app.periodic(cron="*/5 * * * *")
    @app.task(
        name="hand_out_windows",
        queueing_lock="hand_out_windows",
        lock="hand_out_windows",
        priority=_BEFORE_WINDOWS,
        pass_context=True,
    )
    def hand_out_windows(context: JobContext, timestamp: int) -> None:
        at = datetime.fromtimestamp(timestamp, tz=UTC)
        for name in ledger.cluster_names:
            for window in ledger.windows_to_rate(name)[:_WINDOWS_PER_TICK]:
                _defer_window(context.app, "rate", name, window)
        for name, window in _due_windows(ledger, at):
            _defer_window(context.app, "collect", name, window)


def _due_windows(ledger: Ledger, at: datetime) -> Iterator[tuple[str, Window]]:
    """Yield what is to be collected, the clusters in turn: none waits for all of another's."""
    due: list[list[tuple[str, Window]]] = []
    for name in ledger.cluster_names:
        try:
            windows = ledger.windows_to_collect(name, at)[:_WINDOWS_PER_TICK]
            if windows:
                # Else they would fail one by one, each after the time limit of its question.
                ledger.require_prometheus(name)
        except GpuledgerError as error:
            log.warning("No window of %s can be handed out: %s", name, error)
            continue
        due.append([(name, window) for window in windows])
    yield from filter(None, chain.from_iterable(zip_longest(*due)))


def _add_daily_tasks(app: procrastinate.App, ledger: Ledger) -> None:
    # Every ten minutes: whether a day's detection, a message or a report is due.
    @app.periodic(cron="*/10 * * * *")
    @app.task(
        name="detect_and_notify",
        queueing_lock="detect_and_notify",
        lock="detect_and_notify",
        priority=_BEFORE_WINDOWS,
    )
    def detect_and_notify(timestamp: int) -> None:
        ledger.detect_due(datetime.fromtimestamp(timestamp, tz=UTC))
        for failure in ledger.notify().failures:
            log.warning("A message did not go out and is tried again: %s", failure)

    @app.periodic(cron="*/10 * * * *")
    @app.task(
        name="publish_reports",
        queueing_lock="publish_reports",
        lock="publish_reports",
        priority=_BEFORE_WINDOWS,
    )
    def publish_reports(timestamp: int) -> None:
        ledger.publish_due(datetime.fromtimestamp(timestamp, tz=UTC))

    @app.periodic(cron="*/10 * * * *")
    @app.task(name="adjust_periods", queueing_lock="adjust_periods", lock="adjust_periods")
    def adjust_periods(timestamp: int) -> None:
        ledger.adjust_due(datetime.fromtimestamp(timestamp, tz=UTC))

    @app.periodic(cron="17 3 * * *")
    @app.task(name="forget_minutes", queueing_lock="forget_minutes")
    def forget_minutes(timestamp: int) -> None:
        ledger.forget_minutes(datetime.fromtimestamp(timestamp, tz=UTC))


def _queue_outputs(app: procrastinate.App, timestamp: int) -> None:
    """Let findings and reports be looked at once the windows that wait are done."""
    for task in ("detect_and_notify", "publish_reports"):
        _defer(
            app,
            task,
            lock=task,
            queued_as=f"{task}/after",
            priority=_AFTER_WINDOWS,
            timestamp=timestamp,
        )


def _defer_window(app: procrastinate.App, verb: str, cluster: str, window: Window) -> None:
    start = window.start.isoformat()
    lock = f"{verb}/{cluster}/{start}"
    _defer(app, f"{verb}_window", lock=lock, queued_as=lock, cluster=cluster, start=start)


def _defer(
    app: procrastinate.App,
    task: str,
    *,
    lock: str,
    queued_as: str,
    priority: int = 0,
    **arguments: str | int,
) -> None:
    """Queue a task once; a copy that still waits is enough. No two with one lock run at a time."""
    try:
        app.configure_task(task, queueing_lock=queued_as, lock=lock, priority=priority).defer(
            **arguments
        )
    except AlreadyEnqueued:
        return


def _hour(start: str) -> Window:
    begin = datetime.fromisoformat(start)
    return Window(begin, begin + timedelta(hours=1))
