"""The segments of a charge sum to it, and the charges of a segment to what it cost."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attribution.charges import LineStep
from app.attribution.contract import Policies, RatingPolicy
from app.attribution.explanation import exact_text
from app.attribution.price_explanation import EnergyPrice, kwh_text, money_step, split_step
from app.attribution.rating import RatingInput, rate
from app.attribution.traced import SegmentPart, TracedLine, trace
from app.pricing.book import PriceBook
from app.pricing.inputs import EnergyPriceAt, PriceInputs
from tests.attribution.fleets import MINUTE, TEN, AFleet, AHold, APool, rating_input
from tests.attribution.test_own_energy import CARDED, CONTRACT, HALF_PAST, KWH_MJ, a_tariff
from tests.pricing.builders import a_price


def with_everything(fleet: AFleet, price: str, change_ms: int, *, card_from_ms: int) -> RatingInput:
    """An input whose price and energy tariff change at an instant, and that a card takes over."""
    rows = [a_price("3", valid_to_ms=change_ms), a_price(price, valid_from_ms=change_ms)]
    carded = replace(
        CARDED, policies=(Policies(rating=RatingPolicy.RATE_CARD, valid_from_ms=card_from_ms),)
    )
    rated = rating_input(fleet, rows, carded)
    energy = (
        a_tariff("0.20", valid_to_ms=HALF_PAST),
        a_tariff("0.40", valid_from_ms=HALF_PAST),
    )
    return replace(
        rated,
        hold_usage=rated.hold_usage.assign(energy_mj=pd_int(len(rated.hold_usage))),
        energy=PriceInputs(book=rated.price_book, energy=energy),
        card=PriceBook([a_price("5.000000001")]),
    )


def pd_int(count: int) -> list[int]:
    return [700_000_001 + number for number in range(count)]


@settings(max_examples=40, deadline=None)
@given(
    gpus=st.lists(st.integers(1, 2), max_size=3),
    ends=st.lists(st.integers(1, 60 * MINUTE), min_size=3, max_size=3),
    price=st.decimals(0, 3, places=6),
    change=st.integers(1, 60 * MINUTE - 1),
    card=st.sampled_from([TEN, TEN + 17 * MINUTE + 1, TEN + 60 * MINUTE]),
)
def test_parts_sum_to_charges_and_charges_to_segments(
    gpus: list[int], ends: list[int], price: Decimal, change: int, card: int
) -> None:
    holds = tuple(
        AHold(pod=f"p{n}", gpus=count, end=TEN + end, active=((TEN, TEN + end // 3),))
        for n, (count, end) in enumerate(zip(gpus, ends, strict=False))
    )
    fleet = AFleet(pools=(APool(devices=1 + sum(gpus)),), holds=holds)
    rated = with_everything(fleet, str(price), TEN + change, card_from_ms=card)
    segments: dict[tuple[object, ...], list[SegmentPart]] = defaultdict(list)

    for row in rate(rated).charges.itertuples():
        line = trace(rated, row.charge_id, LineStep(row.step))
        assert line is not None
        assert (line.gpu_ms, line.nanos) == (row.gpu_ms, row.cost_nanos)
        if row.step == LineStep.CARD_VARIANCE:
            assert line.actual_nanos - line.card_nanos == line.nanos
            continue
        assert sum(part.nanos for part in line.parts) == line.nanos
        for part in line.parts:
            assert abs(part.nanos - part.exact) < 1
            segments[part.start_ms, part.end_ms, row.price_id, line.is_energy].append(part)

    for parts in segments.values():
        whole = {(one.segment_measure, one.segment_weight, one.segment_nanos) for one in parts}
        sums = tuple(
            sum(getattr(one, name) for one in parts) for name in ("measure", "weight", "nanos")
        )
        assert whole == {sums}


def test_a_line_over_a_change_of_holders_has_two_segments() -> None:
    """Two GPUs at 3.00: b holds one from 10:30 on, so that a's hour lies in two segments."""
    fleet = AFleet(
        pools=(APool(devices=2),), holds=(AHold(pod="a"), AHold(pod="b", start=HALF_PAST))
    )
    rated = rating_input(fleet, [a_price("3")], CONTRACT)
    charges = rate(rated).charges
    longest = charges[charges["hold_id"] != 0].sort_values("gpu_ms").iloc[-1]

    line = trace(rated, int(longest["charge_id"]), LineStep.FIRST_HAND)

    assert line is not None
    assert [(part.measure, part.segment_measure, part.nanos) for part in line.parts] == [
        (30 * MINUTE, 60 * MINUTE, 1_500_000_000)
    ] * 2
    shown = split_step(line, line.nanos, "USD")
    assert shown.text.startswith("2 segments, ")
    assert shown.figures[1] == (
        "2026-11-23T10:30:00Z to 2026-11-23T11:00:00Z",
        "1800.000 GPU-seconds of 3600.000 GPU-seconds, which cost 3.000000000 USD: 1.500000000 USD",
    )
    assert shown.figures[-1] == ("sum of the segments", "3.000000000 USD")


def test_a_charge_that_the_facts_do_not_give_has_no_segments() -> None:
    rated = rating_input(AFleet(), [a_price("3")], CONTRACT)

    assert trace(rated, 42, LineStep.FIRST_HAND) is None
    assert trace(rated, 42, LineStep.CARD_VARIANCE) is None
    assert trace(rating_input(AFleet(pools=()), [], CONTRACT), 42, LineStep.FIRST_HAND) is None


@pytest.mark.parametrize(
    ("nanos", "said"),
    [
        (334, "exactly 0.000000333333 USD, with a leftover nano 0.000000334 USD"),
        (333, "exactly 0.000000333333 USD, rounded down 0.000000333 USD"),
    ],
)
def test_a_leftover_nano_is_said(nanos: int, said: str) -> None:
    line = TracedLine(parts=(a_part(nanos),), gpu_ms=1, nanos=nanos)

    assert said in split_step(line, nanos, "USD").figures[0][1]


def test_many_segments_are_summed_up_behind_the_largest() -> None:
    parts = tuple(a_part(333, start_ms=number) for number in range(9))

    figures = split_step(TracedLine(parts=parts, gpu_ms=9, nanos=9 * 333), 9 * 333, "USD").figures

    assert len(figures) == 8
    assert figures[6] == ("3 more segments", "0.000000999 USD")


def test_energy_says_its_kwh_and_its_money() -> None:
    """1 kWh at the boards × 1.5 × 0.20 = 0.30 USD."""
    tariff = a_tariff()
    price = EnergyPrice(
        price=EnergyPriceAt(tariff=tariff, factor=Fraction(1), price_id=tariff.price_id),
        counter_mj=KWH_MJ,
    )
    part = replace(a_part(300_000_000), measure=KWH_MJ)
    line = TracedLine(parts=(part,), gpu_ms=0, nanos=300_000_000, is_energy=True)

    figures = dict(money_step(price, 0, line.nanos, line, "USD").figures)

    assert figures["energy × price"] == "0.300000000000 USD"
    assert figures["rounding"] == "+0.000 nanos"
    assert kwh_text(KWH_MJ) == "1 kWh"
    assert exact_text(Fraction(-1, 3), "USD") == "-0.000000000333 USD"


def a_part(nanos: int, *, start_ms: int = 0) -> SegmentPart:
    """A third of a segment of 1,000 nanos."""
    return SegmentPart(
        start_ms=start_ms,
        end_ms=start_ms + 3,
        measure=1,
        weight=1,
        nanos=nanos,
        segment_measure=3,
        segment_weight=3,
        segment_nanos=1_000,
    )
