"""GET /v1/ownership: who owns a namespace's pods at an instant, and by which rule."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.attribution.owner_choice import OwnerChoice, owner_choice
from app.chargeback.ownership import rules_table
from app.units.window import from_ms, to_ms
from app.web.auth import Reader, RequestLedger, dependencies
from app.web.parameters import parse_instant, takes
from app.web.problems import NotFoundError, ParameterError, problem_responses
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
from app.web.routes.teams import At

router = APIRouter(tags=["teams"])

# Longer than any name of Kubernetes.
_Name = Annotated[str, Query(max_length=253, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Labels = Annotated[
    tuple[str, ...],
    Query(
        alias="label",
        description="A label of the pod as `name=value`; repeat it for more.",
        examples=[["team=search"]],
    ),
]
_MOST_LABELS = 100


class OwnershipBody(BaseModel):
    """Who is charged for such a pod, and every rule that fits it.

    ``contested`` names the teams whose rules tie: such a pod is `unowned`.
    """

    cluster: str
    namespace: str
    at: AwareDatetime
    team: str
    department: str
    cost_center: str
    because: str
    contested: list[str]
    rules: list[dict[str, WireCell]]


@router.get(
    "/v1/ownership",
    response_class=Response,
    dependencies=[Depends(takes("cluster", "namespace", "at", many="label"))],
    responses={
        200: {"model": OwnershipBody, "content": CSV_CONTENT, "description": "The owner."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 404, 406, 422, 500, 503),
    },
)
def ownership(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    cluster: _Name,
    namespace: _Name,
    at: At = None,
    label: _Labels = (),
) -> Response:
    """Return who owns a pod of the namespace at an instant, by default now."""
    media = accepted(request)
    instant = deps.now() if at is None else parse_instant("at", at)
    choice = owner_choice(ledger.contract(), cluster, namespace, _labels_of(label), to_ms(instant))
    _refuse_others(choice, key)
    table = rules_table(choice)
    if media is Media.CSV:
        return answer_csv(request, table, name="ownership")
    body = OwnershipBody(
        cluster=cluster,
        namespace=namespace,
        at=from_ms(choice.at_ms),
        team=choice.team,
        department=choice.department,
        cost_center=choice.cost_center,
        because=choice.because,
        contested=list(choice.contested),
        rules=wire_rows(table),
    )
    return answer_json(request, body)


def _labels_of(texts: tuple[str, ...]) -> dict[str, str]:
    labels = dict(text.partition("=")[::2] for text in texts)
    if len(texts) > _MOST_LABELS or any("=" not in text for text in texts):
        message = "A label has no value, or there are more than a pod has."
        raise ParameterError(message, name="label", hint="Write a label as team=search.")
    return labels


def _refuse_others(choice: OwnerChoice, key: ApiKey) -> None:
    """What another team owns is not told: that it exists is theirs as well."""
    if key.team and key.team not in (choice.team, *choice.contested):
        message = f"The team {key.team} owns no such pod."
        raise NotFoundError(message, hint="Use a key without a team to see whose it is.")
