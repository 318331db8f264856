"""Tells every sharing scenario in other ways; who holds what and what it costs stays the same."""

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.scenarios.retold import follow, hours_of, stretched, summed
from tests.scenarios.test_sharing_scenarios import FILES, expected, table
from tests.scenarios.told_cluster import HOUR_MS, ms, rated


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_watch_that_begins_again_after_every_event_gives_the_same_lines(
    path: Path, database: Engine
) -> None:
    document = tomllib.loads(path.read_text(encoding="utf-8"))

    window = follow(document, database, restart=True)

    assert table(rated(document, database, window)) == expected(document["expect"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_hours_of_a_span_have_the_lines_of_the_span(path: Path, database: Engine) -> None:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    start_ms, end_ms = (ms(instant) for instant in document["window"])
    # A scenario of one hour has no border inside: three times as slow it has two.
    document = stretched(document, 3) if end_ms - start_ms == HOUR_MS else document

    window = follow(document, database, restart=False)
    whole = rated(document, database, window)
    hours = summed([rated(document, database, hour) for hour in hours_of(window)])

    assert {key for key, line in hours.items() if any(line)} == {
        key for key, line in whole.lines.items() if any(line)
    }
    # Every hour rounds each holder to the millisecond.
    cuts = window.length_ms // HOUR_MS
    nanos_per_ms = Decimal(document["price_per_gpu_hour"]) * 10**9 / HOUR_MS + 1
    for key, (gpu_ms, nanos) in whole.lines.items():
        assert abs(hours[key][0] - gpu_ms) <= cuts, key
        assert abs(hours[key][1] - nanos) <= cuts * nanos_per_ms, key
