"""GET /v1/charges/{id}/explanation: why a charge is what it is."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from app.units.identity import id_of_text, id_text
from app.web.auth import Reader, RequestLedger
from app.web.parameters import takes
from app.web.problems import NotFoundError, problem_responses
from app.web.representations import Media, accepted, answer_json

router = APIRouter(tags=["charges"])

# A signed 64-bit number as 16 hexadecimal digits.
IdText = Annotated[str, Path(pattern="^[0-9a-f]{16}$", examples=["00ab54a98ceb1f0a"])]


class FigureBody(BaseModel):
    """One figure by name; the name ends in its unit."""

    name: str
    value: str


class StepBody(BaseModel):
    """One step from the charge down to what it rests on."""

    title: str
    text: str
    figures: list[FigureBody]


class ExplanationBody(BaseModel):
    """A charge, explained from the money down to the query and its coverage.

    ``replaced`` is the id that was asked for where a rating put ``successors`` in its place: of one
    the explanation is given, several are listed. ``adjustment`` is the id that was asked for where
    it is an adjustment's; ``charge_id`` is the line that it adjusts.
    """

    charge_id: str
    team: str
    replaced: str | None
    successors: list[str]
    adjustment: str | None
    steps: list[StepBody]


@router.get(
    "/v1/charges/{charge_id}/explanation",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses={
        200: {"model": ExplanationBody, "description": "The charge, explained."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 404, 406, 422, 500, 503),
    },
)
def explanation(
    request: Request, key: Reader, ledger: RequestLedger, charge_id: IdText
) -> Response:
    """Return the steps that lead from a charge to what was measured."""
    accepted(request, (Media.JSON,))
    found = ledger.explanation(id_of_text(charge_id))
    # Whether another team's charge exists is that team's business.
    if found is None or (key.team and found.team != key.team):
        message = f"There is no charge {charge_id}."
        raise NotFoundError(
            message, hint="Charges of a window get other ids when it is rated anew."
        )
    steps = [
        StepBody(
            title=step.title,
            text=step.text,
            figures=[FigureBody(name=name, value=value) for name, value in step.figures],
        )
        for step in found.explanation.steps
    ]
    body = ExplanationBody(
        charge_id=id_text(found.explanation.charge_id),
        team=found.team,
        replaced=None if found.replaced is None else id_text(found.replaced),
        successors=[id_text(one) for one in found.successors],
        adjustment=None if found.adjustment is None else id_text(found.adjustment),
        steps=steps,
    )
    return answer_json(request, body)
