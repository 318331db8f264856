"""A provider's bill divided among the pods that held its node, over the database."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.chargeback.focus_cells import csv_blocks
from app.chargeback.focus_columns import View
from app.chargeback.focus_statement import FocusNames
from app.units.window import Window
from app.workflows.exporting import ExportQuestion, NoBillError, focus_export
from tests.chargeback.focus_rules import read
from tests.sources.focus_files import a_focus_row
from tests.workflows.billed import Bills, a_billed_ledger
from tests.workflows.stored import UTC_ZONE

DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
NAMES = FocusNames(issuer="Acme", service="GPU Kubernetes", hosts={}, currency="USD")


def split(engine: Engine, *, spec: str = "1.3") -> list[dict[str, str]]:
    question = ExportQuestion(window=DAY, spec=spec, view=View.SPLIT)
    with engine.connect() as connection:
        export = focus_export(connection, question, NAMES, zone=UTC_ZONE)
    return read("".join(csv_blocks(export.profile.names, export.columns)))


def test_a_nodes_charge_goes_to_its_pods_and_the_rest_to_nobody(
    database: Engine, tmp_path: Path
) -> None:
    a_billed_ledger(database)
    Bills(database, tmp_path).take(
        a_focus_row(cost="300.00"), a_focus_row("i-0dead0beef", cost="7.00")
    )

    rows = split(database)

    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row["ResourceId"]] += Decimal(row["EffectiveCost"])
    assert sorted(sums.values()) == [Decimal(7), Decimal(300)]
    told = {(row["AllocatedMethodId"][:3], row["AllocatedResourceName"]) for row in rows}
    parts = {
        (row["AllocatedMethodId"][:3], row["AllocatedResourceName"]): row["EffectiveCost"]
        for row in rows
    }
    assert len(told) == len(rows)
    # 2 of the 8 GPUs were held; the machine that is no node of ours passes as it is.
    assert parts == {
        ("k8s", "search-prod/ranker-0"): "75.0",
        ("k8s", ""): "225.0",
        ("", ""): "7.0",
    }


def test_a_split_without_a_bill_is_refused(database: Engine) -> None:
    with pytest.raises(NoBillError, match="No row of a provider's bill begins"):
        split(database)
