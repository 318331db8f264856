"""Providers' bills: every version as it was imported, and the rows of those that count."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import psycopg
from sqlalchemy import Connection, Row, and_, func, insert, select

from app.attribution.provider_bills import Bill, BillRow, ChargeCategory, NodeLife
from app.store.engine import named_failures
from app.store.locking import lock
from app.store.naming import NameStore
from app.store.tables.inventory import NODES
from app.store.tables.provider_bills import (
    PROVIDER_BILL_ROWS,
    PROVIDER_BILL_SUMS,
    PROVIDER_BILLS,
)
from app.units.window import OPEN_MS, from_ms
from app.usage.identity import MADE_UP_UID

_ROWS_AT_ONCE = 10_000
_ROW_COLUMNS = (
    *("bill_id", "row_number", "charge_start", "charge_end", "category", "unused", "compute"),
    *("service", "resource_id", "resource_name", "tags", "columns", "effective_nanos"),
)
_HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBill:
    """A version of a bill; totals are exact in its own ``currency``, nanos in the billing one.

    ``superseded`` says that a later version counts in its place.
    """

    bill: Bill
    version: int
    imported_ms: int
    file_names: str
    sha256: str
    spec: str
    columns: tuple[str, ...]
    currency: str
    row_count: int
    kept_count: int
    billed_total: Decimal
    effective_total: Decimal
    effective_nanos: int
    superseded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSum:
    """What else of one service is on a bill."""

    bill_id: int
    service_category: str
    service: str
    category: ChargeCategory
    row_count: int
    nanos: int


class ProviderBillStore:
    """All versions of all providers' bills."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self) -> None:
        """Wait until no other import is under way; keep others waiting for the transaction."""
        lock(self._connection, "provider bills")

    def all(self) -> tuple[StoredBill, ...]:
        """Return every version, by provider, account, period and version."""
        table = PROVIDER_BILLS
        rows = self._connection.execute(
            select(table).order_by(
                table.c.provider, table.c.billing_account, table.c.period_start, table.c.version
            )
        ).all()
        last = {(row.provider, row.billing_account, row.period_start): row.version for row in rows}
        return tuple(
            _bill(row, last[row.provider, row.billing_account, row.period_start]) for row in rows
        )

    def current(self) -> tuple[StoredBill, ...]:
        """Return the last version of every bill."""
        return tuple(one for one in self.all() if not one.superseded)

    def write_rows(self, rows: Iterable[tuple[BillRow, str]]) -> int:
        """Append rows, each with the JSON of its columns; return how many.

        They count once `put` has said whose bill they are on, in the same transaction.
        """
        driver = cast("psycopg.Connection[Any]", self._connection.connection.driver_connection)
        statement = f"COPY provider_bill_rows ({', '.join(_ROW_COLUMNS)}) FROM STDIN"
        count = 0
        with (
            named_failures(self._connection),
            driver.cursor() as cursor,
            cursor.copy(cast("Any", statement)) as copy,
        ):
            for row, columns in rows:
                count += 1
                copy.write_row(
                    (
                        row.bill_id,
                        row.number,
                        from_ms(row.start_ms),
                        from_ms(row.end_ms),
                        int(row.category),
                        row.unused,
                        row.compute,
                        row.service,
                        row.resource_id,
                        row.resource_name,
                        json.dumps(dict(row.tags), ensure_ascii=False) if row.tags else "",
                        columns,
                        row.nanos,
                    )
                )
        return count

    def put(self, stored: StoredBill, sums: Sequence[ServiceSum]) -> None:
        """Store a version of a bill, and the sums of what is not kept row by row."""
        bill = stored.bill
        self._connection.execute(
            insert(PROVIDER_BILLS).values(
                bill_id=bill.bill_id,
                provider=bill.provider,
                billing_account=bill.billing_account,
                period_start=bill.start_ms,
                period_end=bill.end_ms,
                version=stored.version,
                imported_at=stored.imported_ms,
                covered_until=bill.covered_until_ms,
                file_names=stored.file_names,
                sha256=stored.sha256,
                spec=stored.spec,
                columns=",".join(stored.columns),
                currency=stored.currency,
                row_count=stored.row_count,
                kept_count=stored.kept_count,
                billed_total=stored.billed_total,
                effective_total=stored.effective_total,
                effective_nanos=stored.effective_nanos,
            )
        )
        if sums:
            self._connection.execute(
                insert(PROVIDER_BILL_SUMS),
                [
                    {
                        "bill_id": one.bill_id,
                        "service_category": one.service_category,
                        "service": one.service,
                        "category": int(one.category),
                        "row_count": one.row_count,
                        "effective_nanos": one.nanos,
                    }
                    for one in sums
                ],
            )

    def rows(
        self, bill_ids: Collection[int], span_ms: tuple[int, int] | None = None
    ) -> Iterator[BillRow]:
        """Yield the kept rows of bills in order; with a span only those that meet it."""
        table = PROVIDER_BILL_ROWS
        statement = select(*(table.c[name] for name in _ROW_COLUMNS if name != "columns")).where(
            table.c.bill_id.in_(sorted(bill_ids))
        )
        if span_ms is not None:
            start_ms, end_ms = span_ms
            statement = statement.where(
                and_(table.c.charge_start < end_ms, table.c.charge_end > start_ms)
            )
        statement = statement.order_by(table.c.bill_id, table.c.row_number)
        tags: dict[str, tuple[tuple[str, str], ...]] = {"": ()}
        for row in self._connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE)):
            if row.tags not in tags:
                tags[row.tags] = tuple(sorted(json.loads(row.tags).items()))
            yield BillRow(
                bill_id=row.bill_id,
                number=row.row_number,
                start_ms=row.charge_start,
                end_ms=row.charge_end,
                category=ChargeCategory(row.category),
                nanos=row.effective_nanos,
                unused=row.unused,
                compute=row.compute,
                service=row.service,
                resource_id=row.resource_id,
                resource_name=row.resource_name,
                tags=tags[row.tags],
            )

    def spans(self, bill_ids: Collection[int]) -> tuple[tuple[int, int], ...]:
        """Return from when until when the kept rows of each bill are, where it has any."""
        table = PROVIDER_BILL_ROWS
        rows = self._connection.execute(
            select(func.min(table.c.charge_start), func.max(table.c.charge_end))
            .where(table.c.bill_id.in_(sorted(bill_ids)))
            .group_by(table.c.bill_id)
        )
        return tuple(sorted((row[0], row[1]) for row in rows))

    def origin(self, bill_id: int, numbers: Collection[int]) -> dict[int, dict[str, str]]:
        """Return rows as the provider wrote them, by number: their columns that are not null."""
        table = PROVIDER_BILL_ROWS
        rows = self._connection.execute(
            select(table.c.row_number, table.c.columns)
            .where(table.c.bill_id == bill_id, table.c.row_number.in_(sorted(numbers)))
            .order_by(table.c.row_number)
        )
        return {row.row_number: json.loads(row.columns) for row in rows}

    def sums(self, bill_ids: Collection[int]) -> tuple[ServiceSum, ...]:
        """Return what else is on the bills, by service."""
        table = PROVIDER_BILL_SUMS
        rows = self._connection.execute(
            select(table)
            .where(table.c.bill_id.in_(sorted(bill_ids)))
            .order_by(*(column for column in table.primary_key))
        )
        return tuple(
            ServiceSum(
                bill_id=row.bill_id,
                service_category=row.service_category,
                service=row.service,
                category=ChargeCategory(row.category),
                row_count=row.row_count,
                nanos=row.effective_nanos,
            )
            for row in rows
        )

    def kept_sums(self, bill_id: int) -> tuple[ServiceSum, ...]:
        """Return what is on a bill row by row, by service; without the service's category."""
        table = PROVIDER_BILL_ROWS
        rows = self._connection.execute(
            select(
                table.c.service,
                table.c.category,
                func.count().label("row_count"),
                func.sum(table.c.effective_nanos).label("nanos"),
            )
            .where(table.c.bill_id == bill_id)
            .group_by(table.c.service, table.c.category)
            .order_by(table.c.service, table.c.category)
        )
        return tuple(
            ServiceSum(
                bill_id=bill_id,
                service_category="",
                service=row.service,
                category=ChargeCategory(row.category),
                row_count=row.row_count,
                nanos=int(row.nanos),
            )
            for row in rows
        )

    def node_lives(self) -> tuple[NodeLife, ...]:
        """Return every node that was ever seen; its own UID wins over a made-up one."""
        clusters = NameStore(self._connection).clusters()
        rows = self._connection.execute(
            select(
                *(NODES.c[name] for name in ("cluster_id", "node_id", "uid", "name")),
                *(NODES.c[name] for name in ("provider_id", "created_at", "deleted_at")),
                NODES.c.labels[_HOSTNAME].astext.label("hostname"),
            ).order_by(NODES.c.uid.startswith(MADE_UP_UID, autoescape=True).desc(), NODES.c.uid)
        )
        lives = {
            (row.cluster_id, row.name, row.created_at): NodeLife(
                cluster_id=row.cluster_id,
                cluster=clusters.get(row.cluster_id, ""),
                node_id=row.node_id,
                name=row.name,
                provider_id=row.provider_id,
                hostname=row.hostname or "",
                created_ms=row.created_at,
                deleted_ms=OPEN_MS if row.deleted_at is None else row.deleted_at,
            )
            for row in rows
        }
        return tuple(lives[key] for key in sorted(lives))


def _bill(row: Row[Any], last_version: int) -> StoredBill:
    return StoredBill(
        bill=Bill(
            bill_id=row.bill_id,
            provider=row.provider,
            billing_account=row.billing_account,
            start_ms=row.period_start,
            end_ms=row.period_end,
            covered_until_ms=row.covered_until,
        ),
        version=row.version,
        imported_ms=row.imported_at,
        file_names=row.file_names,
        sha256=row.sha256,
        spec=row.spec,
        columns=tuple(row.columns.split(",")),
        currency=row.currency,
        row_count=row.row_count,
        kept_count=row.kept_count,
        billed_total=row.billed_total,
        effective_total=row.effective_total,
        effective_nanos=row.effective_nanos,
        superseded=row.version < last_version,
    )
