"""Adjustments as people read them: with the names of what was adjusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from app.attribution.adjustments import AdjustmentType
from app.chargeback.adjustments import POSTED
from app.chargeback.statements import instant_text
from app.store.adjustments import Adjustment, AdjustmentStore
from app.store.dimensions import Labels, dimension_of
from app.store.periods import PeriodStore
from app.units.identity import id_text
from app.units.window import HOUR_MS, Window, from_ms

_NAMED = {
    "cluster": "cluster_id",
    "node": "node_id",
    "gpu_model": "gpu_model_id",
    "namespace": "namespace_id",
    "workload": "workload_id",
    "pod": "hold_id",
    "team": "team_id",
    "consumer": "consumer_id",
    "kind": "charge_kind",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustmentsQuestion:
    """Which adjustments are asked for; what is '' or None allows everything.

    ``period`` is the one whose lines were adjusted, ``posted_in`` the one they are booked in.
    """

    period: str = ""
    posted_in: str = ""
    team: str | None = None
    type: AdjustmentType | None = None


def posted_adjustments(
    connection: Connection, question: AdjustmentsQuestion, zone: ZoneInfo
) -> pd.DataFrame:
    """Return the adjustments as `POSTED`, in the order of runs, usage and lines.

    Raises `BillingPeriodError` for a period that there is not.
    """
    store = AdjustmentStore(connection, zone)
    found = store.find(question.period, question.posted_in)
    if question.type is not None:
        found = tuple(one for one in found if one.run.type is question.type)
    rows = _frame(connection, found, zone)
    if question.team is not None:
        rows = rows.loc[rows["team"] == question.team].reset_index(drop=True)
    return POSTED.validate(rows)


def _frame(connection: Connection, found: Sequence[Adjustment], zone: ZoneInfo) -> pd.DataFrame:
    # No name is looked up by the time it was used at: costs of services are not asked for here.
    labels = Labels(connection, Window(from_ms(0), from_ms(HOUR_MS)))
    periods = PeriodStore(connection, zone)
    stored = periods.all()
    texts: dict[str, list[str]] = {
        "adjustment": [id_text(one.adjustment_id) for one in found],
        "type": [one.run.type.name.lower() for one in found],
        "period": [
            next(
                (p.name for p in stored if p.start_ms <= one.window_start_ms < p.end_ms),
                one.run.period,
            )
            for one in found
        ],
        "posting_period": [one.run.posting_period for one in found],
        "posted_at": [instant_text(one.run.posted_ms) for one in found],
        "usage_start": [instant_text(one.window_start_ms) for one in found],
        "day": [one.day.isoformat() for one in found],
        "charge": [id_text(one.charge_id) for one in found],
        "reason": [one.run.reason for one in found],
        "author": [one.run.author for one in found],
    }
    columns: dict[str, pd.Series] = {
        name: pd.Series(values, dtype="str") for name, values in texts.items()
    }
    for name, identity in _NAMED.items():
        keys = np.array([getattr(one, identity) for one in found], dtype=np.int64)
        columns[name] = labels.of(dimension_of(name, (name,)), keys).values()
    for name in ("gpu_ms", "unpriced_ms", "cost_nanos"):
        columns[name] = pd.Series([getattr(one, name) for one in found], dtype="int64")
    columns["run"] = pd.Series([one.run.run_id for one in found], dtype="int64")
    return pd.DataFrame(columns)[[*POSTED.columns]]
