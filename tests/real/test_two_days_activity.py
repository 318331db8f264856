"""Two days from a real Prometheus: what the devices did, by their samples and in truth."""

import numpy as np
import pandas as pd
import pytest

from app.simulator.pods import GPU_RESOURCE
from app.usage.identity import hold_id
from app.usage.kinds import ActivityBasis, ActivityScope
from tests.oracle.growth_oracle import read_samples
from tests.real.two_days import SCRAPE_MS, UNWATCHED, WATCHED, WINDOW, TwoDays
from tests.real.two_days_activity import Sampling
from tests.workflows.activity_lines import SCALES, device_samples, wrong_activity

pytestmark = pytest.mark.xdist_group("two days")


def test_activity_is_exactly_what_the_samples_say(two: TwoDays) -> None:
    _, usage = two.usage(WATCHED)
    samples = device_samples(
        (
            (key.name, key.label("UUID"), at_ms, value)
            for key, points in read_samples(two.history, SCALES).items()
            for at_ms, value in points.items()
        ),
        SCRAPE_MS,
    )

    for hour in WINDOW.hours():
        assert wrong_activity(usage, WATCHED, two.fleet, samples, hour) == []
    assert set(usage["activity_basis"]) == {ActivityBasis.GR_ENGINE_ACTIVE, ActivityBasis.GPU_UTIL}
    placed = usage["activity_scope"] == ActivityScope.DEVICE
    assert usage.loc[placed, "held_ms"].sum() > 0.98 * usage["held_ms"].sum()
    assert 0 < usage["unmeasured_ms"].sum() < 0.02 * usage["held_ms"].sum()


def test_active_time_is_within_three_standard_errors_of_the_truth(two: TwoDays) -> None:
    _, usage = two.usage(WATCHED)
    active = usage.set_index(["hold_id", "window_start_ms"])["active_ms"]
    edges = np.array([*(hour.start_ms for hour in WINDOW.hours()), WINDOW.end_ms])
    sampling = Sampling(two.fleet)
    hours: list[float] = []
    sums = np.zeros(3)

    for hold in two.fleet.truth.holds:
        rows = usage[usage["hold_id"] == hold_id(WATCHED, hold.pod_uid, GPU_RESOURCE)]
        placed = rows[rows["activity_scope"] == ActivityScope.DEVICE]
        if placed.empty:
            continue
        by_hour = sampling.of_hold(hold, edges)
        whole = sampling.of_hold(hold, edges[[0, -1]])
        found = active.loc[placed["hold_id"].iloc[0]]
        number = np.searchsorted(edges, found.index.to_numpy())
        off = found.to_numpy() - by_hour.truth[number]
        total = float(found.sum() - by_hour.truth[number].sum())
        # Each row is rounded to a millisecond.
        assert abs(total) <= 3 * whole.error[0] + len(found), hold.pod
        sure = by_hour.error[number] > 0
        hours += (off[sure] / by_hour.error[number][sure]).tolist()
        sums += (total, whole.error[0] ** 2, whole.truth[0])

    # All holds together, hour by hour: the errors are as large as they are said to be.
    spread = pd.Series(hours)
    assert abs(sums[0]) <= 3 * np.sqrt(sums[1])
    assert len(spread) > 300
    assert 0.7 < np.sqrt((spread**2).mean()) < 1.3
    assert (spread.abs() > 3).mean() < 0.01


def test_both_clusters_measure_alike_where_they_know_the_same_edges(two: TwoDays) -> None:
    (_, watched), (_, unwatched) = two.usage(WATCHED), two.usage(UNWATCHED)
    columns = ["active_ms", "idle_ms", "unmeasured_ms", "start_ms", "end_ms"]
    pairs = [
        (hold_id(WATCHED, one.pod_uid, GPU_RESOURCE), hold_id(UNWATCHED, one.pod_uid, GPU_RESOURCE))
        for one in two.fleet.truth.holds
    ]
    other = {theirs: ours for ours, theirs in pairs}
    unwatched = unwatched.assign(hold_id=unwatched["hold_id"].map(other))

    both = watched.merge(unwatched, on=["hold_id", "window_start_ms"], suffixes=("", "_other"))
    same = both[
        (both["start_ms"] == both["start_ms_other"]) & (both["end_ms"] == both["end_ms_other"])
    ]

    assert len(same) > 0.9 * len(watched)
    for column in columns:
        assert (same[column] == same[f"{column}_other"]).all(), column
