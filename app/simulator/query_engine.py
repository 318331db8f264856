"""Evaluating the simulated part of PromQL over a fleet's exposition."""

import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from app.errors import GpuledgerError
from app.simulator.exposition import Exposition
from app.simulator.promql import (
    Aggregate,
    Call,
    Comparison,
    Expression,
    Matcher,
    Selector,
)
from app.simulator.series import Float64s, Int64s

_LOOKBACK_MS = 300_000
_NAME = "__name__"

_FUNCTIONS: dict[str, Callable[[Float64s], float]] = {
    "avg_over_time": lambda values: float(values.mean()),
    "count_over_time": lambda values: float(len(values)),
    "last_over_time": lambda values: float(values[-1]),
    "max_over_time": lambda values: float(values.max()),
    "min_over_time": lambda values: float(values.min()),
    "resets": lambda values: float((values[1:] < values[:-1]).sum()),
    "sum_over_time": lambda values: float(values.sum()),
}
_AGGREGATES: dict[str, Callable[[Float64s], float]] = {
    "avg": lambda values: float(values.mean()),
    "count": lambda values: float(len(values)),
    "max": lambda values: float(values.max()),
    "min": lambda values: float(values.min()),
    "sum": lambda values: float(values.sum()),
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


class ExecutionError(GpuledgerError):
    """A query that parses and cannot be answered."""


@dataclass(frozen=True, slots=True)
class Found:
    """A series that a selector matched, cut to what may be seen."""

    labels: dict[str, str]
    at_ms: Int64s
    value: Float64s


@dataclass(slots=True)
class _Budget:
    """How many samples a query may still load."""

    left: int

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            message = "query processing would load too many samples into memory in query execution"
            raise ExecutionError(message)


@dataclass(slots=True)
class QueryEngine:
    """Answers as Prometheus would: 2.x ranges hold both borders, ``left_open`` ones the last."""

    exposition: Exposition
    left_open: bool = False
    max_samples: int = 50_000_000
    oldest_ms: int = 0
    _labels: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def query(self, expression: Expression, at_ms: int, now_ms: int) -> str:
        """Return the ``data`` of an answer at ``at_ms``; samples after ``now_ms`` do not exist."""
        budget = _Budget(self.max_samples)
        if isinstance(expression, Selector) and expression.range_ms is not None:
            rows = [
                f'{{"metric":{json.dumps(found.labels)},"values":[{_values(found)}]}}'
                for found in self._range(expression, at_ms, now_ms, budget)
            ]
            return f'{{"resultType":"matrix","result":[{",".join(rows)}]}}'
        stamp = instant(at_ms)
        rows = [
            f'{{"metric":{json.dumps(labels)},"value":[{stamp},"{number(value)}"]}}'
            for labels, value in self._vector(expression, at_ms, now_ms, budget)
        ]
        return f'{{"resultType":"vector","result":[{",".join(rows)}]}}'

    def select(self, matchers: tuple[Matcher, ...], low_ms: int, high_ms: int) -> Iterator[Found]:
        """Yield the matching series that have samples in ``[low_ms, high_ms]``."""
        own = [matcher for matcher in matchers if matcher.label == _NAME]
        others = [matcher for matcher in matchers if matcher.label != _NAME]
        low_ms = max(low_ms, self.oldest_ms)
        for name in self.exposition.names():
            if not all(matcher.accepts(name) for matcher in own):
                continue
            family = self.exposition.family(name)
            for series, labels in zip(family, self._labels_of(name), strict=True):
                if series.at_ms[0] > high_ms or series.at_ms[-1] < low_ms:
                    continue
                if not all(matcher.accepts(labels.get(matcher.label, "")) for matcher in others):
                    continue
                low = int(np.searchsorted(series.at_ms, low_ms, side="left"))
                high = int(np.searchsorted(series.at_ms, high_ms, side="right"))
                if low < high:
                    yield Found(labels, series.at_ms[low:high], series.value[low:high])

    def _labels_of(self, name: str) -> list[dict[str, str]]:
        if name not in self._labels:
            family = self.exposition.family(name)
            self._labels[name] = [{_NAME: name, **dict(series.labels)} for series in family]
        return self._labels[name]

    def _range(
        self, selector: Selector, at_ms: int, now_ms: int, budget: _Budget
    ) -> Iterator[Found]:
        low_ms = at_ms - (selector.range_ms or 0) + (1 if self.left_open else 0)
        for found in self.select(selector.matchers, low_ms, min(at_ms, now_ms)):
            budget.spend(len(found.at_ms))
            yield found

    def _vector(
        self, expression: Expression, at_ms: int, now_ms: int, budget: _Budget
    ) -> list[tuple[dict[str, str], float]]:
        match expression:
            case Selector():
                recent = Selector(expression.matchers, _LOOKBACK_MS)
                return [
                    (found.labels, float(found.value[-1]))
                    for found in self._range(recent, at_ms, now_ms, budget)
                ]
            case Call():
                return self._call(expression, at_ms, now_ms, budget)
            case Aggregate():
                return self._aggregate(expression, at_ms, now_ms, budget)
            case Comparison():
                compare = _COMPARISONS[expression.sign]
                return [
                    (labels, value)
                    for labels, value in self._vector(expression.inner, at_ms, now_ms, budget)
                    if compare(value, expression.number)
                ]

    def _call(
        self, call: Call, at_ms: int, now_ms: int, budget: _Budget
    ) -> list[tuple[dict[str, str], float]]:
        function = _FUNCTIONS[call.function]
        vector = []
        seen: set[tuple[tuple[str, str], ...]] = set()
        for found in self._range(call.selector, at_ms, now_ms, budget):
            labels = found.labels
            if call.function != "last_over_time":
                labels = {name: text for name, text in labels.items() if name != _NAME}
            key = tuple(sorted(labels.items()))
            if key in seen:
                message = "vector cannot contain metrics with the same labelset"
                raise ExecutionError(message)
            seen.add(key)
            vector.append((labels, function(found.value)))
        return vector

    def _aggregate(
        self, aggregate: Aggregate, at_ms: int, now_ms: int, budget: _Budget
    ) -> list[tuple[dict[str, str], float]]:
        groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
        for labels, value in self._vector(aggregate.inner, at_ms, now_ms, budget):
            kept = ((name, labels.get(name, "")) for name in sorted(aggregate.by))
            key = tuple((name, text) for name, text in kept if text)
            groups.setdefault(key, []).append(value)
        combine = _AGGREGATES[aggregate.operator]
        return [(dict(key), combine(np.array(values))) for key, values in groups.items()]


def _values(found: Found) -> str:
    pairs = zip(found.at_ms.tolist(), found.value.tolist(), strict=True)
    return ",".join([f'[{instant(at_ms)},"{number(value)}"]' for at_ms, value in pairs])


def instant(at_ms: int) -> str:
    """Return an instant in seconds, as Prometheus writes it."""
    seconds, rest = divmod(at_ms, 1000)
    return f"{seconds}.{rest:03d}" if rest else str(seconds)


def number(value: float) -> str:
    """Return a value as Prometheus writes it: shortest digits, no exponent."""
    if value != value:  # noqa: PLR0124 - NaN is what differs from itself
        return "NaN"
    if value in (np.inf, -np.inf):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")
