"""Pods as kube-state-metrics showed them, and what they held from when to when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.sources.asking import Answered, chosen
from app.sources.catalogue import Exporter
from app.sources.kube_state_nodes import NodeSpan, kubernetes_labels, real_resource
from app.sources.ownership_labels import labelled_workload, pod_group, without_template_hash
from app.sources.scrapes import ScrapeTimes, Sighting
from app.units.window import OPEN_MS
from app.usage.holds import TERMINAL_PHASES, advertises_devices, holds_of
from app.usage.inventory import ContainerFacts, NodeFacts, PodFacts, PodHold, Workload
from app.usage.kinds import HoldSource
from app.usage.notes import Note
from app.usage.samples import SampleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPod:
    """A pod that was bound to a node and requests extended resources, and its scrapes."""

    uid: str
    namespace: str
    name: str
    node_name: str
    containers: tuple[ContainerFacts, ...]
    sighting: Sighting
    annotations: tuple[tuple[str, str], ...] = ()


def seen_pods(
    exporter: Exporter, answered: Sequence[Answered], times: ScrapeTimes
) -> tuple[SeenPod, ...]:
    """Return the pods that requested something on a node, ordered by UID."""
    requests = _requests(chosen(answered, "pod_requests"))
    init = _requests(chosen(answered, "pod_init_requests"))
    pods = []
    for uid in sorted({*requests, *init}):
        own = _containers(exporter, requests.get(uid, []), kind="app")
        early = _containers(exporter, init.get(uid, []), kind="init")
        if not own and not early:
            continue
        rows = [*requests.get(uid, []), *init.get(uid, [])]
        pods.append(
            SeenPod(
                uid=uid,
                namespace=rows[0].namespace,
                name=rows[0].pod,
                node_name=rows[0].node,
                containers=(*early, *own),
                sighting=times.sighting(
                    sorted({row.target for row in rows}),
                    min(row.first_ms for row in rows),
                    max(row.last_ms for row in rows),
                ),
            )
        )
    return tuple(pods)


@dataclass(frozen=True, slots=True)
class _Request:
    """One series of a container's request; ``units`` never change."""

    namespace: str
    pod: str
    node: str
    container: str
    resource: str
    target: str
    first_ms: int
    last_ms: int
    units: int


def _requests(sets: Sequence[SampleSet]) -> dict[str, list[_Request]]:
    """Return what pods request on a node, by UID; one that waits for a node shows an empty one."""
    requests: dict[str, list[_Request]] = {}
    for samples in sets:
        labels = samples.labels
        rows = zip(
            labels["uid"],
            labels["namespace"],
            labels["pod"],
            labels["node"],
            labels["container"],
            labels["resource"],
            labels["target"],
            samples.at_ms[samples.first[:-1]].tolist(),
            samples.at_ms[samples.first[1:] - 1].tolist(),
            samples.value[samples.first[:-1]].round().astype("int64").tolist(),
            strict=True,
        )
        for uid, *row in rows:
            request = _Request(*row)
            if uid and request.node:
                requests.setdefault(uid, []).append(request)
    return requests


def pod_holds(
    pods: Sequence[SeenPod],
    facts: "PodAnswers",
    nodes: Sequence[NodeSpan],
    *,
    terminal_ms: Mapping[str, tuple[int, int]],
    first_ready_ms: Mapping[str, int],
    lost_before_ms: int,
    silence_ms: int,
) -> tuple[list[PodHold], list[Note]]:
    """Return what the pods held, with edges as unsure as the scrapes leave them.

    ``terminal_ms`` has, for pods that were seen to have ended without saying when, the first scrape
    that showed it and the one before; more than ``silence_ms`` between them are a silence. A pod
    is lost at its last scrape if it vanished in a silence, and if that scrape is before
    ``lost_before_ms`` and its target was not scraped again.
    """
    by_name = _by_name(nodes)
    holds: list[PodHold] = []
    notes: list[Note] = []
    for pod in pods:
        sighting = pod.sighting
        known = _facts_of(pod, facts, first_ready_ms)
        # A pod outlives its node for a while, and another node may take the name meanwhile.
        bound_ms = sighting.first_ms if known.scheduled_ms is None else known.scheduled_ms
        node = _node_at(by_name.get(pod.node_name, ()), bound_ms)
        found, odd = holds_of(known, node, seen_ms=sighting.first_ms)
        notes += odd
        never_again = sighting.absent_after_ms is None and sighting.last_ms < lost_before_ms
        end = _End(
            shown=terminal_ms.get(pod.uid),
            silence_ms=silence_ms,
            lost=sighting.vanished or never_again,
        )
        whole = [_with_edges(hold, known, sighting, end) for hold in found]
        lived = [
            span for span in by_name.get(pod.node_name, ()) if node and span.node.uid == node.uid
        ]
        holds += [part for hold in whole for part in _in_parts(hold, known, lived)]
    return holds, notes


def _in_parts(hold: PodHold, pod: PodFacts, spans: Sequence[NodeSpan]) -> list[PodHold]:
    """Cut a hold where its node came to divide its devices otherwise.

    A span in which the node advertised nothing changes no share: its plugin was down.
    """
    changes: list[tuple[int, PodHold]] = []
    for span in spans:
        if not advertises_devices(span.node) or span.start_ms >= hold.end_ms:
            continue
        same = [one for one in holds_of(pod, span.node)[0] if one.resource == hold.resource]
        if same and (not changes or _shares(same[0]) != _shares(changes[-1][1])):
            changes.append((span.start_ms, same[0]))
    while len(changes) > 1 and changes[1][0] <= hold.start_ms:
        changes.pop(0)
    if len(changes) < 2:  # noqa: PLR2004 - one share or none: nothing changed
        return [hold]
    ends = [at_ms for at_ms, _ in changes[1:]] + [hold.end_ms]
    parts = []
    for number, ((begun_ms, told), end_ms) in enumerate(zip(changes, ends, strict=True)):
        first, last = number == 0, end_ms == hold.end_ms
        parts.append(
            replace(
                hold,
                share_num=told.share_num,
                share_den=told.share_den,
                compute_num=told.compute_num,
                compute_den=told.compute_den,
                units=told.units,
                sharing=told.sharing,
                exclusive=told.exclusive,
                start_ms=hold.start_ms if first else begun_ms,
                start_unsure_ms=hold.start_unsure_ms if first else 0,
                end_ms=end_ms,
                end_unsure_ms=hold.end_unsure_ms if last else 0,
                end_lost=hold.end_lost and last,
                part_ms=0 if first else begun_ms,
                scheduled_ms=hold.scheduled_ms if first else None,
                ready_ms=hold.ready_ms if first else None,
            )
        )
    return parts


def _shares(hold: PodHold) -> tuple[object, ...]:
    return (hold.share_num, hold.share_den, *hold.compute_share, hold.sharing)


class PodAnswers:
    """What the families of constant values say, by pod UID."""

    def __init__(self, answered: Sequence[Answered]) -> None:
        self.created_ms = _instants(chosen(answered, "pod_created"))
        self.scheduled_ms = _instants(chosen(answered, "pod_scheduled"))
        self.completed_ms = _instants(chosen(answered, "pod_completed"))
        self.ready_ms = _instants(chosen(answered, "pod_ready"))
        self.phases = _texts(chosen(answered, "pod_phase"), "phase")
        self.labels = {
            uid: kubernetes_labels(text)
            for uid, text in _texts(chosen(answered, "pod_labels"), "series").items()
        }
        self.owners = _owners(chosen(answered, "pod_owner"), "uid")
        self.above = {
            **{("ReplicaSet", *key): value for key, value in _above(answered, "replicaset")},
            **{("Job", *key): value for key, value in _above(answered, "job_name")},
        }

    def workload(self, pod: SeenPod) -> Workload:
        """Return the workload on top of a pod; UIDs of owners are not exported."""
        labels = self.labels.get(pod.uid, {})
        named = labelled_workload(pod.namespace, labels)
        if named is not None:
            return named
        kind, name = self.owners.get(pod.uid, ("", ""))
        if not kind or kind == "Node":
            alone = Workload(namespace=pod.namespace, kind="Pod", name=pod.name, uid=pod.uid)
            return pod_group(alone, labels) or alone
        owner = Workload(namespace=pod.namespace, kind=kind, name=name, uid="")
        above = self.above.get((kind, pod.namespace, name))
        if above is not None and above[0]:
            return Workload(namespace=pod.namespace, kind=above[0], name=above[1], uid="")
        if above is None and kind == "ReplicaSet":
            return without_template_hash(owner, labels) or owner
        return owner


def _facts_of(pod: SeenPod, facts: PodAnswers, first_ready_ms: Mapping[str, int]) -> PodFacts:
    completed_ms = facts.completed_ms.get(pod.uid)
    phase = facts.phases.get(pod.uid, "Running")
    finished_ms = completed_ms if phase in TERMINAL_PHASES else None
    earliest = pod.sighting.absent_before_ms
    created_ms = facts.created_ms.get(pod.uid)
    if created_ms is None:
        created_ms = pod.sighting.first_ms if earliest is None else earliest
    return PodFacts(
        uid=pod.uid,
        namespace=pod.namespace,
        name=pod.name,
        node_name=pod.node_name,
        phase=phase,
        labels=tuple(sorted(facts.labels.get(pod.uid, {}).items())),
        annotations=pod.annotations,
        workload=facts.workload(pod),
        created_ms=created_ms,
        scheduled_ms=facts.scheduled_ms.get(pod.uid),
        ready_ms=first_ready_ms.get(pod.uid, facts.ready_ms.get(pod.uid)),
        containers=tuple(replace(one, finished_ms=finished_ms) for one in pod.containers),
        resource_version="",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What is known of a pod's end: see `pod_holds`."""

    shown: tuple[int, int] | None
    silence_ms: int
    lost: bool


def _with_edges(hold: PodHold, pod: PodFacts, sighting: Sighting, end: _End) -> PodHold:
    """Return the hold with the widest span that the scrapes allow."""
    start_ms, start_unsure_ms = hold.start_ms, hold.start_unsure_ms
    if pod.scheduled_ms is None:
        start_ms = max(start_ms, sighting.absent_before_ms or start_ms)
        start_unsure_ms = max(0, sighting.first_ms - start_ms)
    end_ms, end_unsure_ms, end_lost = hold.end_ms, 0, False
    if end.shown is not None:
        end_ms, seen_ms = end.shown[0], max(end.shown[1], start_ms)
        end_lost = end_ms - seen_ms > end.silence_ms
        end_ms = seen_ms if end_lost else end_ms
        end_unsure_ms = end_ms - seen_ms
    elif end_ms == OPEN_MS and end.lost:
        end_ms, end_lost = sighting.last_ms, True
    elif end_ms == OPEN_MS and sighting.absent_after_ms is not None:
        end_ms = sighting.absent_after_ms
        end_unsure_ms = end_ms - max(sighting.last_ms, start_ms)
    return replace(
        hold,
        start_ms=start_ms,
        start_unsure_ms=min(start_unsure_ms, max(0, end_ms - start_ms)),
        end_ms=max(start_ms, end_ms),
        end_unsure_ms=end_unsure_ms,
        end_lost=end_lost,
        source=HoldSource.KUBE_STATE_METRICS,
    )


def _containers(
    exporter: Exporter, rows: Sequence[_Request], *, kind: str
) -> tuple[ContainerFacts, ...]:
    """Return one pod's containers with their extended resources, each once.

    Which init containers are sidecars is not exported.
    """
    amounts: dict[str, dict[str, int]] = {}
    for row in rows:
        real = real_resource(exporter, row.resource)
        if "/" in real:
            amounts.setdefault(row.container, {})[real] = row.units
    return tuple(
        ContainerFacts(
            name=name, kind=kind, requests=tuple(sorted(requests.items())), finished_ms=None
        )
        for name, requests in sorted(amounts.items())
    )


def _instants(sets: Sequence[SampleSet]) -> dict[str, int]:
    """Return seconds since the epoch as milliseconds, the greatest of copies."""
    instants: dict[str, int] = {}
    for samples in sets:
        for uid, seconds in zip(
            samples.labels["uid"], samples.value[samples.first[:-1]].tolist(), strict=True
        ):
            instants[uid] = max(instants.get(uid, 0), round(seconds * 1000))
    return instants


def _texts(sets: Sequence[SampleSet], column: str) -> dict[str, str]:
    """Return one column by UID; of several series the one with most to say."""
    texts: dict[str, str] = {}
    for samples in sets:
        for uid, text in zip(samples.labels["uid"], samples.labels[column], strict=True):
            texts[uid] = max(texts.get(uid, ""), text, key=lambda one: (len(one), one))
    return texts


def _owners(sets: Sequence[SampleSet], *keys: str) -> dict[str, tuple[str, str]]:
    """Return kind and name of the controller by the key's columns; ("", "") for none."""
    owners: dict[str, tuple[str, str]] = {}
    for samples in sets:
        labels = samples.labels
        key = labels[keys[0]]
        for further in keys[1:]:
            key = key + "/" + labels[further]
        for one, kind, name, controls in zip(
            key,
            labels["owner_kind"],
            labels["owner_name"],
            labels["owner_is_controller"],
            strict=True,
        ):
            if controls == "true":
                owners[one] = (kind, name)
            else:
                owners.setdefault(one, ("", ""))
    return owners


def _above(
    answered: Sequence[Answered], name_column: str
) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Return the controllers of ReplicaSets or Jobs by namespace and name."""
    meaning = "replicaset_owner" if name_column == "replicaset" else "job_owner"
    owners = _owners(chosen(answered, meaning), "namespace", name_column)
    split = [(key.partition("/"), owner) for key, owner in owners.items()]
    return [((namespace, name), owner) for (namespace, _, name), owner in split]


def _by_name(nodes: Sequence[NodeSpan]) -> dict[str, list[NodeSpan]]:
    by_name: dict[str, list[NodeSpan]] = {}
    for span in nodes:
        by_name.setdefault(span.node.name, []).append(span)
    return by_name


def _node_at(spans: Sequence[NodeSpan], at_ms: int) -> NodeFacts | None:
    """Return the node of a name at an instant, with the most that it ever showed."""
    lived = [span for span in spans if span.start_ms <= at_ms < span.end_ms]
    if not lived:
        return spans[-1].node if spans else None
    same = [span.node for span in spans if span.node.uid == lived[-1].node.uid]
    return max(same, key=lambda node: sum(units for _, units in node.capacity))
