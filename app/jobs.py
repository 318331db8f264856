"""The procrastinate App and its tasks: each calls one workflow, and what was missed is made up.

Periodic tasks only look at what the database says is due (watermarks, marks, sent reports), so a
tick that never ran costs nothing: the next one finds the same work.
"""

import logging
from datetime import UTC, datetime, timedelta

import procrastinate
from procrastinate import JobContext
from procrastinate.exceptions import AlreadyEnqueued

from app.units.window import Window
from app.wiring import Ledger, RejectedError

log = logging.getLogger(__name__)

# Sync tasks run in threads under one interpreter lock: more workers are more processes.
_CONCURRENCY = 1
_POLLING_SECONDS = 2.0
# A worker says every 10 s that it lives; silent for 30 s, its jobs go to another.
_HEARTBEAT_SECONDS = 10.0
_STALLED_SECONDS = 30.0
_RETRY = procrastinate.RetryStrategy(max_attempts=5, exponential_wait=4)
# Windows that one tick hands out: two weeks and more.
_WINDOWS_PER_TICK = 400


def build_app(ledger: Ledger, *, stalled_seconds: float = _STALLED_SECONDS) -> procrastinate.App:
    """Return the application whose tasks work on ``ledger``; open it before use.

    A worker that was silent for ``stalled_seconds`` counts as dead, and its jobs go to another.
    """
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=ledger.connection_string)
    )
    _add_window_tasks(app, ledger)
    _add_daily_tasks(app, ledger)
    _add_stalled_task(app, stalled_seconds)
    return app


def run_worker(
    app: procrastinate.App,
    *,
    wait: bool,
    heartbeat_seconds: float = _HEARTBEAT_SECONDS,
    stalled_seconds: float = _STALLED_SECONDS,
) -> None:
    """Work until stopped by a signal; with ``wait`` false, until the queue is empty."""
    app.run_worker(
        wait=wait,
        concurrency=_CONCURRENCY,
        fetch_job_polling_interval=_POLLING_SECONDS,
        update_heartbeat_interval=heartbeat_seconds,
        stalled_worker_timeout=stalled_seconds,
        delete_jobs="successful",
    )


def _add_window_tasks(app: procrastinate.App, ledger: Ledger) -> None:
    @app.task(name="collect_window", retry=_RETRY, pass_context=True)
    def collect_window(context: JobContext, cluster: str, start: str) -> None:
        try:
            ledger.collect(cluster, _hour(start))
        except RejectedError as error:
            # Asking again gives the same answer; the journal has it, and the stored facts stand.
            log.warning("%s", error)
            return
        _defer(context.app, "rate_window", f"rate/{cluster}/{start}", cluster=cluster, start=start)

    @app.task(name="rate_window", retry=_RETRY)
    def rate_window(cluster: str, start: str) -> None:
        ledger.rate(cluster, _hour(start))

    # Every five minutes: windows that have settled and have no facts, or only part of them.
    @app.periodic(cron="*/5 * * * *")
    @app.task(name="hand_out_windows", queueing_lock="hand_out_windows", pass_context=True)
    def hand_out_windows(context: JobContext, timestamp: int) -> None:
        at = datetime.fromtimestamp(timestamp, tz=UTC)
        for name in ledger.cluster_names:
            for window in ledger.windows_to_collect(name, at)[:_WINDOWS_PER_TICK]:
                start = window.start.isoformat()
                _defer(
                    context.app,
                    "collect_window",
                    f"collect/{name}/{start}",
                    cluster=name,
                    start=start,
                )
            for window in ledger.windows_to_rate(name)[:_WINDOWS_PER_TICK]:
                start = window.start.isoformat()
                _defer(
                    context.app, "rate_window", f"rate/{name}/{start}", cluster=name, start=start
                )


def _add_daily_tasks(app: procrastinate.App, ledger: Ledger) -> None:
    @app.periodic(cron="*/10 * * * *")
    @app.task(name="detect_and_notify", queueing_lock="detect_and_notify", retry=_RETRY)
    def detect_and_notify(timestamp: int) -> None:
        at = datetime.fromtimestamp(timestamp, tz=UTC)
        ledger.detect_due(at)
        ledger.notify()

    @app.periodic(cron="*/10 * * * *")
    @app.task(name="publish_reports", queueing_lock="publish_reports", retry=_RETRY)
    def publish_reports(timestamp: int) -> None:
        ledger.publish_due(datetime.fromtimestamp(timestamp, tz=UTC))

    @app.periodic(cron="17 3 * * *")
    @app.task(name="forget_minutes", queueing_lock="forget_minutes", retry=_RETRY)
    def forget_minutes(timestamp: int) -> None:
        ledger.forget_minutes(datetime.fromtimestamp(timestamp, tz=UTC))


def _add_stalled_task(app: procrastinate.App, stalled_seconds: float) -> None:
    # The sixth field is seconds: a killed worker's job is back within a minute.
    @app.periodic(cron="* * * * * */15")
    @app.task(name="give_back_stalled_jobs", queueing_lock="stalled", pass_context=True)
    async def give_back_stalled_jobs(context: JobContext, timestamp: int) -> None:
        del timestamp
        manager = context.app.job_manager
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=stalled_seconds):
            await manager.retry_job(job)


def _defer(app: procrastinate.App, task: str, lock: str, *, cluster: str, start: str) -> None:
    """Queue a task once; a copy that still waits is enough."""
    try:
        app.configure_task(task, queueing_lock=lock, lock=lock).defer(cluster=cluster, start=start)
    except AlreadyEnqueued:
        return


def _hour(start: str) -> Window:
    begin = datetime.fromisoformat(start)
    return Window(begin, begin + timedelta(hours=1))
