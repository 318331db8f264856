"""What finance waits for: the weekly statement, the FOCUS export, closing and comparing a month."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy.engine import URL

from app.chargeback.closing import AcceptLine
from app.chargeback.focus_cells import csv_blocks
from app.chargeback.focus_columns import View
from app.chargeback.focus_lines import ExportGrain
from app.chargeback.focus_statement import FocusNames
from app.chargeback.reports import parse_report
from app.chargeback.tables import csv_bytes
from app.store.engine import engine_of
from app.units.window import Window, to_ms
from app.workflows.adjusting import Correction, correct_period
from app.workflows.closing import BillingTerms, CloseOrder, close_period, obstacles_of
from app.workflows.exporting import ExportQuestion, focus_export
from app.workflows.postings import Adjusting
from app.workflows.publishing import read_report
from app.workflows.report_sources import ReportTerms
from benchmarks.measuring import Stopwatch

_ZONE = ZoneInfo("UTC")
_CURRENCY = "USD"
_REPORT = "weekly_chargeback"
_REPORTS = Path(__file__).resolve().parent.parent / "reports"
# The month of the facts, and an instant after it at which it is closed and compared.
MONTH = "2025-10"
_AFTER_MS = to_ms(datetime(2025, 11, 12, tzinfo=UTC))
_NAMES = FocusNames(issuer="bench", service="GPU Kubernetes", hosts={}, currency=_CURRENCY)


def weekly_statement(stopwatch: Stopwatch, url: URL, week: str) -> int:
    """Make the weekly chargeback as a file; return how many rows it has."""
    text = (_REPORTS / f"{_REPORT}.toml").read_text(encoding="utf-8")
    definition = parse_report(_REPORT, text)
    terms = ReportTerms(zone=_ZONE, currency=_CURRENCY)
    engine = engine_of(url)
    with stopwatch, engine.connect() as connection:
        document = read_report(connection, definition, week, terms=terms)
        csv_bytes(document.table)
    return len(document.table.rows)


def export(stopwatch: Stopwatch, url: URL, window: Window, out: Path) -> int:
    """Export a window's lines by the hour into a file; return how many rows."""
    question = ExportQuestion(
        window=window, spec="1.3", view=View.STATEMENT, grain=ExportGrain.HOUR
    )
    engine = engine_of(url)
    with stopwatch, engine.connect() as connection:
        found = focus_export(connection, question, _NAMES, zone=_ZONE)
        with out.open("w", encoding="utf-8", newline="") as file:
            file.writelines(csv_blocks(found.profile.names, found.columns))
    return found.rows


def write_plainly(stopwatch: Stopwatch, written: Path, out: Path) -> int:
    """Write the rows of an export, which lie in memory, by `csv.writer` alone."""
    with written.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with stopwatch, out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return len(rows) - 1


def close(stopwatch: Stopwatch, url: URL) -> int:
    """Close the month, whatever is in the way; return how many statements it has."""
    engine = engine_of(url)
    terms = BillingTerms(zone=_ZONE, currency=_CURRENCY, settings={})
    order = CloseOrder(period=MONTH, author="bench", at_ms=_AFTER_MS)
    with engine.connect() as connection:
        accepted = tuple(
            AcceptLine(where="bench", cells=one.cells(), reason="a benchmark")
            for one in obstacles_of(connection, order, terms)
        )
    order = CloseOrder(period=MONTH, author="bench", at_ms=_AFTER_MS, accept=accepted)
    with stopwatch:
        return len(close_period(order, terms, engine=engine).statements)


def compare(stopwatch: Stopwatch, url: URL) -> int:
    """Rate the closed month again by the last inputs, and compare; nothing is stored."""
    order = Correction(period=MONTH, reason="a benchmark", author="bench")
    given = Adjusting(engine=engine_of(url), billing_zone=_ZONE, at_ms=_AFTER_MS, dry_run=True)
    with stopwatch:
        return len(correct_period(order, given).correction.teams)
