"""Two days from a real Prometheus: tokens are counted, exactly, and never more than was served."""

from collections import Counter

import pytest

from app.simulator.pods import GPU_RESOURCE
from app.store.usage import UsageStore
from app.usage.identity import hold_id
from app.workflows.reading import inference_sums
from tests.real.two_days import UNWATCHED, WATCHED, WINDOW, ZONE, TwoDays
from tests.real.two_days_tokens import (
    CACHED,
    GENERATION,
    PROMPT,
    Counted,
    served_until,
    shortfalls,
    stored_buckets,
    stored_lines,
    stored_minutes,
)

pytestmark = pytest.mark.xdist_group("two days")


@pytest.fixture(scope="module")
def counted(two: TwoDays) -> Counted:
    return Counted(two)


@pytest.mark.parametrize("cluster", [WATCHED, UNWATCHED])
def test_tokens_are_exactly_the_growth_of_the_samples(
    two: TwoDays, counted: Counted, cluster: str
) -> None:
    expected = counted.lines()

    assert stored_lines(two, cluster) == expected
    assert len(expected) > 7 * 48
    resets = sum(one.resets for grown in counted.by_hour.values() for one in grown.values())
    assert resets > 100


@pytest.mark.parametrize("cluster", [WATCHED, UNWATCHED])
def test_latencies_are_exactly_the_growth_of_the_buckets(
    two: TwoDays, counted: Counted, cluster: str
) -> None:
    expected = counted.buckets()
    # A histogram that did not grow at all in an hour has no rows.
    grew = {(line.hour_ms, line.workload) for line, growth in expected.items() if growth}

    assert stored_buckets(two, cluster) == {
        line: growth for line, growth in expected.items() if (line.hour_ms, line.workload) in grew
    }


@pytest.mark.parametrize("quantity", [PROMPT, CACHED, GENERATION])
def test_what_is_missing_was_served_after_the_last_scrape_of_a_process(
    two: TwoDays, counted: Counted, quantity: str
) -> None:
    stored: Counter[tuple[str, str]] = Counter()
    for line, tokens in stored_lines(two, WATCHED).items():
        if line.quantity == quantity:
            stored[line.namespace, line.workload] += tokens
    uncounted = counted.uncounted(quantity)

    found = shortfalls(two, counted, quantity)

    assert found
    for service, shortfall in found.items():
        # First values that may be older than their hour are named lines instead of tokens.
        missing = shortfall.served - stored[service]
        assert missing == shortfall.unseen + uncounted[service], service
        assert 0 < shortfall.unseen < shortfall.served / 20


@pytest.mark.parametrize("quantity", [PROMPT, CACHED, GENERATION])
def test_never_more_is_counted_than_was_served_until_then(
    two: TwoDays, counted: Counted, quantity: str
) -> None:
    lines = stored_lines(two, WATCHED)

    for (namespace, workload), served in served_until(two, counted, quantity).items():
        total = 0
        for number, hour in enumerate(WINDOW.hours()):
            total += sum(
                tokens
                for line, tokens in lines.items()
                if (line.hour_ms, line.namespace, line.workload, line.quantity)
                == (hour.start_ms, namespace, workload, quantity)
            )
            assert total <= served[number]


def test_the_minutes_sum_to_their_hours(two: TwoDays) -> None:
    with two.engine.connect() as connection:
        sums = stored_minutes(connection)

    assert len(sums) > 90
    for name in ("prompt", "generation", "request"):
        assert (sums[f"{name}_minutes"] == sums[f"{name}_hour"]).all()


@pytest.mark.parametrize("cluster", [WATCHED, UNWATCHED])
def test_what_a_service_cost_is_what_its_pods_were_charged(two: TwoDays, cluster: str) -> None:
    """What a statement says of a service is the sum over its pods, and its tokens once."""
    lines = stored_lines(two, cluster)
    pods = {
        hold_id(cluster, one.pod_uid, GPU_RESOURCE): one.workload_name
        for one in two.fleet.truth.holds
        if one.workload_kind == "Deployment"
    }
    charges = two.charges(cluster)
    costs = charges.assign(service=charges["hold_id"].map(pods)).groupby("service")["cost_nanos"]
    filters = (("cluster", (cluster,)),)

    with two.engine.connect() as connection:
        rows = inference_sums(connection, WINDOW, ["service"], filters, zone=ZONE).rows

    assert dict(zip(rows["service"], rows["total_nanos"], strict=True)) == costs.sum().to_dict()
    for quantity, column in ((PROMPT, "prompt_tokens"), (GENERATION, "generation_tokens")):
        tokens: Counter[str] = Counter()
        for line, count in lines.items():
            tokens[line.workload] += count if line.quantity == quantity else 0
        assert dict(zip(rows["service"], rows[column], strict=True)) == dict(tokens)
    # Each of them has an hour with a gap, or time without a price.
    assert rows["cost_per_million_tokens"].isna().all()
    assert (rows["unit_cost_reason"] != "").all()


@pytest.mark.parametrize("cluster", [WATCHED, UNWATCHED])
def test_a_cold_start_lasts_from_binding_to_the_first_answer(two: TwoDays, cluster: str) -> None:
    expected = {
        hold_id(cluster, pod.uid, GPU_RESOURCE): (
            pod.runs[0].serving_ms // 1000 - pod.scheduled_ms // 1000
        )
        for pod in two.fleet.pods
        if pod.service is not None
        and pod.runs
        and WINDOW.start_ms <= pod.runs[0].serving_ms < WINDOW.end_ms
    }

    with two.engine.connect() as connection:
        store = UsageStore(connection, cluster)
        rows = store.cold_starts(WINDOW)

    assert dict(zip(rows["hold_id"], rows["seconds"], strict=True)) == expected
    assert len(expected) > 1
