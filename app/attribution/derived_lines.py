"""The whole redistribution of a billing day, in one pass over its first-hand cost.

Step 1 gives what nobody used, step 2 the platform's own namespaces, step 3 services to the
consumers of their tokens. Every weight is first-hand: no step sees what another gave, so their
order changes nothing. A cost is debited once: a service whose consumers are known is step 3's, also
in a namespace of the platform.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

import numpy as np
import pandas as pd

from app.attribution.charges import HELD_KINDS, ChargeKind
from app.attribution.consumer_shares import DayShares
from app.attribution.contract import (
    UNOWNED,
    Contract,
    Policies,
    SharedMetric,
    SharedPolicy,
    UnallocatedPolicy,
    millionths,
)
from app.attribution.day_costs import (
    DAY_COSTS,
    NOTHING_MEASURED,
    Measured,
    MeasuredDay,
    measured,
)
from app.attribution.redistribution import (
    BillingDay,
    DayCost,
    RedistributedLine,
    RedistributionStep,
    Share,
    WeightBasis,
    redistribute,
)
from app.usage.identity import team_id

# What nobody held, as the database stores it.
_NOBODY_KINDS = (
    int(ChargeKind.UNALLOCATED),
    int(ChargeKind.STRANDED),
    int(ChargeKind.UNOBSERVED),
)
_UNUSED = int(ChargeKind.COMMITMENT_UNUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """What a day's redistribution is made from.

    ``costs`` are `DAY_COSTS` of all clusters, in which the workloads of ``shares`` have their
    identity. ``clusters``, ``namespaces`` and ``teams`` are names by identity, and ``metrics`` is
    needed where a policy of the day weighs by pods, requests or tokens.
    """

    day: BillingDay
    costs: pd.DataFrame
    shares: DayShares
    clusters: Mapping[int, str]
    namespaces: Mapping[int, str]
    teams: Mapping[int, str]
    metrics: MeasuredDay = NOTHING_MEASURED


def derived_lines(facts: DayFacts, contract: Contract) -> tuple[RedistributedLine, ...]:
    """Return the lines of steps 1 to 3 of the day by the policies at its beginning.

    The lines of each step sum to 0. Costs whose policy leaves them with the platform, and costs
    for which nobody has a weight, have no lines.
    """
    DAY_COSTS.validate(facts.costs)
    receivers = _Receivers(facts, contract)
    known = {
        one.workload_id: [consumer.share() for consumer in one.consumers]
        for one in facts.shares.services
    }
    consumed = {key for key, shares in known.items() if any(one.weight for one in shares)}
    return (
        *redistribute(
            RedistributionStep.NOBODY,
            facts.day,
            _nobodys(facts, receivers.platform),
            receivers.of_nobodys,
        ),
        *redistribute(
            RedistributionStep.PLATFORM,
            facts.day,
            _platforms(facts, contract, receivers.platform, consumed),
            receivers.of_platforms,
        ),
        *redistribute(
            RedistributionStep.CONSUMERS,
            facts.day,
            _services(facts, consumed),
            lambda cost: known[cost.workload_id],
        ),
    )


def redistributes(contract: Contract) -> bool:
    """Say whether any day may have lines by the contract, at any time and in any cluster."""
    return bool(contract.consumer_sources) or any(
        one.unallocated is not UnallocatedPolicy.PLATFORM or one.shared is not SharedPolicy.PLATFORM
        for one in contract.policies
    )


def policies_of(day: BillingDay, contract: Contract, clusters: Sequence[str]) -> list[Policies]:
    """Return the policies that count on a day, in some clusters and for what lies in no one."""
    return [contract.policies_at(day.start_ms, name) for name in ("", *clusters)]


class _Receivers:
    """Who receives a cost by the policies, and with which weight."""

    def __init__(self, facts: DayFacts, contract: Contract) -> None:
        self._facts = facts
        self._contract = contract
        day = facts.day
        self.platform = frozenset(
            team_id(one.team)
            for one in contract.platform
            if one.valid_from_ms < day.end_ms and day.start_ms < one.valid_to_ms
        )
        held = np.isin(facts.costs["kind"].to_numpy(), HELD_KINDS)
        self._held = facts.costs.loc[held]
        self._measured = cache(self._measure)
        self._proportional = cache(self._first_hand)
        self._present = cache(self._having_cost)

    def of_nobodys(self, cost: DayCost) -> Sequence[Share]:
        """Return the receivers of a cost of step 1."""
        policies = self._policies(cost)
        if policies.unallocated is UnallocatedPolicy.PLATFORM:
            return ()
        weights = self._proportional(cost.cluster_id, cost.gpu_model_id)
        return self._shares(weights, policies, WeightBasis.PROPORTIONAL)

    def of_platforms(self, cost: DayCost) -> Sequence[Share]:
        """Return the receivers of a cost of step 2."""
        policies = self._policies(cost)
        match policies.shared:
            case SharedPolicy.PLATFORM:
                return ()
            case SharedPolicy.FIXED:
                return [
                    Share(
                        key=(name,),
                        team_id=team_id(name),
                        weight=millionths(percent),
                        basis=WeightBasis.FIXED,
                    )
                    for name, percent in policies.shared_percent
                ]
            case SharedPolicy.PROPORTIONAL:
                weights = self._proportional(cost.cluster_id, cost.gpu_model_id)
                return self._shares(weights, policies, WeightBasis.PROPORTIONAL)
            case SharedPolicy.EVEN:
                weights = self._present(cost.cluster_id)
                return self._shares(weights, policies, WeightBasis.EVEN)
            case SharedPolicy.METRIC:
                metric = policies.shared_metric or SharedMetric.GPU_SECONDS_HELD
                weights = {
                    team: value
                    for (cluster, team), value in self._measured(metric).items()
                    if cluster == cost.cluster_id
                }
                return self._shares(weights, policies, WeightBasis[metric.name])

    def _policies(self, cost: DayCost) -> Policies:
        cluster = self._facts.clusters.get(cost.cluster_id, "")
        return self._contract.policies_at(self._facts.day.start_ms, cluster)

    def _shares(
        self, weights: Mapping[int, int], policies: Policies, basis: WeightBasis
    ) -> list[Share]:
        """Return those who take part: the named teams, else all but the platform and nobody."""
        named = {team_id(name) for name in policies.teams}
        out = {0, team_id(UNOWNED)} | (set() if named else self.platform)
        return [
            Share(
                key=(self._facts.teams.get(team, str(team)),), team_id=team, weight=w, basis=basis
            )
            for team, w in weights.items()
            if w > 0 and team not in out and (not named or team in named)
        ]

    def _first_hand(self, cluster: int, gpu_model: int) -> dict[int, int]:
        """Return first-hand nanos by team; 0 stands for all clusters, and for all GPU models."""
        rows = self._held
        if cluster:
            rows = rows.loc[rows["cluster_id"] == cluster]
        if gpu_model:
            rows = rows.loc[rows["gpu_model_id"] == gpu_model]
        sums: dict[int, int] = defaultdict(int)
        for team, nanos in zip(rows["team_id"].tolist(), rows["nanos"].tolist(), strict=True):
            sums[team] += nanos
        return dict(sums)

    def _having_cost(self, cluster: int) -> dict[int, int]:
        """Return 1 for every team that had a first-hand cost in the cluster."""
        return {team: 1 for team, nanos in self._proportional(cluster, 0).items() if nanos > 0}

    def _measure(self, metric: SharedMetric) -> Measured:
        return measured(metric, self._facts.costs, self._facts.metrics)


def _nobodys(facts: DayFacts, platform: frozenset[int]) -> list[DayCost]:
    """Return what nobody held, and unused commitments that no team bought for itself."""
    kind, team = facts.costs["kind"].to_numpy(), facts.costs["team_id"].to_numpy()
    unbought = (kind == _UNUSED) & np.isin(team, [0, *platform])
    rows = facts.costs.loc[np.isin(kind, _NOBODY_KINDS) | unbought]
    return _costs(rows, ("cluster_id", "gpu_model_id", "team_id", "kind"))


def _platforms(
    facts: DayFacts, contract: Contract, platform: frozenset[int], consumed: set[int]
) -> list[DayCost]:
    """Return what the platform was charged for its own namespaces, by namespace."""
    block = contract.platform_at(facts.day.start_ms)
    patterns = block.namespaces if block else ()
    own = [
        key
        for key, name in facts.namespaces.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    costs = facts.costs
    wanted = np.isin(costs["kind"].to_numpy(), HELD_KINDS)
    wanted &= np.isin(costs["namespace_id"].to_numpy(), own)
    wanted &= np.isin(costs["team_id"].to_numpy(), [*platform])
    wanted &= ~np.isin(costs["workload_id"].to_numpy(), [*consumed])
    return _costs(costs.loc[wanted], ("cluster_id", "namespace_id", "gpu_model_id", "team_id"))


def _services(facts: DayFacts, consumed: set[int]) -> list[DayCost]:
    costs = facts.costs
    wanted = np.isin(costs["kind"].to_numpy(), HELD_KINDS)
    wanted &= np.isin(costs["workload_id"].to_numpy(), [*consumed])
    return _costs(
        costs.loc[wanted],
        ("cluster_id", "workload_id", "namespace_id", "gpu_model_id", "team_id"),
    )


def _costs(rows: pd.DataFrame, key: tuple[str, ...]) -> list[DayCost]:
    """Sum up by the key; what is not part of it is 0."""
    sums = rows.groupby([*key], as_index=False)[["nanos"]].sum()
    missing = [name for name in ("workload_id", "namespace_id", "gpu_model_id") if name not in key]
    return [
        DayCost(**dict.fromkeys(missing, 0), **{str(name): int(row[name]) for name in row})
        for row in sums.to_dict("records")
    ]
