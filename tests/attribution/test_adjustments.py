"""Differences of ledger lines against a count line by line."""

from collections import Counter

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from app.attribution.adjustments import (
    LEDGER_LINES,
    LINE_FIGURES,
    LINE_KEY,
    differences,
    money_by_team,
    reversed_lines,
)

# Few keys, so that lines meet.
_KEYS = st.fixed_dictionaries(
    {
        name: st.integers(0, 1) if name in {"team_id", "kind", "day"} else st.just(1)
        for name in LINE_KEY
    }
)
_FIGURES = st.fixed_dictionaries({name: st.integers(-3, 3) for name in LINE_FIGURES})
_LINES = st.lists(st.tuples(_KEYS, _FIGURES), max_size=8)
Line = tuple[dict[str, int], dict[str, int]]


def frame(lines: list[Line]) -> pd.DataFrame:
    span = {"charge_id": 5, "start_ms": 0, "end_ms": 9}
    columns = [*LEDGER_LINES.columns]
    rows = [{**key, **figures, **span} for key, figures in lines]
    return pd.DataFrame(rows, columns=columns).astype("int64")


def counted(lines: list[Line]) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Add figures up by key, one line after another."""
    found: dict[tuple[int, ...], Counter[str]] = {}
    for key, figures in lines:
        sums = found.setdefault(tuple(key[name] for name in LINE_KEY), Counter())
        for name, value in figures.items():
            sums[name] += value
    every = {key: tuple(sums[name] for name in LINE_FIGURES) for key, sums in found.items()}
    return {key: figures for key, figures in every.items() if any(figures)}


def told(rows: pd.DataFrame) -> dict[tuple[int, ...], tuple[int, ...]]:
    return {
        tuple(key): tuple(figures)
        for key, figures in zip(
            rows[[*LINE_KEY]].to_numpy().tolist(),
            rows[[*LINE_FIGURES]].to_numpy().tolist(),
            strict=True,
        )
    }


def negated(lines: list[Line]) -> list[Line]:
    return [(key, {name: -value for name, value in figures.items()}) for key, figures in lines]


@given(last=_LINES, booked=_LINES)
def test_differences_are_what_a_count_line_by_line_gives(
    last: list[Line], booked: list[Line]
) -> None:
    found = LEDGER_LINES.validate(differences(frame(last), frame(booked)))

    assert told(found) == counted([*last, *negated(booked)])
    assert [*told(found)] == sorted(told(found))


@given(last=_LINES, booked=_LINES)
def test_what_is_booked_with_its_differences_is_the_last(
    last: list[Line], booked: list[Line]
) -> None:
    found = differences(frame(last), frame(booked))

    again = differences(frame(last), pd.concat([frame(booked), found], ignore_index=True))

    assert again.empty


@given(posted=_LINES)
def test_a_reversal_takes_back_all_that_was_posted(posted: list[Line]) -> None:
    back = reversed_lines(frame(posted))

    assert told(back) == counted(negated(posted))


@given(lines=_LINES)
def test_money_by_team_is_all_money(lines: list[Line]) -> None:
    money = money_by_team(frame(lines))

    assert sum(money.values()) == sum(figures["cost_nanos"] for _, figures in lines)
