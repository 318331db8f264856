"""The machines of the shared modes, and the labels by which each names what it has."""

import json
from dataclasses import replace

from app.simulator.hardware import A100, H100, L40S, NodeShape
from app.simulator.layouts import Amounts, Texts
from app.simulator.modes import MIG_PROFILES, SHARED_GPU, WHOLE_GPU, Mode

# HAMi splits a device for so many pods; the plugin of AWS makes so many vGPUs of one.
HAMI_SPLIT = 10
VGPU_SPLIT = 10
CPX_PARTITIONS = 8
NEURON_CORES = 2
HAMI_REGISTER = "hami.io/node-nvidia-register"

_AMD = replace(
    A100,
    product="AMD_Instinct_MI300X_OAM",
    model_name="AMD Instinct MI300X",
    instance_type="Standard_ND96isr_MI300X_v5",
    provider="azure",
    region="westeurope",
    zone="westeurope-1",
    capacity_type="on_demand",
    labels=(("kubernetes.azure.com/agentpool", "mi300x"),),
    memory_mib=196_592,
    idle_watts=140,
    full_watts=750,
)
_INTEL = replace(
    _AMD,
    product="Intel-Data-Center-GPU-Flex-170",
    model_name="Intel Data Center GPU Flex 170",
    instance_type="bare-flex170",
    labels=(),
    memory_mib=16_384,
    idle_watts=30,
    full_watts=150,
)
_GAUDI = replace(
    A100,
    product="Gaudi",
    model_name="HL-205",
    instance_type="dl1.24xlarge",
    capacity_type="on_demand",
    labels=(("karpenter.sh/capacity-type", "on-demand"),),
    memory_mib=32_768,
)
_TPU = replace(
    A100,
    product="tpu-v5-lite-podslice",
    model_name="tpu-v5-lite-podslice",
    instance_type="ct5lp-hightpu-4t",
    gpus=4,
    provider="gce",
    region="europe-west4",
    zone="europe-west4-a",
    capacity_type="on_demand",
    labels=(),
    memory_mib=16_384,
)
_NEURON = replace(_GAUDI, product="trn1", model_name="trn1", instance_type="trn1.32xlarge", gpus=16)
_SHAPES = {
    Mode.MIG_MIXED: H100,
    Mode.TIME_SLICING_RENAMED: L40S,
    Mode.MPS: L40S,
    Mode.KAI: H100,
    Mode.DRA: H100,
    Mode.DRA_PARTITIONS: H100,
    Mode.AMD: _AMD,
    Mode.AMD_CPX: _AMD,
    Mode.INTEL: _INTEL,
    Mode.GAUDI: _GAUDI,
    Mode.TPU: _TPU,
    Mode.NEURON: _NEURON,
}


def shape_of(mode: Mode, gpus: int) -> NodeShape:
    """Return the machine that a mode's nodes are."""
    shape = _SHAPES.get(mode, A100).sized(gpus)
    return replace(shape, pool=mode.value, profiling=mode.nvidia)


def labels_of(
    mode: Mode, shape: NodeShape, devices: int, *, geometry: tuple[str, ...], replicas: int
) -> Texts:
    """Return the labels that tell of ``devices`` devices, besides those of every node."""
    if mode.nvidia and not mode.by_claims:
        return _nvidia_labels(mode, shape, devices, geometry, replicas)
    partition = "cpx_nps4" if mode is Mode.AMD_CPX else "spx_nps1"
    amd = (
        ("amd.com/compute-memory-partition", partition),
        ("amd.com/gpu.device-id", "74a1"),
        ("amd.com/gpu.product-name", shape.product),
        ("amd.com/gpu.vram", "192G"),
    )
    said: dict[Mode, Texts] = {
        Mode.AMD: amd,
        Mode.AMD_CPX: amd,
        Mode.INTEL: (
            ("gpu.intel.com/device.count", str(devices)),
            ("gpu.intel.com/product", shape.product),
            ("intel.feature.node.kubernetes.io/gpu", "true"),
        ),
        Mode.GAUDI: (("habana.ai/product-type", shape.product.lower()),),
        Mode.TPU: (
            ("cloud.google.com/gke-tpu-accelerator", shape.product),
            ("cloud.google.com/gke-tpu-topology", "2x2"),
        ),
    }
    return said.get(mode, ())


def _nvidia_labels(
    mode: Mode, shape: NodeShape, devices: int, geometry: tuple[str, ...], replicas: int
) -> Texts:
    product, count, memory = shape.product, devices, shape.memory_mib
    shown, strategy, extra = "1", "none", dict[str, str]()
    if mode is Mode.MIG_SINGLE:
        product, count = f"{product}-MIG-{geometry[0]}", devices * len(geometry)
        memory = memory * MIG_PROFILES[geometry[0]].memory // 8
        extra["nvidia.com/mig.config"] = f"all-{geometry[0]}"
    if mode is Mode.MIG_MIXED:
        shown = "0"
        extra = _mixed_labels(shape, devices, geometry)
    if mode.slotted:
        shown, strategy = str(replicas), "mps" if mode is Mode.MPS else "time-slicing"
        product += "" if mode is Mode.TIME_SLICING_RENAMED else "-SHARED"
    if mode is Mode.VGPU:
        extra["k8s.amazonaws.com/accelerator"] = "vgpu"
    if mode is Mode.HAMI:
        extra["gpu"] = "on"
    labels = {
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.memory": str(memory),
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.replicas": shown,
        "nvidia.com/gpu.sharing-strategy": strategy,
        "nvidia.com/mig.strategy": "mixed" if mode is Mode.MIG_MIXED else "single",
        **extra,
    }
    return tuple(sorted(labels.items()))


def _mixed_labels(shape: NodeShape, devices: int, geometry: tuple[str, ...]) -> dict[str, str]:
    labels = {"nvidia.com/mig.config": "custom"}
    for profile in sorted(set(geometry)):
        slices = MIG_PROFILES[profile]
        name = f"nvidia.com/mig-{profile}"
        labels[f"{name}.count"] = str(devices * geometry.count(profile))
        labels[f"{name}.memory"] = str(shape.memory_mib * slices.memory // 8)
        labels[f"{name}.product"] = f"{shape.product}-MIG-{profile}"
        labels[f"{name}.replicas"] = "1"
        labels[f"{name}.slices.ci"] = str(slices.compute)
        labels[f"{name}.slices.gi"] = str(slices.compute)
    return labels


def resources_of(mode: Mode, geometry: tuple[str, ...], replicas: int) -> Amounts:
    """Return what one device adds to a node's capacity."""
    if mode.by_claims:
        return ()
    if mode is Mode.MIG_SINGLE:
        return ((WHOLE_GPU, len(geometry)),)
    if mode is Mode.MIG_MIXED:
        named = ((f"nvidia.com/mig-{name}", geometry.count(name)) for name in set(geometry))
        return ((WHOLE_GPU, 0), *sorted(named))
    if mode in (Mode.TIME_SLICING, Mode.MPS):
        return ((WHOLE_GPU, replicas),)
    if mode is Mode.TIME_SLICING_RENAMED:
        return ((WHOLE_GPU, 0), (SHARED_GPU, replicas))
    return _FIXED.get(mode, ((WHOLE_GPU, 1),))


_FIXED: dict[Mode, Amounts] = {
    Mode.HAMI: ((WHOLE_GPU, HAMI_SPLIT),),
    Mode.VGPU: (("k8s.amazonaws.com/vgpu", VGPU_SPLIT),),
    Mode.AMD: (("amd.com/gpu", 1),),
    Mode.AMD_CPX: (("amd.com/cpx_nps4", CPX_PARTITIONS),),
    Mode.INTEL: (("gpu.intel.com/i915", 1),),
    Mode.GAUDI: (("habana.ai/gaudi", 1),),
    Mode.TPU: (("google.com/tpu", 1),),
    Mode.NEURON: (
        ("aws.amazon.com/neuron", 1),
        ("aws.amazon.com/neuroncore", NEURON_CORES),
        ("aws.amazon.com/neurondevice", 1),
    ),
}


def hami_register(
    shape: NodeShape, uuids: tuple[str, ...], sick: frozenset[int]
) -> tuple[str, str]:
    """Return the annotation in which HAMi lists a node's devices."""
    entries = [
        {
            "id": uuid,
            "index": index,
            "count": HAMI_SPLIT,
            "devmem": shape.memory_mib,
            "devcore": 100,
            "type": f"NVIDIA-{shape.model_name}",
            "mode": "hami-core",
            "health": index not in sick,
        }
        for index, uuid in enumerate(uuids)
    ]
    return HAMI_REGISTER, json.dumps(entries, separators=(",", ":"))
