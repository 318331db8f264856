"""Nodes and pods of a finance scenario, and the facts that a correct collection makes of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pandas as pd
from pandera.pandas import DataFrameSchema
from sqlalchemy import Connection

from app.store.consumers import ConsumerStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.units.window import HOUR_MS, OPEN_MS, Window, from_ms, to_ms
from app.usage import frames
from app.usage.consumers import CONSUMER_USAGE, GatewayConsumer, GatewayRoute
from app.usage.facts import UsageFacts
from app.usage.identity import gpu_model_id, hold_id, model_id, node_id, workload_id
from app.usage.inventory import NodeFacts, PodHold, PoolCount, Workload
from app.usage.kinds import HoldSource
from tests.store.builders import evidence

RESOURCE = "nvidia.com/gpu"
GATEWAY = "litellm"
_MJ_PER_KWH = 3_600_000_000
_HUNDRED = Decimal(100)
Told = Mapping[str, Any]


def ms(text: str) -> int:
    """Return an instant; one without a zone would be a mistake of the scenario."""
    instant = datetime.fromisoformat(text)
    assert instant.tzinfo is not None, f"{text} says no time zone"
    return to_ms(instant)


@dataclass(frozen=True)
class ANode:
    name: str
    gpus: int
    cluster: str = "prod"
    gpu_model: str = "NVIDIA-H100-80GB-HBM3"
    provider: str = ""
    region: str = ""
    instance_type: str = ""
    capacity_type: str = "on_demand"
    machine: str = ""
    start: int = 0
    end: int = OPEN_MS

    def facts(self, first_ms: int) -> NodeFacts:
        return NodeFacts(
            uid=self.name,
            name=self.name,
            provider=self.provider,
            region=self.region,
            zone="",
            instance_type=self.instance_type,
            capacity_type=self.capacity_type,
            labels=(),
            created_ms=self.start or first_ms,
            capacity=((RESOURCE, self.gpus),),
            allocatable=((RESOURCE, self.gpus),),
            resource_version="1",
            provider_id=self.machine,
        )


@dataclass(frozen=True)
class APod:
    name: str
    namespace: str
    node: ANode
    gpus: int
    start: int
    end: int
    labels: tuple[tuple[str, str], ...] = ()
    active_percent: Decimal = _HUNDRED
    # Kilowatt-hours of its boards in an hour; None where no counter speaks of them.
    kwh: Decimal | None = None
    serves: str = ""
    # Tokens that its engine counted in an hour.
    generation_tokens: int = 0
    requests: int = 0

    @property
    def workload(self) -> Workload:
        return Workload(namespace=self.namespace, kind="Deployment", name=self.name, uid=self.name)

    @property
    def hold_id(self) -> int:
        return hold_id(self.node.cluster, self.name, RESOURCE)

    def hold(self) -> PodHold:
        return PodHold(
            pod_uid=self.name,
            namespace=self.namespace,
            pod=self.name,
            node_uid=self.node.name,
            node_name=self.node.name,
            gpu_model=self.node.gpu_model,
            resource=RESOURCE,
            units=self.gpus,
            share_num=self.gpus,
            share_den=1,
            exclusive=True,
            workload=self.workload,
            labels=self.labels,
            start_ms=self.start,
            end_ms=self.end,
            start_unsure_ms=0,
            end_unsure_ms=0,
            end_lost=False,
            ready_ms=None,
            source=HoldSource.WATCH,
        )


@dataclass(frozen=True)
class Sent:
    """Generated tokens that a gateway counted for a key in an hour."""

    key: str
    model: str
    hour: int
    tokens: int


@dataclass
class Fleet:
    """What there is at the moment; deliveries change pods."""

    span: tuple[int, int]
    nodes: tuple[ANode, ...]
    pods: dict[str, APod] = field(default_factory=dict)
    sent: tuple[Sent, ...] = ()

    @property
    def clusters(self) -> list[str]:
        return list(dict.fromkeys(one.cluster for one in self.nodes))

    def hours(self, span: tuple[int, int] | None = None) -> Iterator[Window]:
        start, end = span or self.span
        for hour in range(start, end, HOUR_MS):
            yield Window(from_ms(hour), from_ms(hour + HOUR_MS))

    def capacity_ms(self) -> int:
        """All device time, by multiplication alone."""
        start, end = self.span
        return sum(
            one.gpus * max(0, min(end, one.end) - max(start, one.start)) for one in self.nodes
        )

    def put_inventory(self, connection: Connection) -> None:
        names = NameStore(connection)
        names.ensure_models(sorted({one.serves for one in self.pods.values()} - {""}))
        for node in self.nodes:
            inventory = InventoryStore(connection, node.cluster)
            count = PoolCount(
                gpu_model=node.gpu_model, devices=node.gpus, allocatable_num=node.gpus
            )
            inventory.put_node(node.facts(self.span[0]), [count], at_ms=self.span[1])
        for pod in self.pods.values():
            InventoryStore(connection, pod.node.cluster).put_hold(pod.hold())
        if self.sent:
            ConsumerStore(connection).put(
                {_consumer(one) for one in self.sent}, {_route(one) for one in self.sent}
            )

    def facts(self, cluster: str, window: Window) -> UsageFacts:
        """The facts of an hour."""
        start, end = window.start_ms, window.end_ms
        nodes = [one for one in self.nodes if one.cluster == cluster]
        pods = [one for one in self.pods.values() if one.node.cluster == cluster]
        here = [one for one in pods if one.start < end and one.end > start]
        serving = [one for one in here if one.serves]
        first = cluster == self.clusters[0]
        sent = [one for one in self.sent if one.hour == start and first]
        return UsageFacts(
            pool_usage=_frame(
                frames.POOL_USAGE,
                (row for node in nodes for row in _pool_rows(node, here, start, end)),
            ),
            hold_usage=_frame(frames.HOLD_USAGE, (_hold_row(one, start, end) for one in here)),
            token_usage=_frame(frames.TOKEN_USAGE, (_token_row(one, start) for one in serving)),
            latency_usage=frames.empty(frames.LATENCY_USAGE),
            service_minutes=frames.empty(frames.SERVICE_MINUTES),
            cold_starts=frames.empty(frames.COLD_STARTS),
            evidence=evidence(),
            notes=frames.empty(frames.NOTES),
            partial=False,
            consumer_usage=_frame(CONSUMER_USAGE, (_sent_row(one) for one in sent)),
        )


def fleet_of(document: Told) -> Fleet:
    """Read the given part of a scenario."""
    start, end = (ms(text) for text in document["hours"])
    nodes = {one["name"]: _node(one) for one in document["nodes"]}
    fleet = Fleet(
        span=(start, end),
        nodes=tuple(nodes.values()),
        sent=tuple(
            Sent(one["key"], one["model"], ms(one["hour"]), one["tokens"])
            for one in document.get("gateway", [])
        ),
    )
    for told in document.get("pods", []):
        put_pod(fleet, told)
    return fleet


def put_pod(fleet: Fleet, told: Told) -> None:
    """Add a pod, or change what is told of one that is known by its name."""
    nodes = {one.name: one for one in fleet.nodes}
    known = fleet.pods.get(told["name"])
    given: dict[str, Any] = (
        dict(known.__dict__) if known else {"start": fleet.span[0], "end": fleet.span[1]}
    )
    for key, value in told.items():
        match key:
            case "from" | "until":
                given["start" if key == "from" else "end"] = ms(value)
            case "node":
                given["node"] = nodes[value]
            case "labels":
                given["labels"] = tuple(value.items())
            case "active_percent" | "kwh":
                given[key] = Decimal(str(value))
            case _:
                given[key] = value
    fleet.pods[told["name"]] = APod(**given)


def change_node(fleet: Fleet, told: Told) -> None:
    """Change what is told of a node that is known by its name."""
    (known,) = (one for one in fleet.nodes if one.name == told["name"])
    changed = replace(known, **told)
    fleet.nodes = tuple(changed if one is known else one for one in fleet.nodes)
    fleet.pods = {
        name: replace(pod, node=changed) if pod.node is known else pod
        for name, pod in fleet.pods.items()
    }


def _node(told: Told) -> ANode:
    given = dict(told)
    start = ms(given.pop("created")) if "created" in told else 0
    end = ms(given.pop("deleted")) if "deleted" in told else OPEN_MS
    return ANode(**given, start=start, end=end)


def _pool_rows(node: ANode, pods: Sequence[APod], start: int, end: int) -> Iterator[Told]:
    here = [one for one in pods if one.node.name == node.name]
    low, high = max(start, node.start), min(end, node.end)
    edges = {low, high} | {edge for one in here for edge in (one.start, one.end)}
    for begin, finish in pairwise(sorted(edge for edge in edges if low <= edge <= high)):
        held = sum(one.gpus for one in here if one.start <= begin < one.end)
        assert held <= node.gpus, f"more is held of {node.name} than there is"
        length = finish - begin
        yield {
            "window_start_ms": start,
            "node_id": node_id(node.cluster, node.name),
            "gpu_model_id": gpu_model_id(node.gpu_model),
            "start_ms": begin,
            "end_ms": finish,
            "devices": node.gpus,
            "held_ms": held * length,
            "unallocated_ms": (node.gpus - held) * length,
            "claimed_ms": held * length,
            "allocatable_ms": node.gpus * length,
            "compute_allocatable_ms": node.gpus * length,
        }


def _hold_row(pod: APod, start: int, end: int) -> Told:
    low, high = max(start, pod.start), min(end, pod.end)
    held = pod.gpus * (high - low)
    active = int(held * pod.active_percent / _HUNDRED)
    row = {
        "window_start_ms": start,
        "node_id": node_id(pod.node.cluster, pod.node.name),
        "gpu_model_id": gpu_model_id(pod.node.gpu_model),
        "hold_id": pod.hold_id,
        "workload_id": workload_id(pod.node.cluster, pod.workload),
        "start_ms": low,
        "end_ms": high,
        "share_num": pod.gpus,
        "share_den": 1,
        "compute_num": pod.gpus,
        "compute_den": 1,
        "units": pod.gpus,
        "sharing": 1,
        "held_ms": held,
        "active_ms": active,
        "idle_ms": held - active,
        "activity_basis": 1,
        "activity_scope": 1,
        "band_0_ms": held - active,
        "band_80_100_ms": active,
        "source": 1,
        "energy_mj": pd.NA,
    }
    if pod.kwh is not None:
        row["energy_mj"] = int(pod.kwh * _MJ_PER_KWH * (high - low) / HOUR_MS)
    return row


def _token_row(pod: APod, start: int) -> Told:
    return dict.fromkeys(frames.TOKEN_USAGE.columns, pd.NA) | {
        "window_start_ms": start,
        "workload_id": workload_id(pod.node.cluster, pod.workload),
        "model_id": model_id(pod.serves),
        "generation_tokens": pod.generation_tokens,
        "requests_stop": pod.requests,
        "carried": False,
    }


def _consumer(sent: Sent) -> GatewayConsumer:
    return GatewayConsumer(gateway=GATEWAY, key_alias=sent.key)


def _route(sent: Sent) -> GatewayRoute:
    return GatewayRoute(model=sent.model)


def _sent_row(sent: Sent) -> Told:
    return dict.fromkeys(CONSUMER_USAGE.columns, pd.NA) | {
        "window_start_ms": sent.hour,
        "consumer_id": _consumer(sent).consumer_id,
        "route_id": _route(sent).route_id,
        "generation_tokens": sent.tokens,
        "carried": False,
    }


def _frame(schema: DataFrameSchema, rows: Iterable[Told]) -> pd.DataFrame:
    """A frame of a schema; counts that no row tells are 0, figures unknown."""
    dtypes = {name: str(column.dtype) for name, column in schema.columns.items()}
    empty = {name: float("nan") if kind == "float64" else 0 for name, kind in dtypes.items()}
    filled = [{**empty, **row} for row in rows]
    return pd.DataFrame(filled, columns=[*dtypes]).astype(dtypes)
