"""What kube-state-metrics says of nodes, pods and claims in each text that is its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """``nodes`` with devices by model and what may be held; ``holds`` with node and share."""

    nodes: Mapping[str, Mapping[str, tuple[int, Fraction]]]
    holds: Mapping[str, tuple[str, str, Fraction]]
    notes: Mapping[tuple[str, str], int]
    # What a living exporter must tell and this text does not.
    lacking: frozenset[str]


KUBE_STATE: Mapping[str, Told] = {
    # Four devices, of which the kubelet gives out one. No label names their model.
    "ksm_node_capacity_allocatable_nvidia": Told(
        nodes={"127.0.0.1": {"unknown": (4, Fraction(1))}},
        holds={},
        notes={},
        lacking=frozenset({"pod_requests"}),
    ),
    # The pod waits for a node: it holds nothing, whatever its containers request.
    "ksm_pod_requests_limits_nvidia_init": Told(
        nodes={},
        holds={},
        notes={},
        lacking=frozenset({"node_created", "node_allocatable"}),
    ),
    # Two claims of one pod; which devices they are is not said.
    "ksm_pod_resourceclaim_info": Told(
        nodes={},
        holds={},
        notes={("claims_not_visible", "ns1/pod1"): 2},
        lacking=frozenset({"node_created", "node_allocatable", "pod_requests"}),
    ),
    # One of two containers has a GPU; the limit is the request once more.
    "ksm_pods_full_server_test": Told(
        nodes={},
        holds={"default/pod0": ("node1", "nvidia.com/gpu", Fraction(1))},
        notes={("hold_without_node", "default/pod0"): 1},
        lacking=frozenset({"node_created", "node_allocatable"}),
    ),
}
