"""Commitments at every version, the clusters of billing accounts, and what each hour used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.pricing.commitment_use import CommitmentUse
from app.pricing.commitments import (
    AllotmentRule,
    Commitment,
    CommitmentKind,
    CommitmentUnit,
)
from app.store.dated_rows import RowKind, Taken, read, take
from app.store.price_versions import ImportKind, ImportNote
from app.store.tables.commitments import CLUSTER_ACCOUNTS, COMMITMENT_HOURS, COMMITMENTS
from app.store.tables.names import CLUSTERS
from app.units.window import Window, from_ms
from app.usage.identity import cluster_id

_TEXTS = (
    "commitment",
    "name",
    "billing_account",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "currency",
    "payer",
    "source",
)
_AMOUNTS = ("quantity", "upfront", "recurring_per_hour", "discount_ratio")


def _stored(one: Commitment) -> dict[str, object]:
    return {
        "price_id": one.price_id,
        **{name: getattr(one, name) for name in (*_TEXTS, *_AMOUNTS)},
        "type": one.kind.value,
        "unit": one.unit.value,
        "allotment": one.allotment.value,
        "clusters": list(one.clusters),
        "term_start": one.term_start_ms,
        "term_end": one.term_end_ms,
    }


def _value(row: Row[Any]) -> Commitment:
    fields = row._mapping  # noqa: SLF001 SQLAlchemy's documented name
    return Commitment(
        kind=CommitmentKind(row.type),
        unit=CommitmentUnit(row.unit),
        allotment=AllotmentRule(row.allotment),
        clusters=tuple(row.clusters),
        term_start_ms=row.term_start,
        term_end_ms=row.term_end,
        **{name: fields[name] for name in _TEXTS},
        quantity=_amount(row, "quantity"),
        upfront=_amount(row, "upfront"),
        recurring_per_hour=_amount(row, "recurring_per_hour"),
        discount_ratio=_amount(row, "discount_ratio"),
    )


def _amount(row: Row[Any], name: str) -> Decimal:
    return Decimal(row._mapping[name]).normalize()  # noqa: SLF001 SQLAlchemy's documented name


_KIND: RowKind[Commitment] = RowKind(
    kind=ImportKind.COMMITMENTS,
    table=COMMITMENTS,
    id_column="price_id",
    order=("commitment", "term_start"),
    stored=_stored,
    value=_value,
    slot=lambda one: (one.commitment, one.term_start_ms),
    key=lambda one: one.commitment,
    span=lambda one: (one.term_start_ms, one.term_end_ms),
    facts=lambda one: one,
    words=lambda one: (
        f"the commitment {one.commitment} from {from_ms(one.term_start_ms).isoformat()}"
        f" to {from_ms(one.term_end_ms).isoformat()}"
    ),
    only={},
)


class CommitmentStore:
    """All versions of the commitments."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, version: int | None = None) -> tuple[Commitment, ...]:
        """Return the commitments of a version, of the last one by default, in a fixed order."""
        return read(self._connection, _KIND, version)

    def take(self, commitments: Sequence[Commitment], note: ImportNote) -> Taken[Commitment]:
        """Add commitments, all or none; one with the same id and start supersedes what is there.

        Any other overlap of two with one id is a `PriceOverlapError`.
        """
        return take(self._connection, _KIND, commitments, note)

    def by_price_id(self, price_id: int) -> Commitment | None:
        """Return the commitment that a charge names, also one that was superseded."""
        row = self._connection.execute(
            select(COMMITMENTS)
            .where(COMMITMENTS.c.price_id == price_id)
            .order_by(COMMITMENTS.c.version)
            .limit(1)
        ).one_or_none()
        return None if row is None else _value(row)

    def by_price_ids(self, price_ids: Iterable[int]) -> dict[int, Commitment]:
        """Return commitments by the identities that charges name, superseded ones too."""
        rows = self._connection.execute(
            select(COMMITMENTS)
            .where(COMMITMENTS.c.price_id.in_(sorted(price_ids)))
            .order_by(COMMITMENTS.c.version)
        )
        return {row.price_id: _value(row) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCluster:
    """A cluster, the account that pays for it, and its place in the settings."""

    cluster: str
    account: str
    place: int


class AccountStore:
    """Which billing account pays for which cluster, as the settings last said."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, accounts: Mapping[str, str]) -> bool:
        """Keep the accounts of the configured clusters, in their order; others are taken off.

        Return whether that is news.
        """
        table = CLUSTER_ACCOUNTS
        rows = [
            {"cluster_id": cluster_id(name), "billing_account": account, "place": place}
            for place, (name, account) in enumerate(accounts.items())
        ]
        stored = self._connection.execute(select(table).order_by(table.c.place)).all()
        if [row._asdict() for row in stored] == rows:
            return False
        self._connection.execute(
            delete(table).where(table.c.cluster_id.not_in([row["cluster_id"] for row in rows]))
        )
        if rows:
            statement = upsert(table)
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["cluster_id"],
                    set_={name: statement.excluded[name] for name in ("billing_account", "place")},
                ),
                sorted(rows, key=itemgetter("cluster_id")),
            )
        return True

    def clusters(self) -> tuple[AccountCluster, ...]:
        """Return every cluster that was ever collected, by place, then by name.

        One that the settings do not name belongs to the account '' and comes last.
        """
        accounts, names = CLUSTER_ACCOUNTS, CLUSTERS
        last = select(func.count()).select_from(accounts).scalar_subquery()
        rows = self._connection.execute(
            select(
                names.c.name,
                func.coalesce(accounts.c.billing_account, "").label("account"),
                func.coalesce(accounts.c.place, last).label("place"),
            )
            .select_from(names.outerjoin(accounts, accounts.c.cluster_id == names.c.cluster_id))
            .order_by("place", names.c.name)
        )
        return tuple(
            AccountCluster(cluster=row.name, account=row.account, place=row.place) for row in rows
        )


_SUMS = (
    "committed",
    "used",
    "eligible_ms",
    "covered_ms",
    "eligible_nanos",
    "covered_nanos",
    "cost_nanos",
    "used_nanos",
)


def commitment_use(connection: Connection, window: Window) -> tuple[CommitmentUse, ...]:
    """Return by commitment what the allotted hours of the window sum to."""
    table = COMMITMENT_HOURS
    rows = connection.execute(
        select(
            table.c.price_id,
            func.min(table.c.billing_account).label("account"),
            func.count().label("hours"),
            *(func.sum(table.c[name]).label(name) for name in _SUMS),
        )
        .where(
            table.c.cluster_id == 0,
            table.c.window_start >= window.start_ms,
            table.c.window_start < window.end_ms,
        )
        .group_by(table.c.price_id)
        .order_by(table.c.price_id)
    )
    return tuple(
        CommitmentUse(
            price_id=row.price_id,
            account=row.account,
            hours=row.hours,
            **{name: int(row._mapping[name]) for name in _SUMS},  # noqa: SLF001 documented name
        )
        for row in rows
    )
