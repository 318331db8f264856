"""What differs between deployments: gpuledger.toml for the shape, the environment for secrets."""

import os
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.delivery.destination_settings import DestinationName, DestinationSettings
from app.errors import InputError
from app.pricing.currencies import CURRENCIES
from app.sources.catalogue import EngineFile, GatewayFile, refuse_taken_names
from app.sources.toml_places import line_of

DEFAULT_CONFIG = Path("gpuledger.toml")
# What a ratio or a count of the policy must stay between.
Ratio = Annotated[float, Field(gt=0, le=1)]


class SettingsError(InputError):
    """The configuration file or the environment cannot be used."""


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _http_address(url: str) -> str:
    """Return an address without its last slash; refuse what no request can be sent to."""
    message = "must be an address such as http://prometheus:9090"
    try:
        parts = urlsplit(url)
        # Reading the port is what refuses a wrong one.
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError as error:
        raise ValueError(message) from error
    if not usable:
        raise ValueError(message)
    return url.rstrip("/")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# A name that people can read and type; Postgres, for one, keeps no NUL.
_ONE_LINE = r"^[^\x00-\x1f\x7f]+$"


class PrometheusSettings(_Section):
    """A metrics back end that speaks the Prometheus HTTP API.

    Fields that end in ``_env`` name the environment variable that holds the secret.
    """

    url: str
    headers: dict[str, str] = {}
    headers_env: dict[str, str] = {}
    scrape_interval_seconds: int = Field(default=30, ge=1, le=600)
    timeout_seconds: float = Field(default=60.0, gt=0, le=600)
    bearer_token_env: str = ""
    bearer_token_file: Path | None = None
    username: str = ""
    password_env: str = ""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        return _http_address(url)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        tokens = bool(self.bearer_token_env) + (self.bearer_token_file is not None)
        if tokens + bool(self.username) > 1:
            message = "only one of bearer_token_env, bearer_token_file and username can be sent"
            raise ValueError(message)
        if self.key_file is not None and self.cert_file is None:
            message = "key_file is the key of a cert_file, which is missing"
            raise ValueError(message)
        return self

    @field_validator("headers", "headers_env")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, text in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not (text.isascii() and text.isprintable()):
                message = f"the header {name!r} cannot be sent"
                raise ValueError(message)
        return headers


class KubernetesSettings(_Section):
    """How to reach the Kubernetes API; ``off`` works from kube-state-metrics alone."""

    mode: Literal["in-cluster", "kubeconfig", "url", "off"] = "in-cluster"
    context: str = ""
    kubeconfig: Path | None = None
    url: str = ""
    token_env: str = ""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        return _http_address(url) if url else ""

    @model_validator(mode="after")
    def _url_has_a_url(self) -> Self:
        if (self.mode == "url") != bool(self.url):
            message = 'mode "url" and the field url belong together'
            raise ValueError(message)
        return self


class ClusterSettings(_Section):
    """One cluster: its name in the ledger and where its facts come from."""

    # Any name that people can read and type; Postgres, for one, keeps no NUL.
    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
    prometheus: PrometheusSettings
    kubernetes: KubernetesSettings = KubernetesSettings()
    # The account with the provider that pays for it; commitments of an account cover its clusters.
    billing_account: str = Field(default="", max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
    settle_minutes: int = Field(default=180, ge=0, le=24 * 60)
    counter_lookback_hours: int = Field(default=24, ge=1, le=168)
    # Physical devices by node name or instance type, where no label tells all of them.
    devices: dict[str, Annotated[int, Field(ge=1, le=1024)]] = {}


class ModelSettings(_Section):
    """One served model under the names that engines, pods and gateways give it.

    ``adapters`` are LoRA adapters of it: what they answer is counted for the model.
    """

    name: str = Field(min_length=1, max_length=200, pattern=_ONE_LINE)
    aliases: tuple[Annotated[str, Field(min_length=1, pattern=_ONE_LINE)], ...] = ()
    adapters: tuple[Annotated[str, Field(min_length=1, pattern=_ONE_LINE)], ...] = ()


class WasteSettings(_Section):
    """Thresholds of the waste detectors."""

    evidence_hours: int = Field(default=24, ge=1, le=168)
    idle_low_band_ratio: Ratio = 0.9
    idle_minimum_held_hours: float = Field(default=6.0, ge=0)
    minimum_measured_ratio: Ratio = 0.8
    unallocated_ratio: Ratio = 0.5


class ObjectiveSettings(_Section):
    """A latency objective: requests to these models are good within so many seconds."""

    model: str = Field(default="*", min_length=1)
    metric: Literal["time_to_first_token", "end_to_end"]
    seconds: float = Field(gt=0, le=86_400, allow_inf_nan=False)


class FocusSettings(_Section):
    """What the platform and its providers are called in FOCUS files, and its journal's accounts.

    ``hosts`` are names by the provider of a price book; a provider without one keeps its own.
    """

    issuer: str = Field(default="GPU Platform", min_length=1, max_length=100, pattern=_ONE_LINE)
    service: str = Field(default="GPU Kubernetes", min_length=1, max_length=100, pattern=_ONE_LINE)
    hosts: dict[str, str] = {
        "aws": "AWS",
        "azure": "Microsoft",
        "coreweave": "CoreWeave",
        "gcp": "Google Cloud",
        "oci": "Oracle Cloud Infrastructure",
    }
    expense_account: str = Field(default="6000", min_length=1, max_length=50, pattern=_ONE_LINE)
    recovery_account: str = Field(default="4000", min_length=1, max_length=50, pattern=_ONE_LINE)


class AnomalySettings(_Section):
    """How far a day's cost must be off what such days cost: in every one of these respects."""

    deviations: float = Field(default=3.5, gt=0, le=100)
    # Of the billing currency.
    floor: Decimal = Field(default=Decimal(100), ge=0, max_digits=15, decimal_places=9)
    floor_ratio: float = Field(default=0.2, ge=0, le=10)


class SlackSettings(_Section):
    """Where messages go; webhook addresses are secrets and come from the environment."""

    default_channel: str = "#gpu-waste"
    timeout_seconds: float = Field(default=10.0, gt=0, le=60)


class Settings(BaseSettings):
    """All settings. Unknown keys are refused, so that a typing error cannot go unnoticed."""

    model_config = SettingsConfigDict(env_prefix="GPULEDGER_", extra="forbid", frozen=True)

    currency: str = "USD"
    billing_zone: str = "UTC"
    clusters: tuple[ClusterSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    engines: tuple[EngineFile, ...] = ()
    gateways: tuple[GatewayFile, ...] = ()
    objectives: tuple[ObjectiveSettings, ...] = ()
    waste: WasteSettings = WasteSettings()
    anomalies: AnomalySettings = AnomalySettings()
    hosted_prices: Path | None = None
    slack: SlackSettings = SlackSettings()
    focus: FocusSettings = FocusSettings()
    reports_dir: Path = Path("reports")
    reports_folder: Path | None = None
    report_out: Path = Path("var/reports")
    destinations: dict[DestinationName, DestinationSettings] = {}

    database_url: str | None = None
    data_dir: Path = Path("var")
    slack_webhook_url: str = ""
    slack_webhooks: dict[str, str] = {}
    public_url: str = "http://127.0.0.1:8080"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @field_validator("billing_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            message = f"{name!r} is no IANA time zone"
            raise ValueError(message) from error
        return name

    @field_validator("currency")
    @classmethod
    def _currency_exists(cls, code: str) -> str:
        if code not in CURRENCIES:
            message = f"{code!r} is no currency of ISO 4217, as USD is"
            raise ValueError(message)
        return code

    @model_validator(mode="after")
    def _clusters_have_their_own_names(self) -> Self:
        names = [cluster.name for cluster in self.clusters]
        if len(set(names)) < len(names):
            message = "two clusters have the same name"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _models_have_their_own_names(self) -> Self:
        names = [
            name
            for model in self.models
            for name in dict.fromkeys((model.name, *model.aliases, *model.adapters))
        ]
        for name in sorted({name for name in names if names.count(name) > 1}):
            message = f"{name!r} is a name of two models"
            raise ValueError(message)
        return self

    @field_validator("objectives")
    @classmethod
    def _one_objective_a_model(
        cls, objectives: tuple[ObjectiveSettings, ...]
    ) -> tuple[ObjectiveSettings, ...]:
        models = [objective.model for objective in objectives]
        for model in sorted({model for model in models if models.count(model) > 1}):
            message = f"two objectives are for the model {model!r}"
            raise ValueError(message)
        return objectives

    @field_validator("engines")
    @classmethod
    def _engines_read_what_is_theirs(
        cls, engines: tuple[EngineFile, ...]
    ) -> tuple[EngineFile, ...]:
        refuse_taken_names(engines)
        return engines

    @field_validator("gateways")
    @classmethod
    def _gateways_have_their_own_names(
        cls, gateways: tuple[GatewayFile, ...]
    ) -> tuple[GatewayFile, ...]:
        names = [gateway.gateway for gateway in gateways]
        for name in sorted({name for name in names if names.count(name) > 1}):
            message = f"two entries are for the gateway {name!r}"
            raise ValueError(message)
        return gateways

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which billing days and periods begin."""
        return ZoneInfo(self.billing_zone)

    def cluster(self, name: str) -> ClusterSettings:
        """Return one cluster, or refuse a name that is not configured."""
        for cluster in self.clusters:
            if cluster.name == name:
                return cluster
        known = ", ".join(cluster.name for cluster in self.clusters) or "none"
        message = f"The cluster {name!r} is not configured."
        raise SettingsError(message, hint=f"Configured clusters: {known}.")


def load_settings(path: Path | None = None) -> Settings:
    """Read ``path``, else the file in ``GPULEDGER_CONFIG``, else ./gpuledger.toml if present."""
    named = path or (Path(os.environ["GPULEDGER_CONFIG"]) if _config_named() else None)
    file = named or DEFAULT_CONFIG
    document: dict[str, object] = {}
    text = ""
    if named is not None or file.exists():
        try:
            text = file.read_text(encoding="utf-8-sig")
            document = tomllib.loads(text)
        except OSError as error:
            message = f"The configuration {file} cannot be read: {error.strerror}."
            raise SettingsError(message, hint="Set GPULEDGER_CONFIG to a readable file.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            message = f"The configuration {file} is not valid TOML: {error}."
            hint = "Correct it; docs/operations.md has every setting."
            raise SettingsError(message, hint=hint) from error
    _refuse_secrets(document, file)
    where = f"The configuration {file}" if document else "The configuration"
    return _validated(document, where, text)


def settings_of_environment() -> Settings:
    """Return what the environment says, and the defaults for the rest; no file is read."""
    return _validated({}, "The configuration")


def _validated(document: dict[str, object], where: str, text: str = "") -> Settings:
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(
            f"{_place_of(issue['loc'], text)}{issue['msg'].removeprefix('Value error, ')}"
            for issue in error.errors()
        )
        message = f"{where} is refused: {problems}."
        raise SettingsError(message, hint="See docs/operations.md for every setting.") from error


def secret(name: str) -> str:
    """Return the environment variable ``name``; '' for no name; refuse one that is not set."""
    if not name:
        return ""
    value = os.environ.get(name)
    if value is None:
        message = f"The environment variable {name} is not set."
        raise SettingsError(message, hint="The configuration names it as the place of a secret.")
    return value


def _place_of(location: tuple[int | str, ...], text: str) -> str:
    """Return where a refused value stands: a variable of the environment, else keys and line."""
    if not location:
        return ""
    variable = f"GPULEDGER_{str(location[0]).upper()}"
    if variable in os.environ:
        return f"{variable}: "
    line = line_of(text, location)
    path = ".".join(str(part) for part in location)
    return f"{path} (line {line}): " if line else f"{path}: "


def _config_named() -> bool:
    return bool(os.environ.get("GPULEDGER_CONFIG"))


def _refuse_secrets(document: dict[str, object], file: Path) -> None:
    for name in ("database_url", "slack_webhook_url", "slack_webhooks"):
        if name in document:
            message = f"The configuration {file} holds the secret {name!r}."
            raise SettingsError(message, hint=f"Set GPULEDGER_{name.upper()} in the environment.")
