"""GET /v1/costs: what was held, and what it cost, by whatever is asked for."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.chargeback.costs import (
    COST_GROUPS,
    TIME_GROUPS,
    Basis,
    costs_columns,
    costs_schema,
    costs_table,
    total_nanos,
)
from app.chargeback.tables import amount, plain
from app.web.auth import Reader, RequestLedger, dependencies, within_team
from app.web.paging import DEFAULT_PAGE, in_order, link_to, page_of
from app.web.parameters import (
    TABLE_PARAMETERS,
    GroupBy,
    TableParameters,
    parse_filters,
    parse_group_by,
    parse_window,
    table_parameters,
    takes,
)
from app.web.problems import problem_responses
from app.web.reading import CostsQuestion, Dependencies
from app.web.representations import (
    CSV_CONTENT,
    Media,
    WireCell,
    accepted,
    answer_csv,
    answer_json,
    wire_rows,
)

router = APIRouter(tags=["costs"])
FILTER_COLUMNS = tuple(name for name in COST_GROUPS if name not in TIME_GROUPS)


class CostsBody(BaseModel):
    """Summed charges. ``total_cost`` is that of all pages; ``rows`` are those of this one."""

    start: AwareDatetime
    end: AwareDatetime
    basis: Basis
    group_by: list[str]
    currency: str
    complete: bool
    pending_rerating: bool
    total_cost: str
    columns: list[str]
    rows: list[dict[str, WireCell]]
    next_cursor: str | None


@router.get(
    "/v1/costs",
    response_class=Response,
    dependencies=[Depends(takes(*TABLE_PARAMETERS, "basis", many="filter"))],
    responses={
        200: {"model": CostsBody, "content": CSV_CONTENT, "description": "Summed charges."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def costs(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    asked: Annotated[TableParameters, Depends(table_parameters)],
    group_by: GroupBy = "team",
    basis: Annotated[Basis, Query(description="By posting period or by usage time.")] = (
        Basis.POSTED
    ),
) -> Response:
    """Return charges of the window, summed by the group columns."""
    media = accepted(request)
    question = CostsQuestion(
        window=parse_window(asked, now=deps.now()),
        group_by=parse_group_by(group_by, COST_GROUPS),
        filters=within_team(parse_filters(asked.filters, FILTER_COLUMNS), key),
        basis=basis,
    )
    answer = ledger.costs(question)
    costs_schema(question.group_by).validate(answer.rows)
    rows, keys = in_order(answer.rows, question.group_by)
    most = asked.limit or (DEFAULT_PAGE if media is Media.JSON else None)
    page = page_of(keys, question=repr(question), cursor=asked.cursor, limit=most)
    table = costs_table(rows.iloc[page.first : page.end], question.group_by, deps.currency)
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, table, name=f"costs-{asked.file_name}", link=link)
    body = CostsBody(
        start=question.window.start,
        end=question.window.end,
        basis=basis,
        group_by=list(question.group_by),
        currency=deps.currency,
        complete=answer.complete,
        pending_rerating=answer.pending_rerating,
        total_cost=plain(amount(total_nanos(rows))),
        columns=list(costs_columns(question.group_by)),
        rows=wire_rows(table),
        next_cursor=page.next_cursor,
    )
    return answer_json(request, body, link=link)
