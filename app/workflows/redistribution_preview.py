"""What an import would move between the consumers of services, without storing anything."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from app.attribution.charges import HELD_KINDS
from app.attribution.consumer_shares import DayShares
from app.attribution.contract import Contract
from app.attribution.redistribution import BillingDay, DayCost, billing_days
from app.store.redistribution import RedistributionStore
from app.units.window import Window
from app.usage.identity import cluster_id, team_id
from app.usage.models import ModelEntry
from app.workflows.redistributing import consumer_lines, shares_of_day

_KEY = ["workload_id", "namespace_id", "gpu_model_id", "team_id"]


class RedistributionPreview:
    """Follows first-hand charges that would change, and says what their redistribution would.

    ``contract`` is the one that would be in force.
    """

    def __init__(
        self,
        connection: Connection,
        billing_zone: tzinfo,
        contract: Contract,
        models: Sequence[ModelEntry] = (),
    ) -> None:
        self._connection = connection
        self._zone = billing_zone
        self._contract = contract
        self._models = models
        self._store = RedistributionStore(connection, billing_zone)
        self._shares: dict[BillingDay, DayShares] = {}
        self._changes: dict[BillingDay, dict[DayCost, int]] = {}

    def add(self, cluster: str, window: Window, before: pd.DataFrame, after: pd.DataFrame) -> None:
        """Note the first-hand charges of a cluster's window as they are and as they would be."""
        for day in billing_days(self._zone, window.start_ms, window.end_ms):
            if day not in self._shares:
                self._shares[day] = shares_of_day(
                    self._connection, day, self._contract, self._models
                )
                self._changes[day] = defaultdict(int)
            served = [one.workload_id for one in self._shares[day].services]
            for frame, sign in ((before, -1), (after, 1)):
                for cost in _costs(cluster_id(cluster), frame, day, served):
                    key = replace(cost, nanos=0)
                    self._changes[day][key] += sign * cost.nanos

    def moved(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return redistributed nanos by team, as stored and as they would be."""
        before: dict[int, int] = defaultdict(int)
        after: dict[int, int] = defaultdict(int)
        for day, shares in self._shares.items():
            for team, nanos in self._store.by_team(day).items():
                before[team] += nanos
            costs = dict(self._changes[day])
            served = [one.workload_id for one in shares.services]
            for cost in self._store.first_hand(day, served):
                key = replace(cost, nanos=0)
                costs[key] = costs.get(key, 0) + cost.nanos
            whole = [replace(key, nanos=nanos) for key, nanos in costs.items()]
            for line in consumer_lines(day, whole, shares):
                after[line.team_id] += line.nanos
        return dict(before), dict(after)

    def team_names(self) -> dict[int, str]:
        """Return the names of the teams that consumers belong to."""
        return {
            team_id(one.team): one.team
            for shares in self._shares.values()
            for service in shares.services
            for one in service.consumers
            if one.team
        }


def _costs(
    cluster: int, charges: pd.DataFrame, day: BillingDay, served: Sequence[int]
) -> list[DayCost]:
    """Sum the charges (`CHARGES`) of some workloads' holds that lie in the day."""
    start = charges["start_ms"].to_numpy()
    wanted = (start >= day.start_ms) & (start < day.end_ms)
    wanted &= charges["priced"].to_numpy(dtype=bool)
    wanted &= np.isin(charges["kind"].to_numpy(), HELD_KINDS)
    wanted &= np.isin(charges["workload_id"].to_numpy(), [*served])
    sums = charges.loc[wanted].groupby(_KEY, as_index=False).agg({"cost_nanos": "sum"})
    return [
        DayCost(
            cluster_id=cluster,
            **{name: int(row[name]) for name in _KEY},
            nanos=int(row["cost_nanos"]),
        )
        for row in sums.to_dict("records")
    ]
