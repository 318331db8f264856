"""Access to the Kubernetes API: the official client's transport, raw bodies, errors by kind."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import orjson
import urllib3
import yaml
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import ConfigException, load_incluster_config, new_client_from_config

from app.errors import InputError
from app.sources.kubernetes_json import Json, KubernetesError
from app.units.window import to_ms

_FORBIDDEN, _NOT_FOUND, _GONE = 403, 404, 410
_EXCERPT = 300

# What the client's loader trips over in a kubeconfig of another shape.
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)

# A function of the generated client, called without its model classes.
ApiCall = Callable[..., object]


class KubernetesUnreachable(KubernetesError):  # noqa: N818 - the failure is its name
    """Nobody answered in time."""


class KubernetesRefused(KubernetesError):  # noqa: N818 - the failure is its name
    """The API answered with an error: credentials, rights, or trouble of its own."""


class KubernetesForbidden(KubernetesRefused):
    """The credentials do not have the right to ask for this."""


class KubernetesAbsent(KubernetesRefused):
    """The API does not have what was asked for."""


class KubernetesAnswerBroken(KubernetesError):  # noqa: N818 - the failure is its name
    """An answer or event is not JSON or not what the API promises."""


class WatchExpired(KubernetesError):  # noqa: N818 - what happened is its name
    """The resource version is too old to go on from: everything has to be listed again."""


class KubernetesConfigError(InputError):
    """The configuration of the access cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """How to reach the API. ``mode`` is ``in-cluster``, ``kubeconfig`` or ``url``."""

    mode: str
    context: str = ""
    kubeconfig: str = ""
    url: str = ""
    token: str = field(default="", repr=False)
    ca_file: str = ""
    verify: bool = True
    timeout_seconds: float = 30.0
    page_size: int = 500
    # The server ends a watch after this time, and it is opened again where it ended.
    watch_seconds: int = 300
    # Physical devices by node name or instance type, where no label tells all of them.
    devices: Mapping[str, int] = field(default_factory=dict)


class KubernetesAccess:
    """Sends requests through the official client and hands back raw JSON.

    ``answered_ms`` is the server's clock at its last answer (its Date header), None before any.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        self.settings = settings
        self.client = _client(settings)
        self.place = str(self.client.configuration.host)
        self.answered_ms: int | None = None

    def read(self, call: ApiCall, **options: object) -> Json:
        """Return the object that an answer holds."""
        response = self._send(call, self.settings.timeout_seconds, **options)
        try:
            return self._parse(response.read(decode_content=True))
        except urllib3.exceptions.HTTPError as error:
            why = f"it was cut short ({error})"
            raise self._broken(why) from error
        finally:
            response.close()

    def events(self, call: ApiCall, resource_version: str) -> Iterator[tuple[str, Json]]:
        """Yield type and object of each event until the server ends the stream."""
        settings = self.settings
        response = self._send(
            call,
            # A stream may be silent for as long as it lasts; only then something is wrong.
            settings.watch_seconds + settings.timeout_seconds,
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=resource_version,
            timeout_seconds=settings.watch_seconds,
        )
        try:
            for line in self._lines(response):
                yield self._event(self._parse(line))
        finally:
            response.close()

    def _event(self, event: Json) -> tuple[str, Json]:
        kind, item = str(event.get("type", "")), event.get("object")
        if not isinstance(item, dict):
            why = "an event has no object"
            raise self._broken(why)
        if kind == "ERROR":
            code = item.get("code")
            raise self._error_of(code if isinstance(code, int) else 0, str(item.get("message", "")))
        if kind not in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}:
            why = f"an event has the type {kind!r}"
            raise self._broken(why)
        return kind, item

    def _lines(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        """Yield whole lines; a stream that breaks off inside a line is an error."""
        rest = b""
        try:
            for chunk in response.stream(amt=None, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from filter(None, map(bytes.strip, lines))
        except urllib3.exceptions.HTTPError as error:
            message = f"The watch of {self.place} broke off: {type(error).__name__}: {error}."
            raise KubernetesUnreachable(message, hint="It can be opened again.") from error
        if rest.strip():
            why = "the watch ended in the middle of an event"
            raise self._broken(why)

    def _send(
        self, call: ApiCall, read_seconds: float, **options: object
    ) -> urllib3.BaseHTTPResponse:
        """Return the response of a 200 with its body still to be read; raise for anything else."""
        timeout = (min(10.0, self.settings.timeout_seconds), read_seconds)
        given = {name: value for name, value in options.items() if value is not None}
        try:
            response = call(_preload_content=False, _request_timeout=timeout, **given)
        except ApiException as error:
            raise self._error_of(error.status or 0, _message_of(error)) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            why = getattr(error, "reason", None) or error
            message = f"{self.place} did not answer: {type(why).__name__}: {why}."
            hint = "Check the address, the network and that the API server runs."
            raise KubernetesUnreachable(message, hint=hint) from error
        assert isinstance(response, urllib3.BaseHTTPResponse), type(response)
        date = response.headers.get("Date")
        if date:
            self.answered_ms = to_ms(parsedate_to_datetime(date))
        return response

    def _error_of(self, status: int, reason: str) -> KubernetesError:
        if status == _GONE:
            return WatchExpired(
                f"The resource version is too old for {self.place}: {reason}.",
                hint="List again and watch from there.",
            )
        kinds = {_FORBIDDEN: KubernetesForbidden, _NOT_FOUND: KubernetesAbsent}
        return kinds.get(status, KubernetesRefused)(
            f"{self.place} refused: HTTP {status}, {reason or 'no reason given'}.",
            hint="Check the credentials and that the ClusterRole of deploy/ is bound.",
        )

    def _parse(self, body: bytes) -> Json:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            why = f"it is not JSON ({error})"
            raise self._broken(why) from error
        if not isinstance(document, dict):
            why = "it is no object"
            raise self._broken(why)
        return document

    def _broken(self, why: str) -> KubernetesAnswerBroken:
        message = f"An answer of {self.place} cannot be read: {why}."
        return KubernetesAnswerBroken(message, hint="Check that no proxy cuts or changes bodies.")


def _client(settings: KubernetesSettings) -> ApiClient:
    """Build the official client without touching the process' default configuration."""
    try:
        match settings.mode:
            case "in-cluster":
                configuration = Configuration()
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # the package leaves its config part untyped
            case "kubeconfig":
                client = new_client_from_config(  # type: ignore[no-untyped-call]  # as above
                    config_file=settings.kubeconfig or None,
                    context=settings.context or None,
                    persist_config=False,
                )
                assert isinstance(client, ApiClient)
                return client
            case "url":
                configuration = _url_configuration(settings)
            case other:
                message = f"The Kubernetes mode {other!r} is unknown."
                raise KubernetesConfigError(message, hint="Use in-cluster, kubeconfig or off.")
    except (ConfigException, OSError, yaml.YAMLError, *_MALFORMED) as error:
        why = "the kubeconfig is of another shape" if isinstance(error, _MALFORMED) else str(error)
        why = " ".join(why.split()).rstrip(".")
        message = f"The access to Kubernetes (mode {settings.mode}) cannot be set up: {why}."
        raise KubernetesConfigError(
            message, hint="Check the service account or the kubeconfig and its context."
        ) from error
    return ApiClient(configuration)


def _url_configuration(settings: KubernetesSettings) -> Configuration:
    configuration = Configuration(host=settings.url.rstrip("/"))
    # The client would take a proxy from the environment.
    configuration.proxy = None
    if settings.token:
        configuration.api_key = {"BearerToken": f"Bearer {settings.token}"}
    configuration.verify_ssl = settings.verify
    if settings.ca_file:
        configuration.ssl_ca_cert = settings.ca_file
    return configuration


def _message_of(error: ApiException) -> str:
    """Return the message of a Status object, or whatever the body says."""
    body = error.body if isinstance(error.body, bytes) else str(error.body or "").encode()
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict) and document.get("message"):
        return str(document["message"])[:_EXCERPT]
    return body[:_EXCERPT].decode(errors="replace").strip() or str(error.reason or "")
