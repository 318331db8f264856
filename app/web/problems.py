"""Every failure as a problem document (RFC 9457): what, where, what to do."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.chargeback.billing_periods import BillingPeriodError
from app.chargeback.closing import ObstaclesError
from app.errors import GpuledgerError, InputError
from app.findings.states import FindingNotFoundError
from app.store.engine import DatabaseUnavailableError
from app.store.locking import ClosedPeriodError, PeriodStateError

PROBLEM_TYPE = "application/problem+json"
_LOG = logging.getLogger(__name__)
_TYPE_PREFIX = "urn:gpuledger:problem:"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class InvalidParameter(BaseModel):
    """One part of a request that cannot be used, and why."""

    name: str
    message: str


class Problem(BaseModel):
    """A failure as the client sees it."""

    type: str = Field(examples=[f"{_TYPE_PREFIX}invalid-request"])
    title: str
    status: int
    detail: str
    instance: str
    hint: str = ""
    invalid_parameters: list[InvalidParameter] = Field(default_factory=list)


class ParameterError(InputError):
    """A parameter of a request that cannot be used."""

    def __init__(self, message: str, *, name: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class AuthenticationError(GpuledgerError):
    """No key, or one that is unknown or revoked."""


class ForbiddenError(GpuledgerError):
    """The key may not do this."""


class NotFoundError(GpuledgerError):
    """There is no such thing, or none that this key may see."""


class NotAcceptableError(GpuledgerError):
    """None of the accepted media types is offered."""


class MissingIdempotencyKeyError(InputError):
    """A write without an idempotency key."""


@dataclass(frozen=True, slots=True)
class _Kind:
    status: HTTPStatus
    slug: str
    title: str


# The first class that an error belongs to decides.
_KINDS: Mapping[type[GpuledgerError], _Kind] = {
    AuthenticationError: _Kind(HTTPStatus.UNAUTHORIZED, "unauthorized", "Not authenticated"),
    ForbiddenError: _Kind(HTTPStatus.FORBIDDEN, "forbidden", "Not allowed"),
    NotFoundError: _Kind(HTTPStatus.NOT_FOUND, "not-found", "Not found"),
    FindingNotFoundError: _Kind(HTTPStatus.NOT_FOUND, "not-found", "Not found"),
    BillingPeriodError: _Kind(HTTPStatus.NOT_FOUND, "not-found", "Not found"),
    ObstaclesError: _Kind(HTTPStatus.CONFLICT, "not-closable", "Not closable"),
    ClosedPeriodError: _Kind(HTTPStatus.CONFLICT, "period-closed", "Period closed"),
    PeriodStateError: _Kind(HTTPStatus.CONFLICT, "period-state", "Period in another state"),
    NotAcceptableError: _Kind(HTTPStatus.NOT_ACCEPTABLE, "not-acceptable", "Not acceptable"),
    MissingIdempotencyKeyError: _Kind(
        HTTPStatus.BAD_REQUEST, "missing-idempotency-key", "Idempotency key missing"
    ),
    InputError: _Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request"),
    DatabaseUnavailableError: _Kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "Database unavailable"
    ),
    GpuledgerError: _Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "failed", "Failed"),
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return what OpenAPI says of these statuses, for a route's ``responses``."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def schemas() -> dict[str, object]:
    """Return the component schemas that `problem_responses` refers to."""
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**problem.pop("$defs"), "Problem": problem}


def install(app: FastAPI) -> None:
    """Let ``app`` answer every failure with a problem document."""

    @app.exception_handler(GpuledgerError)
    def answer_failure(request: Request, error: GpuledgerError) -> Response:
        kind = next(kind for base, kind in _KINDS.items() if isinstance(error, base))
        if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _LOG.error("%s %s failed: %s", request.method, request.url.path, error)
        invalid = []
        if isinstance(error, ParameterError):
            invalid = [InvalidParameter(name=error.name, message=error.message)]
        return _answer(request, kind, error.message, hint=error.hint, invalid=invalid)

    @app.exception_handler(RequestValidationError)
    def answer_invalid(request: Request, error: RequestValidationError) -> Response:
        issues = error.errors()
        if any(issue["type"] == "json_invalid" for issue in issues):
            kind = _Kind(HTTPStatus.BAD_REQUEST, "invalid-json", "Invalid JSON")
            return _answer(request, kind, "The body of the request is not valid JSON.")
        invalid = [
            InvalidParameter(
                name=".".join(str(part) for part in issue["loc"][1:]) or "body",
                message=issue["msg"],
            )
            for issue in issues
        ]
        kind = _Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request")
        detail = "; ".join(f"{item.name}: {item.message}" for item in invalid) + "."
        return _answer(request, kind, detail, invalid=invalid)

    @app.exception_handler(HTTPException)
    def answer_http(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        kind = _Kind(status, status.phrase.lower().replace(" ", "-"), status.phrase)
        detail = {
            HTTPStatus.NOT_FOUND: f"There is nothing at {request.url.path}.",
            HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} has no method {request.method}.",
        }.get(status, str(error.detail))
        headers = error.headers
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            # The framework names the methods of one route; several may share a path.
            headers = {"Allow": ", ".join(_methods(app, request))}
        return _answer(request, kind, detail, headers=headers)

    @app.exception_handler(Exception)
    def answer_defect(request: Request, error: Exception) -> Response:
        # The server logs the traceback: the framework raises the error again after this answer.
        del error
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        kind = _Kind(status, "defect", "Internal error")
        detail = "Something that should not happen did; it is in the service's log."
        return _answer(request, kind, detail)


def _methods(app: FastAPI, request: Request) -> list[str]:
    """Return the methods that any route has at the path of the request."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in app.routes
        )
    ]


def _answer(
    request: Request,
    kind: _Kind,
    detail: str,
    *,
    hint: str = "",
    invalid: list[InvalidParameter] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    problem = Problem(
        type=f"{_TYPE_PREFIX}{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request.url.path,
        hint=hint,
        invalid_parameters=invalid or [],
    )
    extra = dict(headers or {})
    if kind.status == HTTPStatus.UNAUTHORIZED:
        extra["WWW-Authenticate"] = 'Bearer realm="gpuledger"'
    return Response(
        problem.model_dump_json(),
        status_code=kind.status,
        media_type=PROBLEM_TYPE,
        headers={"Cache-Control": "no-store"} | extra,
    )


def too_large(path: str) -> Response:
    """Return the answer to a body that is too large, or does not say how large it is."""
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    problem = Problem(
        type=f"{_TYPE_PREFIX}body-too-large",
        title="Body too large",
        status=status,
        detail="The body of the request is too large, or has no Content-Length.",
        instance=path,
    )
    return Response(problem.model_dump_json(), status_code=status, media_type=PROBLEM_TYPE)
