"""Goodput: how many requests met a stated latency objective, counted from latency buckets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from math import inf

from app.attribution.contract import literal_prefix
from app.errors import InputError
from app.usage.kinds import LatencyMetric

# The metrics in which an objective can be stated, by the names that people write.
OBJECTIVE_METRICS = {
    "time_to_first_token": LatencyMetric.TIME_TO_FIRST_TOKEN,
    "end_to_end": LatencyMetric.END_TO_END,
}


# A day: nobody waits longer for an answer.
_LONGEST_SECONDS = 86_400


class ObjectiveError(InputError):
    """A text that states no latency objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Requests to models that ``model`` (a name or a glob) meets are good within ``seconds``."""

    metric: LatencyMetric
    seconds: float
    model: str = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Observations of one model's requests in one metric: how many in the bucket up to ``le``."""

    metric: int
    model: str
    le: float
    increments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """How many of the observed requests met their objective, and what the objective was.

    A bucket that reaches beyond the objective counts for none of it, so that ``within`` is never
    more than the truth: ``objective`` says up to which bound was counted.
    """

    within: int
    observed: int
    objective: str

    @property
    def ratio(self) -> float | None:
        """The part of the observed requests that met the objective."""
        return self.within / self.observed if self.observed else None


def parse_objective(text: str) -> Objective:
    """Return the objective for all models that a text such as ``end_to_end=2.5`` states."""
    name, _, limit = text.partition("=")
    metric = OBJECTIVE_METRICS.get(name.strip())
    try:
        seconds = float(Decimal(limit.strip()))
    except InvalidOperation:
        seconds = 0.0
    if metric is None or not 0 < seconds <= _LONGEST_SECONDS:
        message = f"{text!r} states no latency objective."
        names = " or ".join(OBJECTIVE_METRICS)
        raise ObjectiveError(message, hint=f"Write {names} with seconds: end_to_end=2.5.")
    return Objective(metric=metric, seconds=seconds)


def objective_for(model: str, objectives: Iterable[Objective]) -> Objective | None:
    """Return the objective of a model: the exact name, else the glob with the longest prefix."""
    fitting = [one for one in objectives if fnmatchcase(model, one.model)]
    return max(fitting, key=lambda one: literal_prefix(one.model), default=None)


def goodput(buckets: Sequence[Buckets], objectives: Sequence[Objective]) -> Goodput | None:
    """Return what of the observations met the objectives; None where none is stated for them.

    Buckets are not cumulative, in any order; those of several replicas and models may be mixed,
    each counts by the objective of its model.
    """
    within = observed = 0
    counted: dict[Objective, float] = {}
    stated = _stated(buckets, objectives)
    for one in buckets:
        objective = stated.get(one.model)
        if objective is None or objective.metric != one.metric:
            continue
        observed += one.increments
        counted.setdefault(objective, 0.0)
        if one.le <= objective.seconds:
            within += one.increments
            counted[objective] = max(counted[objective], one.le)
    if not counted:
        return None
    texts = sorted({_text(objective, bound) for objective, bound in counted.items()})
    return Goodput(within=within, observed=observed, objective="; ".join(texts))


def _stated(
    buckets: Sequence[Buckets], objectives: Sequence[Objective]
) -> Mapping[str, Objective | None]:
    return {model: objective_for(model, objectives) for model in {one.model for one in buckets}}


def _text(objective: Objective, bound: float) -> str:
    name = next(key for key, metric in OBJECTIVE_METRICS.items() if metric == objective.metric)
    text = f"{name} ≤ {_seconds(objective.seconds)} s"
    if bound in (objective.seconds, inf):
        return text
    return f"{text}, counted up to the bucket of {_seconds(bound)} s"


def _seconds(value: float) -> str:
    return f"{Decimal(repr(value)).normalize():f}"
