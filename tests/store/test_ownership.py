"""Costs go to the department and cost center that a team had on the billing day."""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, text

from app.attribution.charges import ChargeKind
from app.attribution.contract import Affiliation, Contract, Department, Team
from app.store.charges import ChargeStore
from app.store.contracts import ContractStore
from app.store.costs import CostStore
from app.store.ownership import OwnershipStore
from app.units.window import HOUR_MS, OPEN_MS, Window, from_ms, to_ms
from app.usage.identity import team_id
from tests.store.builders import CLUSTER, a_charge, charges

KOLKATA = ZoneInfo("Asia/Kolkata")
# 2026-03-17T00:00:00+05:30.
MOVED_MS = to_ms(datetime(2026, 3, 17, tzinfo=KOLKATA))
MARCH = Window(datetime(2026, 2, 28, 18, tzinfo=UTC), datetime(2026, 3, 31, 19, tzinfo=UTC))
SEARCH = team_id("search")


def a_contract(moved_ms: int = MOVED_MS) -> Contract:
    return Contract(
        teams=(
            Team(name="search", department="web", valid_to_ms=moved_ms),
            Team(name="search", department="lab", valid_from_ms=moved_ms),
            Team(name="ml", cost_center="CC-9", department="lab"),
        ),
        departments=(
            Department(name="web", cost_center="CC-1"),
            Department(name="lab", parent="house"),
            Department(name="house", cost_center="CC-2"),
        ),
    )


@pytest.fixture
def march(shared_engine: Engine) -> Iterator[Connection]:
    """A team moves to another department on March 17th of a zone half an hour off."""
    with shared_engine.connect() as connection:
        connection.begin()
        apply(connection, a_contract(), "first")
        for day in (1, 16, 17, 31):
            # The last hour of each day of Kolkata, which ends at 18:30 UTC.
            start_ms = to_ms(datetime(2026, 3, day, 17, tzinfo=UTC))
            hour = Window(from_ms(start_ms), from_ms(start_ms + HOUR_MS))
            found = charges(a_charge(hour, ChargeKind.USED, cost_nanos=day))
            ChargeStore(connection, CLUSTER, KOLKATA).replace(hour, found)
        yield connection
        connection.rollback()


def apply(connection: Connection, contract: Contract, sha256: str, zone: tzinfo = KOLKATA) -> int:
    stored = ContractStore(connection).apply(
        "teams:",
        applied_ms=MOVED_MS,
        file_name="teams.yaml",
        sha256=sha256,
        contract=contract,
        zone=zone,
    )
    return stored.version


def costs(connection: Connection, *by: str, window: Window = MARCH, **only: str) -> dict[str, int]:
    filters = tuple((name, (value,)) for name, value in only.items())
    rows = CostStore(connection, KOLKATA).costs(window, by, filters).rows
    keys = [" ".join(key) for key in rows[[*by]].itertuples(index=False, name=None)]
    return dict(zip(keys, rows["used_nanos"].tolist(), strict=True))


def test_a_team_that_moves_on_the_17th_of_a_zone_has_the_right_days(march: Connection) -> None:
    assert costs(march, "department") == {"web": 1 + 16, "lab": 17 + 31}
    assert costs(march, "cost_center") == {"CC-1": 1 + 16, "CC-2": 17 + 31}
    assert costs(march, "day", "department") == {
        "2026-03-01 web": 1,
        "2026-03-16 web": 16,
        "2026-03-17 lab": 17,
        "2026-03-31 lab": 31,
    }
    assert costs(march, "team") == {"search": 65}


def test_lines_are_read_as_the_rollup_is(march: Connection) -> None:
    # The first and last half days of the window are lines, and so is everything by pod.
    found = costs(march, "department", "pod")

    assert {key.split()[0]: nanos for key, nanos in found.items()} == {"web": 17, "lab": 48}


@pytest.mark.parametrize(
    ("only", "nanos"),
    [
        ({"department": "web"}, 17),
        ({"department": "lab"}, 48),
        ({"department": ""}, 0),
        ({"cost_center": "CC-2", "team": "search"}, 48),
        ({"cost_center": "CC-9"}, 0),
        ({"department": "web", "cost_center": "CC-2"}, 0),
    ],
)
def test_costs_are_filtered_by_the_owners_of_the_day(
    march: Connection, only: dict[str, str], nanos: int
) -> None:
    assert sum(costs(march, "team", **only).values()) == nanos
    assert sum(costs(march, "node", **only).values()) == nanos


def test_a_later_contract_says_who_owned_march(march: Connection) -> None:
    apply(march, a_contract(moved_ms=to_ms(datetime(2026, 3, 2, tzinfo=KOLKATA))), "second")

    assert costs(march, "department") == {"web": 1, "lab": 64}


def test_a_closed_month_keeps_the_owners_that_its_closing_pinned(march: Connection) -> None:
    april = to_ms(datetime(2026, 4, 1, tzinfo=KOLKATA))
    close_march(march, contract_version=1)

    apply(march, a_contract(moved_ms=OPEN_MS - 1), "second")

    store = OwnershipStore(march, KOLKATA)
    assert costs(march, "department") == {"web": 17, "lab": 48}
    assert store.owners(april - 1)[SEARCH] == Affiliation(department="lab", cost_center="CC-2")
    assert store.owners(april)[SEARCH] == Affiliation(department="web", cost_center="CC-1")
    assert store.owners(april, contract_version=1)[SEARCH].department == "lab"


def close_march(connection: Connection, contract_version: int) -> None:
    """Write down what a closing does, as the owner of the tables."""
    span = {
        "start": datetime(2026, 3, 1, tzinfo=KOLKATA),
        "end": datetime(2026, 4, 1, tzinfo=KOLKATA),
        "version": contract_version,
    }
    connection.execute(text("SET LOCAL ROLE gpuledger_owner"))
    connection.execute(
        text(
            "INSERT INTO billing_periods (name, started_at, until, version, zone)"
            " VALUES ('2026-03', :start, :end, 0, 'Asia/Kolkata')"
        ),
        span,
    )
    connection.execute(
        text(
            "INSERT INTO period_versions (period, version, started_at, until, closed_at, author,"
            " zone, currency, price_version, contract_version, rating_version, settings, accepted,"
            " statements, charges_nanos, adjustments_nanos, total_minor) VALUES ('2026-03', 1,"
            " :start, :end, :end, 'finance', 'Asia/Kolkata', 'USD', 0, :version, 1, '{}', '[]',"
            " 0, 0, 0, 0)"
        ),
        span,
    )
    connection.execute(text("UPDATE billing_periods SET closed_at = :end, version = 1"), span)
    connection.execute(text("SET LOCAL ROLE gpuledger_service"))


def test_a_moment_inside_a_day_counts_from_the_next_day_on(march: Connection) -> None:
    noon = to_ms(datetime(2026, 3, 16, 12, tzinfo=KOLKATA))
    apply(march, a_contract(moved_ms=noon), "noon")

    assert costs(march, "department") == {"web": 1 + 16, "lab": 17 + 31}
    owners = OwnershipStore(march, KOLKATA)
    assert owners.owners(noon - 1)[SEARCH].department == "web"
    assert owners.owners(noon)[SEARCH].department == "lab"


def test_days_without_a_move_are_one_stretch(march: Connection) -> None:
    store = OwnershipStore(march, KOLKATA)

    assert len(store.stretches(MARCH.start_ms, MARCH.end_ms)) == 2
    assert len(store.stretches(MOVED_MS, MARCH.end_ms)) == 1
    assert len(store.stretches(MARCH.start_ms, MOVED_MS)) == 1


def test_without_a_contract_nobody_belongs_anywhere(ledger: Connection) -> None:
    (stretch,) = OwnershipStore(ledger, KOLKATA).stretches(MARCH.start_ms, MARCH.end_ms)

    assert stretch.owners == {}
    assert OwnershipStore(ledger, KOLKATA).owners(MOVED_MS) == {}
