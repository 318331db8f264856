"""Owned hardware: what a node costs that was bought, as prices for an hour and for energy.

Straight-line depreciation counts the hours between the first day of service and the end of the
life by the calendar. Costs that recur count a year as 8,760 hours and a month as a twelfth of it,
730 hours, as the public clouds do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from app.pricing.components import OwnedPrice
from app.pricing.exchange import ExchangeRate, ExchangeRates
from app.pricing.rows import PriceKey, PriceRow, PriceUnit, capacity_word
from app.units.identity import hash64
from app.units.money import NANOS_PER_UNIT
from app.units.window import HOUR_MS, OPEN_MS, from_ms, to_ms

YEAR_HOURS = 8_760
MONTH_HOURS = 730
# A kilowatt-hour is 3.6 megajoules.
MJ_PER_KWH = 3_600_000_000
_SHOWN_DECIMALS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyPrice:
    """What a kilowatt-hour costs over ``[from, to)``, in the asset's currency."""

    price_per_kwh: Decimal
    valid_from_ms: int
    valid_to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedAsset:
    """One line of the register: a kind of node that was bought, and the nodes that are of it.

    All amounts and kilowatts are of one node; ``board_kw`` is of one of its ``gpus``. Either
    ``nodes`` or ``instance_type`` is filled. The asset counts from ``in_service_ms`` until
    ``retired_ms``, also when its life has ended. Dates are midnights in UTC.
    """

    name: str
    currency: str
    gpus: int
    purchase: Decimal
    salvage: Decimal
    in_service_ms: int
    life_months: int
    cluster: str = ""
    nodes: tuple[str, ...] = ()
    instance_type: str = ""
    space_per_month: Decimal = Decimal(0)
    support_per_year: Decimal = Decimal(0)
    rated_kw: Decimal = Decimal(0)
    board_kw: Decimal = Decimal(0)
    pue: Decimal = Decimal(1)
    tariffs: tuple[EnergyPrice, ...] = ()
    retired_ms: int = OPEN_MS

    @property
    def asset_id(self) -> int:
        """The identity of the line: all that it says."""
        return hash64(
            "owned asset",
            self.name,
            self.currency,
            self.cluster,
            self.instance_type,
            *self.nodes,
            *(str(Fraction(amount)) for amount in self._figures()),
            *(
                f"{Fraction(one.price_per_kwh)} {one.valid_from_ms} {one.valid_to_ms}"
                for one in self.tariffs
            ),
        )

    @property
    def life_ends_ms(self) -> int:
        """When the asset is written down to its salvage value."""
        return months_later(self.in_service_ms, self.life_months)

    @property
    def host_kw(self) -> Fraction:
        """What the node draws beside its boards."""
        return max(Fraction(self.rated_kw) - Fraction(self.board_kw) * self.gpus, Fraction(0))

    @property
    def needs_tariff(self) -> bool:
        """Say whether the asset draws power that somebody pays."""
        return bool(self.rated_kw or self.board_kw)

    def _figures(self) -> tuple[Decimal | int, ...]:
        return (
            self.gpus,
            self.purchase,
            self.salvage,
            self.in_service_ms,
            self.retired_ms,
            self.life_months,
            self.space_per_month,
            self.support_per_year,
            self.rated_kw,
            self.board_kw,
            self.pue,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTariff:
    """What the energy of an owned node's boards costs over ``[from, to)``.

    The filled columns say which pools it is for, matched as a price row is. ``rate`` is that of
    the tariff's currency, None for the billing currency. ``rated_board_kw`` is one GPU's draw where
    nothing measures it.
    """

    asset: str
    price_per_kwh: Decimal
    currency: str
    pue: Decimal
    rated_board_kw: Decimal
    valid_from_ms: int
    valid_to_ms: int
    cluster: str = ""
    node: str = ""
    instance_type: str = ""
    rate: ExchangeRate | None = None

    @property
    def key(self) -> PriceKey:
        """What the tariff is for, in the form in which price rows are compared."""
        return PriceKey(
            node=self.node.casefold(),
            instance_type=self.instance_type.casefold(),
            gpu_model=(),
            capacity_type=capacity_word(""),
            cluster=self.cluster,
            region="",
            provider="",
            unit=PriceUnit.NODE_HOUR,
        )

    @property
    def price_id(self) -> int:
        """The identity of the tariff: what it is for, how much, since when and until when."""
        return hash64(
            "energy tariff",
            self.asset,
            self.cluster,
            self.node,
            self.instance_type,
            str(Fraction(self.price_per_kwh)),
            self.currency,
            str(Fraction(self.pue)),
            str(Fraction(self.rated_board_kw)),
            str(self.valid_from_ms),
            str(self.valid_to_ms),
            str(self.rate.rate_id if self.rate else 0),
        )

    @property
    def unit_price(self) -> Fraction:
        """What a kilowatt-hour at the board costs in the billing currency, with PUE."""
        rate = Fraction(self.rate.rate) if self.rate else Fraction(1)
        return Fraction(self.price_per_kwh) * Fraction(self.pue) * rate

    @property
    def nanos_per_mj(self) -> Fraction:
        """What a millijoule at the board costs, in nanos of the billing currency, with PUE."""
        return self.unit_price * NANOS_PER_UNIT / MJ_PER_KWH

    @property
    def rated_mj_per_ms(self) -> Fraction:
        """The energy of one GPU in a millisecond at its rated draw: a kilowatt is 1,000 mJ/ms."""
        return Fraction(self.rated_board_kw) * 1000

    def holds_at(self, at_ms: int) -> bool:
        """Say whether the tariff is valid at the instant."""
        return self.valid_from_ms <= at_ms < self.valid_to_ms


def owned_rows(asset: OwnedAsset) -> tuple[PriceRow, ...]:
    """Return the asset's fixed cost as node_hour prices, cut where a component changes.

    Where the asset needs a tariff and none is valid there is no row: such time is unpriced.
    """
    rows: list[PriceRow] = []
    for from_ms_, to_ms_, price in _spans(asset):
        shown = _shown(price.total)
        rows += [
            PriceRow(
                unit=PriceUnit.NODE_HOUR,
                price=shown,
                currency=asset.currency,
                valid_from_ms=from_ms_,
                valid_to_ms=to_ms_,
                cluster=asset.cluster,
                instance_type=asset.instance_type,
                node=node,
                source=f"owned:{asset.name}",
                owned=price,
            )
            for node in asset.nodes or ("",)
        ]
    return tuple(rows)


def energy_tariffs(asset: OwnedAsset, rates: ExchangeRates) -> tuple[EnergyTariff, ...]:
    """Return the asset's tariffs of its boards' energy, cut where the exchange rate changes.

    Where the asset's currency is foreign and has no rate there is no tariff.
    """
    found: list[EnergyTariff] = []
    if not asset.board_kw:
        return ()
    for one in asset.tariffs:
        start_ms = max(one.valid_from_ms, asset.in_service_ms)
        end_ms = min(one.valid_to_ms, asset.retired_ms)
        if start_ms >= end_ms:
            continue
        edges = sorted({start_ms, end_ms, *rates.edges(asset.currency, start_ms, end_ms)})
        for from_ms_, to_ms_ in pairwise(edges):
            rate = rates.at(asset.currency, from_ms_)
            if rate is None and rates.foreign(asset.currency):
                continue
            found += [
                EnergyTariff(
                    asset=asset.name,
                    price_per_kwh=one.price_per_kwh,
                    currency=asset.currency,
                    pue=asset.pue,
                    rated_board_kw=asset.board_kw,
                    valid_from_ms=from_ms_,
                    valid_to_ms=to_ms_,
                    cluster=asset.cluster,
                    node=node,
                    instance_type=asset.instance_type,
                    rate=rate,
                )
                for node in asset.nodes or ("",)
            ]
    return tuple(found)


def months_later(at_ms: int, months: int) -> int:
    """Return the same day of the month some months later, the month's last day if it is shorter."""
    instant = from_ms(at_ms)
    year, month = divmod(instant.year * 12 + instant.month - 1 + months, 12)
    following = datetime(year + (month + 1) // 12, (month + 1) % 12 + 1, 1, tzinfo=UTC)
    first = datetime(year, month + 1, 1, tzinfo=UTC)
    day = min(instant.day, (following - first).days)
    return to_ms(instant.replace(year=year, month=month + 1, day=day))


def _shown(price: Fraction) -> Decimal:
    """Return the price to 12 decimals, whatever the caller's decimal context is."""
    rounded = Decimal(round(price * 10**_SHOWN_DECIMALS))
    return Decimal(format(rounded.scaleb(-_SHOWN_DECIMALS).normalize(), "f"))


def _spans(asset: OwnedAsset) -> Iterator[tuple[int, int, OwnedPrice]]:
    """Yield the fixed cost over time; neighbors differ or have a hole between them."""
    start_ms, end_ms = asset.in_service_ms, asset.retired_ms
    edges = {start_ms, end_ms, asset.life_ends_ms}
    for one in asset.tariffs:
        edges |= {one.valid_from_ms, one.valid_to_ms}
    last: tuple[int, int, OwnedPrice] | None = None
    inside = sorted(at_ms for at_ms in edges if start_ms <= at_ms <= end_ms)
    for from_ms_, to_ms_ in pairwise(inside):
        price = _price(asset, from_ms_)
        if last and price == last[2] and last[1] == from_ms_:
            last = (last[0], to_ms_, price)
            continue
        if last:
            yield last
        last = (from_ms_, to_ms_, price) if price else None
    if last:
        yield last


def _price(asset: OwnedAsset, at_ms: int) -> OwnedPrice | None:
    tariff = next(
        (one for one in asset.tariffs if one.valid_from_ms <= at_ms < one.valid_to_ms), None
    )
    if tariff is None and asset.needs_tariff:
        return None
    life_hours = Fraction(asset.life_ends_ms - asset.in_service_ms, HOUR_MS)
    worn = Fraction(asset.purchase) - Fraction(asset.salvage)
    kwh = Fraction(tariff.price_per_kwh) if tariff else Fraction(0)
    return OwnedPrice(
        asset=asset.name,
        depreciation=worn / life_hours if at_ms < asset.life_ends_ms else Fraction(0),
        space=Fraction(asset.space_per_month) / MONTH_HOURS,
        support=Fraction(asset.support_per_year) / YEAR_HOURS,
        power=asset.host_kw * Fraction(asset.pue) * kwh,
    )
