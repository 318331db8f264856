import pytest

from app.simulator.promql import (
    Aggregate,
    Call,
    Comparison,
    Matcher,
    PromqlError,
    Selector,
    parse,
)

UP = Matcher("__name__", "=", "up")


def test_a_name_alone_selects_the_newest_samples() -> None:
    assert parse("up") == Selector((UP,), None)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("3720000ms", 3_720_000),
        ("90s", 90_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
    ],
)
def test_a_range_is_read_in_any_unit(text: str, milliseconds: int) -> None:
    assert parse(f"up[{text}]") == Selector((UP,), milliseconds)


def test_matchers_keep_their_signs_and_escapes() -> None:
    parsed = parse(r'up{a="x\"y", b!="", c=~"p\\.q|r", d!~"s.*",}')

    assert parsed == Selector(
        (
            UP,
            Matcher("a", "=", 'x"y'),
            Matcher("b", "!=", ""),
            Matcher("c", "=~", r"p\.q|r"),
            Matcher("d", "!~", "s.*"),
        ),
        None,
    )


def test_colons_belong_to_a_name() -> None:
    assert parse("vllm:prompt_tokens_total[1h]") == Selector(
        (Matcher("__name__", "=", "vllm:prompt_tokens_total"),), 3_600_000
    )


def test_functions_aggregates_and_comparisons_nest() -> None:
    call = Call("resets", Selector((UP,), 60_000))

    assert parse("resets(up[1m]) > 0") == Comparison(call, ">", 0.0)
    assert parse("sum by (a, b) (resets(up[1m]))") == Aggregate("sum", ("a", "b"), call)
    assert parse("sum(resets(up[1m])) by (a)") == Aggregate("sum", ("a",), call)
    assert parse("(count(up))") == Aggregate("count", (), Selector((UP,), None))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "up{",
        'up{a="x"',
        "up{a=x}",
        "up[5]",
        "up[5m",
        "rate(up[5m])",
        "increase(up[5m])",
        "resets(up)",
        "sum(up[5m])",
        "up up",
        '{a=""}',
        '{__name__=~"("}',
        "up offset 5m",
        "$",
    ],
)
def test_what_is_not_simulated_is_refused(query: str) -> None:
    with pytest.raises(PromqlError, match="parse error"):
        parse(query)


@pytest.mark.parametrize(
    ("matcher", "value", "accepted"),
    [
        (Matcher("a", "=", "x"), "x", True),
        (Matcher("a", "=", "x"), "", False),
        (Matcher("a", "!=", ""), "", False),
        (Matcher("a", "=~", "x|y"), "y", True),
        (Matcher("a", "=~", "x"), "xy", False),
        (Matcher("a", "!~", "x.*"), "xy", False),
        (Matcher("a", "!~", "x"), "xy", True),
    ],
)
def test_patterns_match_the_whole_value(matcher: Matcher, value: str, *, accepted: bool) -> None:
    assert matcher.accepts(value) is accepted
