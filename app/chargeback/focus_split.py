"""The split view of FOCUS: a provider's charge for a node, divided among the pods that held it.

Dimensions and unit prices are the origin's; costs and quantities are divided by the GPU time that
each pod held in the charge period, and sum exactly to the origin. What nobody held is a row without
an allocated resource. Rows that are for no node with GPUs pass as they are.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from app.chargeback.focus_cells import (
    EXACT,
    Columns,
    DecimalColumn,
    FocusCells,
    TextColumn,
    decimal_text,
    exact,
    instant_text,
    json_text,
)
from app.chargeback.focus_columns import FocusColumn, FocusType, Profile
from app.chargeback.focus_pricing import QUANTITY_DECIMALS
from app.chargeback.rounding import round_half_even
from app.errors import GpuledgerError
from app.units.money import split
from app.units.window import HOUR_MS, to_ms

METHOD = "k8s-gpu-allocated-hours-v1"
ORIGIN_KEY = "x_OriginKey"

# What is divided; everything else of an origin row is repeated.
METRICS = (
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "PricingCurrencyEffectiveCost",
    "ConsumedQuantity",
    "PricingQuantity",
    "CommitmentDiscountQuantity",
)
# Costs that are a unit price × PricingQuantity wherever both are given.
_PRODUCTS = {"ListCost": "ListUnitPrice", "ContractedCost": "ContractedUnitPrice"}
# What a row of an earlier version lacks and a later one needs, and where it stands already.
_OLDER_NAMES = {"HostProviderName": "ProviderName", "ServiceProviderName": "ProviderName"}
# What stands elsewhere in a file that knows one currency only.
_ONE_CURRENCY = {
    "PricingCurrency": "BillingCurrency",
    "PricingCurrencyContractedUnitPrice": "ContractedUnitPrice",
    "PricingCurrencyEffectiveCost": "EffectiveCost",
    "PricingCurrencyListUnitPrice": "ListUnitPrice",
}
# A part is divided to this many decimals, or to more where the origin has more.
_DIVIDED_DECIMALS = 15

Cell = str | Decimal | None


class OriginError(GpuledgerError):
    """A stored row of a provider's bill that says something else than a number in a metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTime:
    """What one pod held of a node in a charge period; ``labels`` are the pod's own."""

    resource_id: str
    name: str
    labels: tuple[tuple[str, str], ...]
    gpu_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginCharge:
    """A row as the provider wrote it, and who held the node: empty for a row of no GPU node.

    ``cells`` are the columns that are not null. ``free_ms`` is GPU time that nobody held.
    """

    key: str
    cells: Mapping[str, str]
    pods: tuple[PodTime, ...] = ()
    free_ms: int = 0


def split_columns(origins: Iterable[OriginCharge], profile: Profile) -> Columns:
    """Return the columns of the divided rows, origin by origin, each read once."""
    writers = [(column, _source(column.name), _Distinct()) for column in profile.all]
    for origin in origins:
        for row in _divided(origin):
            for _, source, cells in writers:
                cells.add(row.get(source))
    return {column.name: cells.column(column) for column, _, cells in writers}


def _source(name: str) -> str:
    """Return the name of 1.3 for a column of the split that is ours in an earlier version."""
    return name.removeprefix("x_") if name.startswith("x_Allocated") else name


class _Distinct:
    """Cells of one column, each distinct one kept once: a month of a fleet has a million rows."""

    def __init__(self) -> None:
        self._codes: list[int] = []
        self._places: dict[Cell, int] = {}

    def add(self, cell: Cell) -> None:
        self._codes.append(self._places.setdefault(cell, len(self._places)))

    def column(self, column: FocusColumn) -> FocusCells:
        codes = np.array(self._codes, dtype=np.int64)
        match column.type:
            case FocusType.DECIMAL:
                amounts = tuple(_number(column.name, cell) for cell in self._places)
                return DecimalColumn(codes, amounts)
            case FocusType.INSTANT:
                return TextColumn(codes, tuple(_instant(str(one or "")) for one in self._places))
            case _:
                shown = (None if one is None else str(one) for one in self._places)
                return TextColumn(codes, tuple(shown))


def _divided(origin: OriginCharge) -> Iterator[dict[str, Cell]]:
    cells = _completed(origin)
    weights = [pod.gpu_ms for pod in origin.pods]
    keys = [(0, pod.resource_id) for pod in origin.pods]
    if origin.free_ms:
        weights.append(origin.free_ms)
        keys.append((1, ""))
    if not origin.pods or sum(weights) <= 0 or cells.get("AllocatedMethodId"):
        yield cells
        return
    parts = _parts(cells, weights, keys)
    ratios = split(10**_DIVIDED_DECIMALS, weights, keys)
    for place, weight in enumerate(weights):
        pod = origin.pods[place] if place < len(origin.pods) else None
        yield {
            **cells,
            **{name: amounts[place] for name, amounts in parts.items()},
            "AllocatedMethodId": METHOD,
            "AllocatedMethodDetails": _details(exact(ratios[place], _DIVIDED_DECIMALS), weight),
            "AllocatedResourceId": pod.resource_id if pod else None,
            "AllocatedResourceName": pod.name if pod else None,
            "AllocatedTags": _tags(pod, str(cells.get("Tags") or "")) if pod else None,
        }


def _completed(origin: OriginCharge) -> dict[str, Cell]:
    cells: dict[str, Cell] = {**origin.cells, ORIGIN_KEY: origin.key}
    said = _OLDER_NAMES | ({} if cells.get("PricingCurrency") else _ONE_CURRENCY)
    for name, older in said.items():
        if name not in cells and older in cells:
            cells[name] = cells[older]
    if "ServiceSubcategory" not in cells and cells.get("ServiceCategory"):
        cells["ServiceSubcategory"] = f"Other ({cells['ServiceCategory']})"
    return cells


def _parts(
    cells: Mapping[str, Cell], weights: Sequence[int], keys: Sequence[tuple[int, str]]
) -> dict[str, list[Decimal]]:
    """Return each metric's parts; they sum to it, and a product stays one in every part."""
    parts: dict[str, list[Decimal]] = {}
    given = {name: _number(name, cells.get(name)) for name in METRICS}
    for name, total in given.items():
        if total is not None:
            parts[name] = _split_decimal(total, weights, keys)
    quantity = given["PricingQuantity"]
    for cost, price in _PRODUCTS.items():
        unit = _number(price, cells.get(price))
        if unit is None or quantity is None:
            continue
        if EXACT.multiply(unit, quantity) == given[cost]:
            parts[cost] = [EXACT.multiply(unit, part) for part in parts["PricingQuantity"]]
    return parts


def _split_decimal(
    total: Decimal, weights: Sequence[int], keys: Sequence[tuple[int, str]]
) -> list[Decimal]:
    exponent = total.as_tuple().exponent
    assert isinstance(exponent, int)
    scale = max(_DIVIDED_DECIMALS, -exponent)
    return [exact(part, scale) for part in split(int(total.scaleb(scale, EXACT)), weights, keys)]


def _number(name: str, cell: Cell) -> Decimal | None:
    if cell is None or isinstance(cell, Decimal):
        return cell
    if not cell.strip():
        return None
    number = EXACT.create_decimal(cell.strip()) if _is_number(cell) else None
    if number is None or not number.is_finite():
        message = f"{name} of a provider's row is {cell[:40]!r}, which is no number."
        raise OriginError(message, hint="Import the bill again.")
    return number


def _is_number(text: str) -> bool:
    return not set(text.strip()) - set("0123456789+-.eE")


def _instant(text: str) -> str | None:
    """Return an instant as FOCUS writes it, whatever way the provider did; others stay."""
    plain = text.strip().removesuffix(" UTC")
    if not plain:
        return None
    try:
        at = datetime.fromisoformat(plain)
    except ValueError:
        return text
    return instant_text(to_ms(at if at.tzinfo else datetime.fromisoformat(f"{plain}+00:00")))


def _details(ratio: Decimal, gpu_ms: int) -> str:
    """Return the method's figures as JSON numbers; a float would not sum to 1."""
    count = round_half_even(gpu_ms * 10**QUANTITY_DECIMALS, HOUR_MS)
    hours = decimal_text(exact(count, QUANTITY_DECIMALS))
    element = (
        f'{{"AllocatedRatio":{decimal_text(ratio)},"UsageQuantity":{hours},'
        '"UsageUnit":"GPU-Hours"}'
    )
    return f'{{"Elements":[{element}]}}'


def _tags(pod: PodTime, origin_tags: str) -> str | None:
    """Return the pod's labels; what the origin's Tags say already is not said again."""
    known = _keys(origin_tags)
    said = {name: text for name, text in pod.labels if name not in known}
    return json_text(said) if said else None


def _keys(tags: str) -> frozenset[str]:
    try:
        found = json.loads(tags) if tags else {}
    except ValueError:
        return frozenset()
    return frozenset(found) if isinstance(found, dict) else frozenset()
