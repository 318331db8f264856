"""From the pieces of priced segments to charges: each segment's cost split, then added up."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.charges import CHARGES, LineStep
from app.attribution.segments import NOBODY, Pieces
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
    """A segment's lines with their money; ``tariff``, ``team`` and ``day`` are numbers.

    ``measure`` is what the money is for: ``ms``, or the millijoules of energy, whose lines have no
    time.
    """

    subject: Int64s
    kind: Int64s
    team: Int64s
    tariff: Int64s
    day: Int64s
    start_ms: Int64s
    end_ms: Int64s
    ms: Int64s
    cost_nanos: Int64s
    measure: Int64s

    def only(self, rows: npt.NDArray[np.bool_] | Int64s) -> "Lines":
        """Return some of the lines."""
        return Lines(**{one.name: getattr(self, one.name)[rows] for one in fields(Lines)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Identities by the numbers that `Lines` use."""

    cluster_id: int
    team_ids: Int64s
    day_starts_ms: Int64s
    price_ids: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Time of pools with its price and its money: whole segments, or what is covered of them.

    ``ms`` are device-milliseconds; ``tariff`` numbers the prices of `Names`.
    """

    pool: Int64s
    start_ms: Int64s
    end_ms: Int64s
    tariff: Int64s
    ms: Int64s
    cost_nanos: Int64s

    def followed_by(self, other: "Parts") -> "Parts":
        """Return both, the other's parts behind these."""
        pairs = {
            one.name: (getattr(self, one.name), getattr(other, one.name)) for one in fields(Parts)
        }
        return Parts(**{name: np.concatenate(pair) for name, pair in pairs.items()})


def split_costs(parts: Parts, pieces: Pieces) -> tuple[Pieces, Int64s]:
    """Return the pieces in the order of their lines, and the nanos of each.

    ``pieces.segment`` numbers the parts. A part's cost is split by its pieces' milliseconds. Ties
    go by kind, then in the order in which the caller numbered the holds.
    """
    order = (pieces.segment * _KINDS + pieces.kind) * (int(pieces.hold.max(initial=0)) + 2)
    pieces = pieces.only(np.argsort(order + pieces.hold))
    nanos = split_groups(parts.cost_nanos, pieces.segment, pieces.ms)
    if int(nanos.sum()) != int(parts.cost_nanos.sum()):
        message = "The lines of the segments do not sum to their costs."
        raise AssertionError(message)
    return pieces, nanos


def charges_of(
    lines: Lines, subjects: Subjects, names: Names, step: LineStep = LineStep.FIRST_HAND
) -> pd.DataFrame:
    """Add lines up to charges: one for each subject, kind, team, price and day.

    First-hand lines without a price have no money; lines of another step are money only.
    """
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
    subject, price_id = lines.subject[one], price_ids[price[one]]
    columns: dict[str, Int64s] = {
        "window_start_ms": subjects.window_ms[subject],
        "node_id": subjects.node_id[subject],
        "gpu_model_id": subjects.gpu_model_id[subject],
        "hold_id": subjects.hold_id[subject],
        "workload_id": subjects.workload_id[subject],
        "namespace_id": subjects.namespace_id[subject],
        "team_id": names.team_ids[lines.team[one]],
        "kind": lines.kind[one],
        "price_id": price_id,
        "step": np.full(len(one), int(step), dtype=np.int64),
        "start_ms": _reduce(np.minimum, lines.start_ms[order], first),
        "end_ms": _reduce(np.maximum, lines.end_ms[order], first),
        "gpu_ms": _reduce(np.add, lines.ms[order], first),
        "cost_nanos": _reduce(np.add, lines.cost_nanos[order], first),
    }
    charge_id = charge_ids_of(lines.only(one), subjects, names, step)
    priced = (price_id != 0) | (step is not LineStep.FIRST_HAND)
    frame = pd.DataFrame({"charge_id": charge_id, **columns, "priced": priced})
    return CHARGES.validate(frame)


def charge_ids_of(
    lines: Lines, subjects: Subjects, names: Names, step: LineStep = LineStep.FIRST_HAND
) -> Int64s:
    """Return for each line the identity of the charge that it is added up to."""
    return mix64(
        names.cluster_id,
        *(
            values[lines.subject]
            for values in (
                subjects.window_ms,
                subjects.node_id,
                subjects.gpu_model_id,
                subjects.hold_id,
            )
        ),
        lines.kind,
        names.team_ids[lines.team],
        names.price_ids[lines.tariff],
        np.full(len(lines.kind), int(step), dtype=np.int64),
        names.day_starts_ms[lines.day],
    )


def subject_of(pieces: Pieces, pool: Int64s, holds: int) -> Int64s:
    """Return the number of what each piece is about: its hold, or the pool behind the holds."""
    return np.where(pieces.hold == NOBODY, pool + holds, pieces.hold)


def joined(parts: list[Lines]) -> Lines:
    """Return the lines of all parts."""
    names = [field.name for field in fields(Lines)]
    return Lines(**{name: np.concatenate([getattr(one, name) for one in parts]) for name in names})


def _reduce(function: np.ufunc, values: Int64s, first: Int64s) -> Int64s:
    if not len(first):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(function.reduceat(values, first), dtype=np.int64)
