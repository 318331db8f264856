"""Take price inputs or a team contract: show the money it moves, mark what it touches."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from hashlib import sha256

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine

from app.attribution.contract import UNOWNED, Contract
from app.sources.team_contract import read_team_contract
from app.store.charges import ChargeStore
from app.store.contracts import ContractStore
from app.store.naming import NameStore
from app.store.periods import closed_before_ms
from app.store.price_versions import ImportKind, ImportNote
from app.store.prices import PriceStore
from app.store.windows import WindowState, WindowStore
from app.units.window import HOUR_MS, OPEN_MS, Window, from_ms
from app.usage.identity import team_id
from app.usage.models import ModelEntry
from app.workflows.allotment_runs import unused_before_and_after
from app.workflows.credit_preview import credited_teams, credits_before_and_after
from app.workflows.price_files import PriceFile, TakenFile, take_file
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
    run, in which nothing is stored. ``closed_hours`` are those of closed periods that it would
    touch: they keep their charges, and a correction of the period takes them up. ``warnings`` say
    in words where prices have gaps, and which clusters a contract names that nobody knows.
    """

    version: int
    added: int
    superseded: int
    unchanged: int
    hours: int
    moved: tuple[Moved, ...]
    dry_run: bool
    closed_hours: int = 0
    warnings: tuple[str, ...] = ()


def import_prices(  # noqa: PLR0913 # every one is a fact of the import
    text: str,
    *,
    file_name: str,
    currency: str,
    engine: Engine,
    billing_zone: tzinfo,
    at_ms: int,
    dry_run: bool,
    kind: ImportKind = ImportKind.PRICES,
    reason: str = "",
    author: str = "",
    models: Sequence[ModelEntry] = (),
    progress: Callable[[int], None] = lambda _hours: None,
) -> Imported:
    """Add the price inputs in ``text``, all of it or nothing; ``kind`` says what they are.

    What supersedes rows is a correction, which needs a reason and an author.
    """
    file = PriceFile(kind=kind, text=text, file_name=file_name, currency=currency)
    note = ImportNote(
        imported_ms=at_ms,
        file_name=file_name,
        sha256=_digest(text),
        reason=reason,
        author=author,
    )

    return import_taken(
        lambda connection: take_file(file, PriceStore(connection), note, dry_run=dry_run),
        engine=engine,
        billing_zone=billing_zone,
        dry_run=dry_run,
        models=models,
        progress=progress,
    )


def import_taken(
    take: Callable[[Connection], TakenFile],
    *,
    engine: Engine,
    billing_zone: tzinfo,
    dry_run: bool,
    models: Sequence[ModelEntry] = (),
    progress: Callable[[int], None] = lambda _hours: None,
) -> Imported:
    """Let ``take`` change price inputs, mark the open hours that it touches, and say what moves."""
    return _run(
        engine,
        lambda connection: imported_in(
            connection,
            take,
            billing_zone=billing_zone,
            dry_run=dry_run,
            models=models,
            progress=progress,
        ),
        dry_run=dry_run,
    )


def imported_in(
    connection: Connection,
    take: Callable[[Connection], TakenFile],
    *,
    billing_zone: tzinfo,
    dry_run: bool,
    models: Sequence[ModelEntry] = (),
    progress: Callable[[int], None] = lambda _hours: None,
) -> Imported:
    """Do what `import_taken` does in the caller's transaction, which ends a dry run itself."""
    done = take(connection)
    touched = _touched(connection, done.spans)
    return Imported(
        version=done.version,
        added=done.added,
        superseded=done.superseded,
        unchanged=done.unchanged,
        hours=sum(len(states) for states in touched.values()),
        moved=_moved(connection, touched, billing_zone, models, progress),
        dry_run=dry_run,
        closed_hours=_closed_hours(connection, done.spans),
        warnings=done.warnings,
    )


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
    """Make the contract in ``text`` the one in force; hours of closed periods are left alone."""
    contract = read_team_contract(text, filename=file_name, zone=billing_zone)

    def apply(connection: Connection) -> Imported:
        store = ContractStore(connection)
        before = store.latest()
        stored = store.apply(
            text,
            applied_ms=at_ms,
            file_name=file_name,
            sha256=_digest(text),
            contract=contract,
            zone=billing_zone,
        )
        unchanged = before is not None and before.version == stored.version
        spans = [] if unchanged else [(0, OPEN_MS)]
        touched = _touched(connection, spans)
        return Imported(
            version=stored.version,
            added=0 if unchanged else len(contract.teams),
            superseded=0,
            unchanged=len(contract.teams) if unchanged else 0,
            hours=sum(len(states) for states in touched.values()),
            moved=_moved(connection, touched, billing_zone, models, progress),
            dry_run=dry_run,
            closed_hours=_closed_hours(connection, spans),
            warnings=_unknown_clusters(connection, contract),
        )

    return _run(engine, apply, dry_run=dry_run)


def _unknown_clusters(connection: Connection, contract: Contract) -> tuple[str, ...]:
    """Say which clusters that the contract names have no hour in the ledger."""
    named = {name for team in contract.teams for name in team.clusters}
    named |= {name for one in contract.policies for name in one.clusters}
    unknown = sorted(named - {*NameStore(connection).clusters().values()})
    return tuple(f"no cluster {name!r} was ever collected" for name in unknown)


def _run(engine: Engine, apply: Callable[[Connection], Imported], *, dry_run: bool) -> Imported:
    with engine.connect() as connection, connection.begin() as transaction:
        result = apply(connection)
        if dry_run:
            transaction.rollback()
    return result


def _touched(
    connection: Connection, spans: Iterable[tuple[int, int]]
) -> dict[str, tuple[WindowState, ...]]:
    """Mark the open collected hours in the spans as waiting for a rating; return them by cluster.

    Hours of closed periods are left alone.
    """
    spans = list(spans)
    touched: dict[str, tuple[WindowState, ...]] = {}
    if not spans:
        return touched
    start_ms, end_ms = min(start for start, _ in spans), max(end for _, end in spans)
    start_ms = max(start_ms, _first_open_ms(connection))
    if start_ms >= end_ms:
        return touched
    for cluster in sorted(NameStore(connection).clusters().values()):
        store = WindowStore(connection, cluster)
        if store.mark(start_ms, end_ms):
            touched[cluster] = tuple(
                state
                for state in store.pending()
                if state.window.end_ms > start_ms and state.window.start_ms < end_ms
            )
    return touched


def _first_open_ms(connection: Connection) -> int:
    """Return the first hour that is not closed: one that begins before the border is closed."""
    return -(-closed_before_ms(connection) // HOUR_MS) * HOUR_MS


def _closed_hours(connection: Connection, spans: Iterable[tuple[int, int]]) -> int:
    """Return how many collected hours of closed periods lie between the spans' outer ends."""
    spans = list(spans)
    first_open_ms = _first_open_ms(connection)
    start_ms = min((start for start, _ in spans), default=first_open_ms) // HOUR_MS * HOUR_MS
    last_ms = max((end for _, end in spans), default=0)
    end_ms = min(-(-last_ms // HOUR_MS) * HOUR_MS, first_open_ms)
    if start_ms >= end_ms:
        return 0
    window = Window(from_ms(start_ms), from_ms(end_ms))
    clusters = NameStore(connection).clusters().values()
    return sum(len(WindowStore(connection, cluster).within(window)) for cluster in clusters)


def _moved(
    connection: Connection,
    touched: dict[str, tuple[WindowState, ...]],
    billing_zone: tzinfo,
    models: Sequence[ModelEntry],
    progress: Callable[[int], None],
) -> tuple[Moved, ...]:
    """Compare the stored charges of the touched hours with what they would be, by team.

    Of the days that they touch also what is redistributed to consumers and what is credited, and
    of the hours what of commitments is left unused.
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
    hours = {state.window.start_ms for states in touched.values() for state in states}
    unused = unused_before_and_after(connection, hours, terms.inputs, terms.contract, billing_zone)
    credited = credits_before_and_after(
        connection, hours, terms.inputs, terms.contract, billing_zone
    )
    for found in (preview.moved(), unused, credited):
        for sums, moved in zip((before, after), found, strict=True):
            for team, nanos in moved.items():
                sums[team] = sums.get(team, 0) + nanos
    names |= preview.team_names() | credited_teams(terms.inputs, terms.contract)
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


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
