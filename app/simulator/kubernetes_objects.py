"""Kubernetes objects of a simulated fleet in the shapes of the API, as of any instant."""

from datetime import UTC, datetime
from itertools import pairwise

from app.simulator.hardware import Node
from app.simulator.pods import Container, Outcome, Owner, Pod, Run
from app.simulator.spec import OPEN_MS, SECOND_MS

# What JSON can say. An object is a tree of these.
Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
JsonObject = dict[str, Json]

# A pause between two lives of a process that is longer than this shows as a back-off.
_BACK_OFF_MS = 2 * SECOND_MS


def stamp(at_ms: int) -> str:
    """Return an instant as the API writes it: whole seconds, rounded down."""
    seconds = at_ms // SECOND_MS
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_changes(pod: Pod) -> tuple[int, ...]:
    """Return the instants at which the pod's object changes, its creation first, not its end."""
    instants = {
        pod.created_ms,
        pod.scheduled_ms,
        pod.started_ms,
        pod.delete_requested_ms,
        pod.finished_ms,
    }
    for run in pod.runs:
        instants |= {run.start_ms, run.serving_ms, run.end_ms}
    ends = min(pod.removed_ms, OPEN_MS)
    return tuple(sorted(at for at in instants if pod.created_ms <= at < ends))


def node_changes(node: Node) -> tuple[int, ...]:
    """Return the instants at which the node's object changes, its creation first, not its end."""
    instants = {node.created_ms, node.drain_ms}
    if node.mode.by_claims:
        # Its driver tells of devices in slices: the node itself changes where it is cordoned.
        faces = node.faces()
        instants |= {
            after.start_ms
            for before, after in pairwise(faces)
            if before.unschedulable != after.unschedulable
        }
        instants |= {face.start_ms for face in faces[:1] if face.unschedulable}
    else:
        instants.add(node.advertised_ms)
        instants |= {edge for face in node.faces() for edge in (face.start_ms, face.end_ms)}
    return tuple(sorted(at for at in instants if node.created_ms <= at < node.deleted_ms))


def pod_object(pod: Pod, at_ms: int, version: int) -> JsonObject:
    """Return the pod as of an instant."""
    labels: JsonObject = dict(pod.labels)
    metadata: JsonObject = {
        "name": pod.name,
        "namespace": pod.namespace,
        "uid": pod.uid,
        "resourceVersion": str(version),
        "creationTimestamp": stamp(pod.created_ms),
        "labels": labels,
    }
    if pod.annotations:
        metadata["annotations"] = dict(pod.annotations)
    if pod.owner is not None:
        metadata["generateName"] = f"{pod.owner.name}-"
        metadata["ownerReferences"] = [_reference(pod.owner)]
    if at_ms >= pod.delete_requested_ms:
        # The planned end, not the real one: the request plus the whole grace period.
        planned = pod.delete_requested_ms + pod.grace_seconds * SECOND_MS
        metadata["deletionTimestamp"] = stamp(planned)
        metadata["deletionGracePeriodSeconds"] = pod.grace_seconds
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": _pod_spec(pod, at_ms),
        "status": _pod_status(pod, at_ms),
    }


def _reference(owner: Owner) -> JsonObject:
    versions = {"Deployment": "apps/v1", "ReplicaSet": "apps/v1", "StatefulSet": "apps/v1"}
    version = versions.get(owner.kind, "apps/v1" if owner.kind == "DaemonSet" else "batch/v1")
    return {
        "apiVersion": version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _pod_spec(pod: Pod, at_ms: int) -> JsonObject:
    job = pod.owner is not None and pod.owner.kind == "Job"
    spec: JsonObject = {
        "containers": [_container(c) for c in pod.containers if c.kind == "app"],
        "restartPolicy": "Never" if job else "Always",
        "terminationGracePeriodSeconds": pod.grace_seconds,
        "serviceAccountName": "default",
        "schedulerName": "default-scheduler",
    }
    early = [_container(c) for c in pod.containers if c.kind != "app"]
    if early:
        spec["initContainers"] = [*early]
    asked = [one for one in pod.claims if not one.extended]
    if asked:
        spec["resourceClaims"] = [
            {"name": one.name, "resourceClaimTemplateName": one.template}
            if one.template
            else {"name": one.name, "resourceClaimName": one.claim}
            for one in asked
        ]
    if pod.node is not None and at_ms >= pod.scheduled_ms:
        spec["nodeName"] = pod.node.name
    return spec


def _container(container: Container) -> JsonObject:
    amounts: JsonObject = {"cpu": "1", "memory": "2Gi"}
    amounts |= {name: str(count) for name, count in container.requests()}
    resources: JsonObject = {"requests": amounts, "limits": amounts}
    if container.claims:
        resources["claims"] = [{"name": name} for name in container.claims]
    body: JsonObject = {
        "name": container.name,
        "image": container.image,
        "resources": resources,
    }
    if container.kind == "sidecar":
        body["restartPolicy"] = "Always"
    return body


def _pod_status(pod: Pod, at_ms: int) -> JsonObject:
    if at_ms < pod.scheduled_ms:
        waiting: JsonObject = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "lastTransitionTime": stamp(pod.created_ms),
        }
        return {"phase": "Pending", "conditions": [waiting], "qosClass": "Guaranteed"}
    run = _last_run(pod, at_ms)
    ready = pod.serving_at(at_ms) is not None
    status: JsonObject = {
        "phase": pod.phase_at(at_ms),
        "conditions": _conditions(pod, run, at_ms, ready=ready),
        "startTime": stamp(pod.scheduled_ms),
        "podIP": pod.address,
        "qosClass": "Guaranteed",
        "containerStatuses": [
            _container_status(pod, c, at_ms, ready=ready) for c in pod.containers if c.kind == "app"
        ],
    }
    status |= _claim_statuses(pod)
    if pod.node is not None:
        status["hostIP"] = pod.node.address()
    early = [c for c in pod.containers if c.kind != "app"]
    if early:
        status["initContainerStatuses"] = [_early_status(pod, c, at_ms) for c in early]
    return status


def _claim_statuses(pod: Pod) -> JsonObject:
    """Return which claims stand for those that the pod names or that were made for it."""
    said: JsonObject = {}
    made = [one for one in pod.claims if one.template]
    if made:
        said["resourceClaimStatuses"] = [
            {"name": one.name, "resourceClaimName": one.claim} for one in made
        ]
    for one in pod.claims:
        if one.extended:
            mapping: JsonObject = {
                "containerName": pod.containers[0].name,
                "requestName": "container-0-request-0",
                "resourceName": one.extended,
            }
            said["extendedResourceClaimStatus"] = {
                "resourceClaimName": one.claim,
                "requestMappings": [mapping],
            }
    return said


def _last_run(pod: Pod, at_ms: int) -> Run | None:
    begun = [run for run in pod.runs if run.start_ms <= at_ms]
    return begun[-1] if begun else None


def _conditions(pod: Pod, run: Run | None, at_ms: int, *, ready: bool) -> list[Json]:
    changed = pod.scheduled_ms
    if run is not None:
        ended = [life.end_ms for life in pod.runs if life.end_ms <= at_ms]
        changed = run.serving_ms if ready else max([pod.scheduled_ms, *ended])
    initialized = at_ms >= pod.started_ms
    conditions: list[tuple[str, bool, int]] = [
        ("PodScheduled", True, pod.scheduled_ms),
        ("Initialized", initialized, pod.started_ms if initialized else pod.scheduled_ms),
        ("ContainersReady", ready, changed),
        ("Ready", ready, changed),
    ]
    return [
        {
            "type": kind,
            "status": "True" if holds else "False",
            "lastProbeTime": None,
            "lastTransitionTime": stamp(since),
        }
        for kind, holds, since in conditions
    ]


def _container_status(pod: Pod, container: Container, at_ms: int, *, ready: bool) -> JsonObject:
    lives = [run for run in pod.runs if run.start_ms <= at_ms]
    status: JsonObject = {
        "name": container.name,
        "image": container.image,
        "imageID": f"registry/{container.image}",
        "ready": ready,
        "started": bool(lives),
        "restartCount": max(0, len(lives) - 1),
        "state": _state(pod, lives, at_ms),
        "lastState": {},
    }
    over = [run for run in lives if run.end_ms <= at_ms and run.end_ms < pod.finished_ms]
    if over:
        status["lastState"] = {"terminated": _terminated(over[-1].start_ms, over[-1].end_ms, 1)}
    return status


def _state(pod: Pod, lives: list[Run], at_ms: int) -> JsonObject:
    if at_ms >= pod.finished_ms:
        begun = lives[-1].start_ms if lives else pod.started_ms
        code = {Outcome.SUCCEEDED: 0, Outcome.FAILED: 1}.get(pod.outcome, 137)
        return {"terminated": _terminated(min(begun, pod.finished_ms), pod.finished_ms, code)}
    if not lives:
        return {"waiting": {"reason": "ContainerCreating"}}
    if at_ms >= lives[-1].end_ms:
        # Between two lives: a short pause still shows the exit, though the pod goes on.
        later = [run.start_ms for run in pod.runs if run.start_ms > at_ms]
        if min(later) - lives[-1].end_ms < _BACK_OFF_MS:
            return {"terminated": _terminated(lives[-1].start_ms, lives[-1].end_ms, 1)}
        return {"waiting": {"reason": "CrashLoopBackOff"}}
    return {"running": {"startedAt": stamp(lives[-1].start_ms)}}


def _terminated(start_ms: int, end_ms: int, code: int) -> JsonObject:
    return {
        "exitCode": code,
        "reason": "Completed" if code == 0 else "Error",
        "startedAt": stamp(start_ms),
        "finishedAt": stamp(end_ms),
    }


def _early_status(pod: Pod, container: Container, at_ms: int) -> JsonObject:
    """Return the status of an init container, or of a sidecar, which lives as long as the pod."""
    status: JsonObject = {
        "name": container.name,
        "image": container.image,
        "imageID": f"registry/{container.image}",
        "ready": pod.scheduled_ms + SECOND_MS <= at_ms < pod.finished_ms,
        "restartCount": 0,
        "lastState": {},
    }
    began = pod.scheduled_ms + SECOND_MS
    ends = pod.started_ms if container.kind == "init" else pod.finished_ms
    if at_ms >= ends:
        status["state"] = {"terminated": _terminated(min(began, ends), ends, 0)}
    elif container.kind == "init" or at_ms >= pod.started_ms:
        status["state"] = {"running": {"startedAt": stamp(began)}}
    else:
        status["state"] = {"waiting": {"reason": "PodInitializing"}}
    return status


def node_object(node: Node, at_ms: int, version: int) -> JsonObject:
    """Return the node as of an instant; its devices show once the device plugin has registered."""
    face = node.face_at(at_ms)
    labels: JsonObject = dict(face.labels if face else node.plain_labels())
    capacity: JsonObject = {"cpu": "192", "memory": "2097152Ki", "pods": "110"}
    allocatable: JsonObject = {"cpu": "190", "memory": "2000000Ki", "pods": "110"}
    if face:
        capacity |= {name: str(count) for name, count in face.capacity}
        allocatable |= {name: str(count) for name, count in face.allocatable}
    metadata: JsonObject = {
        "name": node.name,
        "uid": node.uid,
        "resourceVersion": str(version),
        "creationTimestamp": stamp(node.created_ms),
        "labels": labels,
    }
    if face and face.annotations:
        metadata["annotations"] = dict(face.annotations)
    spec: JsonObject = {"providerID": node.provider_id()}
    if face and face.unschedulable:
        spec["unschedulable"] = True
    if at_ms >= node.drain_ms:
        metadata["deletionTimestamp"] = stamp(node.drain_ms)
        metadata["finalizers"] = ["karpenter.sh/termination"]
        spec["unschedulable"] = True
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": spec,
        "status": {
            "capacity": capacity,
            "allocatable": allocatable,
            "addresses": [{"type": "InternalIP", "address": node.address()}],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "lastTransitionTime": stamp(node.created_ms + 10 * SECOND_MS),
                }
            ],
            "nodeInfo": _node_info(node),
        },
    }


def _node_info(node: Node) -> JsonObject:
    machine = node.uid.replace("-", "")
    return {
        "architecture": "amd64",
        "bootID": node.uid,
        "containerRuntimeVersion": "containerd://2.0.5",
        "kernelVersion": "6.1.0",
        "kubeProxyVersion": "",
        "kubeletVersion": "v1.33.4",
        "machineID": machine,
        "operatingSystem": "linux",
        "osImage": "Debian GNU/Linux 12",
        "systemUUID": node.uid.upper(),
    }


def owner_object(owner: Owner, namespace: str) -> JsonObject:
    """Return a ReplicaSet or Job with its own controller."""
    metadata: JsonObject = {
        "name": owner.name,
        "namespace": namespace,
        "uid": owner.uid,
        "resourceVersion": "1",
        "creationTimestamp": stamp(owner.created_ms),
    }
    if owner.above is not None:
        metadata["ownerReferences"] = [_reference(owner.above)]
    version = "batch/v1" if owner.kind == "Job" else "apps/v1"
    return {"kind": owner.kind, "apiVersion": version, "metadata": metadata, "spec": {}}
