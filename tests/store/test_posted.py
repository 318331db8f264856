"""Adjustments in sums of costs by every column, on both bases."""

import pytest
from sqlalchemy import Engine

from app.chargeback.costs import Basis
from app.store.costs import COST_GROUPS, CostStore
from app.units.identity import id_text
from app.units.window import HOUR_MS, Window, from_ms
from app.workflows.adjusting import adjust_period
from tests.workflows.adjusting_world import (
    LATER_MS,
    NANOS,
    an_adjusting,
    close,
    contract,
    costs,
    held,
    last_hour,
    put,
)
from tests.workflows.closing_world import DECEMBER_MS, NOVEMBER_MS, UTC_ZONE

JANUARY_MS = DECEMBER_MS + 31 * 24 * HOUR_MS
# From December on search is another cost center's.
MOVED = """\
teams:
  - { name: search, cost_center: CC-1, namespaces: ["search-*"], valid_to: "2026-12-01" }
  - { name: search, cost_center: CC-9, namespaces: ["search-*"], valid_from: "2026-12-01" }
platform: { team: platform, namespaces: [gpu-operator] }
"""


@pytest.fixture(scope="module")
def adjusted(module_database: Engine) -> Engine:
    """November with one GPU-hour of the platform that turned out to be search's."""
    close(module_database, held(last_hour(), 1))
    put(module_database, held(last_hour(), 2))
    adjust_period("2026-11", an_adjusting(module_database))
    contract(module_database, MOVED)
    return module_database


def posted(engine: Engine, group: str, basis: Basis = Basis.POSTED) -> dict[str, int]:
    span = (DECEMBER_MS, JANUARY_MS) if basis is Basis.POSTED else (NOVEMBER_MS, DECEMBER_MS)
    rows = costs(engine, *span, group, basis=basis)
    return dict(zip(rows[group].tolist(), rows["adjustment_nanos"].tolist(), strict=True))


@pytest.mark.parametrize(
    ("group", "told"),
    [
        ("team", {"platform": -3, "search": 3}),
        ("cluster", {"prod-eu": 0}),
        ("namespace", {"": -3, "search-prod": 3}),
        ("pod", {"": -3, "ranker-0": 3}),
        ("workload", {"": -3, "ranker": 3}),
        ("node", {"gpu-1": 0}),
        ("kind", {"adjustment": 0}),
        ("consumer", {"": 0}),
        ("day", {"2026-12-03": 0}),
        ("hour", {"2026-12-03T12:00:00Z": 0}),
        ("month", {"2026-12": 0}),
        ("week", {"2026-W49": 0}),
        # The usage was November's, when search was CC-1.
        ("cost_center", {"": -3, "CC-1": 3}),
    ],
)
def test_what_is_posted_can_be_grouped_by(
    adjusted: Engine, group: str, told: dict[str, int]
) -> None:
    assert posted(adjusted, group) == {name: nanos * NANOS for name, nanos in told.items()}


@pytest.mark.parametrize("basis", [*Basis])
@pytest.mark.parametrize("group", COST_GROUPS)
def test_every_column_sums_to_the_whole(adjusted: Engine, group: str, basis: Basis) -> None:
    rows = costs(adjusted, NOVEMBER_MS, JANUARY_MS, group, basis=basis)

    nanos = rows[[name for name in rows.columns if name.endswith("_nanos")]]
    times = rows[["used_ms", "idle_ms", "unallocated_ms"]]
    assert nanos.to_numpy().sum() == 6 * NANOS
    assert times.to_numpy().sum() == 2 * HOUR_MS


def test_by_usage_they_count_where_they_adjust(adjusted: Engine) -> None:
    assert posted(adjusted, "day", Basis.USAGE) == {"2026-11-30": 0}
    assert posted(adjusted, "hour", Basis.USAGE) == {"2026-11-30T23:00:00Z": 0}
    assert posted(adjusted, "cost_center", Basis.USAGE) == {"": -3 * NANOS, "CC-1": 3 * NANOS}


@pytest.mark.parametrize(
    ("column", "value", "nanos"),
    [
        ("team", "search", 3),
        ("namespace", "", -3),
        ("cost_center", "CC-1", 3),
        ("cost_center", "", -3),
        ("kind", "adjustment", 0),
        ("cluster", "prod-eu", 0),
    ],
)
def test_they_are_filtered_as_charges_are(
    adjusted: Engine, column: str, value: str, nanos: int
) -> None:
    rows = costs(adjusted, DECEMBER_MS, JANUARY_MS, "cluster", filters=[(column, (value,))])

    assert rows["adjustment_nanos"].tolist() == [nanos * NANOS]


def test_other_kinds_have_none_of_them(adjusted: Engine) -> None:
    rows = costs(adjusted, DECEMBER_MS, JANUARY_MS, "team", filters=[("kind", ("idle",))])

    assert rows.empty


def test_a_span_without_the_instant_of_posting_has_none(adjusted: Engine) -> None:
    hour_ms = LATER_MS // HOUR_MS * HOUR_MS

    assert costs(adjusted, hour_ms, hour_ms + HOUR_MS, "team")["team"].size == 2
    assert costs(adjusted, hour_ms + HOUR_MS, JANUARY_MS, "team").empty
    assert costs(adjusted, DECEMBER_MS, hour_ms, "team").empty


def test_the_charge_of_an_adjustment_is_the_line_that_it_adjusts(adjusted: Engine) -> None:
    with adjusted.connect() as connection:
        store = CostStore(connection, UTC_ZONE)
        window = Window(from_ms(NOVEMBER_MS), from_ms(DECEMBER_MS))
        before = store.costs(window, ["charge", "team"]).rows
    after = costs(adjusted, DECEMBER_MS, JANUARY_MS, "charge", "team")

    assert {*after["charge"]} == {*before["charge"]}
    assert all(len(one) == len(id_text(0)) for one in after["charge"])
