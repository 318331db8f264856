"""Activity and energy of a pool that is shared in every way, against a walk over milliseconds."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import pandas as pd
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.usage.activity import DeviceMetrics, measure
from app.usage.kinds import ActivityBasis, ActivityScope, Sharing
from app.usage.samples import SampleSet
from app.usage.states import device_states
from tests.usage.builders import (
    ALWAYS,
    T0,
    WINDOW,
    a_count,
    a_hold,
    a_pool,
    counts_of,
    device_samples,
    holds_frame,
    pools_of,
)
from tests.usage.measuring import NO_FIGURE, NODES

TICK = 10
REACH = 2 * TICK
# Instances of GPU-a by number, with their compute slices; GPU-b is claimed by sharers, GPU-c is
# held whole, GPU-d is the only one of its node and sliced in time.
SLICES = {"1": 3, "2": 2, "3": 1}
DEVICES = ("GPU-a", "GPU-b", "GPU-c", "GPU-d")
ratio = st.integers(0, 20).map(lambda twentieths: Fraction(twentieths, 20))


@dataclass(frozen=True)
class Hold:
    """Who holds what: a number, a device, an instance or '', a share and a span."""

    number: int
    device: str
    instance: str
    share: Fraction
    low: int
    high: int
    claimed: bool = False

    @property
    def pod(self) -> str:
        return f"pod-{self.number}"


@dataclass(frozen=True)
class Case:
    """Holds, and per device its scrapes: an instant, values by instance, and the counter."""

    holds: list[Hold]
    scrapes: dict[str, list[tuple[int, dict[str, Fraction], int]]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    holds: list[Hold] = []

    def spans_of(most: int) -> Iterable[tuple[int, int]]:
        edges = sorted(draw(st.sets(st.integers(0, 150), max_size=2 * most)))
        return [(T0 + low, T0 + high) for low, high in zip(edges[0::2], edges[1::2], strict=False)]

    def add(device: str, instance: str, share: Fraction, most: int, *, claimed: bool) -> None:
        for low, high in spans_of(most):
            holds.append(Hold(len(holds) + 1, device, instance, share, low, high, claimed))

    for instance, slices in SLICES.items():
        add("GPU-a", instance, Fraction(slices, 7), 2, claimed=False)
    for _ in range(3):
        add("GPU-b", "", Fraction(1, 3), 1, claimed=True)
        add("GPU-d", "", Fraction(1, 3), 1, claimed=False)
    add("GPU-c", "", Fraction(1), 2, claimed=draw(st.booleans()))
    return Case(holds, {device: draw(scrapes(device)) for device in DEVICES})


@st.composite
def scrapes(draw: st.DrawFn, device: str) -> list[tuple[int, dict[str, Fraction], int]]:
    found, counter = [], draw(st.integers(0, 5000))
    for at in sorted(draw(st.sets(st.integers(-30, 180), max_size=15))):
        names = ["", *SLICES] if device == "GPU-a" else [""]
        values = draw(st.dictionaries(st.sampled_from(names), ratio, min_size=1))
        reloaded = counter > 10 and draw(st.integers(0, 9)) == 0
        counter = counter // 3 if reloaded else counter + draw(st.integers(0, 700))
        found.append((T0 + at, values, counter))
    return found


def series_of(case: Case) -> tuple[SampleSet, SampleSet]:
    """Return activity and energy as an exporter shows them, each holder under its name."""
    activity: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    energy: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    for device, found in case.scrapes.items():
        for at, values, counter in found:
            for instance, value in values.items():
                who = holder(case, device, instance, at)
                activity.setdefault((device, instance, who), []).append((at, float(value)))
                energy.setdefault((device, instance, who), []).append((at, float(counter)))
    return _samples(activity), _samples(energy)


def _samples(found: dict[tuple[str, str, str], list[tuple[int, float]]]) -> SampleSet:
    return device_samples(
        *(
            (
                {
                    "device": device,
                    "instance": instance,
                    "profile": f"{SLICES[instance]}g.10gb" if instance else "",
                    "namespace": "search" if who else "",
                    "pod": who,
                    "node": "",
                    "hostname": "node-2" if device == "GPU-d" else "node-1",
                    "identity": f"{device}|{instance}|{who}",
                },
                samples,
            )
            for (device, instance, who), samples in sorted(found.items())
        )
    )


def holder(case: Case, device: str, instance: str, at: int) -> str:
    """Return who is named: of sharers the last one, as exporters do."""
    names = [
        hold.pod
        for hold in case.holds
        if (hold.device, hold.instance) == (device, instance) and hold.low < at <= hold.high
    ]
    return names[-1] if names else ""


def usage_of(case: Case) -> pd.DataFrame:
    sharing = {"GPU-a": Sharing.MIG, "GPU-b": Sharing.SHARED_CLAIM, "GPU-d": Sharing.TIME_SLICING}
    rows = [
        a_hold(
            hold.number,
            node_id=2 if hold.device == "GPU-d" else 1,
            share=(hold.share.numerator, hold.share.denominator),
            units=1,
            sharing=sharing.get(hold.device, Sharing.EXCLUSIVE),
            exclusive=hold.device in {"GPU-a", "GPU-c"},
            devices=hold.device if hold.claimed else "",
            start_ms=hold.low,
            end_ms=hold.high,
        )
        for hold in case.holds
    ]
    states = device_states(
        WINDOW,
        pools_of(a_pool(devices=3), a_pool(2, devices=1)),
        counts_of(a_count(allocatable=3), a_count(2, allocatable=1)),
        holds_frame(*rows),
        ALWAYS,
    )
    activity, energy = series_of(case)
    metrics = DeviceMetrics(
        activity=((ActivityBasis.GR_ENGINE_ACTIVE, activity),),
        energy=energy,
        memory_used_max_mib=NO_FIGURE,
        sm_active_mean=NO_FIGURE,
        dram_active_mean=NO_FIGURE,
    )
    return measure(WINDOW, states, metrics, NODES, TICK).set_index("hold_id")


@given(cases())
@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_every_way_of_sharing_equals_a_walk_over_every_millisecond(case: Case) -> None:
    usage = usage_of(case)

    for hold in case.holds:
        row = usage.loc[hold.number]
        rows, scope = read_from(case, hold)
        measured, active = walk(case, rows, hold.low, hold.high)
        length = hold.high - hold.low
        assert row["active_ms"] + row["idle_ms"] + row["unmeasured_ms"] == row["held_ms"]
        full = max(1, len(rows)) * length
        assert row["active_ms"] + row["idle_ms"] == measured * int(row["held_ms"]) // full
        assert abs(row["active_ms"] - active * int(row["held_ms"]) / full) <= Fraction(3, 2)
        if row["active_ms"] + row["idle_ms"]:
            assert row["activity_scope"] == scope


@given(cases())
@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_the_holders_of_a_board_have_no_more_energy_than_it_used(case: Case) -> None:
    usage = usage_of(case)

    for device, found in case.scrapes.items():
        counters = [counter for _, _, counter in found]
        used = sum(
            after if after < before // 2 else max(0, after - before)
            for before, after in pairwise(counters)
        )
        mine = [hold.number for hold in case.holds if hold.device == device]
        known = usage.loc[mine, "energy_mj"].dropna()
        # A hold that no sample places may be read from another board.
        placed = [
            hold.number
            for hold in case.holds
            if hold.number in known.index and read_from(case, hold)[0] == [(device, hold.instance)]
        ]
        assert int(known.loc[placed].sum()) <= used
        pooled = usage.loc[usage["activity_scope"] == ActivityScope.SHARED_POOL, "energy_mj"]
        assert pooled.isna().all()


def read_from(case: Case, hold: Hold) -> tuple[list[tuple[str, str]], ActivityScope]:
    """Return the devices and instances that a hold is read from."""
    if hold.device == "GPU-b":
        return [("GPU-b", "")], ActivityScope.SHARED_DEVICE
    if hold.device == "GPU-d":
        return [("GPU-d", "")], ActivityScope.SHARED_DEVICE
    if hold.claimed or is_named(case, hold):
        return [(hold.device, hold.instance)], ActivityScope.DEVICE
    if hold.instance:
        boards = ["GPU-a"] if is_divided(case) else []
        if not boards:
            boards = [
                device for device in ("GPU-a", "GPU-b", "GPU-c") if is_free(case, device, hold)
            ]
    else:
        whole = ["GPU-b", "GPU-c"] + ([] if is_divided(case) else ["GPU-a"])
        shown = [device for device in whole if case.scrapes[device]]
        boards = [device for device in shown or ["GPU-a"] if is_free(case, device, hold)]
    shown = [(device, "") for device in sorted(boards) if case.scrapes[device]]
    return shown, ActivityScope.SHARED_POOL


def is_named(case: Case, hold: Hold) -> bool:
    return any(
        hold.low < at <= hold.high and hold.instance in values
        for at, values, _ in case.scrapes[hold.device]
    )


def is_divided(case: Case) -> bool:
    return any(instance for _, values, _ in case.scrapes["GPU-a"] for instance in values)


def is_free(case: Case, device: str, hold: Hold) -> bool:
    """Say whether nobody who is known to stand on a device did so while another held."""
    return not any(
        other.device == device
        and other.low < hold.high
        and hold.low < other.high
        and (other.claimed or is_named(case, other))
        for other in case.holds
    )


def walk(case: Case, rows: list[tuple[str, str]], low: int, high: int) -> tuple[int, Fraction]:
    """Return measured and active milliseconds of devices and instances together."""
    measured, active = 0, Fraction(0)
    for device, instance in rows:
        told = [
            (at, value)
            for at, values, _ in case.scrapes[device]
            if (value := value_of(values, instance)) is not None
        ]
        instants = [at for at, _ in told]
        for at in range(low, high):
            number = bisect_right(instants, at)
            if number < len(instants) and at >= instants[number] - REACH:
                measured += 1
                active += told[number][1]
    return measured, active


def value_of(values: dict[str, Fraction], instance: str) -> Fraction | None:
    """Return what one scrape says: a divided device is the mean of its instances by slices."""
    if instance:
        return values.get(instance)
    parts = {name: value for name, value in values.items() if name}
    if parts:
        weight = sum(SLICES[name] for name in parts)
        return sum((SLICES[name] * value for name, value in parts.items()), Fraction(0)) / weight
    return values.get("")
