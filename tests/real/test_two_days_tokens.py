"""Two days from a real Prometheus: tokens are counted, exactly, and never more than was served."""

from collections import Counter

import pytest

from tests.real.two_days import UNWATCHED, WATCHED, WINDOW, TwoDays
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
