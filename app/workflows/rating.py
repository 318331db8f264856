"""Price and attribute collected hours: read facts and inputs, rate a day at a time, replace."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection, Engine

from app.attribution.contract import Contract
from app.attribution.owners import Ownership
from app.attribution.rating import Rated, RatingInput, rate
from app.pricing.book import PriceBook
from app.pricing.inputs import PriceInputs
from app.sources.team_contract import read_team_contract
from app.store.charges import ChargeStore
from app.store.contracts import ContractStore, StoredContract
from app.store.holds import HoldStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.prices import PriceStore
from app.store.usage import UsageStore
from app.store.windows import RatingVersions, WindowState, WindowStore
from app.units.window import HOUR_MS, Window
from app.usage.models import ModelEntry
from app.usage.notes import Note, notes_frame
from app.workflows.allotment_runs import allot_window
from app.workflows.allotting import (
    ClusterAllotment,
    UsageReader,
    allotment_of,
)
from app.workflows.redistributing import mark_days, redistribute_days
from app.workflows.true_up import true_up_days

# Raised by one when the same facts and inputs would give other charges.
RATING_VERSION = 1
# Hours rated in one transaction: a day, so that the rollup's days are written once.
_HOURS_AT_ONCE = 24
_DAY_MS = 24 * HOUR_MS
# Marks that no hour has.
_NEVER = -1

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
    """By what charges are made: the price inputs, the owners, and their versions."""

    inputs: PriceInputs
    contract: Contract
    versions: RatingVersions

    @property
    def prices(self) -> PriceBook:
        """The actual prices."""
        return self.inputs.book


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
    """Rate the collected hours of ``window``; others, and those of closed periods, are left out.

    At the end the days that wait for it are redistributed over all clusters; ``models`` are the
    names by which gateways' tokens find their services.

    Each day is written in one transaction: a crash leaves the old charges of a day or the new ones.
    While the database takes in one day, the next is computed.
    """
    hours = charges = 0
    with engine.connect() as connection:
        states = WindowStore(connection, cluster).open_within(window)
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
    true_up_days(contract, engine=engine, billing_zone=billing_zone)
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
        inputs=prices.inputs(versions.prices),
        contract=contract_of(stored) if stored else Contract(),
        versions=versions,
    )


def terms_at(connection: Connection, prices: int, contract: int) -> Terms:
    """Return the terms of pinned versions; 0 is before the first import."""
    stored = ContractStore(connection).by_version(contract) if contract else None
    return Terms(
        inputs=PriceStore(connection).inputs(prices),
        contract=contract_of(stored) if stored else Contract(),
        versions=RatingVersions(rating=RATING_VERSION, prices=prices, contract=contract),
    )


# A version never changes, and reading a long one takes a tenth of a second.
@lru_cache(maxsize=16)
def contract_of(stored: StoredContract) -> Contract:
    """Return an applied contract; its days are those of the billing zone it was applied in."""
    zone = ZoneInfo(stored.zone)
    return read_team_contract(stored.text, filename=stored.file_name, zone=zone)


def rated(  # what is rated, by what, and what stands for the stored facts
    connection: Connection,
    cluster: str,
    window: Window,
    terms: Terms,
    billing_zone: tzinfo,
    *,
    facts: UsageReader | None = None,
    allotments: pd.DataFrame | None = None,
) -> Rated:
    """Return the charges of the stored facts by ``terms``, without storing them.

    ``facts`` are rated in place of the stored ones, then with ``allotments`` of the cluster as
    `allotting.allotted` gives them for those facts. Without them commitments cover what is stored
    as allotted, or what would be; hours in which that cannot be known yet are rated without, and
    noted.
    """
    given, waiting = rating_input(
        connection, cluster, window, terms, billing_zone, facts=facts, allotments=allotments
    )
    result = rate(given)
    return _waiting(result, waiting) if waiting else result


def rating_input(  # what is rated, by what, and what stands for the stored facts
    connection: Connection,
    cluster: str,
    window: Window,
    terms: Terms,
    billing_zone: tzinfo,
    *,
    facts: UsageReader | None = None,
    allotments: pd.DataFrame | None = None,
) -> tuple[RatingInput, frozenset[int]]:
    """Return all that `rated` goes by, and the hours whose commitments cannot be known yet."""
    usage = facts or UsageStore(connection, cluster)
    energy = terms.inputs if terms.inputs.energy else None
    hold_usage = usage.hold_usage(window, (*_HOLD_COLUMNS, *(("energy_mj",) if energy else ())))
    ownership = Ownership(terms.contract)
    given = ClusterAllotment(allotments, frozenset())
    if allotments is None and facts is None:
        given = allotment_of(connection, cluster, window, terms.inputs)
    rating = RatingInput(
        cluster=cluster,
        pool_usage=usage.pool_usage(window),
        hold_usage=hold_usage,
        nodes=InventoryStore(connection, cluster).nodes(),
        gpu_models=NameStore(connection).gpu_models(),
        holds=HoldStore(connection, cluster).owners(
            hold_usage["hold_id"].unique().tolist(), ownership.label_names
        ),
        price_book=terms.prices,
        ownership=ownership,
        billing_zone=billing_zone,
        card=terms.inputs.card,
        energy=energy,
        allotments=given.allotments,
        pool_energy=usage.pool_energy(window) if energy else None,
    )
    return rating, given.waiting


def _waiting(result: Rated, hours: frozenset[int]) -> Rated:
    """Say that hours were rated without the commitments that may cover them."""
    detail = "hours rated without commitments until every cluster of the account has them"
    note = notes_frame([Note("commitments_waiting", "", len(hours), detail)])
    return replace(result, notes=pd.concat([result.notes, note], ignore_index=True), waiting=hours)


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
        terms = current_terms(connection, known)
    allot_window(window, terms.inputs, terms.contract, engine=engine, billing_zone=billing_zone)
    with engine.connect() as connection:
        # Another worker may have rated or collected meanwhile. What is marked as rated is what is
        # read here, before the facts: whatever comes in later leaves the hour waiting for a rating.
        fresh = WindowStore(connection, cluster).within(window)
        terms = current_terms(connection, terms)
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
        # An hour that waits for its commitments stays pending, whatever is known of it.
        states = [
            replace(state, marks=_NEVER) if state.window.start_ms in result.waiting else state
            for state in day.states
        ]
        store.mark_rated(states, day.terms.versions)
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
