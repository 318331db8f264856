"""Redistribution: a day's first-hand cost taken from who paid it and given to others, exactly.

A step makes debit and credit lines that sum to 0. Steps look at first-hand cost alone: what one
step gave is neither taken nor a weight in another.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from enum import IntEnum
from itertools import pairwise

from app.attribution.days import day_starts
from app.units.identity import hash64
from app.units.money import split
from app.units.window import HOUR_MS, Window, from_ms


class RedistributionStep(IntEnum):
    """The order of the steps, and what a charge's ``step`` says; 0 is first-hand."""

    NOBODY = 1
    PLATFORM = 2
    CONSUMERS = 3


class WeightBasis(IntEnum):
    """What a weight counts; the numbers are what the database stores.

    Nanos, 1 a team, millionths of a percent, tokens in millionths, milliseconds, or a count.
    """

    PROPORTIONAL = 1
    EVEN = 2
    FIXED = 3
    TOKENS = 4
    GPU_SECONDS_HELD = 5
    GPU_SECONDS_ACTIVE = 6
    PODS = 7
    REQUESTS = 8
    PROMPT_TOKENS = 9
    GENERATION_TOKENS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingDay:
    """A day of the billing zone, ``[start_ms, end_ms)``; its borders may lie inside an hour."""

    start_ms: int
    end_ms: int

    @property
    def hours(self) -> Window:
        """The hours that begin in the day: facts by the hour belong to the day they begin in."""
        return Window(from_ms(_hour_from(self.start_ms)), from_ms(_hour_from(self.end_ms)))

    @property
    def touched(self) -> Window:
        """The hours that the day touches."""
        start_ms = self.start_ms // HOUR_MS * HOUR_MS
        return Window(from_ms(start_ms), from_ms(_hour_from(self.end_ms)))


def billing_days(zone: tzinfo, start_ms: int, end_ms: int) -> tuple[BillingDay, ...]:
    """Return the days of the billing zone that meet ``[start_ms, end_ms)``, in order."""
    starts = day_starts(zone, start_ms, end_ms)
    # Days are at most 25 hours long.
    after = day_starts(zone, starts[-1], starts[-1] + 50 * HOUR_MS)[1]
    return tuple(
        BillingDay(start_ms=start, end_ms=end) for start, end in pairwise((*starts, after))
    )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DayCost:
    """What one team was charged first-hand in a day: of one service, or of no workload (0).

    ``kind`` tells the costs of step 1 apart; it is 0 for held time, whatever was done with it.
    """

    cluster_id: int
    workload_id: int
    namespace_id: int
    gpu_model_id: int
    team_id: int
    kind: int = 0
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One receiver of a cost; ``team_id`` None is whoever paid it first-hand.

    ``key`` orders receivers of equal remainders and is unique among those of one cost. ``basis``
    says what was weighed.
    """

    key: tuple[str, ...]
    team_id: int | None
    weight: int
    consumer_id: int = 0
    basis: WeightBasis = WeightBasis.TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class RedistributedLine:
    """A debit (below zero) or a credit; ``debit_id`` is the debit that a credit balances.

    A credit is ``weight`` of ``weight_sum`` of its debit, whose own weight is all of it. ``kind``
    is the charge kind of what is redistributed in step 1, else 0.
    """

    charge_id: int
    debit_id: int
    step: RedistributionStep
    cluster_id: int
    workload_id: int
    namespace_id: int
    gpu_model_id: int
    team_id: int
    consumer_id: int
    nanos: int
    kind: int
    basis: WeightBasis
    weight: int
    weight_sum: int


def redistribute(
    step: RedistributionStep,
    day: BillingDay,
    costs: Iterable[DayCost],
    shares_of: Callable[[DayCost], Sequence[Share]],
) -> tuple[RedistributedLine, ...]:
    """Return the lines of a step: each cost debited whole, and credited by its shares' weights.

    A cost of 0 and one without any weight stay where they are. Debit and credits of one cost sum
    to 0, a receiver with weight 0 has no line; lines come in the order of the costs.
    """
    lines: list[RedistributedLine] = []
    for cost in sorted(costs):
        shares = [share for share in shares_of(cost) if share.weight]
        if not cost.nanos or not shares:
            continue
        parts = split(
            cost.nanos, [share.weight for share in shares], [share.key for share in shares]
        )
        made = _balanced(step, day, cost, list(zip(shares, parts, strict=True)))
        if sum(line.nanos for line in made):
            message = f"The lines of {cost} do not sum to 0."
            raise AssertionError(message)
        lines += made
    return tuple(lines)


def _balanced(
    step: RedistributionStep, day: BillingDay, cost: DayCost, parts: list[tuple[Share, int]]
) -> list[RedistributedLine]:
    debit_id = _identity(step, day, cost)
    weight_sum = sum(share.weight for share, _ in parts)
    debit = RedistributedLine(
        charge_id=debit_id,
        debit_id=debit_id,
        step=step,
        cluster_id=cost.cluster_id,
        workload_id=cost.workload_id,
        namespace_id=cost.namespace_id,
        gpu_model_id=cost.gpu_model_id,
        team_id=cost.team_id,
        consumer_id=0,
        nanos=-cost.nanos,
        kind=cost.kind,
        basis=parts[0][0].basis,
        weight=weight_sum,
        weight_sum=weight_sum,
    )
    given = [
        replace(
            debit,
            charge_id=_identity(step, day, cost, *share.key),
            team_id=cost.team_id if share.team_id is None else share.team_id,
            consumer_id=share.consumer_id,
            nanos=nanos,
            weight=share.weight,
        )
        for share, nanos in sorted(parts, key=lambda part: part[0].key)
    ]
    return [debit, *given]


def _identity(step: RedistributionStep, day: BillingDay, cost: DayCost, *receiver: str) -> int:
    """Return a line's identity: neither amounts nor the receiver's team are in it."""
    numbers = (
        int(step),
        day.start_ms,
        cost.cluster_id,
        cost.workload_id,
        cost.namespace_id,
        cost.gpu_model_id,
        cost.team_id,
        *([cost.kind] if cost.kind else []),
    )
    return hash64("redistributed", *map(str, numbers), *receiver)


def _hour_from(at_ms: int) -> int:
    """Return the first whole hour that does not begin before an instant."""
    return -(-at_ms // HOUR_MS) * HOUR_MS
