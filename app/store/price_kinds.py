"""How each kind of price input is kept in its table."""

from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from app.pricing.credits import Credit
from app.pricing.exchange import ExchangeRate
from app.pricing.owned import EnergyPrice, OwnedAsset
from app.pricing.rows import PriceRow, PriceUnit
from app.pricing.terms import PriceTerm, TermKind
from app.store.dated_rows import RowKind
from app.store.price_versions import ImportKind
from app.store.tables.ledger import PRICE_ROWS
from app.store.tables.price_inputs import CREDITS, EXCHANGE_RATES, OWNED_ASSETS, PRICE_TERMS
from app.units.window import OPEN_MS, from_ms

_MATCHED = (
    "cluster",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "node",
)
_AMOUNTS = (
    "purchase",
    "salvage",
    "space_per_month",
    "support_per_year",
    "rated_kw",
    "board_kw",
    "pue",
)
_ASSET_TEXTS = ("name", "cluster", "instance_type", "currency")


def _prices(kind: ImportKind, book: str) -> RowKind[PriceRow]:
    return RowKind(
        kind=kind,
        table=PRICE_ROWS,
        id_column="price_id",
        order=(*_MATCHED, "unit", "valid_from"),
        stored=_stored_price,
        value=price_of,
        slot=lambda row: (row.key, row.valid_from_ms),
        key=lambda row: row.key,
        span=lambda row: (row.valid_from_ms, row.valid_to_ms),
        facts=lambda row: (row.price, row.currency, row.valid_to_ms, row.list_price),
        words=lambda row: (
            f"the price {row.price:f} {row.currency} per {row.unit.value} for"
            f" {_filled(row)} {_since(row.valid_from_ms, row.valid_to_ms)}"
        ),
        only={"book": book},
    )


def _stored_price(row: PriceRow) -> dict[str, object]:
    return {
        "price_id": row.price_id,
        **{name: getattr(row, name) for name in (*_MATCHED, "currency", "source")},
        "unit": row.unit.value,
        "price": row.price,
        "list_price": row.list_price,
        **_validity(row.valid_from_ms, row.valid_to_ms),
    }


def price_of(row: Row[Any]) -> PriceRow:
    """Return a stored price."""
    fields = row._mapping  # noqa: SLF001 SQLAlchemy's documented name
    return PriceRow(
        unit=PriceUnit(row.unit),
        price=Decimal(row.price).normalize(),
        list_price=None if row.list_price is None else Decimal(row.list_price).normalize(),
        valid_from_ms=row.valid_from,
        valid_to_ms=OPEN_MS if row.valid_to is None else row.valid_to,
        **{name: fields[name] for name in (*_MATCHED, "currency", "source")},
    )


def _stored_rate(one: ExchangeRate) -> dict[str, object]:
    return {
        "rate_id": one.rate_id,
        "currency": one.currency,
        "rate": one.rate,
        "source": one.source,
        **_validity(one.valid_from_ms, one.valid_to_ms),
    }


def _rate(row: Row[Any]) -> ExchangeRate:
    return ExchangeRate(
        currency=row.currency,
        rate=Decimal(row.rate).normalize(),
        valid_from_ms=row.valid_from,
        valid_to_ms=OPEN_MS if row.valid_to is None else row.valid_to,
        source=row.source,
    )


def _stored_term(one: PriceTerm) -> dict[str, object]:
    return {
        "term_id": one.term_id,
        "kind": one.kind.value,
        "percent": one.percent,
        **{name: getattr(one, name) for name in (*_MATCHED, "reason")},
        **_validity(one.valid_from_ms, one.valid_to_ms),
    }


def _term(row: Row[Any]) -> PriceTerm:
    fields = row._mapping  # noqa: SLF001 SQLAlchemy's documented name
    return PriceTerm(
        kind=TermKind(row.kind),
        percent=Decimal(row.percent).normalize(),
        valid_from_ms=row.valid_from,
        valid_to_ms=OPEN_MS if row.valid_to is None else row.valid_to,
        **{name: fields[name] for name in (*_MATCHED, "reason")},
    )


def _stored_credit(one: Credit) -> dict[str, object]:
    return {
        "credit_id": one.credit_id,
        **{name: getattr(one, name) for name in ("name", "team", "amount", "currency", "reason")},
        **_validity(one.valid_from_ms, one.valid_to_ms),
    }


def _credit(row: Row[Any]) -> Credit:
    return Credit(
        name=row.name,
        team=row.team,
        amount=Decimal(row.amount).normalize(),
        currency=row.currency,
        valid_from_ms=row.valid_from,
        valid_to_ms=row.valid_to,
        reason=row.reason,
    )


def _stored_asset(one: OwnedAsset) -> dict[str, object]:
    return {
        "asset_id": one.asset_id,
        **{name: getattr(one, name) for name in (*_ASSET_TEXTS, *_AMOUNTS)},
        "nodes": list(one.nodes),
        "gpus": one.gpus,
        "in_service": one.in_service_ms,
        "retired": None if one.retired_ms >= OPEN_MS else one.retired_ms,
        "life_months": one.life_months,
        "tariffs": [
            {
                "price_per_kwh": format(tariff.price_per_kwh, "f"),
                "valid_from_ms": tariff.valid_from_ms,
                "valid_to_ms": tariff.valid_to_ms,
            }
            for tariff in one.tariffs
        ],
    }


def _asset(row: Row[Any]) -> OwnedAsset:
    return OwnedAsset(
        nodes=tuple(row.nodes),
        gpus=row.gpus,
        in_service_ms=row.in_service,
        retired_ms=OPEN_MS if row.retired is None else row.retired,
        life_months=row.life_months,
        tariffs=tuple(
            EnergyPrice(
                price_per_kwh=Decimal(tariff["price_per_kwh"]).normalize(),
                valid_from_ms=tariff["valid_from_ms"],
                valid_to_ms=tariff["valid_to_ms"],
            )
            for tariff in row.tariffs
        ),
        name=row.name,
        cluster=row.cluster,
        instance_type=row.instance_type,
        currency=row.currency,
        purchase=_plain(row.purchase),
        salvage=_plain(row.salvage),
        space_per_month=_plain(row.space_per_month),
        support_per_year=_plain(row.support_per_year),
        rated_kw=_plain(row.rated_kw),
        board_kw=_plain(row.board_kw),
        pue=_plain(row.pue),
    )


def _plain(amount: Decimal) -> Decimal:
    """Return a stored amount without the zeros that the column adds."""
    return amount.normalize()


def _validity(from_ms_: int, to_ms_: int) -> dict[str, object]:
    return {"valid_from": from_ms_, "valid_to": None if to_ms_ >= OPEN_MS else to_ms_}


def _filled(value: PriceRow | PriceTerm) -> str:
    filled = [f"{name}={getattr(value, name)}" for name in _MATCHED if getattr(value, name)]
    return ", ".join(filled) or "anything"


def _since(from_ms_: int, to_ms_: int) -> str:
    until = "open" if to_ms_ >= OPEN_MS else from_ms(to_ms_).isoformat()
    return f"from {from_ms(from_ms_).isoformat()} to {until}"


PRICES = _prices(ImportKind.PRICES, "actual")
RATE_CARD = _prices(ImportKind.RATE_CARD, "rate_card")

RATES: RowKind[ExchangeRate] = RowKind(
    kind=ImportKind.EXCHANGE_RATES,
    table=EXCHANGE_RATES,
    id_column="rate_id",
    order=("currency", "valid_from"),
    stored=_stored_rate,
    value=_rate,
    slot=lambda one: (one.currency, one.valid_from_ms),
    key=lambda one: one.key,
    span=lambda one: (one.valid_from_ms, one.valid_to_ms),
    facts=lambda one: (one.rate, one.valid_to_ms),
    words=lambda one: (
        f"the rate {one.rate:f} of {one.currency} {_since(one.valid_from_ms, one.valid_to_ms)}"
    ),
    only={},
)

TERMS: RowKind[PriceTerm] = RowKind(
    kind=ImportKind.TERMS,
    table=PRICE_TERMS,
    id_column="term_id",
    order=("kind", *_MATCHED, "valid_from"),
    stored=_stored_term,
    value=_term,
    slot=lambda one: (one.key, one.valid_from_ms),
    key=lambda one: one.key,
    span=lambda one: (one.valid_from_ms, one.valid_to_ms),
    facts=lambda one: (one.percent, one.valid_to_ms),
    words=lambda one: (
        f"the {one.kind.value} of {one.percent:f} % for {_filled(one)}"
        f" {_since(one.valid_from_ms, one.valid_to_ms)}"
    ),
    only={},
)

CREDIT_ROWS: RowKind[Credit] = RowKind(
    kind=ImportKind.CREDITS,
    table=CREDITS,
    id_column="credit_id",
    order=("name", "team", "valid_from"),
    stored=_stored_credit,
    value=_credit,
    slot=lambda one: (one.key, one.valid_from_ms),
    key=lambda one: one.key,
    span=lambda one: (one.valid_from_ms, one.valid_to_ms),
    facts=lambda one: (one.amount, one.currency, one.valid_to_ms),
    words=lambda one: f"the credit {one.name} {_since(one.valid_from_ms, one.valid_to_ms)}",
    only={},
)

ASSETS: RowKind[OwnedAsset] = RowKind(
    kind=ImportKind.OWNED,
    table=OWNED_ASSETS,
    id_column="asset_id",
    order=("name", "in_service"),
    stored=_stored_asset,
    value=_asset,
    slot=lambda one: one.name,
    key=lambda one: one.name,
    span=lambda one: (one.in_service_ms, one.retired_ms),
    facts=lambda one: one,
    words=lambda one: f"the asset {one.name}",
    only={},
)
