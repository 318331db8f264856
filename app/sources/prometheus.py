"""The one caller of the Prometheus HTTP API: access, attempts, refusals, warnings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from urllib.parse import urlsplit

import requests
import urllib3
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.util.retry import Retry

from app.sources.backends import Backend, BuildInfo, build_info_of, completing_parameters
from app.sources.documents import NotADocument, label_in_path, read_document, repair_labels
from app.sources.matrices import SeriesJson, collector_paused
from app.sources.promql import Dialect
from app.sources.refusals import (
    EXCERPT,
    PrometheusAnswerBroken,
    PrometheusError,
    PrometheusRefused,
    PrometheusTooMuch,
    PrometheusUnreachable,
    excerpt,
    is_too_much,
    refusal_of,
)

__all__ = [
    "Answer",
    "Backend",
    "BuildInfo",
    "PrometheusAnswerBroken",
    "PrometheusError",
    "PrometheusRefused",
    "PrometheusSettings",
    "PrometheusSource",
    "PrometheusTooMuch",
    "PrometheusUnreachable",
    "seconds",
]

_READ_BYTES = 1 << 20
# Beyond this length a query goes into the body of a POST: proxies refuse long addresses.
_LONGEST_GET = 1500
# What urllib3 puts before a reason: "HTTPConnection(host='prometheus', port=9090): ".
_POOL = re.compile(r"^HTTPS?Connection\w*\(.*?\): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """How to reach a metrics back end. Secrets never appear in its representation."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    bearer_token: str = field(default="", repr=False)
    # Read again for every request: platforms put a fresh token there before the old one ends.
    bearer_token_file: str = ""
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
class Answer:
    """The series of an answer, and whether the server says that something is missing.

    ``repaired`` is how many label values could not be taken as they were, see `repair_labels`.
    """

    result: Sequence[SeriesJson]
    warnings: tuple[str, ...]
    infos: tuple[str, ...]
    is_partial: bool
    repaired: int


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    location: str


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
        # What caches between us and the store have of an hour may be from before its last samples.
        headers = {
            "Accept-Encoding": "identity",
            "Cache-Control": "no-store",
            **dict(settings.headers),
        }
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
            **completing_parameters(self.build_info().backend),
        }
        return self._body("/api/v1/query", list(parameters.items()), about=f"query {promql}")

    def decode(self, body: bytes, promql: str) -> Answer:
        """Parse a body of `fetch`; refuses what is no successful matrix or vector."""
        about = f"query {promql}"
        document = self._document(body, about)
        data = document.get("data")
        if not isinstance(data, Mapping) or data.get("resultType") not in {"matrix", "vector"}:
            raise self.broken(about, "it holds neither a matrix nor a vector")
        result = data.get("result")
        if not isinstance(result, list):
            raise self.broken(about, "it has no list of results")
        try:
            repaired = repair_labels(result)
        except NotADocument as error:
            raise self.broken(about, str(error)) from error
        return Answer(
            result=result,
            warnings=_texts(document.get("warnings")),
            infos=_texts(document.get("infos")),
            # VictoriaMetrics' cluster says so when storage nodes were not available.
            is_partial=bool(document.get("isPartial") or data.get("isPartial")),
            repaired=repaired,
        )

    def label_values(
        self, label: str, *, start_ms: int, end_ms: int, match: str = ""
    ) -> tuple[str, ...]:
        """Return the values of a label; servers may add values from shortly outside the span.

        A list that the server calls incomplete is refused: a name that is not in it would be taken
        for a metric that nobody publishes.
        """
        parameters = [("start", seconds(start_ms)), ("end", seconds(end_ms))]
        parameters += completing_parameters(self.build_info().backend).items()
        if match:
            parameters.append(("match[]", match))
        about = f"values of the label {label}"
        path = f"/api/v1/label/{label_in_path(label, self.dialect)}/values"
        document = self._document(self._body(path, parameters, about=about), about)
        warnings = _texts(document.get("warnings"))
        if warnings or document.get("isPartial"):
            said = "; ".join(warnings)[:EXCERPT] or "the answer is partial"
            message = f"{self.place} has not all {about}: {said}."
            raise PrometheusRefused(message, hint="Look at the stores behind the server.")
        values = document.get("data") or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.broken(about, "it is no list of names")
        return tuple(values)

    def server_time_ms(self) -> int:
        """Return what the server's clock says, by its own evaluation of ``time()``."""
        about = "time of the server"
        body = self._body("/api/v1/query", [("query", "vector(time())")], about=about)
        result = self.decode(body, "vector(time())").result
        if len(result) != 1 or "value" not in result[0]:
            raise self.broken(about, "it is no single figure")
        return round(float(result[0]["value"][1]) * 1000)

    def build_info(self) -> BuildInfo:
        """Say what answers; back ends without the endpoint are ``UNKNOWN``."""
        if self._build is None:
            self._build = self._ask_build_info()
        return self._build

    @property
    def dialect(self) -> Dialect:
        """How the server reads label names that are no plain ones."""
        victoria = self.build_info().backend is Backend.VICTORIA_METRICS
        return Dialect.BACKSLASHED if victoria else Dialect.QUOTED

    def _ask_build_info(self) -> BuildInfo:
        about = "build information"
        try:
            body = self._body("/api/v1/status/buildinfo", [], about=about)
            data = self._document(body, about).get("data")
        except (PrometheusRefused, PrometheusAnswerBroken):
            data = None
        return build_info_of(data)

    def _body(self, path: str, parameters: list[tuple[str, str]], *, about: str) -> bytes:
        """Ask until there is an answer or the attempts are over; return the body of a 200."""
        trouble = ""
        for attempt in range(self._settings.attempts):
            if attempt:
                sleep(self._settings.retry_wait_seconds * 2 ** (attempt - 1))
            try:
                reply = self._send(path, parameters, about=about)
            except requests.exceptions.ReadTimeout as error:
                message = f"{self.place} did not finish the {about} in time."
                hint = f"The limit is {self._settings.timeout_seconds:g} s (timeout_seconds)."
                raise PrometheusTooMuch(message, hint=hint) from error
            except urllib3.exceptions.ProtocolError as error:
                if attempt == self._settings.attempts - 1:
                    raise self.broken(about, f"it was cut short ({error})") from error
                continue
            except (
                urllib3.exceptions.DecodeError,
                requests.exceptions.ContentDecodingError,
            ) as error:
                raise self.broken(about, f"it is not compressed as it says ({error})") from error
            except (OSError, urllib3.exceptions.HTTPError) as error:
                # OSError: all failures of requests, and a certificate file that is not there.
                trouble = _cause(error)
                continue
            if reply.status == requests.codes.ok:
                return reply.body
            refusal = refusal_of(
                reply.status, reply.body, place=self.place, about=about, location=reply.location
            )
            if refusal is not None:
                raise refusal
            trouble = f"HTTP {reply.status}: {excerpt(reply.body)}"
        message = f"{self.place} could not be asked for the {about[:EXCERPT]}: {trouble}."
        raise PrometheusUnreachable(message, hint="Check that the address is right and it runs.")

    def _send(self, path: str, parameters: list[tuple[str, str]], *, about: str) -> "_Reply":
        length = sum(len(name) + len(value) for name, value in parameters)
        # Label values cannot be posted; queries can, everywhere.
        posts = length > _LONGEST_GET and path.endswith("/query")
        try:
            with self._session.request(
                method="POST" if posts else "GET",
                url=f"{self.url}{path}",
                params=None if posts else parameters,
                data=parameters if posts else None,
                headers=self._headers(),
                auth=self.auth,
                allow_redirects=False,
                verify=self._session.verify,
                cert=self._session.cert,
                timeout=(min(10.0, self._settings.timeout_seconds), self._read_timeout_seconds),
                stream=True,
            ) as response:
                location = response.headers.get("Location", "")
                return _Reply(response.status_code, self._read(response, about), location)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.exceptions.ReadTimeout(str(error)) from error

    def _headers(self) -> dict[str, str]:
        headers = dict(self.headers)
        if file := self._settings.bearer_token_file:
            try:
                token = Path(file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                message = f"The bearer token for {self.place} cannot be read from {file}: {error}."
                raise PrometheusRefused(message, hint="See bearer_token_file.") from error
            headers["Authorization"] = f"Bearer {token}"
        return headers

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

    def _document(self, body: bytes, about: str) -> Mapping[str, object]:
        try:
            with collector_paused():
                document = read_document(body)
        except NotADocument as error:
            raise self.broken(about, str(error)) from error
        if document.get("status") != "success":
            if "error" not in document:
                raise self.broken(about, "it says neither success nor an error")
            reason = str(document["error"])[:EXCERPT]
            message = f"{self.place} refused the {about}: {reason}."
            kind = PrometheusTooMuch if is_too_much(reason) else PrometheusRefused
            raise kind(message, hint="See the log of the server.")
        return document

    def broken(self, about: str, why: str) -> PrometheusAnswerBroken:
        """Return the error for an answer that cannot be read."""
        message = f"The answer of {self.place} to the {about} cannot be read: {why}."
        return PrometheusAnswerBroken(message, hint="Check that no proxy cuts or changes bodies.")


def seconds(ms: int) -> str:
    """Return an instant as the API wants it: seconds, here with all milliseconds."""
    return f"{ms // 1000}.{ms % 1000:03d}"


def _cause(error: Exception) -> str:
    """Return the reason inside the layers that requests and urllib3 wrap around it."""
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", None) or inner
    return _POOL.sub("", str(reason))[:EXCERPT].rstrip(".") or type(error).__name__


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in value) if isinstance(value, list) else ()
