"""What may stand behind a Prometheus HTTP API, and what each is told to leave nothing out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Backend(StrEnum):
    """What stands behind the API, as far as it can be told."""

    PROMETHEUS = "prometheus"
    THANOS = "thanos"
    MIMIR = "mimir"
    VICTORIA_METRICS = "victoriametrics"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInfo:
    """What the server says it is."""

    backend: Backend
    version: str


# Without these, Thanos answers 200 with what the reachable stores have, and may answer from
# downsampled blocks. Resolution 0 is that of the scrapes.
_THANOS = {"partial_response": "false", "dedup": "true", "max_source_resolution": "0"}
# Without nocache VictoriaMetrics moves instants to its own grid and hides the last 30 seconds; a
# cluster of it answers 200 with what the reachable storage nodes have unless this is denied.
_VICTORIA_METRICS = {"nocache": "1", "deny_partial_response": "1"}


def build_info_of(data: object) -> BuildInfo:
    """Say what answered with ``data`` of the build information; None for no answer."""
    facts = data if isinstance(data, Mapping) else {}
    version = str(facts.get("version", ""))
    application = str(facts.get("application", "")).lower()
    if "mimir" in application or "cortex" in application:
        backend = Backend.MIMIR
    elif version.startswith("0."):
        backend = Backend.THANOS
    elif isinstance(data, Mapping) and set(facts) <= {"version"}:
        # VictoriaMetrics says nothing of itself, or only which Prometheus it behaves like.
        backend = Backend.VICTORIA_METRICS
    else:
        backend = Backend.PROMETHEUS if version else Backend.UNKNOWN
    return BuildInfo(backend=backend, version=version)


def completing_parameters(backend: Backend) -> dict[str, str]:
    """Return what keeps a back end from leaving data out; others ignore these names."""
    match backend:
        case Backend.PROMETHEUS | Backend.MIMIR:
            return {}
        case Backend.THANOS:
            return dict(_THANOS)
        case Backend.VICTORIA_METRICS:
            return dict(_VICTORIA_METRICS)
        case Backend.UNKNOWN:
            return {**_VICTORIA_METRICS, **_THANOS}
