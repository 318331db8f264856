"""Bills that come after a period was closed: what they change is posted as adjustments of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from app.attribution.adjustments import (
    LEDGER_LINES,
    AdjustmentType,
    differences,
    money_by_team,
)
from app.attribution.charges import ChargeKind, LineStep
from app.attribution.redistribution import BillingDay
from app.attribution.true_up import TrueUpLine
from app.store.adjustments import AdjustmentStore, united
from app.store.true_up import TrueUpStore, WaitingDay
from app.units.window import from_ms
from app.workflows.postings import Adjusting, Inputs, Posting, alone, late_run, store_posting
from app.workflows.true_up import lines_of_day

_EPOCH_DAY = from_ms(0).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodDifference:
    """What bills change of a closed period (`LEDGER_LINES`), and the days that it is of."""

    period: str
    lines: pd.DataFrame
    days: tuple[WaitingDay, ...]

    @property
    def nanos_by_team(self) -> dict[int, int]:
        """What is posted to each team."""
        return money_by_team(self.lines)


def closed_differences(
    connection: Connection, days: Iterable[BillingDay], given: Adjusting
) -> tuple[PeriodDifference, ...]:
    """Return what the stored bills change of closed days that wait, by period.

    The differences rest on the lines of the closed periods with all that was posted to them, and on
    the policies that the periods go by. Nothing is stored.
    """
    wanted = set(days)
    store = TrueUpStore(connection, given.billing_zone)
    waiting = [one for one in store.waiting() if one.day in wanted]
    inputs = Inputs(given)
    found = []
    for period in inputs.periods:
        mine = tuple(one for one in waiting if period.start_ms <= one.day.start_ms < period.end_ms)
        if not mine:
            continue
        lines = [_difference(connection, one.day, inputs, given.billing_zone) for one in mine]
        found.append(PeriodDifference(period=period.name, lines=united(lines), days=mine))
    return tuple(found)


def adjust_true_up(
    days: Sequence[BillingDay], given: Adjusting, *, reason: str
) -> tuple[PeriodDifference, ...]:
    """Post what bills change of closed days, one run a period, all of it or nothing.

    Days that have nothing to post are settled as well. Raises `AdjustmentRunningError` while
    another run is under way.
    """
    with alone(given.engine), given.engine.begin() as connection:
        found = closed_differences(connection, days, given)
        store = TrueUpStore(connection, given.billing_zone)
        for one in found:
            if len(one.lines):
                run = late_run(connection, one.period, given)
                run = replace(run, type=AdjustmentType.TRUE_UP, reason=reason)
                store_posting(connection, Posting(run=run, lines=one.lines), given.billing_zone)
            for day in one.days:
                store.settle(day)
        return found


def booked_true_up(
    connection: Connection, day: BillingDay, billing_zone: ZoneInfo
) -> dict[tuple[int, int], int]:
    """Return the true-up of a day that is charged or posted so far, by node."""
    booked = _booked(connection, day, billing_zone)
    sums: dict[tuple[int, int], int] = {}
    columns = (booked[name].tolist() for name in ("cluster_id", "node_id", "cost_nanos"))
    for cluster, node, nanos in zip(*columns, strict=True):
        sums[cluster, node] = sums.get((cluster, node), 0) + nanos
    return sums


def _difference(
    connection: Connection, day: BillingDay, inputs: Inputs, zone: ZoneInfo
) -> pd.DataFrame:
    contract = inputs.of_hour(day.start_ms).contract
    last = _as_ledger(lines_of_day(connection, day, contract, zone), day, zone)
    return differences(last, _booked(connection, day, zone))


def _booked(connection: Connection, day: BillingDay, zone: ZoneInfo) -> pd.DataFrame:
    charged = _as_ledger(TrueUpStore(connection, zone).lines(day), day, zone)
    posted = AdjustmentStore(connection, zone).posted(day)
    return united([charged, posted[posted["step"] == int(LineStep.TRUE_UP)]])


def _as_ledger(lines: Sequence[TrueUpLine], day: BillingDay, zone: ZoneInfo) -> pd.DataFrame:
    """Return lines of the true-up as `LEDGER_LINES`, where `TrueUpStore` stores them."""
    hour_ms = day.hours.start_ms
    same = {
        "day": (from_ms(day.start_ms).astimezone(zone).date() - _EPOCH_DAY).days,
        "window_start_ms": hour_ms,
        "start_ms": hour_ms,
        "end_ms": day.end_ms,
        "kind": int(ChargeKind.TRUE_UP),
        "step": int(LineStep.TRUE_UP),
        **dict.fromkeys(("hold_id", "workload_id", "price_id", "consumer_id"), 0),
        **dict.fromkeys(("gpu_ms", "unpriced_ms"), 0),
    }
    own = ("charge_id", "cluster_id", "node_id", "team_id", "namespace_id", "gpu_model_id")
    columns = {name: np.full(len(lines), value, dtype=np.int64) for name, value in same.items()}
    for name in own:
        columns[name] = np.array([getattr(line, name) for line in lines], dtype=np.int64)
    columns["cost_nanos"] = np.array([line.nanos for line in lines], dtype=np.int64)
    return LEDGER_LINES.validate(pd.DataFrame(columns)[[*LEDGER_LINES.columns]])
