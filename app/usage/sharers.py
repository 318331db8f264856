"""What pods that share a device are told to do with it: each a track of its own."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage.device_rows import Rows, SeriesSpans
from app.usage.kinds import ActivityBasis
from app.usage.pairs import Pairs, named_pairs
from app.usage.readings import NANO, Reading, samples_by_row

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tracks:
    """Rows of a timeline after those of the devices: one a hold and device that it shares.

    ``board`` is the device of each track; ``pairs`` has the holds that a sample speaks for.
    """

    reading: Reading
    pairs: Pairs
    board: Int64s

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.board)


def sharer_tracks(holds: pd.DataFrame, told: SeriesSpans, rows: Rows) -> Tracks:
    """Return what the holders of fractions did with their part of a device.

    The sharing software tells the part of the whole device; a holder of half of it that uses half
    was active all the time. What a pod uses beyond its share is nobody's: it was active, not more.
    """
    shared = np.flatnonzero(~holds["exclusive"].to_numpy(dtype=bool))
    few = holds.iloc[shared].reset_index(drop=True)
    numbered = SeriesSpans(told.labels, np.arange(len(told.labels), dtype=np.int64), told.samples)
    found = named_pairs(few, [numbered])
    hold, board = shared[found.hold], rows.board[told.device[found.device]]
    tracks = pd.DataFrame({"hold": hold, "board": board}).drop_duplicates(ignore_index=True)
    number = pd.MultiIndex.from_frame(tracks).get_indexer(pd.MultiIndex.from_arrays([hold, board]))
    row, at, value = _samples(told, found.device, len(rows) + number)
    units = np.maximum(holds["units"].to_numpy(), 1)
    whole = (holds["share_den"].to_numpy() * units)[tracks["hold"].to_numpy()]
    share = holds["share_num"].to_numpy()[tracks["hold"].to_numpy()]
    of_track = row - len(rows)
    nano = np.rint(value * NANO).astype(np.int64) * whole[of_track] // share[of_track]
    return Tracks(
        Reading(ActivityBasis.HAMI_CONTAINER, row, at, np.minimum(nano, NANO)),
        Pairs(
            tracks["hold"].to_numpy(dtype=np.int64),
            np.arange(len(rows), len(rows) + len(tracks), dtype=np.int64),
            np.ones(len(tracks), dtype=np.int64),
        ),
        tracks["board"].to_numpy(dtype=np.int64),
    )


def _samples(
    told: SeriesSpans, series: Int64s, row: Int64s
) -> tuple[Int64s, Int64s, npt.NDArray[np.float64]]:
    """Return row, instant and value; a series may be told for several rows."""
    parts = []
    turn = pd.Series(series).groupby(series).cumcount().to_numpy()
    for number in range(int(turn.max(initial=-1)) + 1):
        mine = turn == number
        row_of_series = np.full(len(told.labels), -1, dtype=np.int64)
        row_of_series[series[mine]] = row[mine]
        parts.append(samples_by_row(row_of_series, told.samples)[:3])
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, nothing.astype(np.float64)
    rows, instants, values = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return rows, instants, values
