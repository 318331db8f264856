"""The consumers table: who sent tokens to which service, and what of its cost is theirs."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pandas as pd
import pandera.pandas as pa

from app.chargeback.tables import Cell, Table, amount

# What a row is of, and what rows can be filtered by except for the day. `consumer` is "no identity"
# where the gateway knows nobody; `matched_by` is "service" where the gateway named one, "model" if
# not.
CONSUMER_KEYS = ("day", "cluster", "namespace", "service", "gateway", "consumer", "team")
CONSUMER_FILTERS = CONSUMER_KEYS[1:]
_TOKENS = ("prompt_tokens", "cached_prompt_tokens", "generation_tokens")

# `weighted_tokens` are `Decimal`; `gateway_tokens` and `engine_tokens` are those of all services
# between which nobody tells, null where an engine does not count.
CONSUMERS = pa.DataFrameSchema(
    {
        **dict.fromkeys((*CONSUMER_KEYS, "matched_by"), pa.Column("str")),
        **dict.fromkeys((*_TOKENS, "gateway_tokens", "reassigned_nanos"), pa.Column("int64")),
        "weighted_tokens": pa.Column("object"),
        "engine_tokens": pa.Column("Int64", nullable=True),
    },
    strict=True,
    coerce=False,
)
CONSUMER_COLUMNS = (
    *CONSUMER_KEYS,
    "matched_by",
    *_TOKENS,
    "weighted_tokens",
    "gateway_tokens",
    "engine_tokens",
    "gateway_to_engine_ratio",
    "reassigned_cost",
    "currency",
)
_RATIO_STEP = Decimal("0.0001")


def consumers_table(rows: pd.DataFrame, currency: str) -> Table:
    """Return rows of `CONSUMERS` as the table people read, in the frame's order."""
    engine = [None if count is pd.NA else int(count) for count in rows["engine_tokens"].tolist()]
    columns: list[list[Cell]] = [
        *(rows[name].tolist() for name in (*CONSUMER_KEYS, "matched_by", *_TOKENS)),
        [_short(weight) for weight in rows["weighted_tokens"].tolist()],
        rows["gateway_tokens"].tolist(),
        [*engine],
        [
            _ratio(gateway, counted)
            for gateway, counted in zip(rows["gateway_tokens"].tolist(), engine, strict=True)
        ],
        [amount(nanos) for nanos in rows["reassigned_nanos"].tolist()],
        [currency] * len(rows),
    ]
    return Table(CONSUMER_COLUMNS, tuple(zip(*columns, strict=True)))


def _short(weight: Decimal) -> Decimal:
    """Return a number without zeros at its end, and never in powers of ten."""
    return Decimal(f"{weight.normalize():f}")


def _ratio(gateway: int, engine: int | None) -> Decimal | None:
    if not engine:
        return None
    exact = Fraction(gateway, engine)
    ratio = Decimal(exact.numerator) / Decimal(exact.denominator)
    return ratio.quantize(_RATIO_STEP, rounding=ROUND_HALF_EVEN)
