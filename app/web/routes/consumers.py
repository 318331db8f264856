"""GET /v1/consumers: who sent tokens to shared services, and what of their cost is theirs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.chargeback.consumers import (
    CONSUMER_COLUMNS,
    CONSUMER_FILTERS,
    CONSUMER_KEYS,
    CONSUMERS,
    consumers_table,
)
from app.web.auth import Reader, RequestLedger, dependencies, within_team
from app.web.paging import DEFAULT_PAGE, in_order, link_to, numbered, page_of
from app.web.parameters import (
    TableParameters,
    parse_filters,
    parse_window,
    table_parameters,
    takes,
)
from app.web.problems import problem_responses
from app.web.reading import ConsumersQuestion, Dependencies
from app.web.representations import (
    CSV_CONTENT,
    Media,
    WireCell,
    accepted,
    answer_csv,
    answer_json,
    wire_rows,
)

router = APIRouter(tags=["consumers"])


class ConsumersBody(BaseModel):
    """One row a day, service, consumer and team. A day counts if its beginning is in the span."""

    start: AwareDatetime
    end: AwareDatetime
    currency: str
    complete: bool
    pending_rerating: bool
    columns: list[str]
    rows: list[dict[str, WireCell]]
    next_cursor: str | None


@router.get(
    "/v1/consumers",
    response_class=Response,
    dependencies=[Depends(takes("start", "end", "limit", "cursor", many="filter"))],
    responses={
        200: {"model": ConsumersBody, "content": CSV_CONTENT, "description": "Consumers."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def consumers(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    asked: Annotated[TableParameters, Depends(table_parameters)],
) -> Response:
    """Return the consumers of services by day, their tokens and what was given to them."""
    media = accepted(request)
    question = ConsumersQuestion(
        window=parse_window(asked, now=deps.now()),
        filters=within_team(parse_filters(asked.filters, CONSUMER_FILTERS), key),
    )
    answer = ledger.consumers(question)
    rows, keys = in_order(CONSUMERS.validate(answer.rows), CONSUMER_KEYS)
    most = asked.limit or (DEFAULT_PAGE if media is Media.JSON else None)
    # Different consumers, and services made anew within a day, may be called alike.
    page = page_of(numbered(keys), question=repr(question), cursor=asked.cursor, limit=most)
    table = consumers_table(rows.iloc[page.first : page.end], deps.currency)
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, table, name=f"consumers-{asked.file_name}", link=link)
    body = ConsumersBody(
        start=question.window.start,
        end=question.window.end,
        currency=deps.currency,
        complete=answer.complete,
        pending_rerating=answer.pending_rerating,
        columns=list(CONSUMER_COLUMNS),
        rows=wire_rows(table),
        next_cursor=page.next_cursor,
    )
    return answer_json(request, body, link=link)
