"""`gpuledger period` and `gpuledger statements`: a January that is closed, read and reopened."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.units.window import HOUR_MS, Window, from_ms, to_ms
from tests.cli.commands import CommandLine, shell
from tests.store.builders import a_charge
from tests.workflows.closing_world import put_hour, put_names, put_november

FEBRUARY_MS = to_ms(datetime.fromisoformat("2025-02-01T00:00Z"))
HOURS = tuple(
    Window(from_ms(start_ms), from_ms(start_ms + HOUR_MS))
    for start_ms in range(FEBRUARY_MS - 3 * HOUR_MS, FEBRUARY_MS, HOUR_MS)
)


@pytest.fixture
def here(database_url: URL, tmp_path: Path) -> CommandLine:
    return shell(tmp_path, database_url)


def test_a_month_is_closed_shown_and_listed(here: CommandLine, database: Engine) -> None:
    put_november(database, HOURS)

    tried = here.run("period", "close", "2025-01", "--dry-run", "--format", "csv").done()
    closed = here.run("period", "close", "2025-01", "--by", "ada", "--format", "csv").done()

    assert [(row["statement"], row["total"]) for row in closed.rows()] == [
        ("CB-2025-01-ml", "3.00"),
        ("CB-2025-01-search", "9.00"),
    ]
    assert len(tried.rows()) == 2
    (period,) = here.run("period", "list", "--format", "csv").done().rows()
    assert (period["period"], period["state"], period["version"]) == ("2025-01", "closed", "1")
    assert (period["closed_by"], period["total"]) == ("ada", "12.00")
    listed = here.run("statements", "list", "--team", "ml", "--format", "csv").done().rows()
    assert [row["sha256"] for row in listed] == [closed.rows()[0]["sha256"]]


def test_a_statement_is_shown_and_written_as_it_was_stored(
    here: CommandLine, database: Engine
) -> None:
    put_november(database, HOURS)
    here.run("period", "close", "2025-01").done()
    show = ("statements", "show", "CB-2025-01-search")

    told = here.run(*show).done()
    here.run(*show, "--format", "json", "--out", "one.json").done()
    here.run(*show, "--version", "1", "--format", "csv", "--out", "one.csv").done()

    assert "Exact total 9.003, rounding -0.003, total 9.00 USD" in told.out
    assert json.loads((here.folder / "one.json").read_bytes())["total"] == "9.00"
    assert (here.folder / "one.csv").read_bytes().startswith(b"record,number,version")


def test_what_is_in_the_way_is_printed_edited_and_handed_back(
    here: CommandLine, database: Engine
) -> None:
    first, _, third = HOURS
    with database.begin() as connection:
        put_names(connection)
        put_hour(connection, first, a_charge(first), partial=True)
        put_hour(connection, third, a_charge(third))

    refused = here.run("period", "close", "2025-01", "--format", "csv")
    lines = refused.out.splitlines()
    here.file("accept.csv", "\n".join([lines[0], *(f"{line}seen" for line in lines[1:])]))
    accepted = here.run("period", "close", "2025-01", "--accept", "accept.csv").done()

    refused.failed("2025-01 is not closed: 2 in the way (missing, partial)")
    assert [line.split(",")[0] for line in lines] == ["kind", "missing", "partial"]
    assert accepted.err.count("Accepted: ") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("period", "close", "2025-W05"), "weeks are reports"),
        (("period", "close", "january"), "There is no billing period"),
        (("period", "close", "2025-01", "--accept", "none.csv"), "none.csv"),
        (("statements", "show", "CB-2025-01-search"), "There is no statement"),
        (("period", "import", "none.csv"), "none.csv"),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    here: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    here.run(*arguments).refused(said)


def test_a_month_that_is_closed_is_not_closed_again(here: CommandLine, database: Engine) -> None:
    put_november(database, HOURS)
    here.run("period", "close", "2025-01").done()

    here.run("period", "close", "2025-01").failed("2025-01 is closed, as version 1")


def test_a_closed_month_opens_with_a_reason_only(here: CommandLine, database: Engine) -> None:
    put_november(database, HOURS)
    here.run("period", "close", "2025-01").done()

    here.run("period", "reopen", "2025-01", "--reason", " ").refused("reason")
    here.run("period", "reopen", "2025-01", "--reason", "an invoice", "--by", "ada").done()

    (period,) = here.run("period", "list", "--format", "csv").done().rows()
    assert (period["state"], period["version"]) == ("open", "1")
    here.run("statements", "show", "CB-2025-01-ml", "--version", "1").done()


def test_other_periods_are_imported_and_close(here: CommandLine, database: Engine) -> None:
    put_november(database, HOURS)
    here.file(
        "periods.csv",
        "name,start,end\n2025-P01,2024-12-29,2025-01-26\n2025-P02,2025-01-26,2025-02-01\n",
    )
    here.file("gap.csv", "name,start,end\n2025-P04,2025-03-01,2025-03-29\n")
    here.file("other.csv", "name,start,end\n2025-P02,2025-01-26,2025-02-23\n")

    here.run("period", "import", "periods.csv", "--by", "ada").done()
    here.run("period", "import", "gap.csv").failed("gap between the billing periods")
    here.run("period", "close", "2025-P02").done()
    here.run("period", "import", "other.csv").failed("2025-P02 was closed before")

    listed = here.run("period", "list", "--format", "csv").done().rows()
    assert [(row["period"], row["start"], row["state"]) for row in listed] == [
        ("2025-P01", "2024-12-29T00:00:00Z", "open"),
        ("2025-P02", "2025-01-26T00:00:00Z", "closed"),
    ]
