"""Rows that are superseded and never edited: how an import meets what is there."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Row, Table, insert, or_, select, update

from app.errors import InputError
from app.store.price_versions import ImportKind, ImportNote, PriceVersions

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKind(Generic[Value]):
    """How values of one kind are kept.

    ``slot`` is what a value replaces by being imported, ``key`` of what two may not be valid at
    one instant of their ``span``. ``facts`` are what an import compares; ``words`` name the value
    in an error.
    """

    kind: ImportKind
    table: Table
    id_column: str
    order: tuple[str, ...]
    stored: Callable[[Value], Mapping[str, object]]
    value: Callable[[Row[Any]], Value]
    slot: Callable[[Value], Hashable]
    key: Callable[[Value], Hashable]
    span: Callable[[Value], tuple[int, int]]
    facts: Callable[[Value], Hashable]
    words: Callable[[Value], str]
    only: Mapping[str, str]


class PriceOverlapError(InputError):
    """Two values for the same thing at the same time; nothing of the import was taken."""

    def __init__(self, fresh: str, other: str) -> None:
        super().__init__(
            f"{fresh[:1].upper()}{fresh[1:]} overlaps {other}, which is for the same.",
            hint="Give the earlier row a valid_to and import both together.",
        )
        self.fresh = fresh
        self.other = other


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(Generic[Value]):
    """What an import changed: values, and the spans of time in which prices may differ."""

    version: int
    added: tuple[Value, ...]
    superseded: tuple[Value, ...]
    unchanged: int
    spans: tuple[tuple[int, int], ...]


def read(connection: Connection, kind: RowKind[Value], version: int | None) -> tuple[Value, ...]:
    """Return the values as of a version, of the last one for None, in a fixed order."""
    table = kind.table
    statement = select(table).order_by(*(table.c[name] for name in (*kind.order, "version")))
    for column, text in kind.only.items():
        statement = statement.where(table.c[column] == text)
    gone = table.c.superseded_version
    if version is None:
        statement = statement.where(gone.is_(None))
    else:
        statement = statement.where(table.c.version <= version, or_(gone.is_(None), gone > version))
    return tuple(kind.value(row) for row in connection.execute(statement))


def take(
    connection: Connection, kind: RowKind[Value], values: Sequence[Value], note: ImportNote
) -> Taken[Value]:
    """Add values, all or none; what is there already stays as it is.

    A value of the same slot supersedes the one that is there, which remains readable under its
    versions. Any other overlap is a `PriceOverlapError`. An import that changes nothing makes no
    version.
    """
    versions = PriceVersions(connection)
    versions.lock()
    current = {kind.slot(value): value for value in read(connection, kind, None)}
    before = {kind.slot(value): current.get(kind.slot(value)) for value in values}
    added = [value for value in values if not _same(kind, before[kind.slot(value)], value)]
    slots = {kind.slot(value) for value in added}
    superseded = [value for slot, value in current.items() if slot in slots]
    kept = [value for slot, value in current.items() if slot not in slots]
    _refuse_overlap(kind, added, kept)
    version = versions.latest()
    if added:
        version = versions.add(kind.kind, note, added=len(added), superseded=len(superseded))
        _supersede(connection, kind, superseded, version)
        connection.execute(
            insert(kind.table),
            [
                {**kind.stored(value), **kind.only, "version": version, "superseded_version": None}
                for value in added
            ],
        )
    return Taken(
        version=version,
        added=tuple(added),
        superseded=tuple(superseded),
        unchanged=len(values) - len(added),
        spans=tuple(sorted({kind.span(value) for value in (*added, *superseded)})),
    )


def _same(kind: RowKind[Value], stored: Value | None, fresh: Value) -> bool:
    return stored is not None and kind.facts(stored) == kind.facts(fresh)


def _supersede(
    connection: Connection, kind: RowKind[Value], gone: Sequence[Value], version: int
) -> None:
    if not gone:
        return
    table = kind.table
    statement = (
        update(table)
        .where(table.c[kind.id_column].in_(sorted(_id(kind, value) for value in gone)))
        .where(table.c.superseded_version.is_(None))
        .values(superseded_version=version)
    )
    for column, text in kind.only.items():
        statement = statement.where(table.c[column] == text)
    connection.execute(statement)


def _id(kind: RowKind[Value], value: Value) -> int:
    return int(str(kind.stored(value)[kind.id_column]))


def _refuse_overlap(kind: RowKind[Value], added: Sequence[Value], kept: Sequence[Value]) -> None:
    by_key: dict[Hashable, list[tuple[int, bool, int, Value]]] = {}
    for is_fresh, values in ((False, kept), (True, added)):
        for value in values:
            start_ms, end_ms = kind.span(value)
            by_key.setdefault(kind.key(value), []).append((start_ms, is_fresh, end_ms, value))
    for same in by_key.values():
        # If any two overlap then some two neighbors in time do; kept values never do.
        in_time = sorted(same, key=itemgetter(0, 1))
        for (_, first_is_fresh, first_end_ms, first), (second_start_ms, _, _, second) in pairwise(
            in_time
        ):
            if second_start_ms < first_end_ms:
                pair = (first, second) if first_is_fresh else (second, first)
                raise PriceOverlapError(*(kind.words(value) for value in pair))
