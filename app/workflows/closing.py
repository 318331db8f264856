"""Close a billing period: pin its inputs, write its statements, freeze its charges, at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from app.chargeback.billing_periods import BillingPeriod
from app.chargeback.closing import (
    Accepted,
    AcceptLine,
    Obstacle,
    ObstaclesError,
    accepted_of,
    in_order,
)
from app.chargeback.rounding import round_half_even
from app.chargeback.statement_making import make_statements
from app.chargeback.statements import (
    PeriodHeader,
    Pinned,
    PriceText,
    Statement,
)
from app.pricing.inputs import PriceInputs
from app.store.contracts import ContractStore
from app.store.locking import PeriodStateError, ensure_partitions, hold_periods
from app.store.obstacles import obstacles
from app.store.periods import PeriodStore
from app.store.prices import PriceStore
from app.store.statement_lines import Affiliations, PeriodLines, period_lines
from app.store.statements import StatementStore
from app.units.money import NANOS_PER_UNIT
from app.workflows.rating import RATING_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseOrder:
    """Which period is to be closed by whom, and what of the obstacles is accepted."""

    period: str
    author: str
    at_ms: int
    accept: tuple[AcceptLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingTerms:
    """What the statements say of the deployment; ``settings`` are those that rating depends on."""

    zone: ZoneInfo
    currency: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A closing, or what one would come to: its obstacles that are left keep it from happening."""

    period: BillingPeriod
    version: int
    statements: tuple[Statement, ...]
    accepted: tuple[Accepted, ...]
    obstacles: tuple[Obstacle, ...]


def close_period(order: CloseOrder, terms: BillingTerms, *, engine: Engine) -> Closed:
    """Close the period in one transaction; a crash leaves it open or closed.

    Raises `ObstaclesError` while anything is in the way that is not accepted, `PeriodStateError` if
    somebody else closed it meanwhile.
    """
    with engine.begin() as connection:
        # In a transaction of its own: a month whose partitions do not exist could not have any
        # once its period is closed.
        period = PeriodStore(connection, terms.zone).by_name(order.period)
        ensure_partitions(connection, period.window())
    with engine.begin() as connection:
        return close_in(connection, order, terms)


def close_in(connection: Connection, order: CloseOrder, terms: BillingTerms) -> Closed:
    """Close the period in the caller's transaction, as `close_period` does."""
    hold_periods(connection)
    closed, header, lines = _prepared(connection, order, terms)
    if closed.obstacles:
        raise ObstaclesError(order.period, closed.obstacles)
    periods = PeriodStore(connection, terms.zone)
    if closed.period.version == 0:
        periods.define([closed.period], author=order.author, at_ms=order.at_ms)
    StatementStore(connection).put(
        header,
        closed.period,
        closed.statements,
        charges_nanos=_sum(lines.lines["cost_nanos"]),
        adjustments_nanos=_sum(lines.adjustments["cost_nanos"]),
    )
    periods.close(order.period, closed.version, author=order.author, at_ms=order.at_ms)
    return closed


def preview(order: CloseOrder, terms: BillingTerms, *, engine: Engine) -> Closed:
    """Return what closing would come to, and what is in its way; nothing is stored."""
    with engine.connect() as connection:
        closed, _, _ = _prepared(connection, order, terms)
    return closed


def obstacles_of(
    connection: Connection, order: CloseOrder, terms: BillingTerms
) -> tuple[Obstacle, ...]:
    """Return what is in the way of an order."""
    return _prepared(connection, order, terms)[0].obstacles


def _prepared(
    connection: Connection, order: CloseOrder, terms: BillingTerms
) -> tuple[Closed, PeriodHeader, PeriodLines]:
    periods = PeriodStore(connection, terms.zone)
    period = periods.by_name(order.period)
    if period.is_closed:
        message = f"The billing period {period.name} is closed, as version {period.version}."
        raise PeriodStateError(message)
    contract = ContractStore(connection).latest()
    prices = PriceStore(connection)
    price_version, contract_version = prices.version(), contract.version if contract else 0
    affiliations = Affiliations(connection, contract_version, terms.zone)
    lines = period_lines(connection, period, affiliations, terms.zone)
    found = in_order(
        obstacles(
            connection,
            period,
            lines.lines,
            stored=periods.all(),
            at_ms=order.at_ms,
            currency=terms.currency,
        )
    )
    accepted, found = accepted_of(order.accept, found)
    windows, digest = StatementStore(connection).pins_of(period)
    header = PeriodHeader(
        period=period.name,
        version=period.version + 1,
        start_ms=period.start_ms,
        end_ms=period.end_ms,
        closed_ms=order.at_ms,
        author=order.author,
        zone=terms.zone.key,
        currency=terms.currency,
        pinned=Pinned(
            prices=price_version,
            contract=contract_version,
            rating=RATING_VERSION,
            windows=windows,
            windows_sha256=digest,
            settings=terms.settings,
        ),
        accepted=accepted,
    )
    statements = make_statements(
        header,
        lines.lines,
        lines.adjustments,
        teams=affiliations.headers(period.end_ms - 1),
        prices=_price_texts(prices.inputs(price_version), lines.priced_at),
        told_before={one.team for one in StatementStore(connection).heads(period=period.name)},
    )
    closed = Closed(
        period=period,
        version=header.version,
        statements=statements,
        accepted=accepted,
        obstacles=found,
    )
    return closed, header, lines


def _price_texts(inputs: PriceInputs, priced_at: Mapping[int, int]) -> dict[int, PriceText]:
    """Return the prices that lines name, as far as the inputs know them."""
    texts: dict[int, PriceText] = {}
    for price_id, at_ms in priced_at.items():
        price = inputs.price_of(price_id, at_ms)
        if price is not None:
            nanos = price.unit_price * NANOS_PER_UNIT
            texts[price_id] = PriceText(
                unit=price.row.unit.value,
                price=price.row.price,
                currency=price.row.currency,
                effective=Decimal(round_half_even(nanos.numerator, nanos.denominator)).scaleb(-9),
                source=price.row.source,
            )
    return texts


def _sum(nanos: Iterable[int]) -> int:
    return sum(int(one) for one in nanos)
