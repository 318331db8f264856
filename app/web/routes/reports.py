"""Reports under /v1/reports: their definitions, one of a period, and what was written."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from app.chargeback.costs import Basis
from app.chargeback.periods import Grain
from app.chargeback.report_columns import ReportSource
from app.chargeback.report_tables import ReportDocument, ReportStatus
from app.chargeback.reports import ReportFormat
from app.chargeback.tables import plain
from app.delivery.rendering import rendered
from app.units.window import from_ms
from app.web.auth import Reader, RequestLedger
from app.web.paging import DEFAULT_PAGE, LARGEST_PAGE, Cursor, Key, Limit, link_to, page_of
from app.web.parameters import NAME_PATTERN, takes
from app.web.problems import ForbiddenError, NotFoundError, problem_responses
from app.web.reading import ApiKey, ReportListing
from app.web.representations import (
    Media,
    WireCell,
    accepted,
    answer_file,
    answer_json,
    preferred,
    wire_rows,
)

router = APIRouter(tags=["reports"])

Name = Annotated[str, Path(description="A definition, as `GET /v1/reports` lists them.")]
PeriodName = Annotated[
    str, Path(description="A week or a month of the billing zone.", examples=["2026-W46"])
]


class ReportMedia(StrEnum):
    """What a report is offered as, the preferred one first."""

    JSON = "application/json"
    CSV = "text/csv"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    PARQUET = "application/vnd.apache.parquet"


class ReportForm(StrEnum):
    """The same by short names, for addresses."""

    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"


_MEDIA = dict(zip(ReportForm, ReportMedia, strict=True))
_FILES = {
    ReportMedia.CSV: ReportFormat.CSV,
    ReportMedia.XLSX: ReportFormat.XLSX,
    ReportMedia.PARQUET: ReportFormat.PARQUET,
}


class ReportDefinitionBody(BaseModel):
    """A report: what it shows, for whom, and when it is due next."""

    name: str
    title: str
    audience: str
    source: ReportSource
    grain: Grain
    basis: Basis
    group_by: list[str]
    columns: list[str]
    formats: list[ReportFormat]
    destination: str
    schedule: str | None
    next_due: AwareDatetime | None
    definition_sha256: str


class ReportDefinitionsBody(BaseModel):
    """All report definitions, by name."""

    rows: list[ReportDefinitionBody]


class ReportBody(BaseModel):
    """A period's report. ``issue`` is null if it was never published as it is."""

    report: str
    title: str
    period: str
    period_start: AwareDatetime
    period_end: AwareDatetime
    issue: int | None
    status: ReportStatus
    basis: Basis
    currency: str
    about: dict[str, str]
    columns: list[str]
    rows: list[dict[str, WireCell]]
    next_cursor: str | None


class ReportRunBody(BaseModel):
    """A file that was written."""

    report: str
    period: str
    issue: int
    format: ReportFormat
    address: str
    sha256: str
    size_bytes: int
    definition_sha256: str
    written_at: AwareDatetime


class ReportRunsBody(BaseModel):
    """Files that were written, the latest first."""

    rows: list[ReportRunBody]
    next_cursor: str | None


@router.get(
    "/v1/reports",
    response_class=Response,
    dependencies=[Depends(takes())],
    responses={
        200: {"model": ReportDefinitionsBody, "description": "The report definitions."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def definitions(request: Request, key: Reader, ledger: RequestLedger) -> Response:
    """Return the report definitions that can be used."""
    del key
    accepted(request, (Media.JSON,))
    rows = [_definition(listing) for listing in ledger.report_listings()]
    return answer_json(request, ReportDefinitionsBody(rows=rows))


@router.get(
    "/v1/reports/runs",
    response_class=Response,
    dependencies=[Depends(takes("name", "limit", "cursor"))],
    responses={
        200: {"model": ReportRunsBody, "description": "Files that were written."},
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 406, 422, 500, 503),
    },
)
def runs(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    name: Annotated[
        str, Query(pattern=NAME_PATTERN, description="Of one report; of all if left out.")
    ] = "",
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return which files were written, where, and their hashes: of all teams."""
    _refuse_team(key)
    accepted(request, (Media.JSON,))
    found = ledger.report_runs(name, limit=LARGEST_PAGE)
    keys: list[Key] = [(-one.written_ms, str(one.run_id)) for one in found]
    page = page_of(keys, question=f"runs {name}", cursor=cursor, limit=limit or DEFAULT_PAGE)
    rows = [
        ReportRunBody(
            report=one.name,
            period=one.period,
            issue=one.number,
            format=ReportFormat(one.form),
            address=one.address,
            sha256=one.sha256,
            size_bytes=one.size_bytes,
            definition_sha256=one.definition_sha256,
            written_at=from_ms(one.written_ms),
        )
        for one in found[page.first : page.end]
    ]
    body = ReportRunsBody(rows=rows, next_cursor=page.next_cursor)
    return answer_json(request, body, link=link_to(request, page.next_cursor))


@router.get(
    "/v1/reports/{name}/{period}",
    response_class=Response,
    dependencies=[Depends(takes("format", "limit", "cursor"))],
    responses={
        200: {
            "model": ReportBody,
            "content": {
                media.value: {"schema": {"type": "string"}} for media in [*ReportMedia][1:]
            },
            "description": "The report.",
        },
        304: {"description": "Not modified: the client has this answer already."},
        **problem_responses(401, 403, 404, 406, 422, 500, 503),
    },
)
def report(
    request: Request,
    key: Reader,
    ledger: RequestLedger,
    name: Name,
    period: PeriodName,
    form: Annotated[
        ReportForm | None, Query(alias="format", description="Wins over the Accept header.")
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> Response:
    """Return a period's report as it would be made, without numbering it.

    A key of a team gets that team's rows, and none of a report that leaves the team out.
    """
    media = preferred(request, tuple(ReportMedia)) if form is None else _MEDIA[form]
    document = ledger.report(name, period, team=key.team)
    if document is None:
        message = f"There is no report {name[:64]!r}."
        raise NotFoundError(message, hint="GET /v1/reports lists them.")
    if media is not ReportMedia.JSON:
        file_form = _FILES[media]
        file_name = document.issue.file_name(document.definition.name, file_form.value)
        content = rendered(document, file_form)
        return answer_file(request, content, media_type=media.value, name=file_name)
    # Rows of a report have no key of their own; a cursor holds as long as the report says the same.
    keys: list[Key] = [(number,) for number in range(len(document.table.rows))]
    question = f"{name} {period} {key.team} {document.sha256}"
    page = page_of(keys, question=question, cursor=cursor, limit=limit or DEFAULT_PAGE)
    body = _report(document, page.first, page.end, page.next_cursor)
    return answer_json(request, body, link=link_to(request, page.next_cursor))


def _refuse_team(key: ApiKey) -> None:
    if key.team:
        message = f"The API key {key.name!r} sees the team {key.team} only."
        raise ForbiddenError(message, hint="The files are of all teams; use a key without a team.")


def _definition(listing: ReportListing) -> ReportDefinitionBody:
    one = listing.definition
    return ReportDefinitionBody(
        name=one.name,
        title=one.title,
        audience=one.audience,
        source=one.source,
        grain=one.grain,
        basis=one.basis,
        group_by=list(one.group_by),
        columns=list(one.columns),
        formats=list(one.formats),
        destination=one.destination,
        schedule=None if one.schedule is None else str(one.schedule),
        next_due=listing.next_due,
        definition_sha256=one.sha256,
    )


def _report(document: ReportDocument, first: int, end: int, cursor: str | None) -> ReportBody:
    issue, definition = document.issue, document.definition
    return ReportBody(
        report=definition.name,
        title=definition.title,
        period=issue.period.name,
        period_start=issue.period.start,
        period_end=issue.period.end,
        issue=issue.number or None,
        status=issue.status,
        basis=definition.basis,
        currency=document.currency,
        about={label: plain(cell) for label, cell in document.about},
        columns=list(document.table.columns),
        rows=wire_rows(document.table)[first:end],
        next_cursor=cursor,
    )
