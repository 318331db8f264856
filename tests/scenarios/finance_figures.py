"""What a finance scenario expects: tables of amounts with their arithmetic, and sums that hold."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from sqlalchemy import Connection

from app.attribution.adjustments import AdjustmentType
from app.attribution.charges import ChargeKind
from app.chargeback.costs import Basis, total_nanos
from app.chargeback.periods import parse_period
from app.chargeback.statements import minor_amount
from app.pricing.rows import plain_amount
from app.store.costs import CostStore
from app.store.naming import NameStore
from app.store.statements import StatementStore
from app.units.window import HOUR_MS, to_ms
from app.workflows.commitments import commitment_report
from app.workflows.reconciling import reconciliation_of
from tests.scenarios.finance_amounts import NANOS, checked, shown
from tests.scenarios.finance_facts import Told
from tests.scenarios.finance_steps import World, rounded_hours
from tests.scenarios.finance_sums import every_adjustment, lines_of


def expect(world: World, step: Told) -> None:
    """Compare a table of a step with what is stored."""
    columns, expected = checked(step["table"])
    what = step["do"].removeprefix("expect ")
    with world.engine.connect() as connection:
        match what:
            case "ledger":
                found = _ledger_rows(connection, columns, step.get("only", {}))
            case "costs":
                found = _cost_rows(connection, world, step, columns)
            case "statements":
                found = _statement_rows(connection, step["period"], columns)
            case "adjustments":
                found = _adjustment_rows(connection, world, columns)
            case "reconciliation":
                found = _reconciliation_rows(connection, world, step["period"])
            case "commitments":
                found = _commitment_rows(connection, world, columns)
            case _:
                message = f"nothing expects {what}"
                raise AssertionError(message)
    assert found == expected, _difference(columns, expected, found)


def _difference(
    columns: Sequence[str], expected: Iterable[tuple[str, ...]], found: Iterable[tuple[str, ...]]
) -> str:
    """Say which rows are missing and which are too many."""
    told, stored = Counter(expected), Counter(found)
    lacks = [f"expected: {' | '.join(row)}" for row in (told - stored).elements()]
    more = [f"   found: {' | '.join(row)}" for row in (stored - told).elements()]
    return "\n".join(["", " | ".join(columns), *lacks, *more])


def _ledger_rows(
    connection: Connection, columns: Sequence[str], only: Mapping[str, str]
) -> list[tuple[str, ...]]:
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    groups = [name for name in columns if name not in ("GPU-hours", "cost")]
    for line in lines_of(connection):
        if all(line.words[name] == value for name, value in only.items()):
            key = tuple(line.words[name] for name in groups)
            sums[key][0] += line.gpu_ms
            sums[key][1] += line.nanos or 0
    figures = {
        key: {"GPU-hours": shown(_hours(time)), "cost": shown(nanos)}
        for key, (time, nanos) in sums.items()
    }
    return sorted(_row(columns, groups, key, figures[key]) for key in figures)


def _hours(gpu_ms: int) -> int:
    return round(Fraction(gpu_ms, HOUR_MS) * NANOS)


def _row(
    columns: Sequence[str], groups: Sequence[str], key: Sequence[str], figures: Mapping[str, str]
) -> tuple[str, ...]:
    words = dict(zip(groups, key, strict=True))
    return tuple(words.get(name, figures.get(name, "")) for name in columns)


def _cost_rows(
    connection: Connection, world: World, step: Told, columns: Sequence[str]
) -> list[tuple[str, ...]]:
    """The sums that `gpuledger costs` shows, of a month of the billing zone or of everything."""
    groups = [name for name in columns if name != "cost"]
    # What a billing day redistributes stands in the first hour of the day.
    span = (world.fleet.span[0] - 24 * HOUR_MS, world.fleet.span[1] + 24 * HOUR_MS)
    span_ms = None
    if "period" in step:
        period = parse_period(step["period"], world.zone)
        span = span_ms = (to_ms(period.start), to_ms(period.end))
    rows = (
        CostStore(connection, world.zone)
        .costs(
            rounded_hours(*span),
            groups,
            span_ms=span_ms,
            basis=Basis(step.get("basis", "posted")),
        )
        .rows
    )
    keys = rows[groups].itertuples(index=False, name=None)
    totals = [total_nanos(rows.iloc[[number]]) for number in range(len(rows))]
    return sorted(
        _row(columns, groups, key, {"cost": shown(total)})
        for key, total in zip(keys, totals, strict=True)
    )


def _statement_rows(
    connection: Connection, period: str, columns: Sequence[str]
) -> list[tuple[str, ...]]:
    return sorted(
        _row(
            columns,
            ("number", "version", "team"),
            (one.number, str(one.version), one.team),
            {
                "cost": shown(one.total_nanos),
                "rounded": plain_amount(minor_amount(one.total_minor, one.currency)),
            },
        )
        for one in StatementStore(connection).heads(period=period)
    )


def _adjustment_rows(
    connection: Connection, world: World, columns: Sequence[str]
) -> list[tuple[str, ...]]:
    groups = [name for name in columns if name not in ("GPU-hours", "cost")]
    names = NameStore(connection).teams()
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for one in every_adjustment(connection, world):
        words = {
            "period": one.run.period,
            "posted in": one.run.posting_period,
            "type": AdjustmentType(one.run.type).name.lower(),
            "by": one.run.author,
            "team": names.get(one.team_id, ""),
            "kind": ChargeKind(one.charge_kind).name.lower(),
            "usage day": str(one.day),
            "run": str(one.run.run_id),
        }
        key = tuple(words[name] for name in groups)
        sums[key][0] += one.gpu_ms
        sums[key][1] += one.cost_nanos
    return sorted(
        _row(columns, groups, key, {"GPU-hours": shown(_hours(time)), "cost": shown(nanos)})
        for key, (time, nanos) in sums.items()
    )


def _reconciliation_rows(
    connection: Connection, world: World, period: str
) -> list[tuple[str, ...]]:
    found = reconciliation_of(connection, parse_period(period, world.zone), world.zone)
    total = found.reconciliation.total
    names = (
        "provider_bill",
        "pool_cost",
        "commitment_unused",
        "not_in_cluster",
        "true_up",
        "unmatched",
    )
    return sorted((name, shown(getattr(total, name))) for name in names)


def _commitment_rows(
    connection: Connection, world: World, columns: Sequence[str]
) -> list[tuple[str, ...]]:
    """Of each commitment what an hour promised, what was used, and its cost."""
    return sorted(
        _row(
            columns,
            ("commitment", "used of promised", "covered of eligible"),
            (
                one.commitment.commitment,
                str(Fraction(one.use.used, one.use.committed)),
                str(Fraction(one.use.covered_ms, one.use.eligible_ms)),
            ),
            {"cost": shown(one.use.cost_nanos)},
        )
        for one in commitment_report(connection, world.window)
    )
