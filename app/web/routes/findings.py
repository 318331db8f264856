"""Findings of waste under /v1/findings: the list, and what people decide about one."""

import re
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from app.chargeback.tables import amount, plain, seconds
from app.findings.states import Decision, DecisionKind, TrackedFinding
from app.findings.values import FindingKind, FindingState
from app.units.identity import id_of_text, id_text
from app.units.window import FIRST_YEAR, LAST_YEAR, from_ms
from app.web.auth import Reader, RequestLedger, Writer, dependencies
from app.web.paging import DEFAULT_PAGE, Cursor, Key, Limit, link_to, page_of
from app.web.parameters import takes
from app.web.problems import MissingIdempotencyKeyError, NotFoundError, problem_responses
from app.web.reading import ApiKey, Dependencies, Ledger
from app.web.representations import Media, accepted, answer_json
from app.web.routes.charges import FigureBody, IdText

router = APIRouter(tags=["findings"])
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
ATTENTION = (FindingState.OPEN, FindingState.REGRESSED)

IdempotencyKey = Annotated[
    str | None,
    Header(description="Required: a text of your own; the same one again decides nothing twice."),
]
States = Annotated[
    tuple[FindingState, ...],
    Query(alias="state", description="States to list; open and regressed by default."),
]
# Postgres stores no NUL, and other control characters would garble a message.
Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Action(StrEnum):
    """What can be decided on a finding."""

    ACK = "ack"
    SNOOZE = "snooze"
    DISMISS = "dismiss"


_DECISIONS = {
    Action.ACK: DecisionKind.ACKNOWLEDGE,
    Action.SNOOZE: DecisionKind.SNOOZE,
    Action.DISMISS: DecisionKind.DISMISS,
}


class SubjectBody(BaseModel):
    """What a finding is about; '' where there is nothing of the kind."""

    cluster: str
    node: str
    gpu_model: str
    namespace: str
    pod: str
    workload: str
    team: str


class FindingBody(BaseModel):
    """One finding. ``wasted_cost`` is null where a price is missing."""

    id: str
    kind: FindingKind
    state: FindingState
    subject: SubjectBody
    since: AwareDatetime
    evidence_start: AwareDatetime
    evidence_end: AwareDatetime
    wasted_gpu_seconds: str
    wasted_cost: str | None
    wasted_cost_per_day: str | None
    currency: str
    evidence: list[FigureBody]
    first_seen: AwareDatetime
    last_seen: AwareDatetime
    resolved_at: AwareDatetime | None
    snoozed_until: AwareDatetime | None
    decided_by: str
    reason: str


class FindingsBody(BaseModel):
    """Findings, the most wasted money first."""

    rows: list[FindingBody]
    next_cursor: str | None


class DecisionBody(BaseModel):
    """Why somebody decided so; ``until`` is needed for a snooze and belongs to nothing else."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = ""
    until: AwareDatetime | None = None

    @field_validator("until")
    @classmethod
    def _is_in_the_ledgers_time(cls, until: datetime | None) -> datetime | None:
        # At the calendar's ends an instant may have no UTC.
        if until is not None and not FIRST_YEAR <= until.year <= LAST_YEAR:
            message = f"must be of the years {FIRST_YEAR} to {LAST_YEAR}"
            raise ValueError(message)
        return until


@router.get(
    "/v1/findings",
    response_class=Response,
    dependencies=[Depends(takes("limit", "cursor", many="state"))],
    responses={
        200: {"model": FindingsBody, "description": "Findings."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def findings(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    states: States = ATTENTION,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return findings of waste, the worst first."""
    accepted(request, (Media.JSON,))
    wanted = tuple(sorted(set(states)))
    found = ledger.findings(states=wanted, team=key.team or None)
    ranked = sorted((_rank(entry), index) for index, entry in enumerate(found))
    page = page_of(
        [rank for rank, _ in ranked],
        question=f"findings {wanted} {key.team}",
        cursor=cursor,
        limit=limit or DEFAULT_PAGE,
    )
    rows = [found[index] for _, index in ranked[page.first : page.end]]
    body = FindingsBody(
        rows=[_body(entry, deps.currency) for entry in rows], next_cursor=page.next_cursor
    )
    return answer_json(request, body, link=link_to(request, page.next_cursor))


@router.post(
    "/v1/findings/{finding_id}/{action}",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses={
        200: {"model": FindingBody, "description": "The finding after the decision."},
        **problem_responses(400, 401, 403, 404, 406, 422, 500, 503),
    },
)
def decide(
    request: Request,
    key: Writer,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    finding_id: IdText,
    action: Action,
    body: DecisionBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Acknowledge, snooze or dismiss a finding, and return it."""
    accepted(request, (Media.JSON,))
    request_key = required_key(idempotency_key)
    number = id_of_text(finding_id)
    _require_visible(ledger, number, key)
    decision = Decision(
        kind=_DECISIONS[action], actor=key.name, reason=body.reason, snoozed_until=body.until
    )
    entry = ledger.decide(number, decision, at=deps.now(), idempotency_key=request_key)
    return answer_json(request, _body(entry, deps.currency))


def required_key(idempotency_key: str | None) -> str:
    """Return the idempotency key of a write; refuse a request without a usable one."""
    if idempotency_key is None or not _KEY.fullmatch(idempotency_key):
        message = "The request has no usable Idempotency-Key."
        hint = "Send 1 to 200 printable characters of your own, without spaces; a UUID does well."
        raise MissingIdempotencyKeyError(message, hint=hint)
    return idempotency_key


def _require_visible(ledger: Ledger, finding_id: int, key: ApiKey) -> None:
    found = ledger.finding(finding_id)
    # Whether another team's finding exists is that team's business.
    if found is None or (key.team and found.finding.subject.team != key.team):
        message = f"There is no finding {id_text(finding_id)}."
        raise NotFoundError(message, hint="GET /v1/findings lists them.")


def _rank(entry: TrackedFinding) -> Key:
    finding = entry.finding
    nanos = finding.wasted_nanos
    unpriced = int(nanos is None)
    return (unpriced, -(nanos or 0), -finding.wasted_gpu_ms, id_text(finding.finding_id))


def _body(entry: TrackedFinding, currency: str) -> FindingBody:
    finding, subject = entry.finding, entry.finding.subject
    resolved, snoozed = entry.resolved_ms, entry.snoozed_until_ms
    return FindingBody(
        id=id_text(finding.finding_id),
        kind=finding.kind,
        state=entry.state,
        subject=SubjectBody(
            cluster=subject.cluster,
            node=subject.node,
            gpu_model=subject.gpu_model,
            namespace=subject.namespace,
            pod=subject.pod,
            workload=subject.workload,
            team=subject.team,
        ),
        since=from_ms(finding.since_ms),
        evidence_start=finding.window.start,
        evidence_end=finding.window.end,
        wasted_gpu_seconds=plain(seconds(finding.wasted_gpu_ms)),
        wasted_cost=_amount(finding.wasted_nanos),
        wasted_cost_per_day=_amount(finding.per_day_nanos),
        currency=currency,
        evidence=[
            FigureBody(name=figure.name, value=plain(Decimal(str(round(figure.value, 4)))))
            for figure in finding.evidence
        ],
        first_seen=from_ms(entry.first_seen_ms),
        last_seen=from_ms(entry.last_seen_ms),
        resolved_at=None if resolved is None else from_ms(resolved),
        snoozed_until=None if snoozed is None else from_ms(snoozed),
        decided_by=entry.decided_by,
        reason=entry.reason,
    )


def _amount(nanos: int | None) -> str | None:
    return None if nanos is None else plain(amount(nanos))
