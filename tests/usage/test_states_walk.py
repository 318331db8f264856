"""Device states against a walk over every millisecond."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from app.units.intervals import Spans
from app.units.window import OPEN_MS
from tests.usage.builders import (
    T0,
    a_count,
    a_hold,
    a_pool,
    spans,
)
from tests.usage.stating import STATES, states_of

LIFE = 40
# Never a whole second: a start within the second in which another hold ended is cut to follow it.
instant = st.integers(min_value=-10, max_value=LIFE + 10).map(lambda at: T0 + 5_100 + at)
share = st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (3, 7), (4, 8), (8, 15)])
# What may be held of the devices: instances of a static geometry need not cover them.
part = st.sampled_from([Fraction(n) for n in ("0", "1/4", "1/2", "5/7", "14/15", "1")])


@st.composite
def pool_and_company(draw: st.DrawFn) -> tuple[list[dict[str, int]], list, list, Spans]:
    pools, counts, holds = [], [], []
    for node in range(1, draw(st.integers(1, 3)) + 1):
        edges = sorted([draw(instant), draw(instant)])
        devices = draw(st.integers(1, 4))
        pools.append(
            a_pool(node, devices=devices, start_ms=edges[0], end_ms=max(edges[1], edges[0] + 1))
        )
        borders = sorted(draw(st.lists(instant, max_size=4, unique=True)))
        counts += [
            a_count(
                node,
                start_ms=low,
                end_ms=high,
                allocatable=draw(part) * devices,
                compute=draw(part) * devices,
            )
            for low, high in pairwise(borders)
            if draw(st.booleans())
        ]
        for _ in range(draw(st.integers(0, 5))):
            low, high = sorted([draw(instant), draw(instant)])
            holds.append(
                a_hold(
                    len(holds) + 1,
                    node_id=node,
                    share=draw(share),
                    compute=draw(share),
                    exclusive=draw(st.booleans()),
                    start_ms=low,
                    end_ms=draw(st.sampled_from([high, OPEN_MS])),
                )
            )
    seen = [sorted([draw(instant), draw(instant)]) for _ in range(draw(st.integers(0, 3)))]
    return pools, counts, holds, spans(*[(low, high) for low, high in seen])


@given(pool_and_company())
@settings(max_examples=40, deadline=None)
def test_states_equal_a_walk_over_every_millisecond(
    case: tuple[list, list, list, Spans],
) -> None:
    pools, counts, holds, observed = case
    states = states_of(*holds, pools=tuple(pools), counts=tuple(counts), observed=observed)
    usage, segments = states.pool_usage, states.hold_segments

    exact_states, exact_holds = walk(pools, counts, holds, observed)

    for pool in pools:
        rows = usage.loc[usage["node_id"] == pool["node_id"]]
        for name in STATES:
            # Less than a millisecond a span, and none at all where every share is whole.
            error = abs(int(rows[name].sum()) - exact_states[pool["node_id"], name])
            assert error <= len(rows)
            if all(row["share_den"] == 1 for row in holds) and all(
                row["allocatable_den"] == 1 for row in counts
            ):
                assert error == 0
        assert_allocatable(rows, exact_states, pool["node_id"])
    for hold in holds:
        mine = segments.loc[segments["hold_id"] == hold["hold_id"], "held_ms"]
        assert abs(int(mine.sum()) - exact_holds[hold["hold_id"]]) <= Fraction(3, 2) * len(mine)


def assert_allocatable(
    rows: pd.DataFrame, exact: dict[tuple[int, str], Fraction], node: int
) -> None:
    """What was held or could be, by either policy, where somebody looked."""
    # Where all was held under one policy and nobody looked, the other one's rest is unobserved.
    if exact[node, "unobserved_ms"]:
        # A rest of less than a millisecond is rounded away, and with it that nobody looked.
        return
    blind = bool(exact[node, "blind"])
    for name in ("allocatable_ms",) if blind else ("allocatable_ms", "compute_allocatable_ms"):
        told = int(rows.loc[rows["unobserved_ms"] == 0, name].sum())
        assert abs(told - exact[node, name]) <= len(rows)


def walk(
    pools: list, counts: list, holds: list, observed: Spans
) -> tuple[dict[tuple[int, str], Fraction], dict[int, Fraction]]:
    """Decide every device at every millisecond of each pool's life."""
    names = [*STATES, "allocatable_ms", "compute_allocatable_ms", "blind"]
    states = {(pool["node_id"], name): Fraction(0) for pool in pools for name in names}
    held = {hold["hold_id"]: Fraction(0) for hold in holds}
    for pool in pools:
        node = pool["node_id"]
        for at in range(pool["start_ms"], pool["end_ms"]):
            present = [h for h in holds if h["node_id"] == node and covers(h, at)]
            claims = {h["hold_id"]: Fraction(h["share_num"], h["share_den"]) for h in present}
            claimed = sum(claims.values())
            taken = min(claimed, Fraction(pool["devices"]))
            free = Fraction(0)
            if observed.covers(np.array([at]))[0]:
                shown = [c for c in counts if c["node_id"] == node and covers(c, at)]
                may = sum(Fraction(c["allocatable_num"], c["allocatable_den"]) for c in shown)
                free = max(Fraction(0), may - taken)
                states[node, "stranded_ms"] += pool["devices"] - taken - free
                states[node, "allocatable_ms"] += taken + free
                by_compute = sum(Fraction(c["compute_num"], c["compute_den"]) for c in shown)
                slices = sum(Fraction(h["compute_num"], h["compute_den"]) for h in present)
                states[node, "compute_allocatable_ms"] += min(
                    max(by_compute, slices), Fraction(pool["devices"])
                )
            else:
                states[node, "unobserved_ms"] += pool["devices"] - taken
                if taken == pool["devices"]:
                    states[node, "allocatable_ms"] += taken
                    states[node, "blind"] += 1
            states[node, "held_ms"] += taken
            states[node, "unallocated_ms"] += free
            for hold_id, claim in claims.items():
                held[hold_id] += claim / claimed * taken
    return states, held


def covers(row: dict, at: int) -> bool:
    return row["start_ms"] <= at < row["end_ms"]


@given(pool_and_company())
@settings(max_examples=15, deadline=None)
def test_every_span_is_conserved_and_maximal(case: tuple[list, list, list, Spans]) -> None:
    pools, counts, holds, observed = case
    # Under the other policy states may change where they do not under this one.
    for row in (*counts, *holds):
        name = "share" if "share_num" in row else "allocatable"
        row |= {"compute_num": row[f"{name}_num"], "compute_den": row[f"{name}_den"]}
    states = states_of(*holds, pools=tuple(pools), counts=tuple(counts), observed=observed)
    usage = states.pool_usage

    lengths = usage["end_ms"] - usage["start_ms"]
    assert (usage[STATES].sum(axis=1) == usage["devices"] * lengths).all()
    assert (usage[STATES] >= 0).all(axis=None)
    assert (lengths > 0).all()
    edges = {edge for hold in holds for edge in (hold["start_ms"], hold["end_ms"])}
    for _, rows in usage.groupby("node_id"):
        assert (rows["end_ms"].to_numpy()[:-1] == rows["start_ms"].to_numpy()[1:]).all()
        for before, here in zip(rows.index[:-1], rows.index[1:], strict=True):
            per_ms = [usage.loc[row, STATES] / lengths[row] for row in (before, here)]
            same = np.allclose(per_ms[0].to_numpy(float), per_ms[1].to_numpy(float), atol=1e-9)
            assert usage.loc[here, "start_ms"] in edges or not same


@given(pool_and_company(), st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_rows_does_not_matter(
    case: tuple[list, list, list, Spans], random: object
) -> None:
    pools, counts, holds, observed = case
    shuffled = [random.sample(rows, len(rows)) for rows in (pools, counts, holds)]  # type: ignore[attr-defined] # a random.Random

    first = states_of(*holds, pools=tuple(pools), counts=tuple(counts), observed=observed)
    second = states_of(
        *shuffled[2], pools=tuple(shuffled[0]), counts=tuple(shuffled[1]), observed=observed
    )

    pd.testing.assert_frame_equal(first.pool_usage, second.pool_usage)
    pd.testing.assert_frame_equal(first.hold_segments, second.hold_segments)
