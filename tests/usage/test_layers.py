"""Of layers and roles that repeat each other one counts, and what does not is named."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from app.usage.layers import authoritative, repeated

COLUMNS = ("namespace", "model", "quantity", "layer", "role")
TOKENS, REQUESTS = "PROMPT_TOKENS", "REQUESTS"


def rows(*given_rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(given_rows), columns=list(COLUMNS), dtype="str")
    numbers = [str(number) for number in range(len(frame))]
    return frame.assign(
        pod=pd.Series(numbers, dtype="str"), target="", growth=range(1, len(frame) + 1)
    )


def counted(*given_rows: tuple[str, str, str, str, str]) -> list[bool]:
    return [bool(one) for one in authoritative(rows(*given_rows))]


def test_an_engine_counts_and_its_frontend_and_router_do_not() -> None:
    layers = ("frontend", "engine", "router")

    assert counted(*(("ns", "m", TOKENS, layer, "") for layer in layers)) == [False, True, False]


def test_a_frontend_counts_for_what_no_engine_publishes() -> None:
    assert counted(
        ("ns", "m", TOKENS, "engine", ""),
        ("ns", "m", TOKENS, "frontend", ""),
        ("ns", "m", REQUESTS, "frontend", ""),
        ("ns", "other", TOKENS, "frontend", ""),
        ("elsewhere", "m", TOKENS, "frontend", ""),
    ) == [True, False, True, True, True]


def test_a_router_never_counts_for_the_total() -> None:
    assert counted(("ns", "m", TOKENS, "router", "")) == [False]


def test_a_frontend_of_no_known_namespace_gives_way_to_any_engine_of_the_model() -> None:
    assert counted(
        ("ns", "m", TOKENS, "engine", ""),
        ("", "m", TOKENS, "frontend", ""),
        ("", "n", TOKENS, "frontend", ""),
    ) == [True, False, True]


def test_prefill_says_the_prompt_and_decode_what_was_generated() -> None:
    for quantity, says in (
        ("PROMPT_TOKENS", "prefill"),
        ("CACHED_PROMPT_TOKENS", "prefill"),
        ("TIME_TO_FIRST_TOKEN_BUCKET", "prefill"),
        ("GENERATION_TOKENS", "decode"),
        ("REASONING_TOKENS", "decode"),
        ("REQUESTS", "decode"),
        ("END_TO_END_BUCKET", "decode"),
    ):
        found = counted(*(("ns", "m", quantity, "engine", role) for role in ("prefill", "decode")))
        assert found == [says == "prefill", says == "decode"], quantity


def test_a_replica_without_a_role_counts_beside_those_with_one() -> None:
    roles = ("", "prefill", "decode")

    assert counted(*(("ns", "m", TOKENS, "engine", role) for role in roles)) == [True, True, False]


def test_what_only_one_side_publishes_counts() -> None:
    assert counted(("ns", "m", TOKENS, "engine", "decode")) == [True]


def test_both_sides_run_requests() -> None:
    assert counted(
        ("ns", "m", "running", "engine", "prefill"), ("ns", "m", "running", "engine", "decode")
    ) == [True, True]


def test_growth_that_does_not_count_is_named() -> None:
    frame = rows(
        ("ns", "m", TOKENS, "engine", "prefill"),
        ("ns", "m", TOKENS, "engine", "decode"),
        ("ns", "m", TOKENS, "frontend", ""),
    )
    notes = repeated(frame, authoritative(frame))

    assert [(note.kind, note.subject, note.quantity) for note in notes] == [
        ("reexported", "ns/1 PROMPT_TOKENS", 2),
        ("reexported", "ns/2 PROMPT_TOKENS", 3),
    ]
    assert [note.detail.split(";")[0] for note in notes] == [
        "Said by a decode replica",
        "Said by a frontend",
    ]


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "ns", "other"]),
        st.sampled_from(["m", "n"]),
        st.sampled_from([TOKENS, REQUESTS, "GENERATION_TOKENS", "running"]),
        st.sampled_from(["engine", "frontend", "router"]),
        st.sampled_from(["", "prefill", "decode"]),
    ),
    max_size=8,
)


@given(given_rows=ROWS)
def test_who_counts_equals_looking_at_every_other_row(
    given_rows: list[tuple[str, str, str, str, str]],
) -> None:
    assert counted(*given_rows) == [by_hand(row, given_rows) for row in given_rows]


@given(given_rows=ROWS)
def test_every_growth_counts_or_is_named(
    given_rows: list[tuple[str, str, str, str, str]],
) -> None:
    frame = rows(*given_rows)
    counts = authoritative(frame)

    named = sum(note.quantity for note in repeated(frame, counts))
    assert frame.loc[counts, "growth"].sum() + named == frame["growth"].sum()


@given(given_rows=ROWS)
def test_a_quantity_that_an_engine_publishes_is_never_lost(
    given_rows: list[tuple[str, str, str, str, str]],
) -> None:
    found = counted(*given_rows)
    kept = {row[:3] for row, counts in zip(given_rows, found, strict=True) if counts}

    assert {row[:3] for row in given_rows if row[3] == "engine"} <= kept


def by_hand(
    row: tuple[str, str, str, str, str], others: list[tuple[str, str, str, str, str]]
) -> bool:
    namespace, model, quantity, layer, role = row
    if layer == "router":
        return False
    if layer == "frontend":
        engines = [one for one in others if one[3] == "engine" and one[1:3] == (model, quantity)]
        if any(one[0] == namespace or not namespace for one in engines):
            return False
    left_to = {
        ("decode", "PROMPT_TOKENS"): "prefill",
        ("prefill", "GENERATION_TOKENS"): "decode",
        ("prefill", "REQUESTS"): "decode",
    }.get((role, quantity))
    same = [one for one in others if one[:3] == row[:3] and one[4] == left_to]
    beside = [one for one in same if one[3] == layer or (layer, one[3]) == ("frontend", "engine")]
    return not beside
