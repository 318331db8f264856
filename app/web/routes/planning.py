"""GET /v1/budgets, /v1/forecast, /v1/anomalies and /v1/what-if/break-even."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from app.chargeback.tables import Table, plain
from app.web.auth import Reader, RequestLedger, dependencies
from app.web.paging import DEFAULT_PAGE, Cursor, Key, Limit, link_to, numbered, page_of
from app.web.parameters import (
    End,
    Start,
    TableParameters,
    parse_window,
    takes,
)
from app.web.planning_reading import AnomalyQuestion, BreakEvenQuestion, MonthQuestion
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
from app.workflows.planning import Subject, parse_days

router = APIRouter(tags=["planning"])
Period = Annotated[
    str, Query(description="A month; the one that goes on if left out.", examples=["2026-11"])
]


class PlanningBody(BaseModel):
    """A table: its columns in order and its rows by column."""

    columns: list[str]
    rows: list[dict[str, WireCell]]
    next_cursor: str | None


@router.get(
    "/v1/budgets",
    response_class=Response,
    dependencies=[Depends(takes("period", "limit", "cursor"))],
    responses={
        200: {
            "model": PlanningBody,
            "content": CSV_CONTENT,
            "description": "Budgets of a month by team.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def budgets(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    period: Period = "",
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return where teams stand with their budgets; a key of a team sees its own."""
    question = MonthQuestion(period=period, at=deps.now(), team=key.team)
    table = ledger.budgets(question)
    return _answer(request, table, ("team",), f"budgets-{period}", limit, cursor)


@router.get(
    "/v1/forecast",
    response_class=Response,
    dependencies=[Depends(takes("period", "limit", "cursor"))],
    responses={
        200: {
            "model": PlanningBody,
            "content": CSV_CONTENT,
            "description": "A month's forecast by team.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def forecast(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    period: Period = "",
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return what teams will have spent at the end of a month, with an interval."""
    question = MonthQuestion(period=period, at=deps.now(), team=key.team)
    table = ledger.forecast(question)
    return _answer(request, table, ("team",), f"forecast-{period}", limit, cursor)


@router.get(
    "/v1/anomalies",
    response_class=Response,
    dependencies=[Depends(takes("start", "end", "by", "limit", "cursor"))],
    responses={
        200: {
            "model": PlanningBody,
            "content": CSV_CONTENT,
            "description": "Days that are off.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def anomalies(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    start: Annotated[str, Query(description="First day.", examples=["2026-11-01"])],
    end: Annotated[str, Query(description="First day after.", examples=["2026-11-08"])],
    by: Annotated[Subject, Query(description="Whose daily cost.")] = Subject.TEAM,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return days of teams or services that cost far more or less than such days did."""
    first, after = parse_days(start, end)
    question = AnomalyQuestion(by=by, first=first, after=after, team=key.team)
    table = ledger.anomalies(question)
    name = f"anomalies-{first}-{after}"
    return _answer(request, table, ("day", "subject"), name, limit, cursor)


@router.get(
    "/v1/what-if/break-even",
    response_class=Response,
    dependencies=[Depends(takes("start", "end", "limit", "cursor"))],
    responses={
        200: {
            "model": PlanningBody,
            "content": CSV_CONTENT,
            "description": "Own cost beside hosted prices.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def break_even(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    start: Start,
    end: End,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return what served models cost beside what hosted ones would, on the reserved basis."""
    asked = TableParameters(start=start, end=end, filters=(), limit=limit, cursor=cursor)
    window = parse_window(asked, now=deps.now())
    table = ledger.break_even(BreakEvenQuestion(window=window, team=key.team))
    name = f"break-even-{asked.file_name}"
    return _answer(request, table, ("model", "provider"), name, limit, cursor)


def _answer(
    request: Request,
    table: Table,
    keys: tuple[str, ...],
    name: str,
    limit: int | None,
    cursor: str | None,
) -> Response:
    media = accepted(request)
    places = [table.columns.index(key) for key in keys]
    ordered = sorted(table.rows, key=lambda row: [plain(row[place]) for place in places])
    sort_keys: list[Key] = [tuple(plain(row[place]) for place in places) for row in ordered]
    most = limit or (DEFAULT_PAGE if media is Media.JSON else None)
    page = page_of(
        numbered(sort_keys), question=f"{request.url.path} {name}", cursor=cursor, limit=most
    )
    shown = Table(table.columns, tuple(ordered[page.first : page.end]))
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, shown, name=name.rstrip("-"), link=link)
    body = PlanningBody(
        columns=list(table.columns), rows=wire_rows(shown), next_cursor=page.next_cursor
    )
    return answer_json(request, body, link=link)
