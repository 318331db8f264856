"""GET /v1/commitments and its coverage: what was bought, and what of it is used."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.chargeback.commitments import commitments_table, coverage_table
from app.web.auth import Reader, RequestLedger, dependencies
from app.web.paging import DEFAULT_PAGE, Cursor, Key, Limit, link_to, page_of
from app.web.parameters import End, Start, TableParameters, parse_window, takes
from app.web.problems import problem_responses
from app.web.reading import Dependencies
from app.web.representations import (
    CSV_CONTENT,
    Media,
    WireCell,
    accepted,
    answer_csv,
    answer_json,
    wire_rows,
)

router = APIRouter(tags=["commitments"])


class CommitmentsBody(BaseModel):
    """Commitments as their file has them, by id and term."""

    rows: list[dict[str, WireCell]]
    next_cursor: str | None


class CommitmentCoverageBody(BaseModel):
    """What each commitment covered in the allotted hours of a span, and what is unused.

    Hours that wait for a cluster of the billing account are not part of it.
    """

    start: AwareDatetime
    end: AwareDatetime
    currency: str
    rows: list[dict[str, WireCell]]


@router.get(
    "/v1/commitments",
    response_class=Response,
    dependencies=[Depends(takes("limit", "cursor"))],
    responses={
        200: {
            "model": CommitmentsBody,
            "content": CSV_CONTENT,
            "description": "Commitments and their terms.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def commitments(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return the commitments in force or to come; a key of a team sees those that it pays."""
    media = accepted(request)
    found = [one for one in ledger.commitments() if key.team in ("", one.payer)]
    keys: list[Key] = [(one.commitment, one.term_start_ms) for one in found]
    rows = limit if limit is not None or media is Media.CSV else DEFAULT_PAGE
    page = page_of(keys, question=f"commitments {key.team}", cursor=cursor, limit=rows)
    table = commitments_table(found[page.first : page.end])
    link = link_to(request, page.next_cursor)
    if media is Media.CSV:
        return answer_csv(request, table, name="commitments", link=link)
    body = CommitmentsBody(rows=wire_rows(table), next_cursor=page.next_cursor)
    return answer_json(request, body, link=link)


@router.get(
    "/v1/commitments/coverage",
    response_class=Response,
    dependencies=[Depends(takes("start", "end"))],
    responses={
        200: {
            "model": CommitmentCoverageBody,
            "content": CSV_CONTENT,
            "description": "Coverage and utilization by commitment.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def commitment_coverage(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    deps: Annotated[Dependencies, Depends(dependencies)],
    start: Start,
    end: End,
) -> Response:
    """Return what commitments covered; a key of a team sees those that it pays."""
    media = accepted(request)
    asked = TableParameters(start=start, end=end, filters=(), limit=None, cursor=None)
    window = parse_window(asked, now=deps.now())
    found = [
        one for one in ledger.commitment_coverage(window) if key.team in ("", one.commitment.payer)
    ]
    table = coverage_table(found, deps.currency)
    if media is Media.CSV:
        return answer_csv(request, table, name=f"commitments-{asked.file_name}")
    body = CommitmentCoverageBody(
        start=window.start, end=window.end, currency=deps.currency, rows=wire_rows(table)
    )
    return answer_json(request, body)
