"""Whether the service lives, whether it can answer, and its own metrics. None needs a key."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from app.web.auth import dependencies
from app.web.problems import problem_responses
from app.web.reading import Dependencies

router = APIRouter(tags=["health"])
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NOT_STORED = {"Cache-Control": "no-store"}


class HealthBody(BaseModel):
    """The process answers."""

    status: str


class CheckBody(BaseModel):
    """One thing that must work."""

    name: str
    ok: bool
    detail: str


class ReadinessBody(BaseModel):
    """Whether requests can be answered, check by check."""

    ready: bool
    checks: list[CheckBody]


@router.get("/healthz", responses=problem_responses(500))
def healthz() -> HealthBody:
    """Say that the process lives."""
    return HealthBody(status="ok")


@router.get(
    "/readyz",
    response_class=Response,
    responses={
        200: {"model": ReadinessBody, "description": "Ready."},
        503: {"model": ReadinessBody, "description": "Not ready."},
        **problem_responses(500),
    },
)
def readyz(deps: Annotated[Dependencies, Depends(dependencies)]) -> Response:
    """Say whether requests can be answered."""
    checks = [
        CheckBody(name=check.name, ok=check.ok, detail=check.detail) for check in deps.ready()
    ]
    body = ReadinessBody(ready=all(check.ok for check in checks), checks=checks)
    return Response(
        body.model_dump_json(),
        status_code=HTTPStatus.OK if body.ready else HTTPStatus.SERVICE_UNAVAILABLE,
        media_type="application/json",
        headers=_NOT_STORED,
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problem_responses(500, 503),
    },
)
def metrics(deps: Annotated[Dependencies, Depends(dependencies)]) -> Response:
    """Return the service's own metrics for Prometheus."""
    return Response(deps.metrics(), media_type=_METRICS_TYPE, headers=_NOT_STORED)
