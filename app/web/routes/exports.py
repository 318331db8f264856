"""GET /v1/exports/focus: charges as a FOCUS file, in CSV, sent while it is printed."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.chargeback.focus_cells import csv_blocks
from app.chargeback.focus_columns import NEWEST_SPEC, View
from app.chargeback.focus_lines import ExportGrain
from app.web.auth import Reader, RequestLedger, dependencies
from app.web.parameters import End, Start, TableParameters, parse_window, takes
from app.web.problems import ForbiddenError, problem_responses
from app.web.reading import Dependencies
from app.web.representations import CSV_CONTENT, Media, accepted
from app.workflows.exporting import ExportQuestion

router = APIRouter(tags=["exports"])


class Spec(StrEnum):
    """The versions of FOCUS that are written."""

    V1_2 = "1.2"
    V1_3 = NEWEST_SPEC


_DONE: dict[int | str, dict[str, object]] = {
    200: {
        "content": CSV_CONTENT,
        "description": (
            "The FOCUS file. `Gpuledger-Unpriced-Rows` counts what no price covers and is not in"
            " it; `Gpuledger-Provisional` says whether a period of it is open."
        ),
    },
    **problem_responses(401, 403, 406, 422, 500, 503),
}


@router.get(
    "/v1/exports/focus",
    response_class=Response,
    dependencies=[Depends(takes("start", "end", "spec", "view", "grain"))],
    responses=_DONE,
)
def focus(  # noqa: PLR0913, PLR0917 # each is a parameter of the address
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    start: Start,
    end: End,
    spec: Annotated[Spec, Query(description="The version of FOCUS.")] = Spec.V1_3,
    view: Annotated[
        View, Query(description="What teams are charged, or the provider's bill split.")
    ] = View.STATEMENT,
    grain: Annotated[
        ExportGrain, Query(description="How long a row's charge period is.")
    ] = ExportGrain.DAY,
) -> Response:
    """Return the charges of the window as FOCUS; a team's key sees the team's rows only."""
    accepted(request, (Media.CSV,))
    if key.team and view is View.SPLIT:
        message = f"The API key {key.name!r} sees the team {key.team} only."
        raise ForbiddenError(message, hint="A provider's bill is of no team: use another key.")
    asked = TableParameters(start=start, end=end, filters=(), limit=None, cursor=None)
    question = ExportQuestion(
        window=parse_window(asked, now=deps.now()),
        spec=spec.value,
        view=view,
        grain=grain,
        team=key.team,
    )
    export = ledger.focus(question)
    name = f"focus-{spec.value}-{view.value}-{asked.file_name}.csv"
    return StreamingResponse(
        (block.encode() for block in csv_blocks(export.profile.names, export.columns)),
        media_type=f"{Media.CSV.value}; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
            "Vary": "Accept, Authorization",
            "Gpuledger-Unpriced-Rows": str(len(export.unpriced.rows)),
            "Gpuledger-Provisional": "true" if export.provisional else "false",
        },
    )
