from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from app.attribution.days import day_starts
from app.attribution.schedules import Schedules, Step
from app.units.window import HOUR_MS, to_ms


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def two_profiles() -> Schedules:
    steps = [[Step(100, 0), Step(150, 1), Step(160, 1), Step(180, 0)], [Step(100, 7)]]
    return Schedules(ints(0, 1, 0), steps, 100, 200)


def test_a_code_counts_from_its_instant_until_the_next() -> None:
    codes = two_profiles().at(ints(0, 0, 0, 0, 1, 2), ints(100, 149, 150, 199, 199, 180))

    assert codes.tolist() == [0, 0, 1, 0, 7, 0]


def test_only_changes_strictly_inside_a_span_cut_it() -> None:
    cuts = two_profiles().cuts(
        ints(0, 0, 1, 2, 0), ints(100, 150, 100, 149, 180), ints(200, 180, 200, 151, 200)
    )

    assert list(zip(cuts.row.tolist(), cuts.at_ms.tolist(), strict=True)) == [
        (0, 150),
        (0, 180),
        (3, 150),
    ]


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "start", "hours", "starts"),
    [
        ("UTC", "2026-11-23T00:00", 24, ["2026-11-23T00:00"]),
        ("UTC", "2026-11-23T23:00", 2, ["2026-11-23T00:00", "2026-11-24T00:00"]),
        ("Asia/Kolkata", "2026-11-23T18:00", 1, ["2026-11-22T18:30", "2026-11-23T18:30"]),
        ("Europe/Berlin", "2026-10-24T22:00", 26, ["2026-10-24T22:00", "2026-10-25T23:00"]),
        ("Europe/Berlin", "2026-03-28T23:00", 24, ["2026-03-28T23:00", "2026-03-29T22:00"]),
        # Clocks in Santiago skip midnight: the day begins at 01:00, which is 04:00 UTC.
        ("America/Santiago", "2026-09-06T03:00", 2, ["2026-09-05T04:00", "2026-09-06T04:00"]),
    ],
)
def test_days_begin_at_midnight_of_the_billing_zone(
    zone: str, start: str, hours: int, starts: list[str]
) -> None:
    found = day_starts(ZoneInfo(zone), at(start), at(start) + hours * HOUR_MS)

    assert list(found) == [at(text) for text in starts]
