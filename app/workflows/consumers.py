"""What the command line and the API read of consumers: who sent what, and what it cost them."""

from dataclasses import dataclass, fields
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection

from app.attribution.consumer_matching import MatchScope
from app.attribution.contract import Contract
from app.attribution.explanation import Explanation
from app.attribution.reassignment_explanation import ReassignedFacts, explain_reassigned
from app.chargeback.consumers import CONSUMER_KEYS, CONSUMERS
from app.store.consumers import ConsumerStore
from app.store.contracts import ContractStore
from app.store.costs import CostStore, IncompleteHours
from app.store.dimensions import Filters
from app.store.naming import NameStore
from app.store.reassignments import ReassignmentStore
from app.units.window import Window, from_ms
from app.usage.identity import cluster_id
from app.workflows.rating import contract_of

_NUMBERS = (
    *("prompt_tokens", "cached_prompt_tokens", "generation_tokens", "gateway_tokens"),
    "reassigned_nanos",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSums:
    """Rows of `chargeback.consumers.CONSUMERS`, and what the window lacks."""

    rows: pd.DataFrame
    hours: IncompleteHours


def consumer_sums(
    connection: Connection, window: Window, filters: Filters = (), *, zone: ZoneInfo
) -> ConsumerSums:
    """Return who sent tokens to which service, day by day, and what of its cost was given to them.

    A day belongs to the window in which its lines stand: that which contains its first whole hour.
    """
    names = NameStore(connection)
    clusters, teams = names.clusters(), names.teams()
    store = ReassignmentStore(connection)
    found = store.consumers(window)
    consumers = ConsumerStore(connection).consumers({row.consumer_id for row in found})
    workloads = store.workloads({row.workload_id for row in found})
    records = []
    for row in found:
        consumer = consumers[row.consumer_id]
        namespace, service = workloads.get((row.cluster_id, row.workload_id), ("", ""))
        records.append(
            {
                "day": f"{from_ms(row.window_start).astimezone(zone):%Y-%m-%d}",
                "cluster": clusters.get(row.cluster_id, ""),
                "namespace": namespace,
                "service": service,
                "gateway": consumer.gateway,
                "consumer": consumer.name,
                "team": teams.get(row.team_id, ""),
                "matched_by": MatchScope(row.scope).name.lower(),
                "weighted_tokens": row.weighted_tokens,
                "engine_tokens": row.engine_tokens,
                "reassigned_nanos": int(row.nanos),
                **{name: getattr(row, name) for name in _NUMBERS if name != "reassigned_nanos"},
            }
        )
    wanted = [
        record for record in records if all(str(record[name]) in values for name, values in filters)
    ]
    chosen = [cluster_id(name) for name in dict(filters).get("cluster", ())]
    hours = CostStore(connection, zone).incomplete_hours(window, chosen)
    frame = pd.DataFrame(wanted, columns=[*CONSUMERS.columns])
    dtypes = {name: str(column.dtype) for name, column in CONSUMERS.columns.items()}
    ordered = frame.astype(dtypes).sort_values([*CONSUMER_KEYS], ignore_index=True)
    return ConsumerSums(rows=CONSUMERS.validate(ordered), hours=hours)


def reassigned_explanation(
    connection: Connection, charge_id: int, currency: str
) -> tuple[str, Explanation] | None:
    """Return the team of a redistributed line and why it is what it is, None if it is none."""
    line = ReassignmentStore(connection).line(charge_id)
    if line is None:
        return None
    stored = ContractStore(connection).by_version(line.contract_version)
    contract = contract_of(stored) if stored else Contract()
    taken = {one.name for one in fields(ReassignedFacts)} & {one.name for one in fields(line)}
    facts = ReassignedFacts(
        **{name: getattr(line, name) for name in taken - {"service"}},
        service=f"{line.namespace}/{line.service}",
        currency=currency,
        weights=tuple(
            (model, contract.weights_at(model, line.day.start_ms)) for model in line.models
        ),
    )
    return line.team, explain_reassigned(facts)
