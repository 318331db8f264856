"""Rates, terms and owned nodes with round figures."""

from decimal import Decimal

from app.pricing.exchange import ExchangeRate
from app.pricing.owned import EnergyPrice, OwnedAsset
from app.pricing.terms import PriceTerm, TermKind
from app.units.window import OPEN_MS

# Midnight UTC of these days.
JAN_2026 = 1_767_225_600_000
JAN_2027 = 1_798_761_600_000
JAN_2031 = 1_924_992_000_000


def a_rate(
    rate: str = "1.25",
    currency: str = "EUR",
    valid_from_ms: int = 0,
    valid_to_ms: int = OPEN_MS,
) -> ExchangeRate:
    return ExchangeRate(
        currency=currency,
        rate=Decimal(rate),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )


def a_term(
    kind: TermKind = TermKind.DISCOUNT,
    percent: str = "10",
    valid_from_ms: int = 0,
    valid_to_ms: int = OPEN_MS,
    **columns: str,
) -> PriceTerm:
    return PriceTerm(
        kind=kind,
        percent=Decimal(percent),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
        **columns,
    )


def an_asset(
    *,
    currency: str = "USD",
    nodes: tuple[str, ...] = ("node-1",),
    salvage: str = "43344",
    retired_ms: int = OPEN_MS,
    tariffs: tuple[EnergyPrice, ...] = (
        EnergyPrice(price_per_kwh=Decimal("0.20"), valid_from_ms=0),
    ),
    instance_type: str = "",
) -> OwnedAsset:
    """A node of 8 GPUs bought for 262,464 and used for five years, 2026 to 2030: 43,824 hours."""
    return OwnedAsset(
        name="dgx",
        currency=currency,
        gpus=8,
        purchase=Decimal(262_464),
        salvage=Decimal(salvage),
        in_service_ms=JAN_2026,
        retired_ms=retired_ms,
        life_months=60,
        cluster="prod-eu",
        nodes=nodes,
        instance_type=instance_type,
        space_per_month=Decimal(730),
        support_per_year=Decimal(17_520),
        rated_kw=Decimal("10.4"),
        board_kw=Decimal("0.7"),
        pue=Decimal("1.5"),
        tariffs=tariffs,
    )
