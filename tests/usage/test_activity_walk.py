"""Activity of held devices against a walk over every millisecond."""

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.usage.builders import (
    T0,
    a_hold,
    device_samples,
)
from tests.usage.measuring import BANDS, measured, named

TICK = 10
DEVICES = ("GPU-a", "GPU-b", "GPU-c")
ratio = st.integers(0, 20).map(lambda twentieths: twentieths / 20)


@dataclass(frozen=True)
class Case:
    """Holds with their true device, and per device its samples as (instant, ratio)."""

    holds: list[tuple[str, int, int]]
    samples: dict[str, list[tuple[int, float]]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    holds, samples = [], {}
    for device in DEVICES:
        edges = sorted(draw(st.sets(st.integers(0, 150), max_size=6)))
        pairs = zip(edges[0::2], edges[1::2], strict=False)
        holds += [(device, T0 + low, T0 + high) for low, high in pairs]
        instants = sorted(draw(st.sets(st.integers(-30, 180), max_size=15)))
        samples[device] = [(T0 + at, draw(ratio)) for at in instants]
    return Case(holds, samples)


@given(cases())
@settings(max_examples=30, deadline=None)
def test_activity_equals_a_walk_over_every_millisecond(case: Case) -> None:
    rows = [a_hold(n + 1, start_ms=low, end_ms=high) for n, (_, low, high) in enumerate(case.holds)]
    series = []
    for device, samples in case.samples.items():
        holder_of = [(at, value, holder(case, device, at)) for at, value in samples]
        for pod in sorted({pod for _, _, pod in holder_of} | {""}):
            mine = [(at, value) for at, value, who in holder_of if who == pod]
            series.append((named(device, pod=pod), mine))
    usage = measured(rows, device_samples(*series), devices=3, scrape_ms=TICK)

    for number, (device, low, high) in enumerate(case.holds):
        row = usage.loc[number + 1]
        bands, active = walk(case, [device], low, high)
        if any(low < at <= high for at, _ in case.samples[device]):
            assert [int(row[name]) for name in BANDS] == bands
            assert abs(row["active_ms"] - active) <= Fraction(1, 2)
        else:
            free = free_devices(case, low, high)
            bands, active = walk(case, free, low, high)
            count = max(1, len(free))
            assert row["active_ms"] + row["idle_ms"] == sum(bands) // count
            # Measured time is rounded down, then active to the nearest.
            assert abs(row["active_ms"] - active / count) <= Fraction(3, 2)


def holder(case: Case, device: str, at: int) -> str:
    """Return the pod that held a device just before an instant."""
    for number, (where, low, high) in enumerate(case.holds):
        if where == device and low < at <= high:
            return f"pod-{number + 1}"
    return ""


def free_devices(case: Case, low: int, high: int) -> list[str]:
    """Return the devices with samples on which no named hold stood in the span."""
    return [
        device
        for device, samples in case.samples.items()
        if samples
        and not any(
            where == device
            and start < high
            and low < end
            and any(start < at <= end for at, _ in samples)
            for where, start, end in case.holds
        )
    ]


def walk(case: Case, devices: list[str], low: int, high: int) -> tuple[list[int], Fraction]:
    bands, active = [0] * 6, Fraction(0)
    for device in devices:
        instants = [at for at, _ in case.samples[device]]
        for at in range(low, high):
            number = bisect_right(instants, at)
            if number == len(instants) or at < instants[number] - 2 * TICK:
                continue
            value = Fraction(case.samples[device][number][1]).limit_denominator(20)
            active += value
            bands[
                sum(value > bound for bound in map(Fraction, ("0", "1/20", "1/5", "1/2", "4/5")))
            ] += 1
    return bands, active
