"""Report definitions: what a report shows, for which grain, when it is due and where it goes."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from enum import StrEnum
from hashlib import sha256

from app.chargeback.costs import Basis
from app.chargeback.definition_keys import DefinitionKeys, ReportDefinitionError
from app.chargeback.periods import Grain
from app.chargeback.report_columns import HEAD, SOURCES, TAIL, ReportSource, SourceColumns

_KEYS = (
    "title",
    "audience",
    "source",
    "grain",
    "basis",
    "group_by",
    "filters",
    "table",
    "destination",
    "schedule",
)
_TABLE_KEYS = ("columns", "totals", "formats", "titles", "number_formats")
_SCHEDULE_KEYS = ("weekday", "day", "time")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
# Every month has a 28th.
_LAST_DAY = 28
# A spreadsheet's column heading beyond this is not read by anybody.
_LONGEST_TITLE = 100


class ReportFormat(StrEnum):
    """What a report can be written as; the value is the extension of its file."""

    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"


class NumberFormat(StrEnum):
    """How a spreadsheet shows a column's numbers; the numbers themselves stay as they are."""

    WHOLE = "whole"
    TWO_DECIMALS = "two_decimals"
    FOUR_DECIMALS = "four_decimals"
    PERCENT = "percent"
    EXACT = "exact"


class Weekday(StrEnum):
    """A day of the week, Monday first."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a report is due, in the billing zone: a weekday, or else a day of the month."""

    at: time
    weekday: Weekday | None = None
    day: int | None = None

    def __str__(self) -> str:
        day = self.weekday.value if self.weekday else f"day {self.day}"
        return f"{day} {self.at:%H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDefinition:
    """What a report shows. ``filters`` has the allowed values by column; none means all.

    ``titles`` and ``number_formats`` are by column; ``destination`` names one of gpuledger.toml,
    '' is the folder for reports. ``sha256`` is that of the definition's text.
    """

    name: str
    title: str
    audience: str
    source: ReportSource
    grain: Grain
    basis: Basis
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    columns: tuple[str, ...]
    titles: tuple[tuple[str, str], ...]
    number_formats: tuple[tuple[str, NumberFormat], ...]
    totals: bool
    formats: tuple[ReportFormat, ...]
    schedule: Schedule | None
    destination: str
    sha256: str


def parse_report(name: str, text: str) -> ReportDefinition:
    """Return the definition that the TOML ``text`` of report ``name`` gives."""
    if not _NAME.fullmatch(name):
        message = f"The report {name!r} has a name that no file of a report can carry."
        hint = "Name the definition with small letters, digits, - and _, such as by_model.toml."
        raise ReportDefinitionError(message, hint=hint)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"The report {name} is not valid TOML: {error}."
        raise ReportDefinitionError(message, hint=f"Mend reports/{name}.toml.") from error
    top = DefinitionKeys(name, "", document, _KEYS)
    source = top.choice("source", ReportSource, ReportSource.COSTS)
    known = SOURCES[source]
    grain = top.choice("grain", Grain)
    if known.monthly_only and grain is not Grain.MONTH:
        trouble = f"is {grain.value!r}; a report of {source.value} is of months"
        failure = top.error("grain", trouble)
        raise failure
    basis = top.choice("basis", Basis, known.bases[0])
    if basis not in known.bases:
        trouble = f"is {basis.value!r}; {source.value} go by {', '.join(known.bases)}"
        failure = top.error("basis", trouble)
        raise failure
    table = DefinitionKeys(name, "table.", top.section("table"), _TABLE_KEYS)
    groups = top.names("group_by", known.groups)
    columns = table.names("columns", tuple(known.columns))
    shown = (*HEAD, *groups, *columns, *TAIL)
    return ReportDefinition(
        name=name,
        title=top.text("title"),
        audience=top.text("audience", ""),
        source=source,
        grain=grain,
        basis=basis,
        group_by=groups,
        filters=_filters(name, top.section("filters"), known),
        columns=columns,
        titles=_titles(name, table.section("titles"), shown),
        number_formats=_number_formats(name, table.section("number_formats"), columns),
        totals=table.flag("totals"),
        formats=tuple(ReportFormat(item) for item in table.names("formats", tuple(ReportFormat))),
        schedule=_schedule(name, top.section("schedule"), grain),
        destination=top.text("destination", ""),
        sha256=sha256(text.encode()).hexdigest(),
    )


def _filters(
    name: str, values: Mapping[str, object], known: SourceColumns
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    keys = DefinitionKeys(name, "filters.", values, known.filters)
    return tuple((column, keys.texts(column)) for column in sorted(values))


def _titles(
    name: str, values: Mapping[str, object], shown: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    keys = DefinitionKeys(name, "table.titles.", values, shown)
    titles = tuple((column, keys.text(column)) for column in sorted(values))
    headings = [dict(titles).get(column, column) for column in shown]
    for column, title in titles:
        if headings.count(title) > 1:
            failure = keys.error(column, f"is {title!r}, which is the heading of another column")
            raise failure
        if len(title) > _LONGEST_TITLE:
            failure = keys.error(column, f"is longer than {_LONGEST_TITLE} characters")
            raise failure
    return titles


def _number_formats(
    name: str, values: Mapping[str, object], columns: tuple[str, ...]
) -> tuple[tuple[str, NumberFormat], ...]:
    keys = DefinitionKeys(name, "table.number_formats.", values, columns)
    return tuple((column, keys.choice(column, NumberFormat)) for column in sorted(values))


def _schedule(name: str, values: Mapping[str, object], grain: Grain) -> Schedule | None:
    if not values:
        return None
    keys = DefinitionKeys(name, "schedule.", values, _SCHEDULE_KEYS)
    clock = _TIME.fullmatch(keys.text("time"))
    if not clock:
        failure = keys.error("time", "is not a time of day such as 06:00")
        raise failure
    at = time(int(clock[1]), int(clock[2]))
    match values.get("weekday"), values.get("day"):
        case str(), None:
            return Schedule(at=at, weekday=keys.choice("weekday", Weekday))
        case None, int(day) if grain is Grain.MONTH and day is not True and 1 <= day <= _LAST_DAY:
            return Schedule(at=at, day=day)
        case _:
            trouble = f"or, for a month, day (1 to {_LAST_DAY}) is needed, one of them"
            failure = keys.error("weekday", trouble)
            raise failure
