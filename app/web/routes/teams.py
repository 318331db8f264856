"""GET /v1/teams: who is charged, where they stand in the company, and their budgets."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from app.chargeback.ownership import teams_table
from app.chargeback.tables import Table
from app.units.window import to_ms
from app.web.auth import Reader, RequestLedger
from app.web.paging import DEFAULT_PAGE, Cursor, Key, Limit, link_to, numbered, page_of
from app.web.parameters import parse_instant, takes
from app.web.problems import problem_responses
from app.web.representations import (
    CSV_CONTENT,
    Media,
    WireCell,
    accepted,
    answer_csv,
    answer_json,
    wire_rows,
)

router = APIRouter(tags=["teams"])

At = Annotated[
    str | None,
    Query(
        description="Only what counts at this instant: RFC 3339.",
        examples=["2026-11-23T00:00:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
]


class TeamsBody(BaseModel):
    """One row a block of a team, cut where its department or cost center changes.

    ``clusters`` and ``namespaces`` have spaces between; an empty end of validity is open.
    """

    rows: list[dict[str, WireCell]]
    next_cursor: str | None


@router.get(
    "/v1/teams",
    response_class=Response,
    dependencies=[Depends(takes("at", "limit", "cursor"))],
    responses={
        200: {"model": TeamsBody, "content": CSV_CONTENT, "description": "Teams."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def teams(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    at: At = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return the teams of the contract in force, by name and time."""
    media = accepted(request)
    at_ms = None if at is None else to_ms(parse_instant("at", at))
    whole = teams_table(ledger.contract(), team=key.team, at_ms=at_ms)
    keys: list[Key] = [(str(row[0]),) for row in whole.rows]
    most = limit or (DEFAULT_PAGE if media is Media.JSON else None)
    page = page_of(numbered(keys), question=f"teams {key.team} {at}", cursor=cursor, limit=most)
    table = Table(whole.columns, whole.rows[page.first : page.end])
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, table, name="teams", link=link)
    body = TeamsBody(rows=wire_rows(table), next_cursor=page.next_cursor)
    return answer_json(request, body, link=link)
