"""The full ledger of a billing day by given inputs, made from the last facts and not stored."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection, Engine

from app.attribution.adjustments import UNADJUSTED_STEPS, differences
from app.attribution.derived_lines import derived_lines
from app.attribution.redistribution import BillingDay
from app.pricing.commitments import active_commitments
from app.store.adjustments import AdjustmentStore, in_closed_hours, united
from app.store.charges import ChargeStore
from app.store.late_facts import LateFactsStore
from app.store.money_lines import MoneyLineStore
from app.store.naming import NameStore
from app.store.redistribution import RedistributionStore
from app.store.scratch import ScratchLedger
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.window import Window
from app.usage.models import ModelEntry
from app.workflows.allotting import AccountHours, allotted, credit_charges, unused_charges
from app.workflows.rating import Terms, rated
from app.workflows.redistributing import facts_of_day

# By which inputs the hour that begins at an instant is charged; None before all closed periods.
TermsOfHour = Callable[[int], Terms | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayDifference:
    """What a billing day's lines would change by (`LEDGER_LINES`), and the teams they name."""

    day: BillingDay
    lines: pd.DataFrame
    teams: tuple[str, ...]


def day_difference(
    day: BillingDay,
    terms_of: TermsOfHour,
    *,
    engine: Engine,
    billing_zone: ZoneInfo,
    closed_before_ms: int,
    models: Sequence[ModelEntry] = (),
    already: pd.DataFrame | None = None,
) -> DayDifference:
    """Return the day's ledger by the last facts less what is charged and posted so far.

    First-hand lines of all clusters, unused commitments, the redistribution and credits are made
    again, in a transaction that is rolled back; true-up lines are left alone. Only hours before
    ``closed_before_ms`` count, a day that reaches beyond them is left without redistribution.
    ``already`` are lines that are about to be posted as well.
    """
    with engine.connect() as connection:
        store = AdjustmentStore(connection, billing_zone)
        # What bills brought rests on documents as well: no delivery takes it back.
        posted = store.posted(day)
        booked = [store.charged(day), posted[~posted["step"].isin(UNADJUSTED_STEPS)]]
    if already is not None:
        booked.append(already)
    with engine.connect() as connection, connection.begin() as transaction:
        ScratchLedger(connection, day.touched, LateFactsStore(connection).newest(day.touched))
        for hours, terms in _spans(day, terms_of, closed_before_ms):
            _rate_all(connection, hours, terms, billing_zone)
        terms_of_day = terms_of(day.hours.start_ms)
        if day.hours.start_ms < closed_before_ms and terms_of_day is not None:
            contract = terms_of_day.contract
            facts = facts_of_day(connection, day, contract, models)
            lines = derived_lines(facts, contract)
            RedistributionStore(connection, billing_zone).append(day, lines)
            NameStore(connection).ensure_team_names(
                one.team
                for service in facts.shares.services
                for one in service.consumers
                if one.team
            )
            _credit(connection, day, terms_of_day, billing_zone)
        last = AdjustmentStore(connection, billing_zone).charged(day)
        names = NameStore(connection).teams()
        transaction.rollback()
    changed = differences(
        in_closed_hours(last, closed_before_ms), in_closed_hours(united(booked), closed_before_ms)
    )
    found = {names[key] for key in changed["team_id"].unique().tolist() if key in names}
    return DayDifference(day=day, lines=changed, teams=tuple(sorted(found)))


def _rate_all(connection: Connection, hours: Window, terms: Terms, zone: ZoneInfo) -> None:
    """Write the first-hand lines of all clusters, and the commitments that nobody used."""

    def facts(cluster: str) -> UsageStore:
        return UsageStore(connection, cluster)

    names = NameStore(connection)
    accounts: tuple[AccountHours, ...] = ()
    if active_commitments(terms.inputs.commitments, hours.start_ms, hours.end_ms):
        accounts = allotted(connection, hours, terms.inputs, facts=facts)
        names.ensure_team_names(one.payer for one in terms.inputs.commitments)
    for cluster in sorted(names.clusters().values()):
        allotments = next((one.of(cluster) for one in accounts if cluster in one.clusters), None)
        made = rated(
            connection,
            cluster,
            hours,
            terms,
            zone,
            facts=facts(cluster),
            allotments=allotments,
        )
        ChargeStore(connection, cluster, zone).append(made.charges)
        names.ensure_team_names(made.teams)
    unused = unused_charges(accounts, terms.inputs, terms.contract, zone)
    names.ensure_team_names(one.team for one in terms.contract.platform)
    MoneyLineStore(connection, zone).append(unused)


def _credit(connection: Connection, day: BillingDay, terms: Terms, zone: ZoneInfo) -> None:
    """Write the credits of a day of which any hour was collected."""
    credited = terms.inputs.credits
    names = NameStore(connection)
    clusters = names.clusters().values() if credited else ()
    if any(WindowStore(connection, cluster).within(day.touched) for cluster in clusters):
        names.ensure_team_names(one.team for one in credited)
        names.ensure_team_names(one.team for one in terms.contract.platform)
        lines = credit_charges([day], terms.inputs, terms.contract)
        MoneyLineStore(connection, zone).append(lines)


def _spans(
    day: BillingDay, terms_of: TermsOfHour, closed_before_ms: int
) -> Iterator[tuple[Window, Terms]]:
    """Yield stretches of the day's closed hours that are charged by the same inputs."""
    charged = [
        (hour, terms)
        for hour in day.touched.hours()
        if hour.start_ms < closed_before_ms and (terms := terms_of(hour.start_ms)) is not None
    ]
    for _, same in groupby(charged, key=lambda one: one[1].versions):
        stretch = list(same)
        yield Window(stretch[0][0].start, stretch[-1][0].end), stretch[0][1]
