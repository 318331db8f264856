"""Names of classic histograms' series that native histograms answer for.

A classic histogram X has series ``X_bucket``, ``X_sum`` and ``X_count`` and none called X; a native
one is a single series X. A server may have both of one target, or each of some targets.
"""

from collections.abc import Collection
from enum import Enum

from app.sources.promql import Matcher, Selector


class Part(Enum):
    """Which of the classic series is meant."""

    BUCKET = "_bucket"
    SUM = "_sum"
    COUNT = "_count"


def part_of(metric: str) -> Part | None:
    """Return which part of a histogram a metric would be by its name, None for no part."""
    return next((part for part in Part if metric.endswith(part.value)), None)


def native_name(metric: str) -> str:
    """Return the native histogram that answers for a classic series' name, '' for no histogram."""
    part = part_of(metric)
    return "" if part is None else metric.removesuffix(part.value)


def is_published(metric: str, names: Collection[str]) -> bool:
    """Say whether a server has a metric, as its own series or inside a native histogram."""
    return metric in names or native_name(metric) in names


def selector_of(
    metric: str, names: Collection[str], matchers: tuple[Matcher, ...] = ()
) -> Selector:
    """Select a metric, and the native histogram that answers for it where the server has one."""
    native = native_name(metric)
    return Selector(metric, matchers, native=native if native in names else "")
