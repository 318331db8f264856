"""A simulated fleet that differs from another in one respect, as its own API and metrics tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from app.simulator.activity import ActivityBook
from app.simulator.claims import Claim
from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.hardware import Node
from app.simulator.kube_state_series import KUBE_STATE_FAMILIES
from app.simulator.pods import Pod, Profile
from app.simulator.series import Series, series
from app.simulator.truth import Truth


def with_pods(fleet: Fleet, change: Callable[[Pod], Pod | None]) -> Fleet:
    """Return the fleet with other pods; None removes one, and the claims that it used."""
    pods = tuple(pod for pod in map(change, fleet.pods) if pod is not None)
    activity = ActivityBook(fleet.spec)
    kept = {pod.uid for pod in pods}
    claims = tuple(
        claim for claim in fleet.claims if all(user.pod_uid in kept for user in claim.reservations)
    )
    return replace(
        fleet,
        pods=pods,
        claims=claims,
        activity=activity,
        truth=Truth(fleet.spec, fleet.nodes, pods, activity, fleet.traffic, claims),
    )


def crowded(fleet: Fleet, by_ms: int) -> Fleet:
    """Let a job be bound to its full node ``by_ms`` too early: more is held than there is.

    The other holds of the node go on through that time; the job has one device.
    """
    late = next(pod for pod in fleet.pods if _follows_on_full_node(fleet, pod, by_ms))

    def early(pod: Pod) -> Pod:
        if pod is not late:
            return pod
        bound_ms = pod.scheduled_ms - by_ms
        return replace(pod, created_ms=min(pod.created_ms, bound_ms), scheduled_ms=bound_ms)

    return with_pods(fleet, early)


def _follows_on_full_node(fleet: Fleet, pod: Pod, by_ms: int) -> bool:
    at_ms = pod.scheduled_ms - by_ms
    if pod.node is None or len(pod.devices) != 1 or at_ms <= fleet.spec.opens_ms:
        return False
    through = [
        len(one.devices)
        for one in fleet.truth.holds
        if one.node == pod.node.name
        and one.start_ms <= at_ms
        and one.end_ms >= pod.scheduled_ms
        and one.pod_uid != pod.uid
    ]
    return sum(through) == pod.node.devices


@dataclass(frozen=True, slots=True)
class Names:
    """Other names: of pods, namespaces and nodes, and the UIDs of pods and nodes."""

    pods: Mapping[str, str]
    namespaces: Mapping[str, str]
    nodes: Mapping[str, str]
    uids: Mapping[str, str]

    def pod(self, pod: Pod) -> Pod:
        return replace(
            pod,
            name=self.pods[pod.name],
            namespace=self.namespaces[pod.namespace],
            uid=self.uids[pod.uid],
            node=None if pod.node is None else self.node(pod.node),
        )

    def node(self, node: Node) -> Node:
        return replace(node, name=self.nodes[node.name], uid=self.uids[node.uid])

    def claim(self, claim: Claim) -> Claim:
        return replace(
            claim,
            namespace=self.namespaces[claim.namespace],
            uid=self.uids[claim.uid],
            node=self.node(claim.node),
            owner=self.pods[claim.owner] if claim.owner else "",
            owner_uid=self.uids[claim.owner_uid] if claim.owner else "",
            reservations=tuple(
                replace(user, pod=self.pods[user.pod], pod_uid=self.uids[user.pod_uid])
                for user in claim.reservations
            ),
        )


def drawn_names(fleet: Fleet, shuffle: Callable[[list[str]], None]) -> Names:
    """Give everything a name that sorts elsewhere; ``shuffle`` mixes a list in place.

    The exporters keep their name, by which they are known, and so do pods that reserve devices.
    """
    kept = {pod.namespace for pod in fleet.pods if pod.profile is Profile.NONE}

    def mixed(names: list[str], form: str) -> dict[str, str]:
        numbers = [f"{number:03d}" for number in range(len(names))]
        shuffle(numbers)
        return {name: form.format(number) for name, number in zip(names, numbers, strict=True)}

    namespaces = sorted({pod.namespace for pod in fleet.pods} - kept)
    pods = sorted({pod.name for pod in fleet.pods if pod.namespace not in kept})
    system = {pod.name: pod.name for pod in fleet.pods if pod.namespace in kept}
    nodes = sorted({node.name for node in fleet.nodes})
    uids = sorted({one.uid for one in (*fleet.pods, *fleet.nodes, *fleet.claims)})
    return Names(
        pods={**mixed(pods, "pod-{}"), **system},
        namespaces={**mixed(namespaces, "ns-{}"), **{name: name for name in kept}},
        nodes=mixed(nodes, "host-{}"),
        uids=mixed(uids, "uid-{}"),
    )


def renamed(fleet: Fleet, names: Names) -> Fleet:
    """Return the fleet under other names, for the API: what it exposes has its old ones."""
    nodes = tuple(map(names.node, fleet.nodes))
    pods = tuple(map(names.pod, fleet.pods))
    claims = tuple(map(names.claim, fleet.claims))
    truth = Truth(fleet.spec, nodes, pods, fleet.activity, fleet.traffic, claims)
    exporters = {names.uids[uid]: names.pod(pod) for uid, pod in fleet.exporters.items()}
    return replace(fleet, nodes=nodes, pods=pods, claims=claims, truth=truth, exporters=exporters)


def renamed_exposition(fleet: Fleet, names: Names) -> Exposition:
    """Expose the fleet's devices and engines under other names; kube-state-metrics is silent."""
    of_label = {"namespace": names.namespaces, "pod": names.pods, "Hostname": names.nodes}
    of_label["hostname"] = names.nodes

    def other(one: Series) -> Series:
        labels = {label: of_label.get(label, {}).get(text, text) for label, text in one.labels}
        return series(labels, one.at_ms, one.value)

    def transform(name: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
        return () if name in KUBE_STATE_FAMILIES else tuple(map(other, made))

    return Exposition(fleet, transform=transform)
