"""How answers leave: as JSON or CSV by the Accept header, with an ETag."""

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

from fastapi import Request, Response
from pydantic import BaseModel

from app.chargeback.tables import Cell, Table, csv_bytes, plain
from app.web.problems import NotAcceptableError

# A cell on the wire: decimals are text, counts numbers.
WireCell = str | int | bool | None


class Media(StrEnum):
    """The media types that tables are offered in, the preferred one first."""

    JSON = "application/json"
    CSV = "text/csv"


_Offered = TypeVar("_Offered", bound=StrEnum)

# What OpenAPI says of an answer that is also offered as CSV.
CSV_CONTENT = {Media.CSV.value: {"schema": {"type": "string"}}}


def accepted(request: Request, offered: Sequence[Media] = tuple(Media)) -> Media:
    """Return the offered media type that the client likes best (RFC 9110, section 12.5.1)."""
    return preferred(request, offered)


def preferred(request: Request, offered: Sequence[_Offered]) -> _Offered:
    """Return the same of any media types that a route has."""
    header = ",".join(request.headers.getlist("accept")) or "*/*"
    likes = {media: _quality(header, media) for media in offered}
    best = max(offered, key=lambda media: likes[media])
    if likes[best] <= 0:
        names = ", ".join(media.value for media in offered)
        message = "None of the accepted media types is offered."
        raise NotAcceptableError(message, hint=f"Offered are {names}.")
    return best


def _quality(header: str, media: StrEnum) -> float:
    """Return how much ``header`` likes ``media``, 0–1; the most specific range decides."""
    kind = media.value.partition("/")[0]
    ranges = (media.value, f"{kind}/*", "*/*")
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (item.strip().lower() for item in part.split(";"))
        weights = [item.removeprefix("q=") for item in parameters if item.startswith("q=")]
        found[name] = _weight(weights[0]) if weights else 1.0
    return next((found[name] for name in ranges if name in found), 0.0)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def wire_rows(table: Table) -> list[dict[str, WireCell]]:
    """Return rows by column name, with decimals as text."""
    return [
        {name: _wire(cell) for name, cell in zip(table.columns, row, strict=True)}
        for row in table.rows
    ]


def _wire(cell: Cell) -> WireCell:
    return plain(cell) if isinstance(cell, Decimal) else cell


def answer_json(request: Request, body: BaseModel, *, link: str = "") -> Response:
    """Return ``body`` as JSON, or 304 if the client has it already."""
    return _tagged(request, body.model_dump_json().encode(), Media.JSON.value, {"Link": link})


def answer_csv(request: Request, table: Table, *, name: str, link: str = "") -> Response:
    """Return ``table`` as a CSV file called ``name``, or 304 if the client has it already."""
    headers = {"Link": link, "Content-Disposition": f'attachment; filename="{name}.csv"'}
    return _tagged(request, csv_bytes(table), f"{Media.CSV.value}; charset=utf-8", headers)


def answer_file(request: Request, content: bytes, *, media_type: str, name: str) -> Response:
    """Return a file called ``name``, or 304 if the client has it already."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return _tagged(request, content, media_type, headers)


def answer_bytes(
    request: Request, content: bytes, media: Media, *, name: str, immutable: bool
) -> Response:
    """Return stored bytes called ``name``; what is immutable may be kept by the client for ever."""
    headers = {}
    if immutable:
        headers["Cache-Control"] = "private, max-age=31536000, immutable"
    if media is Media.CSV:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}.csv"
        return _tagged(request, content, f"{media.value}; charset=utf-8", headers)
    return _tagged(request, content, media.value, headers)


def _tagged(request: Request, content: bytes, media_type: str, extra: dict[str, str]) -> Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization",
        **{name: value for name, value in extra.items() if value},
    }
    if _matches(request.headers.getlist("if-none-match"), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def _matches(headers: Sequence[str], tag: str) -> bool:
    """Say whether If-None-Match names ``tag``, by weak comparison (RFC 9110, section 13.1.2)."""
    tags = [item.strip() for header in headers for item in header.split(",")]
    return "*" in tags or tag in [item.removeprefix("W/") for item in tags]
