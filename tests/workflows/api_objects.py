"""Pods and nodes as the Kubernetes API writes them: keyword defaults, whole seconds."""

from datetime import UTC, datetime

from tests.usage.builders import HOUR, T0

JsonObject = dict[str, object]

H100 = "NVIDIA-H100-80GB-HBM3"


def stamp(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_node_object(
    name: str = "gpu-1",
    *,
    uid: str = "",
    created_ms: int = T0 - HOUR,
    product: str = H100,
    devices: int = 8,
    allocatable: int | None = None,
) -> JsonObject:
    labels = {"nvidia.com/gpu.product": product} if product else {}
    amounts = {"nvidia.com/gpu": str(devices)} if devices else {}
    free = {"nvidia.com/gpu": str(devices if allocatable is None else allocatable)}
    return {
        "metadata": {
            "name": name,
            "uid": uid or f"uid-{name}",
            "creationTimestamp": stamp(created_ms),
            "labels": labels,
        },
        "spec": {},
        "status": {
            "capacity": {"cpu": "96", **amounts},
            "allocatable": {"cpu": "96", **(free if devices else {})},
        },
    }


def a_pod_object(
    name: str = "ranker-0",
    *,
    node: str = "gpu-1",
    gpus: int = 2,
    scheduled_ms: int | None = T0,
    finished_ms: int | None = None,
    asked_ms: int | None = None,
    grace_seconds: int = 30,
) -> JsonObject:
    """Return a pod; ``asked_ms`` is when its deletion was asked for, with that grace.

    One that finished without being asked to is a job's: nothing starts its container again.
    """
    job = finished_ms is not None and asked_ms is None
    metadata: JsonObject = {
        "name": name,
        "namespace": "search-prod",
        "uid": f"uid-{name}",
        "creationTimestamp": stamp(T0 - 5_000 if scheduled_ms is None else scheduled_ms),
    }
    if asked_ms is not None:
        metadata["deletionTimestamp"] = stamp(asked_ms + grace_seconds * 1000)
        metadata["deletionGracePeriodSeconds"] = grace_seconds
    state: JsonObject = {"running": {}}
    if finished_ms is not None:
        state = {"terminated": {"exitCode": 0, "finishedAt": stamp(finished_ms)}}
    bound = [] if scheduled_ms is None else [condition("PodScheduled", scheduled_ms)]
    return {
        "metadata": metadata,
        "spec": {
            "nodeName": "" if scheduled_ms is None else node,
            "restartPolicy": "Never" if job else "Always",
            "containers": [{"name": "main", "resources": {"requests": {"nvidia.com/gpu": gpus}}}],
        },
        "status": {
            "phase": "Pending" if scheduled_ms is None else "Succeeded" if job else "Running",
            "conditions": bound,
            "containerStatuses": [{"name": "main", "state": state}],
        },
    }


def condition(kind: str, at_ms: int) -> JsonObject:
    return {"type": kind, "status": "True", "lastTransitionTime": stamp(at_ms)}
