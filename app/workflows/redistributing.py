"""Redistribute each billing day's first-hand cost by the policies, over all clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from sqlalchemy import Connection, Engine

from app.attribution.consumer_shares import DayShares, day_shares
from app.attribution.contract import Contract, Policies, SharedPolicy, UnallocatedPolicy
from app.attribution.day_costs import NOTHING_MEASURED, MeasuredDay
from app.attribution.derived_lines import DayFacts, derived_lines, policies_of, redistributes
from app.attribution.redistribution import BillingDay, billing_days
from app.store.consumers import ConsumerStore
from app.store.day_costs import DayCostStore
from app.store.naming import NameStore
from app.store.periods import closed_before_ms
from app.store.redistribution import MarkedDay, RedistributionStore, mark_days_of
from app.store.served_models import served_models
from app.store.true_up import mark_true_up_of
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

    Where no policy of the contract redistributes and it names no source of consumers, only days
    that have been redistributed wait. Days of closed periods are left alone.
    """
    mark_true_up_of(connection, window)
    if not redistributes(contract):
        mark_days_of(connection, window)
        return
    closed_ms = closed_before_ms(connection)
    days = billing_days(billing_zone, window.start_ms, window.end_ms)
    RedistributionStore(connection, billing_zone).mark(
        day for day in days if day.start_ms >= closed_ms
    )


def redistribute_days(
    contract: Contract,
    *,
    engine: Engine,
    billing_zone: tzinfo,
    models: Sequence[ModelEntry] = (),
) -> Redistributed:
    """Make the lines of every day that waits for them, each day in one transaction.

    A day is replaced whole and over all clusters; the same facts and charges give the same lines.
    What changes while a day is made leaves it waiting. Days of closed periods keep their lines.
    """
    with engine.begin() as connection:
        store = RedistributionStore(connection, billing_zone)
        closed_ms = closed_before_ms(connection)
        store.forget_other_zones(closed_ms)
        waiting = [one for one in store.marked() if one.day.start_ms >= closed_ms]
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
    facts = facts_of_day(connection, fresh.day, contract, models)
    lines = derived_lines(facts, contract)
    services = facts.shares.services
    teams = {one.team for service in services for one in service.consumers if one.team}
    fixed = {
        name for one in _policies(connection, fresh.day, contract) for name, _ in one.shared_percent
    }
    NameStore(connection).ensure_team_names(teams | fixed)
    store.replace(fresh.day, lines, {one.workload_id: one for one in services})
    _put_notes(connection, fresh.day, facts.shares)
    store.settle(fresh)
    return len(lines)


def facts_of_day(
    connection: Connection,
    day: BillingDay,
    contract: Contract,
    models: Sequence[ModelEntry] = (),
) -> DayFacts:
    """Return what a day's redistribution is made from, as it is stored.

    What no policy of the day asks for is not read.
    """
    shares = shares_of_day(connection, day, contract, models)
    served = [one.workload_id for one in shares.services]
    store, names = DayCostStore(connection), NameStore(connection)
    policies = _policies(connection, day, contract)
    whole = any(
        one.unallocated is not UnallocatedPolicy.PLATFORM or one.shared is not SharedPolicy.PLATFORM
        for one in policies
    )
    return DayFacts(
        day=day,
        costs=store.costs(day, served) if whole else store.costs_of(day, served),
        shares=shares,
        clusters=names.clusters(),
        namespaces=names.namespaces(),
        teams=names.teams(),
        metrics=measured_of_day(connection, day, contract),
    )


def measured_of_day(connection: Connection, day: BillingDay, contract: Contract) -> MeasuredDay:
    """Return what policies of the day weigh by beside money; nothing where none does."""
    wanted = any(one.shared is SharedPolicy.METRIC for one in _policies(connection, day, contract))
    return DayCostStore(connection).measured(day) if wanted else NOTHING_MEASURED


def _policies(connection: Connection, day: BillingDay, contract: Contract) -> list[Policies]:
    clusters = sorted(NameStore(connection).clusters().values())
    return policies_of(day, contract, clusters)


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
