"""What blocks of the team contract have in common: choices, dates, one block after another."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from app.attribution.contract import (
    ConsumerSource,
    Department,
    Platform,
    Policies,
    Team,
    TokenWeights,
)
from app.sources.yaml_blocks import Block, Value
from app.units.window import OPEN_MS

_Choice = TypeVar("_Choice", bound=StrEnum)
_Dated = TypeVar("_Dated", Team, Platform, Policies, TokenWeights, ConsumerSource, Department)

DATES = ("valid_from", "valid_to")


def choice(block: Block, key: str, default: _Choice) -> _Choice:
    """Return one of the values of the default's kind; refuses others."""
    value = block.get(key)
    if value is None:
        return default
    supported = list(type(default))
    if value.text() not in supported:
        value.refuse(
            f'"{value.text()}" is not supported in this version; supported: {", ".join(supported)}'
        )
    return type(default)(value.text())


def validity(block: Block) -> tuple[int, int]:
    """Return from when until before when a block counts, in milliseconds."""
    valid_from, valid_to = block.get("valid_from"), block.get("valid_to")
    from_ms = valid_from.instant() if valid_from else 0
    to_ms = valid_to.instant() if valid_to else OPEN_MS
    if valid_to and to_ms <= from_ms:
        valid_to.refuse("must be after valid_from")
    return from_ms, to_ms


def one_or_many(value: Value | None) -> list[Value]:
    """Return a block that may also be written as a list of dated blocks."""
    if value is None:
        return []
    return [value] if value.is_mapping() else value.items()


def dated(
    blocks: Sequence[_Dated],
    values: Sequence[Value],
    subject: Callable[[_Dated], tuple[str, ...]],
) -> tuple[_Dated, ...]:
    """End each block where the next one for the same subject begins."""
    begins: dict[tuple[str, ...], set[int]] = {}
    for block, value in zip(blocks, values, strict=True):
        known = begins.setdefault(subject(block), set())
        if block.valid_from_ms in known:
            value.refuse("stands there twice for the same time; give the later one a valid_from")
        known.add(block.valid_from_ms)
    ended: list[_Dated] = []
    for block in blocks:
        later = (ms for ms in begins[subject(block)] if ms > block.valid_from_ms)
        next_ms = min(later, default=OPEN_MS)
        ended.append(replace(block, valid_to_ms=min(block.valid_to_ms, next_ms)))
    return tuple(ended)
