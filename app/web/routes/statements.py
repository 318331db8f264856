"""Statements under /v1/statements: as they were written, the same bytes for ever."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.chargeback.statements import Statement, StatementHead, minor_amount
from app.chargeback.tables import Table, amount, plain
from app.units.window import from_ms
from app.web.auth import Reader, RequestLedger
from app.web.paging import DEFAULT_PAGE, Cursor, Limit, link_to, page_of
from app.web.parameters import NAME_PATTERN, takes
from app.web.problems import NotFoundError, problem_responses
from app.web.reading import ApiKey
from app.web.representations import (
    CSV_CONTENT,
    Media,
    accepted,
    answer_bytes,
    answer_csv,
    answer_json,
)

router = APIRouter(tags=["statements"])
Number = Annotated[
    str,
    Path(
        max_length=300,
        pattern=NAME_PATTERN,
        description="A statement's number.",
        examples=["CB-2026-10-search"],
    ),
]
Version = Annotated[int, Path(ge=1, le=1_000_000, description="Which closing of the period.")]
_CONTENT = {
    Media.JSON.value: {"schema": {"type": "object"}},
    **CSV_CONTENT,
}
_ANSWERS: dict[int | str, dict[str, object]] = {
    200: {"content": _CONTENT, "description": "The statement as it was written."},
    304: {"description": "Not modified: the client has this answer already."},
    **problem_responses(401, 403, 404, 406, 422, 500, 503),
}


class StatementHeadBody(BaseModel):
    """A statement without its lines. ``total`` is rounded, ``exact_total`` is not."""

    number: str
    version: int
    period: str
    team: str
    closed_at: AwareDatetime
    currency: str
    exact_total: str
    total: str
    sha256: str
    csv_sha256: str


class StatementsBody(BaseModel):
    """Statements of all versions, by number and version."""

    rows: list[StatementHeadBody]
    next_cursor: str | None


@router.get(
    "/v1/statements",
    response_class=Response,
    dependencies=[Depends(takes("period", "team", "limit", "cursor"))],
    responses={
        200: {"model": StatementsBody, "content": CSV_CONTENT, "description": "Statements."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def statements(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    period: Annotated[
        str, Query(max_length=32, pattern=NAME_PATTERN, description="Only this period's.")
    ] = "",
    team: Annotated[
        str | None,
        Query(max_length=253, pattern=NAME_PATTERN, description="Only this team's."),
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return the statements that the key may see."""
    media = accepted(request)
    found = sorted(
        (one for one in ledger.statements(period=period, team=team) if _visible(one, key)),
        key=lambda one: (one.number, one.version),
    )
    most = limit or (DEFAULT_PAGE if media is Media.JSON else None)
    page = page_of(
        [(one.number, one.version) for one in found],
        question=f"statements {period!r} {team!r} {key.team!r}",
        cursor=cursor,
        limit=most,
    )
    bodies = [_head(one) for one in found[page.first : page.end]]
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        columns = tuple(StatementHeadBody.model_fields)
        rows = tuple(tuple(one.model_dump(mode="json").values()) for one in bodies)
        return answer_csv(request, Table(columns, rows), name="statements", link=link)
    return answer_json(
        request, StatementsBody(rows=bodies, next_cursor=page.next_cursor), link=link
    )


# Numbers end in a name that people gave, which may contain a slash; so the version comes first.
@router.get(
    "/v1/statements/{number:path}/{version:int}",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses=_ANSWERS,
)
def statement(
    request: Request, key: Reader, ledger: RequestLedger, number: Number, version: Version
) -> Response:
    """Return a version of a statement as it was written; it may be kept for ever."""
    media = accepted(request)
    found = _found(ledger.statement(number, version), number, key)
    return _answer(request, media, found, immutable=True)


@router.get(
    "/v1/statements/{number:path}",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses=_ANSWERS,
)
def latest(request: Request, key: Reader, ledger: RequestLedger, number: Number) -> Response:
    """Return a statement's last version as it was written."""
    media = accepted(request)
    return _answer(request, media, _found(ledger.statement(number, None), number, key))


def _answer(
    request: Request, media: Media, found: Statement, *, immutable: bool = False
) -> Response:
    name = f"{found.number}-{found.version}"
    content = found.csv if media is Media.CSV else found.body
    return answer_bytes(request, content, media, name=name, immutable=immutable)


def _found(statement: Statement | None, number: str, key: ApiKey) -> Statement:
    # Whether another team has a statement is that team's business.
    if statement is None or not _visible(statement, key):
        message = f"There is no statement {number!r}."
        raise NotFoundError(message, hint="GET /v1/statements lists them.")
    return statement


def _visible(one: Statement | StatementHead, key: ApiKey) -> bool:
    return not key.team or one.team == key.team


def _head(one: StatementHead) -> StatementHeadBody:
    return StatementHeadBody(
        number=one.number,
        version=one.version,
        period=one.period,
        team=one.team,
        closed_at=from_ms(one.closed_ms),
        currency=one.currency,
        exact_total=plain(amount(one.total_nanos)),
        total=plain(minor_amount(one.total_minor, one.currency)),
        sha256=one.sha256,
        csv_sha256=one.csv_sha256,
    )
