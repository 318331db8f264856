"""The CSV file of commitments: all of its lines, or one error with line, column and reason."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from app.pricing.commitments import (
    AllotmentRule,
    Commitment,
    CommitmentKind,
    CommitmentUnit,
)
from app.sources.price_lines import Line, PriceBookError, lines_of
from app.units.window import from_ms

COLUMNS = (
    "commitment",
    "name",
    "type",
    "billing_account",
    "clusters",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "unit",
    "quantity",
    "upfront",
    "recurring_per_hour",
    "discount_percent",
    "currency",
    "term_start",
    "term_end",
    "payer",
    "allotment",
    "source",
)
# What a file may leave out: columns of which blank is the usual value.
_OPTIONAL = ("name", "billing_account", "discount_percent", "payer", "allotment", "source")

# An amount of this size still fits into the ledger's 64-bit nanos.
_MAX_AMOUNT = Decimal(10**9)
_MAX_QUANTITY = Decimal(10**6)
_HUNDRED = Decimal(100)
_NANO_DECIMALS = 9

_Choice = TypeVar("_Choice", bound=StrEnum)


def read_commitments(text: str, *, filename: str, billing_currency: str) -> tuple[Commitment, ...]:
    """Return the commitments of a file, all or none.

    Raises `PriceBookError` for the first line that is unusable, and for two lines with one id whose
    terms overlap. Amounts must be in the billing currency.
    """
    found: dict[str, list[tuple[int, Commitment]]] = {}
    commitments: list[Commitment] = []
    for line in lines_of(text, filename=filename, columns=COLUMNS, optional=_OPTIONAL):
        one = _commitment(line, billing_currency)
        same = found.setdefault(one.commitment, [])
        for number, other in same:
            if one.term_start_ms < other.term_end_ms and other.term_start_ms < one.term_end_ms:
                until = from_ms(other.term_end_ms).isoformat()
                reason = f"line {number} has the same commitment until {until}"
                line.refuse("term_start", reason)
        same.append((line.number, one))
        commitments.append(one)
    if not commitments:
        raise PriceBookError(filename, 1, "", "the file has no commitments below its header")
    return tuple(commitments)


def _commitment(line: Line, billing_currency: str) -> Commitment:
    if not line.text("commitment"):
        line.refuse("commitment", "the commitment has no id")
    start_ms, end_ms = _term(line)
    unit = _choice(line, "unit", CommitmentUnit)
    return Commitment(
        commitment=line.text("commitment"),
        name=line.text("name"),
        kind=_choice(line, "type", CommitmentKind),
        unit=unit,
        quantity=_quantity(line, unit),
        upfront=_upfront(line),
        recurring_per_hour=_optional(line, "recurring_per_hour", "recurring price"),
        discount_ratio=_discount(line, unit),
        currency=line.billed_currency("commitment", billing_currency, ()),
        term_start_ms=start_ms,
        term_end_ms=end_ms,
        billing_account=line.text("billing_account"),
        clusters=_clusters(line),
        provider=line.text("provider"),
        region=line.text("region"),
        instance_type=line.text("instance_type"),
        gpu_model=line.gpu_model(),
        capacity_type=line.text("capacity_type"),
        payer=line.text("payer"),
        allotment=_choice(line, "allotment", AllotmentRule, AllotmentRule.BLENDED),
        source=line.text("source"),
    )


def _term(line: Line) -> tuple[int, int]:
    for column in ("term_start", "term_end"):
        if not line.text(column):
            line.refuse(column, "a commitment has a term; write when it begins and ends")
    start_ms, end_ms = line.instant("term_start", None), line.instant("term_end", None)
    if end_ms <= start_ms:
        line.refuse("term_end", "the term ends before it begins, or as it begins")
    return start_ms, end_ms


def _quantity(line: Line, unit: CommitmentUnit) -> Decimal:
    quantity = line.amount("quantity", below=_MAX_QUANTITY, called="quantity")
    if not quantity:
        line.refuse("quantity", "the quantity is zero")
    if unit is not CommitmentUnit.SPEND_HOUR and quantity != quantity.to_integral_value():
        line.refuse("quantity", f"{line.text('quantity')} is not a whole number of GPUs or nodes")
    return quantity


def _upfront(line: Line) -> Decimal:
    if not line.text("upfront") and not line.text("recurring_per_hour"):
        reason = "neither upfront nor recurring_per_hour says what it costs; write 0 if it is free"
        line.refuse("upfront", reason)
    upfront = _optional(line, "upfront", "upfront")
    if len(line.text("upfront").partition(".")[2].rstrip("0")) > _NANO_DECIMALS:
        line.refuse("upfront", f"the upfront has more than {_NANO_DECIMALS} decimals")
    return upfront


def _optional(line: Line, column: str, called: str) -> Decimal:
    if not line.text(column):
        return Decimal(0)
    return line.amount(column, below=_MAX_AMOUNT, called=called)


def _discount(line: Line, unit: CommitmentUnit) -> Decimal:
    if not line.text("discount_percent"):
        return Decimal(0)
    percent = line.amount("discount_percent", below=_HUNDRED, called="discount")
    if percent and unit is not CommitmentUnit.SPEND_HOUR:
        reason = f"a discount is of a spend_hour; a {unit} says what it costs by its own amounts"
        line.refuse("discount_percent", reason)
    return percent / _HUNDRED


def _clusters(line: Line) -> tuple[str, ...]:
    """Return the clusters, separated by semicolons or, without any, by spaces; each once."""
    text = line.text("clusters")
    names = [name.strip() for name in (text.split(";") if ";" in text else text.split())]
    return tuple(dict.fromkeys(name for name in names if name))


def _choice(
    line: Line, column: str, choices: type[_Choice], blank: _Choice | None = None
) -> _Choice:
    text = line.text(column)
    if not text and blank is not None:
        return blank
    known: Mapping[str, _Choice] = {one.value: one for one in choices}
    if text not in known:
        line.refuse(column, f'"{text}" is not known; write one of {", ".join(known)}')
    return known[text]
