"""What routes ask of exports."""

from typing import Protocol

from app.workflows.exporting import ExportQuestion, FocusExport


class ExportLedger(Protocol):
    """One request's view of what leaves the ledger as files."""

    def focus(self, question: ExportQuestion) -> FocusExport:
        """Return a FOCUS file's columns; refuse a split of a bill that nobody imported."""
        ...
