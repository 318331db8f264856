"""What the statement view is made of: charges summed to its grain, and the names they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import numpy as np
import pandas as pd
import pandera.pandas as pa

from app.attribution.charges import ChargeKind
from app.chargeback.focus_cells import Int64s, instant_text
from app.chargeback.rounding import currency_decimals
from app.chargeback.tables import Table, amount
from app.errors import GpuledgerError
from app.units.money import from_nanos


class ExportGrain(StrEnum):
    """How long the charge period of a row is: an hour, or a day of the billing zone."""

    HOUR = "hour"
    DAY = "day"


class PricedUnit(StrEnum):
    """What a unit price is for, as FOCUS writes units."""

    GPU_HOUR = "GPU-Hours"
    NODE_HOUR = "Node-Hours"
    KILOWATT_HOUR = "kWh"


class StatementMismatchError(GpuledgerError):
    """A statement's total is not that of the charges that it is made from."""


# One row a line of the file. ``start_ms``/``end_ms`` are the charge period, ``day_ms`` where its
# billing day begins, ``period_start_ms``/``period_end_ms`` the billing period that it is booked in.
# The identities are those of charges; ``run_id`` is the posting of a late change, 0 for a charge.
# ``lines`` counts the charges that the row sums up.
_COLUMNS = (
    *("start_ms", "end_ms", "day_ms", "period_start_ms", "period_end_ms"),
    *("team_id", "cluster_id", "node_id", "namespace_id", "workload_id", "gpu_model_id"),
    *("kind", "step", "price_id", "consumer_id", "run_id", "lines", "gpu_ms", "cost_nanos"),
)
FOCUS_LINES = pa.DataFrameSchema(
    {name: pa.Column("int64") for name in _COLUMNS}, strict=True, coerce=False
)
# What tells one row of a file from every other.
LINE_KEY = _COLUMNS[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusNode:
    """A node as a bill names it; '' where nothing is known."""

    name: str
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    capacity_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusPrice:
    """What a price identity stands for, in the billing currency.

    ``list_unit_price`` is None where the price book has none. ``commitment`` names the commitment
    that it is the price of.
    """

    unit_price: Decimal
    unit: PricedUnit = PricedUnit.GPU_HOUR
    list_unit_price: Decimal | None = None
    commitment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A closed period's statement of one team, in its newest version."""

    number: str
    version: int
    total_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusLabels:
    """What identities are called. ``cost_centers`` is by team and billing day.

    ``invoices`` is by team and the beginning of the billing period; ``reasons`` is why a late
    change was posted, by its run. Teams without a name, and 0, are nobody.
    """

    teams: Mapping[int, str]
    cost_centers: Mapping[tuple[int, int], str]
    clusters: Mapping[int, str]
    nodes: Mapping[int, FocusNode]
    namespaces: Mapping[int, str]
    workloads: Mapping[int, tuple[str, str]]
    gpu_models: Mapping[int, str]
    prices: Mapping[int, FocusPrice]
    invoices: Mapping[tuple[int, int], Invoice]
    reasons: Mapping[int, str]


def with_rounding(
    lines: pd.DataFrame, labels: FocusLabels, currency: str, periods_ms: Mapping[int, int]
) -> pd.DataFrame:
    """Return the lines and one more an invoice, which brings them to its rounded total.

    ``periods_ms`` has the closed periods that the export covers whole: their beginnings and ends.
    Raises where a statement differs from its lines by a minor unit or more: a file that says
    otherwise than the statement must not leave the house.
    """
    step = 10 ** (9 - currency_decimals(currency))
    key = ["team_id", "period_start_ms"]
    summed = lines.groupby(key, as_index=False)["cost_nanos"].sum()
    sums = {
        (int(team), int(start)): int(nanos)
        for team, start, nanos in summed.itertuples(index=False, name=None)
    }
    rows: list[dict[str, int]] = []
    for (team, start_ms), invoice in sorted(labels.invoices.items(), key=lambda item: item[0]):
        if start_ms not in periods_ms:
            continue
        difference = invoice.total_minor * step - sums.get((team, start_ms), 0)
        if abs(difference) >= step:
            message = (
                f"The statement {invoice.number} version {invoice.version} says"
                f" {amount(invoice.total_minor * step)} {currency}, and its charges sum to"
                f" {from_nanos(sums.get((team, start_ms), 0))}."
            )
            raise StatementMismatchError(message, hint="Close the period again, or report this.")
        rows.append(_rounding_row(team, start_ms, periods_ms[start_ms], difference))
    if not rows:
        return lines
    more = pd.DataFrame(rows, columns=[*_COLUMNS]).astype("int64")
    return pd.concat([lines, more], ignore_index=True)


def _rounding_row(team: int, start_ms: int, end_ms: int, nanos: int) -> dict[str, int]:
    return dict.fromkeys(_COLUMNS, 0) | {
        "start_ms": start_ms,
        "end_ms": end_ms,
        "day_ms": start_ms,
        "period_start_ms": start_ms,
        "period_end_ms": end_ms,
        "team_id": team,
        "kind": int(ChargeKind.ROUNDING),
        "cost_nanos": nanos,
    }


def ordered(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the lines in the order of a file: by time, then by what tells them apart."""
    order = np.lexsort([lines[name].to_numpy() for name in LINE_KEY[::-1]])
    return lines.iloc[order].reset_index(drop=True)


UNPRICED_COLUMNS = (
    *("start", "end", "team", "cluster", "node", "namespace", "workload", "gpu_model", "kind"),
    "gpu_seconds",
)


def unpriced_table(lines: pd.DataFrame, labels: FocusLabels) -> Table:
    """Return what no price covers, and is for that reason in no FOCUS file: time without money."""
    from_columns: dict[str, Int64s] = {name: lines[name].to_numpy() for name in _COLUMNS}
    rows = []
    for at in range(len(lines)):
        row = {name: int(values[at]) for name, values in from_columns.items()}
        node = labels.nodes.get(row["node_id"])
        rows.append(
            (
                instant_text(row["start_ms"]),
                instant_text(row["end_ms"]),
                labels.teams.get(row["team_id"], ""),
                labels.clusters.get(row["cluster_id"], ""),
                "" if node is None else node.name,
                labels.namespaces.get(row["namespace_id"], ""),
                labels.workloads.get(row["workload_id"], ("", ""))[1],
                labels.gpu_models.get(row["gpu_model_id"], ""),
                ChargeKind(row["kind"]).name.lower(),
                Decimal(row["gpu_ms"]).scaleb(-3),
            )
        )
    return Table(UNPRICED_COLUMNS, tuple(rows))
