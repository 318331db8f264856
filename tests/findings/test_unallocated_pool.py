"""Unallocated pools: both sides of every threshold, young and gone nodes, unobserved time."""

import pytest

from app.findings.unallocated_pool import detect_unallocated_pools
from app.findings.values import Detection, WastePolicy
from app.units.window import HOUR_MS
from tests.findings.builders import DAY, USD, a_pool_row, pools

POLICY = WastePolicy()


def detect(**changes: str | float) -> Detection:
    return detect_unallocated_pools(pools(a_pool_row(**changes)), DAY, POLICY)


def test_six_of_eight_gpus_held_by_nobody_for_a_day_are_found() -> None:
    (finding,) = detect().findings

    assert finding.subject.node == "gpu-2"
    assert finding.subject.team == "platform"
    assert finding.wasted_nanos == 144 * USD
    assert finding.per_day_nanos == 144 * USD
    assert finding.wasted_gpu_ms == 144 * HOUR_MS
    assert finding.since_ms == DAY.start_ms
    figures = {figure.name: figure.value for figure in finding.evidence}
    assert figures["unallocated_ratio"] == 0.75
    assert figures["held_ratio"] == 0.25


@pytest.mark.parametrize(("unallocated", "count"), [(96, 1), (95, 0)])
def test_half_of_the_capacity_must_be_unallocated(unallocated: int, count: int) -> None:
    assert len(detect(unallocated_ms=unallocated * HOUR_MS).findings) == count


@pytest.mark.parametrize(("hours", "count"), [(6, 1), (5, 0)])
def test_a_node_that_just_came_up_is_given_time(hours: int, count: int) -> None:
    capacity = 8 * hours * HOUR_MS

    found = detect(capacity_ms=capacity, held_ms=0, unallocated_ms=capacity)

    assert len(found.findings) == count


def test_a_young_nodes_money_a_day_is_that_of_its_own_hours() -> None:
    capacity = 8 * 12 * HOUR_MS

    (finding,) = detect(
        capacity_ms=capacity, held_ms=0, unallocated_ms=capacity, unallocated_nanos=96 * USD
    ).findings

    assert finding.per_day_nanos == 192 * USD
    assert finding.since_ms == DAY.start_ms + 12 * HOUR_MS


def test_a_node_that_is_gone_has_nothing_to_save() -> None:
    assert detect(exists_until_ms=DAY.end_ms - 1).findings == ()


def test_stranded_time_is_not_what_somebody_could_have_taken() -> None:
    found = detect(held_ms=0, unallocated_ms=0, stranded_ms=192 * HOUR_MS, unallocated_nanos=0)

    assert found == Detection((), ())


@pytest.mark.parametrize(("unobserved", "findings", "cannot_tell"), [(38, 1, 0), (39, 0, 1)])
def test_too_much_unobserved_time_cannot_be_told(
    unobserved: int, findings: int, cannot_tell: int
) -> None:
    # A fifth of 192 GPU-hours is 38.4.
    found = detect(
        held_ms=0, unobserved_ms=unobserved * HOUR_MS, unallocated_ms=(192 - unobserved) * HOUR_MS
    )

    assert len(found.findings) == findings
    assert len(found.cannot_tell) == cannot_tell


def test_without_a_price_the_money_is_unknown_and_not_zero() -> None:
    (finding,) = detect(unpriced_ms=1, unallocated_nanos=0).findings

    assert finding.wasted_nanos is None


def test_no_pools_are_no_findings() -> None:
    assert detect_unallocated_pools(pools(), DAY, POLICY) == Detection((), ())
