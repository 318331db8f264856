"""Price inputs of every kind: the money that they move, what they refuse, what they leave alone."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from app.errors import InputError
from app.sources.price_lines import PriceBookError
from app.store.charges import ChargeStore
from app.store.price_versions import ImportKind
from app.store.prices import PriceStore
from app.store.windows import WindowStore
from app.units.window import Window
from app.workflows.imports import Imported, import_prices
from app.workflows.price_files import CorrectionError
from app.workflows.price_limits import HugePriceError, LostRateError
from app.workflows.rating import rate_window
from app.workflows.reading import cost_sums
from tests.store.builders import CLUSTER, NOON, NOON_MS
from tests.workflows.stored import CONTRACT, PRICES, UTC_ZONE, collect, contract, prices, span

USD = 1_000_000_000
HEADER = PRICES.partition("\n")[0] + "\n"
EUROS = HEADER + ",,,,H100,,,gpu_hour,2.40,EUR,2026-01-01,,contract\n"
RATES = "currency,rate,valid_from,valid_to,source\n"
TERMS = (
    "kind,percent,cluster,provider,region,instance_type,gpu_model,capacity_type,node,"
    "valid_from,valid_to,reason\n"
)
CREDITS = "name,amount,currency,team,valid_from,valid_to,reason\n"
OWNED = """\
[[assets]]
name = "box"
nodes = ["gpu-1"]
gpus = 8
purchase = 43824
currency = "USD"
in_service = 2026-01-01
life_years = 5
space_per_month = 730
"""


def take(
    engine: Engine,
    file_text: str,
    kind: ImportKind,
    *,
    reason: str = "",
    author: str = "ada",
    dry_run: bool = False,
) -> Imported:
    return import_prices(
        file_text,
        kind=kind,
        file_name="file",
        currency="USD",
        engine=engine,
        billing_zone=UTC_ZONE,
        at_ms=NOON_MS,
        dry_run=dry_run,
        reason=reason,
        author=author,
    )


def rate(engine: Engine) -> None:
    rate_window(CLUSTER, span(3), engine=engine, billing_zone=UTC_ZONE)


def by_team(engine: Engine, window: Window | None = None) -> dict[str, int]:
    with engine.connect() as connection:
        rows = cost_sums(connection, window or span(3), ("team",), zone=UTC_ZONE).rows
    money = [name for name in rows.columns if name.endswith("_nanos")]
    return dict(zip(rows["team"], rows[money].sum(axis="columns"), strict=True))


def moved(done: Imported) -> dict[str, int]:
    return {line.team: line.moved_nanos for line in done.moved}


@pytest.fixture
def rated(database: Engine) -> Engine:
    """Two hours of 8 GPUs, 2 of them held by search, at 3.00 USD."""
    collect(database, hours=2)
    contract(database, CONTRACT)
    prices(database)
    rate(database)
    return database


def test_exchange_rates_move_the_money_of_prices_in_their_currency(database: Engine) -> None:
    collect(database, hours=2)
    contract(database, CONTRACT)
    take(database, RATES + "EUR,1.25,2026-01-01,,bank\n", ImportKind.EXCHANGE_RATES)
    take(database, EUROS, ImportKind.PRICES)
    rate(database)
    assert by_team(database) == {"search": 12 * USD, "platform": 36 * USD}

    # From 12:30 on one euro is 1.50: 3.60 a GPU-hour instead of 3.00 for an hour and a half.
    change = RATES + "EUR,1.25,2026-01-01,2026-11-23T12:30:00Z,\nEUR,1.5,2026-11-23T12:30:00Z,,\n"
    done = take(database, change, ImportKind.EXCHANGE_RATES, reason="the bank's correction")
    rate(database)

    assert moved(done) == {"search": 1_800_000_000, "platform": 5_400_000_000}
    assert by_team(database) == {"search": 13_800_000_000, "platform": 41_400_000_000}
    # Each line is at one price: the hour of the change has two for whoever held a GPU.
    with database.connect() as connection:
        lines = ChargeStore(connection, CLUSTER, UTC_ZONE).within(span(1))
        inputs = PriceStore(connection).inputs()
    for price_id, start_ms, gpu_ms, nanos in zip(
        lines["price_id"], lines["start_ms"], lines["gpu_ms"], lines["cost_nanos"], strict=True
    ):
        price = inputs.price_of(price_id, start_ms)
        assert price is not None
        assert nanos == gpu_ms * price.nanos_per_ms
    assert lines["price_id"].nunique() == 2


def test_a_discount_and_a_markup_move_money_as_said(rated: Engine) -> None:
    lines = "discount,50,,,,,H100,,,2026-01-01,,\nmarkup,10,,,,,,,,2026-01-01,,\n"

    done = take(rated, TERMS + lines, ImportKind.TERMS)
    rate(rated)

    # 3.00 × 0.5 × 1.1 = 1.65: 1.35 less for each of 4 and of 12 GPU-hours.
    assert moved(done) == {"search": -5_400_000_000, "platform": -16_200_000_000}
    assert by_team(rated) == {"search": 6_600_000_000, "platform": 19_800_000_000}


def test_a_credit_moves_the_money_of_the_days_that_are_there(rated: Engine) -> None:
    """24.00 over two days of which one has hours: 12.00 of them are search's that day."""
    lines = "gift,24,USD,search,2026-11-23,2026-11-25,\n"

    done = take(rated, CREDITS + lines, ImportKind.CREDITS)
    rate(rated)

    assert moved(done)["search"] == -12 * USD
    # The line stands in the first hour of the day.
    day = Window(NOON - timedelta(hours=12), NOON + timedelta(hours=12))
    assert by_team(rated, day)["search"] == 0
    again = take(rated, CREDITS + lines.replace("24,", "12,"), ImportKind.CREDITS, reason="half")
    assert moved(again)["search"] == 6 * USD


def test_owned_hardware_prices_its_nodes(rated: Engine) -> None:
    done = take(rated, OWNED, ImportKind.OWNED)
    rate(rated)

    # 43,824 over 43,824 hours and 730 a month of 730 hours: 2.00 a node-hour, 0.25 a GPU-hour.
    assert by_team(rated) == {"search": USD, "platform": 3 * USD}
    assert moved(done) == {"search": -11 * USD, "platform": -33 * USD}


def test_a_rate_card_is_a_second_book(rated: Engine) -> None:
    take(rated, HEADER + ",,,,H100,,,gpu_hour,5,USD,2026-01-01,,card\n", ImportKind.RATE_CARD)

    with rated.connect() as connection:
        inputs = PriceStore(connection).inputs()
    assert inputs.card is not None
    assert [row.price for row in inputs.card.rows] == [5]
    assert [row.price for row in inputs.book.rows] == [3]


def test_a_correction_needs_a_reason_and_an_author(rated: Engine) -> None:
    dearer = PRICES.replace("3.00", "4.00")
    for reason, author in (("", "ada"), (" ", "ada"), ("mistyped", "")):
        with pytest.raises(CorrectionError, match="corrects 1 rows"):
            take(rated, dearer, ImportKind.PRICES, reason=reason, author=author)

    dry = take(rated, dearer, ImportKind.PRICES, dry_run=True)
    done = take(rated, dearer, ImportKind.PRICES, reason="mistyped")

    assert (dry.superseded, done.superseded, done.version) == (1, 1, 2)
    with rated.connect() as connection:
        store = PriceStore(connection)
        assert [row.price for row in store.rows(1)] == [3]
        last = store.versions()[-1]
    assert (last.reason, last.author, last.superseded) == ("mistyped", "ada", 1)


@pytest.mark.parametrize(
    ("kind", "file_text"),
    [
        (ImportKind.PRICES, EUROS),
        (ImportKind.RATE_CARD, EUROS),
        (ImportKind.EXCHANGE_RATES, RATES + "USD,1,,,\n"),
        (ImportKind.TERMS, TERMS + "discount,101,,,,,,,,,,\n"),
        (ImportKind.CREDITS, CREDITS + "gift,-1,USD,,2026-01-01,2026-02-01,\n"),
        (ImportKind.OWNED, OWNED.replace("life_years = 5", "life_years = 0")),
    ],
)
def test_a_refused_file_changes_nothing(rated: Engine, kind: ImportKind, file_text: str) -> None:
    with pytest.raises(PriceBookError):
        take(rated, file_text, kind)

    with rated.connect() as connection:
        assert PriceStore(connection).version() == 1
        assert WindowStore(connection, CLUSTER).pending() == ()


def test_an_asset_that_meets_a_price_for_its_node_is_refused_whole(rated: Engine) -> None:
    take(rated, HEADER + ",,,,,,gpu-1,node_hour,80,USD,2026-01-01,,bill\n", ImportKind.PRICES)

    with pytest.raises(InputError, match="Two node_hour prices for node gpu-1"):
        take(rated, OWNED, ImportKind.OWNED)

    with rated.connect() as connection:
        assert PriceStore(connection).assets() == ()


def test_a_correction_of_rates_may_not_leave_a_credit_without_one(database: Engine) -> None:
    take(database, RATES + "EUR,1.25,2026-01-01,,\n", ImportKind.EXCHANGE_RATES)
    take(database, CREDITS + "gift,8,EUR,search,2026-06-01,2026-07-01,\n", ImportKind.CREDITS)

    shorter = RATES + "EUR,1.25,2026-01-01,2026-02-01,\n"
    with pytest.raises(LostRateError, match="gift would have no exchange rate of EUR"):
        take(database, shorter, ImportKind.EXCHANGE_RATES, reason="shorter")

    with database.connect() as connection:
        (credit,) = PriceStore(connection).inputs().credits
    assert credit.nanos == 10 * USD


def test_prices_that_the_ledger_cannot_take_are_refused_in_whatever_order_they_come(
    database: Engine,
) -> None:
    def euro(rate_text: str) -> Imported:
        text_of_file = RATES + f"EUR,{rate_text},2026-01-01,,\n"
        return take(database, text_of_file, ImportKind.EXCHANGE_RATES, reason="mistyped")

    euro("1.25")
    take(database, EUROS, ImportKind.PRICES)
    with pytest.raises(HugePriceError, match="The gpu_hour price of gpu_model H100"):
        euro("41666666.7")
    take(database, CREDITS + "gift,900,EUR,,2026-06-01,2026-07-01,\n", ImportKind.CREDITS)
    with pytest.raises(HugePriceError, match="The credit gift"):
        euro("10300000")
    powered = OWNED.replace('"USD"', '"EUR"') + "board_kw = 0.7\n"
    take(database, powered + "tariffs = [{ price_per_kwh = 9999 }]\n", ImportKind.OWNED)
    with pytest.raises(HugePriceError, match="A kilowatt-hour of box"):
        euro("12")
    dear = HEADER + ",,,,A100,,,gpu_hour,99999999,USD,2026-01-01,,list\n"
    take(database, dear, ImportKind.PRICES)
    with pytest.raises(HugePriceError, match="The gpu_hour price of gpu_model A100"):
        take(database, TERMS + "markup,1,,,,,,,,,,\n", ImportKind.TERMS)


def test_gaps_are_taken_and_said(database: Engine) -> None:
    gap = (
        HEADER + ",,,,H100,,,gpu_hour,3,USD,2026-01-01,2026-02-01,\n"
        ",,,,H100,,,gpu_hour,3,USD,2026-03-01,,\n,,,,A100,,,gpu_hour,2,USD,2026-03-01,,\n"
    )

    (warning,) = take(database, gap, ImportKind.PRICES).warnings
    of_prices = "the gpu_hour price of gpu_model H100 has a gap from 2026-02-01T00:00:00Z to"
    assert warning == f"{of_prices} 2026-03-01T00:00:00Z"
    rates = RATES + "EUR,1,2026-01-01,2026-02-01,\nEUR,1,2026-02-02,,\n"
    (warning,) = take(database, rates, ImportKind.EXCHANGE_RATES).warnings
    assert warning.startswith("the exchange rate of EUR has a gap from 2026-02-01")
    tariff = "board_kw = 0.7\ntariffs = [{ price_per_kwh = 0.2, valid_to = 2027-01-01 }]\n"
    (warning,) = take(database, OWNED + tariff, ImportKind.OWNED).warnings
    assert warning == "the tariff of box has a gap from 2027-01-01T00:00:00Z"


def test_a_capacity_type_that_no_node_has_is_warned_of(database: Engine) -> None:
    rows = ",,,,H100,On-Demand,,gpu_hour,3,USD,,,\n,,,,H100,on_deman,,gpu_hour,3,USD,,,\n"

    (warning,) = take(database, HEADER + rows, ImportKind.PRICES).warnings

    assert warning.startswith('no node has the capacity_type "on_deman"; known are on_demand, spot')
    terms = TERMS + "markup,1,,,,,,spott,,,,\n"
    assert "spott" in take(database, terms, ImportKind.TERMS).warnings[0]


def test_hours_of_closed_periods_are_counted_and_left_alone(rated: Engine) -> None:
    # Written as the owner: closing itself is tested where it is made.
    with rated.begin() as connection:
        connection.execute(text("SET LOCAL ROLE gpuledger_owner"))
        connection.execute(
            text(
                "INSERT INTO billing_periods (name, started_at, until, closed_at) VALUES"
                " ('p', '2026-11-23T00:00Z', '2026-11-23T13:00Z', '2026-11-24T00:00Z')"
            )
        )

    done = take(rated, PRICES.replace("3.00", "4.00"), ImportKind.PRICES, reason="dearer")

    assert (done.closed_hours, done.hours) == (1, 1)
    assert moved(done) == {"search": 2 * USD, "platform": 6 * USD}
    with rated.connect() as connection:
        (state,) = WindowStore(connection, CLUSTER).pending()
    assert state.window.start_ms == NOON_MS + 3_600_000
