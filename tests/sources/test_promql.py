"""The text of queries."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sources import promql
from app.sources.promql import (
    EVER_RESET,
    HIGHEST,
    RAW_SAMPLES,
    Dialect,
    Matcher,
    Operator,
    Selector,
    Template,
    any_of,
    before,
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


def test_label_names_with_dots_are_quoted_or_escaped_as_the_server_reads_them() -> None:
    selector = Selector("gen_ai.tokens", (Matcher("k8s.pod.name", Operator.EQUAL, "a.b"),))

    assert str(selector) == '{__name__="gen_ai.tokens","k8s.pod.name"="a.b"}'
    assert selector.text(Dialect.BACKSLASHED) == (
        '{__name__="gen_ai.tokens",k8s\\.pod\\.name="a.b"}'
    )
    query = RAW_SAMPLES.over(selector, 0, 1000)
    assert query.promql == f"{selector}[1000ms]"
    assert query.text(Dialect.BACKSLASHED).startswith("{__name__=")


def test_odd_label_names_cannot_end_their_quotes() -> None:
    assert str(Matcher('say "\\"', Operator.EQUAL, "")) == '"say \\"\\\\\\""=""'


@given(
    values=st.lists(st.text("ab-.|\\", max_size=6), min_size=2, max_size=12, unique=True),
    data=st.data(),
)
def test_what_comes_before_a_limit_is_told_by_its_beginning(
    values: list[str], data: st.DataObject
) -> None:
    values.sort()
    limit = data.draw(st.sampled_from(values[1:]))

    inside, outside = before("pod", values, limit)

    chosen = [value for value in values if re.fullmatch(inside.value, value)]
    assert chosen == [value for value in values if value < limit]
    assert outside.value == inside.value
    assert (inside.operator, outside.operator) == (Operator.REGEX, Operator.NOT_REGEX)


def test_a_thousand_long_names_make_a_short_condition() -> None:
    pods = sorted(f"a-very-long-name-of-a-deployment-{number * 7919:x}" for number in range(1_000))

    inside, _ = before("pod", pods, pods[500])

    assert len(inside.value) < 400
    assert sum(1 for pod in pods if re.fullmatch(inside.value, pod)) == 500


@pytest.mark.parametrize(
    "template", [value for value in vars(promql).values() if isinstance(value, Template)]
)
def test_every_template_says_unit_and_reason(template: Template) -> None:
    assert template.name
    assert template.unit
    assert template.reason.endswith(".")
