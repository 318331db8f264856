"""Daily cost as forecasts and anomalies look at it: whole billing days in order."""

from dataclasses import dataclass
from datetime import date

# Fewer days than this say nothing about the next one (Koku's forecast asks for as many).
FEWEST_DAYS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDay:
    """GPU time and money of one GPU model in a day; energy and unpriced time included."""

    gpu_model: str
    gpu_ms: int
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostDay:
    """What a team or a service cost on a billing day, in nanos, and of what.

    ``complete`` is false where hours, samples or prices of the day are lacking: such a day is
    neither judged nor learned from.
    """

    day: date
    nanos: int
    complete: bool = True
    models: tuple[ModelDay, ...] = ()
