"""Fleets of one cluster or two, with commitments allotted over them and rated."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from app.attribution.committed import capacity_for_commitments
from app.attribution.contract import Contract
from app.attribution.rating import Rated, RatingInput, rate
from app.attribution.tariffs import Place
from app.pricing.allotment import Allotted, allot
from app.pricing.commitments import Commitment
from app.pricing.rows import PricedPool, PriceRow
from app.usage.identity import cluster_id
from tests.attribution.fleets import CLUSTER, ELEVEN, TEN, AFleet, Span, rating_input


@dataclass(frozen=True)
class Company:
    """What is allotted, and each cluster's charges by its name."""

    allotted: Allotted
    rated: Mapping[str, Rated]

    @property
    def charges(self) -> pd.DataFrame:
        return pd.concat([one.charges for one in self.rated.values()], ignore_index=True)

    @property
    def unused_nanos(self) -> int:
        hours = self.allotted.hours
        return int((hours["cost_nanos"] - hours["used_nanos"]).sum())


def committed(
    fleets: Mapping[str, AFleet],
    prices: Iterable[PriceRow],
    commitments: Sequence[Commitment],
    contract: Contract | None = None,
    windows: tuple[Span, ...] = ((TEN, ELEVEN),),
) -> Company:
    """Allot and rate; the fleets' nodes are told apart by name, clusters stand in order."""
    prices = tuple(prices)
    inputs = {
        name: replace(rating_input(fleet, prices, contract, windows), cluster=name)
        for name, fleet in fleets.items()
    }
    parts: list[pd.DataFrame] = []
    places: list[PricedPool] = []
    for rank, (name, given) in enumerate(inputs.items()):
        frame, found = capacity_for_commitments(
            given.pool_usage,
            Place(cluster=name, nodes=given.nodes, gpu_models=given.gpu_models),
            given.price_book,
            commitments,
            cluster_id=cluster_id(name),
            rank=rank,
        )
        parts.append(frame.assign(place=frame["place"] + len(places)))
        places += found
    allotted = allot(
        commitments, [start for start, _ in windows], pd.concat(parts, ignore_index=True), places
    )
    return Company(allotted, {name: _rated(one, allotted) for name, one in inputs.items()})


def alone(
    fleet: AFleet,
    prices: Iterable[PriceRow],
    commitments: Sequence[Commitment],
    contract: Contract | None = None,
    windows: tuple[Span, ...] = ((TEN, ELEVEN),),
) -> Company:
    """Allot and rate one cluster."""
    return committed({CLUSTER: fleet}, prices, commitments, contract, windows)


def _rated(given: RatingInput, allotted: Allotted) -> Rated:
    every = allotted.allotments
    mine = every[every["cluster_id"] == cluster_id(given.cluster)].reset_index(drop=True)
    return rate(replace(given, allotments=mine))
