"""Energy and memory of holds that share devices, by hand."""

import pytest

from tests.usage.builders import HOUR, T0, a_hold, device_samples
from tests.usage.measuring import SCRAPE, every, measured, named, split, times
from tests.usage.sharing_holds import a_mig_hold, a_slot, an_instance

HALF = HOUR // 2


def growing(millijoules_a_second: int) -> list[tuple[int, float]]:
    return [
        (at, 5e6 + (at - T0 + 2 * SCRAPE) // 1000 * millijoules_a_second)
        for at, _ in every(SCRAPE, 0.0)
    ]


def test_energy_of_instances_is_the_boards_by_their_shares() -> None:
    samples = device_samples(
        (an_instance("7", "pod-1"), every(SCRAPE, 0.0)),
        (an_instance("9", "pod-2"), every(SCRAPE, 1.0)),
    )
    repeated = device_samples(
        (an_instance("7", "pod-1"), growing(80)), (an_instance("9", "pod-2"), growing(80))
    )
    usage = measured([a_mig_hold(1), a_mig_hold(2, slices=3)], samples, energy=repeated, devices=1)

    assert usage["energy_mj"].tolist() == [36_000, 108_000]


def test_energy_of_sharers_of_a_known_device_is_split_and_of_others_is_not_known() -> None:
    samples = device_samples((named("GPU-a", ""), every(SCRAPE, 0.5)))
    energy = device_samples((named("GPU-a", ""), growing(40)))
    one = measured([a_slot(1), a_slot(2, of=4)], samples, energy=energy, devices=1)
    two = measured([a_slot(1), a_slot(2, of=4)], samples, energy=energy, devices=2)

    assert one["energy_mj"].tolist() == [72_000, 36_000]
    assert two["energy_mj"].isna().all()


def test_copies_of_the_counter_that_are_read_a_moment_apart_are_no_reload() -> None:
    samples = device_samples((an_instance("7", "pod-1"), every(SCRAPE, 1.0)))
    ahead = [(at, value + 9) for at, value in growing(80)[:40]]
    energy = device_samples((an_instance("7", "pod-1"), growing(80)), (an_instance("8"), ahead))
    usage = measured([a_mig_hold(1, slices=8)], samples, energy=energy, devices=1)

    assert usage.loc[1, "energy_mj"] == pytest.approx(288_000, abs=10)


def test_energy_of_a_board_that_moves_to_another_node_stays_with_each_holder() -> None:
    first = a_hold(1, end_ms=T0 + HALF)
    second = a_hold(2, node_id=2, start_ms=T0 + HALF)
    here = every(SCRAPE, 1.0, end=HALF)
    there = every(SCRAPE, 0.0, start=HALF + SCRAPE)
    samples = device_samples(
        (named("GPU-a", "pod-1"), here),
        (named("GPU-a", "pod-2", node="", hostname="node-2"), there),
    )
    energy = device_samples((named("GPU-a", ""), growing(10)))
    usage = measured([first, second], samples, energy=energy)

    assert times(usage, 1) == split(active=HALF)
    assert times(usage, 2) == split(idle=HALF)
    assert usage["energy_mj"].tolist() == [18_000, 18_000]


def test_memory_of_an_instance_is_its_own() -> None:
    samples = device_samples(
        (an_instance("7", "pod-1"), every(SCRAPE, 1.0)),
        (an_instance("9", "pod-2"), every(SCRAPE, 1.0)),
    )
    memory = samples.labels.assign(value=[3_000.0, 9_000.0])
    usage = measured([a_mig_hold(1), a_mig_hold(2)], samples, memory=memory, devices=1)

    assert usage["memory_used_max_mib"].tolist() == [3_000.0, 9_000.0]
