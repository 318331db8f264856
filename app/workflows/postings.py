"""What every adjustment of a closed period shares: its inputs, its lock, its one transaction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection, Engine

from app.attribution.adjustments import AdjustmentType, money_by_team
from app.chargeback.billing_periods import BillingPeriod
from app.errors import GpuledgerError, InputError
from app.store.adjustments import AdjustmentRun, AdjustmentStore
from app.store.late_facts import LateHour
from app.store.locking import held_by_session
from app.store.naming import NameStore
from app.store.periods import PeriodStore
from app.store.redistribution import mark_days_of
from app.store.windows import RatingVersions
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.identity import team_id
from app.usage.models import ModelEntry
from app.workflows.rating import Terms, terms_at

# Who posts what facts bring about by themselves.
LEDGER_AUTHOR = "gpuledger"


class OpenPeriodError(InputError):
    """A period that is not closed: nothing in it needs an adjustment."""

    def __init__(self, period: str) -> None:
        super().__init__(
            f"The billing period {period} is open: its charges change by themselves.",
            hint="Adjust and correct closed periods; gpuledger period list shows which are.",
        )


class UnexplainedError(InputError):
    """A correction or a reopening without a reason or a name."""

    def __init__(self) -> None:
        super().__init__(
            "A closed period is changed with a reason and a name only.",
            hint="Add --reason 'what was wrong' and --by 'who says so'.",
        )


class AdjustmentRunningError(GpuledgerError):
    """Another adjustment, correction or reopening is under way."""

    def __init__(self) -> None:
        super().__init__(
            "Another run adjusts closed periods at this moment.",
            hint="Nothing was posted; try again when it is done.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusting:
    """What every run works with; ``at_ms`` is when it is booked."""

    engine: Engine
    billing_zone: ZoneInfo
    at_ms: int
    models: Sequence[ModelEntry] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamMoney:
    """What a posting adds to a team's bill, in nanos; '' is nobody's."""

    team: str
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """A posting, or what one would be where ``posted`` is false: a dry run, or no difference.

    ``hours`` is how many hours' late facts it rests on.
    """

    run: AdjustmentRun
    posted: bool
    lines: int
    hours: int
    teams: tuple[TeamMoney, ...]

    @property
    def nanos(self) -> int:
        """What it comes to."""
        return sum(team.nanos for team in self.teams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A run that is ready to be stored, and the late facts that it covers."""

    run: AdjustmentRun
    lines: pd.DataFrame
    teams: tuple[str, ...] = ()
    hours: tuple[LateHour, ...] = ()


@dataclass(slots=True)
class Inputs:
    """The terms of every closed hour: its period's, or those that a correction gives instead."""

    given: Adjusting
    instead: dict[str, RatingVersions] = field(default_factory=dict)
    periods: tuple[BillingPeriod, ...] = ()
    _terms: dict[RatingVersions, Terms] = field(default_factory=dict)
    _versions: dict[str, RatingVersions] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with self.given.engine.connect() as connection:
            stored = PeriodStore(connection, self.given.billing_zone).all()
        self.periods = tuple(one for one in stored if one.is_closed)

    @property
    def closed_before_ms(self) -> int:
        """Where the last closed period ends."""
        return max((one.end_ms for one in self.periods), default=0)

    def if_closed(self, at_ms: int) -> Terms | None:
        """Return the terms of the hour that begins at an instant, None where no period is closed.

        Of a day that lies over the first closed period's beginning the hours before have none.
        """
        closed = any(one.start_ms <= at_ms < one.end_ms for one in self.periods)
        return self.of_hour(at_ms) if closed else None

    def of_hour(self, at_ms: int) -> Terms:
        """Return the terms of the hour that begins at an instant, which must be closed."""
        name = next(one.name for one in self.periods if one.start_ms <= at_ms < one.end_ms)
        versions = self.versions(name)
        if versions not in self._terms:
            with self.given.engine.connect() as connection:
                found = terms_at(connection, versions.prices, versions.contract)
            self._terms[versions] = found
        return self._terms[versions]

    def versions(self, period: str) -> RatingVersions:
        """Return the versions that a closed period goes by."""
        if period in self.instead:
            return self.instead[period]
        if period not in self._versions:
            with self.given.engine.connect() as connection:
                found = AdjustmentStore(connection, self.given.billing_zone).inputs_of(period)
            assert found is not None, f"{period} was closed without pins"
            self._versions[period] = found
        return self._versions[period]


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Keep other runs from adjusting; raise `AdjustmentRunningError` if one does already."""
    with held_by_session(engine, "adjusting") as mine:
        if not mine:
            raise AdjustmentRunningError
        yield


def closed_period(connection: Connection, name: str, zone: ZoneInfo) -> BillingPeriod:
    """Return a period that must be closed."""
    period = PeriodStore(connection, zone).by_name(name)
    if not period.is_closed:
        raise OpenPeriodError(name)
    return period


def require_reason(reason: str, author: str) -> None:
    """Refuse a change of a closed period that nobody explains."""
    if not reason.strip() or not author.strip():
        raise UnexplainedError


def late_run(connection: Connection, period: str, given: Adjusting) -> AdjustmentRun:
    """Return a run booked at the instant or, if that is closed, where the first open period begins.

    It is one of late facts and has no reason yet.
    """
    periods = PeriodStore(connection, given.billing_zone)
    posted_ms = max(given.at_ms, periods.closed_before_ms())
    store = AdjustmentStore(connection, given.billing_zone)
    versions = store.inputs_of(period)
    assert versions is not None, f"{period} was closed without pins"
    return AdjustmentRun(
        run_id=store.next_run_id(),
        period=period,
        type=AdjustmentType.LATE_FACTS,
        posting_period=periods.period_at(posted_ms).name,
        posted_ms=posted_ms,
        reason="",
        author=LEDGER_AUTHOR,
        versions=versions,
    )


def store_posting(connection: Connection, posting: Posting, zone: ZoneInfo) -> Posting:
    """Store a run and its lines in the caller's transaction; return it with its number."""
    store = AdjustmentStore(connection, zone)
    run = replace(posting.run, run_id=store.next_run_id())
    NameStore(connection).ensure_team_names(posting.teams)
    store.post(run, posting.lines)
    if len(posting.lines):
        hours = posting.lines["window_start_ms"]
        last_ms = int(hours.max()) + HOUR_MS
        # A day that begins inside a frozen hour may be open: its first-hand cost has changed.
        mark_days_of(connection, Window(from_ms(int(hours.min())), from_ms(last_ms)))
    return replace(posting, run=run)


def result_of(posting: Posting, names: dict[int, str], *, posted: bool) -> Adjusted:
    """Return what a posting comes to, by team; ``names`` are those of the stored teams."""
    known = names | {team_id(name): name for name in posting.teams}
    teams = (
        TeamMoney(team=known.get(key, ""), nanos=nanos)
        for key, nanos in money_by_team(posting.lines).items()
    )
    return Adjusted(
        run=posting.run,
        posted=posted,
        lines=len(posting.lines),
        hours=len(posting.hours),
        teams=tuple(sorted(teams, key=lambda one: (-abs(one.nanos), one.team))),
    )
