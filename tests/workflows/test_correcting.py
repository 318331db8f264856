"""Corrections of a closed period by other inputs, and what makes one impossible."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from app.attribution.adjustments import AdjustmentType
from app.chargeback.costs import Basis
from app.errors import GpuledgerError
from app.store.adjustments import AdjustmentStore
from app.store.locking import held_by_session
from app.workflows.adjusting import Corrected, Correction, adjust_period, correct_period
from app.workflows.postings import AdjustmentRunningError, TeamMoney
from tests.workflows.adjusting_world import (
    NANOS,
    OTHER_CONTRACT,
    an_adjusting,
    close,
    contract,
    costs,
    count,
    held,
    last_hour,
    ledger,
    money,
    prices,
    put,
    rate,
)
from tests.workflows.closing_world import DECEMBER_MS, NOVEMBER_MS, UTC_ZONE

JANUARY_MS = DECEMBER_MS + 31 * 24 * 3_600_000


ORDER = Correction(period="2026-11", reason="A wrong price.", author="ada")


def correct(engine: Engine, order: Correction = ORDER, *, dry_run: bool = False) -> Corrected:
    return correct_period(order, an_adjusting(engine, dry_run=dry_run))


def test_a_price_that_was_wrong_is_corrected_in_the_open_period(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    prices(database, "2.00")

    done = correct(database)

    # One GPU-hour each at 2.00 in place of 3.00.
    assert done.correction.teams == (
        TeamMoney(team="platform", nanos=-1 * NANOS),
        TeamMoney(team="search", nanos=-1 * NANOS),
    )
    assert done.correction.run.type is AdjustmentType.CORRECTION
    assert done.correction.run.reason == ("A wrong price. (prices version 2, contract version 1)")
    assert not done.late.posted
    assert money(database, NOVEMBER_MS, DECEMBER_MS) == {"search": 3 * NANOS, "platform": 3 * NANOS}
    assert money(database, NOVEMBER_MS, DECEMBER_MS, basis=Basis.USAGE) == {
        "search": 2 * NANOS,
        "platform": 2 * NANOS,
    }


def test_a_policy_backdated_into_a_closed_period_moves_nothing_until_it_is_corrected(
    database: Engine,
) -> None:
    close(database, held(last_hour(), 1))
    before = ledger(database)

    # Search's namespaces were ml's all along.
    contract(database, OTHER_CONTRACT)
    rate(database)
    assert not adjust_period("2026-11", an_adjusting(database)).posted
    assert ledger(database) == before

    done = correct(database, replace(ORDER, reason="The team moved."))

    assert done.correction.teams == (
        TeamMoney(team="ml", nanos=3 * NANOS),
        TeamMoney(team="search", nanos=-3 * NANOS),
    )
    assert money(database, DECEMBER_MS, JANUARY_MS) == {"ml": 3 * NANOS, "search": -3 * NANOS}


def test_later_facts_go_by_the_corrected_inputs(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    prices(database, "2.00")
    correct(database)

    put(database, held(last_hour(), 2))
    done = adjust_period("2026-11", an_adjusting(database))

    assert done.teams == (
        TeamMoney(team="platform", nanos=-2 * NANOS),
        TeamMoney(team="search", nanos=2 * NANOS),
    )
    assert done.run.versions.prices == 2


def test_late_facts_that_wait_are_posted_apart_from_the_correction(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    prices(database, "2.00")
    put(database, held(last_hour(), 2))

    dry = correct(database, dry_run=True)
    assert count(database, "adjustments") == 0
    done = correct(database)

    assert dry.late.teams == done.late.teams
    assert dry.correction.teams == done.correction.teams
    assert done.late.teams == (
        TeamMoney(team="platform", nanos=-3 * NANOS),
        TeamMoney(team="search", nanos=3 * NANOS),
    )
    assert done.correction.teams == (TeamMoney(team="search", nanos=-2 * NANOS),)
    with database.connect() as connection:
        runs = AdjustmentStore(connection, UTC_ZONE).runs("2026-11")
    assert [run.type for run in runs] == [AdjustmentType.LATE_FACTS, AdjustmentType.CORRECTION]
    assert not adjust_period("2026-11", an_adjusting(database)).posted


def test_a_correction_by_older_inputs_leads_back(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    before = ledger(database)
    prices(database, "2.00")
    correct(database)

    correct(database, replace(ORDER, prices=1, reason="It was right."))

    assert ledger(database) == before
    assert money(database, DECEMBER_MS, JANUARY_MS) == {"search": 0, "platform": 0}


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (replace(ORDER, period="2026-12"), "2026-12 is open"),
        (replace(ORDER, period="2026-13"), "2026-13"),
        (replace(ORDER, prices=9), "no version 9 of the prices"),
        (replace(ORDER, contract=-1), "no version -1 of the contract"),
        (replace(ORDER, reason=" "), "with a reason"),
        (replace(ORDER, author=""), "with a reason"),
    ],
)
def test_an_order_that_cannot_be_is_one_error_and_changes_nothing(
    module_closed: Engine, order: Correction, said: str
) -> None:
    with pytest.raises(GpuledgerError, match=said):
        correct(module_closed, order)

    assert count(module_closed, "adjustment_runs") == 0


@pytest.fixture(scope="module")
def module_closed(module_database: Engine) -> Engine:
    close(module_database, held(last_hour(), 1))
    return module_database


def test_two_runs_at_once_are_refused(module_closed: Engine) -> None:
    with held_by_session(module_closed, "adjusting"), pytest.raises(AdjustmentRunningError):
        correct(module_closed)

    assert count(module_closed, "adjustment_runs") == 0


def test_an_open_period_is_not_adjusted(module_closed: Engine) -> None:
    with pytest.raises(GpuledgerError, match="2026-12 is open"):
        adjust_period("2026-12", an_adjusting(module_closed))


def test_the_kinds_and_the_time_of_both_bases(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2, active=1))
    adjust_period("2026-11", an_adjusting(database))

    posted = costs(database, DECEMBER_MS, JANUARY_MS, "kind", "day", "team")
    usage = costs(database, NOVEMBER_MS, DECEMBER_MS, "team", basis=Basis.USAGE)

    assert posted["kind"].tolist() == ["adjustment"] * 2
    assert posted["day"].tolist() == ["2026-12-03"] * 2
    assert posted["adjustment_nanos"].tolist() == [-3 * NANOS, 3 * NANOS]
    assert not posted[[name for name in posted.columns if name.endswith("_ms")]].to_numpy().any()
    hour = 3_600_000
    columns = ["team", "used_ms", "idle_ms", "unallocated_ms", "idle_nanos", "adjustment_nanos"]
    assert usage[columns].to_numpy().tolist() == [
        ["platform", 0, 0, 0, 0, -3 * NANOS],
        ["search", hour, hour, 0, 3 * NANOS, 3 * NANOS],
    ]
