"""A cluster told in a scenario file: nodes, pods, claims and devices over an hour, and its ledger.

What the file says becomes objects of the Kubernetes API; they go through the parsers, the watch and
the database as a cluster's own do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Engine

from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract
from app.attribution.owners import Ownership
from app.attribution.rating import Rated, RatingInput, rate
from app.pricing.book import PriceBook
from app.sources.kubernetes_dra import claim_facts, slice_facts
from app.sources.kubernetes_lists import WatchEvent
from app.sources.kubernetes_objects import node_facts, pod_facts
from app.sources.price_book import COLUMNS, read_price_book
from app.sources.team_contract import read_team_contract
from app.store.holds import HoldStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.units.window import Window, from_ms, to_ms
from app.usage.activity import DeviceMetrics, measure
from app.usage.kinds import ActivityBasis
from app.usage.samples import DEVICE_LABELS, no_samples
from app.usage.states import device_states
from app.workflows.inventories import watched_inventory
from app.workflows.streams import Seen, Stream
from app.workflows.watch import _Follower
from tests.workflows.api_objects import stamp

CLUSTER = "told"
HOUR_MS = 3_600_000
Told = Mapping[str, Any]


@dataclass(frozen=True)
class Ledger:
    """Lines of (holder, kind) with their milliseconds and nanos, and what the cluster has."""

    lines: dict[tuple[str, str], tuple[int, int]]
    notes: list[str]
    capacity_ms: int
    cost_nanos: int


def ledger_of(document: Told, engine: Engine) -> Ledger:
    """Watch the cluster of a scenario from an hour before its window; rate the window."""
    start_ms, end_ms = (ms(instant) for instant in document["window"])
    window = Window(from_ms(start_ms), from_ms(end_ms))
    changes = sorted(changes_of(document, start_ms), key=lambda change: change[0])
    follower = _Follower(CLUSTER, engine, lambda: start_ms - HOUR_MS)
    follower.begin(Listed([one for at_ms, one in changes if at_ms < start_ms]))
    for at_ms, (stream, event) in changes:
        if at_ms >= start_ms:
            follower.apply([Seen(stream, at_ms, event, known_ms=at_ms)])
    streams = Stream if follower.claims is not None else (Stream.NODES, Stream.PODS)
    follower.apply([Seen(stream, end_ms + 1, known_ms=end_ms + 1) for stream in streams])
    return rated(document, engine, window)


def rated(document: Told, engine: Engine, window: Window) -> Ledger:
    """Rate a window of what was watched."""
    with engine.connect() as connection:
        store = InventoryStore(connection, CLUSTER)
        known = watched_inventory(connection, CLUSTER, window)
        nodes, models = store.nodes(), NameStore(connection).gpu_models()
        owners = HoldStore(connection, CLUSTER).owners(known.holds["hold_id"].tolist())
        names = dict(zip(known.holds["hold_id"], known.holds["pod"], strict=True))
    states = device_states(window, known.pools, known.counts, known.holds, known.observed)
    nothing = no_samples(DEVICE_LABELS)
    no_figure = nothing.labels.assign(value=pd.Series([], dtype="float64"))
    metrics = DeviceMetrics(
        activity=((ActivityBasis.GR_ENGINE_ACTIVE, nothing),),
        energy=nothing,
        memory_used_max_mib=no_figure,
        sm_active_mean=no_figure,
        dram_active_mean=no_figure,
    )
    usage = measure(window, states, metrics, known.nodes, 30_000)
    contract = Contract()
    if "contract" in document:
        contract = read_team_contract(document["contract"], filename="scenario")
    result = rate(
        RatingInput(
            cluster=CLUSTER,
            pool_usage=states.pool_usage,
            hold_usage=usage,
            nodes=nodes,
            gpu_models=models,
            holds=owners,
            price_book=_prices(document),
            ownership=Ownership(contract),
            billing_zone=ZoneInfo("UTC"),
        )
    )
    capacity = states.pool_usage.eval("devices * (end_ms - start_ms)").sum()
    return Ledger(
        lines=_lines(result, names),
        notes=sorted({*known.notes["kind"], *states.notes["kind"]}),
        capacity_ms=int(capacity),
        cost_nanos=_price_of(document, states.pool_usage),
    )


def _lines(result: Rated, names: Mapping[int, str]) -> dict[tuple[str, str], tuple[int, int]]:
    """Sum charges by holder and kind; nobody measured the held time, so it is called held."""
    lines: dict[tuple[str, str], tuple[int, int]] = {}
    for row in result.charges.itertuples():
        kind = ChargeKind(row.kind).name.lower().replace("unmeasured", "held")
        key = (names.get(row.hold_id, ""), kind)
        gpu_ms, nanos = lines.get(key, (0, 0))
        lines[key] = (gpu_ms + int(row.gpu_ms), nanos + int(row.cost_nanos))
    return lines


def _prices(document: Told) -> PriceBook:
    row = {"currency": "USD", "unit": "gpu_hour", "price": document["price_per_gpu_hour"]}
    cells = ",".join(str(row.get(name, "")) for name in COLUMNS)
    text = "\n".join([",".join(COLUMNS), cells])
    return PriceBook(read_price_book(text, filename="scenario", billing_currency="USD"))


def _price_of(document: Told, pool_usage: pd.DataFrame) -> int:
    """Return what all devices cost in the window, by multiplication alone."""
    hours = Fraction(int(pool_usage.eval("devices * (end_ms - start_ms)").sum()), HOUR_MS)
    return round(hours * Fraction(Decimal(document["price_per_gpu_hour"])) * 10**9)


class Listed:
    """What the API lists at the beginning: the last state of everything that was told before."""

    def __init__(self, told: list[tuple[Stream, WatchEvent]]) -> None:
        self._told = told

    def list_nodes(self) -> tuple[tuple[Any, ...], str]:
        return self._last("node"), "1"

    def list_pods(self) -> tuple[tuple[Any, ...], str]:
        return self._last("pod"), "1"

    def dra(self) -> "Listed":
        return self

    def list_claims(self) -> tuple[tuple[Any, ...], str]:
        return self._last("claim"), "1"

    def list_slices(self) -> tuple[tuple[Any, ...], str]:
        return self._last("slice"), "1"

    def list_classes(self) -> tuple[Any, ...]:
        return ()

    def _last(self, kind: str) -> tuple[Any, ...]:
        found = {}
        for _, event in self._told:
            one = getattr(event, kind)
            if one is not None:
                # Another node may have taken the name before this one was seen to be deleted.
                known = found.pop(one.name, None)
                if not event.is_deletion:
                    found[one.name] = one
                elif known is not None and getattr(known, "uid", "") != getattr(one, "uid", ""):
                    found[one.name] = known
        return tuple(found.values())


# -- objects -------------------------------------------------------------------------------------


def changes_of(document: Told, start_ms: int) -> Iterator[tuple[int, tuple[Stream, WatchEvent]]]:
    for node in document["nodes"]:
        yield from _node(node, start_ms)
    for one in document.get("slices", []):
        facts = slice_facts(_slice(one))
        added = ms(one["from"]) if "from" in one else start_ms - HOUR_MS
        event = WatchEvent(type="ADDED", resource_version="1", slice=facts)
        yield added, (Stream.SLICES, event)
        if "until" in one:
            event = WatchEvent(type="DELETED", resource_version="1", slice=facts)
            yield ms(one["until"]), (Stream.SLICES, event)
    for pod in document.get("pods", []):
        yield from _pod(pod)
    for claim in document.get("claims", []):
        yield from _claim(claim, document.get("pods", []))


def _node(node: Told, start_ms: int) -> Iterator[tuple[int, tuple[Stream, WatchEvent]]]:
    shown = dict(node)
    created_ms = ms(node["created"]) if "created" in node else start_ms - 2 * HOUR_MS
    first_ms = max(created_ms, start_ms - HOUR_MS)
    for at_ms, change in [
        (first_ms, {}),
        *((ms(change["at"]), change) for change in node.get("changes", [])),
    ]:
        shown = {**shown, **change}
        kind = "DELETED" if change.get("gone") else "MODIFIED"
        facts = node_facts(_node_object(shown, created_ms))
        event = WatchEvent(type=kind, resource_version="1", node=facts)
        yield at_ms, (Stream.NODES, event)


def _node_object(shown: Told, created_ms: int) -> dict[str, object]:
    capacity = {name: str(units) for name, units in shown.get("capacity", {}).items()}
    allocatable = shown.get("allocatable", shown.get("capacity", {}))
    return {
        "metadata": {
            "name": shown["name"],
            "uid": shown.get("uid", f"uid-{shown['name']}"),
            "creationTimestamp": stamp(created_ms),
            "labels": dict(shown.get("labels", {})),
            "annotations": dict(shown.get("annotations", {})),
        },
        "spec": {"unschedulable": bool(shown.get("cordoned"))},
        "status": {
            "capacity": capacity,
            "allocatable": {name: str(units) for name, units in allocatable.items()},
        },
    }


def _pod(pod: Told) -> Iterator[tuple[int, tuple[Stream, WatchEvent]]]:
    for at_ms, over in ((ms(pod["from"]), False), (ms(pod["until"]), True)):
        facts = pod_facts({"kind": "Pod", **_pod_object(pod, over=over)})
        event = WatchEvent(type="MODIFIED", resource_version="1", pod=facts)
        yield at_ms, (Stream.PODS, event)


def _pod_object(pod: Told, *, over: bool) -> dict[str, object]:
    bound, ended = stamp(ms(pod["from"])), stamp(ms(pod["until"]))
    state = {"terminated": {"exitCode": 0, "finishedAt": ended}} if over else {"running": {}}
    claims = pod.get("claims", [])
    return {
        "metadata": {
            "name": pod["name"],
            "namespace": pod.get("namespace", "search-a"),
            "uid": f"uid-{pod['name']}",
            "creationTimestamp": bound,
            "annotations": dict(pod.get("annotations", {})),
        },
        "spec": {
            "nodeName": pod["node"],
            "restartPolicy": "Never",
            "resourceClaims": [{"name": name, "resourceClaimName": name} for name in claims],
            "containers": [
                {
                    "name": "main",
                    "resources": {
                        "requests": {name: str(n) for name, n in pod.get("requests", {}).items()},
                        "claims": [{"name": name} for name in claims],
                    },
                }
            ],
        },
        "status": {
            "phase": "Succeeded" if over else "Running",
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": bound}],
            "containerStatuses": [{"name": "main", "state": state}],
        },
    }


def _slice(one: Told) -> dict[str, object]:
    driver = one.get("driver", "gpu.nvidia.com")
    return {
        "metadata": {"name": one.get("name", f"{one['node']}-slice")},
        "spec": {
            "driver": driver,
            "pool": {
                "name": one["node"],
                "generation": one.get("generation", 1),
                "resourceSliceCount": one.get("of", 1),
            },
            "nodeName": one["node"],
            "sharedCounters": [
                {
                    "name": name,
                    "counters": {key: {"value": str(value)} for key, value in counters.items()},
                }
                for name, counters in one.get("counters", {}).items()
            ],
            "devices": [_device(device) for device in one["devices"]],
        },
    }


def _device(device: Told) -> dict[str, object]:
    names = {"type": "type", "product": "productName", "profile": "profile", "parent": "parentUUID"}
    attributes = {names[key]: {"string": device[key]} for key in names if key in device}
    attributes["uuid"] = {"string": f"GPU-{device['name']}"}
    found: dict[str, object] = {
        "name": device["name"],
        "attributes": attributes,
        "capacity": {key: {"value": str(v)} for key, v in device.get("capacity", {}).items()},
    }
    if device.get("many"):
        found["allowMultipleAllocations"] = True
    if "consumes" in device:
        found["consumesCounters"] = [
            {
                "counterSet": name,
                "counters": {key: {"value": str(value)} for key, value in counters.items()},
            }
            for name, counters in device["consumes"].items()
        ]
    return found


def _claim(claim: Told, pods: list[Told]) -> Iterator[tuple[int, tuple[Stream, WatchEvent]]]:
    """Yield the claim at each instant at which its allocation or its pods change."""
    begins, ends = ms(claim["from"]), ms(claim["until"])
    users = [pod for pod in pods if claim["name"] in pod.get("claims", [])]
    instants = {begins, ends}
    for pod in users:
        instants |= {at for at in (ms(pod["from"]), ms(pod["until"])) if begins <= at <= ends}
    for at_ms in sorted(instants):
        present = [pod for pod in users if ms(pod["from"]) <= at_ms < ms(pod["until"])]
        facts = claim_facts(_claim_object(claim, present, allocated=at_ms < ends))
        event = WatchEvent(type="MODIFIED", resource_version="1", claim=facts)
        yield at_ms, (Stream.CLAIMS, event)


def _claim_object(claim: Told, present: list[Told], *, allocated: bool) -> dict[str, object]:
    results = [
        {
            "request": "gpu",
            "driver": claim.get("driver", "gpu.nvidia.com"),
            "pool": claim["node"],
            "device": device,
            **({"adminAccess": True} if claim.get("admin") else {}),
            **_consumed(claim),
        }
        for device in claim["devices"]
    ]
    status: dict[str, object] = {}
    if allocated:
        status["allocation"] = {
            "devices": {"results": results},
            "allocationTimestamp": stamp(ms(claim["from"])),
        }
        status["reservedFor"] = [
            {"resource": "pods", "name": pod["name"], "uid": f"uid-{pod['name']}"}
            for pod in present
        ]
    return {
        "metadata": {
            "name": claim["name"],
            "namespace": claim.get("namespace", "search-a"),
            "uid": f"uid-claim-{claim['name']}",
            "creationTimestamp": stamp(ms(claim["from"])),
        },
        "spec": {"devices": {"requests": [{"name": "gpu", "exactly": {}}]}},
        "status": status,
    }


def _consumed(claim: Told) -> dict[str, object]:
    if "consumed" not in claim:
        return {}
    return {
        "shareID": claim["name"],
        "consumedCapacity": {key: str(value) for key, value in claim["consumed"].items()},
    }


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))
