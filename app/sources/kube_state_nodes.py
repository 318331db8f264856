"""Nodes as kube-state-metrics showed them: which facts, from when to when."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson

from app.sources.asking import Answered, chosen
from app.sources.catalogue import Exporter
from app.sources.instance_types import devices_of_type
from app.sources.node_labels import KNOWN_NODE_LABELS, place_of
from app.sources.ownership_labels import OWNERSHIP_LABELS
from app.sources.scrapes import ScrapeTimes
from app.units.window import OPEN_MS
from app.usage.hami import NODE_ANNOTATIONS
from app.usage.identity import MADE_UP_UID
from app.usage.inventory import NodeFacts
from app.usage.label_names import mangled
from app.usage.samples import SampleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpan:
    """A node and what it showed over a span; the spans of one node follow each other.

    The first one begins with the node's creation, the last one ends with the first scrape without
    it, or with the last one of it where it vanished in a silence, or is open. A change between two
    scrapes counts from the later one.
    """

    node: NodeFacts
    start_ms: int
    end_ms: int


_REAL_NAMES = {
    mangled(name): name for name in (*KNOWN_NODE_LABELS, *OWNERSHIP_LABELS, "pod-template-hash")
}
# Labels of MIG profiles: nvidia.com/mig-1g.5gb.count, and with .replicas where they are shared.
_PROFILE_LABEL = re.compile(r"nvidia_com_mig_(\dg.*)_(count|replicas)")
ANNOTATION_PREFIX = "annotation_"
_DOMAIN = re.compile(r"([a-z0-9_]+?)_(com|io|ai|dev|org|net)_(.+)\Z")


def kubernetes_labels(series_text: str) -> dict[str, str]:
    """Return the object's labels that a series carries, under their real names where known."""
    series: Mapping[str, str] = orjson.loads(series_text)
    plain = {
        name.removeprefix("label_"): value
        for name, value in series.items()
        if name.startswith("label_")
    }
    return {_real_label(name): value for name, value in plain.items()}


def annotations_of(series_text: str, names: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Return those of the named annotations that a series carries, under their real names."""
    series: Mapping[str, str] = orjson.loads(series_text)
    found = {name: series.get(ANNOTATION_PREFIX + mangled(name), "") for name in names}
    return tuple(sorted((name, text) for name, text in found.items() if text))


def _real_label(name: str) -> str:
    found = _PROFILE_LABEL.fullmatch(name)
    if found is not None:
        return f"nvidia.com/mig-{_profile(found[1])}.{found[2]}"
    return _REAL_NAMES.get(name, name)


def _profile(text: str) -> str:
    """Return a MIG profile as resources and labels have it: ``1g_5gb_me`` is ``1g.5gb.me``."""
    return text.replace("_", ".")


def real_resource(exporter: Exporter, name: str) -> str:
    """Return the name of a resource from its mangled one.

    Where the catalogue does not know it, the first part that ends like a domain is taken for one;
    a name without one stays as it is and stands for nothing that can be held.
    """
    known = dict(exporter.resources).get(name)
    if known is not None:
        return known
    found = _DOMAIN.match(name)
    if found is None:
        return name
    domain, top, rest = found.groups()
    if domain == "nvidia" and rest.startswith("mig_"):
        return f"nvidia.com/mig-{_profile(rest.removeprefix('mig_'))}"
    return f"{domain.replace('_', '.')}.{top}/{rest}"


def node_spans(
    exporter: Exporter,
    answered: Sequence[Answered],
    times: ScrapeTimes,
    known_nodes: Mapping[tuple[str, int], str],
) -> tuple[NodeSpan, ...]:
    """Return all nodes' spans, ordered by name and time."""
    labels = _newest_labels(chosen(answered, "node_labels"))
    provider_ids = _provider_ids(chosen(answered, "node_info"))
    annotations = {
        node: annotations_of(text, NODE_ANNOTATIONS)
        for samples in chosen(answered, "node_annotations")
        for node, text in zip(samples.labels["node"], samples.labels["series"], strict=True)
    }
    capacity = _amounts(exporter, chosen(answered, "node_capacity"))
    allocatable = _amounts(exporter, chosen(answered, "node_allocatable"))
    spans: list[NodeSpan] = []
    for life in _lives(chosen(answered, "node_created"), times):
        node_labels = labels.get(life.name, {})
        place = place_of(node_labels, provider_ids.get(life.name, ""))
        synthetic = f"{MADE_UP_UID}{life.name}@{life.created_ms}"
        facts = NodeFacts(
            uid=known_nodes.get((life.name, life.created_ms), synthetic),
            name=life.name,
            provider=place.provider,
            region=place.region,
            zone=place.zone,
            instance_type=place.instance_type,
            capacity_type=place.capacity_type,
            labels=tuple(sorted(node_labels.items())),
            created_ms=life.created_ms,
            capacity=(),
            allocatable=(),
            resource_version="",
            annotations=annotations.get(life.name, ()),
            instance_devices=devices_of_type(place.provider, place.instance_type),
            provider_id=provider_ids.get(life.name, ""),
        )
        spans += _spans_of(
            facts,
            life,
            capacity.get(life.name, _NO_AMOUNTS),
            allocatable.get(life.name, _NO_AMOUNTS),
        )
    return tuple(spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Life:
    """One node object: its name may come again with another creation."""

    name: str
    created_ms: int
    scrapes: tuple[int, ...]
    end_ms: int


# Amounts of each resource by instant.
_ByInstant = Mapping[int, Mapping[str, int]]
_NO_AMOUNTS: _ByInstant = {}


def _lives(sets: Sequence[SampleSet], times: ScrapeTimes) -> list[_Life]:
    seen: dict[tuple[str, int], tuple[set[str], set[int]]] = {}
    for samples in sets:
        created = np.rint(samples.value * 1000.0).astype(np.int64)
        labels = zip(samples.labels["node"], samples.labels["target"], strict=True)
        for row, (name, target) in enumerate(labels):
            own = slice(int(samples.first[row]), int(samples.first[row + 1]))
            # One series may tell of two objects: a node that was created again under its name.
            for created_ms in np.unique(created[own]).tolist():
                targets, instants = seen.setdefault((name, created_ms), (set(), set()))
                targets.add(target)
                instants.update(samples.at_ms[own][created[own] == created_ms].tolist())
    lives = []
    for (name, created_ms), (targets, instants) in sorted(seen.items()):
        scrapes = sorted(instants)
        sighting = times.sighting(sorted(targets), scrapes[0], scrapes[-1])
        gone_ms = sighting.last_ms if sighting.vanished else sighting.absent_after_ms
        lives.append(
            _Life(
                name=name,
                created_ms=created_ms,
                scrapes=tuple(scrapes),
                end_ms=OPEN_MS if gone_ms is None else gone_ms,
            )
        )
    return lives


def _spans_of(
    facts: NodeFacts, life: _Life, capacity: _ByInstant, allocatable: _ByInstant
) -> list[NodeSpan]:
    """Cut a life where the amounts that the node showed changed."""
    spans: list[NodeSpan] = []
    shown: tuple[Mapping[str, int], Mapping[str, int]] | None = None
    for at_ms in life.scrapes:
        amounts = (capacity.get(at_ms, {}), allocatable.get(at_ms, {}))
        if amounts == shown:
            continue
        shown = amounts
        node = replace(
            facts,
            capacity=tuple(sorted(amounts[0].items())),
            allocatable=tuple(sorted(amounts[1].items())),
        )
        start_ms = at_ms if spans else life.created_ms
        if spans:
            spans[-1] = replace(spans[-1], end_ms=at_ms)
        spans.append(NodeSpan(node=node, start_ms=start_ms, end_ms=life.end_ms))
    return spans


def _amounts(exporter: Exporter, sets: Sequence[SampleSet]) -> dict[str, dict[int, dict[str, int]]]:
    """Return node → instant → resource → units."""
    amounts: dict[str, dict[int, dict[str, int]]] = {}
    for samples in sets:
        for row in range(len(samples.labels)):
            resource = real_resource(exporter, str(samples.labels["resource"].iloc[row]))
            if "/" not in resource:
                continue
            of_node = amounts.setdefault(str(samples.labels["node"].iloc[row]), {})
            low, high = int(samples.first[row]), int(samples.first[row + 1])
            for at_ms, units in zip(
                samples.at_ms[low:high].tolist(), samples.value[low:high].tolist(), strict=True
            ):
                of_node.setdefault(at_ms, {})[resource] = round(units)
    return amounts


def _newest_labels(sets: Sequence[SampleSet]) -> dict[str, dict[str, str]]:
    """Return each node's labels from the series that was seen last."""
    newest: dict[str, tuple[int, str]] = {}
    for samples in sets:
        last = samples.at_ms[samples.first[1:] - 1]
        for node, at_ms, text in zip(
            samples.labels["node"], last.tolist(), samples.labels["series"], strict=True
        ):
            newest[node] = max(newest.get(node, (0, "")), (at_ms, text))
    return {node: kubernetes_labels(text) for node, (_, text) in newest.items()}


def _provider_ids(sets: Sequence[SampleSet]) -> dict[str, str]:
    return {
        node: provider_id
        for samples in sets
        for node, provider_id in zip(
            samples.labels["node"], samples.labels["provider_id"], strict=True
        )
        if provider_id
    }
