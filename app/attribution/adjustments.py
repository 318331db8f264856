"""Adjustments: by how much the lines of a closed period differ from what they would be today."""

from enum import IntEnum

import pandas as pd
import pandera.pandas as pa

from app.attribution.charges import LineStep
from app.usage import frames


class AdjustmentType(IntEnum):
    """Why a closed period is adjusted; the numbers are what the database stores."""

    LATE_FACTS = 1
    CORRECTION = 2
    REOPENING = 3
    TRUE_UP = 4


# Lines of these steps rest on bills, not on facts of hours and price inputs: no run changes them.
UNADJUSTED_STEPS = (LineStep.TRUE_UP,)

# What makes two lines the same one; `day` counts billing days from 1970-01-01.
LINE_KEY = (
    "cluster_id",
    "day",
    "window_start_ms",
    "node_id",
    "gpu_model_id",
    "hold_id",
    "workload_id",
    "namespace_id",
    "team_id",
    "kind",
    "price_id",
    "step",
    "consumer_id",
)
LINE_FIGURES = ("gpu_ms", "unpriced_ms", "cost_nanos")
_LINE_SPAN = ("charge_id", "start_ms", "end_ms")

# Lines of the ledger of all clusters: those of a rating, those that are pinned, or differences.
# `unpriced_ms` is the part of `gpu_ms` that no price covers, which costs nothing.
LEDGER_LINES = pa.DataFrameSchema(
    {name: pa.Column("int64") for name in (*LINE_KEY, *_LINE_SPAN, *LINE_FIGURES)},
    strict=True,
    coerce=False,
)


def differences(last: pd.DataFrame, booked: pd.DataFrame) -> pd.DataFrame:
    """Return ``last`` less ``booked``, both `LEDGER_LINES`, line by line in the order of the key.

    ``booked`` are the pinned lines and all that was posted to them so far, so that one line may
    come several times. Lines without any difference are left out. A line that both have keeps the
    identity and the span that it has in ``last``.
    """
    signs = ((last, 1), (booked, -1))
    signed = [
        frame.assign(**{name: frame[name] * sign for name in LINE_FIGURES})
        for frame, sign in signs
        if len(frame)
    ]
    if not signed:
        return frames.empty(LEDGER_LINES)
    rows = pd.concat(signed, ignore_index=True)
    found = rows.groupby([*LINE_KEY], as_index=False, sort=True).agg(
        {**dict.fromkeys(_LINE_SPAN, "first"), **dict.fromkeys(LINE_FIGURES, "sum")}
    )
    changed = (found[[*LINE_FIGURES]] != 0).any(axis="columns")
    result: pd.DataFrame = found.loc[changed, [*LEDGER_LINES.columns]].reset_index(drop=True)
    return result


def reversed_lines(posted: pd.DataFrame) -> pd.DataFrame:
    """Return lines that take back all that was posted, one a line; () of what sums to nothing."""
    return differences(frames.empty(LEDGER_LINES), posted)


def money_by_team(lines: pd.DataFrame) -> dict[int, int]:
    """Return nanos by team's identity; sums of each team are exact within 64 bits."""
    sums = lines.groupby("team_id", sort=True)["cost_nanos"].sum()
    return dict(zip(sums.index.tolist(), sums.tolist(), strict=True))
