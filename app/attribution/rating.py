"""Rating: from the usage of any number of windows to their charges."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.capacity import Capacity, capacity_of, ints
from app.attribution.charges import CHARGES, LineStep
from app.attribution.committed import Spans, spans_of
from app.attribution.contract import RatingPolicy
from app.attribution.days import day_starts
from app.attribution.energy import energy_tariffs_of, measured_energy
from app.attribution.lines import Names, Subjects, charges_of
from app.attribution.owners import Ownership
from app.attribution.payers import Payers, payers_of
from app.attribution.priced_lines import Card, LineTerms, OwnEnergy, PricedLines, priced_lines
from app.attribution.rating_notes import card_notes, rated_notes, rating_notes, unplaced_notes
from app.attribution.schedules import Schedules, Step
from app.attribution.segments import Segments
from app.attribution.tariffs import Place, Pools, tariffs_of
from app.pricing.book import PriceBook
from app.pricing.inputs import PriceInputs
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
    ``allotments`` are of the cluster's windows (`ALLOTMENTS`), None where nothing is committed;
    ``energy`` has the tariffs of owned boards, None where there are none; ``pool_energy``
    (`POOL_ENERGY`) counts only with them. The ``card`` is read while the contract rates by it:
    without one all is unpriced then.
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
    card: PriceBook | None = None
    energy: PriceInputs | None = None
    allotments: pd.DataFrame | None = None
    pool_energy: pd.DataFrame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """Frames of `CHARGES` and `NOTES`, and the names of all teams that the charges name.

    ``waiting`` are hours whose commitments could not be allotted: they are rated without.
    """

    charges: pd.DataFrame
    notes: pd.DataFrame
    teams: tuple[str, ...]
    waiting: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedLines:
    """The lines of all segments before they are added up to charges, and what they name."""

    capacity: Capacity
    terms: LineTerms
    made: PricedLines
    names: Names
    subjects: Subjects


def rate(given: RatingInput) -> Rated:
    """Return the charges of the windows: every device-millisecond of the pools on one line.

    Segments are cut where a price, an owner, a policy or the billing day changes, only in the pools
    concerned; each one's cost is split over what was used, idle, unmeasured, unallocated, stranded
    and unobserved in it. What nothing prices is a charge without money. Raises
    `UsageMismatchError` if the holds' time is not the pools' held time.
    """
    rated = rated_lines(given)
    if rated is None:
        nothing = frames.empty(CHARGES)
        return Rated(charges=nothing, notes=frames.empty(frames.NOTES), teams=())
    made, subjects, names = rated.made, rated.subjects, rated.names
    charges = charges_of(made.lines, subjects, names)
    if made.variance is not None:
        variance = charges_of(made.variance, subjects, names, LineStep.CARD_VARIANCE)
        charges = pd.concat([charges, variance[variance["cost_nanos"] != 0]], ignore_index=True)
    _assert_whole(charges, rated.capacity.segments)
    return Rated(
        charges=charges,
        notes=_notes(given, rated.capacity, rated.terms, made, charges),
        teams=tuple(sorted({*rated.terms.payers.teams} - {""})),
    )


def rated_lines(given: RatingInput) -> RatedLines | None:
    """Return the lines that `rate` adds up to charges; None where there is no capacity."""
    capacity = capacity_of(
        given.pool_usage, given.hold_usage, given.ownership.contract.share_policies()
    )
    if not len(capacity.segments.pool):
        return None
    terms = _terms(given, capacity)
    return RatedLines(
        capacity=capacity,
        terms=terms,
        made=priced_lines(capacity, terms),
        names=Names(
            cluster_id=cluster_id(given.cluster),
            team_ids=np.array([team_id(name) for name in terms.payers.teams], dtype=np.int64),
            day_starts_ms=np.array(terms.days, dtype=np.int64),
            price_ids=terms.numbers().ids,
        ),
        subjects=_subjects(capacity.pools, capacity.holds, terms.payers),
    )


def _terms(given: RatingInput, capacity: Capacity) -> LineTerms:
    segments, pools = capacity.segments, capacity.pools
    start_ms, end_ms = int(segments.start_ms.min()), int(segments.end_ms.max())
    place = Place(cluster=given.cluster, nodes=given.nodes, gpu_models=given.gpu_models)
    hold_id = ints(capacity.holds, "hold_id")
    return LineTerms(
        tariffs=tariffs_of(pools, place, given.price_book, start_ms, end_ms),
        payers=payers_of(hold_id, given.holds, given.ownership, given.cluster, start_ms, end_ms),
        days=day_starts(given.billing_zone, start_ms, end_ms),
        start_ms=start_ms,
        end_ms=end_ms,
        spans=_spans(given, pools),
        energy=_energy(given, capacity, place, start_ms, end_ms),
        card=_card(given, pools, place, start_ms, end_ms),
    )


def _spans(given: RatingInput, pools: Pools) -> Spans | None:
    if given.allotments is None or given.allotments.empty:
        return None
    return spans_of(given.allotments, pools)


def _energy(
    given: RatingInput, capacity: Capacity, place: Place, start_ms: int, end_ms: int
) -> OwnEnergy | None:
    if given.energy is None or not given.energy.energy:
        return None
    return OwnEnergy(
        tariffs=energy_tariffs_of(capacity.pools, place, given.energy, start_ms, end_ms),
        measured=measured_energy(
            capacity.pools, capacity.holds, given.hold_usage, given.pool_energy
        ),
    )


def _card(
    given: RatingInput, pools: Pools, place: Place, start_ms: int, end_ms: int
) -> Card | None:
    """Return the card where the contract ever rates by it in the span."""
    contract = given.ownership.contract
    edges = {at for one in contract.policies for at in (one.valid_from_ms, one.valid_to_ms)}
    steps = [
        Step(at, int(contract.policies_at(at, given.cluster).rating is RatingPolicy.RATE_CARD))
        for at in sorted({start_ms, *(at for at in edges if start_ms < at < end_ms)})
    ]
    if not any(step.code for step in steps):
        return None
    return Card(
        tariffs=tariffs_of(pools, place, given.card or PriceBook(()), start_ms, end_ms),
        counts=Schedules(np.zeros(1, dtype=np.int64), [steps], start_ms, end_ms),
    )


def _notes(
    given: RatingInput,
    capacity: Capacity,
    terms: LineTerms,
    made: PricedLines,
    charges: pd.DataFrame,
) -> pd.DataFrame:
    names = dict(zip(given.nodes["node_id"], given.nodes["node_name"], strict=True))
    more = card_notes(made.unpriced_ms, capacity.pools, names, given.gpu_models)
    if made.energy is not None:
        more += rated_notes(made.energy, capacity.pools, names, given.gpu_models)
        more += unplaced_notes(made.energy, capacity.pools, names, given.gpu_models)
    return rating_notes(
        charges,
        names,
        given.gpu_models,
        terms.payers,
        terms.tariffs.unknown_nodes,
        more,
        terms.tariffs.reasons,
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
