"""From the pieces of priced segments to charges: each segment's cost split, then added up."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.charges import CHARGES
from app.attribution.segments import NOBODY, Pieces, Segments
from app.attribution.tariffs import Tariff
from app.pricing.cost import segment_costs
from app.units.identity import mix64
from app.units.money import split_groups

Int64s = npt.NDArray[np.int64]

# More than the largest charge kind, for packing kinds into one sort key.
_KINDS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """What charges are about, as columns: every hold in a window, behind them every pool in one.

    ``holds`` says how many of the rows are holds.
    """

    holds: int
    window_ms: Int64s
    node_id: Int64s
    gpu_model_id: Int64s
    hold_id: Int64s
    workload_id: Int64s
    namespace_id: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A segment's lines with their money; ``tariff``, ``team`` and ``day`` are numbers."""

    subject: Int64s
    kind: Int64s
    team: Int64s
    tariff: Int64s
    day: Int64s
    start_ms: Int64s
    end_ms: Int64s
    ms: Int64s
    cost_nanos: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Identities by the numbers that `Lines` use."""

    cluster_id: int
    team_ids: Int64s
    day_starts_ms: Int64s
    price_ids: Int64s


def split_costs(
    segments: Segments, pieces: Pieces, tariff: Int64s, tariffs: tuple[Tariff, ...]
) -> tuple[Pieces, Int64s]:
    """Return the pieces in the order of their lines, and the nanos of each.

    A segment's cost is computed once and split by its pieces' milliseconds. Ties go by kind, then
    in the order in which the caller numbered the holds. The costs are 0 where no price counts.
    """
    order = (pieces.segment * _KINDS + pieces.kind) * (int(pieces.hold.max(initial=0)) + 2)
    pieces = pieces.only(np.argsort(order + pieces.hold))
    rates = [one.nanos_per_ms for one in tariffs]
    costs = segment_costs(segments.device_ms, tariff, rates)
    parts = split_groups(costs, pieces.segment, pieces.ms)
    if int(parts.sum()) != int(costs.sum()):
        message = "The lines of the segments do not sum to their costs."
        raise AssertionError(message)
    return pieces, parts


def charges_of(lines: Lines, subjects: Subjects, names: Names) -> pd.DataFrame:
    """Add lines up to charges: one for each subject, kind, team, price and day."""
    price_ids, price_of_tariff = np.unique(names.price_ids, return_inverse=True)
    price = price_of_tariff[lines.tariff]
    key = lines.subject * _KINDS + lines.kind
    for numbers, count in (
        (lines.team, len(names.team_ids)),
        (price, len(price_ids)),
        (lines.day, len(names.day_starts_ms)),
    ):
        key = key * max(count, 1) + numbers
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], np.diff(key) != 0])[: len(key)])
    one = order[first]
    subject, kind = lines.subject[one], lines.kind[one]
    team_id, price_id = names.team_ids[lines.team[one]], price_ids[price[one]]
    columns: dict[str, Int64s] = {
        "window_start_ms": subjects.window_ms[subject],
        "node_id": subjects.node_id[subject],
        "gpu_model_id": subjects.gpu_model_id[subject],
        "hold_id": subjects.hold_id[subject],
        "workload_id": subjects.workload_id[subject],
        "namespace_id": subjects.namespace_id[subject],
        "team_id": team_id,
        "kind": kind,
        "price_id": price_id,
        "step": np.zeros(len(one), dtype=np.int64),
        "start_ms": _reduce(np.minimum, lines.start_ms[order], first),
        "end_ms": _reduce(np.maximum, lines.end_ms[order], first),
        "gpu_ms": _reduce(np.add, lines.ms[order], first),
        "cost_nanos": _reduce(np.add, lines.cost_nanos[order], first),
    }
    charge_id = mix64(
        names.cluster_id,
        *(columns[name] for name in ("window_start_ms", "node_id", "gpu_model_id", "hold_id")),
        *(columns[name] for name in ("kind", "team_id", "price_id", "step")),
        names.day_starts_ms[lines.day[one]],
    )
    frame = pd.DataFrame({"charge_id": charge_id, **columns, "priced": price_id != 0})
    return CHARGES.validate(frame)


def subject_of(pieces: Pieces, pool: Int64s, holds: int) -> Int64s:
    """Return the number of what each piece is about: its hold, or the pool behind the holds."""
    return np.where(pieces.hold == NOBODY, pool + holds, pieces.hold)


def _reduce(function: np.ufunc, values: Int64s, first: Int64s) -> Int64s:
    if not len(first):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(function.reduceat(values, first), dtype=np.int64)
