"""Tokens by consumer: the growth of counters, whoever they are of, against a count by hand."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from app.units.window import HOUR_MS, Window, from_ms
from app.usage.consumers import (
    GATEWAY_LABELS,
    GatewayConsumer,
    GatewayRoute,
    consume,
    known_identity,
    no_consumers,
)
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples

TEN_MS = 1_795_428_000_000
WINDOW = Window(from_ms(TEN_MS), from_ms(TEN_MS + HOUR_MS))
SCRAPE_MS = 30_000
STEPS = HOUR_MS // SCRAPE_MS


def counters(*series: tuple[dict[str, str], list[int]]) -> SampleSet:
    """Series with a sample a scrape from one before the window on."""
    rows = []
    for number, (labels, _) in enumerate(series):
        row = dict.fromkeys(GATEWAY_LABELS, "") | {
            "identity": str(number),
            "series": str(number),
            "pod": "gateway-0",
            "gateway": "litellm",
        }
        rows.append(row | labels)
    lengths = [len(values) for _, values in series]
    at_ms = [TEN_MS - SCRAPE_MS + SCRAPE_MS * step for count in lengths for step in range(count)]
    return SampleSet(
        pd.DataFrame(rows, columns=[*GATEWAY_LABELS]).astype("str"),
        np.cumsum([0, *lengths]).astype(np.int64),
        np.array(at_ms, dtype=np.int64),
        np.array([value for _, values in series for value in values], dtype=np.float64),
    )


def consumed(*series: tuple[dict[str, str], list[int]]) -> pd.DataFrame:
    return consume(
        WINDOW,
        counters(*series),
        no_samples(COUNTER_LABELS),
        scrape_ms=SCRAPE_MS,
        lookback_ms=HOUR_MS,
    ).usage


def test_series_of_one_consumer_are_added_and_kinds_stand_beside_each_other() -> None:
    who = {"team": "search", "key_alias": "web", "model": "llama"}
    facts = consume(
        WINDOW,
        counters(
            ({**who, "quantity": "prompt_tokens"}, [5, 15]),
            ({**who, "quantity": "prompt_tokens", "pod": "gateway-1"}, [0, 1]),
            ({**who, "quantity": "cached_prompt_tokens"}, [0, 4]),
            ({**who, "quantity": "generation_tokens"}, [7, 3]),
        ),
        no_samples(COUNTER_LABELS),
        scrape_ms=SCRAPE_MS,
        lookback_ms=HOUR_MS,
    )

    (row,) = facts.usage.to_dict("records")
    assert (row["prompt_tokens"], row["cached_prompt_tokens"]) == (11, 4)
    assert row["generation_tokens"] == 3
    assert pd.isna(row["requests"])
    assert facts.consumers == (GatewayConsumer(gateway="litellm", team="search", key_alias="web"),)
    assert facts.routes == (GatewayRoute(model="llama"),)


def test_a_consumer_who_sent_nothing_has_no_row() -> None:
    assert consumed(({"team": "a", "quantity": "prompt_tokens"}, [5, 5])).empty


def test_a_first_value_that_may_be_older_is_noted_and_not_counted() -> None:
    late = counters(({"team": "a", "quantity": "prompt_tokens"}, [9]))
    late = SampleSet(late.labels, late.first, late.at_ms + 5 * SCRAPE_MS, late.value)
    facts = consume(
        WINDOW, late, no_samples(COUNTER_LABELS), scrape_ms=SCRAPE_MS, lookback_ms=HOUR_MS
    )

    assert facts.usage.empty
    assert facts.notes[["kind", "subject", "quantity"]].to_numpy().tolist() == [
        ["gateway_first_value", "litellm prompt_tokens", 9]
    ]


def test_a_key_seen_for_the_first_time_in_a_gateway_that_was_scraped_crossed_no_gap() -> None:
    made = {"quantity": "generation_tokens"}
    both = counters((made | {"key_alias": "web"}, [*range(9)]), (made | {"key_alias": "late"}, [5]))
    # The second one is there from the other's seventh sample on; its process began with the hour.
    found = SampleSet(both.labels, both.first, both.at_ms, both.value)
    found.at_ms[-1] = found.at_ms[7]
    births = SampleSet(
        both.labels[[*COUNTER_LABELS]],
        np.array([0, 1, 2]),
        np.array([TEN_MS, TEN_MS]),
        np.array([TEN_MS, TEN_MS], dtype=np.float64),
    )
    facts = consume(WINDOW, found, births, scrape_ms=SCRAPE_MS, lookback_ms=HOUR_MS)

    assert sorted(facts.usage["generation_tokens"].tolist()) == [5, 8]
    assert not facts.usage["carried"].any()


def test_a_window_without_gateways_has_nothing() -> None:
    assert consumed().empty
    assert no_consumers().usage.empty


def test_what_stands_for_nobody_is_nobody() -> None:
    assert [known_identity(text) for text in ("None", " none ", "", "null", "unknown")] == [""] * 5
    assert known_identity(" Search\0 ") == "Search"
    assert GatewayConsumer(gateway="kong").name == "no identity"
    assert GatewayConsumer(gateway="kong", team="a", key_alias="a").name == "a"


KEYS = st.sampled_from(["a", "b", ""])
WALK = st.lists(st.integers(0, 50), min_size=2, max_size=8)


@given(st.lists(st.tuples(KEYS, st.sampled_from(["m", "n"]), WALK), max_size=6))
def test_sums_are_those_of_a_count_by_hand(rows: list[tuple[str, str, list[int]]]) -> None:
    usage = consumed(
        *(
            ({"key_alias": key, "model": model, "quantity": "generation_tokens"}, values)
            for key, model, values in rows
        )
    )

    by_hand: dict[tuple[int, int], int] = defaultdict(int)
    for key, model, values in rows:
        grown = sum(
            after - before if after >= before else after for before, after in pairwise(values)
        )
        consumer = GatewayConsumer(gateway="litellm", key_alias=key)
        by_hand[consumer.consumer_id, GatewayRoute(model=model).route_id] += grown
    columns = ["consumer_id", "route_id", "generation_tokens"]
    found = {
        (one, route): int(count) for one, route, count in usage[columns].itertuples(index=False)
    }
    assert found == {key: count for key, count in by_hand.items() if count}
