"""A provider's FOCUS file (CSV, gzipped CSV, Parquet; 1.0 to 1.3), read in batches, row by row."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from pathlib import Path
from typing import NoReturn, TypeVar

from app.attribution.provider_bills import ChargeCategory
from app.sources.focus_batches import FocusFileError, RowBatch, batches_of, line_of_row
from app.sources.instants import read_instant

_Member = TypeVar("_Member", bool, ChargeCategory)

# Every version has these; without them a row says neither what it costs nor when or for whom.
_NEEDED = (
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "EffectiveCost",
    "ServiceCategory",
    "ServiceName",
)
# One of them names the provider: the first since 1.3, the second up to 1.3.
_PROVIDERS = ("ServiceProviderName", "ProviderName")
_OPTIONAL = (*_PROVIDERS, "CommitmentDiscountStatus", "ResourceId", "ResourceName", "Tags")
# Columns that tell a version from the one before, the newest first.
_SINCE = (
    ("1.3", ("ServiceProviderName", "HostProviderName", "AllocatedMethodId", "ContractApplied")),
    ("1.2", ("InvoiceId", "PricingCurrency", "SubAccountType", "BillingAccountType")),
    ("1.1", ("ServiceSubcategory", "SkuMeter", "CapacityReservationId", "CommitmentDiscountUnit")),
)
_CATEGORIES = {one.focus: one for one in ChargeCategory}
_UNUSED = {"": False, "Used": False, "Unused": True}
_NO_VALUE = frozenset({"", "null", "NULL"})
# More would not fit into a row's nanos.
# Postgres keeps neither NUL nor halves of surrogate pairs; JSON can write both as escapes.
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")
_LARGEST = Decimal(9_000_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusRow:
    """What is used of one row; instants in milliseconds, costs exact in ``currency``.

    ``line`` is its line in the file (for Parquet its row, from 1). ``columns`` gives all of its
    columns that are not null as a JSON object of texts.
    """

    line: int
    provider: str
    billing_account: str
    period_start_ms: int
    period_end_ms: int
    start_ms: int
    end_ms: int
    category: ChargeCategory
    unused: bool
    effective: Decimal
    billed: Decimal
    currency: str
    service_category: str
    service: str
    resource_id: str
    resource_name: str
    tags: tuple[tuple[str, str], ...]
    columns: Callable[[], str]

    @property
    def period(self) -> tuple[str, int, int]:
        """Whose bill of which period the row is on."""
        return self.billing_account, self.period_start_ms, self.period_end_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusFile:
    """An opened file: its version as its columns tell it, their names, and its rows, once."""

    name: str
    spec: str
    columns: tuple[str, ...]
    rows: Iterator[FocusRow]


def open_focus(path: Path) -> FocusFile:
    """Open a file and check its columns; rows are read and checked as they are asked for.

    Raises `FocusFileError`, which names the file and, for a row, its line.
    """
    columns, batches = batches_of(path)
    missing = [name for name in _NEEDED if name not in columns]
    if not any(name in columns for name in _PROVIDERS):
        missing.append(" or ".join(_PROVIDERS))
    if missing:
        message = f"{path.name}, line 1: the columns {', '.join(missing)} are missing."
        hint = "A FOCUS file of version 1.0 to 1.3 has them; export it without renaming columns."
        raise FocusFileError(message, hint=hint)
    return FocusFile(
        name=path.name, spec=_version(columns), columns=columns, rows=_rows(path, batches)
    )


def _version(columns: tuple[str, ...]) -> str:
    return next(
        (version for version, names in _SINCE if any(name in columns for name in names)), "1.0"
    )


def _rows(path: Path, batches: Iterator[RowBatch]) -> Iterator[FocusRow]:
    for batch in batches:
        texts = {name: batch.texts(name) for name in (*_NEEDED, *_OPTIONAL)}
        broken = _broken_places(batch)
        for place in range(batch.count):
            try:
                if place in broken:
                    _refuse_character(broken[place], "\x00")
                yield _row(batch, texts, place)
            except _RowError as error:
                line = line_of_row(path, batch.first + place)
                message = f"{path.name}, line {line}: {error}."
                raise FocusFileError(message, hint=error.hint) from error


class _RowError(Exception):
    """What is wrong with a row, and what to do; the caller knows the line."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def _broken_places(batch: RowBatch) -> dict[int, str]:
    """Return the column by the row of a batch that has a NUL in it."""
    return {
        place: name
        for name, texts in batch.columns.items()
        if "\x00" in "".join(texts)
        for place, text in enumerate(texts)
        if "\x00" in text
    }


def _refuse_character(name: str, character: str) -> NoReturn:
    message = f"{name} has a character that no text has (U+{ord(character):04X})"
    raise _RowError(message, "Nothing was taken; fetch the file again, or take it out.")


def _row(batch: RowBatch, texts: Mapping[str, list[str]], place: int) -> FocusRow:
    said = {name: column[place] for name, column in texts.items()}
    for name in _NEEDED:
        if said[name] in _NO_VALUE:
            message = f"{name} is empty"
            hint = "FOCUS allows no null in this column; ask the provider for a whole export."
            raise _RowError(message, hint)
    start_ms, end_ms = _span(said, "ChargePeriod")
    period_start_ms, period_end_ms = _span(said, "BillingPeriod")
    return FocusRow(
        line=batch.first + place,
        provider=next((said[name] for name in _PROVIDERS if said[name] not in _NO_VALUE), ""),
        billing_account=said["BillingAccountId"],
        period_start_ms=period_start_ms,
        period_end_ms=period_end_ms,
        start_ms=start_ms,
        end_ms=end_ms,
        category=_choice("ChargeCategory", said["ChargeCategory"], _CATEGORIES),
        unused=_choice(
            "CommitmentDiscountStatus", _text(said["CommitmentDiscountStatus"]), _UNUSED
        ),
        effective=_cost("EffectiveCost", said["EffectiveCost"]),
        billed=_cost("BilledCost", said["BilledCost"]),
        currency=said["BillingCurrency"],
        service_category=said["ServiceCategory"],
        service=said["ServiceName"],
        resource_id=_text(said["ResourceId"]),
        resource_name=_text(said["ResourceName"]),
        tags=_tags(_text(said["Tags"])),
        columns=partial(batch.json_of, place),
    )


def _text(value: str) -> str:
    return "" if value in _NO_VALUE else value


def _span(said: Mapping[str, str], name: str) -> tuple[int, int]:
    start_ms = _instant(f"{name}Start", said[f"{name}Start"])
    end_ms = _instant(f"{name}End", said[f"{name}End"])
    if end_ms <= start_ms:
        message = f"{name}End {said[f'{name}End']} is not after {name}Start"
        raise _RowError(message, "FOCUS spans include their start and not their end.")
    return start_ms, end_ms


@lru_cache(maxsize=4096)
def _instant(name: str, text: str) -> int:
    # Several exports write UTC in words, or (as FOCUS says that every instant is UTC) not at all.
    bare = text.removesuffix("UTC").strip()
    instant = read_instant(bare)
    if instant is None:
        instant = read_instant(f"{bare}Z")
    if instant is None:
        message = f"{name} {text[:40]!r} is no instant"
        raise _RowError(message, "FOCUS writes instants as 2026-10-01T00:00:00Z.")
    return instant


def _cost(name: str, text: str) -> Decimal:
    try:
        cost = Decimal(text)
    except InvalidOperation:
        cost = Decimal("NaN")
    if not cost.is_finite() or "_" in text:
        message = f"{name} {text[:40]!r} is no decimal"
        raise _RowError(message, "Write it with a point and without separators, as 1234.5678.")
    if abs(cost) > _LARGEST:
        message = f"{name} {text[:40]} is above {_LARGEST}"
        raise _RowError(message, "Check the currency and the decimal point.")
    return cost


def _choice(name: str, text: str, known: Mapping[str, _Member]) -> _Member:
    if text not in known:
        message = f"{name} is {text[:40]!r}"
        raise _RowError(message, f"FOCUS knows {', '.join(filter(None, known))}.")
    return known[text]


@lru_cache(maxsize=4096)
def _tags(text: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    try:
        tags = json.loads(text)
    except ValueError:
        tags = None
    if not isinstance(tags, dict):
        message = f"Tags {text[:40]!r} is no JSON object"
        raise _RowError(message, "FOCUS writes tags as one flat JSON object.")
    pairs = tuple(sorted((str(key), str(value)) for key, value in tags.items()))
    for pair in pairs:
        if found := _NO_TEXT.search("".join(pair)):
            _refuse_character("Tags", found[0])
    return pairs
