"""What an import would move between teams by redistribution, without storing anything."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo

import pandas as pd
from sqlalchemy import Connection

from app.attribution.contract import Contract
from app.attribution.day_costs import day_costs, holders_of, summed
from app.attribution.derived_lines import DayFacts, derived_lines
from app.attribution.redistribution import BillingDay, billing_days
from app.store.redistribution import RedistributionStore
from app.units.window import Window
from app.usage.identity import cluster_id, team_id
from app.usage.models import ModelEntry
from app.workflows.redistributing import facts_of_day


@dataclass(slots=True)
class _Day:
    """A day as it is stored, and what would change under it: costs, and who held in which hours."""

    facts: DayFacts
    changes: list[pd.DataFrame] = field(default_factory=list)
    holders: list[pd.DataFrame] = field(default_factory=list)
    touched: list[tuple[int, Window]] = field(default_factory=list)


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
        self._days: dict[BillingDay, _Day] = {}

    def add(self, cluster: str, window: Window, before: pd.DataFrame, after: pd.DataFrame) -> None:
        """Note the first-hand charges of a cluster's window as they are and as they would be."""
        identity = cluster_id(cluster)
        for day in billing_days(self._zone, window.start_ms, window.end_ms):
            if day not in self._days:
                self._days[day] = _Day(
                    facts_of_day(self._connection, day, self._contract, self._models)
                )
            noted = self._days[day]
            served = [one.workload_id for one in noted.facts.shares.services]
            was = day_costs(identity, before, day, served)
            noted.changes += [
                was.assign(nanos=-was["nanos"], gpu_ms=-was["gpu_ms"]),
                day_costs(identity, after, day, served),
            ]
            noted.holders.append(holders_of(identity, after, day))
            noted.touched.append((identity, window))

    def moved(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return redistributed nanos by team, as stored and as they would be."""
        before: dict[int, int] = defaultdict(int)
        after: dict[int, int] = defaultdict(int)
        for day, noted in self._days.items():
            for team, nanos in self._store.by_team(day).items():
                before[team] += nanos
            for line in derived_lines(self._changed(noted), self._contract):
                after[line.team_id] += line.nanos
        return dict(before), dict(after)

    def team_names(self) -> dict[int, str]:
        """Return the names of the teams that the contract knows or that consumers belong to."""
        names = {team.name for team in self._contract.teams}
        for noted in self._days.values():
            for service in noted.facts.shares.services:
                names |= {one.team for one in service.consumers if one.team}
        return {team_id(name): name for name in names}

    def _changed(self, noted: _Day) -> DayFacts:
        facts = noted.facts
        stored = facts.metrics.holders
        for identity, window in noted.touched:
            start = stored["window_start_ms"]
            inside = (start >= window.start_ms) & (start < window.end_ms)
            stored = stored.loc[~inside | (stored["cluster_id"] != identity)]
        holders = pd.concat([stored, *noted.holders], ignore_index=True)
        return replace(
            facts,
            costs=summed([facts.costs, *noted.changes]),
            metrics=replace(facts.metrics, holders=holders),
            teams={**facts.teams, **self.team_names()},
        )
