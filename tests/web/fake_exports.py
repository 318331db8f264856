"""A FOCUS file of all sorts of lines, whatever window is asked for."""

from app.chargeback.focus_columns import profile
from app.chargeback.focus_lines import unpriced_table
from app.chargeback.focus_statement import statement_columns
from app.store.costs import IncompleteHours
from app.workflows.exporting import ExportQuestion, FocusExport
from tests.chargeback.focus_building import LABELS, NAMES, SEARCH, all_sorts


class FakeExports:
    """Answers every question with the same lines, of one team if a key is of one."""

    def focus(self, question: ExportQuestion) -> FocusExport:
        lines = all_sorts()
        if question.team:
            lines = lines[lines["team_id"] == SEARCH].reset_index(drop=True)
        return FocusExport(
            profile=profile(question.spec, question.view),
            columns=statement_columns(lines, LABELS, NAMES),
            rows=len(lines),
            unpriced=unpriced_table(lines.iloc[:1], LABELS),
            hours=IncompleteHours(partial=0, pending=0, missing=0, collected=1, unrated=0),
            provisional=True,
        )
