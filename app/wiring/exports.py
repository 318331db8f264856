"""Exports of the ledger to files: FOCUS and the journal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.chargeback.focus_statement import FocusNames
from app.chargeback.journal import Posting
from app.chargeback.tables import Table, csv_bytes
from app.delivery.files import write_whole
from app.delivery.focus_files import check_folder, check_suffix, write_focus
from app.settings import Settings
from app.units.window import to_ms
from app.wiring.closing import billing_terms
from app.wiring.ledger import Ledger
from app.workflows.closing import CloseOrder, preview
from app.workflows.exporting import ExportQuestion, FocusExport, focus_export
from app.workflows.journaling import AccountNames, period_journal, provisional_journal


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """What was written, and beside it what no price covers (None: nothing)."""

    export: FocusExport
    path: Path
    unpriced_path: Path | None


def focus_names(settings: Settings) -> FocusNames:
    """Return what the platform calls itself in files."""
    return FocusNames(
        issuer=settings.focus.issuer,
        service=settings.focus.service,
        hosts=settings.focus.hosts,
        currency=settings.currency,
    )


def export_focus(ledger: Ledger, question: ExportQuestion, path: Path) -> ExportedFile:
    """Write a FOCUS file, and beside it what is not in it; the list is written first."""
    check_suffix(path)
    check_folder(path)
    # What is read belongs together: a rating or a closing meanwhile must not be in half of it.
    with ledger.engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        found = focus_export(
            connection, question, focus_names(ledger.settings), zone=ledger.settings.zone
        )
    beside = path.with_name(f"{path.name}.unpriced.csv")
    with _put_back(beside):
        if found.unpriced.rows:
            write_whole(beside, csv_bytes(found.unpriced))
        else:
            # One of an earlier export would speak of this file.
            beside.unlink(missing_ok=True)
        write_focus(path, found.profile, found.columns)
    return ExportedFile(
        export=found, path=path, unpriced_path=beside if found.unpriced.rows else None
    )


def export_journal(ledger: Ledger, period: str, path: Path, posting: Posting) -> Table:
    """Write a period's journal; of an open period only if a provisional one is asked for."""
    check_folder(path)
    names = AccountNames(
        expense=ledger.settings.focus.expense_account,
        recovery=ledger.settings.focus.recovery_account,
    )
    zone = ledger.settings.zone
    if posting is Posting.PROVISIONAL:
        order = CloseOrder(period=period, author="provisional", at_ms=to_ms(ledger.now()))
        closed = preview(order, billing_terms(ledger.settings), engine=ledger.engine)
        with ledger.engine.connect() as connection:
            table = provisional_journal(
                connection, closed.period, closed.statements, names, zone=zone
            )
    else:
        with ledger.engine.connect() as connection:
            table = period_journal(connection, period, names, zone=zone)
    write_whole(path, csv_bytes(table))
    return table


@contextmanager
def _put_back(path: Path) -> Iterator[None]:
    """Leave a file as it was if what is done meanwhile fails."""
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        if before is not None:
            write_whole(path, before)
        raise
