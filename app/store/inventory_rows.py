"""Device counts and pools of nodes as rows: what is written of a count, what is read of lives."""

import pandas as pd

from app.units.window import Window
from app.usage import frames
from app.usage.inventory import PoolCount
from app.usage.pools import UNKNOWN_MODEL_ID


def amounts_of(count: PoolCount) -> dict[str, int]:
    """Return a count as the columns of its table."""
    return {
        "devices": count.devices,
        "allocatable_num": count.allocatable.numerator,
        "allocatable_den": count.allocatable.denominator,
        "compute_num": count.compute_allocatable.numerator,
        "compute_den": count.compute_allocatable.denominator,
    }


def in_turn(frame: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Let models of one node that replaced each other follow in time; drop who was not there.

    Devices that were shown before anything named them count as those that were named later: units
    of an unnamed device may be its slots. As many devices of another model from the instant on at
    which the first was shown no more are the same, named otherwise by a label or a driver: inside
    one window they are one pool, so that who holds them goes on holding them.
    """
    frame = _named_later(frame)
    by_node = frame.groupby("node_id")
    earliest, latest = by_node["first_ms"].transform("min"), by_node["last_ms"].transform("max")
    late = frame["first_ms"] > earliest
    replaced = frame["last_ms"] < latest
    # Only the model that came first also speaks for the time before its first count.
    frame["start_ms"] = frame["start_ms"].mask(late, frame["first_ms"])
    frame["end_ms"] = frame["end_ms"].mask(replaced, frame["last_ms"])
    inside = (frame["start_ms"] < window.end_ms) & (frame["end_ms"] > window.start_ms)
    kept = frame[inside & (frame["start_ms"] < frame["end_ms"])]
    kept = _one_name(kept.sort_values(["node_id", "start_ms", "gpu_model_id"], ignore_index=True))
    kept = kept.sort_values(["node_id", "gpu_model_id"], ignore_index=True)
    return kept[[*frames.POOLS.columns]]


def _named_later(frame: pd.DataFrame) -> pd.DataFrame:
    """Unite devices of an unknown model with the only model that their node names.

    Of several that it names they are the same, too, unless they are more.
    """
    unknown = frame["gpu_model_id"] == UNKNOWN_MODEL_ID
    of_node = frame["node_id"].map(frame[~unknown].groupby("node_id")["devices"].agg("sum"))
    several = frame["node_id"].map(frame[~unknown]["node_id"].value_counts()) > 1
    frame = frame[~(unknown & several & (frame["devices"] <= of_node))]
    unknown = frame["gpu_model_id"] == UNKNOWN_MODEL_ID
    before = frame[unknown].set_index("node_id")[["devices", "first_ms", "last_ms"]]
    named = frame[~unknown]
    alone = ~named["node_id"].duplicated(keep=False) & named["node_id"].isin(before.index)
    if not alone.any():
        return frame
    later = named[alone].join(before.add_prefix("unnamed_"), on="node_id")
    units, devices = later["unnamed_devices"], later["devices"]
    united = later.assign(
        devices=devices.where(units % devices == 0, devices.clip(lower=units)),
        first_ms=later[["first_ms", "unnamed_first_ms"]].min(axis="columns"),
        last_ms=later[["last_ms", "unnamed_last_ms"]].max(axis="columns"),
    )[[*frame.columns]]
    rest = frame[~frame["node_id"].isin(united["node_id"])]
    return pd.concat([rest, united.astype("int64")], ignore_index=True)


def _one_name(ordered: pd.DataFrame) -> pd.DataFrame:
    """Unite pools of one node that follow each other at once, under the last name."""
    follows = (
        (ordered["node_id"] == ordered["node_id"].shift())
        & (ordered["start_ms"] == ordered["end_ms"].shift())
        & (ordered["devices"] == ordered["devices"].shift())
    )
    if not follows.any():
        return ordered
    united: pd.DataFrame = ordered.groupby((~follows).cumsum(), as_index=False).agg(
        {**dict.fromkeys(ordered.columns, "last"), "start_ms": "first"}
    )
    return united
