"""The oracle's walk over a simulated fleet, by the millisecond where much happens, else coarser."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from app.simulator.spec import OPEN_MS
from app.simulator.truth import Truth
from tests.oracle.fleet_inputs import oracle_holds, oracle_nodes
from tests.oracle.ledger_oracle import Amount, Ledger, OracleHold, OracleNode, Span, walk
from tests.workflows.terms import PLATFORM, Terms

_NOTHING = Amount(Fraction(0), Fraction(0), Fraction(0))


def walked(
    truth: Truth,
    terms: Terms,
    span: Span,
    observed: Sequence[Span],
    *,
    step_ms: int = 1,
    nodes: Iterable[OracleNode] | None = None,
    holds: Iterable[OracleHold] | None = None,
) -> Ledger:
    """Return the lines of a span; ``nodes`` and ``holds`` are those that are true by default.

    Every edge of anything inside the span must be a multiple of ``step_ms``.
    """
    prices = terms.oracle_prices(truth.nodes)
    known = [
        replace(node, prices=prices[node.name.split("#")[0]])
        for node in (oracle_nodes(truth) if nodes is None else nodes)
    ]
    holding = list(oracle_holds(truth) if holds is None else holds)
    owners = terms.oracle_owners(hold.namespace for hold in holding)

    def steps(one: object) -> object:
        return _stepped(one, span, step_ms)

    coarse = walk(
        start_ms=span.start_ms // step_ms,
        end_ms=span.end_ms // step_ms,
        nodes=[
            replace(
                steps(node),
                counts=tuple(map(steps, node.counts)),
                prices=tuple(map(steps, node.prices)),
            )
            for node in known
        ],
        holds=[steps(hold) for hold in holding],
        observed=[steps(one) for one in observed],
        owners=[steps(one) for one in owners],
        platform=PLATFORM,
    )
    return {
        key: Amount(one.device_ms * step_ms, one.unpriced_ms * step_ms, one.cost * step_ms)
        for key, one in coarse.items()
        if one.device_ms
    }


def added(ledgers: Iterable[Ledger]) -> Ledger:
    """Return the sum of some ledgers."""
    total: Ledger = {}
    for ledger in ledgers:
        for key, amount in ledger.items():
            total[key] = total.get(key, _NOTHING).plus(amount)
    return total


def told_until(holds: Iterable[OracleHold], at_ms: int) -> list[OracleHold]:
    """Return the holds as they were known at an instant: what had not ended goes on."""
    return [
        replace(hold, end_ms=hold.end_ms if hold.end_ms <= at_ms else OPEN_MS)
        for hold in holds
        if hold.start_ms <= at_ms
    ]


def _stepped(one: object, span: Span, step_ms: int) -> object:
    """Return a span, clipped to another, with its edges counted in steps."""
    edges = []
    for at_ms in (one.start_ms, one.end_ms):
        inside = min(max(at_ms, span.start_ms), span.end_ms)
        assert inside % step_ms == 0, f"{at_ms} ms is between two steps of {step_ms} ms"
        edges.append(inside // step_ms)
    return replace(one, start_ms=edges[0], end_ms=edges[1])
