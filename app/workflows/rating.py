"""Price and attribute collected hours: read facts and inputs, rate a day at a time, replace."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import tzinfo

from sqlalchemy import Connection, Engine

from app.attribution.contract import Contract
from app.attribution.owners import Ownership
from app.attribution.rating import Rated, RatingInput, rate
from app.pricing.book import PriceBook
from app.sources.team_contract import read_team_contract
from app.store.charges import ChargeStore
from app.store.contracts import ContractStore
from app.store.holds import HoldStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.prices import PriceStore
from app.store.usage import UsageStore
from app.store.windows import RatingVersions, WindowState, WindowStore
from app.units.window import HOUR_MS, Window
from app.usage.models import ModelEntry
from app.workflows.redistributing import mark_days, redistribute_days

# Raised by one when the same facts and inputs would give other charges.
RATING_VERSION = 1
# Hours rated in one transaction: a day, so that the rollup's days are written once.
_HOURS_AT_ONCE = 24
_DAY_MS = 24 * HOUR_MS

# What rating reads of a hold's row.
_HOLD_COLUMNS = (
    "window_start_ms",
    "node_id",
    "gpu_model_id",
    "hold_id",
    "workload_id",
    "start_ms",
    "end_ms",
    "share_num",
    "share_den",
    "compute_num",
    "compute_den",
    "units",
    "sharing",
    "held_ms",
    "active_ms",
    "idle_ms",
    "unmeasured_ms",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """By what charges are made: the price book, the owners, and their versions."""

    prices: PriceBook
    contract: Contract
    versions: RatingVersions


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCounts:
    """What a rating did."""

    hours: int
    charges: int


def rate_window(
    cluster: str,
    window: Window,
    *,
    engine: Engine,
    billing_zone: tzinfo,
    models: Sequence[ModelEntry] = (),
    progress: Callable[[int], None] = lambda _hours: None,
) -> RateCounts:
    """Rate the collected hours of ``window``; hours that were never collected are left out.

    At the end the days that wait for it are redistributed over all clusters; ``models`` are the
    names by which gateways' tokens find their services.

    Each day is written in one transaction: a crash leaves the old charges of a day or the new ones.
    While the database takes in one day, the next is computed.
    """
    hours = charges = 0
    with engine.connect() as connection:
        states = WindowStore(connection, cluster).within(window)
    terms: Terms | None = None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="rating") as writer:
        coming: list[Future[RateCounts]] = []
        for day in (*_days(states), ()):
            fresh = _rate_day(engine, cluster, day, billing_zone, terms) if day else None
            for written in (future.result() for future in coming):
                hours, charges = hours + written.hours, charges + written.charges
                progress(written.hours)
            if fresh is None:
                break
            terms = fresh.terms
            coming = [writer.submit(_write_day, engine, cluster, fresh, billing_zone)]
    contract = terms.contract if terms else current_terms_of(engine).contract
    redistribute_days(contract, engine=engine, billing_zone=billing_zone, models=models)
    return RateCounts(hours=hours, charges=charges)


def current_terms_of(engine: Engine) -> Terms:
    """Return the latest prices and contract."""
    with engine.connect() as connection:
        return current_terms(connection)


def current_terms(connection: Connection, known: Terms | None = None) -> Terms:
    """Return the latest prices and contract; ``known`` itself if they are still the latest."""
    prices = PriceStore(connection)
    stored = ContractStore(connection).latest()
    versions = RatingVersions(
        rating=RATING_VERSION,
        prices=prices.version(),
        contract=stored.version if stored else 0,
    )
    if known is not None and known.versions == versions:
        return known
    return Terms(
        prices=PriceBook(prices.rows()),
        contract=contract_of(stored.text, stored.file_name) if stored else Contract(),
        versions=versions,
    )


def contract_of(text: str, file_name: str) -> Contract:
    """Return the contract that was applied as ``text``."""
    return read_team_contract(text, filename=file_name)


def rated(
    connection: Connection, cluster: str, window: Window, terms: Terms, billing_zone: tzinfo
) -> Rated:
    """Return the charges of the stored facts by ``terms``, without storing them."""
    usage = UsageStore(connection, cluster)
    pool_usage = usage.pool_usage(window)
    hold_usage = usage.hold_usage(window, _HOLD_COLUMNS)
    ownership = Ownership(terms.contract)
    return rate(
        RatingInput(
            cluster=cluster,
            pool_usage=pool_usage,
            hold_usage=hold_usage,
            nodes=InventoryStore(connection, cluster).nodes(),
            gpu_models=NameStore(connection).gpu_models(),
            holds=HoldStore(connection, cluster).owners(
                hold_usage["hold_id"].unique().tolist(), ownership.label_names
            ),
            price_book=terms.prices,
            ownership=ownership,
            billing_zone=billing_zone,
        )
    )


def days_of(states: Sequence[WindowState]) -> Iterator[Window]:
    """Return spans of at most a UTC day that cover the given hours."""
    for day in _days(states):
        yield Window(day[0].window.start, day[-1].window.end)


@dataclass(frozen=True, slots=True)
class _Day:
    """A day's charges, and what they were made from."""

    window: Window
    states: tuple[WindowState, ...]
    terms: Terms
    result: Rated


def _rate_day(
    engine: Engine,
    cluster: str,
    states: Sequence[WindowState],
    billing_zone: tzinfo,
    known: Terms | None,
) -> _Day:
    window = Window(states[0].window.start, states[-1].window.end)
    with engine.connect() as connection:
        # Another worker may have rated or collected meanwhile. What is marked as rated is what is
        # read here, before the facts: whatever comes in later leaves the hour waiting for a rating.
        fresh = WindowStore(connection, cluster).within(window)
        terms = current_terms(connection, known)
        result = rated(connection, cluster, window, terms, billing_zone)
    return _Day(window, fresh, terms, result)


def _write_day(engine: Engine, cluster: str, day: _Day, billing_zone: tzinfo) -> RateCounts:
    window, result, contract = day.window, day.result, day.terms.contract
    with engine.begin() as connection:
        count = ChargeStore(connection, cluster, billing_zone).replace(window, result.charges)
        # After the days are locked: whoever redistributes them names teams in that order as well.
        centers = _cost_centers(result.teams, contract, window.end_ms)
        NameStore(connection).ensure_teams(centers)
        mark_days(connection, window, contract, billing_zone)
        store = WindowStore(connection, cluster)
        store.mark_rated(day.states, day.terms.versions)
        store.put_rating_notes(window, result.notes)
    return RateCounts(hours=len(day.states), charges=count)


def _cost_centers(teams: Sequence[str], contract: Contract, at_ms: int) -> dict[str, str]:
    blocks = {name: contract.team_at(name, at_ms - 1) for name in teams}
    return {name: block.cost_center if block else "" for name, block in blocks.items()}


def _days(states: Sequence[WindowState]) -> Iterator[tuple[WindowState, ...]]:
    day: list[WindowState] = []
    for state in states:
        if day and (
            state.window.start_ms // _DAY_MS != day[0].window.start_ms // _DAY_MS
            or len(day) == _HOURS_AT_ONCE
        ):
            yield tuple(day)
            day = []
        day.append(state)
    if day:
        yield tuple(day)
