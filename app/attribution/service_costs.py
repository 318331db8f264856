"""A service's cost by the models it serves: split by weighted tokens, period by period."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import pandera.pandas as pa

from app.attribution.contract import Contract, TokenWeights, millionths
from app.units.money import split
from app.usage import frames

_INT = pa.Column("int64")
_COUNT = pa.Column("Int64", nullable=True)

# What is added up, or split among a service's models. `measured_ms` is active and idle time;
# `unpriced_ms` is time that no price covers, `unobserved_ms` time of the service's pools of which
# nobody knows whether the service held it; `used_nanos` the part of `cost_nanos` that active time
# carries.
AMOUNTS = (
    "gpu_ms",
    "active_ms",
    "measured_ms",
    "unpriced_ms",
    "unobserved_ms",
    "used_nanos",
    "cost_nanos",
)
# Money by kind of token: of prompt tokens (cached ones are a part of them), of cached ones, and of
# generated ones; on the reserved basis all money of held time, on the used basis that of active.
TOKEN_NANOS = ("prompt_nanos", "cached_nanos", "generation_nanos")
USED_TOKEN_NANOS = tuple(f"used_{name}" for name in TOKEN_NANOS)
COUNTS = (
    "requests",
    "failed_requests",
    "prompt_tokens",
    "cached_prompt_tokens",
    "generation_tokens",
    "reasoning_tokens",
)

# What a service cost, one row a service and period; a period is a day or less, so that the dated
# token weights apply. The shape of `SERVICE_TOKENS` is `frames.TOKEN_USAGE` by period.
SERVICE_COSTS = pa.DataFrameSchema(
    {"period_ms": _INT, "workload_id": _INT, **dict.fromkeys(AMOUNTS, _INT)},
    strict=True,
    coerce=False,
)
SERVICE_TOKENS = pa.DataFrameSchema(
    {
        "period_ms": _INT,
        **{
            name: column
            for name, column in frames.TOKEN_USAGE.columns.items()
            if name != "window_start_ms"
        },
    },
    strict=True,
    coerce=False,
)

# What each model of a service cost and served, one row a service, model and period: the amounts of
# a service and period sum to those of `SERVICE_COSTS`, prompt and generation nanos to cost_nanos,
# the used ones to used_nanos (all 0 where no token has a weight). Model 0 is what no model can be
# named for. `unheld` says that something was served in a period in which no GPU of the service is
# known, `silent` that the service's engine counts no tokens.
MODEL_COSTS = pa.DataFrameSchema(
    {
        "period_ms": _INT,
        "workload_id": _INT,
        "model_id": _INT,
        **dict.fromkeys(AMOUNTS, _INT),
        **dict.fromkeys((*TOKEN_NANOS, *USED_TOKEN_NANOS), _INT),
        **dict.fromkeys(COUNTS, _COUNT),
        "carried": pa.Column("bool"),
        "unheld": pa.Column("bool"),
        "silent": pa.Column("bool"),
    },
    strict=True,
    coerce=False,
)

_OUTCOMES = ("stop", "length", "abort", "error", "other")
_FAILED = ("abort", "error")
_TOKENS = ("prompt_tokens", "generation_tokens")


def model_costs(
    tokens: pd.DataFrame, costs: pd.DataFrame, model_names: Mapping[int, str], contract: Contract
) -> pd.DataFrame:
    """Split what services cost among the models they served, by the contract's token weights.

    Frames of `SERVICE_TOKENS` and `SERVICE_COSTS` give one of `MODEL_COSTS`. A period without
    weighted tokens is the service's only model's, if it has but one in ``tokens``; else its
    amounts stay on a line of their own with model 0.
    """
    served: dict[_Place, list[_Served]] = {}
    models: dict[int, set[int]] = {}
    weights = _Weights(model_names, contract)
    for row in SERVICE_TOKENS.validate(tokens).to_dict("records"):
        line = _served(row, weights)
        place = _place(row)
        served.setdefault(place, []).append(line)
        models.setdefault(place.workload_id, set()).add(line.model_id)
    amounts = {
        _place(row): tuple(_whole(row[name]) for name in AMOUNTS)
        for row in SERVICE_COSTS.validate(costs).to_dict("records")
    }
    rows = [
        row
        for place in sorted({*served, *amounts})
        for row in _rows(
            place,
            served.get(place, []),
            amounts.get(place, (0,) * len(AMOUNTS)),
            models.get(place.workload_id, set()),
        )
    ]
    frame = pd.DataFrame(rows, columns=list(MODEL_COSTS.columns))
    dtypes = {name: str(column.dtype) for name, column in MODEL_COSTS.columns.items()}
    return MODEL_COSTS.validate(frame.astype(dtypes))


class _Place(NamedTuple):
    """A service in a period."""

    period_ms: int
    workload_id: int


@dataclass(frozen=True, slots=True)
class _Served:
    """What a service served of one model in a period; counts are None where nothing counts them."""

    model_id: int
    counts: tuple[int | None, ...]
    carried: bool
    uncached_weight: int
    cached_weight: int
    generation_weight: int

    @property
    def weight(self) -> int:
        """The weighted tokens, in millionths."""
        return self.uncached_weight + self.cached_weight + self.generation_weight

    def by_kind(self, nanos: int) -> tuple[int, int, int]:
        """Return what of the model's money its prompt, cached and generated tokens carry."""
        if not self.weight:
            return 0, 0, 0
        prompt_weight = self.uncached_weight + self.cached_weight
        prompt, generation = split(nanos, [prompt_weight, self.generation_weight], (0, 1))
        cached = 0
        if self.cached_weight:
            _, cached = split(prompt, [self.uncached_weight, self.cached_weight], (0, 1))
        return prompt, cached, generation

    @property
    def anything(self) -> bool:
        """Whether anything was served at all."""
        return any(self.counts)

    @property
    def silent(self) -> bool:
        """Whether tokens are not counted at all."""
        tokens = [self.counts[COUNTS.index(name)] for name in _TOKENS]
        return all(count is None for count in tokens)


class _Weights:
    """The weights of each model at each instant, looked up once."""

    def __init__(self, model_names: Mapping[int, str], contract: Contract) -> None:
        self._names = model_names
        self._contract = contract
        self._known: dict[tuple[int, int], TokenWeights] = {}

    def of(self, model_id: int, at_ms: int) -> TokenWeights:
        """Return the weights that count for a model."""
        key = (model_id, at_ms)
        if key not in self._known:
            name = self._names.get(model_id, "")
            self._known[key] = self._contract.weights_at(name, at_ms)
        return self._known[key]


def _place(row: Mapping[Hashable, object]) -> _Place:
    return _Place(_whole(row["period_ms"]), _whole(row["workload_id"]))


def _served(row: Mapping[Hashable, object], weights: _Weights) -> _Served:
    counts = [_count(row[f"requests_{outcome}"]) for outcome in _OUTCOMES]
    failed = [_count(row[f"requests_{outcome}"]) for outcome in _FAILED]
    tokens = ("prompt_tokens", "cached_prompt_tokens", "generation_tokens", "reasoning_tokens")
    prompt, cached, generation, reasoning = (_count(row[name]) for name in tokens)
    model_id = _whole(row["model_id"])
    counting = weights.of(model_id, _whole(row["period_ms"]))
    uncached = max((prompt or 0) - (cached or 0), 0)
    return _Served(
        model_id=model_id,
        # Reasoning is a part of what was generated, and has no weight of its own.
        counts=(_sum(counts), _sum(failed), prompt, cached, generation, reasoning),
        carried=bool(row["carried"]),
        uncached_weight=uncached * millionths(counting.prompt),
        cached_weight=(cached or 0) * millionths(counting.cached),
        generation_weight=(generation or 0) * millionths(counting.generation),
    )


def _rows(
    place: _Place, served: list[_Served], amounts: tuple[int, ...], models: set[int]
) -> Iterator[tuple[int | bool | None, ...]]:
    """Yield the rows of `MODEL_COSTS` of a service in a period."""
    held = bool(amounts[AMOUNTS.index("gpu_ms")])
    if not any(one.weight for one in served) and len(served) != 1:
        model = next(iter(models)) if len(models) == 1 and not served else 0
        if any(amounts):
            unsplit = (0 for _ in (*TOKEN_NANOS, *USED_TOKEN_NANOS))
            nothing = (None for _ in COUNTS)
            yield (*place, model, *amounts, *unsplit, *nothing, False, False, False)
        amounts = (0,) * len(AMOUNTS)
    weights = [one.weight for one in served]
    keys = [one.model_id for one in served]
    parts = [
        split(amount, weights, keys) if any(weights) else [amount] * len(served)
        for amount in amounts
    ]
    for number, one in enumerate(served):
        own = [part[number] for part in parts]
        used_nanos, cost_nanos = own[-2:]
        by_kind = (*one.by_kind(cost_nanos), *one.by_kind(used_nanos))
        flags = (one.carried, one.anything and not held, one.silent)
        yield (*place, one.model_id, *own, *by_kind, *one.counts, *flags)


def _count(value: object) -> int | None:
    return None if value is None or value is pd.NA else _whole(value)


def _whole(value: object) -> int:
    """Return a cell of a whole-number column; anything else there is a bug."""
    if not isinstance(value, int):
        message = f"{value!r} stands in a column of whole numbers."
        raise TypeError(message)
    return value


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return the sum of what is counted, None if nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
