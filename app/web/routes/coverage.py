"""GET /v1/coverage: which hours the ledger has, what is measured of them, and the holes."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.findings.coverage import COVERAGE_GROUPS, grouped
from app.units.window import Window
from app.web.auth import Reader, RequestLedger, dependencies
from app.web.parameters import TableParameters, parse_group_by, parse_window, takes
from app.web.problems import ParameterError, problem_responses
from app.web.reading import ApiKey, Dependencies, Ledger, Measured, MeasuredQuestion
from app.web.representations import (
    CSV_CONTENT,
    Media,
    WireCell,
    accepted,
    answer_csv,
    answer_json,
    wire_rows,
)
from app.workflows.coverage_tables import holes_table, measured_table

router = APIRouter(tags=["coverage"])
_NOTHING = Measured(rows=(), holes=())
_DATE_TIME = {"format": "date-time"}


class Part(StrEnum):
    """Which table is answered as CSV."""

    MEASURED = "measured"
    HOLES = "holes"


class ClusterCoverageBody(BaseModel):
    """The hours of one cluster: from the first up to the watermark, which is not included."""

    cluster: str
    first_hour: AwareDatetime | None
    watermark: AwareDatetime | None
    partial_hours: int
    stale_hours: int


class CoverageBody(BaseModel):
    """What the ledger has, by cluster; and of the span, if one is given, what is measured.

    ``measured`` has a row for each group and each of `gpu_utilization`, `token_throughput`,
    `latency`, `cold_start`, `ownership` and `price`: of how much GPU time and money it is known.
    ``holes`` says what is not, and what to do.
    """

    rows: list[ClusterCoverageBody]
    start: AwareDatetime | None
    end: AwareDatetime | None
    group_by: list[str]
    currency: str
    measured: list[dict[str, WireCell]]
    holes: list[dict[str, WireCell]]


@router.get(
    "/v1/coverage",
    response_class=Response,
    dependencies=[Depends(takes("start", "end", "group_by", "part"))],
    responses={
        200: {
            "model": CoverageBody,
            "content": CSV_CONTENT,
            "description": "Hours by cluster, and what is measured in a span.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def coverage(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    start: Annotated[
        str | None,
        Query(
            description="The first hour of which to say what is measured; left out, none is.",
            json_schema_extra=_DATE_TIME,
        ),
    ] = None,
    end: Annotated[
        str | None,
        Query(
            description="The end of the last hour, itself not included.",
            json_schema_extra=_DATE_TIME,
        ),
    ] = None,
    group_by: Annotated[
        str, Query(description="Of cluster, namespace and service, with commas between.")
    ] = "cluster,namespace,service",
    part: Annotated[Part, Query(description="Which table a CSV has.")] = Part.MEASURED,
) -> Response:
    """Return the hours by cluster and, where a span is given, what is measured and what is not."""
    media = accepted(request)
    groups = parse_group_by(group_by, COVERAGE_GROUPS)
    window = _window(start, end, now=deps.now())
    if window is None and media is Media.CSV:
        message = "A table of what is measured needs a span."
        raise ParameterError(message, name="start", hint="Give start and end.")
    found = _NOTHING if window is None else _measured(ledger, window, key)
    measured = measured_table(grouped(found.rows, groups), groups)
    holes = holes_table(found.holes)
    if media is Media.CSV:
        table = measured if part is Part.MEASURED else holes
        return answer_csv(request, table, name=f"coverage-{part.value}")
    body = CoverageBody(
        rows=_hours(ledger),
        start=window.start if window else None,
        end=window.end if window else None,
        group_by=list(groups),
        currency=deps.currency,
        measured=wire_rows(measured),
        holes=wire_rows(holes),
    )
    return answer_json(request, body)


def _window(start: str | None, end: str | None, *, now: datetime) -> Window | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        missing = "start" if start is None else "end"
        message = f"The span has no {missing}."
        raise ParameterError(message, name=missing, hint="Give both start and end, or neither.")
    asked = TableParameters(start=start, end=end, filters=(), limit=None, cursor=None)
    return parse_window(asked, now=now)


def _measured(ledger: Ledger, window: Window, key: ApiKey) -> Measured:
    return ledger.measured(MeasuredQuestion(window=window, team=key.team))


def _hours(ledger: Ledger) -> list[ClusterCoverageBody]:
    return [
        ClusterCoverageBody(
            cluster=entry.cluster,
            first_hour=entry.first_hour,
            watermark=entry.watermark,
            partial_hours=entry.partial_hours,
            stale_hours=entry.stale_hours,
        )
        for entry in ledger.coverage()
    ]
