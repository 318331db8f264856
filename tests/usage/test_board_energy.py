"""What the boards of a pool drew, by hand."""

from collections.abc import Sequence

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from app.usage import frames
from app.usage.board_energy import board_energy
from app.usage.samples import SampleSet
from app.usage.states import device_states
from tests.usage.builders import (
    ALWAYS,
    HOUR,
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
from tests.usage.measuring import NODES, NOTHING, SCRAPE, every, measured, named
from tests.usage.sharing_holds import a_mig_hold, an_instance

HALF = HOUR // 2


def growing(watts: int, *, start: int = -2 * SCRAPE, end: int = HOUR + SCRAPE) -> list:
    """A counter in millijoules, from a hundred kilojoules on."""
    return [(at, 1e8 + (at - T0) * watts) for at, _ in every(SCRAPE, 0.0, start=start, end=end)]


def drawn(
    energy: SampleSet, *pools: dict[str, object], devices: int = 2
) -> dict[int, dict[str, int]]:
    """Return the rows by node, of one pool of ``devices`` on each of two nodes by default."""
    made = pools or (a_pool(devices=devices), a_pool(2, devices=devices))
    states = device_states(
        WINDOW,
        pools_of(*made),
        counts_of(a_count(allocatable=devices), a_count(2, allocatable=devices)),
        holds_frame(),
        ALWAYS,
    )
    found = board_energy(WINDOW, states.pool_usage, energy, NODES, SCRAPE)
    frames.POOL_ENERGY.validate(found)
    kept = ["energy_mj", "measured_ms", "boards_measured", "boards"]
    return {
        int(row["node_id"]): {name: int(row[name]) for name in kept}
        for row in found.to_dict("records")
    }


def row(energy_mj: int, measured_ms: int, boards_measured: int, boards: int) -> dict[str, int]:
    return {
        "energy_mj": energy_mj,
        "measured_ms": measured_ms,
        "boards_measured": boards_measured,
        "boards": boards,
    }


def test_boards_are_summed_by_pool_whoever_holds_them() -> None:
    energy = device_samples(
        (named("GPU-a", "pod-1"), growing(700)),
        (named("GPU-b", ""), growing(70)),
        (named("GPU-c", "", node="", hostname="node-2"), growing(100)),
    )

    assert drawn(energy) == {
        1: row(770 * HOUR, 2 * HOUR, 2, 2),
        2: row(100 * HOUR, HOUR, 1, 2),
    }


def test_a_board_counts_once_whatever_repeats_its_counter() -> None:
    energy = device_samples(
        (an_instance("7", "pod-1"), growing(80)),
        (an_instance("9", "pod-2"), growing(80)),
        (named("GPU-a", "", identity="copy"), growing(80)),
    )

    assert drawn(energy, devices=1) == {1: row(80 * HOUR, HOUR, 1, 1)}


def test_a_counter_that_begins_or_ends_in_the_hour_is_measured_as_long_as_it_speaks() -> None:
    energy = device_samples(
        (named("GPU-a", ""), growing(70, start=HALF)),
        (named("GPU-b", ""), growing(70, end=HALF // 2)),
    )

    assert drawn(energy)[1] == row(70 * (HALF + HALF // 2), HALF + HALF // 2, 0, 2)


def test_two_scrapes_that_lack_at_an_edge_are_no_gap() -> None:
    energy = device_samples((named("GPU-a", ""), growing(70, start=2 * SCRAPE, end=HOUR - SCRAPE)))

    assert drawn(energy)[1] == row(70 * (HOUR - 3 * SCRAPE), HOUR, 1, 2)


def test_a_driver_reload_starts_the_counter_again() -> None:
    after = [(at, (at - T0 - HALF) * 70.0) for at, _ in every(SCRAPE, 0.0, start=HALF + SCRAPE)]
    energy = device_samples((named("GPU-a", ""), [*growing(70, end=HALF), *after]))

    assert drawn(energy)[1] == row(70 * HOUR, HOUR, 1, 2)


def test_boards_of_unknown_nodes_and_silent_pools_have_no_row() -> None:
    stranger = device_samples((named("GPU-a", "", node="", hostname="node-9"), growing(70)))

    assert drawn(stranger) == {}
    assert drawn(NOTHING) == {}
    assert drawn(device_samples((named("GPU-a", ""), []))) == {}
    outside = device_samples((named("GPU-a", ""), [(T0 - HOUR, 1.0), (T0 - HALF, 2.0)]))
    assert drawn(outside) == {}


def test_a_node_that_was_created_again_has_its_part_of_the_boards_energy() -> None:
    """Both nodes are called node-1; the second pool takes the place of the first at half past."""
    states = device_states(
        WINDOW,
        pools_of(a_pool(devices=1, end_ms=T0 + HALF), a_pool(3, devices=1, start_ms=T0 + HALF)),
        counts_of(a_count(allocatable=1), a_count(3, allocatable=1)),
        holds_frame(),
        ALWAYS,
    )
    nodes = pd.DataFrame({"node_id": [1, 3], "node_name": pd.Series(["node-1"] * 2, dtype="str")})
    energy = device_samples((named("GPU-a", ""), growing(70)))

    found = board_energy(WINDOW, states.pool_usage, energy, nodes, SCRAPE)

    assert found[["node_id", "energy_mj", "measured_ms"]].to_numpy().tolist() == [
        [1, 70 * HALF, HALF],
        [3, 70 * HALF, HALF],
    ]


def test_a_board_that_moves_between_living_nodes_is_of_the_one_it_stood_in_longest() -> None:
    energy = device_samples(
        (named("GPU-a", ""), growing(70, end=HOUR // 4)),
        (
            named("GPU-a", "", node="", hostname="node-2", identity="there"),
            growing(70, start=HOUR // 4 + SCRAPE),
        ),
    )

    assert drawn(energy) == {2: row(70 * HOUR, HOUR, 1, 2)}


@settings(max_examples=60, deadline=None)
@given(
    watts=st.lists(st.integers(0, 800), min_size=1, max_size=3),
    slices=st.lists(st.integers(1, 3), max_size=2),
    borders=st.lists(st.integers(1, HOUR - 1), min_size=2, max_size=2),
)
def test_holders_have_no_more_than_the_boards_drew(
    watts: Sequence[int], slices: Sequence[int], borders: Sequence[int]
) -> None:
    """Pods hold the last board whole, one after another; MIG instances parts of the first."""
    boards = [f"GPU-{letter}" for letter in "abc"[: len(watts)]]
    whole = len(boards) > 1
    low, high = sorted(borders)
    holds = [a_mig_hold(n + 1, slices=count) for n, count in enumerate(slices)]
    energy = [
        (an_instance(str(n), f"pod-{n + 1}"), growing(watts[0])) for n, _ in enumerate(slices)
    ] or [(named(boards[0], ""), growing(watts[0]))]
    energy += [
        (named(board, ""), growing(one)) for board, one in zip(boards, watts, strict=True) if whole
    ][1:]
    if whole and low < high:
        holds += [
            a_hold(11, end_ms=T0 + low, devices=boards[-1]),
            a_hold(12, start_ms=T0 + high, devices=boards[-1]),
        ]
    samples = device_samples(*energy)

    pool = drawn(samples, devices=len(boards))[1]
    usage = measured(holds, samples, energy=samples, devices=len(boards)) if holds else None

    assert pool == row(sum(watts) * HOUR, len(boards) * HOUR, len(boards), len(boards))
    if usage is not None:
        assert int(usage["energy_mj"].fillna(0).sum()) <= pool["energy_mj"]
        if whole and low < high:
            held = low + HOUR - high
            assert abs(int(usage.loc[[11, 12], "energy_mj"].sum()) - watts[-1] * held) <= 2
