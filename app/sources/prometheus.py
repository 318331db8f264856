"""The one caller of the Prometheus HTTP API: access, attempts, refusals, warnings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from time import sleep
from urllib.parse import urlsplit

import orjson
import requests
import urllib3
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.util.retry import Retry

from app.errors import GpuledgerError
from app.sources.matrices import SeriesJson, collector_paused

# Prometheus, Thanos, Mimir and VictoriaMetrics say it in these words when a smaller question of the
# same kind would be answered.
_TOO_MUCH = re.compile(
    r"too many (samples|points|series|chunks|time ?series|datapoints)|exceeded maximum resolution"
    r"|max-samples|maxpoints|maxsamples|maxunique|maxseries|err-mimir-max|limit exceeded"
    r"|exceeds? .{0,60}limit|exceeded the limit|timed out|timeout|deadline exceeded"
    r"|entity too large|too large",
    re.IGNORECASE,
)
_READ_BYTES = 1 << 20
# Beyond this length a query goes into the body of a POST: proxies refuse long addresses.
_LONGEST_GET = 1500
_EXCERPT = 300
# What urllib3 puts before a reason: "HTTPConnection(host='prometheus', port=9090): ".
_POOL = re.compile(r"^HTTPS?Connection\w*\(.*?\): ")


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


class Backend(StrEnum):
    """What stands behind the API, as far as it can be told."""

    PROMETHEUS = "prometheus"
    THANOS = "thanos"
    MIMIR = "mimir"
    VICTORIA_METRICS = "victoriametrics"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """How to reach a metrics back end. Secrets never appear in its representation."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    bearer_token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    client_cert: str = ""
    client_key: str = ""
    ca_file: str = ""
    verify: bool = True
    timeout_seconds: float = 60.0
    attempts: int = 3
    retry_wait_seconds: float = 0.5
    # A larger body is asked for in pieces, so that memory stays bounded on fleets of any size.
    max_body_bytes: int = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInfo:
    """What the server says it is."""

    backend: Backend
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The series of an answer, and whether the server says that something is missing."""

    result: Sequence[SeriesJson]
    warnings: tuple[str, ...]
    infos: tuple[str, ...]
    is_partial: bool


class PrometheusSource(PrometheusConnect):
    """A client for instant queries and label values that hides nothing of an answer.

    The base class gives configuration and the session; its own query methods drop warnings, round
    instants to seconds and have no timeout, so none of them is used.
    """

    def __init__(self, settings: PrometheusSettings) -> None:
        session = requests.Session()
        # Without this the session reads proxies and .netrc of whoever runs the process.
        session.trust_env = False
        session.verify = settings.ca_file or settings.verify
        if settings.client_cert:
            session.cert = (settings.client_cert, settings.client_key or settings.client_cert)
        parts = urlsplit(settings.url)
        headers = {"Accept-Encoding": "identity", **dict(settings.headers)}
        if settings.bearer_token:
            headers["Authorization"] = f"Bearer {settings.bearer_token}"
        super().__init__(
            url=settings.url.rstrip("/"),
            headers=headers,
            retry=Retry(total=0),
            auth=(settings.username, settings.password) if settings.username else (),
            session=session,
        )
        self._settings = settings
        self._build: BuildInfo | None = None
        # What errors call the server: never the credentials that an address may contain.
        self.place = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    def query(self, promql: str, at_ms: int) -> Answer:
        """Evaluate a query at an instant given in milliseconds."""
        return self.decode(self.fetch(promql, at_ms), promql)

    def fetch(self, promql: str, at_ms: int) -> bytes:
        """Return the undecoded body of an answer; decode it with `decode`."""
        parameters = {
            "query": promql,
            "time": seconds(at_ms),
            "timeout": f"{max(1, round(self._settings.timeout_seconds))}s",
            **self._extra_parameters(),
        }
        return self._body("/api/v1/query", list(parameters.items()), about=f"query {promql}")

    def decode(self, body: bytes, promql: str) -> Answer:
        """Parse a body of `fetch`; refuses what is no successful matrix or vector."""
        about = f"query {promql}"
        document = self._document(body, about)
        data = document.get("data")
        if not isinstance(data, Mapping) or data.get("resultType") not in {"matrix", "vector"}:
            raise self._broken(about, "it holds neither a matrix nor a vector")
        result = data.get("result")
        if not isinstance(result, list):
            raise self._broken(about, "it has no list of results")
        return Answer(
            result=result,
            warnings=_texts(document.get("warnings")),
            infos=_texts(document.get("infos")),
            # VictoriaMetrics' cluster says so when storage nodes were not available.
            is_partial=bool(document.get("isPartial") or data.get("isPartial")),
        )

    def label_values(
        self, label: str, *, start_ms: int, end_ms: int, match: str = ""
    ) -> tuple[str, ...]:
        """Return the values of a label; servers may add values from shortly outside the span."""
        parameters = [("start", seconds(start_ms)), ("end", seconds(end_ms))]
        if match:
            parameters.append(("match[]", match))
        about = f"values of the label {label}"
        body = self._body(f"/api/v1/label/{label}/values", parameters, about=about)
        values = self._document(body, about).get("data") or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._broken(about, "it is no list of names")
        return tuple(values)

    def build_info(self) -> BuildInfo:
        """Say what answers; back ends without the endpoint are ``UNKNOWN``."""
        if self._build is None:
            self._build = self._ask_build_info()
        return self._build

    def _ask_build_info(self) -> BuildInfo:
        about = "build information"
        try:
            body = self._body("/api/v1/status/buildinfo", [], about=about)
            data = self._document(body, about).get("data")
        except (PrometheusRefused, PrometheusAnswerBroken):
            data = None
        facts = data if isinstance(data, Mapping) else {}
        version = str(facts.get("version", ""))
        application = str(facts.get("application", "")).lower()
        if "mimir" in application or "cortex" in application:
            backend = Backend.MIMIR
        elif version.startswith("0."):
            backend = Backend.THANOS
        elif set(facts) == {"version"}:
            # VictoriaMetrics answers with a version of Prometheus and nothing else.
            backend = Backend.VICTORIA_METRICS
        else:
            backend = Backend.PROMETHEUS if version else Backend.UNKNOWN
        return BuildInfo(backend=backend, version=version)

    def _extra_parameters(self) -> dict[str, str]:
        """Return what keeps a back end from leaving data out; others ignore these names."""
        thanos = {"partial_response": "false", "dedup": "true", "max_source_resolution": "0"}
        match self.build_info().backend:
            case Backend.PROMETHEUS | Backend.MIMIR:
                return {}
            case Backend.THANOS:
                return thanos
            case Backend.VICTORIA_METRICS:
                return {"nocache": "1"}
            case Backend.UNKNOWN:
                return {"nocache": "1", **thanos}

    def _body(self, path: str, parameters: list[tuple[str, str]], *, about: str) -> bytes:
        """Ask until there is an answer or the attempts are over; return the body of a 200."""
        trouble = ""
        for attempt in range(self._settings.attempts):
            if attempt:
                sleep(self._settings.retry_wait_seconds * 2 ** (attempt - 1))
            try:
                status, body = self._send(path, parameters, about=about)
            except requests.exceptions.ReadTimeout as error:
                message = f"{self.place} did not finish the {about} in time."
                hint = f"The limit is {self._settings.timeout_seconds:g} s (timeout_seconds)."
                raise PrometheusTooMuch(message, hint=hint) from error
            except urllib3.exceptions.ProtocolError as error:
                if attempt == self._settings.attempts - 1:
                    raise self._broken(about, f"it was cut short ({error})") from error
                continue
            except (OSError, urllib3.exceptions.HTTPError) as error:
                # OSError: all failures of requests, and a certificate file that is not there.
                trouble = _cause(error)
                continue
            if status == requests.codes.ok:
                return body
            refusal = self._refusal(status, body, about)
            if refusal is not None:
                raise refusal
            trouble = f"HTTP {status}: {_excerpt(body)}"
        message = f"{self.place} could not be asked for the {about[:_EXCERPT]}: {trouble}."
        raise PrometheusUnreachable(message, hint="Check that the address is right and it runs.")

    def _send(
        self, path: str, parameters: list[tuple[str, str]], *, about: str
    ) -> tuple[int, bytes]:
        length = sum(len(name) + len(value) for name, value in parameters)
        # Label values cannot be posted; queries can, everywhere.
        posts = length > _LONGEST_GET and path.endswith("/query")
        try:
            with self._session.request(
                method="POST" if posts else "GET",
                url=f"{self.url}{path}",
                params=None if posts else parameters,
                data=parameters if posts else None,
                headers=self.headers,
                auth=self.auth,
                verify=self._session.verify,
                cert=self._session.cert,
                timeout=(min(10.0, self._settings.timeout_seconds), self._read_timeout_seconds),
                stream=True,
            ) as response:
                return response.status_code, self._read(response, about)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.exceptions.ReadTimeout(str(error)) from error

    @property
    def _read_timeout_seconds(self) -> float:
        # The server is told the same limit and should answer 503 first, which says more.
        return self._settings.timeout_seconds + 5.0

    def _read(self, response: requests.Response, about: str) -> bytes:
        """Read a whole body, or stop at the limit."""
        chunks: list[bytes] = []
        size = 0
        while chunk := response.raw.read(_READ_BYTES, decode_content=True):
            size += len(chunk)
            if size > self._settings.max_body_bytes:
                message = f"The answer of {self.place} to the {about} is too large."
                hint = f"The limit is {self._settings.max_body_bytes >> 20} MiB (max_body_bytes)."
                raise PrometheusTooMuch(message, hint=hint)
            chunks.append(chunk)
        return b"".join(chunks)

    def _refusal(self, status: int, body: bytes, about: str) -> PrometheusRefused | None:
        """Return the error for a status that another attempt would not change, else None."""
        error_type, reason = _error_of(body)
        said = f"{self.place} refused the {about}: HTTP {status}, {reason}."
        too_much = _TOO_MUCH.search(reason) is not None or error_type == "timeout"
        if status == requests.codes.request_entity_too_large or (error_type and too_much):
            return PrometheusTooMuch(said, hint="Ask for less at once or raise the server's limit.")
        if status in {requests.codes.unauthorized, requests.codes.forbidden}:
            return PrometheusRefused(said, hint="Check the credentials and headers of the cluster.")
        if status == requests.codes.not_found:
            hint = "Check the address: it must be the base of a Prometheus HTTP API."
            return PrometheusRefused(said, hint=hint)
        if status in {requests.codes.too_many_requests, requests.codes.request_timeout}:
            return None
        if status < requests.codes.internal_server_error or error_type == "execution":
            return PrometheusRefused(said, hint="See the log of the server.")
        return None

    def _document(self, body: bytes, about: str) -> Mapping[str, object]:
        try:
            with collector_paused():
                document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise self._broken(about, f"it is not JSON ({error})") from error
        if not isinstance(document, dict):
            raise self._broken(about, "it is no object")
        if document.get("status") != "success":
            if "error" not in document:
                raise self._broken(about, "it says neither success nor an error")
            reason = str(document["error"])[:_EXCERPT]
            message = f"{self.place} refused the {about}: {reason}."
            kind = PrometheusTooMuch if _TOO_MUCH.search(reason) else PrometheusRefused
            raise kind(message, hint="See the log of the server.")
        return document

    def _broken(self, about: str, why: str) -> PrometheusAnswerBroken:
        message = f"The answer of {self.place} to the {about} cannot be read: {why}."
        return PrometheusAnswerBroken(message, hint="Check that no proxy cuts or changes bodies.")


def seconds(ms: int) -> str:
    """Return an instant as the API wants it: seconds, here with all milliseconds."""
    return f"{ms // 1000}.{ms % 1000:03d}"


def _error_of(body: bytes) -> tuple[str, str]:
    """Return the error type and reason of an error body, in Prometheus' shape or not."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", _excerpt(body)
    if isinstance(document, dict) and "error" in document:
        kind = str(document.get("errorType") or "unnamed")
        return kind, str(document["error"])[:_EXCERPT]
    return "", _excerpt(body)


def _excerpt(body: bytes) -> str:
    return body[:_EXCERPT].decode(errors="replace").strip() or "an empty body"


def _cause(error: Exception) -> str:
    """Return the reason inside the layers that requests and urllib3 wrap around it."""
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", None) or inner
    return _POOL.sub("", str(reason))[:_EXCERPT].rstrip(".") or type(error).__name__


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in value) if isinstance(value, list) else ()
