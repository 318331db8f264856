"""Reset-aware growth of counters, computed sample by sample from an OpenMetrics file.

A sample at ``t`` belongs to the window with ``start <= t < end``. Growth is measured from the
newest earlier sample of the same series within the lookback. A counter began again from 0 where
its value fell or where it was born (its ``_created`` value, else the start of its target's process)
after the sample before; a series without an earlier sample counts from 0 only if it was born inside
the window, else its first value is uncounted. It imports nothing of the product.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

DAY_MS = 24 * 3_600_000
PROCESS_START = "process_start_time_seconds"

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} (\S+) (\S+)\n?")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SeriesKey:
    name: str
    labels: Labels

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")


@dataclass(frozen=True, slots=True)
class Growth:
    growth: int
    uncounted: int
    resets: int
    samples: int


Samples = Mapping[SeriesKey, Mapping[int, Fraction]]


def read_samples(path: Path, names: Iterable[str]) -> dict[SeriesKey, dict[int, Fraction]]:
    """Return the samples of the named families by series and instant in milliseconds."""
    wanted = frozenset(names)
    series: dict[SeriesKey, dict[int, Fraction]] = {}
    keys: dict[str, SeriesKey] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.partition("{")[0] not in wanted:
                continue
            parts = _LINE.fullmatch(line)
            assert parts is not None, line
            name, labels, value, instant = parts.groups()
            head = f"{name}{{{labels}}}"
            if head not in keys:
                keys[head] = SeriesKey(name, tuple(sorted(_LABEL.findall(labels))))
            samples = series.setdefault(keys[head], {})
            samples[round(Fraction(instant) * 1000)] = Fraction(value)
    return series


def growth_of(
    samples: Samples, *, start_ms: int, end_ms: int, lookback_ms: int = DAY_MS
) -> dict[SeriesKey, Growth]:
    """Return each counter's growth in ``[start_ms, end_ms)``; births come from the same samples.

    Counters are the series whose names end in ``_total``, ``_bucket`` or ``_count``.
    """
    grown = {}
    for key, points in samples.items():
        if not key.name.endswith(("_total", "_bucket", "_count")):
            continue
        births = _births(samples, key)
        result = _series_growth(points, births, start_ms, end_ms, lookback_ms)
        if result.samples:
            grown[key] = result
    return grown


def families_with_births(counters: Iterable[str]) -> tuple[str, ...]:
    """Return the families to read so that the counters' births are known."""
    named = list(counters)
    return (*named, *(_created(name) for name in named), PROCESS_START)


def _created(name: str) -> str:
    return f"{re.sub('_(total|bucket|count)$', '', name)}_created"


def _births(samples: Samples, key: SeriesKey) -> Mapping[int, Fraction]:
    """Return when the counter was born, in seconds, as each scrape told."""
    labels = tuple(pair for pair in key.labels if pair[0] != "le")
    created = samples.get(SeriesKey(_created(key.name), labels))
    if created is not None:
        return created
    for other, points in samples.items():
        same = other.label("instance") == key.label("instance")
        if other.name == PROCESS_START and same:
            return points
    return {}


def _series_growth(
    points: Mapping[int, Fraction],
    births: Mapping[int, Fraction],
    start_ms: int,
    end_ms: int,
    lookback_ms: int,
) -> Growth:
    growth = uncounted = Fraction(0)
    resets = seen = 0
    before: int | None = None
    for at_ms in sorted(points):
        if at_ms >= end_ms:
            break
        if at_ms >= start_ms:
            seen += 1
            born = births.get(at_ms)
            born_ms = None if born is None else born * 1000
            if before is None or before < start_ms - lookback_ms:
                if born_ms is not None and start_ms <= born_ms < end_ms:
                    growth += points[at_ms]
                else:
                    uncounted += points[at_ms]
            elif points[at_ms] < points[before] or (born_ms is not None and born_ms > before):
                growth += points[at_ms]
                resets += 1
            else:
                growth += points[at_ms] - points[before]
        before = at_ms
    return Growth(int(growth), int(uncounted), resets, seen)
