import calendar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pricing.book import PriceBook
from app.pricing.exchange import ExchangeRates
from app.pricing.owned import EnergyPrice, OwnedAsset, energy_tariffs, months_later, owned_rows
from app.pricing.rows import PriceUnit
from app.units.window import HOUR_MS, OPEN_MS, from_ms, to_ms
from tests.pricing.builders import a_pool
from tests.pricing.inputs import JAN_2026, JAN_2027, JAN_2031, a_rate, an_asset


def test_an_owned_node_costs_its_depreciation_space_support_and_the_power_beside_its_boards() -> (
    None
):
    """262,464 - 43,344 = 219,120 over 5 calendar years = 43,824 hours: 5.00 an hour.

    Space 730 a month of 730 hours: 1.00. Support 17,520 a year of 8,760 hours: 2.00.
    Power 10.4 kW - 8 × 0.7 kW = 4.8 kW, × PUE 1.5 × 0.20 a kWh: 1.44. In all 9.44.
    """
    row, after = owned_rows(an_asset())

    assert row.owned is not None
    assert row.owned.parts == (
        ("depreciation", Fraction(5)),
        ("space", Fraction(1)),
        ("support", Fraction(2)),
        ("power", Fraction(144, 100)),
    )
    assert (row.unit, row.price, row.source) == (PriceUnit.NODE_HOUR, Decimal("9.44"), "owned:dgx")
    assert (row.valid_from_ms, row.valid_to_ms) == (JAN_2026, JAN_2031)
    # After its life it is written down, and everything else goes on.
    assert (after.valid_from_ms, after.valid_to_ms) == (JAN_2031, OPEN_MS)
    assert after.price == Decimal("4.44")


def test_the_depreciation_over_the_whole_life_is_purchase_less_salvage_exactly() -> None:
    rows = [row for row in owned_rows(an_asset(salvage="0.01")) if row.owned]

    worn = sum(
        row.owned.depreciation * Fraction(row.valid_to_ms - row.valid_from_ms, HOUR_MS)
        for row in rows
        if row.owned
    )
    assert worn == Fraction("262463.99")


def test_a_pool_of_an_owned_node_costs_an_eighth_of_it_for_each_gpu_exactly() -> None:
    book = PriceBook(owned_rows(an_asset(salvage="0.01")))

    (span,) = book.spans(a_pool(), JAN_2026, JAN_2027)

    hourly = Fraction("262463.99") / 43_824 + Fraction("4.44")
    assert span.nanos_per_ms == hourly / 8 * 10**9 / HOUR_MS
    assert span.price_id == span.row.price_id if span.row else None


def test_every_named_node_has_prices_of_its_own_and_a_type_has_one() -> None:
    assert {row.node for row in owned_rows(an_asset(nodes=("a", "b")))} == {"a", "b"}
    rows = owned_rows(an_asset(nodes=(), instance_type="dgx-h100"))
    assert {(row.node, row.instance_type) for row in rows} == {("", "dgx-h100")}


def test_a_tariff_change_cuts_the_price_and_a_hole_leaves_the_time_unpriced() -> None:
    tariffs = (
        EnergyPrice(price_per_kwh=Decimal("0.20"), valid_from_ms=0, valid_to_ms=JAN_2027),
        EnergyPrice(price_per_kwh=Decimal("0.30"), valid_from_ms=JAN_2027 + HOUR_MS),
    )
    asset = an_asset(tariffs=tariffs, retired_ms=JAN_2031)

    before, after = owned_rows(asset)

    assert (before.valid_to_ms, before.price) == (JAN_2027, Decimal("9.44"))
    assert (after.valid_from_ms, after.price) == (JAN_2027 + HOUR_MS, Decimal("10.16"))
    first, second = energy_tariffs(asset, ExchangeRates())
    assert (first.valid_from_ms, first.valid_to_ms) == (JAN_2026, JAN_2027)
    assert (second.valid_from_ms, second.valid_to_ms) == (JAN_2027 + HOUR_MS, JAN_2031)


def test_a_kilowatt_hour_at_the_board_costs_tariff_times_pue() -> None:
    (tariff,) = energy_tariffs(an_asset(), ExchangeRates())

    assert tariff.unit_price == Fraction("0.30")
    # A kilowatt-hour is 3.6 × 10⁹ millijoules.
    assert tariff.nanos_per_mj * 3_600_000_000 == 300_000_000
    # At its rated 0.7 kW a GPU uses 0.7 kWh an hour.
    assert tariff.rated_mj_per_ms * HOUR_MS * tariff.nanos_per_mj == Fraction("0.21") * 10**9


def test_energy_in_another_currency_is_cut_where_its_rate_changes() -> None:
    rates = ExchangeRates(
        [a_rate("1.10", valid_to_ms=JAN_2027), a_rate("1.20", valid_from_ms=JAN_2027)]
    )

    first, second = energy_tariffs(an_asset(currency="EUR"), rates)

    assert (first.unit_price, second.unit_price) == (Fraction("0.33"), Fraction("0.36"))
    assert first.price_id != second.price_id
    assert energy_tariffs(an_asset(currency="EUR"), ExchangeRates([a_rate(valid_to_ms=1)])) == ()


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        ("2026-01-01", 60, "2031-01-01"),
        ("2026-01-31", 1, "2026-02-28"),
        ("2027-11-30", 3, "2028-02-29"),
        ("2026-12-31", 12, "2027-12-31"),
    ],
)
def test_a_life_ends_on_the_same_day_of_the_month_or_its_last(
    day: str, months: int, later: str
) -> None:
    def ms(text: str) -> int:
        return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))

    assert months_later(ms(day), months) == ms(later)


def test_an_asset_is_known_by_all_that_it_says() -> None:
    assert an_asset().asset_id == an_asset(salvage="43344.00").asset_id
    assert an_asset().asset_id != an_asset(salvage="43345").asset_id


_AMOUNT = st.integers(0, 500).map(lambda cents: Decimal(cents) / 100)


@st.composite
def _assets(draw: st.DrawFn) -> OwnedAsset:
    """A small asset whose life, tariffs and retirement change within 120 days."""
    day = 24 * HOUR_MS
    edges = sorted(draw(st.sets(st.integers(0, 120), max_size=6)))
    tariffs = tuple(
        EnergyPrice(
            price_per_kwh=draw(_AMOUNT),
            valid_from_ms=JAN_2026 + start * day,
            valid_to_ms=JAN_2026 + end * day,
        )
        for start, end in pairwise(edges)
        if draw(st.booleans())
    )
    purchase = draw(_AMOUNT) + 1
    return replace(
        an_asset(tariffs=tariffs),
        purchase=purchase,
        salvage=min(draw(_AMOUNT), purchase),
        in_service_ms=JAN_2026 + draw(st.integers(0, 40)) * day,
        retired_ms=JAN_2026 + draw(st.integers(41, 130)) * day,
        life_months=draw(st.integers(1, 3)),
        space_per_month=draw(_AMOUNT),
        support_per_year=draw(_AMOUNT),
        rated_kw=draw(_AMOUNT),
        board_kw=draw(st.sampled_from([Decimal(0), Decimal("0.05"), Decimal("0.7")])),
        pue=1 + draw(_AMOUNT) / 10,
    )


@given(_assets(), st.lists(st.integers(0, 130 * 24), min_size=1, max_size=20))
def test_at_every_instant_the_components_are_those_of_a_walk(
    asset: OwnedAsset, hours: list[int]
) -> None:
    rows, energy = owned_rows(asset), energy_tariffs(asset, ExchangeRates())
    in_service = from_ms(asset.in_service_ms)
    # The months of the year, one after the other, as a calendar on the wall has them.
    life_days = sum(
        calendar.monthrange(2026, in_service.month + month)[1] for month in range(asset.life_months)
    )
    ends = in_service + timedelta(days=life_days)
    for hour in hours:
        at_ms = JAN_2026 + hour * HOUR_MS
        tariff = [
            one.price_per_kwh
            for one in asset.tariffs
            if one.valid_from_ms <= at_ms < one.valid_to_ms
        ]
        in_use = asset.in_service_ms <= at_ms < asset.retired_ms
        powered = asset.rated_kw > 0 or asset.board_kw > 0
        found = [row for row in rows if row.holds_at(at_ms)]

        assert len(found) == int(in_use and (bool(tariff) or not powered))
        for row in found:
            kwh = Fraction(tariff[0]) if tariff else Fraction(0)
            expected = Fraction(asset.space_per_month) * 12 / 8760
            expected += Fraction(asset.support_per_year) / 8760
            boards = Fraction(asset.board_kw) * 8
            expected += max(Fraction(asset.rated_kw) - boards, 0) * Fraction(asset.pue) * kwh
            if in_service.day <= 28 and from_ms(at_ms) < ends:
                expected += Fraction(asset.purchase - asset.salvage) / (life_days * 24)
            if in_service.day <= 28:
                assert row.exact_price == expected
        paid = [one.unit_price for one in energy if one.holds_at(at_ms)]
        wanted = in_use and bool(tariff) and asset.board_kw > 0
        assert paid == ([Fraction(tariff[0]) * Fraction(asset.pue)] if wanted else [])
