"""`gpuledger period adjust | correct | adjustments`, `costs --basis` and `explain` of an old id."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app.units.identity import id_text
from tests.cli.commands import CommandLine, shell
from tests.workflows.adjusting_world import (
    OTHER_CONTRACT,
    begin,
    close,
    contract,
    held,
    last_hour,
    put,
    rate,
)

NOVEMBER = ("--start", "2026-11-01T00:00Z", "--end", "2026-12-01T00:00Z", "--format", "csv")
CSV = ("--format", "csv")


@pytest.fixture
def here(database_url: URL, tmp_path: Path) -> CommandLine:
    return shell(tmp_path, database_url)


def test_late_facts_are_shown_posted_and_listed(here: CommandLine, database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))

    dry = here.run("period", "adjust", "2026-11", "--dry-run", *CSV).done()
    assert here.run("period", "adjustments", "2026-11", *CSV).done().rows() == []
    done = here.run("period", "adjust", "2026-11", *CSV).done()
    again = here.run("period", "adjust", "2026-11", *CSV).done()

    assert dry.rows() == done.rows()
    assert [(row["team"], row["adjustment_cost"]) for row in done.rows()] == [
        ("platform", "-3.00"),
        ("search", "3.00"),
    ]
    assert "2 lines would be posted into" in dry.err
    assert "2 lines were posted into" in done.err
    assert "Nothing to post" in again.err
    listed = here.run("period", "adjustments", "2026-11", *CSV).done().rows()
    assert {(row["team"], row["kind"], row["gpu_seconds"], row["author"]) for row in listed} == {
        ("search", "idle", "3600", "gpuledger"),
        ("platform", "unallocated", "-3600", "gpuledger"),
    }
    booked = done.rows()[0]["posting_period"]
    assert here.run("period", "adjustments", booked, "--posted", *CSV).done().rows() == listed
    posted = here.run("costs", *NOVEMBER).done().rows()
    usage = here.run("costs", *NOVEMBER, "--basis", "usage").done().rows()
    told = [[(row["team"], row["total_cost"]) for row in rows] for rows in (posted, usage)]
    assert told == [
        [("platform", "3.00"), ("search", "3.00")],
        [("platform", "0.00"), ("search", "6.00")],
    ]


def test_a_correction_names_its_versions_reason_and_author(
    here: CommandLine, database: Engine
) -> None:
    close(database, held(last_hour(), 1))
    contract(database, OTHER_CONTRACT)
    order = ("period", "correct", "2026-11", "--reason", "The team moved.", "--by", "ada")

    dry = here.run(*order, "--dry-run", *CSV).done()
    here.run(*order, "--contract", "7").refused("There is no version 7 of the contract")
    here.run("period", "correct", "2026-11", "--reason", " ").refused("with a reason")
    here.run("period", "correct", "2026-12", "--reason", "x").refused("2026-12 is open")
    done = here.run(*order, "--contract", "2", *CSV).done()

    assert dry.rows() == done.rows()
    assert [(row["team"], row["adjustment_cost"], row["type"]) for row in done.rows()] == [
        ("ml", "3.00", "correction"),
        ("search", "-3.00", "correction"),
    ]
    assert "The team moved. (prices version 1, contract version 2)" in done.err
    (row, _) = here.run("period", "adjustments", "2026-11", *CSV).done().rows()
    assert (row["type"], row["author"]) == ("correction", "ada")


def test_an_old_id_is_explained_by_what_stands_in_its_place(
    here: CommandLine, database: Engine
) -> None:
    begin(database)
    put(database, held(last_hour(), 1))
    rate(database)
    with database.connect() as connection:
        old = connection.execute(text("SELECT charge_id FROM charges WHERE kind = 2")).scalar_one()
    contract(database, OTHER_CONTRACT)
    rate(database)

    said = here.run("explain", id_text(old)).done()

    assert f"1. Replaced: The charge {id_text(old)} was replaced" in said.out
    assert "ml, 3.00 USD" in said.out
    here.run("explain", "0000000000000001").failed("There is no charge 0000000000000001")
