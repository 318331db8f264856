"""A report's issue as the bytes of a file, in the format that is asked for."""

from typing import assert_never

from app.chargeback.report_tables import ReportDocument
from app.chargeback.reports import ReportFormat


def rendered(document: ReportDocument, form: ReportFormat) -> bytes:
    """Return the report in ``form``; equal documents give equal bytes."""
    match form:
        case ReportFormat.CSV:
            return document.csv()
        # The writers of both take longer to import than most commands run.
        case ReportFormat.XLSX:
            from app.delivery.spreadsheets import xlsx_bytes  # noqa: PLC0415 see above

            return xlsx_bytes(document)
        case ReportFormat.PARQUET:
            from app.delivery.parquet import parquet_bytes  # noqa: PLC0415 see above

            return parquet_bytes(document)
        case _:
            assert_never(form)
