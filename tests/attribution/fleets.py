"""Small fleets in plain words, and the usage frames that a correct usage stage makes of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from itertools import pairwise

import pandas as pd

from app.attribution.contract import Contract
from app.attribution.owners import Ownership
from app.attribution.rating import Rated, RatingInput, rate
from app.pricing.book import PriceBook
from app.pricing.rows import PriceRow
from app.units.window import HOUR_MS
from app.usage import frames
from app.usage.identity import gpu_model_id, hold_id, node_id

# 2026-11-23T10:00:00Z, a Monday.
TEN = 1_795_428_000_000
ELEVEN = TEN + HOUR_MS
MINUTE = 60_000

H100 = "NVIDIA-H100-80GB-HBM3"
CLUSTER = "prod-eu"

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class AHold:
    pod: str
    node: str = "node-1"
    namespace: str = "search-a"
    gpu_model: str = H100
    gpus: int = 1
    start: int = TEN
    end: int = ELEVEN
    active: tuple[Span, ...] = ()
    unmeasured: tuple[Span, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class APool:
    node: str = "node-1"
    gpu_model: str = H100
    devices: int = 2
    allocatable: int | None = None
    start: int = TEN - 100 * HOUR_MS
    end: int = TEN + 100 * HOUR_MS
    instance_type: str = "p5"
    provider: str = "aws"
    region: str = "eu-west-1"
    capacity_type: str = "on_demand"

    @property
    def may_be_held(self) -> int:
        return self.devices if self.allocatable is None else self.allocatable


@dataclass(frozen=True, kw_only=True)
class AFleet:
    pools: tuple[APool, ...] = (APool(),)
    holds: tuple[AHold, ...] = ()
    unobserved: tuple[Span, ...] = ()
    # Instants at which rows are cut although nothing changes.
    extra_cuts: tuple[int, ...] = ()

    def pool_rows(self, start: int, end: int) -> list[dict[str, int]]:
        rows = []
        for pool in self.pools:
            holds = [one for one in self.holds if _on(one, pool)]
            low, high = max(start, pool.start), min(end, pool.end)
            edges = {low, high, *self.extra_cuts}
            edges |= {edge for one in holds for edge in (one.start, one.end)}
            edges |= {edge for span in self.unobserved for edge in span}
            inside = sorted(edge for edge in edges if low <= edge <= high)
            for begin, finish in pairwise(inside):
                held = sum(one.gpus for one in holds if one.start <= begin < one.end)
                gap = any(first <= begin < last for first, last in self.unobserved)
                rest = pool.devices - held
                stranded = 0 if gap else max(0, pool.devices - max(pool.may_be_held, held))
                length = finish - begin
                rows.append(
                    {
                        "window_start_ms": start,
                        "node_id": node_id(CLUSTER, pool.node),
                        "gpu_model_id": gpu_model_id(pool.gpu_model),
                        "start_ms": begin,
                        "end_ms": finish,
                        "devices": pool.devices,
                        "held_ms": held * length,
                        "unobserved_ms": (rest if gap else 0) * length,
                        "stranded_ms": stranded * length,
                        "unallocated_ms": (0 if gap else rest - stranded) * length,
                        "claimed_ms": held * length,
                        "allocatable_ms": max(held, pool.may_be_held) * length,
                        "compute_allocatable_ms": max(held, pool.may_be_held) * length,
                    }
                )
        return rows

    def hold_rows(self, start: int, end: int) -> list[dict[str, int]]:
        rows = []
        for one in self.holds:
            low, high = max(start, one.start), min(end, one.end)
            if low >= high:
                continue
            held = one.gpus * (high - low)
            active = one.gpus * _overlap(one.active, low, high)
            unmeasured = one.gpus * _overlap(one.unmeasured, low, high)
            rows.append(
                {
                    **dict.fromkeys(frames.HOLD_USAGE.columns, 0),
                    "window_start_ms": start,
                    "node_id": node_id(CLUSTER, one.node),
                    "gpu_model_id": gpu_model_id(one.gpu_model),
                    "hold_id": hold_id(CLUSTER, one.pod, "nvidia.com/gpu"),
                    "start_ms": low,
                    "end_ms": high,
                    "share_num": one.gpus,
                    "share_den": 1,
                    "compute_num": one.gpus,
                    "compute_den": 1,
                    "units": one.gpus,
                    "sharing": 1,
                    "held_ms": held,
                    "active_ms": active,
                    "idle_ms": held - active - unmeasured,
                    "unmeasured_ms": unmeasured,
                }
            )
        return rows


def rated(
    fleet: AFleet,
    prices: Iterable[PriceRow],
    contract: Contract | None = None,
    windows: tuple[Span, ...] = ((TEN, ELEVEN),),
    zone: tzinfo = UTC,
    *,
    known_nodes: bool = True,
    known_holds: bool = True,
) -> Rated:
    given = rating_input(fleet, prices, contract, windows, zone)
    nodes = given.nodes if known_nodes else given.nodes.iloc[:0]
    holds = given.holds if known_holds else given.holds.iloc[:0]
    return rate(replace(given, nodes=nodes, holds=holds))


def rating_input(
    fleet: AFleet,
    prices: Iterable[PriceRow],
    contract: Contract | None = None,
    windows: tuple[Span, ...] = ((TEN, ELEVEN),),
    zone: tzinfo = UTC,
) -> RatingInput:
    pool_rows = [row for window in windows for row in fleet.pool_rows(*window)]
    hold_rows = [row for window in windows for row in fleet.hold_rows(*window)]
    nodes = {pool.node: pool for pool in fleet.pools}.values()
    return RatingInput(
        cluster=CLUSTER,
        pool_usage=frame_of(frames.POOL_USAGE, pool_rows),
        hold_usage=frame_of(frames.HOLD_USAGE, hold_rows),
        nodes=pd.DataFrame(
            {
                "node_id": [node_id(CLUSTER, pool.node) for pool in nodes],
                "node_name": [pool.node for pool in nodes],
                "provider": [pool.provider for pool in nodes],
                "region": [pool.region for pool in nodes],
                "instance_type": [pool.instance_type for pool in nodes],
                "capacity_type": [pool.capacity_type for pool in nodes],
            }
        ),
        gpu_models={gpu_model_id(pool.gpu_model): pool.gpu_model for pool in fleet.pools},
        holds=pd.DataFrame(
            {
                "hold_id": [hold_id(CLUSTER, one.pod, "nvidia.com/gpu") for one in fleet.holds],
                "namespace": [one.namespace for one in fleet.holds],
                "labels": [one.labels for one in fleet.holds],
                "workload_id": [0 for _ in fleet.holds],
            }
        ),
        price_book=PriceBook(prices),
        ownership=Ownership(contract),
        billing_zone=zone,
    )


def frame_of(schema: object, rows: list[dict[str, int]]) -> pd.DataFrame:
    dtypes = {name: str(column.dtype) for name, column in schema.columns.items()}
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


def _on(hold: AHold, pool: APool) -> bool:
    return (hold.node, hold.gpu_model) == (pool.node, pool.gpu_model)


def _overlap(spans: tuple[Span, ...], low: int, high: int) -> int:
    return sum(max(0, min(last, high) - max(first, low)) for first, last in spans)
