"""`gpuledger bills`: a provider's bill is taken, listed, shown and reconciled."""

from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from tests.cli.commands import CommandLine, shell
from tests.sources.focus_files import a_focus_row, write_focus
from tests.workflows.billed import a_billed_ledger

NOVEMBER = ("--period", "2026-11")


@pytest.fixture
def here(database: Engine, database_url: URL, tmp_path: Path) -> CommandLine:
    """A ledger whose node cost 288.00 on 23 November, and two files of its provider."""
    a_billed_ledger(database)
    write_focus(tmp_path / "a.csv", [a_focus_row(cost="300.00")])
    write_focus(tmp_path / "b.parquet", [a_focus_row("i-00000099", "7.5")])
    return shell(tmp_path, database_url)


def test_a_bill_is_taken_listed_shown_and_reconciled(here: CommandLine) -> None:
    dry = here.run("bills", "import", "a.csv", "b.parquet", "--dry-run").done()
    nothing = here.run("bills", "list", "--format", "json").done()
    taken = here.run("bills", "import", "a.csv", "b.parquet", "--provider", "Amazon").done()
    listed = here.run("bills", "list", "--format", "csv").done().rows()
    shown = here.run("bills", "show", listed[0]["bill"], "--format", "csv").done().rows()
    (bill, total) = here.run("bills", "reconcile", *NOVEMBER, "--format", "csv").done().rows()

    assert nothing.json() == []
    assert "Dry run: nothing is stored" in dry.out
    assert "Amazon 1234" in taken.out
    assert "307.50 USD" in taken.out
    (one,) = listed
    assert (one["provider"], one["version"], one["rows"], one["spec"]) == (
        "Amazon",
        "1",
        "2",
        "1.0",
    )
    assert (one["effective_cost"], one["ledger_cost"]) == ("307.50", "307.50")
    assert [(row["category"], row["kept"], row["cost"]) for row in shown] == [
        ("usage", "true", "307.50")
    ]
    assert (bill["provider"], total["provider"]) == ("Amazon", "")
    money = ("provider_bill", "pool_cost", "commitment_unused", "not_in_cluster", "true_up")
    assert [bill[name] for name in money] == ["307.50", "288.00", "0.00", "0.00", "12.00"]
    assert (bill["unmatched"], bill["complete"]) == ("7.50", "true")
    assert [total[name] for name in money] == [bill[name] for name in money]


def test_the_true_up_is_part_of_the_costs(here: CommandLine) -> None:
    here.run("bills", "import", "a.csv").done()
    span = ("--start", "2026-11-23T00:00Z", "--end", "2026-11-24T00:00Z")

    rows = here.run("costs", *span, "--group-by", "team", "--format", "json").done().json()

    costs = {str(row["team"]): row for row in rows}
    assert costs["platform"]["adjustment_cost"] == "12.00"
    assert sum(float(str(row["total_cost"])) for row in rows) == pytest.approx(300)


def test_the_page_for_people_shows_what_differs_most(here: CommandLine) -> None:
    here.run("bills", "import", "a.csv", "b.parquet").done()

    page = here.run("bills", "reconcile", *NOVEMBER).done().out
    nodes = here.run("bills", "reconcile", *NOVEMBER, "--part", "nodes", "--format", "csv").done()
    unmatched = here.run(
        "bills", "reconcile", *NOVEMBER, "--part", "unmatched", "--format", "json"
    ).done()

    assert "Reconciliation 2026-11" in page
    assert "i-00000099" in page
    assert "gpu-1" in page
    (node,) = nodes.rows()
    assert (node["node"], node["true_up"], node["provider_cost"]) == ("gpu-1", "12.00", "300.00")
    (item,) = unmatched.json()
    assert (item["resource"], item["reason"], item["cost"]) == ("i-00000099", "no_node", "7.50")


def test_rows_that_stand_there_twice_are_told_with_their_money(
    here: CommandLine, tmp_path: Path
) -> None:
    write_focus(tmp_path / "twice.csv", [a_focus_row(cost="300.00")] * 2)

    ended = here.run("bills", "import", "twice.csv", "--dry-run").done()
    once = here.run("bills", "import", "a.csv", "--dry-run").done()

    assert "Warning: 1 rows of machines stand there once more" in ended.err
    assert "300.00 USD" in ended.err
    assert "Warning" not in once.err


def test_a_month_without_a_bill_is_not_called_reconciled(here: CommandLine) -> None:
    page = here.run("bills", "reconcile", *NOVEMBER).done().out

    assert "No bill of 2026-11 was imported" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", "none.csv"), ("cannot be read",)),
        (("import", "a.csv", "--billing-account", "9"), ("line 2", "not 9")),
        (("import", "a.csv", "a.csv"), ("the same content",)),
        (("show", "1"), ("is not an id",)),
        (("show", "0000000000000001"), ("There is no bill 0000000000000001",)),
        (("reconcile", "--period", "last month"), ("is not a period",)),
    ],
)
def test_wrong_use_is_one_clear_error(
    here: CommandLine, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    here.run("bills", *arguments).refused(*words)
