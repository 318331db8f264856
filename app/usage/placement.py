"""Which devices a hold stands on: as its claim says, as an exporter names its pod, or its pool."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage.device_rows import Rows, SeriesSpans
from app.usage.kinds import ActivityScope, Sharing
from app.usage.pairs import Pairs, best_pairs, named_pairs, summed
from app.usage.pools import PoolIndex

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# By how many samples a claim names its devices: by more than any exporter.
_CLAIMED = 2**40
# Compute slices of a whole device: of an A30 or an RTX PRO 6000, and of the others.
_SLICES_OF_DEVICES = (4, 7)


@dataclass(frozen=True, slots=True)
class Placement:
    """Pairs of a hold (row number) and a row of the timeline, and per hold how to read them.

    The pairs' time stands for ``capacity`` devices, or parts, of the hold: its own, if it is
    placed; else as many as are averaged over.
    """

    hold: Int64s
    device: Int64s
    scope: Int64s
    capacity: Int64s


@dataclass(frozen=True, slots=True)
class Places:
    """Where devices are in a window: the pools, ``board`` and ``pool`` of each device, its rows.

    ``coarse`` says of each row of the timeline that it tells nothing of a divided device.
    """

    pools: PoolIndex
    homes: pd.DataFrame
    rows: Rows
    coarse: Bools


def place(
    places: Places, holds: pd.DataFrame, series: Sequence[SeriesSpans], sharers: Pairs
) -> Placement:
    """Return what each hold (`CUT_HOLDS`) is read from.

    A hold whose claim names its devices stands on these. Else an exclusive hold stands on the
    devices whose samples name its pod while it held, and one of MIG on such instances; a hold of a
    whole pool stands on all of it. A sharer that ``sharers`` tells apart is read by itself. Every
    other hold is read from the mean of the pool's devices that stand with nobody else meanwhile,
    since exporters name one arbitrary sharer.
    """
    modes = _modes(places, holds)
    claimed, listed = _claimed(places, holds)
    named = _named(places, holds, series, modes)
    alone = modes.exclusive & ~modes.mig
    sure = best_pairs(
        _joined(
            claimed.where(alone[claimed.hold]),
            named.where((listed[named.hold] == 0) | modes.mig[named.hold]),
        ),
        holds,
        np.maximum(modes.units, np.where(alone, listed, 0)),
    )
    count = np.bincount(sure.hold, minlength=len(holds))
    whole = alone & modes.whole & (listed == 0) & (count < modes.units) & modes.fills_pool
    told = np.bincount(sharers.hold, minlength=len(holds)) > 0
    told &= ~modes.exclusive & (count == 0)
    claimed = claimed.where((~alone & (count == 0) & ~told)[claimed.hold])
    sharers = sharers.where(told[sharers.hold])
    closed = (count > 0) & ~whole | told | (listed > 0)
    averaged = _averaged(places, holds, modes, np.flatnonzero(~closed), _joined(sure, claimed))
    pairs = _joined(sure, claimed, sharers, averaged)
    readable = ~(modes.divided[pairs.hold] & places.coarse[pairs.device])
    pairs = pairs.where(readable)
    paired = np.bincount(pairs.hold, minlength=len(holds))
    known = (listed > 0) & ~told
    scope = np.select(
        [paired == 0, (count > 0) | whole, told, known | modes.alone_in_pool],
        [
            ActivityScope.NONE,
            ActivityScope.DEVICE,
            ActivityScope.SHARER,
            ActivityScope.SHARED_DEVICE,
        ],
        default=ActivityScope.SHARED_POOL,
    )
    capacity = np.select(
        [(count > 0) | whole, told, known],
        [np.maximum(modes.units, np.where(alone, listed, 0)), modes.units, listed],
        default=np.minimum(paired, modes.pool_devices),
    )
    order = np.lexsort((pairs.device, pairs.hold))
    return Placement(
        pairs.hold[order],
        pairs.device[order],
        scope.astype(np.int64),
        np.maximum(capacity, 1).astype(np.int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Modes:
    """Per hold: how it holds, and what its pool is. A ``whole`` unit is a device or more.

    ``divided`` is what stands on instances of MIG, alone (``mig``) or in slots. A ``fraction`` may
    be a partition, of which a single pod is named.
    """

    units: Int64s
    exclusive: Bools
    mig: Bools
    divided: Bools
    fraction: Bools
    whole: Bools
    pool: Int64s
    pool_devices: Int64s

    @property
    def fills_pool(self) -> Bools:
        fills: Bools = self.units >= self.pool_devices
        return fills

    @property
    def alone_in_pool(self) -> Bools:
        alone: Bools = self.pool_devices == 1
        return alone


def _modes(places: Places, holds: pd.DataFrame) -> _Modes:
    pools = places.pools
    pool = pools.find(holds["node_id"].to_numpy(), holds["gpu_model_id"].to_numpy())
    devices = np.append(pools.devices, 0)[pool]
    units = np.maximum(holds["units"].to_numpy(), 1)
    sharing = holds["sharing"].to_numpy()
    mig = sharing == int(Sharing.MIG)
    share_num, share_den = holds["share_num"].to_numpy(), holds["share_den"].to_numpy()
    return _Modes(
        units=units,
        exclusive=holds["exclusive"].to_numpy(dtype=bool) | mig,
        mig=mig,
        divided=mig | (sharing == int(Sharing.SLICED_INSTANCE)),
        fraction=sharing == int(Sharing.FRACTION),
        whole=share_num >= share_den * units,
        pool=pool,
        pool_devices=devices,
    )


def _joined(*parts: Pairs) -> Pairs:
    return Pairs(
        np.concatenate([part.hold for part in parts]),
        np.concatenate([part.device for part in parts]),
        np.concatenate([part.samples for part in parts]),
    )


def _claimed(places: Places, holds: pd.DataFrame) -> tuple[Pairs, Int64s]:
    """Return holds and the devices that their claims name, and how many each names."""
    texts = holds["devices"].to_numpy()
    filled = np.flatnonzero(texts != "")
    names = [sorted(set(texts[hold].split(","))) for hold in filled]
    listed = np.zeros(len(holds), dtype=np.int64)
    listed[filled] = [len(one) for one in names]
    boards = places.rows.names.loc[places.rows.names["instance"] == "", "device"]
    device = pd.Index(boards).get_indexer(pd.Index([name for one in names for name in one]))
    hold = np.repeat(filled, listed[filled])
    row = np.append(boards.index.to_numpy(dtype=np.int64), -1)[device]
    shown = device >= 0
    samples = np.full(int(shown.sum()), _CLAIMED, dtype=np.int64)
    return Pairs(hold[shown].astype(np.int64), row[shown], samples), listed


def _named(
    places: Places, holds: pd.DataFrame, series: Sequence[SeriesSpans], modes: _Modes
) -> Pairs:
    """Return exclusive holds and what names their pod while they held, in their own pool.

    A hold of whole devices stands on them as a whole, one of MIG on instances only, and a fraction
    on partitions only.
    """
    pairs = named_pairs(holds, series)
    board = places.rows.board[pairs.device]
    home = pd.MultiIndex.from_frame(places.homes[["board", "pool"]])
    here = pd.MultiIndex.from_arrays([board, modes.pool[pairs.hold]]).isin(home)
    homeless = ~np.isin(board, places.homes["board"].to_numpy())
    mig = modes.mig[pairs.hold]
    as_whole = modes.whole[pairs.hold] & ~mig
    partition = modes.fraction[pairs.hold] & places.rows.partition[pairs.device]
    alone = modes.exclusive[pairs.hold] | partition
    fits = alone & (here | homeless) & (~mig | (board != pairs.device))
    fits &= _of_profile(places, holds, modes, pairs)
    row = np.where(as_whole, board, pairs.device)
    return summed(Pairs(pairs.hold[fits], row[fits], pairs.samples[fits]))


def _of_profile(places: Places, holds: pd.DataFrame, modes: _Modes, pairs: Pairs) -> Bools:
    """Say which instances have the compute slices of a hold of MIG, where any of its pod have.

    A pod may hold instances of several profiles: each is another hold.
    """
    num = holds["compute_num"].to_numpy()[pairs.hold]
    den = (holds["compute_den"].to_numpy() * modes.units)[pairs.hold]
    slices = places.rows.slices[pairs.device]
    fits = np.zeros(len(slices), dtype=bool)
    for in_device in _SLICES_OF_DEVICES:
        fits |= num * in_device == slices * den
    fits &= modes.mig[pairs.hold]
    any_fits = np.zeros(len(holds), dtype=bool)
    any_fits[pairs.hold[fits]] = True
    return fits | ~any_fits[pairs.hold]


def _averaged(
    places: Places, holds: pd.DataFrame, modes: _Modes, wanted: Int64s, placed: Pairs
) -> Pairs:
    """Pair holds with the devices of their pool that stand with no other hold meanwhile.

    A device on which instances or fractions are held may have more of them; one that is held whole
    or by a claim has no room. A hold of MIG stands on a divided device and others do not, where the
    pool has both.
    """
    board = places.rows.board
    divided = np.zeros(len(board), dtype=bool)
    divided[board[board != np.arange(len(board))]] = True
    want = pd.DataFrame({"hold": wanted, "pool": modes.pool[wanted]})
    there = places.homes.rename(columns={"board": "device"})
    pairs = want.merge(there, on="pool")[["hold", "device"]]
    on_instances = modes.divided[pairs["hold"].to_numpy()]
    fits = divided[pairs["device"].to_numpy()] == on_instances
    any_fits = pd.Series(fits).groupby(pairs["hold"].to_numpy()).transform("any").to_numpy()
    pairs = pairs.loc[fits | ~any_fits.astype(bool)].reset_index(drop=True)
    taken = pd.DataFrame({"other": placed.hold, "device": board[placed.device]})
    both = pairs.reset_index().merge(taken, on="device")
    start, end = holds["start_ms"].to_numpy(), holds["end_ms"].to_numpy()
    mine, other = both["hold"].to_numpy(), both["other"].to_numpy()
    clash = (start[mine] < end[other]) & (start[other] < end[mine])
    clash &= ~(modes.divided[mine] & modes.mig[other])
    clash &= ~(modes.fraction[mine] & modes.fraction[other])
    pairs = pairs.drop(index=both["index"].to_numpy()[clash])
    hold, device = (pairs[name].to_numpy(dtype=np.int64) for name in ("hold", "device"))
    return Pairs(hold, device, np.zeros(len(hold), dtype=np.int64))
