"""The register of owned hardware (TOML): all of its assets, or one error with line and reason."""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import NoReturn

from app.pricing.currencies import CURRENCIES
from app.pricing.owned import EnergyPrice, OwnedAsset
from app.sources.instants import INSTANT_FORMS, read_instant
from app.sources.name_faults import name_fault
from app.sources.price_lines import MAX_DECIMALS, PriceBookError
from app.sources.toml_places import line_of
from app.units.window import FIRST_YEAR, LAST_YEAR, OPEN_MS

_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_MAX_AMOUNT = Decimal(10**12)
# A node of a megawatt; a kilowatt-hour that costs more is mistyped.
_MAX_KW = Decimal(1_000)
_MAX_TARIFF = Decimal(10_000)
_MAX_PUE = Decimal(10)
_MAX_GPUS = 1_024
_MAX_LIFE_MONTHS = 600

_REQUIRED = ("name", "gpus", "purchase", "currency", "in_service")
_OPTIONAL = (
    "cluster",
    "nodes",
    "instance_type",
    "salvage",
    "life_years",
    "life_months",
    "retired",
    "space_per_month",
    "support_per_year",
    "rated_kw",
    "board_kw",
    "pue",
    "tariffs",
)
_TARIFF = ("price_per_kwh", "valid_from", "valid_to")
_ONE_AT_A_TIME = "two assets would price it at the same time"


def read_owned_register(
    text: str, *, filename: str, billing_currency: str, exchanged: Collection[str] = ()
) -> tuple[OwnedAsset, ...]:
    """Return the assets of ``[[assets]]``, all or none.

    Amounts are numbers or texts of plain digits, dates midnights in UTC. Raises `PriceBookError`
    for the first value that is unusable, and for a node that two assets name.
    """
    document = _document(text, filename)
    places = _Places(text, filename)
    for key in document:
        if key != "assets":
            places.refuse((key,), f'there is no such key as "{key}"; assets are [[assets]] tables')
    tables = document.get("assets")
    if not isinstance(tables, list) or not tables:
        places.refuse(("assets",), "the file has no [[assets]] tables")
    assets: list[OwnedAsset] = []
    for number, table in enumerate(tables):
        reader = _Asset(places, ("assets", number), table)
        assets.append(reader.asset(billing_currency, exchanged))
        _refuse_double(assets, reader)
    return tuple(assets)


class _RawNumber(str):
    """A number of the file as it stands there."""

    __slots__ = ()


def _document(text: str, filename: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"), parse_float=_RawNumber)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        line = int(place[1]) if place else max(text.count("\n"), 1)
        raise PriceBookError(filename, line, "", f"it is not TOML: {error}") from error


@dataclass(frozen=True, slots=True)
class _Places:
    """Where values stand in the file."""

    text: str
    filename: str

    def refuse(self, path: tuple[int | str, ...], reason: str) -> NoReturn:
        """Raise the error of the value at a path."""
        line = line_of(self.text, path) or 1
        column = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
        raise PriceBookError(self.filename, line, "" if column == "assets" else column, reason)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the file, read key by key."""

    places: _Places
    path: tuple[int | str, ...]
    table: object

    def refuse(self, key: str, reason: str) -> NoReturn:
        """Raise the error of a value, or of the table where ``key`` is empty."""
        self.places.refuse((*self.path, key) if key else self.path, reason)

    def values(self, required: Sequence[str], optional: Sequence[str]) -> Mapping[str, object]:
        """Return the values by key; refuse unknown keys and missing ones."""
        if not isinstance(self.table, dict):
            self.refuse("", "it is not a table")
        for key in self.table:
            if key not in (*required, *optional):
                known = ", ".join((*required, *optional))
                self.refuse(key, f"there is no such key; the keys are {known}")
        for key in required:
            if key not in self.table:
                self.refuse("", f"{key} is missing")
        return self.table

    def text(self, key: str, blank: str = "") -> str:
        """Return a text without control characters."""
        value = self._value(key)
        if value is None:
            return blank
        if not isinstance(value, str) or isinstance(value, _RawNumber) or not value.isprintable():
            self.refuse(key, f"{value!r} is not a text")
        if fault := name_fault(value.strip()):
            self.refuse(key, f"it {fault}")
        return value.strip()

    def amount(self, key: str, blank: Decimal | None, below: Decimal) -> Decimal:
        """Return a plain number from 0 to below a bound."""
        value = self._value(key)
        if value is None and blank is not None:
            return blank
        is_number = isinstance(value, int | str) and not isinstance(value, bool)
        text = str(value) if is_number else repr(value)
        if text.startswith("-") and _NUMBER.fullmatch(text[1:]):
            self.refuse(key, f"{text} is below zero")
        if not _NUMBER.fullmatch(text):
            self.refuse(key, f"{text} is not a plain number such as 2.4991")
        if len(text.partition(".")[2].rstrip("0")) > MAX_DECIMALS:
            self.refuse(key, f"{text} has more than {MAX_DECIMALS} decimals")
        if Decimal(text) >= below:
            self.refuse(key, f"{text} is {below:f} or more")
        return Decimal(text)

    def count(self, key: str, most: int) -> int:
        """Return a whole number from 1."""
        value = self._value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            is_text = isinstance(value, str) and not isinstance(value, _RawNumber)
            text = f'"{value}"' if is_text else str(value)
            self.refuse(key, f"{text} is not a whole number from 1 to {most}")
        return value

    def instant(self, key: str, blank_ms: int | None) -> int:
        """Return the milliseconds of an instant of whole seconds."""
        value = self._value(key)
        if value is None and blank_ms is not None:
            return blank_ms
        text = value.isoformat() if isinstance(value, date | datetime) else str(value)
        ms = read_instant(text)
        if ms is None or ms % 1000:
            self.refuse(key, f'"{text}" is not a date; write {INSTANT_FORMS}')
        if not 0 <= ms <= OPEN_MS:
            self.refuse(key, f'"{text}" is not of the years {FIRST_YEAR} to {LAST_YEAR}')
        return ms

    def _value(self, key: str) -> object:
        return self.table.get(key) if isinstance(self.table, dict) else None


class _Asset(_Table):
    """One table of ``[[assets]]``."""

    def asset(self, billing_currency: str, exchanged: Collection[str]) -> OwnedAsset:
        """Return the asset; refuse what no asset can be."""
        self.values(_REQUIRED, _OPTIONAL)
        nodes, instance_type = self._nodes(), self.text("instance_type")
        if bool(nodes) == bool(instance_type):
            self.refuse("", "either nodes or instance_type must say which nodes it is")
        asset = OwnedAsset(
            name=self._name(),
            cluster=self.text("cluster"),
            nodes=nodes,
            instance_type=instance_type,
            gpus=self.count("gpus", _MAX_GPUS),
            currency=self._currency(billing_currency, exchanged),
            purchase=self.amount("purchase", None, _MAX_AMOUNT),
            salvage=self.amount("salvage", Decimal(0), _MAX_AMOUNT),
            in_service_ms=self.instant("in_service", None),
            retired_ms=self.instant("retired", OPEN_MS),
            life_months=self._life_months(),
            space_per_month=self.amount("space_per_month", Decimal(0), _MAX_AMOUNT),
            support_per_year=self.amount("support_per_year", Decimal(0), _MAX_AMOUNT),
            rated_kw=self.amount("rated_kw", Decimal(0), _MAX_KW),
            board_kw=self.amount("board_kw", Decimal(0), _MAX_KW),
            pue=self.amount("pue", Decimal(1), _MAX_PUE),
            tariffs=self._tariffs(),
        )
        self._check(asset)
        return asset

    def _check(self, asset: OwnedAsset) -> None:
        if asset.salvage > asset.purchase:
            self.refuse("salvage", f"{asset.salvage:f} is more than the purchase")
        if asset.pue < 1:
            self.refuse("pue", f"{asset.pue:f} is below 1")
        if asset.retired_ms <= asset.in_service_ms:
            self.refuse("retired", "the asset ends before it begins, or as it begins")
        if asset.needs_tariff and not asset.tariffs:
            self.refuse("", "it has kilowatts but no tariffs")

    def _name(self) -> str:
        return self.text("name") or self.refuse("name", "the asset has no name")

    def _nodes(self) -> tuple[str, ...]:
        value = self._value("nodes")
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            isinstance(one, str) and one.strip() and one.isprintable() for one in value
        ):
            self.refuse("nodes", "it is not a list of node names")
        nodes = tuple(one.strip() for one in value)
        if fault := next(filter(None, map(name_fault, nodes)), ""):
            self.refuse("nodes", f"a node's name {fault}")
        if len({one.casefold() for one in nodes}) < len(nodes):
            self.refuse("nodes", "a node stands there twice")
        return nodes

    def _currency(self, billing_currency: str, exchanged: Collection[str]) -> str:
        text = self.text("currency").upper()
        if text not in CURRENCIES:
            self.refuse("currency", f'"{text}" is not a currency of ISO 4217')
        if text != billing_currency and text not in exchanged:
            reason = f"it is in {text} but the ledger bills in {billing_currency}"
            self.refuse("currency", f"{reason} and has no exchange rate of {text}")
        return text

    def _life_months(self) -> int:
        given = [key for key in ("life_years", "life_months") if self._value(key) is not None]
        if len(given) != 1:
            self.refuse("", "either life_years or life_months must say how long it lives")
        months = self.count(given[0], _MAX_LIFE_MONTHS) * (12 if given[0] == "life_years" else 1)
        if months > _MAX_LIFE_MONTHS:
            self.refuse(given[0], f"it is more than {_MAX_LIFE_MONTHS // 12} years")
        return months

    def _tariffs(self) -> tuple[EnergyPrice, ...]:
        value = self._value("tariffs")
        if value is None:
            return ()
        if not isinstance(value, list):
            self.refuse("tariffs", "it is not a list of tables")
        found: list[EnergyPrice] = []
        for number, table in enumerate(value):
            one = _Table(self.places, (*self.path, "tariffs", number), table)
            one.values(_TARIFF[:1], _TARIFF[1:])
            price = EnergyPrice(
                price_per_kwh=one.amount("price_per_kwh", None, _MAX_TARIFF),
                valid_from_ms=one.instant("valid_from", 0),
                valid_to_ms=one.instant("valid_to", OPEN_MS),
            )
            if price.valid_to_ms <= price.valid_from_ms:
                one.refuse("valid_to", "the tariff ends before it begins, or as it begins")
            found.append(price)
        found.sort(key=lambda one: one.valid_from_ms)
        if any(after.valid_from_ms < before.valid_to_ms for before, after in pairwise(found)):
            self.refuse("tariffs", "two tariffs are valid at the same time")
        return tuple(found)


def _refuse_double(assets: Sequence[OwnedAsset], reader: _Asset) -> None:
    """Refuse an asset whose name, node or instance type another one before it has."""
    *before, asset = assets
    for other in before:
        if other.name == asset.name:
            reader.refuse("name", f'there are two assets called "{asset.name}"')
        if other.cluster != asset.cluster:
            continue
        if other.in_service_ms >= asset.retired_ms or asset.in_service_ms >= other.retired_ms:
            continue
        same = {one.casefold() for one in other.nodes} & {one.casefold() for one in asset.nodes}
        if same:
            reader.refuse("nodes", f"{min(same)} is of {other.name} too: {_ONE_AT_A_TIME}")
        kind = asset.instance_type.casefold()
        if kind and kind == other.instance_type.casefold():
            reader.refuse("instance_type", f"{other.name} is of it too: {_ONE_AT_A_TIME}")
