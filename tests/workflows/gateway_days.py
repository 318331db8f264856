"""A ledger with services in two clusters and the tokens that a gateway counted for them."""

from dataclasses import dataclass
from datetime import tzinfo

import pandas as pd
from sqlalchemy import Engine, text

from app.attribution.charges import CHARGES, ChargeKind
from app.attribution.contract import Consumer, ConsumerSource, Contract, Team
from app.attribution.redistribution import billing_days
from app.store.charges import ChargeStore
from app.store.consumers import ConsumerStore
from app.store.fact_frames import CONSUMER_USAGE, TOKEN_USAGE, write_facts
from app.store.locking import ensure_partitions
from app.store.naming import NameStore
from app.store.redistribution import RedistributionStore
from app.units.identity import mix64
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.consumers import GatewayConsumer, GatewayRoute
from app.usage.identity import (
    cluster_id,
    gpu_model_id,
    model_id,
    namespace_id,
    node_id,
    team_id,
    workload_id,
)
from app.usage.inventory import Workload
from app.workflows.redistributing import Redistributed, redistribute_days

# 2026-11-23T00:00:00Z.
MIDNIGHT_MS = 1_795_392_000_000
CONTRACT = Contract(
    teams=(Team(name="search"), Team(name="ads")),
    consumers=(
        Consumer(source="litellm", alias="search-key", team="search"),
        Consumer(source="litellm", alias="ads-key", team="ads"),
    ),
    consumer_sources=(ConsumerSource(source="litellm"),),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A workload that serves one model; its pods are charged to the provider."""

    cluster: str
    name: str
    model: str = "llama"
    namespace: str = "serving"

    @property
    def workload(self) -> Workload:
        return Workload(
            namespace=self.namespace, kind="Deployment", name=self.name, uid=f"uid-{self.name}"
        )

    @property
    def identity(self) -> int:
        return workload_id(self.cluster, self.workload)


DAY = Window(from_ms(MIDNIGHT_MS), from_ms(MIDNIGHT_MS + 24 * HOUR_MS))
EU, US = Service("eu", "llama-eu"), Service("us", "llama-us")
OTHER = Service("us", "mistral-us", model="mistral")


def hour(number: int) -> Window:
    """The hour that begins so many hours after midnight in UTC."""
    start = MIDNIGHT_MS + number * HOUR_MS
    return Window(from_ms(start), from_ms(start + HOUR_MS))


@dataclass(frozen=True, slots=True)
class Days:
    """Puts charges and tokens into a ledger as rating and collecting do, and redistributes."""

    engine: Engine
    zone: tzinfo

    def charge(self, window: Window, *lines: pd.DataFrame, cluster: str = "eu") -> None:
        """Store an hour's first-hand lines, and mark its day."""
        frame = pd.concat(lines, ignore_index=True)
        with self.engine.begin() as connection:
            NameStore(connection).ensure_team_names(["provider", "second", "third"])
            ChargeStore(connection, cluster, self.zone).replace(window, frame)
            store = RedistributionStore(connection, self.zone)
            store.mark(billing_days(self.zone, window.start_ms, window.end_ms))

    def serve(self, window: Window, service: Service, prompt: int, generation: int) -> None:
        """Store what an engine counted."""
        row = dict.fromkeys(TOKEN_USAGE.schema.columns, pd.NA) | {
            "window_start_ms": window.start_ms,
            "workload_id": service.identity,
            "model_id": model_id(service.model),
            "prompt_tokens": prompt,
            "generation_tokens": generation,
            "carried": False,
        }
        with self.engine.begin() as connection:
            NameStore(connection).ensure_cluster(service.cluster)
            NameStore(connection).ensure_models([service.model])
            connection.execute(
                text(
                    "INSERT INTO workloads (cluster_id, workload_id, namespace, kind, name, uid)"
                    " VALUES (:c, :w, :n, 'Deployment', :name, :uid) ON CONFLICT DO NOTHING"
                ),
                {
                    "c": cluster_id(service.cluster),
                    "w": service.identity,
                    "n": service.namespace,
                    "name": service.name,
                    "uid": service.workload.uid,
                },
            )
            ensure_partitions(connection, window)
            dtypes = {name: str(one.dtype) for name, one in TOKEN_USAGE.schema.columns.items()}
            write_facts(
                connection,
                TOKEN_USAGE,
                cluster_id(service.cluster),
                pd.DataFrame([row])[[*dtypes]].astype(dtypes),
            )

    def send(
        self,
        window: Window,
        generation: int,
        *,
        key: str = "",
        model: str = "llama",
        prompt: int = 0,
        cached: int = 0,
        cluster: str = "eu",
        gateway: str = "litellm",
    ) -> None:
        """Store what a gateway counted for one key."""
        consumer = GatewayConsumer(gateway=gateway, key_alias=key)
        route = GatewayRoute(model=model)
        row = dict.fromkeys(CONSUMER_USAGE.schema.columns, pd.NA) | {
            "window_start_ms": window.start_ms,
            "consumer_id": consumer.consumer_id,
            "route_id": route.route_id,
            "prompt_tokens": prompt,
            "cached_prompt_tokens": cached,
            "generation_tokens": generation,
            "carried": False,
        }
        with self.engine.begin() as connection:
            NameStore(connection).ensure_cluster(cluster)
            ConsumerStore(connection).put([consumer], [route])
            ensure_partitions(connection, window)
            dtypes = {name: str(one.dtype) for name, one in CONSUMER_USAGE.schema.columns.items()}
            write_facts(
                connection,
                CONSUMER_USAGE,
                cluster_id(cluster),
                pd.DataFrame([row])[[*dtypes]].astype(dtypes),
            )
            days = billing_days(self.zone, window.start_ms, window.end_ms)
            RedistributionStore(connection, self.zone).mark(days)

    def redistribute(self, contract: Contract = CONTRACT) -> Redistributed:
        return redistribute_days(contract, engine=self.engine, billing_zone=self.zone)

    def lines(self) -> list[tuple[object, ...]]:
        """Return every redistributed line: service, team, consumer, nanos, in a fixed order."""
        query = (
            "SELECT w.name, coalesce(t.name, ''), coalesce(c.key_alias, '-'), l.cost_nanos,"
            " l.charge_id, l.started_at FROM charges AS l JOIN workloads AS w USING (workload_id)"
            " LEFT JOIN teams AS t USING (team_id) LEFT JOIN consumers AS c USING (consumer_id)"
            " WHERE l.step = 3 ORDER BY 1, l.started_at, 2, 3, 4"
        )
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]


def a_line(
    window: Window,
    service: Service | None,
    nanos: int | None,
    *,
    kind: ChargeKind = ChargeKind.USED,
    team: str = "provider",
    start_ms: int | None = None,
) -> pd.DataFrame:
    """One first-hand line of a service's pod, or of nobody's GPU."""
    cluster = service.cluster if service else "eu"
    values = {
        "window_start_ms": window.start_ms,
        "node_id": node_id(cluster, "node-1"),
        "gpu_model_id": gpu_model_id("H100"),
        "hold_id": 17 if service else 0,
        "workload_id": service.identity if service else 0,
        "namespace_id": namespace_id(service.namespace) if service else 0,
        "team_id": team_id(team),
        "kind": int(kind),
        "price_id": 0 if nanos is None else 7,
        "step": 0,
        "start_ms": window.start_ms if start_ms is None else start_ms,
        "end_ms": window.end_ms,
        "gpu_ms": HOUR_MS,
        "cost_nanos": nanos or 0,
    }
    identity = int(mix64(*(pd.Series([value]).to_numpy() for value in values.values()))[0])
    frame = pd.DataFrame([{"charge_id": identity, **values}]).astype("int64")
    frame["priced"] = nanos is not None
    return frame[[*CHARGES.columns]]


def in_two_clusters(days: Days) -> Days:
    """A service in two clusters, one without consumers, a model elsewhere, no identity at times."""
    days.charge(
        hour(1),
        a_line(hour(1), EU, 1_000_000_007),
        a_line(hour(1), EU, 500_000_000, kind=ChargeKind.IDLE),
        a_line(hour(1), EU, 3, kind=ChargeKind.UNMEASURED, team="second"),
        a_line(hour(1), EU, None, kind=ChargeKind.USED, team="third"),
        a_line(hour(1), None, 9_000_000_000, kind=ChargeKind.UNALLOCATED),
    )
    days.charge(
        hour(20),
        a_line(hour(20), US, 2_000_000_001),
        a_line(hour(20), OTHER, 77),
        cluster="us",
    )
    days.serve(hour(1), EU, prompt=700, generation=400)
    days.serve(hour(20), US, prompt=300, generation=600)
    days.serve(hour(20), OTHER, prompt=1, generation=1)
    days.send(hour(1), 30, key="search-key", prompt=600, cached=500)
    days.send(hour(2), 500, key="search-key")
    days.send(hour(3), 200, key="ads-key", model="openai/Llama", cluster="us")
    days.send(hour(4), 40, key="nobody-s-key")
    days.send(hour(5), 130, key="")
    days.send(hour(6), 10**9, key="search-key", model="gpt-4o")
    days.send(hour(7), 10**9, key="search-key", gateway="kong")
    return days
