from decimal import Decimal
from math import inf

import pandas as pd
import pytest
from sqlalchemy import Engine

from app.attribution.charges import ChargeKind
from app.store.charges import ChargeStore
from app.store.usage import UsageStore
from app.usage import frames
from app.usage.identity import model_id
from app.usage.kinds import LatencyMetric
from app.workflows.rating import rate_window
from app.workflows.reading import ChargeNotFoundError, cost_sums, explanation, inference_sums
from tests.store.builders import CLUSTER, an_hour, facts, ids
from tests.workflows.stored import UTC_ZONE, collect, contract, prices, span


@pytest.fixture
def rated(database: Engine) -> Engine:
    """Two hours: 8 GPUs at 3.00, 2 held by search, 1,500 tokens and 10 requests an hour."""
    collect(database, hours=2)
    prices(database)
    contract(database)
    rate_window(CLUSTER, span(2), engine=database, billing_zone=UTC_ZONE)
    return database


@pytest.mark.parametrize(
    "group_by",
    [(), ("team",), ("namespace", "gpu_model"), ("pod", "kind"), ("hour",), ("day", "charge")],
)
def test_the_whole_is_the_same_by_whatever_it_is_grouped(
    rated: Engine, group_by: tuple[str, ...]
) -> None:
    with rated.connect() as connection:
        rows = cost_sums(connection, span(2), group_by, zone=UTC_ZONE).rows

    money = [name for name in rows.columns if name.endswith("_nanos")]
    time = [name for name in rows.columns if name.endswith("_ms") and name != "unpriced_ms"]
    assert int(rows[money].to_numpy().sum()) == 48_000_000_000
    assert int(rows[time].to_numpy().sum()) == 16 * 3_600_000
    assert bool(rows["complete"].all())


def test_a_model_pays_for_the_gpus_that_its_service_held(rated: Engine) -> None:
    with rated.connect() as connection:
        rows = inference_sums(connection, span(2), ("model",), zone=UTC_ZONE).rows

    (row,) = rows.to_dict("records")
    assert row["model"] == "llama"
    assert (row["requests"], row["prompt_tokens"], row["generation_tokens"]) == (20, 2000, 1000)
    # 2 GPUs × 2 h × 3.00 = 12.00 over 20 requests and 3,000 tokens.
    assert row["total_nanos"] == 12_000_000_000
    assert row["cost_per_request"] == Decimal("0.6")
    assert row["cost_per_million_tokens"] == Decimal(4000)
    # Weights 1 and 4: 2,000 prompt tokens carry a third, 1,000 generated ones two thirds.
    assert row["cost_per_million_prompt_tokens"] == Decimal(2000)
    assert row["cost_per_million_generation_tokens"] == Decimal(8000)
    assert row["complete"]


def test_an_hour_that_lacks_makes_the_answer_incomplete(rated: Engine) -> None:
    with rated.connect() as connection:
        costs = cost_sums(connection, span(3), ("team",), zone=UTC_ZONE)
        inference = inference_sums(connection, span(3), ("model",), zone=UTC_ZONE)

    assert costs.hours.missing == 1
    assert not costs.rows["complete"].any()
    assert not inference.rows["complete"].any()


def test_percentiles_are_read_from_the_buckets_of_all_hours(database: Engine) -> None:
    # The engine of the second hour has other bounds.
    hours = ({0.1: 40, 0.5: 40, inf: 0}, {0.05: 20, 1.0: 0, inf: 0})
    collect(database, hours=2)
    with database.begin() as connection:
        for number, buckets in enumerate(hours):
            key = (an_hour(number).start_ms, ids()["workload_id"], model_id("llama"))
            rows = [(*key, int(LatencyMetric.TIME_TO_FIRST_TOKEN), *one) for one in buckets.items()]
            latencies = pd.DataFrame(rows, columns=[*frames.LATENCY_USAGE.columns])
            stored = facts(an_hour(number), latencies=latencies)
            UsageStore(connection, CLUSTER).replace(an_hour(number), stored)
    with database.connect() as connection:
        (row,) = inference_sums(connection, span(2), ("model",), zone=UTC_ZONE).rows.to_dict(
            "records"
        )

    # The 50th of 100: 20 lie up to 0.05, 40 up to 0.1; 0.05 + 0.05 × 30 / 40.
    assert row["ttft_p50_seconds"] == pytest.approx(0.0875)
    # The 95th: 60 lie up to 0.1, 40 up to 0.5; 0.1 + 0.4 × 35 / 40.
    assert row["ttft_p95_seconds"] == pytest.approx(0.45)


def test_filters_let_through_only_what_they_name(rated: Engine) -> None:
    with rated.connect() as connection:
        rows = cost_sums(
            connection, span(2), ("team",), (("team", ("search",)),), zone=UTC_ZONE
        ).rows
        other = inference_sums(
            connection, span(2), ("model",), (("team", ("ads",)),), zone=UTC_ZONE
        ).rows

    assert rows["team"].tolist() == ["search"]
    assert len(other) == 0


def test_every_charge_explains_itself(rated: Engine) -> None:
    with rated.connect() as connection:
        charges = ChargeStore(connection, CLUSTER, UTC_ZONE).within(span(2))
        explained = {
            ChargeKind(row.kind): explanation(connection, row.charge_id, "USD")
            for row in charges.itertuples()
        }

    team, idle = explained[ChargeKind.IDLE]
    text = idle.text()
    assert team == "search"
    for part in ("ranker-0", "nvidia.com/gpu", "3 USD per gpu-hour", "search-*", "960 of 960"):
        assert part in text, part
    payer, unallocated = explained[ChargeKind.UNALLOCATED]
    assert f"Team: {payer}, since the platform team pays for what nobody held" in unallocated.text()


def test_a_charge_that_is_not_there_is_refused(rated: Engine) -> None:
    with (
        rated.connect() as connection,
        pytest.raises(ChargeNotFoundError, match="000000000000007b"),
    ):
        explanation(connection, 123, "USD")
