"""A ledger that walks every millisecond: slow, plain, and without a line of the real one."""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from app.pricing.rows import PriceRow, PriceUnit
from tests.attribution.fleets import AFleet, APool, Span


@dataclass(frozen=True)
class Line:
    """Who is charged for what: a pod's held time, or a state of a node's devices."""

    node: str
    subject: str
    team: str
    priced: bool


@dataclass
class Amount:
    ms: int = 0
    cost: Fraction = Fraction(0)


def walk(
    fleet: AFleet,
    prices: tuple[PriceRow, ...],
    owners: dict[str, tuple[tuple[int, str], ...]],
    payer: str,
    window: Span,
) -> dict[Line, Amount]:
    """Return device-milliseconds and exact nanos of every line of nodes with one GPU model.

    ``owners`` gives for a namespace from which instant on which team owns it.
    """
    start, end = window
    clock = np.arange(start, end)
    ledger: dict[Line, Amount] = defaultdict(Amount)
    gap = _inside(clock, fleet.unobserved)
    for pool in fleet.pools:
        alive = (clock >= pool.start) & (clock < pool.end)
        rate_of = np.full(len(clock), -1)
        for number, row in enumerate(prices):
            fits = row.instance_type == pool.instance_type
            if fits:
                rate_of[(clock >= row.valid_from_ms) & (clock < row.valid_to_ms)] = number
        free = np.where(alive, pool.devices, 0)
        for hold in fleet.holds:
            if hold.node != pool.node:
                continue
            holding = alive & (clock >= hold.start) & (clock < hold.end)
            free = free - holding * hold.gpus
            team_of = np.full(len(clock), -1)
            for number, (since, _) in enumerate(owners[hold.namespace]):
                team_of[clock >= since] = number
            for number, (_, team) in enumerate(owners[hold.namespace]):
                mine = holding & (team_of == number)
                _book(ledger, pool, hold.pod, team, mine * hold.gpus, rate_of, prices)
        stranded = np.clip(pool.devices - pool.may_be_held, 0, free)
        states = {
            "UNOBSERVED": np.where(gap, free, 0),
            "STRANDED": np.where(gap, 0, stranded),
            "UNALLOCATED": np.where(gap, 0, free - stranded),
        }
        for state, devices in states.items():
            _book(ledger, pool, state, payer, devices, rate_of, prices)
    return {line: amount for line, amount in ledger.items() if amount.ms}


def _book(
    ledger: dict[Line, Amount],
    pool: APool,
    subject: str,
    team: str,
    devices: np.ndarray,
    rate_of: np.ndarray,
    prices: tuple[PriceRow, ...],
) -> None:
    for number in np.unique(rate_of):
        ms = int(devices[rate_of == number].sum())
        line = ledger[Line(pool.node, subject, team, bool(number >= 0))]
        line.ms += ms
        if number >= 0:
            line.cost += ms * _nanos(prices[number], pool)


def _nanos(row: PriceRow, pool: APool) -> Fraction:
    hourly = Fraction(row.price)
    if row.unit is PriceUnit.NODE_HOUR:
        hourly /= pool.devices
    return hourly * 10**9 / 3_600_000


def _inside(clock: np.ndarray, spans: tuple[Span, ...]) -> np.ndarray:
    covered = np.zeros(len(clock), dtype=bool)
    for first, last in spans:
        covered |= (clock >= first) & (clock < last)
    return covered
