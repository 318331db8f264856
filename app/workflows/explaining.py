"""Explain first-hand charges: by the versions that rated them, segment by segment."""

from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.attribution.capacity import UsageMismatchError
from app.attribution.charge_explanation import ChargeFacts, explain
from app.attribution.charges import LineStep
from app.attribution.commitment_explanation import CommittedPrice
from app.attribution.contract import Contract
from app.attribution.explanation import Explanation
from app.attribution.owners import Ownership, OwnerSpan
from app.attribution.price_explanation import AppliedPrice, BookPrice, EnergyPrice, LostPrice
from app.attribution.traced import TracedLine, trace
from app.pricing.effective import EffectivePrice
from app.pricing.inputs import EnergyPriceAt, PriceInputs
from app.store.commitments import CommitmentStore
from app.store.explained_lines import committed_hour, covered_of_pool, imported_as
from app.store.explanations import ChargeRecord
from app.store.prices import PriceStore
from app.store.usage import UsageStore
from app.units.window import from_ms, hour_of
from app.workflows.explaining_booked import with_moves
from app.workflows.rating import Terms, rating_input, terms_at
from app.workflows.restating import restated


def first_hand_explanation(
    connection: Connection, record: ChargeRecord, currency: str, zone: ZoneInfo
) -> Explanation:
    """Return why a line of step 0 or 13 is what it is; ``zone`` is the billing zone."""
    versions = record.versions
    terms = terms_at(connection, versions.price_version, versions.contract_version)
    contract = terms.contract
    divided = restated(connection, record, contract.share_policies())
    line = _traced(connection, record, terms, zone)
    facts = ChargeFacts(
        charge_id=record.charge_id,
        kind=record.kind,
        step=record.step,
        window_start_ms=record.window_start_ms,
        start_ms=record.start_ms,
        end_ms=record.end_ms,
        cluster=record.cluster,
        node=record.pool.node,
        gpu_model=record.pool.gpu_model,
        team=record.team,
        gpu_ms=record.gpu_ms,
        cost_nanos=record.cost_nanos,
        currency=currency,
        owner=_owner(record, contract),
        hold=record.hold,
        policies=contract.share_policies_over(record.start_ms, record.end_ms),
        usage=divided.usage,
        spans=divided.spans,
        price=_price(connection, record, terms.inputs),
        line=line,
        coverage=record.coverage,
        notes=record.notes,
        versions=versions,
    )
    return with_moves(connection, record, explain(facts), currency)


def _traced(
    connection: Connection, record: ChargeRecord, terms: Terms, zone: ZoneInfo
) -> TracedLine | None:
    """Return the charge's segments if what is stored gives the very charge, else None."""
    window = hour_of(from_ms(record.window_start_ms))
    given, _ = rating_input(connection, record.cluster, window, terms, zone)
    try:
        line = trace(given, record.charge_id, record.step)
    except UsageMismatchError:
        return None
    if line is None or (line.gpu_ms, line.nanos) != (record.gpu_ms, record.cost_nanos or 0):
        return None
    return line


def _energy_price(
    connection: Connection, record: ChargeRecord, price: EnergyPriceAt
) -> EnergyPrice:
    window = hour_of(from_ms(record.window_start_ms))
    found = UsageStore(connection, record.cluster).pool_energy(window)
    of_pool = (found["node_id"] == record.node_id) & (found["gpu_model_id"] == record.gpu_model_id)
    return EnergyPrice(
        price=price,
        counter_mj=record.usage.energy_mj if record.usage else None,
        boards_mj=int(found.loc[of_pool, "energy_mj"].sum()),
        boards_ms=int(found.loc[of_pool, "measured_ms"].sum()),
    )


def _price(connection: Connection, record: ChargeRecord, inputs: PriceInputs) -> AppliedPrice:
    price_id, at_ms = record.price_id, record.start_ms
    if record.step is LineStep.CARD_VARIANCE:
        return None
    if price_id:
        commitment = CommitmentStore(connection).by_price_id(price_id)
        if commitment is not None:
            pool_ms, pool_nanos = covered_of_pool(connection, record)
            return CommittedPrice(
                commitment=commitment,
                window_ms=record.window_start_ms,
                hour=committed_hour(connection, record.window_start_ms, price_id),
                pool_ms=pool_ms,
                pool_nanos=pool_nanos,
            )
        energy = inputs.energy_of(price_id, at_ms)
        if energy is not None:
            return _energy_price(connection, record, energy)
    # What only the card leaves without a price is priced by the book and stays unpriced.
    books = (inputs.book, inputs.card) if price_id else (inputs.card, inputs.book)
    for book in books:
        choice = book.choice(record.pool, at_ms) if book else None
        if choice is not None and choice.winner.price_id == price_id:
            row = choice.winner.row
            return BookPrice(
                choice=choice,
                is_card=book is inputs.card,
                imported=imported_as(connection, row.price_id) if row else "",
            )
    return (
        LostPrice(price_id=price_id, price=_found(connection, record, inputs)) if price_id else None
    )


def _found(
    connection: Connection, record: ChargeRecord, inputs: PriceInputs
) -> EffectivePrice | None:
    found = inputs.price_of(record.price_id, record.start_ms)
    if found is not None:
        return found
    row = PriceStore(connection).by_id(record.price_id)
    return EffectivePrice(row=row) if row else None


def _owner(record: ChargeRecord, contract: Contract) -> OwnerSpan:
    """Return who pays for the charge's beginning, and by which rule."""
    ownership = Ownership(contract)
    end_ms = max(record.end_ms, record.start_ms + 1)
    if record.hold is None:
        return ownership.payers_over(record.start_ms, end_ms)[0]
    return ownership.teams_over(
        record.cluster, record.namespace, record.labels, record.start_ms, end_ms
    )[0]
