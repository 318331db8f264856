"""Rating: from the usage of any number of windows to their charges."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.capacity import Capacity, capacity_of, ints
from app.attribution.charges import CHARGES
from app.attribution.days import day_starts
from app.attribution.lines import Lines, Names, Subjects, charges_of, split_costs, subject_of
from app.attribution.owners import Ownership
from app.attribution.payers import Payers, payers_of
from app.attribution.rating_notes import rating_notes
from app.attribution.schedules import Cuts, Schedules, Step
from app.attribution.segments import NOBODY, Segments, cut_segments, divide_held
from app.attribution.tariffs import Place, Pools, Tariffs, tariffs_of
from app.pricing.book import PriceBook
from app.usage import frames
from app.usage.identity import cluster_id, namespace_id, team_id

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingInput:
    """The usage of one cluster, for one or many windows, and everything that prices and owns it.

    The usage is as it was collected, under the default policies of shares; the policies that count
    are those of the contract behind ``ownership``.
    ``nodes`` has node_id, node_name, provider, region, instance_type, capacity_type; ``holds`` has
    hold_id, namespace, labels (a mapping or pairs) and workload_id; ``gpu_models`` are names by id.
    """

    cluster: str
    pool_usage: pd.DataFrame
    hold_usage: pd.DataFrame
    nodes: pd.DataFrame
    gpu_models: Mapping[int, str]
    holds: pd.DataFrame
    price_book: PriceBook
    ownership: Ownership
    billing_zone: tzinfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """Frames of `CHARGES` and `NOTES`, and the names of all teams that the charges name."""

    charges: pd.DataFrame
    notes: pd.DataFrame
    teams: tuple[str, ...]


def rate(given: RatingInput) -> Rated:
    """Return the charges of the windows: every device-millisecond of the pools on one line.

    Segments are cut where a price, an owner, a policy or the billing day changes, only in the pools
    concerned; each one's cost is split over what was used, idle, unmeasured, unallocated, stranded
    and unobserved in it. What nothing prices is a charge without money. Raises
    `UsageMismatchError` if the holds' time is not the pools' held time.
    """
    capacity = capacity_of(
        given.pool_usage, given.hold_usage, given.ownership.contract.share_policies()
    )
    segments, holds = capacity.segments, capacity.holds
    if not len(segments.pool):
        nothing = frames.empty(CHARGES)
        return Rated(charges=nothing, notes=frames.empty(frames.NOTES), teams=())
    start_ms, end_ms = int(segments.start_ms.min()), int(segments.end_ms.max())
    place = Place(cluster=given.cluster, nodes=given.nodes, gpu_models=given.gpu_models)
    tariffs = tariffs_of(capacity.pools, place, given.price_book, start_ms, end_ms)
    payers = payers_of(
        ints(holds, "hold_id"), given.holds, given.ownership, given.cluster, start_ms, end_ms
    )
    days = day_starts(given.billing_zone, start_ms, end_ms)
    lines = _lines(capacity, _Terms(tariffs, payers, days, start_ms, end_ms))
    names = Names(
        cluster_id=cluster_id(given.cluster),
        team_ids=np.array([team_id(name) for name in payers.teams], dtype=np.int64),
        day_starts_ms=np.array(days, dtype=np.int64),
        price_ids=np.array([one.price_id for one in tariffs.tariffs], dtype=np.int64),
    )
    charges = charges_of(lines, _subjects(capacity.pools, holds, payers), names)
    _assert_whole(charges, segments)
    return Rated(
        charges=charges,
        notes=rating_notes(
            charges,
            dict(zip(given.nodes["node_id"], given.nodes["node_name"], strict=True)),
            given.gpu_models,
            payers,
            tariffs.unknown_nodes,
        ),
        teams=tuple(sorted({*payers.teams} - {""})),
    )


@dataclass(frozen=True, slots=True)
class _Terms:
    """By what segments are cut and charged, over the whole span of the rating."""

    tariffs: Tariffs
    payers: Payers
    days: tuple[int, ...]
    start_ms: int
    end_ms: int

    def day_schedule(self) -> Schedules:
        """Return the billing days as a schedule of one subject."""
        steps = [Step(max(begins, self.start_ms), day) for day, begins in enumerate(self.days)]
        return Schedules(np.zeros(1, dtype=np.int64), [steps], self.start_ms, self.end_ms)


def _lines(capacity: Capacity, terms: _Terms) -> Lines:
    """Cut the segments by the terms, divide what was held, and split each segment's cost."""
    segments, pieces, holds = capacity.segments, capacity.pieces, capacity.holds
    days = terms.day_schedule()
    payer = np.where(pieces.hold == NOBODY, len(holds), pieces.hold)
    start_ms, end_ms = segments.start_ms, segments.end_ms
    of_owners = terms.payers.schedules.cuts(payer, start_ms[pieces.segment], end_ms[pieces.segment])
    cuts = [
        terms.tariffs.schedules.cuts(segments.pool, start_ms, end_ms),
        days.cuts(np.zeros_like(segments.pool), start_ms, end_ms),
        Cuts(pieces.segment[of_owners.row], of_owners.at_ms),
    ]
    segments, pieces = cut_segments(segments, pieces, cuts)
    pieces = divide_held(
        pieces, ints(holds, "active_ms"), ints(holds, "idle_ms"), ints(holds, "held_ms")
    )
    tariff = terms.tariffs.schedules.at(segments.pool, segments.start_ms)
    pieces, cost_nanos = split_costs(segments, pieces, tariff, terms.tariffs.tariffs)
    begins = segments.start_ms[pieces.segment]
    payer = np.where(pieces.hold == NOBODY, len(holds), pieces.hold)
    return Lines(
        subject=subject_of(pieces, segments.pool[pieces.segment], len(holds)),
        kind=pieces.kind,
        team=terms.payers.schedules.at(payer, begins),
        tariff=tariff[pieces.segment],
        day=days.at(np.zeros_like(begins), begins),
        start_ms=begins,
        end_ms=segments.end_ms[pieces.segment],
        ms=pieces.ms,
        cost_nanos=cost_nanos,
    )


def _subjects(pools: Pools, holds: pd.DataFrame, payers: Payers) -> Subjects:
    none = np.zeros(len(pools.node_id), dtype=np.int64)
    ids = np.array([namespace_id(name) for name in payers.namespaces], dtype=np.int64)
    return Subjects(
        holds=len(holds),
        window_ms=np.concatenate([ints(holds, "window_start_ms"), pools.window_ms]),
        node_id=np.concatenate([ints(holds, "node_id"), pools.node_id]),
        gpu_model_id=np.concatenate([ints(holds, "gpu_model_id"), pools.gpu_model_id]),
        hold_id=np.concatenate([ints(holds, "hold_id"), none]),
        workload_id=np.concatenate([ints(holds, "workload_id"), none]),
        namespace_id=np.concatenate([ids[payers.namespace] if len(ids) else none[:0], none]),
    )


def _assert_whole(charges: pd.DataFrame, segments: Segments) -> None:
    """The charges' time is the capacity; their money was compared segment by segment."""
    if int(ints(charges, "gpu_ms").sum()) != int(segments.device_ms.sum()):
        message = "The charges do not sum to the capacity of the pools."
        raise AssertionError(message)
