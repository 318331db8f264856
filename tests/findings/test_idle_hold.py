"""Idle holds: both sides of every threshold, bursts, sharers, and what cannot be told."""

import pytest

from app.findings.idle_hold import detect_idle_holds
from app.findings.values import Detection, WastePolicy
from app.units.window import HOUR_MS
from app.usage.kinds import ActivityScope
from tests.findings.builders import DAY, USD, a_hold_row, holds

POLICY = WastePolicy()


def detect(**changes: str | float) -> Detection:
    return detect_idle_holds(holds(a_hold_row(**changes)), DAY, POLICY)


def test_a_notebook_that_holds_a_gpu_and_does_nothing_is_found() -> None:
    (finding,) = detect().findings

    assert finding.subject.pod == "notebook-7"
    assert finding.subject.team == "ml"
    assert finding.wasted_nanos == 47 * USD // 2
    assert finding.wasted_gpu_ms == 47 * HOUR_MS // 2
    assert finding.per_day_nanos == 47 * USD // 2
    assert finding.since_ms == DAY.start_ms - 48 * HOUR_MS
    figures = {figure.name: figure.value for figure in finding.evidence}
    assert figures["low_activity_ratio"] == pytest.approx(23 / 24)
    assert figures["held_gpus"] == 1.0
    assert figures["memory_used_max_mib"] == 1024.0


def test_a_short_burst_does_not_hide_a_day_of_nothing() -> None:
    # One hour in the highest band: the mean is above 4 %, the share of low time still 23 of 24.
    found = detect(active_ms=HOUR_MS, idle_ms=23 * HOUR_MS)

    assert len(found.findings) == 1


def test_a_low_mean_of_steady_work_is_not_idle() -> None:
    # 6 % all day: the mean is low, but no time is in the low bands.
    found = detect(
        active_ms=24 * HOUR_MS * 6 // 100,
        idle_ms=24 * HOUR_MS * 94 // 100,
        band_0_ms=0,
        band_0_5_ms=0,
    )

    assert found.findings == ()
    assert found.cannot_tell == ()


@pytest.mark.parametrize(("low_ms", "count"), [(90, 1), (89, 0)])
def test_nine_tenths_of_the_measured_time_must_be_low(low_ms: int, count: int) -> None:
    hours = {"held_ms": 100, "active_ms": 4, "idle_ms": 96, "band_0_ms": low_ms, "band_0_5_ms": 0}

    assert len(detect(**hours).findings) == count


@pytest.mark.parametrize(("held", "count"), [(6 * HOUR_MS, 1), (6 * HOUR_MS - 1, 0)])
def test_a_hold_must_have_lasted_the_policys_hours(held: int, count: int) -> None:
    assert len(detect(held_wall_ms=held).findings) == count


@pytest.mark.parametrize(("measured", "findings", "cannot_tell"), [(80, 1, 0), (79, 0, 1)])
def test_too_few_samples_accuse_nobody_and_clear_nobody(
    measured: int, findings: int, cannot_tell: int
) -> None:
    found = detect(held_ms=100, active_ms=0, idle_ms=measured, band_0_ms=measured, band_0_5_ms=0)

    assert len(found.findings) == findings
    assert len(found.cannot_tell) == cannot_tell


def test_a_hold_that_nothing_measured_cannot_be_told() -> None:
    found = detect(active_ms=0, idle_ms=0, band_0_ms=0, band_0_5_ms=0, activity_scope=0)

    (undecided,) = found.cannot_tell
    assert found.findings == ()
    assert "0%" in undecided.reason


@pytest.mark.parametrize(
    "scope", [ActivityScope.SHARED_DEVICE, ActivityScope.SHARED_POOL, ActivityScope.SHARER]
)
def test_what_was_measured_on_a_shared_device_accuses_and_clears_no_sharer(
    scope: ActivityScope,
) -> None:
    found = detect(activity_scope=int(scope))

    (undecided,) = found.cannot_tell
    assert found.findings == ()
    assert undecided.finding_id == detect().findings[0].finding_id
    assert "several holders" in undecided.reason


def test_the_holder_of_an_instance_alone_is_accused_with_its_part_of_a_gpu() -> None:
    # A seventh of a device for a day, measured on the instance itself.
    part = DAY.length_ms // 7
    (finding,) = detect(
        held_ms=part, active_ms=0, idle_ms=part, band_0_ms=part, band_0_5_ms=0
    ).findings

    figures = {figure.name: figure.value for figure in finding.evidence}
    assert finding.wasted_gpu_ms == part
    assert figures["held_gpus"] == pytest.approx(1 / 7)


def test_a_hold_that_has_ended_has_nothing_to_free() -> None:
    assert detect(held_until_ms=DAY.end_ms - 1).findings == ()
    assert len(detect(held_until_ms=DAY.end_ms).findings) == 1


def test_without_a_price_the_money_is_unknown_and_not_zero() -> None:
    (finding,) = detect(idle_nanos=0, unpriced_ms=24 * HOUR_MS).findings

    assert finding.wasted_nanos is None
    assert finding.per_day_nanos is None


def test_memory_that_no_exporter_tells_is_not_in_the_evidence() -> None:
    (finding,) = detect(memory_used_max_mib=float("nan")).findings

    assert "memory_used_max_mib" not in {figure.name for figure in finding.evidence}


def test_the_worst_come_first_and_those_without_a_price_last() -> None:
    rows = [
        a_hold_row(hold_id=1, idle_nanos=5 * USD),
        a_hold_row(hold_id=2, unpriced_ms=1),
        a_hold_row(hold_id=3, idle_nanos=7 * USD),
    ]

    found = detect_idle_holds(holds(*rows), DAY, POLICY)

    assert [finding.subject.hold_id for finding in found.findings] == [3, 1, 2]


def test_the_same_waste_has_the_same_id_tomorrow() -> None:
    (today,) = detect().findings
    (tomorrow,) = detect(idle_nanos=99 * USD, held_ms=23 * HOUR_MS, team="other").findings
    (another,) = detect(hold_id=2).findings

    assert today.finding_id == tomorrow.finding_id
    assert today.finding_id != another.finding_id


def test_no_holds_are_no_findings() -> None:
    assert detect_idle_holds(holds(), DAY, POLICY) == Detection((), ())
