"""The charges of a simulated fleet beside the lines that the oracle's walk gives."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from app.attribution.charges import ChargeKind
from app.simulator.fleet import Fleet
from app.simulator.pods import GPU_RESOURCE
from app.usage.identity import hold_id, node_id, team_id
from tests.oracle.fleet_inputs import node_keys
from tests.oracle.ledger_oracle import (
    HELD,
    STRANDED,
    UNALLOCATED,
    UNOBSERVED,
    Amount,
    Ledger,
    LineKey,
)

NANOS = 10**9
_STATES = {
    ChargeKind.USED: HELD,
    ChargeKind.IDLE: HELD,
    ChargeKind.UNMEASURED: HELD,
    ChargeKind.UNALLOCATED: UNALLOCATED,
    ChargeKind.STRANDED: STRANDED,
    ChargeKind.UNOBSERVED: UNOBSERVED,
}


@dataclass(frozen=True, slots=True)
class Charged:
    """What the ledger says of a line."""

    device_ms: int
    unpriced_ms: int
    nanos: int


def charged_lines(
    charges: pd.DataFrame,
    cluster: str,
    fleet: Fleet,
    teams: Iterable[str],
    parts: Mapping[int, str] | None = None,
) -> dict[LineKey, Charged]:
    """Return the charges as the oracle names them; a hold's used, idle and unmeasured as one.

    ``parts`` are the pods or claims of holds that are not of whole devices, by their identities. An
    identity that is not of the fleet keeps its number as a name, so that it is found.
    """
    nodes = {node_id(cluster, uid): key for uid, key in node_keys(fleet.nodes).items()}
    holds = {hold_id(cluster, one.pod_uid, GPU_RESOURCE): one.pod_uid for one in fleet.truth.holds}
    known = {one.pod_uid for one in fleet.truth.holds}
    holds |= {identity: uid for identity, uid in (parts or {}).items() if uid in known}
    names = {team_id(name): name for name in teams}
    lines: dict[LineKey, Charged] = {}
    columns = ["node_id", "hold_id", "team_id", "kind", "gpu_ms", "cost_nanos", "priced"]
    for node, hold, team, kind, ms, nanos, priced in charges[columns].itertuples(index=False):
        key = LineKey(
            nodes.get(node, str(node)),
            _STATES[ChargeKind(kind)],
            holds.get(hold, str(hold)) if hold else "",
            names.get(team, str(team)),
        )
        before = lines.get(key, Charged(0, 0, 0))
        lines[key] = Charged(
            before.device_ms + ms,
            before.unpriced_ms + (0 if priced else ms),
            before.nanos + nanos,
        )
    return lines


def disagreements(
    charged: Mapping[LineKey, Charged],
    expected: Ledger,
    segments: Mapping[str, int],
    *,
    divided: Collection[str] = (),
) -> list[str]:
    """Say where the ledger is not what the walk says: to the millisecond, and to the nano.

    A segment rounds its cost by half a nano at most and hands out less than one nano too many or
    too few to each of a hold's used, idle and unmeasured time; ``segments`` counts them by node.
    Where devices are ``divided`` a segment also hands out milliseconds, less than one too many or
    too few to a line, and the money goes with them.
    """
    wrong = []
    nothing = Amount(Fraction(0), Fraction(0), Fraction(0))
    dearest = _dearest(expected)
    for key in sorted({*charged, *expected}, key=str):
        found, wanted = charged.get(key, Charged(0, 0, 0)), expected.get(key, nothing)
        count = segments.get(key.node, 0)
        loose = count if key.node in divided else 0
        ms_off = abs(found.device_ms - wanted.device_ms)
        if ms_off > loose or abs(found.unpriced_ms - wanted.unpriced_ms) > loose:
            wrong.append(
                f"{key}: {found.device_ms} ms, {found.unpriced_ms} of them unpriced,"
                f" instead of {float(wanted.device_ms)} and {float(wanted.unpriced_ms)}"
            )
        off = abs(found.nanos - wanted.cost * NANOS)
        if off > 4 * count + loose * dearest:
            wrong.append(f"{key}: {found.nanos} nanos, {float(off)} off")
    return [*wrong, *wrong_totals(charged, expected, segments)]


def _dearest(expected: Ledger) -> Fraction:
    """Return the most nanos that a millisecond of any line costs on average, and half more."""
    priced = [one for one in expected.values() if one.device_ms > one.unpriced_ms]
    costs = (one.cost * NANOS / (one.device_ms - one.unpriced_ms) for one in priced)
    return max(costs, default=Fraction(0)) * Fraction(3, 2)


def wrong_totals(
    charged: Mapping[LineKey, Charged], expected: Ledger, segments: Mapping[str, int]
) -> list[str]:
    """Say which nodes' costs are not the price of their capacity, half a nano a segment off."""
    wrong = []
    for node in sorted({key.node for key in (*charged, *expected)}):
        found = sum(one.nanos for key, one in charged.items() if key.node == node)
        wanted = NANOS * sum(one.cost for key, one in expected.items() if key.node == node)
        if abs(found - wanted) > Fraction(segments.get(node, 0), 2):
            wrong.append(f"{node}: {found} nanos in all, {float(found - wanted)} off")
        ms = sum(one.device_ms for key, one in charged.items() if key.node == node)
        wanted_ms = sum(one.device_ms for key, one in expected.items() if key.node == node)
        if ms != wanted_ms:
            wrong.append(f"{node}: {ms} ms in all instead of {float(wanted_ms)}")
    return wrong


def segments_by_node(
    pool_usage: pd.DataFrame, borders: Sequence[int], cluster: str, fleet: Fleet
) -> Counter[str]:
    """Return the most segments that rating may make of a node's rows: one more a border inside."""
    nodes = {node_id(cluster, uid): key for uid, key in node_keys(fleet.nodes).items()}
    counts: Counter[str] = Counter()
    for node, start_ms, end_ms in pool_usage[["node_id", "start_ms", "end_ms"]].itertuples(
        index=False
    ):
        counts[nodes.get(node, str(node))] += 1 + sum(start_ms < at < end_ms for at in borders)
    return counts
