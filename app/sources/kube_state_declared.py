"""Pods that declare parts of GPUs in annotations, as kube-state-metrics shows them.

They request no device, so only their annotations tell of them, and only those that
``--metric-annotations-allowlist`` names are exported.
"""

from collections.abc import Sequence

from app.sources.asking import Answered, Ask, Inquiry, Span, chosen
from app.sources.kube_state_nodes import ANNOTATION_PREFIX, annotations_of
from app.sources.kube_state_pods import SeenPod
from app.sources.promql import NEWEST, RAW_SAMPLES, Matcher, Operator
from app.sources.scrapes import ScrapeTimes
from app.usage.declared import ANNOTATIONS, RESERVATION_NAMESPACES
from app.usage.hami import NODE_ANNOTATIONS
from app.usage.label_names import mangled
from app.usage.notes import Note

_NOT_VISIBLE = (
    "A pod reserves a GPU for pods that declare parts of it, and no such pod is visible. Let"
    " kube-state-metrics export the annotations gpu-fraction and gpu-memory of pods, or watch."
)


def annotation_asks(inquiry: Inquiry, span: Span) -> list[Ask]:
    """Ask which pods declare parts of GPUs, and what nodes register of theirs."""
    asks: list[Ask] = []
    for name in sorted(ANNOTATIONS):
        asks += inquiry.asks("pod_annotations", RAW_SAMPLES, span, matchers=(_has(name),))
    for name in sorted(NODE_ANNOTATIONS):
        asks += inquiry.asks("node_annotations", NEWEST, span, matchers=(_has(name),))
    return asks


def declaring_pods(answered: Sequence[Answered], times: ScrapeTimes) -> tuple[SeenPod, ...]:
    """Return the pods whose annotations declare parts of GPUs, their nodes as far as told."""
    nodes = {
        uid: node
        for samples in chosen(answered, "pod_info")
        for uid, node in zip(samples.labels["uid"], samples.labels["node"], strict=True)
        if node
    }
    rows: dict[str, list[tuple[str, str, str, str, int, int]]] = {}
    for samples in chosen(answered, "pod_annotations"):
        labels = samples.labels
        for uid, *row in zip(
            labels["uid"],
            labels["namespace"],
            labels["pod"],
            labels["target"],
            labels["series"],
            samples.at_ms[samples.first[:-1]].tolist(),
            samples.at_ms[samples.first[1:] - 1].tolist(),
            strict=True,
        ):
            if uid:
                namespace, pod, target, series, first_ms, last_ms = row
                rows.setdefault(uid, []).append((namespace, pod, target, series, first_ms, last_ms))
    return tuple(
        SeenPod(
            uid=uid,
            namespace=of_pod[-1][0],
            name=of_pod[-1][1],
            node_name=nodes.get(uid, ""),
            containers=(),
            sighting=times.sighting(
                sorted({row[2] for row in of_pod}),
                min(row[4] for row in of_pod),
                max(row[5] for row in of_pod),
            ),
            annotations=annotations_of(of_pod[-1][3], ANNOTATIONS),
        )
        for uid, of_pod in sorted(rows.items())
    )


def notes_on_reservations(pods: Sequence[SeenPod], declaring: Sequence[SeenPod]) -> list[Note]:
    """Name GPUs that are reserved for pods which nobody shows."""
    if declaring:
        return []
    return [
        Note("fractions_not_visible", f"{pod.namespace}/{pod.name}", 1, _NOT_VISIBLE)
        for pod in pods
        if pod.namespace in RESERVATION_NAMESPACES
    ]


def _has(annotation: str) -> Matcher:
    return Matcher(ANNOTATION_PREFIX + mangled(annotation), Operator.NOT_EQUAL, "")
