"""The families of kube-state-metrics that tell of pods, their owners, and nodes."""

import re
from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np

from app.simulator.fleet import Fleet
from app.simulator.hardware import Face, Node
from app.simulator.layouts import Amounts
from app.simulator.placement import MONITORING_NAMESPACE
from app.simulator.pods import Owner, Pod
from app.simulator.scrapes import KUBE_STATE_METRICS
from app.simulator.series import Float64s, Int64s, ScrapeBook, Series, between, constant, series
from app.simulator.spec import OPEN_MS, SECOND_MS

_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_Rows = Iterator[tuple[dict[str, str], Int64s, Float64s]]


class KubeStateSeries:
    """The families over the whole life of the fleet, as seen by one kube-state-metrics."""

    def __init__(self, fleet: Fleet, scrapes: ScrapeBook) -> None:
        self._fleet = fleet
        self._scrapes = scrapes

    def family(self, name: str) -> Iterator[Series]:
        """Yield the series of one family."""
        for copy, copy_labels in self._scrapes.copies():
            times = self._scrapes.answered(KUBE_STATE_METRICS, KUBE_STATE_METRICS, copy)
            target = {**kube_state_target(), **copy_labels}
            for labels, at_ms, value in self._rows(name, times):
                if len(at_ms):
                    # The exporter honors its own labels: they win over the target's.
                    yield series({**target, **labels}, at_ms, value)

    def _rows(self, name: str, times: Int64s) -> _Rows:
        if name in _POD_FAMILIES:
            rows_of_pod = _POD_FAMILIES[name]
            for pod in self._fleet.pods:
                yield from rows_of_pod(pod, between(times, pod.created_ms, pod.removed_ms))
        elif name in _NODE_FAMILIES:
            rows_of_node = _NODE_FAMILIES[name]
            for node in self._fleet.nodes:
                yield from rows_of_node(node, between(times, node.created_ms, node.deleted_ms))
        else:
            kind, label = _OWNER_FAMILIES[name]
            yield from _owners_of(self._fleet.pods, kind, label, times)


def mangled(resource: str) -> str:
    """Return a resource's name without the characters that a metric name may not have."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", resource)


def kube_state_target() -> dict[str, str]:
    """Return what Prometheus adds to every sample of kube-state-metrics."""
    return {
        "job": "kube-state-metrics",
        "instance": "10.0.0.250:8080",
        "endpoint": "http",
        "service": "kube-state-metrics",
        "namespace": MONITORING_NAMESPACE,
        "pod": "kube-state-metrics-0",
        "container": "kube-state-metrics",
    }


def _name(pod: Pod) -> dict[str, str]:
    return {"namespace": pod.namespace, "pod": pod.name, "uid": pod.uid}


def _instant(instant_of: Callable[[Pod], int]) -> Callable[[Pod, Int64s], _Rows]:
    """Return the rows of a family whose value is an instant, shown from that instant on."""

    def rows(pod: Pod, times: Int64s) -> _Rows:
        at_ms = instant_of(pod)
        seen = between(times, at_ms, OPEN_MS)
        yield _name(pod), seen, constant(at_ms // SECOND_MS, seen)

    return rows


def _info(pod: Pod, times: Int64s) -> _Rows:
    owner = pod.owner
    labels = {
        **_name(pod),
        "created_by_kind": owner.kind if owner else "<none>",
        "created_by_name": owner.name if owner else "<none>",
        "host_network": "false",
        "priority_class": "",
    }
    for node, seen in _bound(pod, times):
        address = pod.address if node else ""
        yield {**labels, "node": node, "pod_ip": address}, seen, constant(1, seen)


def _bound(pod: Pod, times: Int64s) -> Iterator[tuple[str, Int64s]]:
    """Yield the scrapes before the pod was bound, and those after with the node's name."""
    yield "", between(times, 0, pod.scheduled_ms)
    if pod.node is not None:
        yield pod.node.name, between(times, pod.scheduled_ms, OPEN_MS)


def _owner(pod: Pod, times: Int64s) -> _Rows:
    yield {**_name(pod), **_owner_labels(pod.owner)}, times, constant(1, times)


def _owner_labels(owner: Owner | None) -> dict[str, str]:
    if owner is None:
        return {"owner_kind": "<none>", "owner_name": "<none>", "owner_is_controller": "<none>"}
    return {"owner_kind": owner.kind, "owner_name": owner.name, "owner_is_controller": "true"}


def _requests(*kinds: str) -> Callable[[Pod, Int64s], _Rows]:
    """Return the rows of container requests; extended resources appear by a mangled name."""

    def rows(pod: Pod, times: Int64s) -> _Rows:
        for container in pod.containers:
            if container.kind not in kinds:
                continue
            asked = [(mangled(name), "integer", float(n)) for name, n in container.requests()]
            for resource, unit, amount in asked or [("cpu", "core", 0.1)]:
                labels = {"container": container.name, "resource": resource, "unit": unit}
                for node, seen in _bound(pod, times):
                    yield {**_name(pod), **labels, "node": node}, seen, constant(amount, seen)

    return rows


def _phase(pod: Pod, times: Int64s) -> _Rows:
    starts = np.array([0, pod.started_ms, pod.finished_ms], dtype=np.int64)
    index = np.searchsorted(starts, times, side="right") - 1
    shown = np.array(["Pending", "Running", pod.phase_at(pod.finished_ms)])[index]
    for phase in _PHASES:
        yield {**_name(pod), "phase": phase}, times, (shown == phase).astype(np.float64)


def _deletion(pod: Pod, times: Int64s) -> _Rows:
    """Show the planned end: when deletion was asked for, plus the whole grace period."""
    seen = between(times, pod.delete_requested_ms, OPEN_MS)
    planned = pod.delete_requested_ms // SECOND_MS + pod.grace_seconds
    yield _name(pod), seen, constant(planned, seen)


def _ready_time(pod: Pod, times: Int64s) -> _Rows:
    """Show since when the pod is ready, only while it is: earlier transitions are forgotten."""
    if not pod.runs:
        return
    up = np.array([run.serving_ms for run in pod.runs], dtype=np.int64)
    down = np.array([run.end_ms for run in pod.runs], dtype=np.int64)
    run = np.searchsorted(up, times, side="right") - 1
    ready = (run >= 0) & (times < down[np.maximum(run, 0)])
    yield _name(pod), times[ready], (up[run[ready]] // SECOND_MS).astype(np.float64)


def _pod_labels(pod: Pod, times: Int64s) -> _Rows:
    labels = {label_name(name): text for name, text in pod.labels}
    yield {**_name(pod), **labels}, times, constant(1, times)


def _pod_annotations(pod: Pod, times: Int64s) -> _Rows:
    if pod.annotations:
        named = {_annotation_name(name): text for name, text in pod.annotations}
        yield {**_name(pod), **named}, times, constant(1, times)


def _annotation_name(name: str) -> str:
    return f"annotation_{label_name(name).removeprefix('label_')}"


def _pod_claims(pod: Pod, times: Int64s) -> _Rows:
    for claim in pod.claims:
        if claim.extended:
            continue
        labels = {
            "claim_name": claim.name,
            "resourceclaim_name": claim.claim,
            "resourceclaim_template_name": claim.template,
        }
        seen = between(times, pod.scheduled_ms, OPEN_MS)
        yield {**_name(pod), **labels}, seen, constant(1, seen)


def label_name(name: str) -> str:
    """Return a Kubernetes label's name as kube-state-metrics writes it."""
    snake = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"[^a-zA-Z0-9_]", "_", name))
    return f"label_{snake.lower()}"


def _node_info(node: Node, times: Int64s) -> _Rows:
    labels = {
        "node": node.name,
        "provider_id": node.provider_id(),
        "internal_ip": node.address(),
        "kernel_version": "6.1.0",
        "kubelet_version": "v1.33.4",
        "os_image": "Debian GNU/Linux 12",
        "system_uuid": node.uid.upper(),
    }
    yield labels, times, constant(1, times)


def _node_created(node: Node, times: Int64s) -> _Rows:
    yield {"node": node.name}, times, constant(node.created_ms // SECOND_MS, times)


def _node_labels(node: Node, times: Int64s) -> _Rows:
    """Show the labels; those of feature discovery only once it has run."""
    before = dict(node.plain_labels())
    shown = [(before, between(times, 0, node.advertised_ms))]
    for labels, faces in groupby(node.faces(), lambda face: face.labels):
        spans = list(faces)
        last = OPEN_MS if spans[-1] == node.faces()[-1] else spans[-1].end_ms
        shown.append((dict(labels), between(times, spans[0].start_ms, last)))
    for labels_now, seen in shown:
        named = {label_name(name): text for name, text in labels_now.items()}
        yield {"node": node.name, **named}, seen, constant(1, seen)


def _node_annotations(node: Node, times: Int64s) -> _Rows:
    for annotations, faces in groupby(node.faces(), lambda face: face.annotations):
        spans = list(faces)
        seen = between(times, spans[0].start_ms, spans[-1].end_ms)
        named = {_annotation_name(name): text for name, text in annotations}
        if named:
            yield {"node": node.name, **named}, seen, constant(1, seen)


def _node_unschedulable(node: Node, times: Int64s) -> _Rows:
    value = np.zeros(len(times), dtype=np.float64)
    for face in node.faces():
        low, high = np.searchsorted(times, [face.start_ms, face.end_ms])
        value[low:high] = face.unschedulable
    if node.layouts:
        yield {"node": node.name}, times, value


def _node_amounts(amounts_of: Callable[[Face], Amounts], cores: int) -> Callable[..., _Rows]:
    """Return the rows of capacity or allocatable: devices since they are advertised, and cores."""

    def rows(node: Node, times: Int64s) -> _Rows:
        seen = between(times, node.advertised_ms, OPEN_MS)
        names = {name: None for face in node.faces() for name, _ in amounts_of(face)}
        for name in names:
            labels = {"node": node.name, "resource": mangled(name), "unit": "integer"}
            value = np.zeros(len(seen), dtype=np.float64)
            for face in node.faces():
                low, high = np.searchsorted(seen, [face.start_ms, face.end_ms])
                value[low:high] = dict(amounts_of(face)).get(name, 0)
            yield labels, seen, value
        yield {"node": node.name, "resource": "cpu", "unit": "core"}, times, constant(cores, times)

    return rows


def _owners_of(pods: tuple[Pod, ...], kind: str, label: str, times: Int64s) -> _Rows:
    """Show each owner of a kind once, as long as one of its pods is there."""
    ends: dict[tuple[str, str], tuple[Owner, int, int]] = {}
    for pod in pods:
        if pod.owner is None or pod.owner.kind != kind:
            continue
        key = (pod.namespace, pod.owner.name)
        _, start, end = ends.get(key, (pod.owner, pod.created_ms, pod.removed_ms))
        ends[key] = (pod.owner, min(start, pod.created_ms), max(end, pod.removed_ms))
    for (namespace, name), (owner, start, end) in ends.items():
        seen = between(times, start, end)
        labels = {"namespace": namespace, label: name, **_owner_labels(owner.above)}
        yield labels, seen, constant(1, seen)


_POD_FAMILIES: dict[str, Callable[[Pod, Int64s], _Rows]] = {
    "kube_pod_info": _info,
    "kube_pod_owner": _owner,
    "kube_pod_labels": _pod_labels,
    "kube_pod_annotations": _pod_annotations,
    "kube_pod_resourceclaim_info": _pod_claims,
    "kube_pod_created": _instant(lambda pod: pod.created_ms),
    "kube_pod_start_time": _instant(lambda pod: pod.scheduled_ms),
    "kube_pod_status_scheduled_time": _instant(lambda pod: pod.scheduled_ms),
    "kube_pod_completion_time": _instant(lambda pod: pod.finished_ms),
    "kube_pod_deletion_timestamp": _deletion,
    "kube_pod_status_ready_time": _ready_time,
    "kube_pod_status_phase": _phase,
    "kube_pod_container_resource_requests": _requests("app"),
    "kube_pod_init_container_resource_requests": _requests("init", "sidecar"),
}
_NODE_FAMILIES: dict[str, Callable[[Node, Int64s], _Rows]] = {
    "kube_node_info": _node_info,
    "kube_node_created": _node_created,
    "kube_node_labels": _node_labels,
    "kube_node_annotations": _node_annotations,
    "kube_node_spec_unschedulable": _node_unschedulable,
    "kube_node_status_capacity": _node_amounts(lambda face: face.capacity, 192),
    "kube_node_status_allocatable": _node_amounts(lambda face: face.allocatable, 190),
}
_OWNER_FAMILIES = {
    "kube_replicaset_owner": ("ReplicaSet", "replicaset"),
    "kube_job_owner": ("Job", "job_name"),
}
# What is told only where a fleet shares devices.
SHARED_KUBE_STATE_FAMILIES = (
    "kube_pod_annotations",
    "kube_pod_resourceclaim_info",
    "kube_node_annotations",
    "kube_node_spec_unschedulable",
)
KUBE_STATE_FAMILIES = (*_POD_FAMILIES, *_NODE_FAMILIES, *_OWNER_FAMILIES)
