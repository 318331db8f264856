from decimal import Decimal

import pytest

from app.sources.hosted_prices import (
    COLUMNS,
    HostedPriceError,
    read_hosted_prices,
    starter_hosted_prices,
)

HEADER = ",".join(COLUMNS)
LINE = "somebody,org/llama,0.5,,1.25,USD,2026-11-01,their page"


def read(*lines: str) -> tuple[object, ...]:
    return read_hosted_prices("\n".join([HEADER, *lines]), filename="list.csv")


def test_a_list_is_read_to_the_digit() -> None:
    (price,) = read_hosted_prices(f"{HEADER}\r\n{LINE}\r\n", filename="list.csv")

    assert (price.prompt, price.cached, price.generation) == (
        Decimal("0.5"),
        None,
        Decimal("1.25"),
    )


def test_the_shipped_list_names_provider_date_and_source_of_every_price() -> None:
    prices = starter_hosted_prices()

    assert len(prices) > 40
    assert len({price.model for price in prices}) > 15
    assert all(price.provider and price.date and price.source for price in prices)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LINE.replace("0.5", "-0.5"), "line 2: the prompt_price '-0.5' is no plain amount"),
        (LINE.replace("0.5", "1e3"), "no plain amount"),
        (LINE.replace("0.5", "NaN"), "no plain amount"),
        (LINE.replace("USD", "USX"), "'USX' is no currency"),
        (LINE.replace("2026-11-01", "1.11.2026"), "is no date"),
        (LINE.replace("org/llama", ""), "the model is empty"),
        (LINE + ",more", "9 cells instead of 8"),
        ('"open', "it is not CSV"),
    ],
)
def test_an_unusable_line_is_refused_by_its_number(line: str, said: str) -> None:
    with pytest.raises(HostedPriceError, match=said):
        read(line)


def test_a_model_twice_other_columns_and_an_empty_list_are_refused() -> None:
    with pytest.raises(HostedPriceError, match=r"line 3: org/llama of somebody stands there twice"):
        read(LINE, LINE)
    with pytest.raises(HostedPriceError, match="the header is provider,price"):
        read_hosted_prices("provider,price\n", filename="list.csv")
    with pytest.raises(HostedPriceError, match="no prices"):
        read()
