"""A second account of what a company is charged: step by step of time, in exact fractions.

It looks at every step of time by itself and knows what the documents say. Values of the product
are read as data; none of its functions is called.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import floor

from app.pricing.commitments import AllotmentRule, Commitment, CommitmentKind, CommitmentUnit
from app.pricing.rows import PriceRow, PriceUnit
from app.pricing.terms import PriceTerm, TermKind
from tests.attribution.finance_company import CLUSTERS, STEPS, Company
from tests.attribution.fleets import TEN, APool

HOUR = 3_600_000
NANOS = 10**9
MJ_PER_KWH = 3_600_000_000
_ORDER = (
    CommitmentKind.CAPACITY_BLOCK,
    CommitmentKind.RESERVATION,
    CommitmentKind.COMMITTED_USE,
    CommitmentKind.SAVINGS_PLAN,
)


@dataclass(frozen=True, order=True)
class Line:
    """Who is charged for what: a pod's or nobody's time on a node, by the source of its price."""

    cluster: str
    node: str
    subject: str
    kind: str
    team: str
    second_day: bool
    source: str


@dataclass
class Amount:
    ms: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    # What the dearest millisecond in it costs.
    dearest: Fraction = Fraction(0)


@dataclass
class Cell:
    """One step of time of one pool: what is there, and how much of it nothing covers yet."""

    cluster: str
    pool: APool
    start: int
    end: int
    price: Fraction | None
    pieces: tuple[tuple[str, str, str, Fraction], ...]
    left: Fraction = Fraction(1)

    @property
    def ms(self) -> int:
        return self.pool.devices * (self.end - self.start)


@dataclass
class Account:
    """All lines, what each commitment's hour costs and what of it is used."""

    lines: dict[Line, Amount] = field(default_factory=lambda: defaultdict(Amount))
    costs: dict[str, int] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)


def walk(company: Company) -> Account:
    """Return what everyone is charged."""
    account = Account()
    cells = list(_cells(company))
    covered = _cover(company, cells, account)
    for number, cell in enumerate(cells):
        _charge(company, account, cell, covered.get(number, {}))
    return account


def _cells(company: Company) -> Iterator[Cell]:
    end = TEN + STEPS * company.step_ms
    ticks = {TEN + step * company.step_ms for step in range(STEPS + 1)}
    edges = sorted(ticks | ({company.midnight_ms} if TEN < company.midnight_ms < end else set()))
    for cluster in CLUSTERS:
        for pool in company.fleets[cluster].pools:
            for start, finish in pairwise(edges):
                if pool.start <= start < pool.end:
                    price = _price(company, company.prices, cluster, pool, start, terms=True)
                    pieces = tuple(_pieces(company, cluster, pool, start, finish))
                    yield Cell(cluster, pool, start, finish, price, pieces)


def _pieces(
    company: Company, cluster: str, pool: APool, start: int, end: int
) -> Iterator[tuple[str, str, str, Fraction]]:
    """Yield subject, kind, team and device-milliseconds."""
    fleet, free = company.fleets[cluster], pool.devices
    for hold in fleet.holds:
        if hold.node != pool.node or not hold.start <= start < hold.end:
            continue
        free -= hold.gpus
        length = hold.end - hold.start
        used = Fraction(_within(hold.active, hold.start, hold.end), length)
        unknown = Fraction(_within(hold.unmeasured, hold.start, hold.end), length)
        team = _owner(company, cluster, hold.namespace, start)
        for kind, part in (("USED", used), ("IDLE", 1 - used - unknown), ("UNMEASURED", unknown)):
            if part:
                yield hold.pod, kind, team, hold.gpus * (end - start) * part
    if any(first <= start < last for first, last in fleet.unobserved):
        states = {"UNOBSERVED": free}
    else:
        stranded = min(pool.devices - pool.may_be_held, free)
        states = {"STRANDED": stranded, "UNALLOCATED": free - stranded}
    for kind, devices in states.items():
        if devices:
            yield "", kind, "platform", Fraction(devices * (end - start))


def _owner(company: Company, cluster: str, namespace: str, at: int) -> str:
    if namespace == "monitoring":
        return "platform"
    if namespace != "search-prod":
        return "unowned"
    if cluster == "us":
        return "lab"
    return "ads" if at >= company.handover_ms else "search"


def _within(spans: tuple[tuple[int, int], ...], low: int, high: int) -> int:
    return sum(max(0, min(last, high) - max(first, low)) for first, last in spans)


def _price(
    company: Company,
    rows: tuple[PriceRow, ...],
    cluster: str,
    pool: APool,
    at: int,
    *,
    terms: bool,
) -> Fraction | None:
    """Return nanos for a device-millisecond."""
    fitting = [
        one
        for one in rows
        if one.valid_from_ms <= at < one.valid_to_ms and _fits(one, cluster, pool)
    ]
    if not fitting:
        return None
    row = max(fitting, key=_closeness)
    price = Fraction(row.price)
    if row.currency == "EUR":
        rate = [one.rate for one in company.rates if one.valid_from_ms <= at < one.valid_to_ms]
        if not rate:
            return None
        price *= Fraction(rate[0])
    if row.unit is PriceUnit.NODE_HOUR:
        price /= pool.devices
    if terms:
        price *= _factor(company, cluster, pool, at)
    return price * NANOS / HOUR


def _factor(company: Company, cluster: str, pool: APool, at: int) -> Fraction:
    factor = Fraction(1)
    for kind, sign in ((TermKind.DISCOUNT, -1), (TermKind.MARKUP, 1)):
        fitting = [
            one
            for one in company.terms
            if one.kind is kind
            and one.valid_from_ms <= at < one.valid_to_ms
            and _fits(one, cluster, pool)
        ]
        if fitting:
            factor *= 1 + sign * Fraction(max(fitting, key=_closeness).percent) / 100
    return factor


def _fits(one: PriceRow | PriceTerm, cluster: str, pool: APool) -> bool:
    return (
        one.node in ("", pool.node)
        and one.instance_type in ("", pool.instance_type)
        and one.cluster in ("", cluster)
    )


def _closeness(one: PriceRow | PriceTerm) -> tuple[bool, bool, bool]:
    return bool(one.node), bool(one.instance_type), bool(one.cluster)


def _cover(
    company: Company, cells: list[Cell], account: Account
) -> dict[int, dict[str, tuple[Fraction, Fraction]]]:
    """Return by cell and commitment the covered part of the cell, and its nanos."""
    covered: dict[int, dict[str, tuple[Fraction, Fraction]]] = defaultdict(dict)
    for one in sorted(company.commitments, key=_turn):
        length = _inside(one, TEN)
        if not length:
            continue
        name = one.commitment
        account.costs[name] = hour_cost(one, TEN)
        promised = Fraction(one.quantity) * length
        if one.unit is CommitmentUnit.SPEND_HOUR:
            promised *= Fraction(NANOS, HOUR)
        asked = [
            number
            for number, cell in enumerate(cells)
            if one.term_start_ms <= cell.start < one.term_end_ms
            and cell.left
            and cell.cluster in (one.clusters or CLUSTERS)
            and one.gpu_model in ("", cell.pool.gpu_model)
            and (cell.price is not None or one.unit is not CommitmentUnit.SPEND_HOUR)
        ]
        weight = {number: _weight(one, cells[number]) for number in asked}
        groups = [asked]
        if one.allotment is AllotmentRule.PRIORITY:
            turns = one.clusters or CLUSTERS
            groups = [[n for n in asked if cells[n].cluster == cluster] for cluster in turns]
        used, taken = Fraction(0), {}
        for group in groups:
            whole = sum(weight[number] for number in group)
            part = min(Fraction(1), (promised - used) / whole) if whole else Fraction(0)
            # Whatever is less than a millisecond of all of them is nothing.
            if floor(part * sum(cells[number].ms * cells[number].left for number in group)):
                used += part * whole
                taken |= dict.fromkeys(group, part)
        account.used[name] = round(account.costs[name] * used / promised)
        whole = sum(weight[number] * part for number, part in taken.items())
        for number, part in taken.items():
            money = account.used[name] * weight[number] * part / whole if whole else Fraction(0)
            covered[number][name] = (cells[number].left * part, money)
            cells[number].left *= 1 - part
    return covered


def _turn(one: Commitment) -> tuple[int, bool, bool, str]:
    return _ORDER.index(one.kind), not one.gpu_model, not one.clusters, one.commitment


def _inside(one: Commitment, hour: int) -> int:
    return max(0, min(hour + HOUR, one.term_end_ms) - max(hour, one.term_start_ms))


def _weight(one: Commitment, cell: Cell) -> Fraction:
    """Return what a cell's uncovered time uses of the promise, in its unit."""
    ms = cell.ms * cell.left
    if one.unit is CommitmentUnit.GPU_HOUR:
        return ms
    if one.unit is CommitmentUnit.NODE_HOUR:
        return ms / cell.pool.devices
    return ms * (cell.price or 0) * (1 - Fraction(one.discount_ratio))


def hour_cost(one: Commitment, hour: int) -> int:
    """Return what an hour of the term costs: its part of the upfront, and the recurring price."""
    hours = list(range(one.term_start_ms // HOUR * HOUR, one.term_end_ms, HOUR))
    total, term = int(one.upfront * NANOS), one.term_end_ms - one.term_start_ms
    parts = [divmod(total * _inside(one, each), term) for each in hours]
    first = sorted(range(len(hours)), key=lambda number: (-parts[number][1], number))
    extra = set(first[: total - sum(whole for whole, _ in parts)])
    place = hours.index(hour)
    recurring = Fraction(one.recurring_per_hour) * NANOS * _inside(one, hour) / HOUR
    return parts[place][0] + (place in extra) + round(recurring)


def _charge(
    company: Company,
    account: Account,
    cell: Cell,
    covered: Mapping[str, tuple[Fraction, Fraction]],
) -> None:
    """Book a cell's lines at actual prices or, where the card counts, at the card's."""
    day = cell.start >= company.midnight_ms
    carded = _is_carded(company, cell)
    actual = Fraction(0)
    for subject, kind, team, ms in cell.pieces:
        who, rest = (subject, kind, team, day), ms * cell.left
        parts = [("energy", Fraction(0), _energy(company, cell, subject, ms))]
        source = "unpriced" if cell.price is None else "price"
        parts.append((source, rest, rest * (cell.price or 0)))
        for name, (part, money) in covered.items():
            parts.append((name, ms * part, money * ms / cell.ms))
        for source, time, cost in parts:
            actual += cost
            if not carded and (time or cost):
                _book(account, cell, who, source, time, cost, of_ms=ms)
    if not carded:
        return
    price = _price(company, company.card, cell.cluster, cell.pool, cell.start, terms=False)
    for subject, kind, team, ms in cell.pieces:
        source = "unpriced" if price is None else "price"
        _book(account, cell, (subject, kind, team, day), source, ms, ms * (price or 0), of_ms=ms)
    variance = actual - cell.ms * (price or 0)
    nobody = ("", "ADJUSTMENT", "platform", day)
    _book(account, cell, nobody, "variance", Fraction(0), variance, of_ms=Fraction(1))


def _book(
    account: Account,
    cell: Cell,
    who: tuple[str, str, str, bool],
    source: str,
    ms: Fraction,
    cost: Fraction,
    *,
    of_ms: Fraction,
) -> None:
    line = account.lines[Line(cell.cluster, cell.pool.node, *who, source)]
    line.ms += ms
    line.cost += cost
    # Covered time may be a small part of the piece whose milliseconds are divided.
    line.dearest = max(line.dearest, abs(cost) / (ms or of_ms))


def _is_carded(company: Company, cell: Cell) -> bool:
    counting = [
        one
        for one in company.policies
        if one.valid_from_ms <= cell.start < one.valid_to_ms
        and (not one.clusters or cell.cluster in one.clusters)
    ]
    return max(counting, key=lambda one: len(one.clusters)).rating.value == "rate_card"


def _energy(company: Company, cell: Cell, subject: str, ms: Fraction) -> Fraction:
    """Return what the energy of some device-milliseconds costs: measured, else as rated."""
    tariff = [
        one
        for one in company.tariffs
        if one.valid_from_ms <= cell.start < one.valid_to_ms
        and one.instance_type == cell.pool.instance_type
    ]
    if not tariff:
        return Fraction(0)
    one = tariff[0]
    mj = Fraction(one.rated_board_kw) * 1000 * ms
    if subject in company.energy_mj:
        hold = next(h for h in company.fleets[cell.cluster].holds if h.pod == subject)
        mj = company.energy_mj[subject] * ms / (hold.gpus * (hold.end - hold.start))
    per_mj = Fraction(one.price_per_kwh) * Fraction(one.pue) * NANOS / MJ_PER_KWH
    return mj * per_mj * _factor(company, cell.cluster, cell.pool, cell.start)
