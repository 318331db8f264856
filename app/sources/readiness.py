"""What Prometheus knows at this moment: which metrics, of how many devices, how fresh."""

from collections.abc import Mapping, Sequence

from app.sources.catalogue import Catalogue, Exporter
from app.sources.prometheus import PrometheusSource

# Prometheus calls a series gone after five minutes without a sample; so does an instant query.
_FRESH_MS = 300_000

# Fields that the catalogue has no meaning for, since no charge needs them (dcgm-exporter,
# default-counters.csv).
_BESIDE = {
    "temperature": ("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_TEMP_CELSIUS"),
    "power": ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_USAGE_WATTS"),
}
_NOT_UTILIZATION = frozenset({"memory_used", "energy", "sm_active", "dram_active"})
# What tells the same devices.
_VENDORS = {"dcgm-exporter": "nvidia", "gke-device-plugin": "nvidia", "hami": "nvidia"}


def names_at(source: PrometheusSource, at_ms: int) -> frozenset[str]:
    """Return the names of the metrics that had samples in the last minutes."""
    return frozenset(source.label_values("__name__", start_ms=at_ms - _FRESH_MS, end_ms=at_ms))


def newest_sample_ms(source: PrometheusSource, at_ms: int) -> int | None:
    """Return when the newest sample of any target's `up` was taken, None if there is none."""
    answer = source.query("max(timestamp(up))", at_ms)
    return round(float(answer.result[0]["value"][1]) * 1000) if answer.result else None


def fresh_devices(
    source: PrometheusSource, catalogue: Catalogue, names: frozenset[str], at_ms: int
) -> Mapping[str, int]:
    """Return of how many devices there is a fresh sample, by what is measured.

    A device is counted by the labels that name it, so that a MIG instance is none of its own and
    a copy counts once. Of several exporters for one vendor the one that tells most counts.
    """
    found: dict[tuple[str, str], int] = {}
    for exporter in catalogue.devices:
        vendor = _VENDORS.get(exporter.name, exporter.name)
        for what, wanted in _wanted(exporter).items():
            metrics = [metric for metric in wanted if metric in names]
            if metrics:
                count = _devices(source, exporter, metrics, at_ms)
                found[what, vendor] = max(found.get((what, vendor), 0), count)
    return {
        what: sum(count for (of, _), count in found.items() if of == what)
        for what in dict.fromkeys(what for what, _ in found)
    }


def engines_of(catalogue: Catalogue, names: frozenset[str]) -> tuple[str, ...]:
    """Return the inference engines of which series are collected."""
    return tuple(
        engine.name
        for engine in catalogue.engines
        if any(
            meaning.series_name(alias) in names
            for meaning in engine.meanings
            if meaning.name in _OWN_FIGURES
            for alias in meaning.aliases
        )
        and (not engine.recognized_by or any(name in names for name in engine.recognized_by))
    )


# What only an engine publishes; `process_start` and the like anybody does.
_OWN_FIGURES = frozenset(
    {"prompt_tokens", "generation_tokens", "requests", "time_to_first_token", "end_to_end"}
)


def scaled_on(source: PrometheusSource, at_ms: int) -> tuple[str, ...]:
    """Return the metrics that HorizontalPodAutoscalers look at, as kube-state-metrics tells."""
    return source.label_values(
        "metric_name",
        start_ms=at_ms - _FRESH_MS,
        end_ms=at_ms,
        match="kube_horizontalpodautoscaler_spec_target_metric",
    )


def _wanted(exporter: Exporter) -> dict[str, tuple[str, ...]]:
    wanted: dict[str, tuple[str, ...]] = {"utilization": (), "memory": ()}
    for meaning in exporter.meanings:
        what = "memory" if meaning.name == "memory_used" else "utilization"
        if what == "utilization" and meaning.name in _NOT_UTILIZATION:
            continue
        names = tuple(alias.name for alias in meaning.aliases if not alias.respelled)
        wanted[what] = (*wanted[what], *names)
    return {**wanted, **(_BESIDE if exporter.name == "dcgm-exporter" else {})}


def _devices(
    source: PrometheusSource, exporter: Exporter, metrics: Sequence[str], at_ms: int
) -> int:
    # NVIDIA's devices have names that are unique everywhere, others only on their node.
    own = exporter.name in _VENDORS and exporter.label_names("device")
    fields = ("device",) if own else ("hostname", "node", "device", "index")
    labels = [
        label for field in fields for label in exporter.label_names(field) if label.isidentifier()
    ]
    series = "|".join(metrics)
    question = f'count(count by ({", ".join(labels)}) ({{__name__=~"{series}"}}))'
    answer = source.query(question, at_ms)
    return round(float(answer.result[0]["value"][1])) if answer.result else 0
