"""Documents of small reports in round figures."""

from zoneinfo import ZoneInfo

import pandas as pd

from app.chargeback.periods import parse_period
from app.chargeback.report_bodies import costs_body
from app.chargeback.report_tables import (
    ReportDocument,
    ReportIssue,
    ReportStatus,
    report_document,
)
from app.chargeback.reports import ReportDefinition, parse_report
from tests.chargeback.builders import HOUR_MS, USD, costs_of

UTC_ZONE = ZoneInfo("UTC")
GROUPS = ["team", "day"]
TEXT = """
title = "Costs by team and day"
audience = "Finance"
grain = "week"
group_by = ["team", "day"]
[table]
columns = ["gpu_hours_held", "total_cost", "share_of_total_ratio", "cost_per_gpu_hour_held"]
totals = true
formats = ["csv", "xlsx", "parquet"]
[table.titles]
team = "Team"
total_cost = "Total cost"
[table.number_formats]
share_of_total_ratio = "percent"
"""


def a_definition(text: str = TEXT, name: str = "by_team") -> ReportDefinition:
    return parse_report(name, text)


def a_week_of_two_teams(team: str = "search") -> pd.DataFrame:
    """Two teams: 2 hours at 3.00, and 1 hour at 3.00."""
    return costs_of(
        GROUPS,
        {"team": "ml", "day": "2026-11-10", "used_ms": HOUR_MS, "used_nanos": 3 * USD},
        {"team": team, "day": "2026-11-09", "used_ms": 2 * HOUR_MS, "used_nanos": 6 * USD},
    )


def a_document(
    costs: pd.DataFrame | None = None,
    *,
    currency: str = "USD",
    definition: ReportDefinition | None = None,
) -> ReportDocument:
    issue = ReportIssue(
        period=parse_period("2026-W46", UTC_ZONE), number=1, status=ReportStatus.FINAL
    )
    report = definition or a_definition()
    rows = a_week_of_two_teams() if costs is None else costs
    body = costs_body(rows, report.group_by, currency)
    return report_document(report, issue, body, currency=currency)
