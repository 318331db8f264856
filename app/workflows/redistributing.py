"""Give services' first-hand cost of a day to the consumers of their tokens, over all clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from sqlalchemy import Connection, Engine

from app.attribution.consumer_shares import DayShares, day_shares
from app.attribution.contract import Contract
from app.attribution.redistribution import (
    BillingDay,
    DayCost,
    RedistributedLine,
    RedistributionStep,
    billing_days,
    redistribute,
)
from app.store.consumers import ConsumerStore
from app.store.naming import NameStore
from app.store.redistribution import MarkedDay, RedistributionStore, mark_days_of
from app.store.served_models import served_models
from app.store.windows import put_notes
from app.units.window import Window
from app.usage.identity import cluster_id
from app.usage.models import ModelEntry, ModelTable
from app.usage.notes import Note, notes_frame

# What the notes of this workflow are kept under.
_STAGE = "redistribute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redistributed:
    """How many days were made again, and how many lines they have."""

    days: int
    lines: int


def mark_days(
    connection: Connection, window: Window, contract: Contract, billing_zone: tzinfo
) -> None:
    """Say that first-hand charges of the window changed, in the transaction that changes them.

    Where no contract names a source of consumers, only days that have been redistributed wait.
    """
    if not contract.consumer_sources:
        mark_days_of(connection, window)
        return
    days = billing_days(billing_zone, window.start_ms, window.end_ms)
    RedistributionStore(connection, billing_zone).mark(days)


def redistribute_days(
    contract: Contract,
    *,
    engine: Engine,
    billing_zone: tzinfo,
    models: Sequence[ModelEntry] = (),
) -> Redistributed:
    """Make the lines of every day that waits for them, each day in one transaction.

    A day is replaced whole and over all clusters; the same facts and charges give the same lines.
    What changes while a day is made leaves it waiting.
    """
    with engine.begin() as connection:
        store = RedistributionStore(connection, billing_zone)
        store.forget_other_zones()
        waiting = store.marked()
    lines = 0
    for one in waiting:
        with engine.begin() as connection:
            lines += _redistribute_day(connection, one, contract, billing_zone, models)
    return Redistributed(days=len(waiting), lines=lines)


def _redistribute_day(
    connection: Connection,
    waiting: MarkedDay,
    contract: Contract,
    billing_zone: tzinfo,
    models: Sequence[ModelEntry],
) -> int:
    store = RedistributionStore(connection, billing_zone)
    store.lock(waiting.day)
    # The marks are read before what they count: whatever comes in later is one mark more.
    fresh = next((one for one in store.marked() if one.day == waiting.day), None)
    if fresh is None:
        return 0
    shares = shares_of_day(connection, fresh.day, contract, models)
    costs = store.first_hand(fresh.day, [one.workload_id for one in shares.services])
    lines = consumer_lines(fresh.day, costs, shares)
    teams = {one.team for service in shares.services for one in service.consumers if one.team}
    NameStore(connection).ensure_team_names(teams)
    store.replace(fresh.day, lines, {one.workload_id: one for one in shares.services})
    _put_notes(connection, fresh.day, shares)
    store.settle(fresh)
    return len(lines)


def shares_of_day(
    connection: Connection,
    day: BillingDay,
    contract: Contract,
    models: Sequence[ModelEntry],
) -> DayShares:
    """Return the consumers of every service on a day, by the stored facts.

    Names of models are joined by what a person configured, and by what the services' pods say.
    """
    store = ConsumerStore(connection)
    sent = store.sent(day.hours) if contract.consumer_sources else ()
    services = store.serving(day) if sent else ()
    table = ModelTable(models, served_models(connection, day.hours) if services else ())
    return day_shares(day, sent, services, table, contract)


def consumer_lines(
    day: BillingDay, costs: Sequence[DayCost], shares: DayShares
) -> tuple[RedistributedLine, ...]:
    """Return the lines of step 3: every service's cost by its consumers' weighted tokens."""
    by_service = {
        service.workload_id: [one.share() for one in service.consumers]
        for service in shares.services
    }
    return redistribute(
        RedistributionStep.CONSUMERS,
        day,
        costs,
        lambda cost: by_service.get(cost.workload_id, ()),
    )


def _put_notes(connection: Connection, day: BillingDay, shares: DayShares) -> None:
    """Write down what was left out where its gateway was seen, and sources that said nothing."""
    detail = "Tokens of a model that no service here serves; they divide no cost."
    unheard = "No token was counted for this source of consumers; it divides no cost."
    silent = [Note("consumers_silent", source, 1, unheard) for source in shares.silent]
    for identity in sorted(NameStore(connection).clusters()):
        notes = [
            Note("model_elsewhere", f"{one.gateway} {one.model}", one.tokens, detail)
            for one in shares.elsewhere
            if cluster_id(one.cluster) == identity
        ]
        every = notes_frame([*notes, *silent])
        put_notes(connection, identity, day.hours, _STAGE, every)
