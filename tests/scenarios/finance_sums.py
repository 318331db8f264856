"""The stored lines of a finance scenario in words, and what all of them come to."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text

from app.attribution.charges import ChargeKind, LineStep
from app.chargeback.costs import Basis, total_nanos
from app.pricing.inputs import PriceInputs
from app.store.adjustments import Adjustment, AdjustmentStore
from app.store.commitments import CommitmentStore
from app.store.costs import CostStore
from app.store.periods import PeriodStore
from app.store.prices import PriceStore
from app.store.statements import StatementStore
from app.units.window import HOUR_MS, OPEN_MS
from tests.scenarios.finance_amounts import NANOS, nanos_of, shown
from tests.scenarios.finance_steps import World, rounded_hours

PARTS = ("pool", "commitments", "credits", "true_up", "adjustments")
_LINES = text(
    "SELECT coalesce(cl.name, '') AS cluster, coalesce(n.name, '') AS node, coalesce(h.pod, '') AS"
    " pod, coalesce(ns.name, '') AS namespace, coalesce(t.name, '') AS team, c.kind, c.step,"
    " c.price_id, c.gpu_ms, c.cost_nanos, c.started_at, c.window_start FROM charges AS c"
    " LEFT JOIN clusters AS cl USING (cluster_id)"
    " LEFT JOIN nodes AS n ON (n.cluster_id, n.node_id) = (c.cluster_id, c.node_id)"
    " LEFT JOIN holds AS h ON (h.cluster_id, h.hold_id) = (c.cluster_id, c.hold_id)"
    " LEFT JOIN namespaces AS ns ON ns.namespace_id = c.namespace_id"
    " LEFT JOIN teams AS t ON t.team_id = c.team_id"
)
_STEPS = {
    LineStep.FIRST_HAND: "first-hand",
    LineStep.NOBODY: "1 nobody's",
    LineStep.PLATFORM: "2 shared",
    LineStep.CONSUMERS: "3 consumers",
    LineStep.COMMITMENT: "commitment",
    LineStep.TRUE_UP: "true-up",
    LineStep.CREDIT: "credit",
    LineStep.CARD_VARIANCE: "card variance",
}


@dataclass(frozen=True)
class Line:
    """A stored charge in words; ``nanos`` is None where nothing prices it."""

    words: Mapping[str, str]
    step: LineStep
    committed: bool
    gpu_ms: int
    nanos: int | None
    day: date


def lines_of(connection: Connection) -> list[Line]:
    """Return every charge in words."""
    rows = connection.execute(_LINES).all()
    commitments = {
        one.price_id: one
        for one in CommitmentStore(connection).by_price_ids({row.price_id for row in rows}).values()
    }
    inputs = PriceStore(connection).inputs()
    lines = []
    for row in rows:
        step = LineStep(row.step)
        committed = row.price_id in commitments
        kind = ChargeKind(row.kind).name.lower()
        at_ms = int(row.started_at.timestamp() * 1000)
        if committed:
            price = commitments[row.price_id].commitment
        else:
            price = _price(inputs, row.price_id, at_ms)
        unpriced = row.cost_nanos is None
        words = {
            **{
                name: row._mapping[name] for name in ("cluster", "node", "pod", "namespace", "team")
            },
            "kind": f"{kind} (unpriced)" if unpriced else kind,
            "step": _STEPS[step],
            "price": price,
            "hour": f"{row.window_start:%Y-%m-%dT%H:%MZ}",
        }
        lines.append(
            Line(words, step, committed, row.gpu_ms, row.cost_nanos, row.window_start.date())
        )
    return lines


def _price(inputs: PriceInputs, price_id: int, at_ms: int) -> str:
    found = inputs.price_of(price_id, at_ms)
    if found is not None:
        return shown(round(found.unit_price * NANOS))
    return "energy" if price_id and inputs.energy_of(price_id, at_ms) else ""


def parts_of(lines: Iterable[Line]) -> dict[str, int]:
    """Sum the charges: pools at their prices, commitments whole, credits, true-up."""
    parts = dict.fromkeys(PARTS, 0)
    for line in lines:
        match line.step:
            case LineStep.NOBODY | LineStep.PLATFORM | LineStep.CONSUMERS:
                continue
            case LineStep.COMMITMENT:
                part = "commitments"
            case LineStep.CREDIT:
                part = "credits"
            case LineStep.TRUE_UP:
                part = "true_up"
            case _:
                part = "commitments" if line.committed else "pool"
        parts[part] += line.nanos or 0
    return parts


def every_adjustment(connection: Connection, world: World) -> list[Adjustment]:
    store = AdjustmentStore(connection, world.zone)
    periods = [one.name for one in PeriodStore(connection, world.zone).all()]
    return [one for name in periods for one in store.find(name)]


def assert_it_all_adds_up(world: World, total: Mapping[str, str]) -> None:
    """Compare every sum of the ledger with the scenario's own, and with each other, to the nano."""
    assert set(total) <= {*PARTS}, f"unknown parts in {sorted(total)}"
    stated = {name: nanos_of(total.get(name, "0")) for name in PARTS}
    with world.engine.connect() as connection:
        lines = lines_of(connection)
        adjustments = every_adjustment(connection, world)
        parts = parts_of(lines) | {"adjustments": sum(one.cost_nanos for one in adjustments)}
        assert parts == stated, f"of {stated} the ledger has {parts}"
        everything = sum(line.nanos or 0 for line in lines) + parts["adjustments"]
        assert everything == sum(stated.values())
        _assert_steps_move_nothing(lines)
        # A GPU's time is on one line; what was delivered late is on adjustments.
        time = sum(line.gpu_ms for line in lines) + sum(one.gpu_ms for one in adjustments)
        assert time == world.fleet.capacity_ms()
        _assert_reads_agree(connection, world, everything)
        _assert_statements_agree(connection)


def _assert_steps_move_nothing(lines: Sequence[Line]) -> None:
    sums: dict[tuple[LineStep, date, str], int] = defaultdict(int)
    for line in lines:
        if line.step in (LineStep.NOBODY, LineStep.PLATFORM, LineStep.CONSUMERS):
            sums[line.step, line.day, line.words["cluster"]] += line.nanos or 0
    assert not any(sums.values()), f"redistribution makes money: {sums}"


def _assert_reads_agree(connection: Connection, world: World, everything: int) -> None:
    """By usage all money lies in the hours, posted it may lie in later months."""
    span = rounded_hours(world.fleet.span[0] - 48 * HOUR_MS, world.fleet.span[1] + 48 * HOUR_MS)
    later = rounded_hours(span.start_ms, min(span.end_ms + 400 * 24 * HOUR_MS, OPEN_MS))
    for window, basis in ((span, Basis.USAGE), (later, Basis.POSTED)):
        found = CostStore(connection, world.zone).costs(window, ("team",), basis=basis)
        assert total_nanos(found.rows) == everything, f"by {basis.value} another sum is read"


def _assert_statements_agree(connection: Connection) -> None:
    store = StatementStore(connection)
    for closing in store.closings():
        heads = [
            one for one in store.heads(period=closing.period) if one.version == closing.version
        ]
        assert sum(one.total_nanos for one in heads) == (
            closing.charges_nanos + closing.adjustments_nanos
        )
        assert sum(one.total_minor for one in heads) == closing.total_minor
        for head in heads:
            found = store.by_number(head.number, head.version)
            assert found is not None
            body = json.loads(found.body)
            assert body["number"] == head.number
            assert found.sha256 == head.sha256
