"""Claims, slices and classes as the API writes them, in the shapes of its three versions."""

from tests.usage.builders import T0
from tests.workflows.api_objects import JsonObject, stamp

API_VERSIONS = ("v1", "v1beta2", "v1beta1")
H100 = "NVIDIA H100 80GB HBM3"


def a_gpu(name: str = "gpu-0", **more: object) -> JsonObject:
    """A whole GPU without what its version wraps around it."""
    return {
        "name": name,
        "attributes": {
            "type": {"string": "gpu"},
            "uuid": {"string": f"GPU-{name}"},
            "productName": {"string": H100},
            "driverVersion": {"version": "580.95.5"},
            "gpu.nvidia.com/minor": {"int": 3},
            "resource.kubernetes.io/pciBusID": {"string": f"0000:{name}:00.0"},
        },
        "capacity": {"memory": {"value": "80Gi"}},
        **more,
    }


def a_partition(name: str, profile: str, *, parent: str = "gpu-0") -> JsonObject:
    return {
        "name": name,
        "attributes": {
            "type": {"string": "mig"},
            "profile": {"string": profile},
            "parentUUID": {"string": f"GPU-{parent}"},
            "productName": {"string": H100},
        },
        "capacity": {"memory": {"value": "10Gi"}},
    }


def a_slice_object(
    *devices: JsonObject,
    version: str = "v1",
    name: str = "gpu-1-slice",
    node: str = "gpu-1",
    generation: int = 1,
    driver: str = "gpu.nvidia.com",
    counters: list[JsonObject] | None = None,
) -> JsonObject:
    spec: JsonObject = {
        "driver": driver,
        "pool": {"name": node, "generation": generation, "resourceSliceCount": 1},
        "nodeName": node,
        "devices": [_wrapped(device, version) for device in devices],
    }
    if counters:
        spec["sharedCounters"] = counters
    return {
        "apiVersion": f"resource.k8s.io/{version}",
        "kind": "ResourceSlice",
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": stamp(T0)},
        "spec": spec,
    }


def _wrapped(device: JsonObject, version: str) -> JsonObject:
    if version != "v1beta1":
        return device
    return {"name": device["name"], "basic": {k: v for k, v in device.items() if k != "name"}}


def a_result(device: str = "gpu-0", *, node: str = "gpu-1", **more: object) -> JsonObject:
    return {"request": "gpu", "driver": "gpu.nvidia.com", "pool": node, "device": device, **more}


def a_claim_object(
    name: str = "train-claim",
    *results: JsonObject,
    version: str = "v1",
    namespace: str = "search-prod",
    created_ms: int = T0 - 60_000,
    allocated_ms: int | None = None,
    pods: tuple[str, ...] = (),
    extended_for: str = "",
    uid: str = "",
) -> JsonObject:
    """A claim that was given ``results``; nothing is allocated to it where there are none."""
    asked: JsonObject = {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount"}
    request = (
        {"name": "gpu", **asked} if version == "v1beta1" else {"name": "gpu", "exactly": asked}
    )
    metadata: JsonObject = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "creationTimestamp": stamp(created_ms),
        "labels": {"app": "ranker"},
    }
    if extended_for:
        metadata["annotations"] = {"resource.kubernetes.io/extended-resource-claim": "true"}
        metadata["ownerReferences"] = [
            {"kind": "Pod", "name": extended_for, "uid": f"uid-{extended_for}", "controller": True}
        ]
    status: JsonObject = {}
    if results:
        allocation: JsonObject = {"devices": {"results": [*results]}}
        allocation["nodeSelector"] = {
            "nodeSelectorTerms": [
                {
                    "matchFields": [
                        {
                            "key": "metadata.name",
                            "operator": "In",
                            "values": [str(results[0]["pool"])],
                        }
                    ]
                }
            ]
        }
        if allocated_ms is not None:
            allocation["allocationTimestamp"] = stamp(allocated_ms)
        status["allocation"] = allocation
    if pods:
        status["reservedFor"] = [
            {"resource": "pods", "name": pod, "uid": f"uid-{pod}"} for pod in pods
        ]
    return {
        "apiVersion": f"resource.k8s.io/{version}",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "spec": {"devices": {"requests": [request]}},
        "status": status,
    }


def a_class_object(name: str = "gpu.nvidia.com", resource: str = "nvidia.com/gpu") -> JsonObject:
    spec: JsonObject = {"extendedResourceName": resource} if resource else {}
    metadata: JsonObject = {"name": name, "uid": f"uid-{name}"}
    return {"kind": "DeviceClass", "metadata": metadata, "spec": spec}


def a_group(*versions: str) -> JsonObject:
    """What discovery says of the group."""
    return {
        "kind": "APIGroup",
        "name": "resource.k8s.io",
        "versions": [
            {"groupVersion": f"resource.k8s.io/{version}", "version": version}
            for version in versions
        ],
    }
