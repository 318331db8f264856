"""Look for waste before an instant."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from app.errors import InputError
from app.findings.gateway_ratio import detect_gateway_ratios
from app.findings.idle_hold import detect_idle_holds
from app.findings.states import reconcile
from app.findings.unallocated_pool import detect_unallocated_pools
from app.findings.values import Detection, FindingKind, WastePolicy
from app.store.findings import FindingStore
from app.store.naming import NameStore
from app.store.waste import WasteStore
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window, from_ms, to_ms

_DETECTORS = (
    (FindingKind.IDLE_HOLD, WasteStore.idle_holds, detect_idle_holds),
    (FindingKind.UNALLOCATED_POOL, WasteStore.unallocated_pools, detect_unallocated_pools),
    (FindingKind.GATEWAY_RATIO, WasteStore.gateway_ratios, detect_gateway_ratios),
)


class NothingCollectedError(InputError):
    """No hour of the evidence window has been collected and rated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What a run of the detectors found in the evidence window of each cluster."""

    window: Window
    found: int
    to_announce: int
    cannot_tell: int
    clusters_without_evidence: tuple[str, ...]


def detect(at: datetime, *, engine: Engine, policy: WastePolicy, evidence_hours: int) -> Detected:
    """Run every detector over the ``evidence_hours`` whole hours before ``at``.

    A cluster of which an hour is missing or unrated is left as it is: half the evidence would
    resolve findings that still stand.
    """
    end = from_ms(to_ms(at) // HOUR_MS * HOUR_MS)
    window = Window(end - timedelta(hours=evidence_hours), end)
    found = announced = unclear = 0
    skipped: list[str] = []
    with engine.begin() as connection:
        store = FindingStore(connection)
        store.lock()
        clusters = sorted(NameStore(connection).clusters().values())
        for cluster in clusters:
            states = WindowStore(connection, cluster).within(window)
            if len(states) < evidence_hours or any(
                state.rated_revision is None for state in states
            ):
                skipped.append(cluster)
                continue
            evidence = WasteStore(connection, cluster)
            for kind, read, run in _DETECTORS:
                detection: Detection = run(read(evidence, window), window, policy)
                known = store.within(kinds=[kind], cluster=cluster)
                result = reconcile(known, detection, at)
                store.put(result.tracked)
                found += len(detection.findings)
                announced += len(result.to_announce)
                unclear += len(detection.cannot_tell)
    if clusters and len(skipped) == len(clusters):
        hours = f"the {evidence_hours} hours before {end:%Y-%m-%d %H:%M} UTC"
        message = f"No cluster has all of {hours} collected and rated."
        raise NothingCollectedError(message, hint="Collect and rate them first.")
    return Detected(
        window=window,
        found=found,
        to_announce=announced,
        cannot_tell=unclear,
        clusters_without_evidence=tuple(skipped),
    )
