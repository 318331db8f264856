"""Lines of money without time: unused commitments and credits, by billing day."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import pairwise

import numpy as np
import pandas as pd

from app.attribution.charges import CHARGES, ChargeKind, LineStep
from app.attribution.contract import Contract
from app.attribution.days import day_starts
from app.attribution.redistribution import BillingDay
from app.pricing.commitments import Commitment
from app.pricing.credits import Credit
from app.units.identity import mix64
from app.units.money import split
from app.units.window import HOUR_MS
from app.usage.identity import team_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyLine:
    """A charge of money only. ``cluster_id`` is 0 where no single cluster has it.

    It stands in the hour ``window_ms``; ``start_ms`` says to which billing day it belongs.
    """

    cluster_id: int
    window_ms: int
    start_ms: int
    end_ms: int
    team: str
    kind: ChargeKind
    price_id: int
    step: LineStep
    nanos: int


def unused_lines(
    hours: pd.DataFrame,
    commitments: Mapping[int, Commitment],
    contract: Contract,
    billing_zone: tzinfo,
    *,
    cluster_id: int,
) -> tuple[MoneyLine, ...]:
    """Return what each commitment's hours cost beyond what was used, as lines of their hours.

    ``hours`` are `COMMITMENT_HOURS`, ``commitments`` by price id. The commitment's payer has them,
    else the platform team. Where a billing day ends inside an hour its nanos are split by time.
    """
    lines: list[MoneyLine] = []
    columns = ("window_start_ms", "price_id", "cost_nanos", "used_nanos")
    for window_ms, price_id, cost, used in hours[[*columns]].to_numpy().tolist():
        commitment = commitments[price_id]
        low = max(window_ms, commitment.term_start_ms)
        high = min(window_ms + HOUR_MS, commitment.term_end_ms)
        if cost == used or low >= high:
            continue
        inside = [at for at in day_starts(billing_zone, low, high) if low < at < high]
        edges = [low, *inside, high]
        spans = list(pairwise(edges))
        parts = split(cost - used, [end - start for start, end in spans], spans)
        lines += [
            MoneyLine(
                cluster_id=cluster_id,
                window_ms=window_ms,
                start_ms=start,
                end_ms=end,
                team=commitment.payer or _platform(contract, start),
                kind=ChargeKind.COMMITMENT_UNUSED,
                price_id=price_id,
                step=LineStep.COMMITMENT,
                nanos=nanos,
            )
            for (start, end), nanos in zip(spans, parts, strict=True)
            if nanos
        ]
    return tuple(lines)


def credit_lines(
    credits_: Iterable[Credit], days: Sequence[BillingDay], contract: Contract
) -> tuple[MoneyLine, ...]:
    """Return what credits give back on each day, as negative lines of its first whole hour.

    A credit grows evenly over its span, rounded down to a nano, so that its days sum to it.
    """
    return tuple(
        MoneyLine(
            cluster_id=0,
            window_ms=day.hours.start_ms,
            start_ms=day.hours.start_ms,
            end_ms=day.end_ms,
            team=one.team or _platform(contract, day.start_ms),
            kind=ChargeKind.ADJUSTMENT,
            price_id=one.credit_id,
            step=LineStep.CREDIT,
            nanos=-nanos,
        )
        for day in days
        for one in credits_
        if (nanos := given_nanos(one, day.end_ms) - given_nanos(one, day.start_ms))
    )


def money_charges(lines: Sequence[MoneyLine]) -> pd.DataFrame:
    """Return lines as a frame of `CHARGES` with a column ``cluster_id``, which is part of ids."""
    columns = {
        "cluster_id": _ints([one.cluster_id for one in lines]),
        "window_start_ms": _ints([one.window_ms for one in lines]),
        "team_id": _ints([team_id(one.team) for one in lines]),
        "kind": _ints([int(one.kind) for one in lines]),
        "price_id": _ints([one.price_id for one in lines]),
        "step": _ints([int(one.step) for one in lines]),
        "start_ms": _ints([one.start_ms for one in lines]),
        "end_ms": _ints([one.end_ms for one in lines]),
        "cost_nanos": _ints([one.nanos for one in lines]),
    }
    names = ("cluster_id", "window_start_ms", "kind", "team_id", "price_id", "step", "start_ms")
    zeros = dict.fromkeys(CHARGES.columns.keys() - columns.keys() - {"priced"}, 0)
    frame = pd.DataFrame({**columns, "priced": np.ones(len(lines), dtype=bool)}).assign(**zeros)
    frame["charge_id"] = mix64(*(columns[name] for name in names))[: len(lines)]
    # Credits of one name and day that a person gave twice to one team are one line each.
    assert frame["charge_id"].is_unique
    ordered: pd.DataFrame = frame[["cluster_id", *CHARGES.columns]]
    return ordered


def given_nanos(one: Credit, at_ms: int) -> int:
    """Return how much of a credit was given by an instant."""
    inside = min(max(at_ms, one.valid_from_ms), one.valid_to_ms) - one.valid_from_ms
    return one.nanos * inside // (one.valid_to_ms - one.valid_from_ms)


def _platform(contract: Contract, at_ms: int) -> str:
    platform = contract.platform_at(at_ms)
    return platform.team if platform else ""


def _ints(values: list[int]) -> "np.typing.NDArray[np.int64]":
    return np.array(values, dtype=np.int64)
