"""Billing periods under /v1/periods: which there are, what is in the way, and closing them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.chargeback.closing import AcceptLine, Obstacle, obstacles_table
from app.units.window import from_ms, to_ms
from app.web.auth import Admin, Reader, RequestLedger, dependencies
from app.web.paging import DEFAULT_PAGE, Cursor, Limit, link_to, page_of
from app.web.parameters import takes
from app.web.period_reading import CloseRequest
from app.web.problems import ForbiddenError, problem_responses
from app.web.reading import ApiKey, Dependencies
from app.web.representations import CSV_CONTENT, Media, accepted, answer_csv, answer_json
from app.web.routes.findings import IdempotencyKey, Reason, required_key
from app.workflows.periods import PeriodView

router = APIRouter(tags=["periods"])
PeriodName = Annotated[
    str, Path(max_length=32, description="As 2026-10, or as it was imported.", examples=["2026-10"])
]


class PeriodBody(BaseModel):
    """A billing period. ``version`` counts its closings; ``total`` is that of the last of them.

    For keys of a team ``total`` and ``accepted`` are null: they speak of everybody.
    """

    name: str
    start: AwareDatetime
    end: AwareDatetime
    state: str
    version: int
    closed_at: AwareDatetime | None
    closed_by: str | None
    statements: int | None
    accepted: int | None
    total: str | None
    currency: str | None


class EventBody(BaseModel):
    """What happened to a period."""

    event: str
    version: int
    at: AwareDatetime
    author: str
    reason: str


class PeriodDetailBody(PeriodBody):
    """A billing period and what happened to it."""

    events: list[EventBody]


class PeriodsBody(BaseModel):
    """Billing periods, in order."""

    rows: list[PeriodBody]
    next_cursor: str | None


class ObstacleBody(BaseModel):
    """One thing in the way of closing; ``acceptable`` ones may be named with a reason."""

    kind: str
    cluster: str
    start: str
    end: str
    subject: str
    detail: str
    acceptable: bool


class ObstaclesBody(BaseModel):
    """Everything in the way of closing a period."""

    rows: list[ObstacleBody]


class AcceptedBody(BaseModel):
    """An obstacle as it was listed, and why the period may be closed with it."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    cluster: str
    start: str
    end: str
    subject: str
    detail: str
    reason: Annotated[Reason, Field(min_length=1)]


class CloseBody(BaseModel):
    """What is accepted; nothing by default."""

    model_config = ConfigDict(extra="forbid")

    accept: list[AcceptedBody] = []


@router.get(
    "/v1/periods",
    response_class=Response,
    dependencies=[Depends(takes("limit", "cursor"))],
    responses={
        200: {"model": PeriodsBody, "description": "Billing periods."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def periods(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return the billing periods that have hours, were imported or closed."""
    accepted(request, (Media.JSON,))
    found = ledger.periods()
    page = page_of(
        [(view.period.start_ms,) for view in found],
        question="periods",
        cursor=cursor,
        limit=limit or DEFAULT_PAGE,
    )
    body = PeriodsBody(
        rows=[_body(view, key) for view in found[page.first : page.end]],
        next_cursor=page.next_cursor,
    )
    return answer_json(request, body, link=link_to(request, page.next_cursor))


@router.get(
    "/v1/periods/{name}",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses={
        200: {"model": PeriodDetailBody, "description": "A billing period."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 404, 406, 422, 500, 503),
    },
)
def period(request: Request, key: Reader, ledger: RequestLedger, name: PeriodName) -> Response:
    """Return one billing period and what happened to it."""
    accepted(request, (Media.JSON,))
    return answer_json(request, _detail(ledger.period(name), key))


@router.get(
    "/v1/periods/{name}/obstacles",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses={
        200: {"model": ObstaclesBody, "content": CSV_CONTENT, "description": "What is in the way."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 404, 406, 409, 422, 500, 503),
    },
)
def obstacles(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    name: PeriodName,
) -> Response:
    """Return what is in the way of closing a period; as CSV it is the file to accept it with."""
    media = accepted(request)
    _refuse_team(key)
    found = ledger.obstacles(name, at_ms=to_ms(deps.now()))
    if media is Media.CSV:
        return answer_csv(request, obstacles_table(found), name=f"obstacles-{name}")
    return answer_json(request, ObstaclesBody(rows=[_obstacle(one) for one in found]))


@router.post(
    "/v1/periods/{name}/close",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses={
        200: {"model": PeriodDetailBody, "description": "The period, closed."},
        **problem_responses(400, 401, 403, 404, 406, 409, 422, 500, 503),
    },
)
def close(
    request: Request,
    key: Admin,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    name: PeriodName,
    body: CloseBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Close a period: pin its inputs, write its statements, freeze its charges."""
    accepted(request, (Media.JSON,))
    _refuse_team(key)
    asked = CloseRequest(
        period=name,
        author=key.name,
        at_ms=to_ms(deps.now()),
        accept=tuple(
            AcceptLine(f"accept {place}", _cells(one), one.reason.strip())
            for place, one in enumerate(body.accept)
        ),
    )
    view = ledger.close(asked, idempotency_key=required_key(idempotency_key))
    return answer_json(request, _detail(view, key))


def _refuse_team(key: ApiKey) -> None:
    if key.team:
        message = f"The API key {key.name!r} sees the team {key.team} only."
        raise ForbiddenError(message, hint="A period is everybody's: use a key without a team.")


def _cells(one: AcceptedBody) -> tuple[str, ...]:
    return (one.kind, one.cluster, one.start, one.end, one.subject, one.detail)


def _obstacle(one: Obstacle) -> ObstacleBody:
    kind, cluster, start, end, subject, detail = one.cells()
    return ObstacleBody(
        kind=kind,
        cluster=cluster,
        start=start,
        end=end,
        subject=subject,
        detail=detail,
        acceptable=one.acceptable,
    )


def _body(view: PeriodView, key: ApiKey) -> PeriodBody:
    found, closing = view.period, view.closing
    all_of_it = closing if not key.team else None
    return PeriodBody(
        name=found.name,
        start=from_ms(found.start_ms),
        end=from_ms(found.end_ms),
        state=view.state,
        version=found.version,
        closed_at=None if closing is None else from_ms(closing.closed_ms),
        closed_by=None if closing is None else closing.author,
        statements=None if all_of_it is None else all_of_it.statements,
        accepted=None if all_of_it is None else all_of_it.accepted,
        total=None if all_of_it is None else all_of_it.total,
        currency=None if closing is None else closing.currency,
    )


def _detail(view: PeriodView, key: ApiKey) -> PeriodDetailBody:
    events = [
        EventBody(
            event=one.event,
            version=one.version,
            at=from_ms(one.at_ms),
            author=one.author,
            reason=one.reason,
        )
        for one in view.events
    ]
    return PeriodDetailBody(**_body(view, key).model_dump(), events=events)
