"""Cursor pagination: a page ends at a row, and the next begins after that row's key."""

import base64
import binascii
import hashlib
import itertools
import json
import operator
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pandas as pd
from fastapi import Query, Request

from app.web.problems import ParameterError

LARGEST_PAGE = 10_000
DEFAULT_PAGE = 1_000

Limit = Annotated[
    int | None,
    Query(ge=1, le=LARGEST_PAGE, description=f"Rows a page; JSON has {DEFAULT_PAGE} by default."),
]
Cursor = Annotated[
    str | None, Query(max_length=20_000, description="Where to go on, as an answer gave it.")
]

# The sort key of a row: unique, and the same kind of values in every row.
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The rows ``[first, end)`` of an answer, and the cursor of the rows after them or None."""

    first: int
    end: int
    next_cursor: str | None


def page_of(keys: Sequence[Key], *, question: str, cursor: str | None, limit: int | None) -> Page:
    """Return the page after ``cursor`` of rows with the sorted ``keys``.

    ``question`` is all that decides which rows there are: a cursor belongs to one question. Rows
    that appear or vanish between two pages neither double nor hide others.
    """
    mark = hashlib.sha256(question.encode()).hexdigest()[:16]
    first = 0 if cursor is None else bisect_right(keys, _decode(cursor, mark, keys))
    end = len(keys) if limit is None else min(len(keys), first + limit)
    following = _encode(mark, keys[end - 1]) if first < end < len(keys) else None
    return Page(first, end, following)


def in_order(rows: pd.DataFrame, group_by: Sequence[str]) -> tuple[pd.DataFrame, list[Key]]:
    """Return rows ordered by their group values, and those values as keys."""
    keys: list[Key] = list(zip(*(rows[name].tolist() for name in group_by), strict=True))
    if all(map(operator.lt, keys, itertools.islice(keys, 1, None))):
        return rows, keys
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return rows.iloc[order], [keys[index] for index in order]


def numbered(keys: Sequence[Key]) -> list[Key]:
    """Return sorted keys made unique: each with its number among its equals."""
    found: list[Key] = []
    for _, equals in itertools.groupby(keys):
        found += [(*key, number) for number, key in enumerate(equals)]
    return found


def link_to(request: Request, cursor: str | None) -> str:
    """Return the value of the Link header (RFC 8288) for the next page; '' if there is none."""
    if cursor is None:
        return ""
    address = request.url.include_query_params(cursor=cursor)
    return f'<{address.path}?{address.query}>; rel="next"'


def _encode(mark: str, key: Key) -> str:
    text = json.dumps([mark, *key], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, mark: str, keys: Sequence[Key]) -> Key:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _bad_cursor() from error
    if not isinstance(values, list) or len(values) < 1 or values[0] != mark:
        raise _bad_cursor()
    key = tuple(values[1:])
    if keys and [type(value) for value in key] != [type(value) for value in keys[0]]:
        raise _bad_cursor()
    return key


def _bad_cursor() -> ParameterError:
    message = "The cursor does not belong to this question."
    return ParameterError(
        message, name="cursor", hint="Start without a cursor, or repeat the question."
    )
