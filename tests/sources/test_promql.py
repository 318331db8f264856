"""The text of queries."""

import pytest

from app.sources import promql
from app.sources.promql import (
    EVER_RESET,
    HIGHEST,
    RAW_SAMPLES,
    Matcher,
    Operator,
    Selector,
    Template,
    any_of,
    none_of,
)


def test_a_span_is_asked_for_at_its_last_millisecond() -> None:
    query = RAW_SAMPLES.over(Selector("up"), 3_600_000, 7_200_000)

    assert query.promql == "up[3600000ms]"
    assert query.at_ms == 7_199_999


def test_functions_and_conditions_stand_around_the_range() -> None:
    selector = Selector("x:y").where(any_of("pod", ("a",)), none_of("le", ("1", "2.5")))

    assert HIGHEST.over(selector, 0, 1000).promql == (
        'max_over_time(x:y{pod="a",le!~"1|2\\\\.5"}[1000ms])'
    )
    assert EVER_RESET.over(Selector("c"), 0, 1).promql == "resets(c[1ms]) > 0"


def test_values_of_labels_are_taken_literally() -> None:
    assert str(any_of("m", ("a.b", "c|d"))) == 'm=~"a\\\\.b|c\\\\|d"'
    assert str(Matcher("m", Operator.EQUAL, 'say "\\"\n')) == 'm="say \\"\\\\\\"\\n"'


def test_a_name_with_dots_is_quoted() -> None:
    selector = Selector("gen_ai.tokens", (any_of("a", ("b",)),))

    assert str(selector) == '{__name__="gen_ai.tokens",a="b"}'


@pytest.mark.parametrize(
    "template", [value for value in vars(promql).values() if isinstance(value, Template)]
)
def test_every_template_says_unit_and_reason(template: Template) -> None:
    assert template.name
    assert template.unit
    assert template.reason.endswith(".")
