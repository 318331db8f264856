"""A billing day's first-hand costs as rows, for tests of what is derived from them."""

from collections.abc import Sequence

import pandas as pd

from app.attribution.charges import ChargeKind
from app.attribution.consumer_matching import MatchScope
from app.attribution.consumer_shares import ConsumerShare, DayShares, ServiceShares
from app.attribution.day_costs import (
    DAY_COSTS,
    HOLDERS,
    NOTHING_MEASURED,
    SERVED,
    MeasuredDay,
)
from app.attribution.derived_lines import DayFacts
from app.attribution.redistribution import BillingDay
from app.units.window import HOUR_MS
from app.usage import frames
from app.usage.consumers import GatewayConsumer
from app.usage.identity import cluster_id, gpu_model_id, namespace_id, team_id

# 2026-11-23T00:00:00Z.
MIDNIGHT_MS = 1_795_392_000_000
DAY = BillingDay(start_ms=MIDNIGHT_MS, end_ms=MIDNIGHT_MS + 24 * HOUR_MS)
NOBODY = DayShares(services=(), elsewhere=())
TEAMS = ("ads", "lab", "search", "platform", "unowned", "infra", "batch")
NAMESPACES = ("monitoring", "gpu-operator", "search-prod", "ads-prod")


def a_cost(
    team: str,
    nanos: int,
    kind: ChargeKind = ChargeKind.USED,
    *,
    cluster: str = "eu",
    gpu_model: str = "H100",
    namespace: str = "",
    workload: int = 0,
    gpu_ms: int = 0,
) -> dict[str, int]:
    """One row of `DAY_COSTS`; a cluster '' is none."""
    return {
        "cluster_id": cluster_id(cluster) if cluster else 0,
        "workload_id": workload,
        "namespace_id": namespace_id(namespace),
        "gpu_model_id": gpu_model_id(gpu_model),
        "team_id": team_id(team),
        "kind": int(kind),
        "nanos": nanos,
        "gpu_ms": gpu_ms,
    }


def a_day(
    rows: Sequence[dict[str, int]],
    *,
    shares: DayShares = NOBODY,
    metrics: MeasuredDay = NOTHING_MEASURED,
    day: BillingDay = DAY,
    teams: Sequence[str] = TEAMS,
) -> DayFacts:
    costs = pd.DataFrame([*rows], columns=[*DAY_COSTS.columns]).astype("int64")
    return DayFacts(
        day=day,
        costs=costs,
        shares=shares,
        clusters={cluster_id(name): name for name in ("eu", "us")},
        namespaces={namespace_id(name): name for name in NAMESPACES},
        teams={team_id(name): name for name in teams},
        metrics=metrics,
    )


def consumed(workload: int, **weights: int) -> DayShares:
    """A service whose tokens were sent by the teams."""
    consumers = tuple(
        ConsumerShare(
            consumer=GatewayConsumer(gateway="litellm", key_alias=f"{team}-key"),
            team=team,
            scope=MatchScope.SERVICE,
            prompt=weight,
            cached=0,
            generation=0,
            weight=weight,
        )
        for team, weight in weights.items()
    )
    service = ServiceShares(
        workload_id=workload, consumers=consumers, gateway_tokens=1, engine_tokens=1
    )
    return DayShares(services=(service,), elsewhere=())


def measured_by(
    holders: Sequence[tuple[str, int, int, int, str, int]],
    served: Sequence[tuple[str, int, int, int, int, int]] = (),
) -> MeasuredDay:
    """Who held (cluster, hour, workload, hold, team, ms), and what was served.

    Of the latter: cluster, hour, workload, requests, prompt and generation tokens.
    """
    held = [
        (
            cluster_id(row[0]),
            MIDNIGHT_MS + row[1] * HOUR_MS,
            row[2],
            row[3],
            team_id(row[4]),
            row[5],
        )
        for row in holders
    ]
    counted = [(cluster_id(row[0]), MIDNIGHT_MS + row[1] * HOUR_MS, *row[2:]) for row in served]
    return MeasuredDay(
        holders=pd.DataFrame(held, columns=[*HOLDERS.columns]).astype("int64"),
        served=pd.DataFrame(counted, columns=[*SERVED.columns]).astype("int64")
        if counted
        else frames.empty(SERVED),
    )
