"""GET /v1/inference: what was served, and what a request and a million tokens cost."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.attribution.goodput import parse_objective
from app.chargeback.inference import (
    INFERENCE_GROUPS,
    inference_columns,
    inference_schema,
    inference_table,
)
from app.chargeback.tables import plain
from app.units.window import OPEN_MS, from_ms
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
from app.web.reading import Dependencies, Inference, InferenceQuestion
from app.web.representations import (
    CSV_CONTENT,
    Media,
    WireCell,
    accepted,
    answer_csv,
    answer_json,
    wire_rows,
)

router = APIRouter(tags=["inference"])
FILTER_COLUMNS = ("cluster", "namespace", "workload", "service", "model", "team", "cost_center")


class TokenWeightsBody(BaseModel):
    """How much a token of each kind counts in the division of a service's cost."""

    model: str
    prompt: str
    cached: str
    generation: str
    valid_from: AwareDatetime | None
    valid_to: AwareDatetime | None


class InferenceBody(BaseModel):
    """Summed tokens and requests, and the weights by which cost was divided among tokens."""

    start: AwareDatetime
    end: AwareDatetime
    group_by: list[str]
    currency: str
    complete: bool
    pending_rerating: bool
    token_weights: list[TokenWeightsBody]
    columns: list[str]
    rows: list[dict[str, WireCell]]
    next_cursor: str | None


@router.get(
    "/v1/inference",
    response_class=Response,
    dependencies=[Depends(takes(*TABLE_PARAMETERS, "objective", many="filter"))],
    responses={
        200: {"model": InferenceBody, "content": CSV_CONTENT, "description": "Summed inference."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def inference(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    asked: Annotated[TableParameters, Depends(table_parameters)],
    group_by: GroupBy = "model",
    objective: Annotated[
        str,
        Query(
            description="A latency objective in place of the configured ones, in seconds.",
            examples=["end_to_end=2.5"],
        ),
    ] = "",
) -> Response:
    """Return tokens, requests and unit costs of the window, summed by the group columns."""
    media = accepted(request)
    question = InferenceQuestion(
        window=parse_window(asked, now=deps.now()),
        group_by=parse_group_by(group_by, INFERENCE_GROUPS),
        filters=within_team(parse_filters(asked.filters, FILTER_COLUMNS), key),
        objectives=(parse_objective(objective),) if objective else (),
    )
    answer = ledger.inference(question)
    inference_schema(question.group_by).validate(answer.rows)
    rows, keys = in_order(answer.rows, question.group_by)
    most = asked.limit or (DEFAULT_PAGE if media is Media.JSON else None)
    page = page_of(keys, question=repr(question), cursor=asked.cursor, limit=most)
    table = inference_table(rows.iloc[page.first : page.end], question.group_by)
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, table, name=f"inference-{asked.file_name}", link=link)
    body = InferenceBody(
        start=question.window.start,
        end=question.window.end,
        group_by=list(question.group_by),
        currency=deps.currency,
        complete=answer.complete,
        pending_rerating=answer.pending_rerating,
        token_weights=_weights(answer),
        columns=list(inference_columns(question.group_by)),
        rows=wire_rows(table),
        next_cursor=page.next_cursor,
    )
    return answer_json(request, body, link=link)


def _weights(answer: Inference) -> list[TokenWeightsBody]:
    return [
        TokenWeightsBody(
            model=weights.model,
            prompt=plain(weights.prompt),
            cached=plain(weights.cached),
            generation=plain(weights.generation),
            valid_from=from_ms(weights.valid_from_ms) if weights.valid_from_ms else None,
            valid_to=from_ms(weights.valid_to_ms) if weights.valid_to_ms < OPEN_MS else None,
        )
        for weights in answer.token_weights
    ]
