"""Exports over the database."""

from zoneinfo import ZoneInfo

from app.chargeback.focus_statement import FocusNames
from app.wiring import Connection
from app.workflows.exporting import ExportQuestion, FocusExport, focus_export


class StoredExports:
    """See `app.web.export_reading.ExportLedger`."""

    __slots__ = ()
    connection: Connection
    zone: ZoneInfo
    focus_names: FocusNames

    def focus(self, question: ExportQuestion) -> FocusExport:
        """Return a FOCUS file's columns."""
        return focus_export(self.connection, question, self.focus_names, zone=self.zone)
