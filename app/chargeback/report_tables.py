"""A report as a table: rows with their period, issue and basis, and what there is to say of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from app.chargeback.periods import Period
from app.chargeback.report_columns import HEAD, TAIL, CellKind, kind_of
from app.chargeback.reports import ReportDefinition
from app.chargeback.tables import Cell, Table, csv_bytes, plain

# A node's price is carried by its GPUs whole; whoever reads a charge is told so.
PRICE_COVERS = "whole node: GPU, CPU, memory, disk"
# The issue of a report that was read and never sent anywhere.
NOT_ISSUED = 0

# What a row shows, by report column; None is unknown: money that no price covers.
Figures = Mapping[str, Cell]


class ReportStatus(StrEnum):
    """Whether a report may still change: ``closed`` belongs to a closed billing period."""

    CLOSED = "closed"
    FINAL = "final"
    PROVISIONAL = "provisional"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportIssue:
    """Which issue of a period's report this is: numbered from 1, 0 for one that was only read."""

    period: Period
    number: int
    status: ReportStatus

    def file_name(self, report: str, extension: str) -> str:
        """Return a name that sorts by period and number, such as ``weekly-2026-W46-1.csv``."""
        number = self.number or "read"
        return f"{report}-{self.period.name}-{number}.{extension}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBody:
    """What a source says of a period: a row a group, their total, and facts about the whole.

    ``keys`` are the groups of each row in the order of the definition, ``figures`` what it shows
    and ``complete`` whether it lacks nothing; ``total`` is what the totals row shows.
    """

    keys: Sequence[tuple[Cell, ...]]
    figures: Sequence[Figures]
    complete: Sequence[bool]
    total: Figures
    facts: tuple[tuple[str, Cell], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDocument:
    """A report's issue, whole: what every format of it is made from.

    ``kinds`` are those of the table's columns, ``about`` what there is to say beside the rows.
    """

    definition: ReportDefinition
    issue: ReportIssue
    currency: str
    table: Table
    kinds: tuple[CellKind, ...]
    about: tuple[tuple[str, Cell], ...]

    @property
    def headings(self) -> tuple[str, ...]:
        """The titles of the columns, their names where the definition gives none."""
        titles = dict(self.definition.titles)
        return tuple(titles.get(name, name) for name in self.table.columns)

    def csv(self) -> bytes:
        """Return the report as CSV under its headings."""
        return csv_bytes(Table(self.headings, self.table.rows))

    def content(self) -> bytes:
        """Return all that the report says, whatever the format: equal ones are one issue."""
        about = [[label, plain(cell)] for label, cell in self.about]
        return self.csv() + json.dumps(about, ensure_ascii=False).encode()

    @property
    def sha256(self) -> str:
        """The hash of all that the report says."""
        return sha256(self.content()).hexdigest()


def report_document(
    definition: ReportDefinition, issue: ReportIssue, body: ReportBody, *, currency: str
) -> ReportDocument:
    """Return the report over ``body``.

    Every row says which report, issue and period it belongs to and whether it is a ``detail`` or
    the ``total``; rows are ordered by their groups.
    """
    period = issue.period
    head: tuple[Cell, ...] = (
        definition.name,
        period.name,
        plain_instant(period.start),
        plain_instant(period.end),
        issue.number,
        issue.status.value,
        definition.basis.value,
    )
    rows = [
        (*head, "detail", *keys, *_shown(definition, line), currency, PRICE_COVERS, whole)
        for keys, line, whole in sorted(
            zip(body.keys, body.figures, body.complete, strict=True),
            key=lambda row: tuple(plain(cell) for cell in row[0]),
        )
    ]
    if definition.totals:
        keys = ("",) * len(definition.group_by)
        whole = bool(body.complete) and all(body.complete)
        shown = _shown(definition, body.total)
        rows.append((*head, "total", *keys, *shown, currency, PRICE_COVERS, whole))
    columns = (*HEAD, *definition.group_by, *definition.columns, *TAIL)
    return ReportDocument(
        definition=definition,
        issue=issue,
        currency=currency,
        table=Table(columns, tuple(rows)),
        kinds=tuple(kind_of(definition.source, name) for name in columns),
        about=(*_about(definition, issue, currency), *body.facts),
    )


def plain_instant(instant: datetime) -> str:
    """Return a UTC instant as RFC 3339 text."""
    return instant.isoformat().replace("+00:00", "Z")


def _shown(definition: ReportDefinition, line: Figures) -> list[Cell]:
    return [line[name] for name in definition.columns]


def _about(
    definition: ReportDefinition, issue: ReportIssue, currency: str
) -> tuple[tuple[str, Cell], ...]:
    filters = "; ".join(f"{name} = {', '.join(values)}" for name, values in definition.filters)
    return (
        ("title", definition.title),
        ("audience", definition.audience),
        ("report", definition.name),
        ("period", issue.period.name),
        ("period_start", plain_instant(issue.period.start)),
        ("period_end", plain_instant(issue.period.end)),
        ("issue", issue.number),
        ("status", issue.status.value),
        ("basis", definition.basis.value),
        ("currency", currency),
        ("price_covers", PRICE_COVERS),
        ("source", definition.source.value),
        ("filters", filters or "none"),
        ("definition_sha256", definition.sha256),
    )
