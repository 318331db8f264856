"""Allot commitments over all clusters of a billing account, hour by hour."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Protocol

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from app.attribution.committed import capacity_for_commitments
from app.attribution.contract import Contract
from app.attribution.derived import credit_lines, money_charges, unused_lines
from app.attribution.redistribution import BillingDay
from app.attribution.tariffs import Place
from app.pricing.allotment import CAPACITY, Allotted, allot
from app.pricing.commitments import Commitment, active_commitments
from app.pricing.inputs import PriceInputs
from app.pricing.rows import PricedPool
from app.store.allotments import AllotmentStore
from app.store.commitments import AccountCluster, AccountStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.identity import cluster_id

# Raised by one when the same facts and inputs would be allotted otherwise.
_ALLOTMENT_VERSION = 1
# A cluster without an hour for so long has stopped: its account's hours wait for it no longer.
_STOPPED_MS = 7 * 24 * HOUR_MS

_HASH_BYTES = 32

_POOL_COLUMNS = (
    "window_start_ms",
    "node_id",
    "gpu_model_id",
    "start_ms",
    "end_ms",
    "devices",
)


class UsageReader(Protocol):
    """Facts of one cluster: the stored ones, or others that are to be rated in their place."""

    def pool_usage(self, window: Window, only: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return `frames.POOL_USAGE` of the window's hours."""

    def hold_usage(self, window: Window, only: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return `frames.HOLD_USAGE` of the window's hours."""

    def pool_energy(self, window: Window) -> pd.DataFrame:
        """Return `frames.POOL_ENERGY` of the window's hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHours:
    """What the commitments of one billing account give in some hours.

    ``waiting`` are hours in which the capacity of a cluster is not complete; nothing is allotted
    there.
    """

    account: str
    clusters: tuple[str, ...]
    result: Allotted
    waiting: frozenset[int]

    @property
    def line_cluster_id(self) -> int:
        """The cluster of the account's unused commitments: its only one, else 0."""
        return cluster_id(self.clusters[0]) if len(self.clusters) == 1 else 0

    def of(self, cluster: str) -> pd.DataFrame:
        """Return what is allotted to the pools of one cluster."""
        every = self.result.allotments
        return every[every["cluster_id"] == cluster_id(cluster)].reset_index(drop=True)


def allotted(
    connection: Connection,
    window: Window,
    inputs: PriceInputs,
    *,
    facts: Callable[[str], UsageReader] | None = None,
) -> tuple[AccountHours, ...]:
    """Return what every billing account's commitments give in the window, without storing it.

    ``facts`` gives the facts of a cluster in place of the stored ones.
    """
    read = facts or (lambda cluster: UsageStore(connection, cluster))
    return tuple(
        hours_of(connection, account, window, inputs, read) for account in accounts_of(connection)
    )


def unused_charges(
    accounts: Iterable[AccountHours],
    inputs: PriceInputs,
    contract: Contract,
    billing_zone: tzinfo,
) -> pd.DataFrame:
    """Return lines of what was not used as `CHARGES` with a column ``cluster_id``."""
    commitments = {one.price_id: one for one in inputs.commitments}
    lines = [
        line
        for one in accounts
        for line in unused_lines(
            one.result.hours,
            commitments,
            contract,
            billing_zone,
            cluster_id=one.line_cluster_id,
        )
    ]
    return money_charges(lines)


def credit_charges(
    days: Sequence[BillingDay], inputs: PriceInputs, contract: Contract
) -> pd.DataFrame:
    """Return the lines of credits on some days as `CHARGES` with a column ``cluster_id``."""
    return money_charges(credit_lines(inputs.credits, days, contract))


@dataclass(frozen=True, slots=True)
class ClusterAllotment:
    """What is allotted to one cluster; ``allotments`` is None where nothing is committed."""

    allotments: pd.DataFrame | None
    waiting: frozenset[int]


def allotment_of(
    connection: Connection,
    cluster: str,
    window: Window,
    inputs: PriceInputs,
    *,
    facts: Callable[[str], UsageReader] | None = None,
) -> ClusterAllotment:
    """Return what is allotted to a cluster: what is stored if it is of these inputs and facts.

    With ``facts`` it is always computed.
    """
    if not active_commitments(inputs.commitments, window.start_ms, window.end_ms):
        return ClusterAllotment(None, frozenset())
    account = next(
        (one for one in accounts_of(connection) if cluster in one.names), Account("", ())
    )
    own = {one.window.start_ms for one in WindowStore(connection, cluster).within(window)}
    if facts is None:
        state = state_of(connection, account, window, inputs)
        stored = AllotmentStore(connection, account.name).fingerprints(window)
        if all(stored.get(hour, b"")[:_HASH_BYTES] == one for hour, one in state.complete.items()):
            hours = [hour for hour, one in state.complete.items() if one]
            found = AllotmentStore(connection, account.name).within(hours, [cluster_id(cluster)])
            return ClusterAllotment(found, state.waiting & own)
    read = facts or (lambda name: UsageStore(connection, name))
    made = hours_of(connection, account, window, inputs, read)
    return ClusterAllotment(made.of(cluster), made.waiting & own)


@dataclass(frozen=True, slots=True)
class Account:
    """A billing account and its clusters, in the order of the settings."""

    name: str
    clusters: tuple[AccountCluster, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters' names."""
        return tuple(one.cluster for one in self.clusters)


@dataclass(frozen=True, slots=True)
class State:
    """The hours of an account that some cluster has: those complete with their fingerprints."""

    complete: dict[int, bytes]
    waiting: frozenset[int]


def accounts_of(connection: Connection) -> tuple[Account, ...]:
    """Return the billing accounts of all clusters that were ever collected, by name."""
    found: dict[str, list[AccountCluster]] = {}
    for one in AccountStore(connection).clusters():
        found.setdefault(one.account, []).append(one)
    return tuple(Account(name, tuple(found[name])) for name in sorted(found))


def state_of(
    connection: Connection, account: Account, window: Window, inputs: PriceInputs
) -> State:
    """Return which hours are complete, each with a hash of what its allotment is made from."""
    revisions: dict[str, dict[int, int]] = {}
    lives: dict[str, tuple[int, int]] = {}
    for name in account.names:
        store = WindowStore(connection, name)
        revisions[name] = {state.window.start_ms: state.revision for state in store.within(window)}
        life = store.first_and_last_ms()
        if life is not None:
            lives[name] = life
    ours = [one for one in inputs.commitments if one.billing_account == account.name]
    complete: dict[int, bytes] = {}
    waiting: set[int] = set()
    for hour in sorted({hour for known in revisions.values() for hour in known}):
        active = active_commitments(ours, hour, hour + HOUR_MS)
        have = [(one, revisions[one.cluster].get(hour, 0)) for one in account.clusters]
        if active and any(
            hour not in revisions[name] and first <= hour <= last + _STOPPED_MS
            for name, (first, last) in lives.items()
        ):
            waiting.add(hour)
        else:
            complete[hour] = _fingerprint(inputs.version, active, have) if active else b""
    return State(complete, frozenset(waiting))


def _fingerprint(
    version: int,
    commitments: Iterable[Commitment],
    clusters: Iterable[tuple[AccountCluster, int]],
) -> bytes:
    parts = [
        f"{_ALLOTMENT_VERSION} {version}",
        *(f"{one.price_id} {one.payer}" for one in commitments),
        *(f"{one.cluster} {one.place} {revision}" for one, revision in clusters),
    ]
    return hashlib.sha256("\n".join(parts).encode()).digest()


def hours_of(
    connection: Connection,
    account: Account,
    window: Window,
    inputs: PriceInputs,
    read: Callable[[str], UsageReader],
    only: Collection[int] | None = None,
) -> AccountHours:
    """Return what the account's commitments give in its complete hours, or in ``only`` those."""
    state = state_of(connection, account, window, inputs)
    hours = sorted(hour for hour, one in state.complete.items() if one)
    if only is not None:
        hours = [hour for hour in hours if hour in only]
    ours = active_commitments(
        [one for one in inputs.commitments if one.billing_account == account.name],
        window.start_ms,
        window.end_ms,
    )
    capacity, places = (
        _capacity(connection, account, hours, inputs, ours, read) if hours else (_NO_CAPACITY, ())
    )
    return AccountHours(
        account=account.name,
        clusters=account.names,
        result=allot(ours, hours, capacity, places),
        waiting=state.waiting,
    )


_NO_CAPACITY = pd.DataFrame({name: np.zeros(0, dtype=np.int64) for name in CAPACITY.columns})


def _capacity(
    connection: Connection,
    account: Account,
    hours: Sequence[int],
    inputs: PriceInputs,
    commitments: Sequence[Commitment],
    read: Callable[[str], UsageReader],
) -> tuple[pd.DataFrame, tuple[PricedPool, ...]]:
    """Return the device time of all clusters of the account."""
    span = Window(from_ms(hours[0]), from_ms(hours[-1] + HOUR_MS))
    models = NameStore(connection).gpu_models()
    parts: list[pd.DataFrame] = []
    places: list[PricedPool] = []
    for rank, name in enumerate(account.names):
        usage = read(name).pool_usage(span, _POOL_COLUMNS)
        usage = usage[usage["window_start_ms"].isin(hours)]
        place = Place(
            cluster=name, nodes=InventoryStore(connection, name).nodes(), gpu_models=models
        )
        part, found = capacity_for_commitments(
            usage, place, inputs.book, commitments, cluster_id=cluster_id(name), rank=rank
        )
        parts.append(part.assign(place=part["place"] + len(places)))
        places += found
    return pd.concat(parts, ignore_index=True), tuple(places)
