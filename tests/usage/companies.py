"""Random mixed pools of 40 steps of time, with dated policies, for properties."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from hypothesis import strategies as st

from app.units.intervals import Spans
from app.usage.kinds import Sharing
from app.usage.policies import DividedUsage, under_policies
from app.usage.share_policies import MigSharePolicy, SharePolicy, TimeSlicingPolicy
from tests.usage.builders import T0, a_pool, spans
from tests.usage.dividing import Row, a_share, facts_of, slots, what_may_be_held

# Everything begins and ends with a step, so that a walk may count one instant of each.
STEP = 997
STEPS = 40
LIFE = STEPS * STEP
# Never a whole second: a start within the second in which another hold ended is cut to follow it.
FIRST = T0 + 5_100
instants = st.integers(-10, STEPS + 10).map(lambda step: FIRST + step * STEP)
inside = st.integers(1, STEPS - 1).map(lambda step: FIRST + step * STEP)
# What MIG instances are of a device by the larger of their slices, and by compute.
INSTANCES = [
    (Fraction(1, 2), Fraction(3, 7)),
    (Fraction(1, 7), Fraction(1, 7)),
    (Fraction(1, 4), Fraction(1, 7)),
    (Fraction(8, 15), Fraction(4, 7)),
]
Edges = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Company:
    """Pools with their holds and what may be held; ``policies`` are dated."""

    pools: tuple[Row, ...]
    counts: tuple[Row, ...]
    holds: tuple[Row, ...]
    observed: Spans
    policies: tuple[SharePolicy, ...]

    def facts(self) -> DividedUsage:
        return facts_of(*self.holds, pools=self.pools, counts=self.counts, observed=self.observed)

    def usage(self) -> DividedUsage:
        return under_policies(self.facts(), self.policies)

    def policy_at(self, at: int) -> SharePolicy:
        return [one for one in self.policies if one.from_ms <= at][-1]


@st.composite
def companies(draw: st.DrawFn) -> Company:
    pools, counts, holds = [], [], []
    for node in range(1, draw(st.integers(1, 2)) + 1):
        devices = draw(st.integers(1, 4))
        pools.append(a_pool(node, devices=devices, start_ms=FIRST, end_ms=FIRST + LIFE))
        borders = sorted({FIRST, *draw(st.lists(inside, max_size=2)), FIRST + LIFE})
        for low, high in pairwise(borders):
            lost = draw(st.sampled_from([0, 0, 1]))
            may = Fraction(devices - lost)
            counts.append(
                what_may_be_held(
                    node,
                    start_ms=low,
                    end_ms=high,
                    default=may,
                    compute=may * draw(st.sampled_from([Fraction(1), Fraction(6, 7)])),
                )
            )
        for _ in range(draw(st.integers(0, 5))):
            holds.append(draw(a_hold_of(len(holds) + 1, node)))
    seen = [(FIRST - 100, FIRST + LIFE + 100)]
    if draw(st.booleans()):
        seen = [tuple(sorted([draw(instants), draw(instants)])) for _ in range(2)]
    return Company(
        pools=tuple(pools),
        counts=tuple(counts),
        holds=tuple(holds),
        observed=spans(*seen),
        policies=draw(dated_policies()),
    )


@st.composite
def a_hold_of(draw: st.DrawFn, number: int, node: int) -> Row:
    low, high = sorted([draw(instants), draw(instants)])
    edges: Edges = {"node_id": node, "start_ms": low, "end_ms": high + STEP}
    sharing = draw(st.sampled_from([*Sharing, Sharing.TIME_SLICING, Sharing.TIME_SLICING]))
    match sharing:
        case Sharing.MIG:
            share, compute = draw(st.sampled_from(INSTANCES))
            units = draw(st.integers(1, 2))
            return a_share(
                number, share=units * share, compute=units * compute, sharing=sharing, units=units,
                **edges,
            )  # fmt: skip
        case Sharing.TIME_SLICING | Sharing.MPS:
            return slots(number, held=draw(st.integers(1, 3)), of=4, sharing=sharing, **edges)
        case Sharing.EXCLUSIVE:
            return a_share(number, share=Fraction(draw(st.integers(1, 2))), **edges)
        case _:
            part = Fraction(draw(st.integers(1, 9)), 10)
            return a_share(number, share=part, sharing=sharing, **edges)


@st.composite
def dated_policies(draw: st.DrawFn) -> tuple[SharePolicy, ...]:
    changes = sorted(draw(st.lists(inside, max_size=2, unique=True)))
    return tuple(
        SharePolicy(
            from_ms=from_ms,
            mig_share=draw(st.sampled_from(MigSharePolicy)),
            time_slicing=draw(st.sampled_from(TimeSlicingPolicy)),
        )
        for from_ms in (0, *changes)
    )
