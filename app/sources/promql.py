"""Every query that is sent to Prometheus: a named template, filled with a selector and a span.

Only raw samples and ``*_over_time`` of a plain selector are asked for. ``increase`` and ``rate``
extrapolate to the borders and lose the first and last samples, so no ledger is built on them.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

# The data model's rule for metric and label names that need no quoting.
_PLAIN_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_REGEX_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


class Operator(StrEnum):
    """How a matcher compares a label."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label; regular expressions are anchored by the server."""

    label: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{escaped}"'


@dataclass(frozen=True, slots=True)
class Selector:
    """The series of one metric whose labels fit all matchers."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        conditions = [str(matcher) for matcher in self.matchers]
        if _PLAIN_METRIC.match(self.metric):
            return self.metric + (f"{{{','.join(conditions)}}}" if conditions else "")
        conditions.insert(0, str(Matcher("__name__", Operator.EQUAL, self.metric)))
        return f"{{{','.join(conditions)}}}"

    def where(self, *matchers: Matcher) -> "Selector":
        """Return the selector narrowed by further matchers."""
        return Selector(self.metric, (*self.matchers, *matchers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A kind of question: what is asked, in which unit the answer is, and why it is asked so."""

    name: str
    function: str
    unit: str
    reason: str
    only_above_zero: bool = False

    def over(self, selector: Selector, start_ms: int, end_ms: int) -> "Query":
        """Ask about the samples with ``start_ms <= t < end_ms``."""
        return Query(template=self, selector=selector, start_ms=start_ms, end_ms=end_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A template with its selector and half-open span in milliseconds."""

    template: Template
    selector: Selector
    start_ms: int
    end_ms: int

    @property
    def at_ms(self) -> int:
        """The instant to evaluate at: the last millisecond of the span."""
        return self.end_ms - 1

    @property
    def promql(self) -> str:
        """The text of the query.

        The range reaches one millisecond before the span: servers from 3.0 leave that border out,
        older ones take it in, and whoever reads samples drops it by its timestamp.
        """
        selected = f"{self.selector}[{self.end_ms - self.start_ms}ms]"
        text = f"{self.template.function}({selected})" if self.template.function else selected
        return f"{text} > 0" if self.template.only_above_zero else text

    @property
    def is_raw(self) -> bool:
        """Whether the answer is samples, which can be asked for piece by piece in time."""
        return not self.template.function

    def within(self, start_ms: int, end_ms: int) -> "Query":
        """Return the same question about another span."""
        return replace(self, start_ms=start_ms, end_ms=end_ms)

    def where(self, matcher: Matcher) -> "Query":
        """Return the same question about fewer series."""
        return replace(self, selector=self.selector.where(matcher))


RAW_SAMPLES = Template(
    name="raw_samples",
    function="",
    unit="that of the metric",
    reason="Growth and activity are computed from every sample, and raw samples of a range "
    "selector are not subject to the limit of 11,000 points.",
)
HIGHEST = Template(
    name="highest",
    function="max_over_time",
    unit="that of the metric",
    reason="One figure a series where only the peak of the window is kept.",
)
MEAN = Template(
    name="mean",
    function="avg_over_time",
    unit="that of the metric",
    reason="One figure a series where only the mean of the window is kept.",
)
NEWEST = Template(
    name="newest",
    function="last_over_time",
    unit="that of the metric",
    reason="Labels and constant values of objects, at whatever instant they were last seen.",
)
EVER_RESET = Template(
    name="ever_reset",
    function="resets",
    unit="number of falls",
    reason="Names the few series whose growth needs every sample; the others need their borders.",
    only_above_zero=True,
)
EVER_TRUE = Template(
    name="ever_true",
    function="max_over_time",
    unit="1",
    reason="Names the series of a state family that were set at some instant.",
    only_above_zero=True,
)


def any_of(label: str, values: tuple[str, ...]) -> Matcher:
    """Return the matcher for a label that is exactly one of ``values``."""
    if len(values) == 1:
        return Matcher(label, Operator.EQUAL, values[0])
    return Matcher(label, Operator.REGEX, "|".join(_literal(value) for value in values))


def none_of(label: str, values: tuple[str, ...]) -> Matcher:
    """Return the complement of `any_of`; series without the label fit."""
    if len(values) == 1:
        return Matcher(label, Operator.NOT_EQUAL, values[0])
    return Matcher(label, Operator.NOT_REGEX, "|".join(_literal(value) for value in values))


def _literal(value: str) -> str:
    return _REGEX_SPECIAL.sub(r"\\\1", value)
