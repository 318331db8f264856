"""The commands on commitments, as somebody types them."""

from tests.cli.commands import CommandLine

FILE = """\
commitment,type,clusters,provider,region,instance_type,gpu_model,capacity_type,unit,quantity,upfront,recurring_per_hour,currency,term_start,term_end,payer
ri-1,reservation,prod-eu,aws,,,H100,,gpu_hour,8,1000,2.50,USD,2026-11-01,2026-12-01,ml
cb-1,capacity_block,,,,,H200,,node_hour,2,960,,USD,2026-11-23T11:30Z,2026-11-24T11:30Z,
"""
NOVEMBER = ("--start", "2026-11-01T00:00Z", "--end", "2026-12-01T00:00Z")


def test_commitments_are_imported_listed_corrected_and_reported(empty: CommandLine) -> None:
    empty.file("commitments.csv", FILE)
    dry = empty.run("commitments", "import", "commitments.csv", "--dry-run").done()
    assert "Dry run: nothing is stored" in dry.out
    assert empty.run("commitments", "list", "--format", "csv").done().rows() == []

    said = empty.run("commitments", "import", "commitments.csv").done()

    words = "2 commitments added, 0 superseded, 0 unchanged; price book version 1."
    assert said.out.startswith(words)
    assert "no cluster 'prod-eu' was ever collected" in said.err
    listed = empty.run("commitments", "list", "--format", "csv").done()
    block, reservation = listed.rows()
    assert (block["commitment"], block["term_start"]) == ("cb-1", "2026-11-23T11:30:00Z")
    assert (reservation["upfront"], reservation["recurring_per_hour"]) == ("1000", "2.5")
    # What is listed is a file that says the same.
    empty.file("again.csv", listed.out)
    again = empty.run("commitments", "import", "again.csv").done()
    assert "0 commitments added, 0 superseded, 2 unchanged; price book version 1." in again.out
    assert empty.run("commitments", "report", *NOVEMBER, "--format", "csv").done().rows() == []

    empty.file("commitments.csv", FILE.replace("2.50", "2.75"))
    empty.run("commitments", "import", "commitments.csv").refused("gives no reason")
    corrected = ("commitments", "import", "commitments.csv", "--reason", "the invoice says so")
    done = empty.run(*corrected, "--author", "finance").done()

    assert "1 commitments added, 1 superseded, 1 unchanged; price book version 2." in done.out


def test_a_line_that_cannot_be_taken_leaves_everything_as_it_was(empty: CommandLine) -> None:
    empty.file("commitments.csv", FILE.replace("gpu_hour,8", "gpu_hour,-8"))

    empty.run("commitments", "import", "commitments.csv").refused(
        "commitments.csv, line 2, column quantity: the quantity -8 is below zero"
    )

    assert empty.run("commitments", "list", "--format", "json").done().json() == []
