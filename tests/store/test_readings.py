"""What detectors, unit costs and explanations read."""

import pandas as pd
import pytest
from sqlalchemy import Connection

from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract, Platform, Team
from app.attribution.service_costs import SERVICE_COSTS, SERVICE_TOKENS
from app.findings.idle_hold import IDLE_HOLD_EVIDENCE
from app.findings.unallocated_pool import UNALLOCATED_POOL_EVIDENCE
from app.pricing.rows import ModelCount
from app.store.charges import ChargeStore
from app.store.contracts import ContractStore
from app.store.explanations import ExplanationStore
from app.store.inference import InferenceStore, Period
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.prices import PriceStore
from app.store.usage import UsageStore
from app.store.waste import WasteStore
from app.store.windows import RatingVersions, WindowStore
from app.units.window import HOUR_MS, OPEN_MS, Window
from app.usage import frames
from app.usage.kinds import ActivityBasis
from tests.store.builders import (
    CLUSTER,
    H100,
    NOON_MS,
    UTC,
    a_charge,
    a_count,
    a_hold,
    a_node,
    an_hour,
    charges,
    facts,
    hold_usage,
    ids,
    model_id,
    token_usage,
)
from tests.store.test_prices import a_price

TWO_HOURS = Window(an_hour().start, an_hour(1).end)


@pytest.fixture
def rated(ledger: Connection) -> Connection:
    """Two hours: a pod holds 2 of 8 devices, active for half an hour in all; 6 are unallocated."""
    inventory = InventoryStore(ledger, CLUSTER)
    inventory.put_node(a_node(), [a_count()], at_ms=NOON_MS)
    inventory.put_hold(a_hold(start_ms=NOON_MS - HOUR_MS))
    names = NameStore(ledger)
    ContractStore(ledger).apply(
        "teams:",
        applied_ms=0,
        file_name="teams.yaml",
        sha256="",
        contract=Contract(
            teams=(Team(name="search", cost_center="CC-1"),), platform=(Platform(team="platform"),)
        ),
        zone=UTC,
    )
    names.ensure_models(["llama"])
    PriceStore(ledger).import_rows(
        [a_price()], imported_ms=NOON_MS, file_name="prices.csv", sha256=""
    )
    for after in (0, 1):
        hour = an_hour(after)
        UsageStore(ledger, CLUSTER).replace(
            hour,
            facts(
                hour,
                holds=hold_usage(hour, active_ms=HOUR_MS // 4, memory_used_max_mib=40.0 + after),
                noted=("gpu-1",),
            ),
        )
        ChargeStore(ledger, CLUSTER, UTC).replace(hour, lines(hour))
    store = WindowStore(ledger, CLUSTER)
    store.mark_rated(store.within(TWO_HOURS), RatingVersions(rating=1, prices=1, contract=0))
    return ledger


def lines(hour: Window) -> pd.DataFrame:
    quarter = HOUR_MS // 4
    price_id = a_price().price_id
    return charges(
        a_charge(hour, ChargeKind.USED, cost_nanos=750, gpu_ms=quarter, price_id=price_id),
        a_charge(hour, ChargeKind.IDLE, cost_nanos=5_250, gpu_ms=7 * quarter, price_id=price_id),
        a_charge(
            hour, ChargeKind.UNALLOCATED, cost_nanos=18_000, gpu_ms=6 * HOUR_MS, team="platform"
        ),
    )


def test_the_evidence_on_a_hold_is_the_sum_of_its_hours(rated: Connection) -> None:
    evidence = WasteStore(rated, CLUSTER).idle_holds(TWO_HOURS)

    IDLE_HOLD_EVIDENCE.validate(evidence)
    row = evidence.iloc[0].to_dict()
    assert (row["pod"], row["workload"], row["team"], row["node"]) == (
        "ranker-0",
        "ranker",
        "search",
        "gpu-1",
    )
    assert (row["held_ms"], row["held_wall_ms"]) == (4 * HOUR_MS, 2 * HOUR_MS)
    assert (row["active_ms"], row["idle_ms"]) == (HOUR_MS // 2, 4 * HOUR_MS - HOUR_MS // 2)
    assert (row["idle_nanos"], row["unpriced_ms"]) == (10_500, 0)
    assert (row["held_from_ms"], row["held_until_ms"]) == (NOON_MS - HOUR_MS, OPEN_MS)
    assert row["memory_used_max_mib"] == 41.0


def test_a_hold_that_sources_name_differently_is_one_row_of_evidence(rated: Connection) -> None:
    later = an_hour(1)
    usage = hold_usage(later).assign(workload_id=7)
    UsageStore(rated, CLUSTER).replace(later, facts(later, holds=usage))

    (held_ms,) = WasteStore(rated, CLUSTER).idle_holds(TWO_HOURS)["held_ms"].tolist()

    assert held_ms == 4 * HOUR_MS


def test_the_evidence_on_a_pool_is_the_sum_of_its_hours(rated: Connection) -> None:
    evidence = WasteStore(rated, CLUSTER).unallocated_pools(TWO_HOURS)

    UNALLOCATED_POOL_EVIDENCE.validate(evidence)
    row = evidence.iloc[0].to_dict()
    assert (row["capacity_ms"], row["held_ms"], row["unallocated_ms"]) == (
        16 * HOUR_MS,
        4 * HOUR_MS,
        12 * HOUR_MS,
    )
    assert (row["unallocated_nanos"], row["unpriced_ms"], row["team"]) == (36_000, 0, "platform")
    assert (row["exists_until_ms"], row["devices"]) == (OPEN_MS, 8)


def test_time_that_was_never_rated_is_unpriced_evidence(rated: Connection) -> None:
    ChargeStore(rated, CLUSTER, UTC).replace(an_hour(1), charges())
    store = WasteStore(rated, CLUSTER)

    assert store.idle_holds(TWO_HOURS)["unpriced_ms"].tolist() == [2 * HOUR_MS]
    assert store.unallocated_pools(TWO_HOURS)["unpriced_ms"].tolist() == [6 * HOUR_MS]


def test_no_usage_is_no_evidence(ledger: Connection) -> None:
    store = WasteStore(ledger, CLUSTER)

    IDLE_HOLD_EVIDENCE.validate(store.idle_holds(TWO_HOURS))
    UNALLOCATED_POOL_EVIDENCE.validate(store.unallocated_pools(TWO_HOURS))


@pytest.mark.parametrize(
    ("period", "starts"),
    [(Period.HOUR, [NOON_MS, NOON_MS + HOUR_MS]), (Period.DAY, [NOON_MS - 12 * HOUR_MS])],
)
def test_services_are_summed_by_period(
    rated: Connection, period: Period, starts: list[int]
) -> None:
    store = InferenceStore(rated, UTC)

    tokens, costs = store.tokens(TWO_HOURS, period), store.costs(TWO_HOURS, period)

    SERVICE_TOKENS.validate(tokens)
    SERVICE_COSTS.validate(costs)
    assert (tokens["period_ms"].tolist(), costs["period_ms"].tolist()) == (starts, starts)
    assert tokens["prompt_tokens"].sum() == 2_000
    assert tokens["cached_prompt_tokens"].isna().all()
    assert costs["cost_nanos"].sum() == 12_000
    assert (costs["gpu_ms"].sum(), costs["active_ms"].sum()) == (4 * HOUR_MS, HOUR_MS // 2)
    assert costs["measured_ms"].sum() == 4 * HOUR_MS
    assert costs["unobserved_ms"].sum() == 0


def test_unobserved_time_of_a_services_pool_counts_against_its_unit_costs(
    rated: Connection,
) -> None:
    hour = an_hour(1)
    unobserved = a_charge(hour, ChargeKind.UNOBSERVED, cost_nanos=None, gpu_ms=5, team="platform")
    elsewhere = a_charge(hour, ChargeKind.UNOBSERVED, gpu_ms=7, team="platform", node="gpu-2")
    ChargeStore(rated, CLUSTER, UTC).replace(hour, charges(unobserved, elsewhere))

    costs = InferenceStore(rated, UTC).costs(TWO_HOURS, Period.HOUR)

    assert costs["unobserved_ms"].tolist() == [0, 5]
    assert costs["gpu_ms"].tolist() == [2 * HOUR_MS, 0]


def test_services_are_named_with_who_pays(rated: Connection) -> None:
    services = InferenceStore(rated, UTC).services(TWO_HOURS)

    assert services.to_dict("records") == [
        {
            "workload_id": ids()["workload_id"],
            "cluster": CLUSTER,
            "namespace": "search-prod",
            "workload": "ranker",
            "team": "search",
            "cost_center": "CC-1",
        }
    ]


def test_without_services_there_are_empty_frames(ledger: Connection) -> None:
    store = InferenceStore(ledger, UTC)

    SERVICE_TOKENS.validate(store.tokens(TWO_HOURS, Period.DAY))
    SERVICE_COSTS.validate(store.costs(TWO_HOURS, Period.DAY))
    assert store.services(TWO_HOURS).empty
    assert store.latencies(TWO_HOURS, Period.DAY).empty
    assert store.cold_starts(TWO_HOURS, Period.DAY).empty


def test_latencies_and_cold_starts_are_summed_by_period(ledger: Connection) -> None:
    infinite = float("inf")
    for after in (0, 1):
        hour = an_hour(after)
        key = (hour.start_ms, ids()["workload_id"])
        latencies = pd.DataFrame(
            [(*key, model_id("llama"), 1, bound, 3) for bound in (0.5, infinite)],
            columns=[*frames.LATENCY_USAGE.columns],
        )
        starts = pd.DataFrame(
            [(*key, ids()["hold_id"], 30.0 + after, 12.5)], columns=[*frames.COLD_STARTS.columns]
        )
        UsageStore(ledger, CLUSTER).replace(
            hour,
            facts(hour, tokens=token_usage(hour), latencies=latencies, cold_starts=starts),
        )
    store = InferenceStore(ledger, UTC)

    latencies = store.latencies(TWO_HOURS, Period.DAY)

    assert dict(zip(latencies["le"], latencies["increments"], strict=True)) == {0.5: 6, infinite: 6}
    assert store.cold_starts(TWO_HOURS, Period.DAY)["seconds"].tolist() == [30.0, 31.0]


def test_a_charge_is_explained_by_everything_it_rests_on(rated: Connection) -> None:
    used = a_charge(an_hour(), ChargeKind.USED, cost_nanos=750, price_id=a_price().price_id).iloc[0]

    record = ExplanationStore(rated).charge(int(used["charge_id"]))

    assert record is not None
    assert (record.cluster, record.team, record.namespace) == (CLUSTER, "search", "search-prod")
    assert (record.kind, record.cost_nanos, record.gpu_ms) == (ChargeKind.USED, 750, HOUR_MS // 4)
    assert record.price_id == a_price().price_id
    assert record.labels == (("app", "ranker-0"), ("team", "search"))
    assert record.hold is not None
    assert (record.hold.pod, record.hold.units, record.hold.end_ms) == ("ranker-0", 2, OPEN_MS)
    assert record.usage is not None
    assert (record.usage.active_ms, record.usage.basis) == (
        HOUR_MS // 4,
        ActivityBasis.GR_ENGINE_ACTIVE,
    )
    assert [(span.devices, span.held_ms) for span in record.spans] == [(8, 2 * HOUR_MS)]
    assert [(one.family, one.seen, one.expected) for one in record.coverage] == [
        ("activity", 960, 960)
    ]
    assert record.notes == ("gap gpu-1: no sample",)
    assert (record.pool.node, record.pool.gpu_model) == ("gpu-1", H100)
    assert record.pool.on_node == (ModelCount(H100, 8),)
    assert record.versions is not None
    assert (record.versions.revision, record.versions.price_version) == (1, 1)


def test_a_line_that_nobody_held_is_explained_without_a_hold(rated: Connection) -> None:
    line = a_charge(an_hour(), ChargeKind.UNALLOCATED, team="platform").iloc[0]

    record = ExplanationStore(rated).charge(int(line["charge_id"]))

    assert record is not None
    assert (record.hold, record.usage, record.namespace, record.labels) == (None, None, "", ())


def test_a_charge_that_nobody_has_is_none(rated: Connection) -> None:
    assert ExplanationStore(rated).charge(1) is None
