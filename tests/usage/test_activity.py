"""Activity of held devices at each edge, by hand."""

import pandas as pd
import pytest

from app.usage.kinds import ActivityBasis, ActivityScope
from tests.usage.builders import (
    HOUR,
    MINUTE,
    SECOND,
    T0,
    a_hold,
    device_samples,
)
from tests.usage.measuring import SCRAPE, every, measured, named, split, times


def test_held_time_is_active_by_the_ratio_of_its_samples() -> None:
    usage = measured([a_hold()], device_samples((named(), every(SCRAPE, 0.25))))

    assert times(usage) == split(active=HOUR // 4, idle=HOUR * 3 // 4)
    assert usage.loc[100, "band_20_50_ms"] == HOUR
    assert usage.loc[100, "activity_basis"] == ActivityBasis.GR_ENGINE_ACTIVE
    assert usage.loc[100, "activity_scope"] == ActivityScope.DEVICE
    assert usage.loc[100, "peak_5m_ratio"] == 0.25


def test_held_time_without_any_metric_is_unmeasured_and_not_idle() -> None:
    usage = measured([a_hold()])

    assert times(usage) == split(unmeasured=HOUR)
    assert usage.loc[100, "activity_basis"] == ActivityBasis.NONE
    assert usage.loc[100, "activity_scope"] == ActivityScope.NONE
    assert pd.isna(usage.loc[100, "peak_5m_ratio"])
    assert pd.isna(usage.loc[100, "energy_mj"])


def test_the_coarse_metric_is_used_only_for_devices_that_lack_the_good_one() -> None:
    engine = device_samples((named("GPU-a"), every(SCRAPE, 1.0)))
    util = device_samples(
        (named("GPU-a"), every(SCRAPE, 0.0)), (named("GPU-b"), every(SCRAPE, 0.5))
    )
    usage = measured([a_hold(share=(2, 1))], engine, util=util)

    assert times(usage) == split(active=HOUR * 3 // 2, idle=HOUR // 2)
    assert usage.loc[100, "activity_basis"] == ActivityBasis.GPU_UTIL


@pytest.mark.parametrize(
    ("gap", "unmeasured"),
    [(2 * SCRAPE, 0), (2 * SCRAPE + 1, 1), (10 * MINUTE, 9 * MINUTE)],
    ids=["two scrapes", "a millisecond more", "ten minutes"],
)
def test_a_sample_speaks_for_two_scrapes_at_most(gap: int, unmeasured: int) -> None:
    before = every(SCRAPE, 1.0, end=30 * MINUTE)
    after = [(T0 + 30 * MINUTE + gap + at, 1.0) for at in range(0, 40 * MINUTE, SCRAPE)]
    usage = measured([a_hold()], device_samples((named(), before + after)))

    assert times(usage) == split(active=HOUR - unmeasured, unmeasured=unmeasured)


def test_the_first_sample_of_a_device_speaks_for_two_scrapes() -> None:
    usage = measured([a_hold()], device_samples((named(), every(SCRAPE, 1.0, start=10 * MINUTE))))

    assert times(usage) == split(active=51 * MINUTE, unmeasured=9 * MINUTE)


def test_samples_on_the_borders_of_the_window_speak_for_the_time_before_them() -> None:
    samples = [(T0, 1.0), (T0 + HOUR, 0.0)]
    usage = measured([a_hold()], device_samples((named(), samples)))

    assert times(usage) == split(idle=2 * SCRAPE, unmeasured=HOUR - 2 * SCRAPE)


def test_a_sample_after_the_window_speaks_for_its_last_part() -> None:
    samples = [*every(SCRAPE, 0.0, end=HOUR - 10 * SECOND), (T0 + HOUR + 10 * SECOND, 1.0)]
    usage = measured([a_hold()], device_samples((named(), samples)))

    assert times(usage) == split(active=30 * SECOND, idle=HOUR - 30 * SECOND)


def test_a_hold_between_two_samples_is_read_from_the_sample_after_it() -> None:
    hold = a_hold(start_ms=T0 + 5 * SECOND, end_ms=T0 + 25 * SECOND)
    idle = a_hold(101, start_ms=T0 + 40 * SECOND)
    samples = device_samples((named(pod=""), [(T0, 0.0), (T0 + 30 * SECOND, 0.5)]))
    usage = measured([hold, idle], samples, devices=1)

    assert times(usage) == split(active=10 * SECOND, idle=10 * SECOND)


def test_samples_of_the_series_before_bound_what_the_next_speaks_for() -> None:
    first = a_hold(1, pod="a", end_ms=T0 + 10 * MINUTE + 5 * SECOND)
    second = a_hold(2, pod="b", start_ms=T0 + 10 * MINUTE + 5 * SECOND)
    samples = device_samples(
        (named(pod="a"), every(SCRAPE, 0.0, end=10 * MINUTE)),
        (named(pod="b"), every(SCRAPE, 1.0, start=10 * MINUTE + SCRAPE)),
    )
    usage = measured([first, second], samples)

    assert times(usage, 1) == split(active=5 * SECOND, idle=10 * MINUTE)
    assert times(usage, 2) == split(active=HOUR - 10 * MINUTE - 5 * SECOND)


def test_a_sample_at_the_start_of_a_hold_does_not_place_it() -> None:
    samples = device_samples(
        (named("GPU-a"), [(T0 + 30 * MINUTE, 1.0)]), (named("GPU-b", pod=""), every(SCRAPE, 0.5))
    )
    usage = measured([a_hold(start_ms=T0 + 30 * MINUTE)], samples)

    assert usage.loc[100, "activity_scope"] == ActivityScope.SHARED_POOL


def test_copies_of_a_series_count_once() -> None:
    one = every(SCRAPE, 0.5)
    late = [(at + 7 * SECOND, value) for at, value in one]
    samples = device_samples(
        (named(series="a"), one), (named(series="b"), one), (named(series="c"), late)
    )
    usage = measured([a_hold()], samples)

    assert times(usage) == split(active=HOUR // 2, idle=HOUR // 2)


def test_a_hold_that_nothing_names_is_read_from_the_devices_of_nobody_else() -> None:
    samples = device_samples(
        (named("GPU-a", pod="pod-1"), every(SCRAPE, 1.0)),
        (named("GPU-b", pod=""), every(SCRAPE, 0.2)),
        (named("GPU-c", pod=""), every(SCRAPE, 0.4)),
    )
    usage = measured([a_hold(1), a_hold(2)], samples, devices=3)

    assert times(usage, 1) == split(active=HOUR)
    assert times(usage, 2) == split(active=HOUR * 3 // 10, idle=HOUR * 7 // 10)
    assert usage.loc[2, "activity_scope"] == ActivityScope.SHARED_POOL


def test_a_hold_of_the_whole_pool_stands_on_all_its_devices() -> None:
    samples = device_samples(
        (named("GPU-a", pod=""), every(SCRAPE, 1.0)), (named("GPU-b", pod=""), every(SCRAPE, 0.0))
    )
    usage = measured([a_hold(share=(2, 1))], samples)

    assert times(usage) == split(active=HOUR, idle=HOUR)
    assert usage.loc[100, "activity_scope"] == ActivityScope.DEVICE


def test_a_device_that_no_sample_shows_leaves_its_part_unmeasured() -> None:
    usage = measured([a_hold(share=(2, 1))], device_samples((named(), every(SCRAPE, 1.0))))

    assert times(usage) == split(active=HOUR, unmeasured=HOUR)


def test_a_device_named_by_two_pods_at_once_stands_with_the_one_named_more_often() -> None:
    samples = device_samples(
        (named("GPU-a", pod="pod-1"), every(SCRAPE, 1.0)),
        (named("GPU-a", pod="pod-2"), [(T0 + 45 * SECOND, 1.0)]),
        (named("GPU-b", pod=""), every(SCRAPE, 0.0)),
    )
    usage = measured([a_hold(1), a_hold(2)], samples)

    assert usage["activity_scope"].tolist() == [ActivityScope.DEVICE, ActivityScope.SHARED_POOL]
    assert times(usage, 2) == split(idle=HOUR)


def test_sharers_are_not_told_apart_by_the_pod_that_the_exporter_names() -> None:
    halves = [a_hold(n, share=(1, 2), exclusive=False) for n in (1, 2)]
    samples = device_samples((named(pod="pod-1"), every(SCRAPE, 0.5)))
    usage = measured(halves, samples, devices=1)

    for hold_id in (1, 2):
        assert times(usage, hold_id) == split(active=HOUR // 4, idle=HOUR // 4)
    assert usage["activity_scope"].tolist() == [ActivityScope.SHARED_DEVICE] * 2


def test_an_oversubscribed_hold_keeps_its_proportions() -> None:
    samples = device_samples((named(pod="pod-1"), every(SCRAPE, 0.25)))
    usage = measured([a_hold(1), a_hold(2)], samples, devices=1)

    assert usage.loc[1, "held_ms"] == HOUR // 2
    assert times(usage, 1) == split(active=HOUR // 8, idle=HOUR * 3 // 8)


def test_a_device_is_found_by_the_host_name_without_its_domain() -> None:
    labels = named("GPU-z", pod="", node="", hostname="node-2")
    usage = measured(
        [a_hold(node_id=2, share=(1, 1))], device_samples((labels, every(SCRAPE, 1.0)))
    )

    assert times(usage) == split(active=HOUR)


@pytest.mark.parametrize(
    ("ratio", "band"),
    [
        (0.0, "band_0_ms"),
        (0.000001, "band_0_5_ms"),
        (0.05, "band_0_5_ms"),
        (0.050001, "band_5_20_ms"),
        (0.2, "band_5_20_ms"),
        (0.200001, "band_20_50_ms"),
        (0.5, "band_20_50_ms"),
        (0.500001, "band_50_80_ms"),
        (0.8, "band_50_80_ms"),
        (0.800001, "band_80_100_ms"),
        (1.0, "band_80_100_ms"),
    ],
)
def test_bands_include_their_upper_bound(ratio: float, band: str) -> None:
    usage = measured([a_hold()], device_samples((named(), every(SCRAPE, ratio))))

    assert usage.loc[100, band] == HOUR


def test_the_peak_is_the_highest_mean_of_the_grid_of_five_minutes() -> None:
    quiet = every(SCRAPE, 0.0, end=20 * MINUTE)
    burst = every(SCRAPE, 1.0, start=20 * MINUTE + SCRAPE, end=22 * MINUTE + SCRAPE)
    rest = every(SCRAPE, 0.0, start=23 * MINUTE)
    usage = measured([a_hold()], device_samples((named(), quiet + burst + rest)))

    assert usage.loc[100, "peak_5m_ratio"] == pytest.approx(0.5)


def test_memory_is_the_highest_of_the_devices_and_activity_of_parts_their_mean() -> None:
    samples = device_samples(
        (named("GPU-a"), every(SCRAPE, 1.0)), (named("GPU-b"), every(SCRAPE, 1.0))
    )
    figure = samples.labels.assign(value=[40_000.0, 60_000.0])
    other = samples.labels.assign(pod="pod-999", value=[70_000.0, 70_000.0])
    usage = measured(
        [a_hold(share=(2, 1))],
        samples,
        memory=pd.concat([figure, other]),
        sm_active=samples.labels.assign(value=[0.2, 0.4]),
    )

    assert usage.loc[100, "memory_used_max_mib"] == 60_000.0
    assert usage.loc[100, "sm_active_ratio"] == pytest.approx(0.3)


def test_energy_is_what_the_counter_grew_while_the_pod_held() -> None:
    hold = a_hold(start_ms=T0 + 15 * SECOND)
    activity = device_samples((named(), every(SCRAPE, 1.0)))
    counter = [(at, 1e12 + (at - T0) * 0.5) for at, _ in every(SCRAPE, 0.0)]
    usage = measured([hold], activity, energy=device_samples((named(), counter)))

    assert usage.loc[100, "energy_mj"] == (HOUR - 15 * SECOND) // 2


def test_energy_after_a_driver_reload_counts_from_zero() -> None:
    activity = device_samples((named(), every(SCRAPE, 1.0)))
    counter = [(at, 1000.0) for at, _ in every(SCRAPE, 0.0, end=30 * MINUTE)]
    counter += [(at, 400.0) for at, _ in every(SCRAPE, 0.0, start=31 * MINUTE)]
    usage = measured([a_hold()], activity, energy=device_samples((named(), counter)))

    assert usage.loc[100, "energy_mj"] == 400


def test_energy_that_misses_part_of_the_hold_is_null() -> None:
    activity = device_samples((named(), every(SCRAPE, 1.0)))
    counter = [(at, 1.0 * at) for at, _ in every(SCRAPE, 0.0, start=2 * MINUTE)]
    usage = measured([a_hold()], activity, energy=device_samples((named(), counter)))

    assert pd.isna(usage.loc[100, "energy_mj"])
