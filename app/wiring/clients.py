"""Builds the clients of outside systems from the settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.attribution.goodput import OBJECTIVE_METRICS, Objective
from app.findings.values import WastePolicy
from app.planning.anomalies import AnomalyPolicy
from app.planning.break_even import HostedPrice
from app.settings import ClusterSettings, ModelSettings, Settings, SettingsError, secret
from app.sources.catalogue import EngineFile, GatewayFile, engine_of, load_catalogue
from app.sources.hosted_prices import read_hosted_prices, starter_hosted_prices
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.money import to_nanos
from app.units.window import HOUR_MS
from app.usage.models import ModelEntry
from app.workflows.collecting import CollectFrom

if TYPE_CHECKING:
    from app.sources.kubernetes import KubernetesSource


def prometheus_source(cluster: ClusterSettings) -> PrometheusSource:
    """Return the client of a cluster's metrics."""
    given = cluster.prometheus
    return PrometheusSource(
        PrometheusSettings(
            url=given.url,
            headers=(
                *given.headers.items(),
                *((name, secret(variable)) for name, variable in given.headers_env.items()),
            ),
            bearer_token=secret(given.bearer_token_env),
            bearer_token_file=_path(given.bearer_token_file),
            username=given.username,
            password=secret(given.password_env),
            client_cert=_path(given.cert_file),
            client_key=_path(given.key_file),
            ca_file=_path(given.ca_file),
            timeout_seconds=given.timeout_seconds,
        )
    )


def kubernetes_source(cluster: ClusterSettings) -> "KubernetesSource":
    """Return the client of a cluster's Kubernetes API; refuse mode ``off``."""
    # The client takes a second to import, which only those who use it should wait for.
    from app.sources.kubernetes import KubernetesSource  # noqa: PLC0415 see above
    from app.sources.kubernetes_access import KubernetesSettings  # noqa: PLC0415 see above

    given = cluster.kubernetes
    if given.mode == "off":
        message = f"The cluster {cluster.name!r} has Kubernetes switched off."
        raise SettingsError(message, hint="Its holds come from kube-state-metrics alone.")
    return KubernetesSource(
        KubernetesSettings(
            mode=given.mode,
            context=given.context,
            kubeconfig=_path(given.kubeconfig),
            url=given.url,
            token=secret(given.token_env),
            timeout_seconds=given.timeout_seconds,
            devices=cluster.devices,
        )
    )


def collect_from(
    cluster: ClusterSettings,
    models: Sequence[ModelSettings] = (),
    engines: Sequence[EngineFile] = (),
    gateways: Sequence[GatewayFile] = (),
) -> CollectFrom:
    """Return where a cluster's facts come from."""
    return CollectFrom(
        cluster=cluster.name,
        source=prometheus_source(cluster),
        catalogue=load_catalogue(tuple(engine_of(engine) for engine in engines), tuple(gateways)),
        scrape_ms=cluster.prometheus.scrape_interval_seconds * 1000,
        counter_lookback_ms=cluster.counter_lookback_hours * HOUR_MS,
        watched=cluster.kubernetes.mode != "off",
        devices=cluster.devices,
        models=model_entries(models),
    )


def model_entries(models: Sequence[ModelSettings]) -> tuple[ModelEntry, ...]:
    """Return the names of models that a person configured."""
    return tuple(
        ModelEntry(name=one.name, aliases=one.aliases, adapters=one.adapters) for one in models
    )


def objectives_of(settings: Settings) -> tuple[Objective, ...]:
    """Return the latency objectives that are stated for the served models."""
    return tuple(
        Objective(metric=OBJECTIVE_METRICS[one.metric], seconds=one.seconds, model=one.model)
        for one in settings.objectives
    )


def anomaly_policy(settings: Settings) -> AnomalyPolicy:
    """Return how far a day's cost must be off to be told."""
    given = settings.anomalies
    return AnomalyPolicy(
        deviations=given.deviations,
        floor_nanos=to_nanos(given.floor),
        floor_ratio=given.floor_ratio,
    )


def hosted_prices_of(settings: Settings) -> tuple[HostedPrice, ...]:
    """Return the hosted API's price list that is configured, else the shipped one."""
    path = settings.hosted_prices
    if path is None:
        return starter_hosted_prices()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"hosted_prices: {path} cannot be read."
        raise SettingsError(
            message, hint="Name a CSV in UTF-8, or leave the setting out."
        ) from error
    return read_hosted_prices(text, filename=path.name)


def waste_policy(settings: Settings) -> WastePolicy:
    """Return the thresholds of the detectors."""
    waste = settings.waste
    return WastePolicy(
        idle_low_band_ratio=waste.idle_low_band_ratio,
        idle_minimum_held_hours=waste.idle_minimum_held_hours,
        minimum_measured_ratio=waste.minimum_measured_ratio,
        unallocated_ratio=waste.unallocated_ratio,
    )


def _path(path: Path | None) -> str:
    return "" if path is None else str(path)
