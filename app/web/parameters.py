"""Query parameters: parsed at the door into windows, groups and filters."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query, Request

from app.units.window import Window, WindowError
from app.web.paging import Cursor, Limit
from app.web.problems import ParameterError
from app.web.reading import Filters

# RFC 3339, section 5.6; a colon in the offset, a T, seconds and a zone are not optional there.
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})", re.ASCII
)
# A year and a leap day, with room for the hours of the zones at either end.
LONGEST_WINDOW = timedelta(days=367)
_MOST_GROUPS = 6
_MOST_FILTER_VALUES = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A name in an address; Postgres keeps no NUL, and no name has the others.
NAME_PATTERN = r"^[^\x00-\x1f\x7f]*$"
_FILTER_HINT = "Write a filter as team=search; repeat it for more columns or values."

Start = Annotated[
    str,
    Query(
        description="The first hour: RFC 3339, in UTC, a whole hour.",
        examples=["2026-11-01T00:00:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
]
End = Annotated[
    str,
    Query(
        description="The end of the last hour, itself not included.",
        examples=["2026-12-01T00:00:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
]
GroupBy = Annotated[
    str,
    Query(description="Columns to sum by, with commas between.", examples=["namespace,gpu_model"]),
]
FilterBy = Annotated[
    tuple[str, ...],
    Query(
        alias="filter",
        description="`column=value`; repeat it for other columns (and) or values (or).",
        examples=[["team=search"]],
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableParameters:
    """What every table is asked by, as it stands in the address."""

    start: str
    end: str
    filters: tuple[str, ...]
    limit: int | None
    cursor: str | None

    @property
    def file_name(self) -> str:
        """The days of the window, for the name of a file."""
        return f"{self.start[:10]}-{self.end[:10]}"


def table_parameters(
    start: Start, end: End, filter_by: FilterBy = (), limit: Limit = None, cursor: Cursor = None
) -> TableParameters:
    """Gather what every table is asked by."""
    return TableParameters(start=start, end=end, filters=filter_by, limit=limit, cursor=cursor)


def takes(*once: str, many: str = "") -> Callable[[Request], None]:
    """Return a check that a request has these query parameters only, each at most once.

    A parameter that nobody reads must not pass: with a filter misspelled the answer would be about
    everything. ``many`` may be repeated.
    """

    def check(request: Request) -> None:
        names = [name for name, _ in request.query_params.multi_items()]
        for name in names:
            if name not in (*once, many):
                message = f"There is no parameter {name[:40]!r}."
                known = ", ".join(part for part in (*once, many) if part) or "none"
                raise ParameterError(message, name=name[:40], hint=f"Known are {known}.")
            if name != many and names.count(name) > 1:
                message = f"The parameter {name} is given more than once."
                raise ParameterError(message, name=name, hint="Give it once.")

    return check


TABLE_PARAMETERS = ("start", "end", "group_by", "limit", "cursor")


def parse_window(asked: TableParameters, *, now: datetime) -> Window:
    """Return the window that is asked for; refuse one that begins in the future."""
    first, last = parse_instant("start", asked.start), parse_instant("end", asked.end)
    try:
        window = Window(first, last)
    except WindowError as error:
        name = "start" if error.message.startswith("The start") else "end"
        raise ParameterError(error.message, name=name, hint=error.hint) from error
    if last - first > LONGEST_WINDOW:
        message = f"The window is longer than {LONGEST_WINDOW.days} days."
        raise ParameterError(message, name="end", hint="Ask for it in parts.")
    if first > now:
        message = f"The start {asked.start} is in the future."
        raise ParameterError(message, name="start", hint="Nothing has been measured there yet.")
    return window


def parse_instant(name: str, text: str) -> datetime:
    """Return the UTC instant that ``text`` says in RFC 3339."""
    message = f"The {name} {text[:40]!r} is not an instant."
    hint = "Write it as 2026-11-23T10:00:00Z; a + in an address is written %2B."
    if not _INSTANT.fullmatch(text):
        raise ParameterError(message, name=name, hint=hint)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ParameterError(message, name=name, hint=hint) from error


def parse_group_by(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the columns named in ``text``; refuse unknown ones, doubles, and too many."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in known:
            message = f"There is no group column {name[:40]!r}."
            raise ParameterError(message, name="group_by", hint=f"Known are {', '.join(known)}.")
    if len(set(names)) < len(names):
        message = "A group column is named twice."
        raise ParameterError(message, name="group_by", hint="Name each once.")
    if len(names) > _MOST_GROUPS:
        message = f"There are more than {_MOST_GROUPS} group columns."
        raise ParameterError(message, name="group_by", hint="Ask for fewer.")
    return names


def parse_filters(texts: Sequence[str], known: Sequence[str]) -> Filters:
    """Return the allowed values by column that ``texts`` of the form column=value name."""
    values: dict[str, set[str]] = {}
    if len(texts) > _MOST_FILTER_VALUES:
        message = f"There are more than {_MOST_FILTER_VALUES} filters."
        raise ParameterError(message, name="filter", hint="Ask for fewer.")
    for text in texts:
        column, separator, value = text.partition("=")
        if not separator or _CONTROL.search(value):
            message = f"{text[:60]!r} is not a filter."
            raise ParameterError(message, name="filter", hint=_FILTER_HINT)
        if column not in known:
            message = f"There is no filter column {column[:40]!r}."
            raise ParameterError(message, name="filter", hint=f"Known are {', '.join(known)}.")
        values.setdefault(column, set()).add(value)
    return tuple((column, tuple(sorted(values[column]))) for column in sorted(values))
