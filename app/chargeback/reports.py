"""Report definitions: what a report shows, for which grain, when it is due."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from enum import StrEnum
from typing import TypeVar

from app.chargeback.costs import COST_COLUMNS, COST_GROUPS, TIME_GROUPS, Basis
from app.chargeback.periods import Grain
from app.errors import InputError

HOURS_COLUMNS = (
    "gpu_hours_held",
    "gpu_hours_active",
    "gpu_hours_idle",
    "gpu_hours_unmeasured",
    "gpu_hours_unallocated",
    "gpu_hours_stranded",
    "gpu_hours_unobserved",
    "gpu_hours_unpriced",
)
REPORT_COLUMNS = (*HOURS_COLUMNS, *COST_COLUMNS, "total_cost")

_KEYS = ("title", "grain", "basis", "group_by", "filters", "table", "schedule")
_TABLE_KEYS = ("columns", "totals", "formats")
_SCHEDULE_KEYS = ("weekday", "day", "time")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
# Every month has a 28th.
_LAST_DAY = 28

_Choice = TypeVar("_Choice", bound=StrEnum)


class ReportDefinitionError(InputError):
    """A report definition that cannot be used; the message names the report and the key."""


class ReportFormat(StrEnum):
    """What a report can be written as."""

    CSV = "csv"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDefinition:
    """What a report shows. ``filters`` has the allowed values by column; none means all."""

    name: str
    title: str
    grain: Grain
    basis: Basis
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    columns: tuple[str, ...]
    totals: bool
    formats: tuple[ReportFormat, ...]
    schedule: Schedule | None


def parse_report(name: str, text: str) -> ReportDefinition:
    """Return the definition that the TOML ``text`` of report ``name`` gives."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"The report {name} is not valid TOML: {error}."
        raise ReportDefinitionError(message, hint=f"Mend reports/{name}.toml.") from error
    top = _Keys(name, "", document, _KEYS)
    table = _Keys(name, "table.", top.section("table"), _TABLE_KEYS)
    return ReportDefinition(
        name=name,
        title=top.text("title"),
        grain=top.choice("grain", Grain),
        basis=top.choice("basis", Basis) if "basis" in document else Basis.POSTED,
        group_by=top.names("group_by", COST_GROUPS),
        filters=_filters(name, top.section("filters")),
        columns=table.names("columns", REPORT_COLUMNS),
        totals=table.flag("totals"),
        formats=tuple(ReportFormat(item) for item in table.names("formats", tuple(ReportFormat))),
        schedule=_schedule(name, top.section("schedule"), top.choice("grain", Grain)),
    )


class _Keys:
    """One TOML table of a definition, read key by key with errors that name the key."""

    def __init__(
        self, report: str, prefix: str, values: Mapping[str, object], known: Sequence[str]
    ) -> None:
        self._report = report
        self._prefix = prefix
        self._values = values
        for key in values:
            if key not in known:
                raise self.error(key, f"is unknown; known are {', '.join(known)}")

    def error(self, key: str, trouble: str) -> ReportDefinitionError:
        message = f"The report {self._report}: the key {self._prefix}{key} {trouble}."
        return ReportDefinitionError(message, hint=f"Mend reports/{self._report}.toml.")

    def section(self, key: str) -> Mapping[str, object]:
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "is not a table")
        return value

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "is missing or not text")
        return value

    def flag(self, key: str) -> bool:
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "is neither true nor false")
        return value

    def choice(self, key: str, choices: type[_Choice]) -> _Choice:
        value = self.text(key)
        if value not in tuple(choices):
            raise self.error(key, f"is {value!r}; known are {', '.join(choices)}")
        return choices(value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key)
        if not isinstance(value, list) or not value:
            raise self.error(key, "is missing or not a list of text")
        items = tuple(item for item in value if isinstance(item, str))
        if len(items) != len(value) or len(set(items)) != len(items):
            raise self.error(key, "has something twice or something that is not text")
        return items

    def names(self, key: str, known: Sequence[str]) -> tuple[str, ...]:
        items = self.texts(key)
        for item in items:
            if item not in known:
                raise self.error(key, f"has {item!r}; known are {', '.join(known)}")
        return items


def _filters(name: str, values: Mapping[str, object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    known = tuple(column for column in COST_GROUPS if column not in TIME_GROUPS)
    keys = _Keys(name, "filters.", values, known)
    return tuple((column, keys.texts(column)) for column in sorted(values))


def _schedule(name: str, values: Mapping[str, object], grain: Grain) -> Schedule | None:
    if not values:
        return None
    keys = _Keys(name, "schedule.", values, _SCHEDULE_KEYS)
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
