"""Resource claims, slices and device classes in the shapes of ``resource.k8s.io``.

``v1`` and ``v1beta2`` agree but for the version; ``v1beta1`` has a request's fields beside its
name, and a device's under ``basic``. Source: k8s.io/api/resource.
"""

from dataclasses import dataclass

from app.simulator.claims import DRIVER, Claim, Result
from app.simulator.dice import suffix, uid
from app.simulator.hardware import Node
from app.simulator.kubernetes_objects import Json, JsonObject, stamp
from app.simulator.layouts import Layout
from app.simulator.mode_claims import (
    CAPACITY_GIB,
    GPU_CLASS,
    MIG_CLASS,
    PARTITIONS,
    device_name,
    partition_name,
)
from app.simulator.modes import MIG_PROFILES, WHOLE_GPU, Mode
from app.simulator.spec import SECOND_MS

GROUP = "resource.k8s.io"
VERSIONS = ("v1", "v1beta2", "v1beta1")


@dataclass(frozen=True, slots=True)
class SliceOf:
    """The slice of a node that lists its devices, or the one with the counters they consume."""

    node: Node
    counters: bool = False

    @property
    def name(self) -> str:
        """The object's name."""
        part = "counters" if self.counters else "devices"
        return f"{self.node.name}-{DRIVER}-{part}-{suffix(0, self.node.uid)}"

    @property
    def uid(self) -> str:
        """The object's UID."""
        return uid(0, self.node.uid, "counters" if self.counters else "devices")

    def changes(self) -> tuple[int, ...]:
        """Return when the driver writes the slice anew, the first time first.

        The counters come a second before the devices that consume them.
        """
        edges: list[int] = []
        before: tuple[int, ...] | None = None
        for layout in self.node.layouts:
            if layout.devices != before:
                edges.append(layout.start_ms)
                before = layout.devices
        lead_ms = SECOND_MS if self.counters else 0
        return (edges[0] - lead_ms, *edges[1:])


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """A class of devices; through one of them whole GPUs are an extended resource as well."""

    name: str
    created_ms: int

    @property
    def uid(self) -> str:
        """The object's UID, which nobody looks at."""
        return f"class-{self.name}"


def slices_of(node: Node) -> tuple[SliceOf, ...]:
    """Return the slices that a node's driver publishes."""
    if not node.mode.by_claims:
        return ()
    if node.mode is Mode.DRA_PARTITIONS:
        return (SliceOf(node), SliceOf(node, counters=True))
    return (SliceOf(node),)


def claim_object(claim: Claim, at_ms: int, version: int, api: str) -> JsonObject:
    """Return a claim as of an instant."""
    metadata: JsonObject = {
        "name": claim.name,
        "namespace": claim.namespace,
        "uid": claim.uid,
        "resourceVersion": str(version),
        "creationTimestamp": stamp(claim.created_ms),
    }
    if claim.extended:
        metadata["annotations"] = {f"resource.kubernetes.io/{_EXTENDED}": "true"}
    elif claim.claim_name:
        metadata["annotations"] = {"resource.kubernetes.io/pod-claim-name": claim.claim_name}
    if claim.owner:
        metadata["ownerReferences"] = [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": claim.owner,
                "uid": claim.owner_uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    status: JsonObject = {}
    allocation = claim.allocated_at(at_ms)
    if allocation is not None:
        status["allocation"] = {
            "allocationTimestamp": stamp(allocation.start_ms),
            "devices": {"results": [_result(claim, one) for one in claim.results]},
            "nodeSelector": _on_node(claim.node),
        }
    users = claim.reserved_at(at_ms)
    if users:
        status["reservedFor"] = [
            {"resource": "pods", "name": user.pod, "uid": user.pod_uid} for user in users
        ]
    return {
        "kind": "ResourceClaim",
        "apiVersion": f"{GROUP}/{api}",
        "metadata": metadata,
        "spec": {"devices": {"requests": _requests(claim, api)}},
        "status": status,
    }


_EXTENDED = "extended-resource-claim"


def _requests(claim: Claim, api: str) -> list[Json]:
    """Return one request a device: as many, or every one for administrators."""
    requests: list[Json] = []
    for name in sorted({one.request for one in claim.results}):
        mine = [one for one in claim.results if one.request == name]
        body: JsonObject = {"deviceClassName": claim.device_class}
        if mine[0].admin:
            body |= {"allocationMode": "All", "adminAccess": True}
        else:
            body |= {"allocationMode": "ExactCount", "count": len(mine)}
        if mine[0].profile:
            wanted = f"device.attributes['{DRIVER}'].profile == '{mine[0].profile}'"
            body["selectors"] = [{"cel": {"expression": wanted}}]
        if mine[0].consumed_gib:
            body["capacity"] = {"requests": {"memory": f"{mine[0].consumed_gib}Gi"}}
        requests.append(
            {"name": name, **body} if api == "v1beta1" else {"name": name, "exactly": body}
        )
    return requests


def _result(claim: Claim, result: Result) -> JsonObject:
    body: JsonObject = {
        "request": result.request,
        "driver": DRIVER,
        "pool": claim.node.name,
        "device": result.name,
    }
    if result.admin:
        body["adminAccess"] = True
    if result.share_id:
        body["shareID"] = result.share_id
        body["consumedCapacity"] = {"memory": f"{result.consumed_gib}Gi"}
    return body


def _on_node(node: Node) -> JsonObject:
    field: JsonObject = {"key": "metadata.name", "operator": "In", "values": [node.name]}
    return {"nodeSelectorTerms": [{"matchFields": [field]}]}


def slice_object(one: SliceOf, at_ms: int, version: int, api: str) -> JsonObject:
    """Return a slice as of an instant."""
    node = one.node
    generation = max(1, sum(at <= at_ms for at in one.changes()))
    shown = [layout for layout in node.layouts if layout.start_ms <= at_ms]
    layout = shown[-1] if shown else node.layouts[0]
    spec: JsonObject = {
        "driver": DRIVER,
        "pool": {
            "name": node.name,
            "generation": generation,
            "resourceSliceCount": len(slices_of(node)),
        },
        "nodeName": node.name,
    }
    if one.counters:
        spec["sharedCounters"] = [_counter_set(device) for device in layout.devices]
    else:
        spec["devices"] = [*_devices(node, layout, api)]
    return {
        "kind": "ResourceSlice",
        "apiVersion": f"{GROUP}/{api}",
        "metadata": {
            "name": one.name,
            "uid": one.uid,
            "resourceVersion": str(version),
            "creationTimestamp": stamp(node.advertised_ms),
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": node.name,
                    "uid": node.uid,
                    "controller": True,
                }
            ],
        },
        "spec": spec,
    }


def _counter_set(device: int) -> JsonObject:
    return {"name": f"gpu-{device}-counter-set", "counters": _all_counters()}


def _all_counters() -> JsonObject:
    """Return what a whole device has; memory slices, which are places on it, have one each."""
    counters: JsonObject = {f"memory-slice-{number}": {"value": "1"} for number in range(8)}
    counters["multiprocessors"] = {"value": "132"}
    counters["memory"] = {"value": f"{CAPACITY_GIB}Gi"}
    return counters


def _devices(node: Node, layout: Layout, api: str) -> list[JsonObject]:
    devices = []
    for device in layout.devices:
        devices.append(_device(node, device, api))
        if node.mode is Mode.DRA_PARTITIONS:
            devices += [
                _partition(node, device, profile, slot, api)
                for profile, count in PARTITIONS.items()
                for slot in range(count)
            ]
    return devices


def _device(node: Node, device: int, api: str) -> JsonObject:
    body: JsonObject = {
        "attributes": {
            "architecture": {"string": "Hopper"},
            "brand": {"string": "Nvidia"},
            "driverVersion": {"version": "550.127.8"},
            "productName": {"string": node.shape.model_name},
            "resource.kubernetes.io/pciBusID": {"string": f"0000:{0x10 + device * 0x0B:02x}:00.0"},
            "type": {"string": "gpu"},
            "uuid": {"string": node.uuids[device]},
        },
        "capacity": {"memory": {"value": f"{CAPACITY_GIB}Gi"}},
    }
    if node.mode is Mode.DRA_CAPACITY:
        body["allowMultipleAllocations"] = True
    if node.mode is Mode.DRA_PARTITIONS:
        body["consumesCounters"] = [_consumes(device, _all_counters())]
    return _named(device_name(device), body, api)


def _partition(node: Node, device: int, profile: str, slot: int, api: str) -> JsonObject:
    slices = MIG_PROFILES[profile]
    first = slot * slices.memory
    taken: JsonObject = {
        f"memory-slice-{number % 8}": {"value": "1"}
        for number in range(first, first + slices.memory)
    }
    taken["multiprocessors"] = {"value": str(16 * slices.compute)}
    taken["memory"] = {"value": f"{CAPACITY_GIB * slices.memory // 8}Gi"}
    body: JsonObject = {
        "attributes": {
            "architecture": {"string": "Hopper"},
            "brand": {"string": "Nvidia"},
            "driverVersion": {"version": "550.127.8"},
            "parentUUID": {"string": node.uuids[device]},
            "productName": {"string": node.shape.model_name},
            "profile": {"string": profile},
            "type": {"string": "mig"},
        },
        "capacity": {"memory": {"value": f"{CAPACITY_GIB * slices.memory // 8}Gi"}},
        "consumesCounters": [_consumes(device, taken)],
    }
    return _named(partition_name(device, profile, slot), body, api)


def _consumes(device: int, counters: JsonObject) -> JsonObject:
    return {"counterSet": f"gpu-{device}-counter-set", "counters": counters}


def _named(name: str, body: JsonObject, api: str) -> JsonObject:
    return {"name": name, "basic": body} if api == "v1beta1" else {"name": name, **body}


def class_object(one: DeviceClass, version: int, api: str) -> JsonObject:
    """Return a device class."""
    kind = "mig" if one.name == MIG_CLASS else "gpu"
    chosen = f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == '{kind}'"
    spec: JsonObject = {"selectors": [{"cel": {"expression": chosen}}]}
    if one.name == GPU_CLASS:
        spec["extendedResourceName"] = WHOLE_GPU
    return {
        "kind": "DeviceClass",
        "apiVersion": f"{GROUP}/{api}",
        "metadata": {
            "name": one.name,
            "uid": one.uid,
            "resourceVersion": str(version),
            "creationTimestamp": stamp(one.created_ms),
        },
        "spec": spec,
    }
