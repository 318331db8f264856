"""Activity and energy of holds that share devices, by hand."""

import pandas as pd
import pytest

from app.usage.kinds import ActivityBasis, ActivityScope, Sharing
from app.usage.samples import SampleSet
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, a_hold, device_samples
from tests.usage.measuring import SCRAPE, every, measured, named, split, times
from tests.usage.sharing_holds import a_mig_hold, a_slot, an_instance

HALF = HOUR // 2


def test_holders_of_instances_are_told_apart() -> None:
    samples = device_samples(
        (an_instance("7", "pod-1"), every(SCRAPE, 0.0)),
        (an_instance("9", "pod-2"), every(SCRAPE, 1.0)),
        (an_instance("5", "", "2g.20gb"), every(SCRAPE, 0.5)),
    )
    usage = measured([a_mig_hold(1), a_mig_hold(2)], samples, devices=1)

    assert times(usage, 1) == split(idle=HOUR // 8)
    assert times(usage, 2) == split(active=HOUR // 8)
    assert usage["activity_scope"].tolist() == [ActivityScope.DEVICE] * 2


def test_several_instances_of_a_hold_are_read_together() -> None:
    samples = device_samples(
        (an_instance("7", "pod-1"), every(SCRAPE, 0.0)),
        (an_instance("9", "pod-1"), every(SCRAPE, 1.0)),
    )
    usage = measured([a_mig_hold(1, slices=2, units=2)], samples, devices=1)

    assert times(usage, 1) == split(active=HOUR // 8, idle=HOUR // 8)


def test_an_instance_that_no_sample_shows_leaves_its_part_unmeasured() -> None:
    samples = device_samples((an_instance("7", "pod-1"), every(SCRAPE, 1.0)))
    usage = measured([a_mig_hold(1, slices=2, units=2)], samples, devices=1)

    assert times(usage, 1) == split(active=HOUR // 8, unmeasured=HOUR // 8)


def test_instances_of_two_profiles_of_one_pod_stand_with_their_own_hold() -> None:
    samples = device_samples(
        (an_instance("1", "pod-x", "3g.40gb"), every(SCRAPE, 1.0)),
        (an_instance("7", "pod-x", "1g.10gb"), every(SCRAPE, 0.0)),
    )
    small = a_mig_hold(1, pod="pod-x")
    large = a_mig_hold(2, pod="pod-x", share=(1, 2), compute=(3, 7))
    usage = measured([small, large], samples, devices=1)

    assert times(usage, 1) == split(idle=HOUR // 8)
    assert times(usage, 2) == split(active=HALF)


def test_the_coarse_metric_says_nothing_of_an_instance() -> None:
    util = device_samples((named("GPU-a", "pod-1"), every(SCRAPE, 0.0)))
    usage = measured([a_mig_hold(1)], util=util, devices=1)

    assert times(usage, 1) == split(unmeasured=HOUR // 8)
    assert usage.loc[1, "activity_basis"] == ActivityBasis.NONE


def test_an_instance_that_names_nobody_is_read_from_its_device_and_accuses_nobody() -> None:
    samples = device_samples(
        (an_instance("1", "", "3g.40gb"), every(SCRAPE, 1.0)),
        (an_instance("7", "", "1g.10gb"), every(SCRAPE, 0.0)),
    )
    usage = measured([a_mig_hold(1, slices=2)], samples, devices=1)

    assert times(usage, 1) == split(active=HOUR // 4 * 3 // 4, idle=HOUR // 4 // 4)
    assert usage.loc[1, "activity_scope"] == ActivityScope.SHARED_DEVICE


def test_the_series_of_a_divided_device_as_a_whole_is_no_further_device() -> None:
    samples = device_samples(
        (named("GPU-a", ""), every(SCRAPE, 0.9)),
        (an_instance("1", ""), every(SCRAPE, 0.2)),
        (an_instance("2", ""), every(SCRAPE, 0.4)),
        (named("GPU-b", ""), every(SCRAPE, 0.8)),
    )
    sliced = a_slot(1)
    unplaced = a_mig_hold(2, share=(1, 2))
    usage = measured([sliced, unplaced], samples)

    # Time slices are not on the divided device, instances are not on the other.
    assert times(usage, 1) == split(active=HALF * 4 // 5, idle=HALF // 5)
    assert times(usage, 2) == split(active=HALF * 3 // 10, idle=HALF * 7 // 10)
    assert usage["activity_scope"].tolist() == [ActivityScope.SHARED_POOL] * 2


def test_a_device_that_is_divided_in_mid_window_is_read_whole_and_then_by_its_parts() -> None:
    first = a_hold(1, end_ms=T0 + HALF)
    then = a_mig_hold(2, start_ms=T0 + HALF)
    samples = device_samples(
        (named("GPU-a", "pod-1"), every(SCRAPE, 1.0, end=HALF)),
        (an_instance("7", "pod-2"), every(SCRAPE, 0.0, start=HALF + SCRAPE)),
        (an_instance("8", ""), every(SCRAPE, 1.0, start=HALF + SCRAPE)),
    )
    usage = measured([first, then], samples, devices=1)

    assert times(usage, 1) == split(active=HALF)
    assert times(usage, 2) == split(idle=HALF // 8)
    assert usage["activity_scope"].tolist() == [ActivityScope.DEVICE] * 2


def test_instances_that_a_claim_allocates_are_told_apart_too() -> None:
    samples = device_samples(
        (an_instance("7", "pod-1"), every(SCRAPE, 0.0)),
        (an_instance("9", ""), every(SCRAPE, 1.0)),
        (named("GPU-b", ""), every(SCRAPE, 1.0)),
    )
    claims = {"devices": "GPU-a", "exclusive": False}
    usage = measured([a_mig_hold(1, **claims), a_mig_hold(2, **claims)], samples)

    assert times(usage, 1) == split(idle=HOUR // 8)
    assert usage.loc[1, "activity_scope"] == ActivityScope.DEVICE
    # Nobody names the second instance, so that its device speaks for it.
    assert times(usage, 2) == split(active=HOUR // 16, idle=HOUR // 16)
    assert usage.loc[2, "activity_scope"] == ActivityScope.SHARED_DEVICE


def test_slots_of_an_instance_are_read_from_divided_devices_and_accuse_nobody() -> None:
    samples = device_samples(
        (an_instance("7", "pod-1"), every(SCRAPE, 0.5)), (named("GPU-b", ""), every(SCRAPE, 1.0))
    )
    util = device_samples((named("GPU-a", "pod-1"), every(SCRAPE, 0.0)))
    slots = [a_slot(n, of=16, sharing=Sharing.SLICED_INSTANCE) for n in (1, 2)]
    usage = measured(slots, samples, util=util)

    for hold_id in (1, 2):
        assert times(usage, hold_id) == split(active=HOUR // 32, idle=HOUR // 32)
    assert set(usage["activity_scope"]) == {ActivityScope.SHARED_POOL}
    only_coarse = measured(slots, util=util)
    assert times(only_coarse, 1) == split(unmeasured=HOUR // 16)


def test_the_holder_of_a_partition_is_told_apart_and_that_of_a_fraction_is_not() -> None:
    part = {"share": (1, 8), "sharing": Sharing.FRACTION, "pod": "pod-x"}
    shown = every(SCRAPE, 0.5)
    partition = device_samples((an_instance("3", "pod-x", "cpx"), shown))
    instance = device_samples((an_instance("3", "pod-x", "1g.10gb"), shown))

    assert measured([a_slot(1, **part)], partition).loc[1, "activity_scope"] == ActivityScope.DEVICE
    shared = measured([a_slot(1, **part)], instance).loc[1, "activity_scope"]
    assert shared == ActivityScope.SHARED_POOL


def test_copies_of_a_devices_value_for_its_sharers_are_one_device() -> None:
    pods = [named("GPU-a", f"pod-{n}", identity=f"copy {n}") for n in (1, 2, 3)]
    samples = device_samples(*((labels, every(SCRAPE, 0.6)) for labels in pods))
    usage = measured([a_slot(n, of=3) for n in (1, 2, 3)], samples, devices=1)

    for hold_id in (1, 2, 3):
        assert times(usage, hold_id) == split(active=HOUR // 5, idle=HOUR * 2 // 15)
    assert set(usage["activity_scope"]) == {ActivityScope.SHARED_DEVICE}


def test_the_series_without_a_pod_is_the_devices_where_pods_have_their_own() -> None:
    samples = device_samples(
        (named("GPU-a", ""), every(SCRAPE, 0.5)),
        (named("GPU-a", "pod-1", identity="1"), every(SCRAPE, 0.9)),
        (named("GPU-a", "pod-2", identity="2"), every(SCRAPE, 0.1)),
    )
    usage = measured([a_slot(1), a_slot(2)], util=samples, devices=1)

    for hold_id in (1, 2):
        assert times(usage, hold_id) == split(active=HALF // 2, idle=HALF // 2)


def test_a_pod_label_that_flips_among_sharers_places_none_of_them() -> None:
    samples = device_samples(
        (named("GPU-a", "pod-1"), every(SCRAPE, 1.0, end=HALF)),
        (named("GPU-a", "pod-2"), every(SCRAPE, 1.0, start=HALF + SCRAPE)),
        (named("GPU-b", ""), every(SCRAPE, 0.0)),
    )
    usage = measured([a_slot(1), a_slot(2)], samples)

    for hold_id in (1, 2):
        assert times(usage, hold_id) == split(active=HALF // 2, idle=HALF // 2)
    assert set(usage["activity_scope"]) == {ActivityScope.SHARED_POOL}


def test_a_claim_names_its_device_whatever_the_exporter_says() -> None:
    samples = device_samples(
        (named("GPU-a", ""), every(SCRAPE, 1.0)), (named("GPU-b", "pod-1"), every(SCRAPE, 0.0))
    )
    usage = measured([a_hold(1, devices="GPU-a")], samples)

    assert times(usage, 1) == split(active=HOUR)
    assert usage.loc[1, "activity_scope"] == ActivityScope.DEVICE


def test_a_claim_of_a_device_that_no_sample_shows_is_unmeasured() -> None:
    samples = device_samples((named("GPU-a", ""), every(SCRAPE, 1.0)))
    usage = measured([a_hold(1, share=(2, 1), devices="GPU-a,GPU-z")], samples)

    assert times(usage, 1) == split(active=HOUR, unmeasured=HOUR)


def test_a_claim_of_devices_that_nobody_shows_is_not_read_from_others() -> None:
    samples = device_samples((named("GPU-a", ""), every(SCRAPE, 1.0)))
    usage = measured([a_hold(1, devices="GPU-z")], samples)

    assert times(usage, 1) == split(unmeasured=HOUR)
    assert usage.loc[1, "activity_scope"] == ActivityScope.NONE


def test_pods_of_a_shared_claim_split_its_device_in_a_pool_of_many() -> None:
    samples = device_samples(
        (named("GPU-a", "pod-1"), every(SCRAPE, 0.5)), (named("GPU-b", ""), every(SCRAPE, 0.0))
    )
    claim = {"sharing": Sharing.SHARED_CLAIM, "devices": "GPU-a"}
    usage = measured([a_slot(1, **claim), a_slot(2, **claim), a_hold(3)], samples)

    for hold_id in (1, 2):
        assert times(usage, hold_id) == split(active=HALF // 2, idle=HALF // 2)
        assert usage.loc[hold_id, "activity_scope"] == ActivityScope.SHARED_DEVICE
    # What the claim has is not free for the third pod.
    assert times(usage, 3) == split(idle=HOUR)


def hami(*pods: tuple[str, float]) -> SampleSet:
    return device_samples(
        *((named("GPU-a", pod, identity=pod), every(SCRAPE, value)) for pod, value in pods)
    )


def test_a_fraction_that_its_software_tells_apart_is_read_by_its_share() -> None:
    device = device_samples((named("GPU-a", ""), every(SCRAPE, 0.5)))
    fraction = {"sharing": Sharing.FRACTION}
    usage = measured(
        [a_slot(1, **fraction), a_slot(2, **fraction)],
        util=device,
        sharers=hami(("pod-1", 0.45), ("pod-2", 0.05)),
        devices=1,
    )

    assert times(usage, 1) == split(active=HALF * 9 // 10, idle=HALF // 10)
    assert times(usage, 2) == split(active=HALF // 10, idle=HALF * 9 // 10)
    assert set(usage["activity_scope"]) == {ActivityScope.SHARER}
    assert set(usage["activity_basis"]) == {ActivityBasis.HAMI_CONTAINER}


def test_a_fraction_that_uses_more_than_its_share_was_active_and_not_more() -> None:
    usage = measured(
        [a_slot(1, of=4, sharing=Sharing.FRACTION)], sharers=hami(("pod-1", 0.9)), devices=1
    )

    assert times(usage, 1) == split(active=HOUR // 4)


def test_a_sharer_of_which_nothing_is_told_is_read_from_its_device() -> None:
    usage = measured(
        [a_slot(1, sharing=Sharing.FRACTION), a_slot(2, sharing=Sharing.FRACTION)],
        device_samples((named("GPU-a", ""), every(SCRAPE, 0.2))),
        sharers=hami(("pod-1", 0.5)),
        devices=1,
    )

    assert times(usage, 1) == split(active=HALF)
    assert times(usage, 2) == split(active=HALF // 5, idle=HALF * 4 // 5)
    assert usage["activity_scope"].tolist() == [ActivityScope.SHARER, ActivityScope.SHARED_DEVICE]


def test_a_device_lost_in_mid_window_leaves_its_holder_unmeasured() -> None:
    samples = device_samples(
        (named("GPU-a", "pod-1"), every(SCRAPE, 1.0, end=20 * MINUTE)),
        (named("GPU-b", "pod-2"), every(SCRAPE, 0.0)),
    )
    usage = measured([a_hold(1), a_hold(2)], samples)

    assert times(usage, 1) == split(active=20 * MINUTE, unmeasured=40 * MINUTE)
    assert times(usage, 2) == split(idle=HOUR)


def test_a_device_that_takes_the_place_of_another_adds_no_time() -> None:
    samples = device_samples(
        (named("GPU-a", ""), every(SCRAPE, 1.0, end=HALF + SCRAPE)),
        (named("GPU-b", ""), every(SCRAPE, 0.0, start=HALF)),
    )
    usage = measured([a_hold(1)], samples, devices=1)

    found = times(usage, 1)
    assert found["unmeasured"] == 0
    assert found["active"] == pytest.approx(HALF, abs=2 * SCRAPE)


def test_a_whole_device_that_is_told_of_in_tiles_is_their_mean() -> None:
    samples = device_samples(
        (an_instance("0", "pod-1", ""), every(SCRAPE, 1.0)),
        (an_instance("1", "pod-1", ""), every(SCRAPE, 0.0)),
    )
    memory = samples.labels.assign(value=[3_000.0, 9_000.0])
    usage = measured([a_hold(1)], samples, memory=memory)

    assert times(usage, 1) == split(active=HALF, idle=HALF)
    assert usage.loc[1, "activity_scope"] == ActivityScope.DEVICE
    assert usage.loc[1, "memory_used_max_mib"] == 9_000.0


def test_samples_of_a_hold_that_changes_its_share_are_read_by_each_part() -> None:
    before = a_mig_hold(1, pod="pod-x", end_ms=T0 + HALF)
    after = a_mig_hold(2, 2, pod="pod-x", start_ms=T0 + HALF)
    samples = device_samples(
        (an_instance("7", "pod-x"), every(SCRAPE, 1.0, end=HALF)),
        (an_instance("5", "pod-x", "2g.20gb"), every(SCRAPE, 0.0, start=HALF + SCRAPE)),
    )
    usage = measured([before, after], samples, devices=1)

    assert times(usage, 1) == split(active=HALF // 8)
    assert times(usage, 2) == split(idle=HALF // 4)


def test_no_share_of_a_second_is_lost_between_samples() -> None:
    usage = measured(
        [a_mig_hold(1, start_ms=T0 + 7 * SECOND)],
        device_samples((an_instance("7", "pod-1"), every(SCRAPE, 1.0))),
        devices=1,
    )

    assert pd.Series(times(usage, 1)).sum() == usage.loc[1, "held_ms"]
    assert usage.loc[1, "unmeasured_ms"] == 0
