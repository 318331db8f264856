"""GET /v1/adjustments: what was posted to closed periods, line by line."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from app.attribution.adjustments import AdjustmentType
from app.chargeback.adjustments import ADJUSTMENT_COLUMNS, adjustments_table
from app.chargeback.tables import amount, plain
from app.web.auth import Reader, RequestLedger, dependencies, within_team
from app.web.paging import DEFAULT_PAGE, Cursor, Limit, in_order, link_to, page_of
from app.web.parameters import takes
from app.web.problems import problem_responses
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
from app.workflows.posted_adjustments import AdjustmentsQuestion

router = APIRouter(tags=["adjustments"])


class Type(StrEnum):
    """Why a closed period was adjusted."""

    LATE_FACTS = "late_facts"
    CORRECTION = "correction"
    REOPENING = "reopening"
    TRUE_UP = "true_up"


class AdjustmentsBody(BaseModel):
    """Differences of lines. ``total_cost`` is that of all pages; ``rows`` are those of this one."""

    currency: str
    total_cost: str
    columns: list[str]
    rows: list[dict[str, WireCell]]
    next_cursor: str | None


@router.get(
    "/v1/adjustments",
    response_class=Response,
    dependencies=[Depends(takes("period", "posted_in", "team", "type", "limit", "cursor"))],
    responses={
        200: {"model": AdjustmentsBody, "content": CSV_CONTENT, "description": "Adjustments."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def adjustments(  # noqa: PLR0913, PLR0917 # every one is a parameter of the route
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    period: Annotated[str, Query(max_length=32, description="Only to lines of this period.")] = "",
    posted_in: Annotated[str, Query(max_length=32, description="Only booked in this one.")] = "",
    team: Annotated[str | None, Query(max_length=200, description="Only this team's.")] = None,
    type: Annotated[Type | None, Query(description="Only of this type.")] = None,  # noqa: A002 # the parameter's name in the address
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return what was posted, in the order of postings, usage and lines."""
    media = accepted(request)
    asked = () if team is None else (("team", (team,)),)
    teams = dict(within_team(asked, key)).get("team")
    question = AdjustmentsQuestion(
        period=period,
        posted_in=posted_in,
        team=None if teams is None else teams[0],
        type=None if type is None else AdjustmentType[type.name],
    )
    rows = ledger.adjustments(question)
    order = ("run", "usage_start", "cluster", "adjustment")
    rows, keys = in_order(rows, order)
    most = limit or (DEFAULT_PAGE if media is Media.JSON else None)
    page = page_of(keys, question=repr(question), cursor=cursor, limit=most)
    table = adjustments_table(rows.iloc[page.first : page.end], deps.currency)
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, table, name="adjustments", link=link)
    body = AdjustmentsBody(
        currency=deps.currency,
        total_cost=plain(amount(int(rows["cost_nanos"].sum()))),
        columns=list(ADJUSTMENT_COLUMNS),
        rows=wire_rows(table),
        next_cursor=page.next_cursor,
    )
    return answer_json(request, body, link=link)
