"""What all boards of a pool drew in a window, whoever held them."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.window import Window
from app.usage import frames
from app.usage.device_rows import homes, number_rows
from app.usage.pools import PoolIndex, pools_of_usage
from app.usage.samples import SampleSet
from app.usage.timelines import REACH_SCRAPES, EnergyTimeline, energy_timeline

Int64s = npt.NDArray[np.int64]


def board_energy(
    window: Window,
    pool_usage: pd.DataFrame,
    energy: SampleSet,
    nodes: pd.DataFrame,
    scrape_ms: int,
) -> pd.DataFrame:
    """Return `POOL_ENERGY`: one row a pool of which any board's counter speaks.

    Counters are united by board as for holds, so that the energy of a pool's holders is a part of
    the pool's: MIG instances and copies of an exporter repeat a board's counter. A board's time is
    measured from its first sample to its last; up to two scrapes that lack at an edge are none.
    A board that is told of in two pools at once is of the one in which it is told of longest.
    ``nodes`` has node_id and node_name of the cluster's nodes.
    """
    if not len(energy.labels) or pool_usage.empty:
        return frames.empty(frames.POOL_ENERGY)
    pools = pools_of_usage(pool_usage)
    (series,), rows = number_rows([energy])
    board_of_series = rows.board[series.device]
    timeline = energy_timeline(window, energy, board_of_series, len(rows))
    reach_ms = REACH_SCRAPES * scrape_ms
    stays = homes(pools, [series], nodes, rows, reach_ms)
    board, pool = (stays[name].to_numpy(dtype=np.int64) for name in ("board", "pool"))
    kept = ~_elsewhere(pools, board, pool)
    board, pool = board[kept], pool[kept]
    start, end = pools.start_ms[pool], pools.end_ms[pool]
    measured = _measured_ms(timeline, board, start, end, reach_ms)
    spoken = measured > 0
    board, pool, measured = board[spoken], pool[spoken], measured[spoken]
    if not len(board):
        return frames.empty(frames.POOL_ENERGY)
    start, end = start[spoken], end[spoken]
    return _by_pool(
        window, pools, pool, timeline.used(board, start, end), measured, measured == end - start
    )


def _elsewhere(pools: PoolIndex, board: Int64s, pool: Int64s) -> npt.NDArray[np.bool_]:
    """Say which stays of a board overlap a longer one; they come longest first."""
    stays = pd.DataFrame(
        {"board": board, "start": pools.start_ms[pool], "end": pools.end_ms[pool]}
    ).reset_index(names="place")
    several = stays[stays["board"].duplicated(keep=False)]
    pairs = several.merge(several, on="board", suffixes=("", "_of_other"))
    clash = (
        (pairs["place_of_other"] < pairs["place"])
        & (pairs["start"] < pairs["end_of_other"])
        & (pairs["start_of_other"] < pairs["end"])
    )
    return np.isin(stays["place"].to_numpy(), pairs.loc[clash, "place"].to_numpy())


def _measured_ms(
    timeline: EnergyTimeline, board: Int64s, start: Int64s, end: Int64s, reach_ms: int
) -> Int64s:
    """Return for how long of each span the counter of a board speaks."""
    first, last = timeline.first_at[board], timeline.last_at[board]
    begins = np.where(first <= start + reach_ms, start, np.minimum(first, end))
    finishes = np.where(last >= end - reach_ms, end, np.maximum(last, start))
    measured: Int64s = np.maximum(finishes - begins, 0)
    return measured


def _by_pool(
    window: Window,
    pools: PoolIndex,
    pool: Int64s,
    used_mj: Int64s,
    measured_ms: Int64s,
    whole: npt.NDArray[np.bool_],
) -> pd.DataFrame:
    sums = [np.zeros(len(pools), dtype=np.int64) for _ in range(3)]
    for total, part in zip(sums, (used_mj, measured_ms, whole.astype(np.int64)), strict=True):
        np.add.at(total, pool, part)
    energy_mj, measured, boards_measured = sums
    some = np.flatnonzero(measured)
    made = pd.DataFrame(
        {
            "window_start_ms": np.full(len(some), window.start_ms, dtype=np.int64),
            "node_id": pools.node_id[some],
            "gpu_model_id": pools.gpu_model_id[some],
            "energy_mj": energy_mj[some],
            "measured_ms": measured[some],
            "boards_measured": boards_measured[some],
            "boards": pools.devices[some],
        }
    )
    validated: pd.DataFrame = frames.POOL_ENERGY.validate(made)
    return validated
