"""Faults that a ledger could have, each written out as a function. Most leave every sum right."""

import numpy as np
import pandas as pd

from app.attribution.charges import ChargeKind
from app.units.money import split_groups
from app.usage.identity import team_id


def split_by_the_whole_hour(charges: pd.DataFrame) -> pd.DataFrame:
    """Divide each pool's cost of the hour by time, whatever a device cost when it was held."""
    rows = charges[charges["priced"]].sort_values(["node_id", "charge_id"], ignore_index=True)
    nodes, group = np.unique(rows["node_id"], return_inverse=True)
    totals = rows.groupby("node_id")["cost_nanos"].sum().reindex(nodes).to_numpy()
    parts = split_groups(totals, group, rows["gpu_ms"].to_numpy())
    return pd.concat([rows.assign(cost_nanos=parts), charges[~charges["priced"]]])


def each_sharer_whole(hold_usage: pd.DataFrame) -> pd.DataFrame:
    """Count a device for each of its sharers in full."""
    raw = hold_usage["share_num"] * (hold_usage["end_ms"] - hold_usage["start_ms"])
    more = raw - hold_usage["held_ms"]
    return hold_usage.assign(held_ms=raw, idle_ms=hold_usage["idle_ms"] + more)


def priced_per_sharer(charges: pd.DataFrame, hold_usage: pd.DataFrame) -> pd.DataFrame:
    """Charge each sharer for the whole of a device."""
    more = each_sharer_whole(hold_usage).set_index("hold_id")["held_ms"]
    less = hold_usage.set_index("hold_id")["held_ms"]
    factor = charges["hold_id"].map(more / less).fillna(1.0)
    return charges.assign(cost_nanos=(charges["cost_nanos"] * factor).round().astype("int64"))


def with_idle_of(charges: pd.DataFrame, team: str) -> pd.DataFrame:
    """Book idle time on somebody else than its holder."""
    idle = charges["kind"] == ChargeKind.IDLE
    identity = team_id(team) if team else 0
    return charges.assign(team_id=charges["team_id"].mask(idle, identity).astype("int64"))


def gaps_idle(hold_usage: pd.DataFrame) -> pd.DataFrame:
    """Take a device of which no sample speaks for one that does nothing."""
    idle = hold_usage["idle_ms"] + hold_usage["unmeasured_ms"]
    return hold_usage.assign(idle_ms=idle, unmeasured_ms=0)


def gaps_free(pool_usage: pd.DataFrame) -> pd.DataFrame:
    """Take devices that nobody watched for devices that nobody held."""
    free = pool_usage["unallocated_ms"] + pool_usage["unobserved_ms"]
    return pool_usage.assign(unallocated_ms=free, unobserved_ms=0)


def all_on_one(charges: pd.DataFrame, team: str) -> pd.DataFrame:
    """Book everything on one team."""
    return charges.assign(team_id=np.full(len(charges), team_id(team), dtype=np.int64))
