from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from sqlalchemy import Connection, Engine

from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract, Platform, Team
from app.chargeback.costs import COST_GROUPS as SHOWN_GROUPS
from app.chargeback.costs import costs_schema
from app.store.charges import ChargeStore
from app.store.contracts import ContractStore
from app.store.costs import COST_GROUPS, CostStore
from app.store.dimensions import GroupError
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.usage import UsageStore
from app.store.windows import RatingVersions, WindowStore
from app.units.window import HOUR_MS, Window
from tests.store.builders import (
    CLUSTER,
    H100,
    NOON_MS,
    a_charge,
    a_count,
    a_hold,
    a_node,
    a_workload,
    an_hour,
    charges,
    facts,
)

BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
TRAINER = a_workload("trainer", "ml-train")


@pytest.fixture(scope="module")
def two_hours(shared_engine: Engine) -> Iterator[Connection]:
    """A ledger of two hours: search used and idled, ml trained, one GPU nobody held."""
    with shared_engine.connect() as connection:
        connection.begin()
        fill_two_hours(connection)
        yield connection
        connection.rollback()


@pytest.fixture
def ledger(two_hours: Connection) -> Iterator[Connection]:
    with two_hours.begin_nested() as point:
        yield two_hours
        point.rollback()


@pytest.fixture
def store(ledger: Connection) -> CostStore:
    return CostStore(ledger, UTC)


def fill_two_hours(ledger: Connection) -> None:
    NameStore(ledger).ensure_models(["llama"])
    inventory = InventoryStore(ledger, CLUSTER)
    inventory.put_node(a_node(), [a_count()], at_ms=NOON_MS)
    inventory.put_hold(a_hold())
    inventory.put_hold(a_hold("trainer-0", namespace="ml-train", workload=TRAINER))
    ContractStore(ledger).apply(
        "",
        applied_ms=NOON_MS,
        file_name="teams.yaml",
        sha256="",
        contract=Contract(
            teams=(
                Team(name="search", cost_center="CC-1", department="web"),
                Team(name="ml", cost_center="CC-2", department="research"),
            ),
            platform=(Platform(team="platform"),),
        ),
        zone=UTC,
    )
    for after in (0, 1):
        hour = an_hour(after)
        UsageStore(ledger, CLUSTER).replace(hour, facts(hour))
        ChargeStore(ledger, CLUSTER, UTC).replace(hour, two_teams(hour))
    rate(ledger, CLUSTER)


def rate(ledger: Connection, cluster: str) -> None:
    """Say that all hours were rated as they are."""
    windows = WindowStore(ledger, cluster)
    windows.mark_rated(windows.pending(), RatingVersions(rating=1, prices=1, contract=1))


def two_teams(hour: Window) -> pd.DataFrame:
    ml = {"team": "ml", "namespace": "ml-train", "pod": "trainer-0", "workload": TRAINER}
    return charges(
        a_charge(hour, ChargeKind.USED, cost_nanos=1),
        a_charge(hour, ChargeKind.IDLE, cost_nanos=2),
        a_charge(hour, ChargeKind.USED, cost_nanos=10, **ml),
        a_charge(hour, ChargeKind.UNALLOCATED, cost_nanos=100, team="platform"),
    )


def totals(rows: pd.DataFrame, *by: str) -> dict[object, int]:
    nanos = rows[[name for name in rows.columns if name.endswith("_nanos")]].sum(axis="columns")
    keys = rows[[*by]].itertuples(index=False, name=None)
    return {
        key if len(by) > 1 else key[0]: int(sum_) for key, sum_ in zip(keys, nanos, strict=True)
    }


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("cluster", {CLUSTER: 226}),
        ("node", {"gpu-1": 226}),
        ("gpu_model", {H100: 226}),
        ("namespace", {"": 200, "ml-train": 20, "search-prod": 6}),
        ("workload", {"": 200, "ranker": 6, "trainer": 20}),
        ("pod", {"": 200, "ranker-0": 6, "trainer-0": 20}),
        ("service", {"": 220, "ranker": 6}),
        ("model", {"": 220, "llama": 6}),
        ("team", {"ml": 20, "platform": 200, "search": 6}),
        ("cost_center", {"": 200, "CC-1": 6, "CC-2": 20}),
        ("department", {"": 200, "web": 6, "research": 20}),
        ("kind", {"idle": 4, "unallocated": 200, "used": 22}),
        ("hour", {"2026-11-23T12:00:00Z": 113, "2026-11-23T13:00:00Z": 113}),
        ("day", {"2026-11-23": 226}),
        ("week", {"2026-W48": 226}),
        ("month", {"2026-11": 226}),
    ],
)
@pytest.mark.parametrize("window", [DAY, Window(an_hour().start, an_hour(1).end)])
def test_costs_by_each_column_sum_to_the_whole(
    store: CostStore, window: Window, column: str, expected: dict[str, int]
) -> None:
    found = store.costs(window, [column])

    costs_schema([column]).validate(found.rows)
    assert totals(found.rows, column) == expected


def test_every_column_that_is_shown_can_be_asked_for() -> None:
    assert {*SHOWN_GROUPS} == {*COST_GROUPS}


def test_sums_are_by_kind(store: CostStore) -> None:
    row = store.costs(DAY, ["team"]).rows.set_index("team").loc["search"]

    assert (row["used_ms"], row["idle_ms"], row["unallocated_ms"]) == (2 * HOUR_MS, 2 * HOUR_MS, 0)
    assert (row["used_nanos"], row["idle_nanos"]) == (2, 4)


def test_charges_can_be_listed_and_found_by_identity(store: CostStore) -> None:
    rows = store.costs(an_hour(), ["charge", "team"]).rows

    found = store.costs(an_hour(), ["team"], (("charge", (rows["charge"].iloc[0],)),)).rows

    assert rows["charge"].nunique() == 4
    assert found["team"].tolist() == rows["team"].tolist()[:1]


def test_groups_of_several_columns_come_in_their_order(store: CostStore) -> None:
    rows = store.costs(DAY, ["team", "kind"]).rows

    assert [*rows[["team", "kind"]].itertuples(index=False, name=None)] == [
        ("ml", "used"),
        ("platform", "unallocated"),
        ("search", "idle"),
        ("search", "used"),
    ]


def test_without_a_group_there_is_one_row(store: CostStore) -> None:
    assert totals(store.costs(DAY, []).rows.assign(all=""), "all") == {"": 226}


def test_a_window_without_charges_has_no_rows(store: CostStore) -> None:
    for group_by in ([], ["team"], ["pod"]):
        found = store.costs(an_hour(5), group_by)

        costs_schema(group_by).validate(found.rows)
        assert found.rows.empty


@pytest.mark.parametrize(
    ("filters", "total"),
    [
        ((("team", ("search",)),), 6),
        ((("team", ("search", "ml")),), 26),
        ((("team", ("nobody",)),), 0),
        ((("namespace", ("",)),), 200),
        ((("cost_center", ("",)),), 200),
        ((("cost_center", ("", "CC-1")),), 206),
        ((("department", ("research",)), ("cost_center", ("CC-2",))), 20),
        ((("department", ("research",)), ("cost_center", ("CC-1",))), 0),
        ((("pod", ("trainer-0",)),), 20),
        ((("service", ("ranker",)),), 6),
        ((("model", ("llama",)),), 6),
        ((("kind", ("used",)), ("team", ("ml",))), 20),
        ((("node", ("gpu-2",)),), 0),
        ((("cluster", (CLUSTER,)), ("gpu_model", (H100,))), 226),
    ],
)
def test_filters_keep_what_they_name(
    store: CostStore, filters: tuple[tuple[str, tuple[str, ...]], ...], total: int
) -> None:
    rows = store.costs(DAY, ["day"], filters).rows

    assert sum(totals(rows, "day").values()) == total


@pytest.mark.parametrize("column", ["colour", "team; DROP TABLE charges"])
def test_a_column_that_is_none_is_refused(store: CostStore, column: str) -> None:
    with pytest.raises(GroupError, match="column") as refusal:
        store.costs(DAY, [column])

    assert "team" in refusal.value.hint


def test_parts_of_time_are_no_filters(store: CostStore) -> None:
    with pytest.raises(GroupError):
        store.costs(DAY, ["team"], (("day", ("2026-11-23",)),))


def test_a_row_with_a_line_without_a_price_is_incomplete(
    ledger: Connection, store: CostStore
) -> None:
    hours = Window(an_hour().start, an_hour(1).end)
    lines = charges(
        two_teams(an_hour(1)), a_charge(an_hour(1), ChargeKind.UNMEASURED, cost_nanos=None)
    )
    ChargeStore(ledger, CLUSTER, UTC).replace(an_hour(1), lines)

    rows = store.costs(hours, ["team"]).rows.set_index("team")

    assert rows["complete"].to_dict() == {"ml": True, "platform": True, "search": False}
    assert rows["unpriced_ms"].to_dict() == {"ml": 0, "platform": 0, "search": HOUR_MS}


def test_a_row_with_time_that_nobody_vouches_for_is_incomplete(
    ledger: Connection, store: CostStore
) -> None:
    hours = Window(an_hour().start, an_hour(1).end)
    unobserved = a_charge(an_hour(1), ChargeKind.UNOBSERVED, team="platform")
    ChargeStore(ledger, CLUSTER, UTC).replace(
        an_hour(1), charges(two_teams(an_hour(1)), unobserved)
    )

    rows = store.costs(hours, ["team"]).rows.set_index("team")

    assert rows["complete"].to_dict() == {"ml": True, "platform": False, "search": True}


def test_a_window_that_lacks_an_hour_is_incomplete(store: CostStore) -> None:
    whole = store.costs(Window(an_hour().start, an_hour(1).end), ["team"])
    lacking = store.costs(Window(an_hour().start, an_hour(2).end), ["team"])

    assert (whole.hours.missing, whole.rows["complete"].tolist()) == (0, [True] * 3)
    assert (lacking.hours.missing, lacking.rows["complete"].tolist()) == (1, [False] * 3)


def test_a_partial_hour_makes_its_window_incomplete(ledger: Connection, store: CostStore) -> None:
    UsageStore(ledger, CLUSTER).replace(
        an_hour(1), facts(an_hour(1), partial=True), forced_reason="a test"
    )
    rate(ledger, CLUSTER)

    found = store.costs(an_hour(1), ["team"])

    assert (found.hours.partial, found.hours.complete) == (1, False)
    assert store.costs(an_hour(), ["team"]).hours.complete


def test_charges_that_wait_for_a_rating_are_said_to_and_are_there(
    ledger: Connection, store: CostStore
) -> None:
    WindowStore(ledger, CLUSTER).mark(NOON_MS, NOON_MS + 2 * HOUR_MS)

    hours = store.costs(Window(an_hour().start, an_hour(1).end), ["team"]).hours

    assert (hours.pending, hours.unrated, hours.complete) == (2, 0, True)


def test_an_hour_that_was_never_rated_is_incomplete(ledger: Connection, store: CostStore) -> None:
    UsageStore(ledger, CLUSTER).replace(an_hour(2), facts(an_hour(2)))

    hours = store.costs(Window(an_hour().start, an_hour(2).end), ["team"]).hours

    assert (hours.pending, hours.missing, hours.unrated, hours.complete) == (1, 0, 1, False)


@pytest.mark.parametrize(("days_before", "missing"), [(7, 1), (9, 0)])
def test_a_cluster_that_stopped_telling_is_lacking_until_it_is_taken_for_gone(
    ledger: Connection, store: CostStore, days_before: int, missing: int
) -> None:
    last = an_hour(-24 * days_before)
    UsageStore(ledger, "other").replace(last, facts(last))

    assert store.costs(an_hour(), ["team"]).hours.missing == missing


def test_a_zone_with_half_hours_cuts_its_days_in_the_middle_of_an_hour(ledger: Connection) -> None:
    NameStore(ledger).ensure_team_names(["night"])
    hour, half = an_hour(6), an_hour(6).start_ms + HOUR_MS // 2
    ChargeStore(ledger, CLUSTER, KOLKATA).replace(
        hour,
        charges(
            a_charge(hour, cost_nanos=1, team="night"),
            a_charge(hour, cost_nanos=2, team="night", start_ms=half),
        ),
    )
    three_days = Window(DAY.start - timedelta(days=1), DAY.end + timedelta(days=1))

    for window in (three_days, hour):
        rows = CostStore(ledger, KOLKATA).costs(window, ["day"], (("team", ("night",)),)).rows

        assert totals(rows, "day") == {"2026-11-23": 1, "2026-11-24": 2}


@pytest.mark.parametrize("zone", [UTC, BERLIN, KOLKATA])
def test_whole_days_and_the_rest_sum_to_what_the_lines_sum_to(
    ledger: Connection, zone: ZoneInfo
) -> None:
    first = datetime(2026, 11, 9, tzinfo=UTC)
    fill(ledger, zone, first)
    store = CostStore(ledger, zone)

    for start, hours in ((0, 24), (0, 72), (5, 19), (18, 50), (23, 24), (23, 25), (18, 24), (7, 1)):
        window = Window(first + timedelta(hours=start), first + timedelta(hours=start + hours))
        coarse = store.costs(window, ["team", "day"]).rows
        fine = store.costs(window, ["team", "day", "kind"]).rows

        pd.testing.assert_frame_equal(coarse, fine.drop(columns="kind"))
        assert int(coarse["idle_ms"].sum()) == hours * HOUR_MS
        assert int(coarse["idle_nanos"].sum()) == sum(range(start + 1, start + hours + 1))


def fill(connection: Connection, zone: ZoneInfo, first: datetime) -> None:
    """One GPU an hour for 100 hours, cut in halves, a nano more every hour, two teams in turn."""
    NameStore(connection).ensure_team_names(["a", "b"])
    hours = [*Window(first, first + timedelta(hours=100)).hours()]
    half = HOUR_MS // 2
    lines = [
        a_charge(
            hour,
            cost_nanos=nanos,
            gpu_ms=half,
            start_ms=hour.start_ms + after,
            team="ab"[number % 2],
        )
        for number, hour in enumerate(hours)
        for after, nanos in ((0, 1), (half, number))
    ]
    ChargeStore(connection, CLUSTER, zone).replace(
        Window(hours[0].start, hours[-1].end), charges(*lines)
    )
