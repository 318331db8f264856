"""What one metric says of devices and their parts: samples by row and instant."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.usage.device_rows import Rows, SeriesSpans, slices_of
from app.usage.kinds import ActivityBasis
from app.usage.samples import SampleSet

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Ratios are counted in billionths, so that their integrals over milliseconds stay exact integers.
NANO = 10**9
# Added to a ratio that outranks the others of its instant.
UNNAMED = 10 * NANO


@dataclass(frozen=True, slots=True)
class Reading:
    """Activity by one basis: row, instant and billionths; `UNNAMED` marks what wins its instant."""

    basis: ActivityBasis
    row: Int64s
    at_ms: Int64s
    nano: Int64s


def reading_of(basis: ActivityBasis, series: SeriesSpans, rows: Rows) -> Reading:
    """Return the samples of devices and parts; a divided device is the mean of its parts.

    Its parts weigh by the compute slices of their profile. What a series says of the whole device
    at an instant at which parts have samples is left out: under MIG that is a copy at best.
    """
    row, at, value, number = samples_by_row(series.device, series.samples)
    nano = np.rint(np.clip(value, 0.0, 1.0) * NANO).astype(np.int64)
    unnamed = (series.labels["pod"] == "").to_numpy()
    marked = nano + UNNAMED * unnamed[number]
    if np.array_equal(rows.board[series.device], series.device):
        return Reading(basis, row, at, marked)
    reach = int(at.max(initial=0)) + 1
    keys = row * reach + at
    if np.any(keys[1:] <= keys[:-1]):
        order = np.lexsort((marked, keys))
        order = order[np.append(keys[order][1:] != keys[order][:-1], True)]
        row, at, nano, number, keys = (one[order] for one in (row, at, nano, number, keys))
    profiles = series.labels["profile"]
    weights = {one: max(1, slices_of(one)) for one in profiles.unique()}
    slices = profiles.map(weights).to_numpy(dtype=np.int64)
    is_part = rows.board[row] != row
    whole = rows.board[row[is_part]] * reach + at[is_part]
    weight = slices[number[is_part]]
    # Instants of one part ascend, so that a stable sort only merges runs.
    order = np.argsort(whole, kind="stable")
    whole = whole[order]
    first = np.flatnonzero(np.append(True, whole[1:] != whole[:-1])[: len(whole)])
    total = np.add.reduceat(weight[order], first)
    active = np.add.reduceat((weight * nano[is_part])[order], first)
    shown = whole[first]
    board, instant = np.divmod(shown, reach)
    kept = is_part.copy()
    own = keys[~is_part]
    found = np.minimum(np.searchsorted(shown, own), max(len(shown) - 1, 0))
    kept[~is_part] = shown[found] != own if len(shown) else True
    return Reading(
        basis,
        np.concatenate([row[kept], board]),
        np.concatenate([at[kept], instant]),
        np.concatenate([nano[kept], (2 * active + total) // (2 * total)]),
    )


def samples_by_row(
    row_of_series: Int64s, samples: SampleSet
) -> tuple[Int64s, Int64s, npt.NDArray[np.float64], Int64s]:
    """Return row, instant, value and series number of all samples, in the order of rows.

    Series of row -1 are left out.
    """
    series = np.argsort(row_of_series, kind="stable")
    series = series[row_of_series[series] >= 0]
    length = np.diff(samples.first)[series]
    shift = samples.first[series] - (np.cumsum(length) - length)
    at = np.arange(int(length.sum()), dtype=np.int64) + np.repeat(shift, length)
    return (
        np.repeat(row_of_series[series], length),
        samples.at_ms[at],
        samples.value[at],
        np.repeat(series, length),
    )
