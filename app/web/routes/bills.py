"""Providers' bills: GET /v1/bills, and what of them the ledger explains: GET /v1/reconciliation."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from app.chargeback.periods import PeriodError
from app.chargeback.tables import Table, plain
from app.web.auth import Reader, RequestLedger, dependencies
from app.web.paging import DEFAULT_PAGE, Cursor, Key, Limit, link_to, page_of
from app.web.parameters import takes
from app.web.problems import ForbiddenError, ParameterError, problem_responses
from app.web.reading import ApiKey, Dependencies
from app.web.representations import (
    CSV_CONTENT,
    Media,
    WireCell,
    accepted,
    answer_csv,
    answer_json,
    wire_rows,
)

router = APIRouter(tags=["bills"])
_BILL_KEY = ("provider", "billing_account", "period_start")


class Part(StrEnum):
    """Which table of a reconciliation is answered as CSV."""

    SUMMARY = "summary"
    UNMATCHED = "unmatched"
    NODES = "nodes"


class BillsBody(BaseModel):
    """Every version of providers' bills; a superseded one stays readable and does not count."""

    columns: list[str]
    rows: list[dict[str, WireCell]]
    next_cursor: str | None


class ReconciliationBody(BaseModel):
    """A month's bills against the ledger.

    In each of ``bills``, and in ``total``, provider_bill = pool_cost + commitment_unused +
    not_in_cluster + true_up + unmatched. ``unmatched`` and ``nodes`` have the most money first, at
    most ``limit`` rows each; as CSV they are whole.
    """

    period: str
    currency: str
    bills: list[dict[str, WireCell]]
    total: dict[str, WireCell]
    unmatched: list[dict[str, WireCell]]
    nodes: list[dict[str, WireCell]]


@router.get(
    "/v1/bills",
    response_class=Response,
    dependencies=[Depends(takes("limit", "cursor"))],
    responses={
        200: {"model": BillsBody, "content": CSV_CONTENT, "description": "Providers' bills."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def bills(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return the versions of providers' bills, by provider, account, period and version."""
    _refuse_team(key)
    media = accepted(request)
    table = ledger.bills()
    keys: list[Key] = [
        (*(plain(record[name]) for name in _BILL_KEY), int(plain(record["version"])))
        for record in table.records()
    ]
    most = limit or (DEFAULT_PAGE if media is Media.JSON else None)
    page = page_of(keys, question="bills", cursor=cursor, limit=most)
    shown = Table(table.columns, table.rows[page.first : page.end])
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, shown, name="bills", link=link)
    body = BillsBody(
        columns=list(shown.columns), rows=wire_rows(shown), next_cursor=page.next_cursor
    )
    return answer_json(request, body, link=link)


@router.get(
    "/v1/reconciliation",
    response_class=Response,
    dependencies=[Depends(takes("period", "part", "limit"))],
    responses={
        200: {
            "model": ReconciliationBody,
            "content": CSV_CONTENT,
            "description": "A month's bills against the ledger.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def reconciliation(  # every one is a parameter of the request
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    period: Annotated[str, Query(description="A month.", examples=["2026-10"], max_length=32)],
    part: Annotated[Part, Query(description="Which table a CSV has.")] = Part.SUMMARY,
    limit: Limit = None,
) -> Response:
    """Return what of a month's bills the ledger explains, and what not."""
    _refuse_team(key)
    media = accepted(request)
    try:
        found = ledger.reconciliation(period)
    except PeriodError as error:
        raise ParameterError(error.message, name="period", hint=error.hint) from error
    if media is Media.CSV:
        table = {
            Part.SUMMARY: found.summary,
            Part.UNMATCHED: found.unmatched,
            Part.NODES: found.nodes,
        }[part]
        return answer_csv(request, table, name=f"reconciliation-{period}-{part.value}")
    *listed, total = wire_rows(found.summary)
    most = limit or DEFAULT_PAGE
    body = ReconciliationBody(
        period=period,
        currency=deps.currency,
        bills=listed,
        total=total,
        unmatched=wire_rows(found.unmatched)[:most],
        nodes=wire_rows(found.nodes)[:most],
    )
    return answer_json(request, body)


def _refuse_team(key: ApiKey) -> None:
    if key.team:
        message = f"The API key {key.name!r} sees the team {key.team} only; bills are of no team."
        raise ForbiddenError(message, hint="Use a key without a team.")
