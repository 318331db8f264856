from decimal import Decimal

import pytest

from app.pricing.owned import OwnedAsset
from app.sources.owned_register import read_owned_register
from app.sources.price_lines import PriceBookError
from app.units.window import OPEN_MS
from tests.pricing.inputs import JAN_2026, JAN_2027, an_asset

ASSET = """\
[[assets]]
name = "dgx"
cluster = "prod-eu"
nodes = ["node-1"]
gpus = 8
purchase = "262464"
salvage = 43344
currency = "usd"
in_service = 2026-01-01
life_years = 5
space_per_month = 730
support_per_year = 17_520
rated_kw = 10.4
board_kw = "0.7"
pue = 1.5
tariffs = [{ price_per_kwh = 0.20 }]
"""


def read(text: str) -> tuple[OwnedAsset, ...]:
    return read_owned_register(
        text, filename="owned.toml", billing_currency="USD", exchanged={"EUR"}
    )


def test_numbers_and_texts_are_read_exactly_and_dates_are_midnights_in_utc() -> None:
    assert read(ASSET) == (an_asset(),)


def test_a_register_may_leave_out_what_costs_nothing() -> None:
    (asset,) = read(
        '[[assets]]\nname = "x"\ninstance_type = "box"\ngpus = 1\npurchase = 1000\n'
        'currency = "EUR"\nin_service = "2026-01-01T00:00:00Z"\nretired = 2027-01-01\n'
        "life_months = 18\n"
    )

    assert (asset.instance_type, asset.nodes, asset.life_months) == ("box", (), 18)
    assert (asset.in_service_ms, asset.retired_ms) == (JAN_2026, JAN_2027)
    assert (asset.salvage, asset.pue, asset.tariffs) == (0, 1, ())


def test_tariffs_are_dated() -> None:
    tariffs = (
        "tariffs = [{ price_per_kwh = 0.3, valid_from = 2027-01-01 },"
        " { price_per_kwh = 0.2, valid_to = 2027-01-01 }]"
    )
    (asset,) = read(ASSET.replace("tariffs = [{ price_per_kwh = 0.20 }]", tariffs))

    assert [(one.price_per_kwh, one.valid_from_ms, one.valid_to_ms) for one in asset.tariffs] == [
        (Decimal("0.2"), 0, JAN_2027),
        (Decimal("0.3"), JAN_2027, OPEN_MS),
    ]


@pytest.mark.parametrize(
    ("was", "becomes", "line", "reason"),
    [
        ('name = "dgx"', 'name = ""', 2, "the asset has no name"),
        ('name = "dgx"\n', "", 1, "name is missing"),
        ('name = "dgx"', 'name = "' + "x" * 254 + '"', 2, "is longer than 253 bytes"),
        ('nodes = ["node-1"]', 'nodes = ["' + "x" * 254 + '"]', 4, "is longer than 253 bytes"),
        ("gpus = 8", 'gpus = "8"', 5, '"8" is not a whole number from 1 to 1024'),
        ("gpus = 8", "gpus = 0", 5, "0 is not a whole number from 1 to 1024"),
        ("gpus = 8", "gpus = true", 5, "not a whole number"),
        ('purchase = "262464"', "purchase = -1", 6, "-1 is below zero"),
        ('purchase = "262464"', "purchase = nan", 6, "nan is not a plain number"),
        ('purchase = "262464"', "purchase = inf", 6, "inf is not a plain number"),
        ('purchase = "262464"', "purchase = 1e5", 6, "1e5 is not a plain number"),
        ('purchase = "262464"', 'purchase = "262,464"', 6, "not a plain number"),
        ('purchase = "262464"', "purchase = [1]", 6, "not a plain number"),
        ("salvage = 43344", "salvage = 262464.01", 7, "is more than the purchase"),
        ('currency = "usd"', 'currency = "DOLLAR"', 8, "not a currency of ISO 4217"),
        ('currency = "usd"', 'currency = "GBP"', 8, "no exchange rate of GBP"),
        ("in_service = 2026-01-01", 'in_service = "soon"', 9, '"soon" is not a date'),
        ("in_service = 2026-01-01", "in_service = 2026-01-01T00:00:00", 9, "not a date"),
        ("in_service = 2026-01-01", "in_service = 1066-10-14", 9, "not of the years 1970 to 9998"),
        ("life_years = 5", "life_years = 0", 10, "0 is not a whole number from 1"),
        ("life_years = 5", "life_years = 51", 10, "more than 50 years"),
        ("life_years = 5", "life_years = 5\nlife_months = 60", 1, "either life_years or"),
        ("life_years = 5\n", "", 1, "either life_years or life_months"),
        ("pue = 1.5", "pue = 0.9", 15, "0.9 is below 1"),
        ("pue = 1.5", "pue = 10", 15, "10 is 10 or more"),
        ("rated_kw = 10.4", "rated_kw = -1", 13, "-1 is below zero"),
        ("tariffs = [{ price_per_kwh = 0.20 }]", "", 1, "kilowatts but no tariffs"),
        ("price_per_kwh = 0.20", "price_per_kwh = -0.2", 16, "-0.2 is below zero"),
        ("price_per_kwh = 0.20", "price = 1", 16, "there is no such key"),
        ("{ price_per_kwh = 0.20 }", "{price_per_kwh=1},{price_per_kwh=2}", 16, "same time"),
        ('nodes = ["node-1"]', 'nodes = ["a", "A"]', 4, "a node stands there twice"),
        ('nodes = ["node-1"]', "nodes = []", 1, "either nodes or instance_type"),
        ('nodes = ["node-1"]', "nodes = [1]", 4, "not a list of node names"),
        ("pue = 1.5", "pue = 1.5\nretired = 2026-01-01", 16, "ends before it begins"),
        ("pue = 1.5", "peu = 1.5", 15, "there is no such key"),
        ("[[assets]]", "[assets]", 1, "no [[assets]] tables"),
        ("[[assets]]", "[[asset]]", 1, 'no such key as "asset"'),
        ("[[assets]]", "[[assets", 1, "not TOML"),
    ],
)
def test_a_wrong_asset_is_refused_with_its_line_and_reason(
    was: str, becomes: str, line: int, reason: str
) -> None:
    assert was in ASSET

    with pytest.raises(PriceBookError) as refused:
        read(ASSET.replace(was, becomes))

    assert refused.value.line == line
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (ASSET, 'two assets called "dgx"'),
        (ASSET.replace('"dgx"', '"b"').replace("node-1", "Node-1"), "node-1 is of dgx too"),
    ],
)
def test_two_assets_may_not_price_one_node_at_the_same_time(second: str, reason: str) -> None:
    with pytest.raises(PriceBookError, match=reason):
        read(ASSET + second)


def test_a_node_may_get_an_asset_after_the_one_before_has_retired() -> None:
    first = ASSET.replace("pue = 1.5", "pue = 1.5\nretired = 2027-01-01")
    second = ASSET.replace('"dgx"', '"b"').replace("2026-01-01", "2027-01-01")

    assert len(read(first + second)) == 2


def test_a_file_without_assets_is_refused() -> None:
    with pytest.raises(PriceBookError, match="no \\[\\[assets\\]\\] tables"):
        read("")
