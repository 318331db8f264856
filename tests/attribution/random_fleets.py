"""Random fleets of at most three nodes and ten minutes, for properties."""

from decimal import Decimal
from itertools import pairwise

from hypothesis import strategies as st

from app.pricing.rows import PriceRow, PriceUnit
from app.units.window import OPEN_MS
from tests.attribution.fleets import H100, MINUTE, TEN, AFleet, AHold, APool, Span

END = TEN + 10 * MINUTE
WINDOW = (TEN, END)
NAMESPACES = ("search-a", "search-b", "ml", "nobody")
NODES = ("node-1", "node-2", "node-3")

# Instants between one minute before the window and one after it; few bits, so that edges meet.
instants = st.one_of(
    st.integers(-6, 66).map(lambda tens: TEN + 10_000 * tens),
    st.integers(TEN - MINUTE, END + MINUTE),
)
amounts = st.one_of(
    st.sampled_from(["3", "2.4991", "0.333333333333", "0", "98.32"]).map(Decimal),
    st.integers(1, 10**14).map(lambda number: Decimal(number).scaleb(-12)),
)


def spans() -> st.SearchStrategy[Span]:
    return st.tuples(instants, instants).map(sorted).map(tuple).filter(lambda one: one[0] < one[1])


@st.composite
def fleets(draw: st.DrawFn, *, nodes: int = 3) -> AFleet:
    pools = tuple(
        APool(
            node=node,
            devices=(devices := draw(st.integers(1, 4))),
            allocatable=draw(st.integers(0, devices)),
            start=draw(st.sampled_from([TEN - MINUTE, TEN + 3 * MINUTE])),
            end=draw(st.sampled_from([END + MINUTE, TEN + 7 * MINUTE])),
            instance_type=draw(st.sampled_from(["p5", "p4"])),
        )
        for node in NODES[: draw(st.integers(1, nodes))]
    )
    holds: list[AHold] = []
    for number in range(draw(st.integers(0, 7))):
        pool = draw(st.sampled_from(pools))
        first, last = draw(spans())
        start, end = max(first, pool.start), min(last, pool.end)
        gpus = draw(st.integers(1, pool.devices))
        if start < end and _fits(holds, pool, start, end, gpus):
            holds.append(
                AHold(
                    pod=f"pod-{number}",
                    node=pool.node,
                    namespace=draw(st.sampled_from(NAMESPACES)),
                    gpus=gpus,
                    start=start,
                    end=end,
                    **_activity(draw),
                )
            )
    gaps = tuple(draw(st.lists(spans(), max_size=1)))
    return AFleet(pools=pools, holds=tuple(holds), unobserved=gaps)


def _activity(draw: st.DrawFn) -> dict[str, tuple[Span, ...]]:
    edges = sorted(draw(st.lists(instants, min_size=4, max_size=4)))
    return {"active": ((edges[0], edges[1]),), "unmeasured": ((edges[2], edges[3]),)}


def _fits(holds: list[AHold], pool: APool, start: int, end: int, gpus: int) -> bool:
    """Say whether the pool's devices suffice, taking all that overlap as held at once."""
    taken = sum(
        one.gpus for one in holds if one.node == pool.node and one.start < end and start < one.end
    )
    return taken + gpus <= pool.devices


@st.composite
def price_rows(draw: st.DrawFn, *, changes: int = 2) -> tuple[PriceRow, ...]:
    """Prices by instance type, each changing at some instants; p4 may have none."""
    rows = []
    for instance_type in draw(st.sampled_from([("p5",), ("p5", "p4")])):
        unit = draw(st.sampled_from(PriceUnit))
        borders = sorted(set(draw(st.lists(instants, max_size=changes))))
        edges = [0, *borders, OPEN_MS]
        rows += [
            PriceRow(
                unit=unit,
                price=draw(amounts),
                currency="USD",
                instance_type=instance_type,
                gpu_model=H100,
                valid_from_ms=first,
                valid_to_ms=last,
            )
            for first, last in pairwise(edges)
        ]
    return tuple(rows)
