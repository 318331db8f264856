"""Files of price inputs: read by their kind, taken into the store, and what is odd about them."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar

from app.errors import InputError
from app.pricing.book import describe_key
from app.pricing.exchange import ExchangeRates
from app.pricing.inputs import PriceInputs
from app.pricing.owned import OwnedAsset
from app.pricing.rows import CAPACITY_TYPES, PriceRow, capacity_word
from app.pricing.terms import PriceTerm
from app.sources.owned_register import read_owned_register
from app.sources.price_book import read_price_book
from app.sources.price_terms import read_credits, read_exchange_rates, read_terms
from app.store.price_versions import ImportKind, ImportNote
from app.store.prices import PriceStore
from app.units.window import OPEN_MS, from_ms
from app.workflows.price_limits import refuse_unusable


class CorrectionError(InputError):
    """An import that supersedes rows without saying why and by whom."""

    def __init__(self, superseded: int) -> None:
        super().__init__(
            f"The import corrects {superseded} rows that are there and gives no reason or author.",
            hint="Repeat it with --reason; the old rows stay readable under their version.",
        )
        self.superseded = superseded


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenFile:
    """What a file changed: counts, the spans in which prices may differ, and warnings."""

    version: int
    added: int
    superseded: int
    unchanged: int
    spans: tuple[tuple[int, int], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFile:
    """A file of price inputs, and where it comes from."""

    kind: ImportKind
    text: str
    file_name: str
    currency: str


class _Taken(Protocol):
    """What the store says of an import, whatever its values are."""

    @property
    def version(self) -> int: ...
    @property
    def added(self) -> Sequence[object]: ...
    @property
    def superseded(self) -> Sequence[object]: ...
    @property
    def unchanged(self) -> int: ...
    @property
    def spans(self) -> tuple[tuple[int, int], ...]: ...


class _Dated(Protocol):
    """What is valid over a span."""

    @property
    def valid_from_ms(self) -> int: ...
    @property
    def valid_to_ms(self) -> int: ...


_Value = TypeVar("_Value", bound=_Dated)


def take_file(file: PriceFile, store: PriceStore, note: ImportNote, *, dry_run: bool) -> TakenFile:
    """Take all of the file or nothing; raise what its reader or the store refuses.

    A correction without a reason and an author is a `CorrectionError`, unless it is a dry run.
    """
    taken = _TAKERS[file.kind](file, store, note)
    if taken.superseded and not dry_run and not (note.reason.strip() and note.author.strip()):
        raise CorrectionError(len(taken.superseded))
    inputs = store.inputs()
    refuse_unusable(inputs)
    return TakenFile(
        version=taken.version,
        added=len(taken.added),
        superseded=len(taken.superseded),
        unchanged=taken.unchanged,
        spans=taken.spans,
        warnings=tuple(dict.fromkeys((*_unknown(file.kind, inputs), *_holes(file.kind, inputs))))
        if taken.added
        else (),
    )


def _take_prices(file: PriceFile, store: PriceStore, note: ImportNote) -> _Taken:
    rows = read_price_book(
        file.text,
        filename=file.file_name,
        billing_currency=file.currency,
        exchanged=ExchangeRates(store.rates()).currencies,
    )
    take = store.take_card if file.kind is ImportKind.RATE_CARD else store.take_prices
    return take(rows, note)


def _take_rates(file: PriceFile, store: PriceStore, note: ImportNote) -> _Taken:
    rates = read_exchange_rates(file.text, filename=file.file_name, billing_currency=file.currency)
    return store.take_rates(rates, note)


def _take_terms(file: PriceFile, store: PriceStore, note: ImportNote) -> _Taken:
    return store.take_terms(read_terms(file.text, filename=file.file_name), note)


def _take_credits(file: PriceFile, store: PriceStore, note: ImportNote) -> _Taken:
    found = read_credits(
        file.text,
        filename=file.file_name,
        billing_currency=file.currency,
        rates=store.rates(),
    )
    return store.take_credits(found, note)


def _take_owned(file: PriceFile, store: PriceStore, note: ImportNote) -> _Taken:
    assets = read_owned_register(
        file.text,
        filename=file.file_name,
        billing_currency=file.currency,
        exchanged=ExchangeRates(store.rates()).currencies,
    )
    return store.take_assets(assets, note)


_TAKERS: Mapping[ImportKind, Callable[[PriceFile, PriceStore, ImportNote], _Taken]] = {
    ImportKind.PRICES: _take_prices,
    ImportKind.RATE_CARD: _take_prices,
    ImportKind.EXCHANGE_RATES: _take_rates,
    ImportKind.TERMS: _take_terms,
    ImportKind.CREDITS: _take_credits,
    ImportKind.OWNED: _take_owned,
}


def _unknown(kind: ImportKind, inputs: PriceInputs) -> Iterator[str]:
    """Yield the capacity types that no node has: what names them prices nothing."""
    rows: Sequence[PriceRow | PriceTerm]
    match kind:
        case ImportKind.PRICES | ImportKind.RATE_CARD:
            book = inputs.card if kind is ImportKind.RATE_CARD else inputs.book
            rows = book.rows if book else ()
        case ImportKind.TERMS:
            rows = inputs.book.terms.terms
        case _:
            rows = ()
    for text in sorted({row.capacity_type for row in rows}):
        if text and capacity_word(text) not in CAPACITY_TYPES:
            yield f'no node has the capacity_type "{text}"; known are {", ".join(CAPACITY_TYPES)}'


def _holes(kind: ImportKind, inputs: PriceInputs) -> Iterator[str]:
    """Yield where prices or rates of one thing end and begin again later, in words."""
    match kind:
        case ImportKind.PRICES | ImportKind.RATE_CARD:
            book = inputs.card if kind is ImportKind.RATE_CARD else inputs.book
            rows = [row for row in book.rows if row.owned is None] if book else []
            for row, later in _neighbors([(row.key, row) for row in rows]):
                yield _hole(f"the {row.unit.value} price of {describe_key(row)}", row, later)
        case ImportKind.EXCHANGE_RATES:
            for rate, next_rate in _neighbors([(one.key, one) for one in inputs.book.rates.rates]):
                yield _hole(f"the exchange rate of {rate.currency}", rate, next_rate)
        case ImportKind.OWNED:
            for asset in inputs.owned:
                yield from _unpriced(asset)
        case _:
            return


def _neighbors(keyed: Sequence[tuple[Hashable, _Value]]) -> Iterator[tuple[_Value, _Value]]:
    """Yield pairs of values for the same that follow each other in time with a hole between."""
    by_key: dict[Hashable, list[_Value]] = {}
    for key, value in keyed:
        by_key.setdefault(key, []).append(value)
    for same in by_key.values():
        for before, after in pairwise(sorted(same, key=lambda one: one.valid_from_ms)):
            if before.valid_to_ms < after.valid_from_ms:
                yield before, after


def _unpriced(asset: OwnedAsset) -> Iterator[str]:
    if not asset.needs_tariff:
        return
    at_ms = asset.in_service_ms
    for tariff in asset.tariffs:
        if tariff.valid_from_ms > at_ms:
            until = min(tariff.valid_from_ms, asset.retired_ms)
            yield _gap(f"the tariff of {asset.name}", at_ms, until)
        at_ms = max(at_ms, tariff.valid_to_ms)
        if at_ms >= asset.retired_ms:
            return
    yield _gap(f"the tariff of {asset.name}", at_ms, asset.retired_ms)


def _hole(what: str, before: _Dated, after: _Dated) -> str:
    return _gap(what, before.valid_to_ms, after.valid_from_ms)


def _gap(what: str, start_ms: int, end_ms: int) -> str:
    until = "" if end_ms >= OPEN_MS else f" to {from_ms(end_ms):%Y-%m-%dT%H:%M:%SZ}"
    return f"{what} has a gap from {from_ms(start_ms):%Y-%m-%dT%H:%M:%SZ}{until}"
