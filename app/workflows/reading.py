"""What the command line and the API read: summed costs, unit costs, one charge explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection

from app.attribution.charges import LineStep
from app.attribution.contract import TokenWeights
from app.attribution.explanation import Explanation
from app.attribution.goodput import Objective
from app.attribution.service_costs import model_costs
from app.attribution.unit_costs import percentile, unit_costs
from app.chargeback.costs import MS_COLUMNS, NANOS_COLUMNS, Basis
from app.chargeback.inference import (
    COUNT_COLUMNS,
    DETAIL_COUNT_COLUMNS,
    DETAIL_RATIO_COLUMNS,
    GOODPUT_COLUMNS,
    MORE_UNIT_COST_COLUMNS,
    RATIO_COLUMNS,
    UNIT_COST_COLUMNS,
    USED_UNIT_COST_COLUMNS,
)
from app.errors import GpuledgerError
from app.store.costs import CostStore, IncompleteHours
from app.store.dimensions import Filters
from app.store.explanations import ExplanationStore
from app.store.inference import InferenceStore, Period
from app.store.naming import NameStore
from app.units.identity import id_text
from app.units.window import Window, from_ms
from app.usage.identity import cluster_id
from app.usage.kinds import LatencyMetric
from app.workflows.consumers import reassigned_explanation
from app.workflows.contracts import weighed_explanation
from app.workflows.explaining import first_hand_explanation
from app.workflows.explaining_money import money_explanation
from app.workflows.goodput import with_goodput
from app.workflows.rating import current_terms

_HOURLY = frozenset({"hour"})
_UTC = ZoneInfo("UTC")


class ChargeNotFoundError(GpuledgerError):
    """No charge has this identity."""

    def __init__(self, charge_id: int) -> None:
        super().__init__(
            f"There is no charge {id_text(charge_id)}.",
            hint="Charges are replaced when their hour is rated again; look the line up again.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSums:
    """Rows of `chargeback.costs.costs_schema`, and what the window lacks."""

    rows: pd.DataFrame
    hours: IncompleteHours


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSums:
    """Rows of `chargeback.inference.inference_schema`, what the window lacks, and the weights."""

    rows: pd.DataFrame
    hours: IncompleteHours
    token_weights: tuple[TokenWeights, ...]


def cost_sums(
    connection: Connection,
    window: Window,
    group_by: Sequence[str],
    filters: Filters = (),
    *,
    zone: ZoneInfo,
    span_ms: tuple[int, int] | None = None,
    basis: Basis = Basis.POSTED,
) -> CostSums:
    """Return what was held and what it cost, summed by ``group_by``, on a basis.

    ``span_ms`` narrows the sums to billing days that begin or end inside an hour of the window.
    """
    found = CostStore(connection, zone).costs(
        window, group_by, filters, span_ms=span_ms, basis=basis
    )
    columns = [*dict.fromkeys(group_by), *MS_COLUMNS, "unpriced_ms", *NANOS_COLUMNS, "complete"]
    return CostSums(rows=found.rows[columns], hours=found.hours)


def inference_sums(
    connection: Connection,
    window: Window,
    group_by: Sequence[str],
    filters: Filters = (),
    *,
    zone: ZoneInfo,
    objectives: Sequence[Objective] = (),
) -> InferenceSums:
    """Return what services served, what that cost, and how quick they were, by ``group_by``."""
    store = InferenceStore(connection, zone)
    period = Period.HOUR if _HOURLY & {*group_by} else Period.DAY
    contract = current_terms(connection).contract
    names = NameStore(connection).models()
    services = store.services(window)
    described = _Described(services, names, zone, group_by, filters)
    costs = described.wanted(
        model_costs(store.tokens(window, period), store.costs(window, period), names, contract)
    )
    rows = unit_costs(costs, list(group_by))
    latencies = described.wanted(store.latencies(window, period))
    starts = described.wanted(_with_models(store.cold_starts(window, period), costs))
    ratios = [
        _percentiles(latencies, group_by, LatencyMetric.TIME_TO_FIRST_TOKEN, 0.5),
        _percentiles(latencies, group_by, LatencyMetric.TIME_TO_FIRST_TOKEN, 0.95),
        _percentiles(latencies, group_by, LatencyMetric.END_TO_END, 0.95),
        _medians(starts, group_by),
        _percentiles(latencies, group_by, LatencyMetric.INTER_TOKEN, 0.5),
        _percentiles(latencies, group_by, LatencyMetric.INTER_TOKEN, 0.95),
        _percentiles(latencies, group_by, LatencyMetric.QUEUE_TIME, 0.95),
    ]
    for name, values in zip((*RATIO_COLUMNS[1:], *DETAIL_RATIO_COLUMNS), ratios, strict=True):
        keys = _keys(rows, group_by)
        rows[name] = pd.Series([values.get(key) for key in keys], dtype="float64")
    rows = with_goodput(rows, latencies, names, group_by, objectives)
    clusters = [cluster_id(name) for name in dict(filters).get("cluster", ())]
    hours = CostStore(connection, zone).incomplete_hours(window, clusters)
    rows["complete"] = rows["complete"] & hours.complete
    columns = [
        *dict.fromkeys(group_by),
        *COUNT_COLUMNS,
        "gpu_ms",
        "total_nanos",
        *UNIT_COST_COLUMNS,
        *RATIO_COLUMNS,
        "complete",
        "unit_cost_reason",
        *DETAIL_COUNT_COLUMNS,
        *DETAIL_RATIO_COLUMNS,
        "used_nanos",
        *MORE_UNIT_COST_COLUMNS,
        *USED_UNIT_COST_COLUMNS,
        *GOODPUT_COLUMNS,
    ]
    return InferenceSums(
        rows=rows[columns],
        hours=hours,
        token_weights=contract.token_weights or (TokenWeights(),),
    )


def explanation(
    connection: Connection, charge_id: int, currency: str, zone: ZoneInfo = _UTC
) -> tuple[str, Explanation]:
    """Return the team of a charge and why it is what it is; refuse an identity nobody has.

    ``zone`` is the billing zone, whose midnights divide billing days.
    """
    redistributed = reassigned_explanation(connection, charge_id, currency) or weighed_explanation(
        connection, charge_id, currency
    )
    if redistributed is not None:
        return redistributed
    record = ExplanationStore(connection).charge(charge_id)
    if record is None:
        raise ChargeNotFoundError(charge_id)
    if record.step in (LineStep.FIRST_HAND, LineStep.CARD_VARIANCE):
        return record.team, first_hand_explanation(connection, record, currency, zone)
    return record.team, money_explanation(connection, record, currency, zone)


class _Described:
    """Adds the columns that people group by to rows with workload_id, model_id and period_ms."""

    def __init__(
        self,
        services: pd.DataFrame,
        models: Mapping[int, str],
        zone: ZoneInfo,
        group_by: Sequence[str],
        filters: Filters,
    ) -> None:
        self._services = services.set_index("workload_id")
        self._models = models
        self._zone = zone
        self._filters = filters
        self._columns = tuple(dict.fromkeys([*group_by, *(name for name, _ in filters)]))

    def wanted(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that the filters let through, with the columns added."""
        described = rows.assign(**{name: self._texts(rows, name) for name in self._columns})
        for name, values in self._filters:
            described = described.loc[described[name].isin(values)]
        return described.reset_index(drop=True)

    def _texts(self, rows: pd.DataFrame, name: str) -> pd.Series:
        match name:
            case "model":
                texts = [self._models.get(key, "") for key in rows["model_id"].tolist()]
            case "hour" | "day" | "week" | "month":
                texts = [self._time(name, at_ms) for at_ms in rows["period_ms"].tolist()]
            case _:
                column = "workload" if name == "service" else name
                known = self._services[column].to_dict()
                texts = [known.get(key, "") for key in rows["workload_id"].tolist()]
        return pd.Series(texts, index=rows.index, dtype="str")

    def _time(self, name: str, at_ms: int) -> str:
        instant = from_ms(at_ms)
        local = instant.astimezone(self._zone)
        match name:
            case "hour":
                return instant.isoformat().replace("+00:00", "Z")
            case "week":
                year, week, _ = local.isocalendar()
                return f"{year:04d}-W{week:02d}"
            case "month":
                return f"{local:%Y-%m}"
            case _:
                return f"{local:%Y-%m-%d}"


def _with_models(starts: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Give each cold start the model of its service, 0 where it serves several."""
    served = costs[["workload_id", "model_id"]].drop_duplicates()
    only = served.loc[~served["workload_id"].duplicated(keep=False)]
    known = only.set_index("workload_id")["model_id"].to_dict()
    models = [known.get(key, 0) for key in starts["workload_id"].tolist()]
    return starts.assign(model_id=pd.Series(models, dtype="int64"))


def _percentiles(
    latencies: pd.DataFrame, group_by: Sequence[str], metric: LatencyMetric, quantile: float
) -> dict[tuple[str, ...], float | None]:
    rows = latencies.loc[latencies["metric"] == int(metric)]
    buckets: dict[tuple[str, ...], dict[float, int]] = {}
    for key, bound, count in zip(
        _keys(rows, group_by), rows["le"].tolist(), rows["increments"].tolist(), strict=True
    ):
        summed = buckets.setdefault(key, {})
        summed[bound] = summed.get(bound, 0) + count
    found: dict[tuple[str, ...], float | None] = {}
    for key, summed in buckets.items():
        bounds = sorted(summed)
        cumulative = list(accumulate(summed[bound] for bound in bounds))
        found[key] = percentile(bounds, cumulative, quantile)
    return found


def _medians(starts: pd.DataFrame, group_by: Sequence[str]) -> dict[tuple[str, ...], float | None]:
    seconds: dict[tuple[str, ...], list[float]] = {}
    for key, value in zip(_keys(starts, group_by), starts["seconds"].tolist(), strict=True):
        seconds.setdefault(key, []).append(value)
    return {key: float(pd.Series(values).median()) for key, values in seconds.items()}


def _keys(rows: pd.DataFrame, group_by: Sequence[str]) -> list[tuple[str, ...]]:
    if not group_by:
        return [()] * len(rows)
    columns = [rows[name].tolist() for name in dict.fromkeys(group_by)]
    return list(zip(*columns, strict=True))
