"""Nodes and pods in words of their labels, capacity, requests and annotations."""

from dataclasses import replace
from fractions import Fraction

from app.usage.holds import holds_of, pool_counts_of
from app.usage.inventory import ContainerFacts, NodeFacts, PodHold, PoolCount
from tests.usage.builders import a_node, a_pod


def node_of(labels: dict[str, str], capacity: dict[str, int], **more: object) -> NodeFacts:
    node = a_node(labels=tuple(labels.items()), capacity=tuple(capacity.items()))
    return replace(node, **more)  # type: ignore[arg-type] # forwards fields of the dataclass


def holding_of(
    node: NodeFacts | None, requests: dict[str, int], annotations: dict[str, str] | None = None
) -> PodHold:
    container = ContainerFacts(
        name="main", kind="app", requests=tuple(requests.items()), finished_ms=None
    )
    pod = replace(a_pod(containers=(container,)), annotations=tuple((annotations or {}).items()))
    (hold,), notes = holds_of(pod, node)
    assert [note.kind for note in notes] in ([], ["hold_without_node"])
    return hold


def share(hold: PodHold) -> Fraction:
    return Fraction(hold.share_num, hold.share_den)


def compute(hold: PodHold) -> Fraction:
    return Fraction(*hold.compute_share)


def count_of(node: NodeFacts) -> PoolCount:
    (count,), notes = pool_counts_of(node)
    assert notes == ()
    return count
