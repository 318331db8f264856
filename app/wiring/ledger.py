"""The ledger: the database, the settings, and every workflow that runs on them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from app.chargeback.reports import ReportDefinition, ReportFormat
from app.delivery.slack import send
from app.delivery.slack_messages import SlackMessage
from app.errors import GpuledgerError, InputError
from app.settings import Settings
from app.sources.harvest import first_remembered
from app.store.engine import connection_string, database_address, engine_of
from app.store.locking import held_by_session
from app.store.naming import NameStore
from app.store.runs import Outcome, RunStore
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.window import Window, from_ms, hour_of, to_ms
from app.wiring.adjusting import adjust_due
from app.wiring.clients import (
    collect_from,
    kubernetes_source,
    model_entries,
    prometheus_source,
    waste_policy,
)
from app.wiring.reporting import ReportDesk, target_of
from app.workflows.collecting import Collected, collect_hour
from app.workflows.commitments import put_accounts
from app.workflows.notifying import Notified, notify
from app.workflows.planning import latch_months
from app.workflows.postings import Adjusted
from app.workflows.publishing import Published, due_reports, publish
from app.workflows.rating import RateCounts, rate_window
from app.workflows.waste import Detected, detect

if TYPE_CHECKING:
    from app.workflows.watch import WatchCounts

log = logging.getLogger(__name__)

# Without any collected hour, a worker begins this far back: what Prometheus still knows by default
# (15 days) less a day for slow starts.
_FIRST_HOURS_BACK = 14 * 24
# `service_minutes` shows the shape of the traffic; the hourly facts are kept for ever.
_MINUTES_KEPT_DAYS = 35
# A detection waits so long for a cluster whose hours are not all collected and rated.
_DETECTION_WAIT = timedelta(hours=12)
# Hours of which a source answered only partly are tried again for this long.
_PARTIAL_RETRY_HOURS = 7 * 24


class FutureWindowError(InputError):
    """A window that has not ended yet."""


class RejectedError(GpuledgerError):
    """A collection that shows less evidence than is stored; the stored facts stay.

    ``families`` names what there is less of.
    """

    def __init__(self, cluster: str, window: Window, families: tuple[str, ...]) -> None:
        super().__init__(
            f"The collection of {cluster} at {window.start:%Y-%m-%d %H:%M} UTC was rejected: it"
            f" shows less than is stored of {', '.join(families)}.",
            hint="Use --force --reason … if the smaller answer is the right one.",
        )
        self.families = families


@dataclass(frozen=True, slots=True)
class Ledger:
    """The service's database and everything that its workflows need of the settings."""

    settings: Settings
    url: URL
    engine: Engine
    now: Callable[[], datetime]

    @property
    def cluster_names(self) -> tuple[str, ...]:
        """The configured clusters."""
        return tuple(cluster.name for cluster in self.settings.clusters)

    @property
    def connection_string(self) -> str:
        """A libpq address that works as the service's role."""
        return connection_string(self.url)

    def collect(self, cluster_name: str, window: Window, *, forced_reason: str = "") -> Collected:
        """Collect one hour that has ended; refuse less evidence than is stored."""
        refuse_future(window, self.now())
        cluster = self.settings.cluster(cluster_name)
        with self._journal("collect", cluster=cluster_name, window=window) as counts:
            settings = self.settings
            given = collect_from(cluster, settings.models, settings.engines, settings.gateways)
            collected = collect_hour(given, window, engine=self.engine, forced_reason=forced_reason)
            counts.update(
                revision=collected.result.revision,
                changed=int(collected.result.changed),
                partial=int(collected.partial),
                holds=collected.holds,
                held_ms=collected.held_ms,
                unobserved_ms=collected.unobserved_ms,
            )
            if collected.result.rejected:
                raise RejectedError(cluster_name, window, collected.result.rejected)
        return collected

    def rate(
        self,
        cluster_name: str,
        window: Window,
        *,
        progress: Callable[[int], None] = lambda _hours: None,
    ) -> RateCounts:
        """Rate the collected hours of the window."""
        put_accounts(self.engine, {one.name: one.billing_account for one in self.settings.clusters})
        with self._journal("rate", cluster=cluster_name, window=window) as counts:
            result = rate_window(
                cluster_name,
                window,
                engine=self.engine,
                billing_zone=self.settings.zone,
                models=model_entries(self.settings.models),
                progress=progress,
            )
            counts.update(hours=result.hours, charges=result.charges)
        return result

    def watch(
        self,
        cluster_name: str,
        *,
        clock: Callable[[], int],
        stop: "Callable[[WatchCounts], bool]",
    ) -> "WatchCounts":
        """Follow a cluster's Kubernetes API; refuse a cluster that has none."""
        # The Kubernetes client takes a second to import, which only the watch should cost.
        from app.workflows.watch import watch  # noqa: PLC0415 see above

        cluster = self.settings.cluster(cluster_name)
        return watch(
            cluster_name,
            source=kubernetes_source(cluster),
            engine=self.engine,
            clock=clock,
            stop=stop,
        )

    def watch_if_nobody_does(
        self, cluster_name: str, *, clock: Callable[[], int], stop: Callable[[], bool]
    ) -> None:
        """Follow a cluster until ``stop`` says so, unless another process does it already.

        A failure of the API or of the database is logged; the next call tries again.
        """
        try:
            with held_by_session(self.engine, "watcher", cluster_name) as mine:
                if mine:
                    self.watch(cluster_name, clock=clock, stop=lambda _counts: stop())
        except (GpuledgerError, SQLAlchemyError) as error:
            log.warning("The watch of %s broke off: %s", cluster_name, error)

    def windows_to_collect(self, cluster_name: str, at: datetime) -> tuple[Window, ...]:
        """Return the settled hours without facts, the oldest first, then those with a part of them.

        Hours before the first collected one are left alone; a new ledger begins with the first hour
        that Prometheus remembers. A partial hour is tried again, at most once an hour, for a week.
        """
        cluster = self.settings.cluster(cluster_name)
        end = hour_of(at - timedelta(minutes=cluster.settle_minutes)).start
        back = end - timedelta(hours=_FIRST_HOURS_BACK)
        with self.engine.connect() as connection:
            store = WindowStore(connection, cluster_name)
            first_ms = store.coverage().first_ms
            if first_ms is not None:
                start = max(from_ms(first_ms), back)
                missing = store.missing(Window(start, end)) if start < end else ()
                oldest = end - timedelta(hours=_PARTIAL_RETRY_HOURS)
                since_ms = to_ms(at - timedelta(hours=1))
                tried = RunStore(connection).tried("collect", cluster_name, since_ms)
                again = (
                    state.window
                    for state in store.partial()
                    if state.window.start >= oldest and state.window.start_ms not in tried
                )
                return (*missing, *again)
        first = first_remembered(prometheus_source(cluster), Window(back, end))
        return () if first is None else tuple(Window(first, end).hours())

    def is_whole(self, cluster_name: str, window: Window) -> bool:
        """Say whether an hour is collected, and not only in part."""
        with self.engine.connect() as connection:
            return WindowStore(connection, cluster_name).is_whole(window)

    def windows_to_rate(self, cluster_name: str) -> tuple[Window, ...]:
        """Return the collected hours whose charges are not those of their facts and inputs."""
        with self.engine.connect() as connection:
            return tuple(state.window for state in WindowStore(connection, cluster_name).pending())

    def forget_minutes(self, at: datetime) -> int:
        """Delete the minutes of services that are older than they are kept; return how many."""
        before_ms = to_ms(at - timedelta(days=_MINUTES_KEPT_DAYS))
        with self.engine.begin() as connection:
            clusters = NameStore(connection).clusters().values()
            return sum(
                UsageStore(connection, cluster).forget_minutes(before_ms)
                for cluster in sorted(clusters)
            )

    def require_prometheus(self, cluster_name: str) -> None:
        """Raise if a cluster's metrics cannot be asked for."""
        prometheus_source(self.settings.cluster(cluster_name)).build_info()

    def detect(self, at: datetime) -> Detected:
        """Look for waste in the hours before ``at``."""
        evidence = self._evidence_before(at)
        with self._journal("detect", window=evidence) as counts:
            result = detect(
                at,
                engine=self.engine,
                policy=waste_policy(self.settings),
                evidence_hours=self.settings.waste.evidence_hours,
            )
            reached = latch_months(at, engine=self.engine, zone=self.settings.zone)
            counts.update(
                found=result.found, to_announce=result.to_announce, budgets_reached=len(reached)
            )
        return result

    def detect_due(self, at: datetime) -> Detected | None:
        """Look for waste before the last midnight of the billing zone that settled, once.

        As long as an hour of the evidence is not collected and rated there is nothing to look at;
        a cluster that stays behind is waited for half a day.
        """
        settle = self._settle()
        midnight = (at - settle).astimezone(self.settings.zone)
        midnight = midnight.replace(hour=0, minute=0, second=0, microsecond=0)
        evidence = self._evidence_before(midnight.astimezone(UTC))
        with self.engine.connect() as connection:
            done_ms = RunStore(connection).reached_ms("detect")
            ready = [
                WindowStore(connection, name).are_rated(evidence) for name in self.cluster_names
            ]
        patient = at < evidence.end + settle + _DETECTION_WAIT
        if done_ms >= evidence.end_ms or not any(ready) or (patient and not all(ready)):
            return None
        return self.detect(evidence.end)

    def _evidence_before(self, at: datetime) -> Window:
        end = hour_of(at).start
        return Window(end - timedelta(hours=self.settings.waste.evidence_hours), end)

    def _settle(self) -> timedelta:
        """Return the longest time after which an hour of any cluster has settled."""
        minutes = max((one.settle_minutes for one in self.settings.clusters), default=0)
        return timedelta(minutes=minutes)

    def notify(self) -> Notified:
        """Send what nobody was told of yet; without any webhook nothing is sent or claimed."""
        settings = self.settings
        if not settings.slack_webhook_url and not settings.slack_webhooks:
            return Notified(sent=0, failures=())

        def deliver(message: SlackMessage, channel: str) -> None:
            send(
                message,
                channel=channel,
                webhook_url=settings.slack_webhooks.get(channel, settings.slack_webhook_url),
                timeout_seconds=settings.slack.timeout_seconds,
            )

        return notify(
            engine=self.engine,
            send=deliver,
            default_channel=settings.slack.default_channel,
            currency=settings.currency,
            public_url=settings.public_url,
            at_ms=to_ms(self.now()),
        )

    def adjust_due(self, at: datetime) -> tuple[Adjusted, ...]:
        """Post what late facts change in closed periods."""
        return adjust_due(self.engine, self.settings, at)

    @property
    def report_desk(self) -> ReportDesk:
        """The report definitions that count, and what all reports share."""
        return ReportDesk(self.settings, self.now)

    def reports(self) -> tuple[ReportDefinition, ...]:
        """Return the report definitions, by name."""
        return self.report_desk.folders.all()

    def report(self, name: str) -> ReportDefinition:
        """Return one report definition; refuse a name without a file."""
        return self.report_desk.folders.named(name)

    def publish(
        self,
        name: str,
        period: str,
        *,
        formats: tuple[ReportFormat, ...] = (),
        path: Path | None = None,
        to: str = "",
    ) -> Published:
        """Make a period's report and write it: `app.wiring.reporting.target_of` says where."""
        with self._journal("publish") as counts:
            definition = self.report(name)
            published = publish(
                definition,
                period,
                engine=self.engine,
                terms=self.report_desk.terms,
                target=target_of(self.settings, definition, formats=formats, path=path, to=to),
                at_ms=to_ms(self.now()),
            )
            counts.update(number=published.made.number, provisional=int(published.made.provisional))
        return published

    def publish_due(self, at: datetime) -> tuple[Published, ...]:
        """Make every report that is due at ``at``; one that fails is logged and stays due."""
        due = due_reports(
            self.report_desk.folders.usable(),
            at,
            engine=self.engine,
            zone=self.settings.zone,
            settle=self._settle(),
        )
        done: list[Published] = []
        for definition, period in due:
            try:
                done.append(self.publish(definition.name, period.name))
            except GpuledgerError as error:
                log.error("%s of %s was not made: %s", definition.name, period.name, error)  # noqa: TRY400 - a foreseen failure needs no traceback
        return tuple(done)

    def collected_clusters(self) -> tuple[str, ...]:
        """Return the clusters that the ledger has hours of, configured or not."""
        with self.engine.connect() as connection:
            return tuple(sorted(NameStore(connection).clusters().values()))

    @contextmanager
    def _journal(
        self, workflow: str, *, cluster: str = "", window: Window | None = None
    ) -> Iterator[dict[str, int]]:
        """Write down that a workflow runs, and how it ended; yields the counts to fill in."""
        run_id, counts = uuid4(), dict[str, int]()
        with self.engine.begin() as connection:
            RunStore(connection).begin(
                run_id, workflow, started_ms=to_ms(self.now()), cluster=cluster, window=window
            )
        outcome, message = Outcome.FAILED, ""
        try:
            yield counts
            outcome = Outcome.OK
        except RejectedError as error:
            outcome, message = Outcome.REJECTED, str(error)
            raise
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"[:2000]
            raise
        finally:
            with self.engine.begin() as connection:
                RunStore(connection).finish(
                    run_id, outcome, finished_ms=to_ms(self.now()), counts=counts, message=message
                )


def open_ledger(settings: Settings, now: Callable[[], datetime]) -> Ledger:
    """Return the ledger of the configured database, which must have been upgraded."""
    url = database_address(settings.database_url, settings.data_dir)
    # Every watch of a cluster keeps a connection, by which others see that it is there.
    return Ledger(settings, url, engine_of(url, pool_size=5 + len(settings.clusters)), now)


def refuse_future(window: Window, now: datetime) -> None:
    """Refuse a window that has not ended."""
    if window.end > now:
        message = f"The window ends at {window.end.isoformat()}, which has not come yet."
        raise FutureWindowError(message, hint="Collect whole hours that are over.")
