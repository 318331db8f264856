"""One TOML table of a report definition, read key by key with errors that name file and key."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from app.errors import InputError

_Choice = TypeVar("_Choice", bound=StrEnum)


class ReportDefinitionError(InputError):
    """A report definition that cannot be used; the message names the report and the key."""


class DefinitionKeys:
    """The keys of one table of the definition of ``report``; unknown ones are refused at once."""

    def __init__(
        self, report: str, prefix: str, values: Mapping[str, object], known: Sequence[str]
    ) -> None:
        self._report = report
        self._prefix = prefix
        self._values = values
        for key in values:
            if key not in known:
                raise self.error(key, f"is unknown; known are {', '.join(known)}")

    def error(self, key: str, trouble: str) -> ReportDefinitionError:
        """Return the error that names this report, its file and ``key``."""
        message = f"The report {self._report}: the key {self._prefix}{key} {trouble}."
        return ReportDefinitionError(message, hint=f"Mend reports/{self._report}.toml.")

    def section(self, key: str) -> Mapping[str, object]:
        """Return a table, empty if there is none."""
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "is not a table")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return text of one line; without a default it must be there."""
        value = self._values.get(key, default)
        if not isinstance(value, str) or (not value and value != default):
            raise self.error(key, "is missing or not text")
        if not value.isprintable():
            raise self.error(key, "is not one line of plain text")
        return value

    def flag(self, key: str) -> bool:
        """Return true or false; false if it is not there."""
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "is neither true nor false")
        return value

    def choice(self, key: str, choices: type[_Choice], default: _Choice | None = None) -> _Choice:
        """Return a member of a closed set; without a default it must be there."""
        value = self.text(key, default)
        if value not in tuple(choices):
            raise self.error(key, f"is {value!r}; known are {', '.join(choices)}")
        return choices(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of different texts that is not empty."""
        value = self._values.get(key)
        if not isinstance(value, list) or not value:
            raise self.error(key, "is missing or not a list of text")
        items = tuple(item for item in value if isinstance(item, str))
        if len(items) != len(value) or len(set(items)) != len(items):
            raise self.error(key, "has something twice or something that is not text")
        return items

    def names(self, key: str, known: Sequence[str]) -> tuple[str, ...]:
        """Return a list of different texts, each one of ``known``."""
        items = self.texts(key)
        for item in items:
            if item not in known:
                raise self.error(key, f"has {item!r}; known are {', '.join(known)}")
        return items
