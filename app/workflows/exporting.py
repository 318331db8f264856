"""FOCUS exports: read what a window was charged, and make the columns of either view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection

from app.attribution.contract import Contract
from app.chargeback.billing_periods import BillingPeriod
from app.chargeback.focus_cells import Columns
from app.chargeback.focus_columns import Profile, View, profile, with_own
from app.chargeback.focus_lines import (
    ExportGrain,
    FocusLabels,
    FocusPrice,
    PricedUnit,
    ordered,
    unpriced_table,
    with_rounding,
)
from app.chargeback.focus_split import ORIGIN_KEY, split_columns
from app.chargeback.focus_statement import FocusNames, statement_columns
from app.chargeback.tables import Table
from app.errors import InputError
from app.pricing.commitments import Commitment
from app.pricing.effective import EffectivePrice
from app.pricing.rows import PriceUnit
from app.store.commitments import CommitmentStore
from app.store.contracts import ContractStore
from app.store.costs import CostStore, IncompleteHours
from app.store.focus_rows import FocusStore
from app.store.naming import NameStore
from app.store.periods import PeriodStore
from app.store.prices import PriceStore
from app.store.statement_lines import Affiliations
from app.units.money import NANOS_PER_UNIT
from app.units.window import HOUR_MS, Window
from app.usage.identity import team_id
from app.workflows.bill_splits import bill_origins
from app.workflows.rating import contract_of

# A unit price that no decimal can say exactly is printed to as many digits as the price book keeps.
_PRICE_DECIMALS = 12
_MJ_PER_KILOWATT_HOUR = 3_600_000_000
# More rows than this are asked for in parts: a file of them is some gigabytes.
MOST_DAYS = 367


class ExportWindowError(InputError):
    """A window that is too long for one file."""


class NoBillError(InputError):
    """A split of a bill that nobody imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportQuestion:
    """Which window, in which version of FOCUS, as which view, at which grain.

    ``team`` narrows a statement to one team's rows; '' is all of them.
    """

    window: Window
    spec: str
    view: View
    grain: ExportGrain = ExportGrain.DAY
    team: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusExport:
    """A file's header and columns, and what is said beside it.

    ``unpriced`` is time without money, which no FOCUS file can say. ``hours`` is what the window
    lacks. ``provisional`` says that a row is of a period that is not closed.
    """

    profile: Profile
    columns: Columns
    rows: int
    unpriced: Table
    hours: IncompleteHours
    provisional: bool


def focus_export(
    connection: Connection, question: ExportQuestion, names: FocusNames, *, zone: ZoneInfo
) -> FocusExport:
    """Return the columns of an export; refuse a version of FOCUS that is not written here."""
    chosen = profile(question.spec, question.view)
    if question.window.length_ms > MOST_DAYS * 24 * HOUR_MS:
        message = f"An export covers at most {MOST_DAYS} days."
        raise ExportWindowError(message, hint="Export it in parts.")
    if question.view is View.SPLIT:
        return _split(connection, question, chosen, zone)
    return _statement(connection, question, chosen, names, zone)


def _split(
    connection: Connection, question: ExportQuestion, chosen: Profile, zone: ZoneInfo
) -> FocusExport:
    origins = bill_origins(connection, question.window)
    if not origins.rows:
        message = "No row of a provider's bill begins in the window."
        raise NoBillError(message, hint="Import the bill first: gpuledger bills import.")
    both = with_own(chosen, origins.own)
    columns = split_columns(origins.charges, both)
    periods = _periods(PeriodStore(connection, zone), question.window)
    return FocusExport(
        profile=both,
        columns=columns,
        rows=len(columns[ORIGIN_KEY]),
        unpriced=Table((), ()),
        hours=CostStore(connection, zone).incomplete_hours(question.window),
        provisional=any(not one.is_closed for one in periods),
    )


def _statement(
    connection: Connection,
    question: ExportQuestion,
    chosen: Profile,
    names: FocusNames,
    zone: ZoneInfo,
) -> FocusExport:
    window = question.window
    store = FocusStore(connection, zone)
    periods = _periods(PeriodStore(connection, zone), window)
    found = store.rows(window, question.grain, periods, team=question.team)
    whole = {
        one.start_ms: one.end_ms
        for one in periods
        if one.is_closed and window.start_ms <= one.start_ms and one.end_ms <= window.end_ms
    }
    both = pd.concat([found.lines, found.unpriced], ignore_index=True)
    days = {(0, start_ms) for start_ms in whole}
    labels = _labels(connection, store, both, periods, days, found.priced_at)
    if question.team:
        own = {key: one for key, one in labels.invoices.items() if key[0] == team_id(question.team)}
        labels = replace(labels, invoices=own)
    lines = ordered(with_rounding(found.lines, labels, names.currency, whole))
    return FocusExport(
        profile=chosen,
        columns=statement_columns(lines, labels, names),
        rows=len(lines),
        unpriced=unpriced_table(ordered(found.unpriced), labels),
        hours=CostStore(connection, zone).incomplete_hours(window),
        provisional=any(not one.is_closed for one in periods),
    )


def _periods(store: PeriodStore, window: Window) -> tuple[BillingPeriod, ...]:
    """Return the billing periods that meet the window, in order."""
    found = [store.period_at(window.start_ms)]
    while found[-1].end_ms < window.end_ms:
        found.append(store.period_at(found[-1].end_ms))
    return tuple(found)


def _labels(
    connection: Connection,
    store: FocusStore,
    lines: pd.DataFrame,
    periods: Sequence[BillingPeriod],
    days: set[tuple[int, int]],
    priced_at: Mapping[int, int],
) -> FocusLabels:
    known = NameStore(connection)
    teams = known.teams()
    invoices = store.invoices(periods)
    pairs = lines[["team_id", "day_ms"]].drop_duplicates()
    wanted = {(int(team), int(day)) for team, day in pairs.itertuples(index=False, name=None)}
    # A statement's rounding stands at its period's beginning.
    wanted |= days | set(invoices)
    return FocusLabels(
        teams=teams,
        cost_centers=_cost_centers(connection, store, periods, wanted),
        clusters=known.clusters(),
        nodes=store.nodes(_distinct(lines, "node_id")),
        namespaces=known.namespaces(),
        workloads=store.workloads(_distinct(lines, "workload_id")),
        gpu_models=known.gpu_models(),
        prices=_prices(
            PriceStore(connection), priced_at, CommitmentStore(connection).by_price_ids(priced_at)
        ),
        invoices=invoices,
        reasons=store.reasons(_distinct(lines, "run_id")),
    )


def _distinct(lines: pd.DataFrame, name: str) -> list[int]:
    return [int(one) for one in lines[name].unique() if one]


def _cost_centers(
    connection: Connection,
    store: FocusStore,
    periods: Sequence[BillingPeriod],
    wanted: set[tuple[int, int]],
) -> dict[tuple[int, int], str]:
    """Return each team's cost center at the beginning of the day; nobody's is the platform's.

    Days of a closed period go by the contract that its closing pinned.
    """
    latest = ContractStore(connection).latest()
    versions = {one.start_ms: store.pinned_contract(one) for one in periods if one.is_closed}
    books: dict[int, tuple[Affiliations, Contract]] = {}
    found: dict[tuple[int, int], str] = {}
    for team, day_ms in wanted:
        period = next((one for one in periods if one.start_ms <= day_ms < one.end_ms), None)
        version = versions.get(period.start_ms) if period else None
        number = version if version is not None else (latest.version if latest else 0)
        if number not in books:
            stored = ContractStore(connection).by_version(number)
            contract = contract_of(stored) if stored else Contract()
            books[number] = Affiliations(connection, number, store.zone), contract
        affiliations, contract = books[number]
        platform = contract.platform_at(day_ms)
        payer = team or (team_id(platform.team) if platform else 0)
        found[team, day_ms] = affiliations.at(payer, day_ms).cost_center
    return found


def _prices(
    store: PriceStore, priced_at: Mapping[int, int], committed: Mapping[int, Commitment]
) -> dict[int, FocusPrice]:
    """Return what price identities stand for, as far as the price book still says.

    ``priced_at`` has an instant at which each of them counted.
    """
    inputs = store.inputs()
    known = {
        price_id: FocusPrice(unit_price=Decimal(0), commitment=one.name or one.commitment)
        for price_id, one in committed.items()
    }
    for price_id, at_ms in priced_at.items():
        if not price_id or price_id in known:
            continue
        # All prices of the instant at once: a fleet has few instants and hundreds of prices.
        for book in (inputs.book, inputs.card):
            for price in book.prices_at(at_ms) if book else ():
                known[price.price_id] = _price(price)
        if price_id in known:
            continue
        if (energy := inputs.energy_of(price_id, at_ms)) is not None:
            kilowatt_hour = energy.nanos_per_mj * _MJ_PER_KILOWATT_HOUR / NANOS_PER_UNIT
            known[price_id] = FocusPrice(
                unit_price=_decimal(kilowatt_hour), unit=PricedUnit.KILOWATT_HOUR
            )
        elif (row := store.by_id(price_id)) is not None:
            # A row that was superseded, by which a closed period was charged.
            known[price_id] = _price(EffectivePrice(row=row))
    return known


def _price(price: EffectivePrice) -> FocusPrice:
    listed = price.list_unit_price
    return FocusPrice(
        unit_price=_decimal(price.unit_price),
        list_unit_price=None if listed is None else _decimal(listed),
        unit=_UNITS[price.row.unit],
    )


_UNITS = {PriceUnit.GPU_HOUR: PricedUnit.GPU_HOUR, PriceUnit.NODE_HOUR: PricedUnit.NODE_HOUR}


def _decimal(price: Fraction) -> Decimal:
    """Return a unit price to 12 decimals, which is exact for every price that a file gave."""
    return Decimal(round(price * 10**_PRICE_DECIMALS)).scaleb(-_PRICE_DECIMALS)
