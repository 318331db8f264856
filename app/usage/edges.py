"""When a pod held what it holds: from binding to the end of its last container."""

from dataclasses import dataclass

from app.units.window import OPEN_MS
from app.usage.inventory import PodFacts

TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """A hold's span, as wide as it may be; the true edges lie up to the unsure parts inside."""

    start_ms: int
    end_ms: int
    start_unsure_ms: int
    end_unsure_ms: int


def edges_of(
    pod: PodFacts, *, seen_ms: int | None = None, gone_ms: int | None = None
) -> Edges | None:
    """Return when the pod held its devices, None if it was never bound to a node.

    ``seen_ms`` is an instant at which the pod was seen in this state, ``gone_ms`` the one at which
    it was seen to be deleted; both bound edges that the object itself does not tell.
    """
    if not pod.node_name:
        return None
    start = pod.created_ms if pod.scheduled_ms is None else pod.scheduled_ms
    end, end_unsure = _end(pod, start, seen_ms=seen_ms, gone_ms=gone_ms)
    start_unsure = 0
    if pod.scheduled_ms is None:
        finished = [c.finished_ms for c in pod.containers if c.finished_ms is not None]
        bounds = [at for at in (pod.ready_ms, seen_ms, gone_ms, *finished) if at is not None]
        start_unsure = max(0, min(bounds, default=start) - start)
    return Edges(
        start_ms=start,
        end_ms=end,
        start_unsure_ms=min(start_unsure, end - start),
        end_unsure_ms=end_unsure,
    )


def _end(pod: PodFacts, start: int, *, seen_ms: int | None, gone_ms: int | None) -> tuple[int, int]:
    """Return the end of the hold and how much earlier it may have been.

    The last container's finish ends it, as the status tells; a deleted pod whose containers were
    not all seen to finish ends with its deletion. A pod that the kubelet refused or evicted may
    have failed without any container status: then its end is only known to be before it was seen.
    """
    finished = [c.finished_ms for c in pod.containers if c.finished_ms is not None]
    running = [c for c in pod.containers if c.kind != "init" and c.finished_ms is None]
    terminal = pod.phase in TERMINAL_PHASES
    if finished and (terminal or (pod.containers and not running)):
        return max(start, *finished), 0
    latest = gone_ms if gone_ms is not None else seen_ms
    if terminal:
        end = max(start, latest) if latest is not None else start
        return end, end - start
    return (max(start, gone_ms), 0) if gone_ms is not None else (OPEN_MS, 0)
