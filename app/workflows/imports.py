"""Take a price book or a team contract: show the money it moves, mark what it touches, re-rate."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from hashlib import sha256

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine

from app.attribution.contract import UNOWNED, Contract
from app.pricing.rows import PriceRow
from app.sources.price_book import read_price_book
from app.sources.team_contract import read_team_contract
from app.store.charges import ChargeStore
from app.store.contracts import ContractStore
from app.store.naming import NameStore
from app.store.prices import PriceStore
from app.store.windows import WindowState, WindowStore
from app.units.window import OPEN_MS
from app.usage.identity import team_id
from app.usage.models import ModelEntry
from app.workflows.rating import current_terms, days_of, rated
from app.workflows.redistribution_preview import RedistributionPreview


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What an import changes for one team: nanos before and after; '' is nobody's."""

    team: str
    before_nanos: int
    after_nanos: int

    @property
    def moved_nanos(self) -> int:
        """How much more the team pays."""
        return self.after_nanos - self.before_nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did or, for a dry run, would do.

    ``hours`` is how many collected hours it touches; they wait for a rating unless it was a dry
    run, in which nothing is stored.
    """

    version: int
    added: int
    superseded: int
    unchanged: int
    hours: int
    moved: tuple[Moved, ...]
    dry_run: bool


def import_prices(  # noqa: PLR0913 # every one is a fact of the import
    text: str,
    *,
    file_name: str,
    currency: str,
    engine: Engine,
    billing_zone: tzinfo,
    at_ms: int,
    dry_run: bool,
    models: Sequence[ModelEntry] = (),
    progress: Callable[[int], None] = lambda _hours: None,
) -> Imported:
    """Add the price book in ``text``, all of it or nothing."""
    rows: Sequence[PriceRow] = read_price_book(text, filename=file_name, billing_currency=currency)

    def apply(connection: Connection) -> Imported:
        before = PriceStore(connection)
        done = before.import_rows(
            rows, imported_ms=at_ms, file_name=file_name, sha256=_digest(text)
        )
        touched = _touched(connection, done.spans)
        return Imported(
            version=done.version,
            added=len(done.added),
            superseded=len(done.superseded),
            unchanged=done.unchanged,
            hours=sum(len(states) for states in touched.values()),
            moved=_moved(connection, touched, billing_zone, models, progress),
            dry_run=dry_run,
        )

    return _run(engine, apply, dry_run=dry_run)


def apply_contract(
    text: str,
    *,
    file_name: str,
    engine: Engine,
    billing_zone: tzinfo,
    at_ms: int,
    dry_run: bool,
    models: Sequence[ModelEntry] = (),
    progress: Callable[[int], None] = lambda _hours: None,
) -> Imported:
    """Make the contract in ``text`` the one in force."""
    contract = read_team_contract(text, filename=file_name)

    def apply(connection: Connection) -> Imported:
        store = ContractStore(connection)
        before = store.latest()
        stored = store.apply(
            text,
            applied_ms=at_ms,
            file_name=file_name,
            sha256=_digest(text),
            cost_centers=_cost_centers(contract, at_ms),
        )
        unchanged = before is not None and before.version == stored.version
        touched = {} if unchanged else _touched(connection, [(0, OPEN_MS)])
        return Imported(
            version=stored.version,
            added=0 if unchanged else len(contract.teams),
            superseded=0,
            unchanged=len(contract.teams) if unchanged else 0,
            hours=sum(len(states) for states in touched.values()),
            moved=_moved(connection, touched, billing_zone, models, progress),
            dry_run=dry_run,
        )

    return _run(engine, apply, dry_run=dry_run)


def _run(engine: Engine, apply: Callable[[Connection], Imported], *, dry_run: bool) -> Imported:
    with engine.connect() as connection, connection.begin() as transaction:
        result = apply(connection)
        if dry_run:
            transaction.rollback()
    return result


def _touched(
    connection: Connection, spans: Iterable[tuple[int, int]]
) -> dict[str, tuple[WindowState, ...]]:
    """Mark the collected hours in the spans as waiting for a rating; return them by cluster."""
    spans = list(spans)
    touched: dict[str, tuple[WindowState, ...]] = {}
    if not spans:
        return touched
    start_ms, end_ms = min(start for start, _ in spans), max(end for _, end in spans)
    for cluster in sorted(NameStore(connection).clusters().values()):
        store = WindowStore(connection, cluster)
        if store.mark(start_ms, end_ms):
            touched[cluster] = tuple(
                state
                for state in store.pending()
                if state.window.end_ms > start_ms and state.window.start_ms < end_ms
            )
    return touched


def _moved(
    connection: Connection,
    touched: dict[str, tuple[WindowState, ...]],
    billing_zone: tzinfo,
    models: Sequence[ModelEntry],
    progress: Callable[[int], None],
) -> tuple[Moved, ...]:
    """Compare the stored charges of the touched hours with what they would be, by team.

    Of the days that they touch also what is redistributed to consumers.
    """
    names = NameStore(connection).teams()
    before: dict[int, int] = {}
    after: dict[int, int] = {}
    terms = current_terms(connection)
    preview = RedistributionPreview(connection, billing_zone, terms.contract, models)
    for cluster, states in touched.items():
        charges = ChargeStore(connection, cluster, billing_zone)
        for day in days_of(states):
            stored = charges.within(day)
            _add(before, stored)
            result = rated(connection, cluster, day, terms, billing_zone)
            _add(after, result.charges)
            preview.add(cluster, day, stored, result.charges)
            names |= {team_id(name): name for name in result.teams}
            progress(day.length_ms)
    for sums, moved in zip((before, after), preview.moved(), strict=True):
        for team, nanos in moved.items():
            sums[team] = sums.get(team, 0) + nanos
    names |= preview.team_names()
    lines = [
        Moved(
            team=names.get(team, "" if not team else UNOWNED),
            before_nanos=before.get(team, 0),
            after_nanos=after.get(team, 0),
        )
        for team in {*before, *after}
    ]
    return tuple(sorted(lines, key=lambda line: (-abs(line.moved_nanos), line.team)))


def _add(sums: dict[int, int], charges: pd.DataFrame) -> None:
    teams, index = np.unique(charges["team_id"].to_numpy(), return_inverse=True)
    totals = np.zeros(len(teams), dtype=np.int64)
    np.add.at(totals, index, charges["cost_nanos"].to_numpy())
    for team, nanos in zip(teams.tolist(), totals.tolist(), strict=True):
        sums[team] = sums.get(team, 0) + nanos


def _cost_centers(contract: Contract, at_ms: int) -> dict[str, str]:
    names = {team.name for team in contract.teams} | {one.team for one in contract.platform}
    blocks = {name: contract.team_at(name, at_ms) for name in names}
    return {name: block.cost_center if block else "" for name, block in blocks.items()}


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
