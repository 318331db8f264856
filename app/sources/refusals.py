"""The failures of a metrics back end, and which of them a server's refusal is."""

import re
from http import HTTPStatus

import orjson

from app.errors import GpuledgerError

# Prometheus, Thanos, Mimir and VictoriaMetrics say it in these words when a smaller question of the
# same kind would be answered.
_TOO_MUCH = re.compile(
    r"too many (samples|points|series|chunks|time ?series|datapoints)|exceeded maximum resolution"
    r"|max-samples|maxpoints|maxsamples|maxunique|maxseries|err-mimir-max|limit exceeded"
    r"|exceeds? .{0,60}limit|exceeded the limit|timed out|timeout|deadline exceeded"
    r"|matching (time)?series exceeds|entity too large|too large",
    re.IGNORECASE,
)
# What Mimir, Cortex and Loki say where the header of the tenant is missing.
_NO_TENANT = re.compile(r"no org ?id", re.IGNORECASE)
# How much of a server's words a message repeats.
EXCERPT = 300


class PrometheusError(GpuledgerError):
    """Any failure to get an answer from a metrics back end."""


class PrometheusUnreachable(PrometheusError):  # noqa: N818 - the failure is its name
    """Nobody answered, or only with server errors, after all attempts."""


class PrometheusRefused(PrometheusError):  # noqa: N818 - as above
    """The server understood the question and will not answer it."""


class PrometheusTooMuch(PrometheusRefused):
    """The question asks for more than the server, or our own limit, allows at once."""


class PrometheusAnswerBroken(PrometheusError):  # noqa: N818 - as above
    """The body is not what the API promises: cut short, not JSON, or of another shape."""


def refusal_of(
    status: int, body: bytes, *, place: str, about: str, location: str = ""
) -> PrometheusRefused | None:
    """Return the error for a status that another attempt would not change, else None.

    ``location`` is where a redirect points to. It is not followed: it leads to a login page more
    often than to the API, and credentials would go with it.
    """
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        # What follows a question mark may be a secret of the login.
        target = location.partition("?")[0] or "another address"
        message = f"{place} redirects the {about} to {target}."
        hint = "If that is a login, check the credentials; else make it the address of the cluster."
        return PrometheusRefused(message, hint=hint)
    error_type, reason = _error_of(body)
    said = f"{place} refused the {about}: HTTP {status}, {reason}."
    told = error_type or status == HTTPStatus.UNPROCESSABLE_ENTITY
    too_much = told and (is_too_much(reason) or error_type == "timeout")
    if too_much or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return PrometheusTooMuch(said, hint="Ask for less at once or raise the server's limit.")
    passing = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}
    # A managed server that lacks an endpoint says so by 501, and will say so again.
    failing = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
    if passing or (failing and error_type != "execution"):
        return None
    return PrometheusRefused(said, hint=_hint_for(status, reason))


def _hint_for(status: int, reason: str) -> str:
    if _NO_TENANT.search(reason):
        return 'Name the tenant: headers = { "X-Scope-OrgID" = "…" } of the cluster\'s prometheus.'
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "Check the credentials and headers of the cluster."
    if status == HTTPStatus.NOT_FOUND:
        return "Check the address: it must be the base of a Prometheus HTTP API."
    return "See the log of the server."


def is_too_much(reason: str) -> bool:
    """Say whether a server's words mean that a smaller question would be answered."""
    return _TOO_MUCH.search(reason) is not None


def excerpt(body: bytes) -> str:
    """Return the beginning of a body for a message."""
    return body[:EXCERPT].decode(errors="replace").strip() or "an empty body"


def _error_of(body: bytes) -> tuple[str, str]:
    """Return the error type and reason of an error body, in Prometheus' shape or not."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", excerpt(body)
    if isinstance(document, dict) and "error" in document:
        kind = str(document.get("errorType") or "unnamed")
        return kind, str(document["error"])[:EXCERPT]
    return "", excerpt(body)
