"""YAML as blocks of known keys: every value with its line, every refusal with it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal, InvalidOperation
from typing import NoReturn

import yaml

from app.errors import InputError
from app.sources.instants import read_instant
from app.sources.name_faults import name_fault
from app.units.window import FIRST_YEAR, LAST_YEAR, OPEN_MS

_INSTANT_FORMS = "2026-11-23 (midnight of the billing zone) or 2026-11-23T10:37:00Z"
# Postgres keeps neither NUL nor halves of surrogate pairs, which YAML can write as escapes.
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# More than any budget, and few enough digits that decimals stay exact.
_MAX_AMOUNT = Decimal(10**15)


class ContractError(InputError):
    """The contract cannot be taken; ``line`` counts from 1, 0 means the file as a whole."""

    def __init__(self, filename: str, line: int, reason: str) -> None:
        place = f", line {line}" if line else ""
        super().__init__(
            f"{filename}{place}: {reason}.",
            hint="Nothing of the contract was taken; correct it and apply it again.",
        )
        self.filename = filename
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the file and where it stands; ``path`` names it for people.

    Days without a time begin at midnight of ``zone``.
    """

    filename: str
    path: str
    node: yaml.Node
    zone: tzinfo = UTC

    @property
    def line(self) -> int:
        """The line on which the value begins, from 1."""
        return int(self.node.start_mark.line) + 1

    def refuse(self, reason: str) -> NoReturn:
        """Raise the error of this value."""
        raise ContractError(self.filename, self.line, f"{self.path or 'the file'} {reason}")

    def is_mapping(self) -> bool:
        """Say whether the value has keys."""
        return isinstance(self.node, yaml.MappingNode)

    def block(self, *keys: str) -> "Block":
        """Return the value as a mapping of these keys; refuses others and repeated ones."""
        fields = {key: value for key, value in self.pairs() if self._known(key, value, keys)}
        return Block(self, fields)

    def pairs(self) -> Iterator[tuple[str, "Value"]]:
        """Yield the keys and values of a mapping with plain keys; refuses repeated keys."""
        if not isinstance(self.node, yaml.MappingNode) or not self.node.tag.endswith(":map"):
            self.refuse("must be a mapping, written as key: value")
        seen: set[str] = set()
        for key, value in self.node.value:
            name = Value(self.filename, self.path, key, self.zone)
            if not isinstance(key, yaml.ScalarNode):
                name.refuse("has a key that is not plain text")
            if key.value in seen:
                name.refuse(f'has the key "{key.value}" twice')
            seen.add(key.value)
            path = f"{self.path}.{key.value}".lstrip(".")
            yield key.value, Value(self.filename, path, value, self.zone)

    def items(self) -> list["Value"]:
        """Return the items of a list; refuses anything else."""
        if not isinstance(self.node, yaml.SequenceNode) or not self.node.tag.endswith(":seq"):
            self.refuse("must be a list, written as [a, b] or one item a line with a dash")
        return [
            Value(self.filename, f"{self.path}[{number}]", item, self.zone)
            for number, item in enumerate(self.node.value)
        ]

    def scalar(self) -> str:
        """Return the text of a plain value as it stands in the file, whatever YAML takes it for."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag.endswith(":null"):
            self.refuse("must be a plain value")
        text = str(self.node.value)
        if _UNPRINTED.search(text):
            self.refuse("has a control character")
        return text

    def text(self) -> str:
        """Return a text that is not empty; refuses what YAML reads as a number, date or flag."""
        text = self.scalar()
        if not self.node.tag.endswith(":str"):
            self.refuse(f'must be a text; write "{text}" in quotes')
        if not text.strip():
            self.refuse("must not be empty")
        if fault := name_fault(text):
            self.refuse(fault)
        return text

    def flag(self) -> bool:
        """Return true or false."""
        if not self.node.tag.endswith(":bool"):
            self.refuse("must be true or false")
        return self.scalar().lower() in ("true", "yes", "on")

    def amount(self) -> Decimal:
        """Return a number that is not negative, with at most 6 decimals."""
        text = self.scalar()
        try:
            amount = Decimal(text)
        except InvalidOperation:
            self.refuse(f'must be a number, and "{text}" is none')
        if not amount.is_finite() or amount < 0:
            self.refuse(f"must be a number that is not negative, and {text} is none")
        if amount >= _MAX_AMOUNT:
            self.refuse(f"must be less than {_MAX_AMOUNT:,f}, and {text} is not")
        if amount != round(amount, 6):
            self.refuse(f"must have at most 6 decimals, and {text} has more")
        return amount

    def instant(self) -> int:
        """Return an instant in milliseconds."""
        text = self.scalar()
        ms = read_instant(text, self.zone)
        if ms is None:
            self.refuse(f'must be a date, and "{text}" is none; write {_INSTANT_FORMS}')
        if not 0 <= ms <= OPEN_MS:
            self.refuse(f'is "{text}", which is not of the years {FIRST_YEAR} to {LAST_YEAR}')
        return ms

    def _known(self, key: str, value: "Value", keys: tuple[str, ...]) -> bool:
        if key not in keys:
            value.refuse(f"is not known here; known are {', '.join(keys)}")
        return True


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping of known keys."""

    value: Value
    fields: dict[str, Value]

    def get(self, key: str) -> Value | None:
        """Return the value of a key, None where it is absent or null."""
        found = self.fields.get(key)
        return None if found is None or found.node.tag.endswith(":null") else found

    def need(self, key: str) -> Value:
        """Return the value of a key that must be there."""
        found = self.get(key)
        if found is None:
            self.value.refuse(f"has no {key}")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty where the key is absent."""
        found = self.get(key)
        return tuple(item.text() for item in found.items()) if found else ()

    def text(self, key: str) -> str:
        """Return a text, "" where the key is absent."""
        found = self.get(key)
        return found.text() if found else ""


def read_yaml(text: str, filename: str, zone: tzinfo = UTC) -> Value | None:
    """Return the document of a YAML file, None if it is empty. Builds no objects from tags."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ContractError(filename, line, f"it is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ContractError(filename, 0, f"it is not YAML: {error}") from error
    except RecursionError as error:
        raise ContractError(filename, 0, "its lists or mappings are nested too deeply") from error
    return Value(filename, "", node, zone) if node else None
