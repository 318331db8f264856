"""Builders of claims and slices: keyword defaults, one H100 a device."""

from dataclasses import replace
from fractions import Fraction

from app.usage.claims_facts import (
    AllocatedDevice,
    Amount,
    ClaimFacts,
    CounterUse,
    DeviceKey,
    ReservedPod,
    SliceDevice,
    SliceFacts,
)
from app.usage.edges import Edges
from app.usage.inventory import PodFacts
from tests.usage.builders import T0, a_pod

DRIVER = "gpu.nvidia.com"
H100 = "NVIDIA H100 80GB HBM3"
H100_MODEL = "NVIDIA-H100-80GB-HBM3"


def a_key(device: str = "gpu-0", *, driver: str = DRIVER, pool: str = "node-1") -> DeviceKey:
    return DeviceKey(driver, pool, device)


def amounts(**values: int) -> tuple[Amount, ...]:
    return tuple(
        Amount(name.replace("_", "-"), Fraction(value)) for name, value in sorted(values.items())
    )


def a_device(
    name: str = "gpu-0",
    *,
    attributes: dict[str, str] | None = None,
    capacity: tuple[Amount, ...] = (),
    consumes: tuple[CounterUse, ...] = (),
    allow_multiple: bool = False,
    tainted: bool = False,
    node_name: str = "",
) -> SliceDevice:
    told = {"type": "gpu", "uuid": f"GPU-{name}", "productName": H100}
    return SliceDevice(
        name=name,
        attributes=tuple(sorted((told if attributes is None else attributes).items())),
        capacity=capacity,
        allow_multiple=allow_multiple,
        consumes=consumes,
        node_name=node_name,
        tainted=tainted,
    )


def a_mig_device(
    name: str,
    profile: str,
    *,
    parent: str = "GPU-gpu-0",
    consumes: tuple[CounterUse, ...] = (),
    product: str = H100,
) -> SliceDevice:
    return a_device(
        name,
        attributes={
            "type": "mig",
            "profile": profile,
            "parentUUID": parent,
            "productName": product,
        },
        consumes=consumes,
    )


def a_slice(
    *devices: SliceDevice,
    name: str = "slice-1",
    driver: str = DRIVER,
    pool: str = "node-1",
    generation: int = 1,
    node_name: str = "node-1",
    shared_counters: tuple[CounterUse, ...] = (),
) -> SliceFacts:
    return SliceFacts(
        name=name,
        driver=driver,
        pool=pool,
        generation=generation,
        node_name=node_name,
        devices=devices,
        shared_counters=shared_counters,
    )


def given(
    *devices: str, request: str = "gpu", driver: str = DRIVER, pool: str = "node-1"
) -> tuple[AllocatedDevice, ...]:
    return tuple(
        AllocatedDevice(request=request, key=a_key(device, driver=driver, pool=pool))
        for device in devices
    )


def a_claim(
    name: str = "claim-1",
    *,
    allocated: tuple[AllocatedDevice, ...] | None = (),
    allocation_ms: int | None = T0,
    created_ms: int = T0 - 60_000,
    pods: tuple[str, ...] = (),
    extended_resource: bool = False,
) -> ClaimFacts:
    return ClaimFacts(
        uid=f"uid-{name}",
        namespace="search",
        name=name,
        created_ms=created_ms,
        allocated=allocated,
        allocation_ms=None if allocated is None else allocation_ms,
        reserved_for=tuple(ReservedPod(uid=f"uid-{pod}", name=pod) for pod in pods),
        owner_pod=None,
        extended_resource=extended_resource,
        classes=(DRIVER,),
        node_name="node-1",
        labels=(("app", "ranker"),),
    )


def a_user(name: str, *, claim: str = "claim-1", scheduled_ms: int = T0) -> PodFacts:
    """A bound pod without containers that uses a claim."""
    return replace(a_pod(name, scheduled_ms=scheduled_ms, containers=()), claims=(claim,))


def bound(start_ms: int, end_ms: int) -> Edges:
    return Edges(start_ms=start_ms, end_ms=end_ms, start_unsure_ms=0, end_unsure_ms=0)
