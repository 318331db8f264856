"""Store what commitments and credits give, and let the hours that it changes wait for a rating."""

from collections.abc import Collection, Iterable, Mapping
from datetime import tzinfo

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine

from app.attribution.charges import ChargeKind, LineStep
from app.attribution.contract import Contract
from app.attribution.derived import money_charges, unused_lines
from app.attribution.redistribution import billing_days
from app.pricing.allotment import ALLOTMENTS
from app.pricing.commitments import Commitment, active_commitments
from app.pricing.inputs import PriceInputs
from app.store.allotments import AllotmentStore, in_order
from app.store.locking import lock
from app.store.money_lines import MoneyLineStore
from app.store.naming import NameStore
from app.store.periods import closed_before_ms
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.identity import cluster_id
from app.workflows.allotting import (
    Account,
    AccountHours,
    accounts_of,
    allotted,
    credit_charges,
    hours_of,
    state_of,
    unused_charges,
)
from app.workflows.redistributing import mark_days

_DAY_MS = 24 * HOUR_MS


def allot_window(
    window: Window,
    inputs: PriceInputs,
    contract: Contract,
    *,
    engine: Engine,
    billing_zone: tzinfo,
) -> None:
    """Store what commitments and credits give in the window's open hours, in one transaction.

    Hours whose clusters, facts and inputs are those of the stored allotment stay as they are. Where
    an hour of any cluster gets another allotment, that hour waits for a rating. Nothing is written
    while there are neither commitments nor credits.
    """
    with engine.begin() as connection:
        start_ms = max(window.start_ms, -(-closed_before_ms(connection) // HOUR_MS) * HOUR_MS)
        if start_ms >= window.end_ms:
            return
        window = Window(from_ms(start_ms), window.end)
        for account in accounts_of(connection):
            _store(connection, account, window, inputs, contract, billing_zone)
        _store_credits(connection, window, inputs, contract, billing_zone)


def unused_before_and_after(
    connection: Connection,
    hours: Collection[int],
    inputs: PriceInputs,
    contract: Contract,
    billing_zone: tzinfo,
) -> tuple[dict[int, int], dict[int, int]]:
    """Return by team what is stored as unused in some hours, and what it would be."""
    before = MoneyLineStore(connection, billing_zone).by_team(LineStep.COMMITMENT, hours)
    after: dict[int, int] = {}
    # A day at a time: the capacity of all clusters is read for it.
    days = sorted({hour // _DAY_MS for hour in hours})
    for day in days:
        window = Window(from_ms(day * _DAY_MS), from_ms((day + 1) * _DAY_MS))
        accounts = allotted(connection, window, inputs)
        lines = unused_charges(accounts, inputs, contract, billing_zone)
        lines = lines[lines["window_start_ms"].isin(hours)]
        for team, nanos in zip(lines["team_id"], lines["cost_nanos"], strict=True):
            after[int(team)] = after.get(int(team), 0) + int(nanos)
    return before, after


def _with_payer(fingerprint: bytes, contract: Contract, hour: int) -> bytes:
    """Add who pays for what is unused, which no allotment to a cluster rests on."""
    platform = contract.platform_at(hour)
    return fingerprint + (platform.team.encode() if platform and fingerprint else b"")


def _store(
    connection: Connection,
    account: Account,
    window: Window,
    inputs: PriceInputs,
    contract: Contract,
    billing_zone: tzinfo,
) -> None:
    """Store the hours of an account whose allotment is not the one that is stored."""
    store = AllotmentStore(connection, account.name)
    ours = [one for one in inputs.commitments if one.billing_account == account.name]
    if not active_commitments(ours, window.start_ms, window.end_ms) and not store.fingerprints(
        window
    ):
        return
    lock(connection, "allotment", account.name)
    state, stored = state_of(connection, account, window, inputs), store.fingerprints(window)
    marked = {hour: _with_payer(one, contract, hour) for hour, one in state.complete.items()}
    stale = {hour: one for hour, one in marked.items() if stored.get(hour, b"") != one}
    # Hours that a cluster has joined, or whose commitments are gone, lose what they had.
    stale |= {hour: b"" for hour in stored if hour not in state.complete}
    if not stale:
        return
    span = Window(from_ms(min(stale)), from_ms(max(stale) + HOUR_MS))
    fresh = hours_of(
        connection,
        account,
        span,
        inputs,
        lambda cluster: UsageStore(connection, cluster),
        stale.keys(),
    )
    clusters = {cluster_id(name): name for name in account.names}
    moved = _moved(
        store.within(stale, clusters), in_order(fresh.result.allotments), clusters.keys()
    )
    _write_unused(connection, fresh, stale.keys(), inputs, contract, billing_zone)
    mark_days(connection, span, contract, billing_zone)
    store.replace(span, stale, clusters, fresh.result.allotments, fresh.result.hours)
    # In the order of names, as everybody marks hours.
    for identity in sorted(moved, key=clusters.__getitem__):
        for hour in sorted(moved[identity]):
            WindowStore(connection, clusters[identity]).mark(hour, hour + HOUR_MS)


def _moved(
    before: pd.DataFrame, after: pd.DataFrame, clusters: Collection[int]
) -> dict[int, set[int]]:
    """Return by cluster the hours whose allotment is another one."""
    moved: dict[int, set[int]] = {}
    for cluster in sorted(clusters):
        parts = [_by_hour(one[one["cluster_id"] == cluster]) for one in (before, after)]
        hours = {
            hour
            for hour in parts[0].keys() | parts[1].keys()
            if parts[0].get(hour) != parts[1].get(hour)
        }
        if hours:
            moved[cluster] = hours
    return moved


def _by_hour(rows: pd.DataFrame) -> dict[int, bytes]:
    values = rows[[*ALLOTMENTS.columns]].to_numpy(dtype=np.int64)
    starts, first = np.unique(values[:, 0], return_index=True)
    parts = np.split(values, first[1:])
    return {int(start): part.tobytes() for start, part in zip(starts, parts, strict=False)}


def _write_unused(
    connection: Connection,
    fresh: AccountHours,
    hours: Collection[int],
    inputs: PriceInputs,
    contract: Contract,
    billing_zone: tzinfo,
) -> None:
    """Store the lines of what was not used, in place of those of the account's hours."""
    known = {one.price_id: one for one in inputs.commitments}
    lines = money_charges(
        unused_lines(
            fresh.result.hours, known, contract, billing_zone, cluster_id=fresh.line_cluster_id
        )
    )
    store = MoneyLineStore(connection, billing_zone)
    days = billing_days(billing_zone, min(hours), max(hours) + HOUR_MS)
    clusters = {0, *(cluster_id(name) for name in fresh.clusters)}
    store.lock(clusters, days)
    NameStore(connection).ensure_team_names(_teams(lines, known.values(), contract))
    # Lines without a cluster are of every account that has several.
    ours = AllotmentStore(connection, fresh.account).price_ids(hours)
    ours |= {one.price_id for one in known.values() if one.billing_account == fresh.account}
    store.replace(LineStep.COMMITMENT, hours, clusters, lines, price_ids=ours)
    store.sum_up(ChargeKind.COMMITMENT_UNUSED, clusters, days)


def _teams(lines: pd.DataFrame, commitments: Iterable[Commitment], contract: Contract) -> set[str]:
    """Return the names of teams that lines may name."""
    names = {one.payer for one in commitments} | {one.team for one in contract.platform}
    return names - {""} if len(lines) else set()


def _store_credits(
    connection: Connection,
    window: Window,
    inputs: PriceInputs,
    contract: Contract,
    billing_zone: tzinfo,
) -> None:
    """Store the credits of the days that the window touches, if there are or were any."""
    days = [
        day
        for day in billing_days(billing_zone, window.start_ms, window.end_ms)
        if day.start_ms >= closed_before_ms(connection)
    ]
    store = MoneyLineStore(connection, billing_zone)
    lines = credit_charges(days, inputs, contract)
    spans = [day for day in days if len(lines) or store.has_any(LineStep.CREDIT, {0}, day.hours)]
    if not spans:
        return
    store.lock({0}, spans)
    teams: Mapping[str, None] = dict.fromkeys(
        [one.team for one in inputs.credits] + [one.team for one in contract.platform]
    )
    NameStore(connection).ensure_team_names(teams)
    hours = [day.hours.start_ms for day in spans]
    store.replace(LineStep.CREDIT, hours, {0}, lines)
    store.sum_up(ChargeKind.ADJUSTMENT, {0}, spans)
