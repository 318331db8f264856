"""Closing where borders do not meet: hours over midnight, a team that moves, what is posted."""

import json
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from sqlalchemy import Connection, Engine

from app.attribution.adjustments import LEDGER_LINES, AdjustmentType
from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract, Department, Team
from app.store.adjustments import AdjustmentRun, AdjustmentStore
from app.store.contracts import ContractStore
from app.store.locking import ClosedPeriodError
from app.store.windows import RatingVersions
from app.units.window import HOUR_MS, Window, from_ms, to_ms
from app.usage.identity import cluster_id, gpu_model_id, namespace_id, team_id
from app.workflows.closing import close_period
from tests.store.builders import CLUSTER, H100, a_charge
from tests.workflows.closing_world import (
    DECEMBER_MS,
    LAST_HOURS,
    TERMS,
    UTC_ZONE,
    an_order,
    close_anyway,
    put_hour,
    put_names,
    put_november,
)

KOLKATA = ZoneInfo("Asia/Kolkata")
# Midnight of December 1 in Kolkata is half past six in the evening of November 30 in UTC.
BORDER_MS = to_ms(datetime.fromisoformat("2026-11-30T18:30Z"))
OVER = Window(from_ms(BORDER_MS - HOUR_MS // 2), from_ms(BORDER_MS + HOUR_MS // 2))


def hour_at(start_ms: int) -> Window:
    return Window(from_ms(start_ms), from_ms(start_ms + HOUR_MS))


def test_an_hour_over_the_border_is_billed_on_both_sides_and_frozen_with_the_first(
    database: Engine,
) -> None:
    """Of 3.00 for the hour, 1.00 was used before midnight and 2.00 after it."""
    november = a_charge(OVER, cost_nanos=10**9)
    november["end_ms"] = BORDER_MS
    december = a_charge(OVER, cost_nanos=2 * 10**9, start_ms=BORDER_MS, pod="ranker-1")
    after = hour_at(OVER.end_ms)
    with database.begin() as connection:
        put_names(connection)
        put_hour(connection, OVER, november, december, zone=KOLKATA)
        put_hour(connection, after, a_charge(after), zone=KOLKATA)

    (first,) = close_anyway(database, at_ms=DECEMBER_MS, zone=KOLKATA)
    with pytest.raises(ClosedPeriodError, match="2026-11"), database.begin() as connection:
        put_hour(connection, OVER, december, zone=KOLKATA)
    with database.begin() as connection:
        put_hour(connection, after, a_charge(after, cost_nanos=4 * 10**9), zone=KOLKATA)
    (second,) = close_anyway(
        database, "2026-12", at_ms=DECEMBER_MS + 40 * 24 * HOUR_MS, zone=KOLKATA
    )

    assert (first.total_nanos, second.total_nanos) == (10**9, 6 * 10**9)


def test_a_month_that_shares_its_utc_month_with_a_closed_one_can_be_written(
    database: Engine,
) -> None:
    """In New York November ends inside December's first UTC day, of which nothing was stored."""
    zone = ZoneInfo("America/New_York")
    with database.begin() as connection:
        put_names(connection)
        put_hour(connection, LAST_HOURS[-1], a_charge(LAST_HOURS[-1]), zone=zone)
    close_anyway(database, at_ms=DECEMBER_MS + 24 * HOUR_MS, zone=zone)

    with database.begin() as connection:
        open_hour = hour_at(DECEMBER_MS + 5 * HOUR_MS)
        put_hour(connection, open_hour, a_charge(open_hour), zone=zone)
    closed_hour = hour_at(DECEMBER_MS + 4 * HOUR_MS)
    with pytest.raises(ClosedPeriodError), database.begin() as connection:
        put_hour(connection, closed_hour, a_charge(closed_hour), zone=zone)


def put_move(connection: Connection, moved_ms: int) -> None:
    """Let search move from one cost center and department to another."""
    teams = (
        Team(name="search", cost_center="CC-OLD", department="labs", valid_to_ms=moved_ms),
        Team(name="search", cost_center="CC-NEW", department="products", valid_from_ms=moved_ms),
    )
    ContractStore(connection).apply(
        "teams: []",
        applied_ms=0,
        file_name="teams.yaml",
        sha256="0",
        contract=Contract(
            teams=teams, departments=(Department(name="labs"), Department(name="products"))
        ),
        zone=KOLKATA,
    )


def test_a_team_that_moves_has_lines_of_both_cost_centers(database: Engine) -> None:
    """It moves on November 30 at midnight of Kolkata: an hour each before and after."""
    moved_ms = to_ms(datetime.fromisoformat("2026-11-29T18:30Z"))
    before, after = hour_at(moved_ms - HOUR_MS - HOUR_MS // 2), hour_at(moved_ms + HOUR_MS // 2)
    with database.begin() as connection:
        put_names(connection)
        put_move(connection, moved_ms)
        put_hour(connection, before, a_charge(before, cost_nanos=10**9), zone=KOLKATA)
        put_hour(connection, after, a_charge(after, cost_nanos=2 * 10**9), zone=KOLKATA)
    (statement,) = close_anyway(database, at_ms=DECEMBER_MS, zone=KOLKATA)

    body = json.loads(statement.body)
    assert [(line["cost_center"], line["cost"]) for line in body["lines"]] == [
        ("CC-NEW", "2.00"),
        ("CC-OLD", "1.00"),
    ]
    assert (body["cost_center"], body["department"]) == ("CC-NEW", "products")


def an_adjusted_line(usage: Window, nanos: int) -> pd.DataFrame:
    """The difference of one line of search's, used in an earlier period."""
    values = dict.fromkeys(LEDGER_LINES.columns, 0) | {
        "cluster_id": cluster_id(CLUSTER),
        "day": usage.start_ms // (24 * HOUR_MS),
        "window_start_ms": usage.start_ms,
        "start_ms": usage.start_ms,
        "end_ms": usage.end_ms,
        "gpu_model_id": gpu_model_id(H100),
        "namespace_id": namespace_id("search-prod"),
        "team_id": team_id("search"),
        "kind": int(ChargeKind.USED),
        "cost_nanos": nanos,
        "gpu_ms": HOUR_MS,
    }
    return pd.DataFrame([values])[[*LEDGER_LINES.columns]].astype("int64")


def test_what_is_posted_in_the_period_is_on_its_statement(database: Engine) -> None:
    """9.003 of charges less 2.00 of October's that late facts take back: 7.00."""
    put_november(database)
    usage = hour_at(DECEMBER_MS - 40 * 24 * HOUR_MS)
    with database.begin() as connection:
        store = AdjustmentStore(connection, UTC_ZONE)
        run = AdjustmentRun(
            run_id=store.next_run_id(),
            period="2026-10",
            type=AdjustmentType.LATE_FACTS,
            posting_period="2026-11",
            posted_ms=DECEMBER_MS - 1,
            reason="facts of October came late",
            author="gpuledger",
            versions=RatingVersions(rating=1, prices=0, contract=0),
        )
        store.post(run, an_adjusted_line(usage, -2 * 10**9))

    closed = close_period(an_order(), TERMS, engine=database)

    statement = closed.statements[-1]
    (adjustment,) = json.loads(statement.body)["adjustments"]
    assert (adjustment["cost"], adjustment["usage_day"]) == ("-2.00", "2026-10-22")
    assert (adjustment["type"], adjustment["reason"]) == (
        "late_facts",
        "facts of October came late",
    )
    assert statement.total_nanos == 7_003_000_000
    with pytest.raises(ClosedPeriodError), database.begin() as connection:
        AdjustmentStore(connection, UTC_ZONE).post(
            replace(run, run_id=run.run_id + 1), an_adjusted_line(usage, 1)
        )
