"""`gpuledger report`, as finance types it."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.chargeback.reporting import TEXT
from tests.cli.commands import CommandLine
from tests.delivery.workbook import Workbook

WEEK = ("report", "run", "weekly_chargeback", "--period", "2025-W45")


def folder_of(standing: CommandLine, name: str, **files: str) -> str:
    """Make a folder of definitions."""
    folder = standing.folder / name
    folder.mkdir(exist_ok=True)
    for stem, text in files.items():
        (folder / f"{stem}.toml").write_text(text, encoding="utf-8")
    return str(folder)


def test_a_report_is_written_in_the_format_that_is_asked_for(standing: CommandLine) -> None:
    standing.run(*WEEK, "--format", "xlsx", "--out", "week.xlsx").done()
    standing.run(*WEEK, "--out", "week.parquet").done()

    sheet = Workbook((standing.folder / "week.xlsx").read_bytes()).records()
    table = pq.read_table(standing.folder / "week.parquet")
    assert [row["total_cost"].text for row in sheet] == [
        str(one) for one in table["total_cost"].to_pylist()
    ]
    assert sheet[-1]["row"].text == "total"


def test_a_report_goes_to_an_address_and_the_run_is_listed(standing: CommandLine) -> None:
    address = f"file://{standing.folder}/sent"

    said = standing.run(*WEEK, "--to", address).done().out
    rows = standing.run("report", "runs", "weekly_chargeback", "--format", "csv").done().rows()

    (path,) = (standing.folder / "sent").iterdir()
    assert said.startswith(f"{address}/{path.name}: ")
    assert rows[0]["address"] == f"{address}/{path.name}"
    assert rows[0]["sha256"] in said
    assert rows[0]["bytes"] == str(path.stat().st_size)
    assert standing.run("report", "runs", "nothing", "--format", "csv").done().rows() == []


def test_a_report_of_ones_own_is_listed_and_written(standing: CommandLine) -> None:
    text = TEXT + '[schedule]\nweekday = "monday"\ntime = "06:00"\n'
    own = {"GPULEDGER_REPORTS_FOLDER": folder_of(standing, "own", by_team=text)}
    listed = standing.run("report", "list", "--format", "csv", **own).done().rows()
    by_name = {row["name"]: row for row in listed}

    week = (
        "report",
        "run",
        "by_team",
        "--period",
        "2025-W45",
        "--to",
        f"file://{standing.folder}/mine",
    )
    standing.run(*week, **own).done()

    assert {"waste", "budget", "by_team"} <= set(by_name)
    assert by_name["by_team"]["audience"] == "Finance"
    assert by_name["by_team"]["schedule"] == "monday 06:00"
    assert by_name["by_team"]["next_due"].endswith("06:00 UTC")
    endings = sorted(path.suffix for path in (standing.folder / "mine").iterdir())
    assert endings == [".csv", ".parquet", ".xlsx"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "finance"), "no destination 'finance'"),
        (("--to", "ftp://host/reports"), "protocol 'ftp'"),
        (("--to", "s3://"), "names no bucket"),
        (("--to", "file:///tmp/x", "--out", "week.csv"), "two places"),
    ],
)
def test_a_place_or_format_that_is_none_is_refused(
    standing: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    before = sorted(standing.folder.rglob("*"))

    standing.run(*WEEK, *arguments).refused(said)

    assert sorted(standing.folder.rglob("*")) == before


def test_a_period_of_another_grain_is_refused(standing: CommandLine) -> None:
    month = ("report", "run", "weekly_chargeback", "--period", "2025-11")

    standing.run(*month).refused("2025-11 is a month", "such as 2026-W46")


def test_mistakes_in_definitions_name_the_file_and_the_key(standing: CommandLine) -> None:
    for name, text, said in (
        ("broken", "title = ", "The report mine is not valid TOML"),
        ("column", TEXT.replace('"total_cost"', '"totl"', 1), "the key table.columns has 'totl'"),
        ("destination", f'destination = "erp"\n{TEXT}', "the key destination is 'erp'"),
    ):
        folder = folder_of(standing, name, mine=text)
        standing.run("report", "list", GPULEDGER_REPORTS_FOLDER=folder).refused(said)
    clash = folder_of(standing, "clash", waste=TEXT)
    standing.run("report", "list", GPULEDGER_REPORTS_FOLDER=clash).refused(
        "Two report definitions are called waste", str(Path(clash) / "waste.toml")
    )
