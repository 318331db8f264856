"""What a device-millisecond of every pool costs over time, by the price book."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.schedules import Schedules, Step
from app.pricing.book import PriceBook, PriceSpan
from app.pricing.rows import ModelCount, PricedPool
from app.units.identity import mix64

Int64s = npt.NDArray[np.int64]

_Value = TypeVar("_Value", bound=Hashable)


class Codes(Generic[_Value]):
    """Numbers for values, in the order of their first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[_Value, int] = {}

    def code(self, value: _Value) -> int:
        """Return the value's number, the next free one if it has none."""
        return self._numbers.setdefault(value, len(self._numbers))

    def values(self) -> tuple[_Value, ...]:
        """Return the values, each at the place of its number."""
        return tuple(self._numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """A pool in a window each: one node's devices of one model; ordered by window and node."""

    window_ms: Int64s
    node_id: Int64s
    gpu_model_id: Int64s
    devices: Int64s


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price as rating uses it; ``price_id`` is 0 where nothing prices the pool."""

    price_id: int
    nanos_per_ms: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariffs:
    """The tariffs, and by pool and time the number of the one that counts.

    ``reasons`` say why time is unpriced, by node and model of the pools that have such time.
    """

    tariffs: tuple[Tariff, ...]
    schedules: Schedules
    unknown_nodes: tuple[int, ...]
    reasons: Mapping[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where prices are looked up: the cluster, its nodes' attributes, the models' names."""

    cluster: str
    nodes: pd.DataFrame
    gpu_models: Mapping[int, str]


def tariffs_of(pools: Pools, place: Place, book: PriceBook, start_ms: int, end_ms: int) -> Tariffs:
    """Return what each pool costs over ``[start_ms, end_ms)``.

    A node that ``place`` does not know is priced by its model and cluster alone, and named.
    """
    described = describe(pools, place)
    tariffs, profiles = Codes[Tariff](), Codes[tuple[Step, ...]]()
    known: dict[PricedPool, int] = {}
    profile_of = np.zeros(len(described.attributes), dtype=np.int64)
    reasons: dict[PricedPool, str] = {}
    reason_of: list[str] = []
    for number, attributes in enumerate(described.attributes):
        priced = attributes
        if not book.names_node(attributes.node):
            priced = replace(attributes, node="")
        if priced not in known:
            spans = book.spans(priced, start_ms, end_ms)
            known[priced] = profiles.code(_steps(spans, tariffs))
            missing = {span.unpriced_reason for span in spans} - {""}
            reasons[priced] = "; ".join(sorted(missing))
        profile_of[number] = known[priced]
        reason_of.append(reasons[priced])
    return Tariffs(
        tariffs=tariffs.values(),
        schedules=Schedules(profile_of[described.pool], profiles.values(), start_ms, end_ms),
        unknown_nodes=described.unknown_nodes,
        reasons={
            (int(pools.node_id[pool]), int(pools.gpu_model_id[pool])): reason_of[
                described.pool[pool]
            ]
            for pool in np.flatnonzero(
                np.array([*map(bool, reason_of)], dtype=bool)[described.pool]
            )
        },
    )


@dataclass(frozen=True, slots=True)
class Described:
    """The attributes of pools, and by pool the number of its own."""

    attributes: tuple[PricedPool, ...]
    pool: Int64s
    unknown_nodes: tuple[int, ...]


def describe(pools: Pools, place: Place) -> Described:
    """Return what prices and commitments see of each pool, nodes that nobody knows beside it."""
    nodes = _pools_by_node(place)
    sharing = _sharing(pools)
    unique, pool = np.unique(
        mix64(pools.node_id, pools.gpu_model_id, pools.devices, sharing.code_of_pool),
        return_index=True,
        return_inverse=True,
    )[1:]
    attributes: list[PricedPool] = []
    unknown: set[int] = set()
    for index in unique:
        node_id = int(pools.node_id[index])
        if node_id not in nodes:
            unknown.add(node_id)
        attributes.append(
            replace(
                nodes.get(node_id, _anywhere(place.cluster)),
                gpu_model=place.gpu_models.get(int(pools.gpu_model_id[index]), ""),
                on_node=_names(sharing.models_of(int(index), pools), place),
            )
        )
    return Described(tuple(attributes), pool, tuple(sorted(unknown)))


@dataclass(frozen=True, slots=True)
class _Sharing:
    """Which pools share their node with pools of other models, and with which."""

    code_of_pool: Int64s
    models: tuple[tuple[tuple[int, int], ...], ...]

    def models_of(self, pool: int, pools: Pools) -> tuple[tuple[int, int], ...]:
        """Return model and devices of every pool of the node."""
        own = ((int(pools.gpu_model_id[pool]), int(pools.devices[pool])),)
        return self.models[self.code_of_pool[pool]] or own


def _sharing(pools: Pools) -> _Sharing:
    count = len(pools.node_id)
    fresh = np.concatenate(
        [[True], (np.diff(pools.window_ms) != 0) | (np.diff(pools.node_id) != 0)]
    )[:count]
    first = np.flatnonzero(fresh)
    after = np.append(first[1:], count)
    codes = Codes[tuple[tuple[int, int], ...]]()
    codes.code(())
    code_of_pool = np.zeros(count, dtype=np.int64)
    for begin, end in zip(first[after - first > 1], after[after - first > 1], strict=True):
        pairs = zip(pools.gpu_model_id[begin:end], pools.devices[begin:end], strict=True)
        models = tuple((int(model), int(devices)) for model, devices in pairs)
        code_of_pool[begin:end] = codes.code(models)
    return _Sharing(code_of_pool, codes.values())


def _pools_by_node(place: Place) -> dict[int, PricedPool]:
    columns = ["node_name", "provider", "region", "instance_type", "capacity_type"]
    texts = zip(*(place.nodes[column] for column in columns), strict=True)
    return {
        int(node_id): PricedPool(
            cluster=place.cluster,
            provider=provider,
            region=region,
            instance_type=instance_type,
            capacity_type=capacity_type,
            node=node,
            gpu_model="",
            on_node=(),
        )
        for node_id, (node, provider, region, instance_type, capacity_type) in zip(
            place.nodes["node_id"], texts, strict=True
        )
    }


def _anywhere(cluster: str) -> PricedPool:
    return PricedPool(
        cluster=cluster,
        provider="",
        region="",
        instance_type="",
        capacity_type="",
        node="",
        gpu_model="",
        on_node=(),
    )


def _names(models: tuple[tuple[int, int], ...], place: Place) -> tuple[ModelCount, ...]:
    counts = [ModelCount(place.gpu_models.get(model, ""), devices) for model, devices in models]
    return tuple(sorted(counts, key=lambda one: (one.gpu_model, one.devices)))


def _steps(spans: Iterable[PriceSpan], tariffs: Codes[Tariff]) -> tuple[Step, ...]:
    return tuple(
        Step(span.from_ms, tariffs.code(Tariff(span.price_id, span.nanos_per_ms))) for span in spans
    )
