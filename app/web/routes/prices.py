"""GET and POST /v1/prices: the price book at every version, and taking price inputs."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.chargeback.prices import PRICE_COLUMNS, in_order, price_key, prices_table
from app.chargeback.tables import Table, amount, plain
from app.pricing.rows import PriceRow
from app.store.price_versions import ImportKind, PriceVersion
from app.units.identity import id_text
from app.units.window import from_ms, to_ms
from app.web.auth import Reader, RequestLedger, Writer, dependencies
from app.web.paging import DEFAULT_PAGE, Cursor, Key, Limit, link_to, page_of
from app.web.parameters import FilterBy, parse_filters, takes
from app.web.price_reading import PriceImportRequest
from app.web.problems import ForbiddenError, ParameterError, problem_responses
from app.web.reading import Dependencies
from app.web.representations import (
    CSV_CONTENT,
    Media,
    WireCell,
    accepted,
    answer_csv,
    answer_json,
    wire_rows,
)
from app.web.routes.findings import IdempotencyKey, required_key
from app.workflows.imports import Imported

router = APIRouter(tags=["prices"])
LARGEST_FILE_BYTES = 5 * 1024 * 1024
"""The longest body of an import: some 50,000 rows."""

_FILTERS = PRICE_COLUMNS[:8]


class Book(StrEnum):
    """Which book of prices: what is paid, or what teams pay."""

    ACTUAL = "actual"
    RATE_CARD = "rate_card"


class FileKind(StrEnum):
    """What a file of price inputs has; the register of owned hardware is TOML, the others CSV."""

    PRICES = "prices"
    RATE_CARD = "rate_card"
    EXCHANGE_RATES = "exchange_rates"
    TERMS = "terms"
    CREDITS = "credits"
    OWNED = "owned"


class PricesBody(BaseModel):
    """Prices in the columns of the price book's file, and ``price_id``."""

    rows: list[dict[str, WireCell]]
    next_cursor: str | None


class PriceVersionBody(BaseModel):
    """One version of the price inputs: what was imported, and for a correction why."""

    version: int
    kind: ImportKind
    imported_at: AwareDatetime
    file_name: str
    added: int
    superseded: int
    reason: str
    author: str
    sha256: str


class PriceVersionsBody(BaseModel):
    """Versions of the price inputs, the first one first."""

    rows: list[PriceVersionBody]
    next_cursor: str | None


class MovedBody(BaseModel):
    """What an import changes for a team in the open hours that it touches; '' is nobody's."""

    team: str
    before: str
    after: str
    moved: str


class ImportBody(BaseModel):
    """What an import did, or for a dry run would do.

    ``hours`` wait for a rating; ``closed_hours`` are of closed periods and keep their charges.
    """

    version: int
    added: int
    superseded: int
    unchanged: int
    hours: int
    closed_hours: int
    dry_run: bool
    currency: str
    moved: list[MovedBody]
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportParameters:
    """How a file is to be taken, as it stands in the address."""

    kind: FileKind
    reason: str
    dry_run: bool


def import_parameters(
    *,
    kind: Annotated[FileKind, Query(description="What the file has.")] = FileKind.PRICES,
    reason: Annotated[
        str,
        Query(
            max_length=500,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="Why; needed where rows that are there are corrected.",
        ),
    ] = "",
    dry_run: Annotated[bool, Query(description="Say what it would do, and store nothing.")] = False,
) -> ImportParameters:
    """Gather how a file is to be taken."""
    return ImportParameters(kind=kind, reason=reason, dry_run=dry_run)


@router.get(
    "/v1/prices",
    response_class=Response,
    dependencies=[Depends(takes("version", "book", "limit", "cursor", many="filter"))],
    responses={
        200: {"model": PricesBody, "content": CSV_CONTENT, "description": "The prices."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 404, 406, 422, 500, 503),
    },
)
def prices(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    version: Annotated[
        int | None, Query(ge=0, le=2**31, description="As of this version; the last by default.")
    ] = None,
    book: Annotated[Book, Query(description="What is paid, or the rate card.")] = Book.ACTUAL,
    filter_by: FilterBy = (),
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return the rows of the price book, those of owned hardware among them."""
    del key
    media = accepted(request)
    filters = parse_filters(filter_by, _FILTERS)
    found = [
        row
        for row in in_order(ledger.prices(version, card=book is Book.RATE_CARD))
        if all(str(getattr(row, column)) in values for column, values in filters)
    ]
    keys: list[Key] = [price_key(row) for row in found]
    page = page_of(
        keys,
        question=f"prices {version} {book} {filters}",
        cursor=cursor,
        limit=limit if limit is not None or media is Media.CSV else DEFAULT_PAGE,
    )
    shown = found[page.first : page.end]
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, prices_table(shown), name="prices", link=link)
    body = PricesBody(rows=wire_rows(_with_ids(shown)), next_cursor=page.next_cursor)
    return answer_json(request, body, link=link)


@router.get(
    "/v1/prices/versions",
    response_class=Response,
    dependencies=[Depends(takes("limit", "cursor"))],
    responses={
        200: {"model": PriceVersionsBody, "description": "The versions of the price inputs."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def versions(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return what was imported when, and why it was corrected."""
    del key
    accepted(request, (Media.JSON,))
    found = ledger.price_versions()
    page = page_of(
        [(one.version,) for one in found],
        question="price versions",
        cursor=cursor,
        limit=limit or DEFAULT_PAGE,
    )
    body = PriceVersionsBody(
        rows=[_version(one) for one in found[page.first : page.end]],
        next_cursor=page.next_cursor,
    )
    return answer_json(request, body, link=link_to(request, page.next_cursor))


@router.post(
    "/v1/prices",
    response_class=Response,
    dependencies=[Depends(takes("kind", "reason", "dry_run"))],
    responses={
        200: {"model": ImportBody, "description": "What the import did, or would do."},
        **problem_responses(400, 401, 403, 406, 413, 422, 500, 503),
    },
)
def import_prices(
    request: Request,
    key: Writer,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    body: Annotated[bytes, Body(media_type="text/csv", description="The file, in UTF-8.")],
    given: Annotated[ImportParameters, Depends(import_parameters)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take a file of price inputs, all of it or nothing; the author is the name of the key."""
    accepted(request, (Media.JSON,))
    if key.team:
        message = f"The API key {key.name!r} sees the team {key.team} only; prices are everybody's."
        raise ForbiddenError(message, hint="Use a key without a team.")
    asked = PriceImportRequest(
        kind=ImportKind(given.kind.value),
        text=_text(body),
        reason=given.reason.strip(),
        author=key.name,
        dry_run=given.dry_run,
        at_ms=to_ms(deps.now()),
    )
    done = ledger.import_prices(asked, idempotency_key=required_key(idempotency_key))
    return answer_json(request, _imported(done, deps.currency))


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        message = f"The body is not UTF-8 in line {line}: {error.reason} at byte {error.start}."
        raise ParameterError(message, name="body", hint="Nothing of it was taken.") from error


def _with_ids(rows: list[PriceRow]) -> Table:
    table = prices_table(rows)
    return Table(
        ("price_id", *table.columns),
        tuple((id_text(row.price_id), *cells) for row, cells in zip(rows, table.rows, strict=True)),
    )


def _version(one: PriceVersion) -> PriceVersionBody:
    return PriceVersionBody(
        version=one.version,
        kind=one.kind,
        imported_at=from_ms(one.imported_ms),
        file_name=one.file_name,
        added=one.added,
        superseded=one.superseded,
        reason=one.reason,
        author=one.author,
        sha256=one.sha256,
    )


def _imported(done: Imported, currency: str) -> ImportBody:
    return ImportBody(
        version=done.version,
        added=done.added,
        superseded=done.superseded,
        unchanged=done.unchanged,
        hours=done.hours,
        closed_hours=done.closed_hours,
        dry_run=done.dry_run,
        currency=currency,
        moved=[
            MovedBody(
                team=line.team,
                before=plain(amount(line.before_nanos)),
                after=plain(amount(line.after_nanos)),
                moved=plain(amount(line.moved_nanos)),
            )
            for line in done.moved
            if line.moved_nanos
        ],
        warnings=list(done.warnings),
    )
