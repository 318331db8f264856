"""What the samples of a fleet's devices say about each hold, beside what the ledger says."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.pods import GPU_RESOURCE
from app.simulator.truth import TrueHold
from app.units.window import Window
from app.usage.identity import hold_id
from app.usage.kinds import ActivityScope, UsageFlag
from tests.oracle.ledger_oracle import Measured, measured

# The metrics of activity, the preferred first, and what turns a value into a ratio.
ENGINE, UTILIZATION = "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_DEV_GPU_UTIL"
SCALES = {ENGINE: Fraction(1), UTILIZATION: Fraction(1, 100)}

Point = tuple[int, Fraction]


@dataclass(frozen=True, slots=True)
class DeviceSamples:
    """The samples of every device by metric and UUID, ascending, as ratios."""

    points: Mapping[tuple[str, str], Sequence[Point]]
    scrape_ms: int

    def measured(self, hold: TrueHold, window: Window) -> Measured:
        """Return what the samples say of a hold in a window."""
        low, high = max(hold.start_ms, window.start_ms), min(hold.end_ms, window.end_ms)
        active, spoken = Fraction(0), 0
        for uuid in hold.device_uuids:
            said = measured(
                self._near(uuid, window), start_ms=low, end_ms=high, scrape_ms=self.scrape_ms
            )
            active += said.active_ms
            spoken += said.measured_ms
        return Measured(active, spoken)

    def _near(self, uuid: str, window: Window) -> Sequence[Point]:
        """Return the samples that speak for the window, and the one before them."""
        for metric in SCALES:
            points = self.points.get((metric, uuid), ())
            first = bisect_right(points, (window.start_ms, Fraction(2)))
            last = bisect_left(points, (window.end_ms + 2 * self.scrape_ms, Fraction(-1)))
            if first < last:
                return points[max(first - 1, 0) : last]
        return ()


def exposed_samples(exposition: Exposition, scrape_ms: int) -> DeviceSamples:
    """Return the samples as a fleet exposes them."""
    return device_samples(
        (
            (name, dict(series.labels)["UUID"], at_ms, Fraction(repr(value)))
            for name in SCALES
            for series in exposition.family(name)
            for at_ms, value in zip(series.at_ms.tolist(), series.value.tolist(), strict=True)
        ),
        scrape_ms,
    )


def device_samples(
    samples: Iterable[tuple[str, str, int, Fraction]], scrape_ms: int
) -> DeviceSamples:
    """Return samples of (metric, device, instant, value); which pod they name does not matter."""
    points: dict[tuple[str, str], list[Point]] = {}
    for name, uuid, at_ms, value in samples:
        points.setdefault((name, uuid), []).append((at_ms, value * SCALES[name]))
    return DeviceSamples({key: sorted(found) for key, found in points.items()}, scrape_ms)


def wrong_activity(
    hold_usage: pd.DataFrame, cluster: str, fleet: Fleet, samples: DeviceSamples, window: Window
) -> list[str]:
    """Say which holds of a window are not as active, or not as measured, as the samples say.

    Left out are holds that no sample names, which are read from their pool's mean, and those that
    were scaled down since their pool was oversubscribed.
    """
    holds = {hold_id(cluster, one.pod_uid, GPU_RESOURCE): one for one in fleet.truth.holds}
    wrong = []
    for row in hold_usage[hold_usage["window_start_ms"] == window.start_ms].itertuples():
        if row.flags & UsageFlag.OVERSUBSCRIBED or row.activity_scope == ActivityScope.SHARED_POOL:
            continue
        said = samples.measured(holds[row.hold_id], window)
        found = row.active_ms + row.idle_ms
        if found != said.measured_ms or abs(row.active_ms - said.active_ms) > Fraction(1, 2):
            wrong.append(
                f"{holds[row.hold_id].pod} from {window.start}: {row.active_ms} of {found} ms"
                f" instead of {float(said.active_ms)} of {said.measured_ms}"
            )
    return wrong
