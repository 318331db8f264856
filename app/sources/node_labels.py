"""Where a node stands and how it is paid for, from the labels of its provider."""

from collections.abc import Mapping
from dataclasses import dataclass

# The label of each provider's node groups, and the provider's name in a price book.
_PROVIDER_LABELS = (
    ("eks.amazonaws.com/nodegroup", "aws"),
    ("karpenter.k8s.aws/instance-family", "aws"),
    ("cloud.google.com/gke-nodepool", "gcp"),
    ("kubernetes.azure.com/agentpool", "azure"),
    ("oci.oraclecloud.com/node-pool-id", "oci"),
    ("compute.coreweave.com/node-pool", "coreweave"),
)
_PROVIDER_SCHEMES = {"gce": "gcp"}
_CAPACITY_LABELS = (
    "karpenter.sh/capacity-type",
    "eks.amazonaws.com/capacityType",
    "kubernetes.azure.com/scalesetpriority",
    "node.kubernetes.io/lifecycle",
)
_CAPACITY_WORDS = {
    "spot": "spot",
    "preemptible": "spot",
    "on_demand": "on_demand",
    "ondemand": "on_demand",
    "normal": "on_demand",
    "regular": "on_demand",
    "reserved": "reserved",
    "capacity_block": "capacity_block",
}
_SPOT_FLAGS = ("cloud.google.com/gke-spot", "cloud.google.com/gke-preemptible")
# Pools of these providers label their spot nodes only.
_ON_DEMAND_UNLESS_SPOT = ("cloud.google.com/gke-nodepool", "kubernetes.azure.com/agentpool")

# Labels whose names matter here or to device sharing; other sources may show them mangled.
KNOWN_NODE_LABELS = (
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    *(label for label, _ in _PROVIDER_LABELS),
    *_CAPACITY_LABELS,
    *_SPOT_FLAGS,
    "nvidia.com/gpu.product",
    "nvidia.com/gpu.count",
    "nvidia.com/gpu.memory",
    "nvidia.com/gpu.replicas",
    "nvidia.com/gpu.sharing-strategy",
    "nvidia.com/mig.strategy",
    "nvidia.com/mig.capable",
    "nvidia.com/mps.capable",
    "cloud.google.com/gke-accelerator",
    "cloud.google.com/gke-accelerator-count",
    "cloud.google.com/gke-gpu-partition-size",
    "cloud.google.com/gke-gpu-sharing-strategy",
    "cloud.google.com/gke-max-shared-clients-per-gpu",
    "cloud.google.com/gke-tpu-accelerator",
    "amd.com/gpu.product-name",
    "beta.amd.com/gpu.product-name",
    "amd.com/compute-memory-partition",
    "gpu.intel.com/product",
    "gpu.intel.com/family",
    "gpu.intel.com/device.count",
    "habana.ai/hpu.product",
    "habana.ai/device-type",
    "karpenter.k8s.aws/instance-accelerator-name",
    "karpenter.k8s.aws/instance-gpu-count",
    "karpenter.azure.com/sku-gpu-count",
    "kubernetes.io/hostname",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Blank where not said; ``capacity_type`` is on_demand, spot, reserved or capacity_block."""

    provider: str
    region: str
    zone: str
    instance_type: str
    capacity_type: str


def place_of(labels: Mapping[str, str], provider_id: str) -> Place:
    """Return where a node stands; words that no provider is known to use become blanks."""
    return Place(
        provider=_provider(labels, provider_id),
        region=_first(
            labels, "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"
        ),
        zone=_first(
            labels, "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
        ),
        instance_type=_first(
            labels, "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"
        ),
        capacity_type=_capacity_type(labels),
    )


def _first(labels: Mapping[str, str], *names: str) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _provider(labels: Mapping[str, str], provider_id: str) -> str:
    if provider_id.startswith("ocid1."):
        return "oci"
    scheme, separator, _ = provider_id.partition("://")
    if separator:
        return _PROVIDER_SCHEMES.get(scheme.lower(), scheme.lower())
    return next((provider for label, provider in _PROVIDER_LABELS if label in labels), "")


def _capacity_type(labels: Mapping[str, str]) -> str:
    for label in _CAPACITY_LABELS:
        word = labels.get(label, "").lower().replace("-", "_")
        if word in _CAPACITY_WORDS:
            return _CAPACITY_WORDS[word]
    if any(labels.get(flag, "").lower() == "true" for flag in _SPOT_FLAGS):
        return "spot"
    if any(label in labels for label in _ON_DEMAND_UNLESS_SPOT):
        return "on_demand"
    return ""
