"""Adds what a request within a stated latency objective cost to rows of inference."""

from collections.abc import Mapping, Sequence

import pandas as pd

from app.attribution.goodput import Buckets, Goodput, Objective, goodput
from app.attribution.unit_costs import per

_Key = tuple[str, ...]


def with_goodput(
    rows: pd.DataFrame,
    latencies: pd.DataFrame,
    models: Mapping[int, str],
    group_by: Sequence[str],
    objectives: Sequence[Objective],
) -> pd.DataFrame:
    """Return the rows with `chargeback.inference.GOODPUT_COLUMNS`.

    ``latencies`` has model_id, metric, le, increments and the group columns. A row without a cost
    per request has none within the objective either, for the same reason.
    """
    found = _found(latencies, models, group_by, objectives) if objectives else {}
    good = [found.get(key) for key in _keys(rows, group_by)]
    within = [None if one is None else one.within for one in good]
    ratios = [None if one is None else one.ratio for one in good]
    added = {
        "objective": pd.Series(["" if one is None else one.objective for one in good], dtype="str"),
        "requests_within_objective": pd.Series(within, dtype="Int64"),
        "within_objective_ratio": pd.Series(ratios, dtype="float64"),
    }
    for prefix, nanos in (("", "total_nanos"), ("used_", "used_nanos")):
        known = rows[f"{prefix}cost_per_request"].tolist()
        added[f"{prefix}cost_per_request_within_objective"] = pd.Series(
            [
                None if cost is None or count is None else per(int(money), count)
                for cost, count, money in zip(known, within, rows[nanos].tolist(), strict=True)
            ],
            dtype="object",
        )
    return rows.assign(**{name: column.set_axis(rows.index) for name, column in added.items()})


def _found(
    latencies: pd.DataFrame,
    models: Mapping[int, str],
    group_by: Sequence[str],
    objectives: Sequence[Objective],
) -> dict[_Key, Goodput | None]:
    groups: dict[_Key, list[Buckets]] = {}
    columns = (latencies[name].tolist() for name in ("metric", "model_id", "le", "increments"))
    for key, (metric, model, le, increments) in zip(
        _keys(latencies, group_by), zip(*columns, strict=True), strict=True
    ):
        groups.setdefault(key, []).append(
            Buckets(metric=metric, model=models.get(model, ""), le=le, increments=increments)
        )
    return {key: goodput(buckets, objectives) for key, buckets in groups.items()}


def _keys(rows: pd.DataFrame, group_by: Sequence[str]) -> list[_Key]:
    if not group_by:
        return [()] * len(rows)
    return list(zip(*(rows[name].tolist() for name in dict.fromkeys(group_by)), strict=True))
