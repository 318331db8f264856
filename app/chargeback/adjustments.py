"""The table of adjustments: what was posted to which line of a closed period, why, and by whom."""

import pandas as pd
import pandera.pandas as pa

from app.chargeback.tables import Cell, Table, amount, seconds

ADJUSTMENT_COLUMNS = (
    "adjustment",
    "run",
    "type",
    "period",
    "posting_period",
    "posted_at",
    "usage_start",
    "day",
    "cluster",
    "node",
    "gpu_model",
    "namespace",
    "workload",
    "pod",
    "team",
    "consumer",
    "kind",
    "charge",
    "gpu_seconds",
    "gpu_seconds_unpriced",
    "adjustment_cost",
    "currency",
    "reason",
    "author",
)
_INTEGERS = {
    "run": "run",
    "gpu_seconds": "gpu_ms",
    "gpu_seconds_unpriced": "unpriced_ms",
    "adjustment_cost": "cost_nanos",
}

# One row a posted difference. Texts are as people read them: identities as 16 hexadecimal digits,
# instants in UTC; `kind` is that of the adjusted line, `period` the one that its hour is in.
POSTED = pa.DataFrameSchema(
    {
        **{
            name: pa.Column("str")
            for name in ADJUSTMENT_COLUMNS
            if name not in {*_INTEGERS, "currency"}
        },
        **{name: pa.Column("int64") for name in _INTEGERS.values()},
    },
    strict=True,
    coerce=False,
)


def adjustments_table(posted: pd.DataFrame, currency: str) -> Table:
    """Return posted differences (`POSTED`) as the table people read, in the frame's order."""
    columns: list[list[Cell]] = []
    for name in ADJUSTMENT_COLUMNS:
        if name == "currency":
            columns.append([currency] * len(posted))
            continue
        values = posted[_INTEGERS.get(name, name)].tolist()
        match name:
            case "gpu_seconds" | "gpu_seconds_unpriced":
                columns.append([seconds(value) for value in values])
            case "adjustment_cost":
                columns.append([amount(value) for value in values])
            case _:
                columns.append(values)
    return Table(ADJUSTMENT_COLUMNS, tuple(zip(*columns, strict=True)))
