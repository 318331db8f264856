"""The commands on price inputs, as somebody types them."""

from tests.cli.commands import CommandLine
from tests.cli.stage import PRICES

HEADER = PRICES.partition("\n")[0] + "\n"
RATES = "currency,rate,valid_from,valid_to,source\nEUR,1.25,2025-01-01,,bank\n"
TERMS = (
    "kind,percent,cluster,provider,region,instance_type,gpu_model,capacity_type,node,"
    "valid_from,valid_to,reason\n"
    "discount,10,,,,,,,,2025-01-01,,frame contract\n"
    "discount,5,,aws,,,,,,2025-01-01,2025-02-01,old\n"
    "markup,20,,,,,,,,2025-01-01,,platform team\n"
)
OWNED = """\
[[assets]]
name = "dgx"
nodes = ["node-1"]
gpus = 8
purchase = 262464
salvage = 43344
currency = "EUR"
in_service = 2026-01-01
life_years = 5
space_per_month = 730
support_per_year = 17520
rated_kw = 10.4
board_kw = 0.7
pue = 1.5
tariffs = [{ price_per_kwh = 0.20 }]
"""
LISTED = HEADER.replace("\n", ",list_price\n") + ",,,,H100,,,gpu_hour,4,EUR,2025-01-01,,deal,8\n"
AT = ("--at", "2026-11-23T10:00Z")


def test_a_price_shows_its_list_price_rate_discount_and_markup(empty: CommandLine) -> None:
    """4 EUR × 1.25 × 0.9 × 1.2 = 5.40 USD."""
    empty.file("rates.csv", RATES)
    empty.file("prices.csv", LISTED)
    empty.file("terms.csv", TERMS)
    empty.run("prices", "exchange-rates", "rates.csv").done()
    empty.run("prices", "import", "prices.csv").done()
    said = empty.run("prices", "terms", "terms.csv").done()

    found = empty.run("prices", "test", *AT, "--gpu-model", "H100", "--provider", "aws").done()

    assert said.out.startswith("3 terms added, 0 superseded, 0 unchanged; price book version 3.")
    lines = found.out.splitlines()
    assert lines[0] == "4 EUR per gpu_hour for gpu_model H100"
    assert "  list price 8 EUR" in lines
    assert "  × exchange rate 1.25 USD for 1 EUR" in lines
    assert "  × (1 - 10 %): discount of 10 % for anything (frame contract)" in lines
    assert "  × (1 + 20 %): markup of 20 % for anything (platform team)" in lines
    assert "  not discount of 5 % for provider aws (old): it is not valid any more" in lines
    assert lines[-1] == "One GPU-hour: 5.4 USD (the price is for one GPU)."
    # By the version before the terms it was 5.00, and before any price nothing.
    at = ("prices", "test", *AT, "--gpu-model", "H100", "--version")
    assert "One GPU-hour: 5 USD" in empty.run(*at, "2").done().out
    assert empty.run(*at, "1").code == 1
    empty.run(*at, "4").refused("There is no version 4; the last one is 3")


def test_a_price_without_its_rate_is_said_to_be_unpriced(empty: CommandLine) -> None:
    empty.file("rates.csv", RATES.replace("2025-01-01", "2027-01-01"))
    empty.file("prices.csv", LISTED)
    empty.run("prices", "exchange-rates", "rates.csv").done()
    empty.run("prices", "import", "prices.csv").done()

    found = empty.run("prices", "test", *AT, "--gpu-model", "H100")

    assert found.code == 1
    assert "would price it, but there is no exchange rate of EUR then" in found.out


def test_an_owned_node_shows_its_components_and_its_energy(empty: CommandLine) -> None:
    """In EUR 5.00 + 1.00 + 2.00 + 1.44 = 9.44 an hour; × 1.25 / 8 GPUs = 1.475 USD."""
    empty.file("rates.csv", RATES)
    empty.file("owned.toml", OWNED)
    empty.run("prices", "exchange-rates", "rates.csv").done()
    empty.run("prices", "owned", "owned.toml").done()

    lines = empty.run("prices", "test", *AT, "--node", "node-1").done().out.splitlines()

    assert lines[:5] == [
        "9.44 EUR per node_hour for node node-1 (owned:dgx)",
        "  depreciation 5 EUR an hour",
        "  space 1 EUR an hour",
        "  support 2 EUR an hour",
        "  power 1.44 EUR an hour",
    ]
    assert "One GPU-hour: 1.475 USD (the node's price divided by its devices)." in lines
    energy = "Energy of the boards: 0.375 USD a kWh (tariff 0.2 EUR × PUE 1.5 × exchange rate 1.25)"
    assert f"{energy}; without a counter 0.7 kW a GPU." in lines
    rows = empty.run("prices", "list", "--format", "csv").done().rows()
    assert [(row["price"], row["valid_to"], row["source"]) for row in rows] == [
        ("9.44", "2031-01-01T00:00:00Z", "owned:dgx"),
        ("4.44", "", "owned:dgx"),
    ]


def test_a_correction_has_a_reason_and_both_versions_stay_readable(empty: CommandLine) -> None:
    empty.file("prices.csv", HEADER + ",,,,H100,,,gpu_hour,3,USD,2025-01-01,,deal\n")
    empty.file("right.csv", HEADER + ",,,,H100,,,gpu_hour,2,USD,2025-01-01,,deal\n")
    empty.run("prices", "import", "prices.csv").done()

    empty.run("prices", "import", "right.csv").refused("corrects 1 rows", "--reason")
    empty.run("prices", "import", "right.csv", "--dry-run").done()
    given = ("--reason", "mistyped", "--author", "ada")
    empty.run("prices", "import", "right.csv", *given).done()

    def listed(*version: str) -> list[str]:
        rows = empty.run("prices", "list", *version, "--format", "csv").done().rows()
        return [row["price"] for row in rows]

    assert (listed(), listed("--version", "2"), listed("--version", "1")) == (["2"], ["2"], ["3"])
    first, second = empty.run("prices", "history", "--format", "csv").done().rows()
    assert (first["version"], first["kind"], first["reason"]) == ("1", "prices", "")
    assert first["author"] != ""
    assert (second["superseded"], second["reason"], second["author"]) == ("1", "mistyped", "ada")


def test_a_rate_card_is_listed_apart(empty: CommandLine) -> None:
    empty.file("card.csv", HEADER + ",,,,H100,,,gpu_hour,3,USD,2025-01-01,,card\n")
    empty.run("prices", "import", "card.csv", "--card").done()

    assert empty.run("prices", "list", "--format", "csv").done().rows() == []
    (row,) = empty.run("prices", "list", "--card", "--format", "csv").done().rows()
    assert row["source"] == "card"
    card = ("prices", "test", *AT, "--gpu-model", "H100")
    assert empty.run(*card, "--card").done().out.startswith("3 USD per gpu_hour")
    assert empty.run(*card).code == 1


def test_credits_are_taken(empty: CommandLine) -> None:
    header = "name,amount,currency,team,valid_from,valid_to,reason\n"
    empty.file("credits.csv", header + "launch,100,USD,search,2026-01-01,2026-02-01,a gift\n")

    said = empty.run("prices", "credits", "credits.csv").done()

    assert said.out.startswith("1 credits added")


def test_the_starter_book_is_written_and_imported_only_by_its_reader(empty: CommandLine) -> None:
    printed = empty.run("prices", "starter").done()
    empty.run("prices", "starter", "--out", "starter.csv").done()

    assert (empty.folder / "starter.csv").read_text(encoding="utf-8") == printed.out
    assert empty.run("prices", "list", "--format", "csv").done().rows() == []
    empty.run("prices", "starter", "--out", "starter.csv").refused("starter.csv cannot be written")
    empty.run("prices", "import", "starter.csv").done()
    at = ("prices", "test", *AT, "--provider", "aws", "--region", "us-east-1", "--devices", "1")
    known = (*at, "--capacity-type", "on_demand", "--instance-type")
    found = empty.run(*known, "g4dn.xlarge").done().out
    assert found.startswith("0.526 USD per node_hour for instance_type g4dn.xlarge")
    assert empty.run(*known, "p5e.48xlarge").code == 1


def test_gaps_are_warned_of(empty: CommandLine) -> None:
    rows = (
        ",,,,H100,,,gpu_hour,3,USD,2025-01-01,2025-02-01,\n,,,,H100,,,gpu_hour,3,USD,2025-03-01,,\n"
    )
    empty.file("prices.csv", HEADER + rows)

    said = empty.run("prices", "import", "prices.csv").done()

    assert "Warning: the gpu_hour price of gpu_model H100 has a gap from 2025-02-01" in said.err
