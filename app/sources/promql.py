"""Every query that is sent to Prometheus: a named template, filled with a selector and a span.

Only raw samples and ``*_over_time`` of a plain selector are asked for. ``increase`` and ``rate``
extrapolate to the borders and lose the first and last samples, so no ledger is built on them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto
from itertools import takewhile

# The data model's rules for metric and label names that need no quoting.
_PLAIN_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_PLAIN_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LABEL_SPECIAL = re.compile(r"([^a-zA-Z0-9_])")
_REGEX_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


class Dialect(Enum):
    """How label names are written that are no plain ones, such as OpenTelemetry's with dots.

    Prometheus takes them quoted from 3.0 on and not at all before; VictoriaMetrics takes them with
    a backslash before each foreign character, and in its later versions also quoted.
    """

    QUOTED = auto()
    BACKSLASHED = auto()


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
        return self.text(Dialect.QUOTED)

    def text(self, dialect: Dialect) -> str:
        """Return the matcher as the servers of a dialect read it."""
        label = self.label
        if not _PLAIN_LABEL.match(label):
            match dialect:
                case Dialect.QUOTED:
                    label = f'"{_quotable(label)}"'
                case Dialect.BACKSLASHED:
                    label = _LABEL_SPECIAL.sub(r"\\\1", label)
        return f'{label}{self.operator}"{_quotable(self.value)}"'


@dataclass(frozen=True, slots=True)
class Selector:
    """The series of one metric whose labels fit all matchers.

    ``native`` is the native histogram whose series are asked for together with the metric's, since
    either may have what the metric means.
    """

    metric: str
    matchers: tuple[Matcher, ...] = ()
    native: str = ""

    def __str__(self) -> str:
        return self.text(Dialect.QUOTED)

    def text(self, dialect: Dialect) -> str:
        """Return the selector as the servers of a dialect read it.

        A name that needs quoting is the value of a matcher, which every server understands.
        """
        conditions = [matcher.text(dialect) for matcher in self.matchers]
        if _PLAIN_METRIC.match(self.metric) and not self.native:
            return self.metric + (f"{{{','.join(conditions)}}}" if conditions else "")
        names = (self.metric, self.native) if self.native else (self.metric,)
        conditions.insert(0, any_of("__name__", names).text(dialect))
        return f"{{{','.join(conditions)}}}"

    def where(self, *matchers: Matcher) -> "Selector":
        """Return the selector narrowed by further matchers."""
        return replace(self, matchers=(*self.matchers, *matchers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A kind of question: what is asked, in which unit the answer is, and why it is asked so.

    Of a figure that the server computes, ``digits`` are the significant ones that are kept: servers
    add the same samples up in different ways. 0 keeps all.
    """

    name: str
    function: str
    unit: str
    reason: str
    only_above_zero: bool = False
    digits: int = 0

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
        """The text of the query, as Prometheus reads it."""
        return self.text(Dialect.QUOTED)

    def text(self, dialect: Dialect) -> str:
        """Return the query as the servers of a dialect read it.

        The range reaches one millisecond before the span: servers from 3.0 leave that border out,
        older ones take it in, and whoever reads samples drops it by its timestamp.
        """
        selected = f"{self.selector.text(dialect)}[{self.end_ms - self.start_ms}ms]"
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
    digits=12,
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


def before(label: str, values: Sequence[str], limit: str) -> tuple[Matcher, Matcher]:
    """Return the matcher for those of ``values`` that come before ``limit``, and its complement.

    It names what they begin with up to where they part from ``limit``, so its length does not grow
    with their number.
    """
    siblings: dict[str, set[str]] = {}
    beginnings = set()
    for value in values:
        if value >= limit:
            continue
        common = _common(value, limit)
        if len(common) == len(value):
            beginnings.add(value)
        else:
            siblings.setdefault(common, set()).add(value[len(common)])
    texts = [
        *(_literal(value) for value in sorted(beginnings)),
        *(
            f"{_literal(common)}(?:{'|'.join(map(_literal, sorted(signs)))}).*"
            for common, signs in sorted(siblings.items())
        ),
    ]
    text = "|".join(texts)
    return Matcher(label, Operator.REGEX, text), Matcher(label, Operator.NOT_REGEX, text)


def _common(one: str, other: str) -> str:
    """Return what both texts begin with."""
    pairs = zip(one, other, strict=False)
    return one[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _literal(value: str) -> str:
    return _REGEX_SPECIAL.sub(r"\\\1", value)
