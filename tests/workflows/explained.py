"""Explain every line of a ledger, and hold what is said against the stored figures."""

from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, Row, text

from app.units.money import from_nanos
from app.workflows.succeeding import Explained, explained

UTC_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Told:
    """A stored line, and how it was explained."""

    row: Row[tuple[object, ...]]
    found: Explained

    @property
    def text(self) -> str:
        return self.found.explanation.text()

    def figures(self, title: str) -> dict[str, str]:
        (step,) = (one for one in self.found.explanation.steps if one.title == title)
        return {"": step.text, **dict(step.figures)}


def explain_all(engine: Engine, zone: ZoneInfo = UTC_ZONE) -> list[Told]:
    """Explain all charges, each of them checked against its row."""
    query = (
        "SELECT l.*, coalesce(t.name, '') AS team FROM charges AS l"
        " LEFT JOIN teams AS t USING (team_id) ORDER BY step, started_at, charge_id"
    )
    told = _told(engine, query, "charge_id", zone)
    for one in told:
        assert one.found.explanation.charge_id == one.row.charge_id
        _agrees(one)
    return told


def explain_adjustments(engine: Engine, zone: ZoneInfo = UTC_ZONE) -> list[Told]:
    """Explain all adjustments by their own identity, each of them checked against its row."""
    query = (
        "SELECT l.*, coalesce(t.name, '') AS team FROM adjustments AS l"
        " LEFT JOIN teams AS t USING (team_id) ORDER BY run_id, adjustment_id"
    )
    told = _told(engine, query, "adjustment_id", zone)
    for one in told:
        assert one.found.adjustment == one.row.adjustment_id
        assert one.found.explanation.charge_id == one.row.charge_id
        _agrees(one)
    return told


def money_of(figure: str) -> Decimal:
    """Read an amount off a figure."""
    return Decimal(figure.partition(" ")[0])


def _told(engine: Engine, query: str, identity: str, zone: ZoneInfo) -> list[Told]:
    with engine.connect() as connection:
        rows = connection.execute(text(query)).all()
        return [
            Told(row, explained(connection, getattr(row, identity), "USD", zone)) for row in rows
        ]


def _agrees(one: Told) -> None:
    """The explanation is of the line's team and money, and its segments sum to it."""
    assert one.found.team == one.row.team
    if one.row.cost_nanos is None:
        assert one.figures("Money")[""] == "none, as there is no price"
        return
    amount = from_nanos(one.row.cost_nanos)
    assert money_of(one.figures("Money")["charged"]) == amount
    steps = [step for step in one.found.explanation.steps if step.title == "Split"]
    for name, figure in (pair for step in steps for pair in step.figures):
        if name == "sum of the segments":
            assert money_of(figure) == amount
    parts = [
        Decimal(figure.split()[-2])
        for step in steps
        for name, figure in step.figures
        if name != "sum of the segments"
    ]
    assert not parts or sum(parts) == amount
