"""Summed charges in round figures."""

from collections.abc import Mapping, Sequence

import pandas as pd

from app.chargeback.costs import MS_COLUMNS, NANOS_COLUMNS

HOUR_MS = 3_600_000
USD = 10**9


def costs_of(group_by: Sequence[str], *rows: Mapping[str, str | int | bool]) -> pd.DataFrame:
    """Return summed charges: what a row does not say is 0, '' or complete."""
    figures = [*MS_COLUMNS, "unpriced_ms", *NANOS_COLUMNS]
    default = dict.fromkeys(group_by, "") | dict.fromkeys(figures, 0) | {"complete": True}
    dtypes = dict.fromkeys(group_by, "str") | dict.fromkeys(figures, "int64")
    frame = pd.DataFrame([default | dict(row) for row in rows], columns=list(default))
    return frame.astype(dtypes | {"complete": "bool"})
