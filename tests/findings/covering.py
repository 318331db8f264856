"""Evidence of coverage with round figures: keyword defaults, money at 1 nano a millisecond."""

from collections.abc import Sequence

import pandas as pd
import pandera.pandas as pa

from app.findings.coverage import SERVICE_EVIDENCE, TIME_EVIDENCE

Row = dict[str, str | int | bool]


def a_time(team: str = "search", **given: str | int | bool) -> Row:
    """Return a row of time; its money is one nano a millisecond where none is given."""
    row: Row = {"cluster": "prod-eu", "namespace": "search-api", "team": team, "rated": True}
    money = {
        f"{name.removesuffix('_ms')}_nanos": value
        for name, value in given.items()
        if name.endswith("_ms") and name != "unpriced_ms" and "unpriced_ms" not in given
    }
    return row | money | given


def time_evidence(rows: Sequence[Row]) -> pd.DataFrame:
    return _frame(TIME_EVIDENCE, rows)


def service_evidence(rows: Sequence[Row]) -> pd.DataFrame:
    return _frame(SERVICE_EVIDENCE, rows)


def _frame(schema: pa.DataFrameSchema, rows: Sequence[Row]) -> pd.DataFrame:
    dtypes = {name: str(column.dtype) for name, column in schema.columns.items()}
    return pd.DataFrame(
        {
            name: pd.Series(
                [row.get(name, "" if dtype == "str" else 0) for row in rows], dtype=dtype
            )
            for name, dtype in dtypes.items()
        }
    )
