"""GET /v1/coverage: which hours of which cluster the ledger has."""

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.web.auth import Reader, RequestLedger
from app.web.parameters import takes
from app.web.problems import problem_responses
from app.web.representations import Media, accepted, answer_json

router = APIRouter(tags=["coverage"])


class ClusterCoverageBody(BaseModel):
    """The hours of one cluster: from the first up to the watermark, which is not included."""

    cluster: str
    first_hour: AwareDatetime | None
    watermark: AwareDatetime | None
    partial_hours: int
    stale_hours: int


class CoverageBody(BaseModel):
    """What the ledger has, by cluster."""

    rows: list[ClusterCoverageBody]


@router.get(
    "/v1/coverage",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses={
        200: {"model": CoverageBody, "description": "Hours by cluster."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 500, 503),
    },
)
def coverage(request: Request, key: Reader, ledger: RequestLedger) -> Response:
    """Return the first hour, the watermark, and how many hours are partial or to be rated again."""
    del key
    accepted(request, (Media.JSON,))
    rows = [
        ClusterCoverageBody(
            cluster=entry.cluster,
            first_hour=entry.first_hour,
            watermark=entry.watermark,
            partial_hours=entry.partial_hours,
            stale_hours=entry.stale_hours,
        )
        for entry in ledger.coverage()
    ]
    return answer_json(request, CoverageBody(rows=rows))
