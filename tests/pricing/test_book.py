from decimal import Decimal
from fractions import Fraction

import pytest

from app.pricing.book import Division, PriceBook, PriceOverlapError, overlaps
from app.pricing.rows import ModelCount, PriceUnit
from app.units.window import HOUR_MS, OPEN_MS
from tests.pricing.builders import A100, H100, a_pool, a_price

HOURLY = Fraction(10**9, HOUR_MS)  # nanos a millisecond of one unit of currency an hour
SPECIFIC = ["node", "instance_type", "gpu_model", "capacity_type", "cluster", "region", "provider"]
FILLED = {
    "node": "node-1",
    "instance_type": "p5.48xlarge",
    "gpu_model": "H100",
    "capacity_type": "on_demand",
    "cluster": "prod-eu",
    "region": "eu-west-1",
    "provider": "aws",
}


def winner(book: PriceBook, at_ms: int = 0, **pool: str) -> str | None:
    (span,) = book.spans(a_pool(**pool), at_ms, at_ms + 1)
    return span.row and str(span.row.price)


@pytest.mark.parametrize("column", SPECIFIC)
def test_an_earlier_column_wins_over_all_later_ones_together(column: str) -> None:
    later = {name: FILLED[name] for name in SPECIFIC[SPECIFIC.index(column) + 1 :]}
    rows = [a_price("1", **{column: FILLED[column]}), a_price("2", **later)]

    assert winner(PriceBook(rows)) == "1"


@pytest.mark.parametrize("column", SPECIFIC)
def test_in_a_tie_the_next_column_decides(column: str) -> None:
    earlier = {name: FILLED[name] for name in SPECIFIC[: SPECIFIC.index(column)]}
    rows = [a_price("1", **earlier), a_price("2", **earlier, **{column: FILLED[column]})]

    assert winner(PriceBook(rows)) == "2"


@pytest.mark.parametrize("column", SPECIFIC)
def test_a_row_with_another_value_in_a_column_does_not_fit(column: str) -> None:
    assert winner(PriceBook([a_price("1", **{**FILLED, column: "else"})])) is None


def test_columns_are_compared_without_regard_to_case_and_spelling() -> None:
    row = a_price("1", capacity_type="On-Demand", region="EU-West-1", instance_type="P5.48XLARGE")

    assert winner(PriceBook([row])) == "1"


def test_the_longer_model_name_wins_inside_its_column() -> None:
    rows = [a_price("1", gpu_model="H100", provider="aws"), a_price("2", gpu_model="H100 80GB")]

    assert winner(PriceBook(rows)) == "2"
    assert winner(PriceBook(rows), gpu_model="NVIDIA-H100-NVL") == "1"


def test_a_node_price_wins_in_a_full_tie_and_loses_to_a_filled_column() -> None:
    node = a_price("80", PriceUnit.NODE_HOUR, instance_type="p5.48xlarge")
    gpu = a_price("3", instance_type="p5.48xlarge")
    closer = a_price("4", instance_type="p5.48xlarge", gpu_model="H100")

    assert winner(PriceBook([node, gpu])) == "80"
    assert winner(PriceBook([node, gpu, closer])) == "4"


def test_a_price_change_at_10_37_ends_a_span_there() -> None:
    change = 37 * 60_000
    rows = [a_price("3", valid_to_ms=change), a_price("4", valid_from_ms=change)]

    spans = PriceBook(rows).spans(a_pool(), 0, HOUR_MS)

    assert [(one.from_ms, one.to_ms, one.nanos_per_ms / HOURLY) for one in spans] == [
        (0, change, 3),
        (change, HOUR_MS, 4),
    ]


def test_validity_begins_with_its_first_and_ends_before_its_last_instant() -> None:
    book = PriceBook([a_price("3", valid_from_ms=1000, valid_to_ms=2000)])

    assert [winner(book, at) for at in (999, 1000, 1999, 2000)] == [None, "3", "3", None]


def test_spans_tile_the_time_and_name_what_nothing_prices() -> None:
    book = PriceBook([a_price("3", valid_from_ms=1000, valid_to_ms=2000)])

    spans = book.spans(a_pool(), 0, 3000)

    assert [(one.from_ms, one.to_ms, one.row is None) for one in spans] == [
        (0, 1000, True),
        (1000, 2000, False),
        (2000, 3000, True),
    ]


def test_a_change_of_a_row_that_loses_anyway_cuts_nothing() -> None:
    rows = [a_price("3", gpu_model="H100"), a_price("1", valid_to_ms=500)]

    assert len(PriceBook(rows).spans(a_pool(), 0, 1000)) == 1


def test_a_node_price_is_divided_by_the_devices_of_its_one_model() -> None:
    (span,) = PriceBook([a_price("80", PriceUnit.NODE_HOUR)]).spans(a_pool(devices=8), 0, 1)

    assert (span.nanos_per_ms / HOURLY, span.division) == (10, Division.ONE_MODEL)


def mixed(gpu_model: str) -> object:
    other = A100 if gpu_model == H100 else H100
    return a_pool(gpu_model, devices=4, others=(ModelCount(other, 4),))


def test_a_node_price_is_divided_among_models_by_their_gpu_prices() -> None:
    rows = [
        a_price("40", PriceUnit.NODE_HOUR, instance_type="p5.48xlarge"),
        a_price("3", gpu_model="H100"),
        a_price("1", gpu_model="A100"),
    ]

    spans = [PriceBook(rows).spans(mixed(model), 0, 1)[0] for model in (H100, A100)]

    assert [4 * span.nanos_per_ms / HOURLY for span in spans] == [30, 10]
    assert {span.division for span in spans} == {Division.GPU_HOUR_ROWS}


def test_a_node_price_is_divided_by_count_where_a_model_has_no_gpu_price() -> None:
    rows = [
        a_price("40", PriceUnit.NODE_HOUR, instance_type="p5.48xlarge"),
        a_price("3", gpu_model="H100"),
    ]

    spans = [PriceBook(rows).spans(mixed(model), 0, 1)[0] for model in (H100, A100)]

    assert [span.nanos_per_ms / HOURLY for span in spans] == [5, 5]
    assert {span.division for span in spans} == {Division.DEVICE_COUNT}


def test_a_changed_gpu_price_changes_the_division_from_that_instant() -> None:
    rows = [
        a_price("40", PriceUnit.NODE_HOUR, instance_type="p5.48xlarge"),
        a_price("3", gpu_model="H100"),
        a_price("1", gpu_model="A100", valid_to_ms=500),
        a_price("3", gpu_model="A100", valid_from_ms=500),
    ]

    spans = PriceBook(rows).spans(mixed(H100), 0, 1000)

    assert [(one.from_ms, 4 * one.nanos_per_ms / HOURLY) for one in spans] == [(0, 30), (500, 20)]


@pytest.mark.parametrize("second_from", [0, 999])
def test_equal_keys_at_one_instant_are_refused(second_from: int) -> None:
    rows = [
        a_price("3", gpu_model="H100", valid_to_ms=1000),
        a_price("4", gpu_model="NVIDIA h100", valid_from_ms=second_from),
    ]

    with pytest.raises(PriceOverlapError, match=r"(3 and 4|4 and 3) USD"):
        PriceBook(rows)
    assert len(list(overlaps(rows))) == 1


def test_equal_keys_that_only_touch_are_taken() -> None:
    rows = [a_price("3", valid_to_ms=1000), a_price("4", valid_from_ms=1000)]

    assert len(PriceBook(rows).rows) == 2
    assert list(overlaps(rows)) == []


def test_a_choice_names_the_losers_and_why() -> None:
    rows = [
        a_price("5", gpu_model="H100"),
        a_price("1"),
        a_price("2", gpu_model="H100", provider="aws", valid_from_ms=10),
        a_price("3", gpu_model="H100", region="eu-west-1", valid_to_ms=5),
        a_price("9", gpu_model="A100"),
        a_price("4", PriceUnit.GPU_HOUR, gpu_model="H100 80GB", valid_to_ms=1),
    ]

    choice = PriceBook(rows).choice(a_pool(), 5)

    assert choice.winner.row is not None
    assert choice.winner.row.price == Decimal(5)
    assert {str(one.row.price): one.reason for one in choice.losers} == {
        "1": "the winner names the gpu_model",
        "2": "it is not valid yet",
        "3": "it is not valid any more",
        "4": "it is not valid any more",
    }


def test_a_choice_says_that_a_node_price_comes_first() -> None:
    rows = [a_price("80", PriceUnit.NODE_HOUR), a_price("3")]

    (loser,) = PriceBook(rows).choice(a_pool(), 0).losers

    assert loser.reason == "a node_hour price wins over a gpu_hour price with the same columns"


def test_a_price_id_tells_amount_and_validity_but_not_spelling_of_digits() -> None:
    assert a_price("3.00").price_id == a_price("3").price_id
    different = {a_price("3"), a_price("4"), a_price("3", valid_to_ms=9), a_price("3", node="n")}
    assert len({row.price_id for row in different}) == 4
    assert a_price("3", valid_to_ms=OPEN_MS).price_id == a_price("3").price_id
