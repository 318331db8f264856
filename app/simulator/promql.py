"""The small part of PromQL that the simulated Prometheus understands."""

import re
from dataclasses import dataclass
from typing import NoReturn

from app.errors import GpuledgerError

FUNCTIONS = (
    "avg_over_time",
    "count_over_time",
    "last_over_time",
    "max_over_time",
    "min_over_time",
    "resets",
    "sum_over_time",
)
AGGREGATES = ("avg", "count", "max", "min", "sum")
_UNIT_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<range>\[[^\]]*\])
    |(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<number>[0-9]+(?:\.[0-9]+)?)
    |(?P<sign>=~|!~|!=|==|>=|<=|[={}(),><]))""",
    re.VERBOSE,
)
_PIECE = re.compile(r"(\d+)(ms|[smhdw])")


class PromqlError(GpuledgerError):
    """A query that Prometheus would not parse, or that uses what is not simulated."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label; a missing label is an empty one, patterns match the whole."""

    label: str
    sign: str
    text: str

    def accepts(self, value: str) -> bool:
        """Say whether a label value meets the condition."""
        match self.sign:
            case "=":
                return value == self.text
            case "!=":
                return value != self.text
            case "=~":
                return re.fullmatch(self.text, value) is not None
            case _:
                return re.fullmatch(self.text, value) is None


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by their labels; with a range, their raw samples."""

    matchers: tuple[Matcher, ...]
    range_ms: int | None


@dataclass(frozen=True, slots=True)
class Call:
    """A function over the samples of a range."""

    function: str
    selector: Selector


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One value for every group of series."""

    operator: str
    by: tuple[str, ...]
    inner: "Expression"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What of a vector compares to a number as asked."""

    inner: "Expression"
    sign: str
    number: float


Expression = Selector | Call | Aggregate | Comparison


def parse(query: str) -> Expression:
    """Return the query's meaning. Refuses what is outside the simulated part of the language."""
    parser = _Parser(query)
    expression = parser.expression()
    parser.expect_end()
    return expression


class _Parser:
    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens: list[str] = []
        position = 0
        while query[position:].strip():
            found = _TOKEN.match(query, position)
            if found is None:
                self._refuse(f"unexpected character at position {position}")
            self._tokens.append(found.group().strip())
            position = found.end()
        self._next = 0

    def expression(self) -> Expression:
        inner = self._operand()
        if self._peek() in (">", "<", ">=", "<=", "==", "!="):
            sign = self._take()
            return Comparison(inner, sign, float(self._take()))
        return inner

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            self._refuse(f"unexpected {self._peek()!r}")

    def _operand(self) -> Expression:
        word = self._peek()
        follower = self._tokens[self._next + 1 : self._next + 2]
        if word == "(":
            self._take()
            inner = self.expression()
            self._expect(")")
            return inner
        if word in AGGREGATES and follower in (["("], ["by"]):
            return self._aggregate()
        if word in FUNCTIONS and follower == ["("]:
            return self._call()
        if follower == ["("]:
            self._refuse(f"unknown function with name {word!r}")
        return self._selector()

    def _aggregate(self) -> Aggregate:
        operator = self._take()
        by: tuple[str, ...] = ()
        if self._peek() == "by":
            by = self._by()
        self._expect("(")
        inner = self.expression()
        self._expect(")")
        if self._peek() == "by":
            by = self._by()
        if isinstance(inner, Selector) and inner.range_ms is not None:
            self._refuse(f"expected type instant vector in {operator}, got range vector")
        return Aggregate(operator, by, inner)

    def _by(self) -> tuple[str, ...]:
        self._expect("by")
        self._expect("(")
        names = []
        while self._peek() != ")":
            names.append(self._take())
            if self._peek() == ",":
                self._take()
        self._expect(")")
        return tuple(names)

    def _call(self) -> Call:
        function = self._take()
        self._expect("(")
        selector = self._selector()
        self._expect(")")
        if selector.range_ms is None:
            self._refuse(f"expected type range vector in call to function {function!r}")
        return Call(function, selector)

    def _selector(self) -> Selector:
        matchers: list[Matcher] = []
        if re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", self._peek()):
            matchers.append(Matcher("__name__", "=", self._take()))
        if self._peek() == "{":
            self._take()
            while self._peek() != "}":
                matchers.append(self._matcher())
                if self._peek() == ",":
                    self._take()
            self._take()
        if all(matcher.accepts("") for matcher in matchers):
            self._refuse("vector selector must contain at least one non-empty matcher")
        range_ms = None
        if self._peek().startswith("["):
            range_ms = self._duration(self._take()[1:-1].strip())
        return Selector(tuple(matchers), range_ms)

    def _matcher(self) -> Matcher:
        label, sign, quoted = self._take(), self._take(), self._take()
        if sign not in ("=", "!=", "=~", "!~") or quoted[:1] not in ('"', "'"):
            self._refuse(f"unexpected {sign}{quoted} after label {label!r}")
        text = re.sub(r"\\(.)", r"\1", quoted[1:-1])
        if sign in ("=~", "!~"):
            try:
                re.compile(text)
            except re.error as failure:
                self._refuse(f"error parsing regexp: {failure}")
        return Matcher(label, sign, text)

    def _duration(self, text: str) -> int:
        if not re.fullmatch(r"(\d+(ms|[smhdw]))+", text):
            self._refuse(f"bad duration syntax: {text!r}")
        return sum(int(count) * _UNIT_MS[unit] for count, unit in _PIECE.findall(text))

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        if not token:
            self._refuse("unexpected end of input")
        self._next += 1
        return token

    def _expect(self, token: str) -> None:
        taken = self._take()
        if taken != token:
            self._refuse(f"unexpected {taken!r}, expected {token!r}")

    def _refuse(self, reason: str) -> NoReturn:
        message = f'invalid parameter "query": parse error: {reason} in {self._query!r}'
        raise PromqlError(message)
