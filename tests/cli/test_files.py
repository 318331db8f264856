"""Price books and team contracts that cannot be taken: one error, with its line, and no trace."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.cli.commands import CommandLine
from tests.cli.stage import everything

HEADER = (
    "cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,"
    "valid_from,valid_to,source\n"
)
GOOD = ",,,,H100,,,gpu_hour,2.50,USD,2025-01-01,,list\n"


def a_price(**cells: str) -> str:
    row = dict(zip(HEADER.strip().split(","), GOOD.strip().split(","), strict=True))
    return ",".join({**row, **cells}.values()) + "\n"


BAD_PRICES = {
    "nothing": ("", ", line 1: the file is empty"),
    "no header": (GOOD, ", line 1"),
    "no prices": (HEADER, "line 1: the file has no prices"),
    "semicolons": ((HEADER + GOOD).replace(",", ";"), "line 1: the cells are separated by semi"),
    "tabs": ((HEADER + GOOD).replace(",", "\t"), "line 1: the cells are separated by tabs"),
    "a column too many": (HEADER.replace("source", "source,note"), "line 1, column note"),
    "a column too few": (HEADER.replace(",source", ""), "line 1, column source"),
    "a cell too few": (HEADER + GOOD + ",,,,H100,,\n", "line 3: the line has 7 cells"),
    "an open quote": (HEADER + GOOD + ',,,,"H100,,,', "line 3: it is not CSV"),
    "a cell without end": (HEADER + "x" * 200_000 + GOOD, "line 2: it is not CSV"),
    "a negative price": (HEADER + a_price(price="-2"), "line 2, column price: the price -2 is b"),
    "a price that is none": (HEADER + a_price(price="NaN"), 'column price: "NaN" is not a plain'),
    "a price in scientific": (HEADER + a_price(price="1e3"), 'column price: "1e3" is not a plain'),
    "a decimal comma": (HEADER + a_price(price='"2,50"'), 'column price: "2,50" is not a plain'),
    "no price": (HEADER + a_price(price=""), 'line 2, column price: "" is not a plain'),
    "a currency that is none": (HEADER + a_price(currency="DOGE"), "column currency"),
    "another currency": (HEADER + a_price(currency="EUR"), "EUR but the ledger bills in USD"),
    "a day that is none": (HEADER + a_price(valid_from="2025-02-30"), "line 2, column valid_from"),
    "an American date": (HEADER + a_price(valid_from="02/01/2025"), "line 2, column valid_from"),
    "a date before time": (
        HEADER + a_price(valid_from="0001-01-01T00:00:00+05:00"),
        "line 2, column valid_from",
    ),
    "an end before the start": (HEADER + a_price(valid_to="2024-01-01"), "column valid_to"),
    "an unknown unit": (HEADER + a_price(unit="gpu_day"), "line 2, column unit"),
    "a maker for a model": (HEADER + a_price(gpu_model="NVIDIA"), "line 2, column gpu_model"),
    "an overlap": (HEADER + GOOD + a_price(valid_from="2025-06-01"), "line 3, column valid_from"),
    "the same twice": (HEADER + GOOD + GOOD, "line 3: it says the same as line 2"),
    "a NUL": (HEADER + a_price(gpu_model="H\x00100"), "line 2, column gpu_model: the cell has a c"),
    "Latin-1": ((HEADER + GOOD + a_price(source="é")).encode("latin-1"), "line 3: it is not UTF-8"),
    "UTF-16": ((HEADER + GOOD).encode("utf-16"), "line 1: it is not UTF-8"),
    "one bad line in many": (
        HEADER + "".join(a_price(node=f"n{i}") for i in range(500)) + a_price(price="?"),
        "line 502, column price",
    ),
}
BAD_CONTRACTS = {
    "nothing": ("", "line 1: the file is empty"),
    "a comment": ("# later\n", "line 1: the file is empty"),
    "text": ("hello\n", "line 1: the file must be a mapping"),
    "a list": ("- teams\n", "line 1: the file must be a mapping"),
    "an open brace": ("teams:\n  - { name: a\n", "line 3: it is not YAML"),
    "a tab": ("teams:\n\t- name: a\n", "line 2: it is not YAML"),
    "two documents": ("teams: []\n---\nteams: []\n", "line 2: it is not YAML"),
    "an unknown block": ("team: []\n", "line 1: team is not known here"),
    "an unknown key": ("teams:\n  - name: a\n    namespases: [x]\n", "line 3: teams[0].namespases"),
    "a key twice": ("teams:\n  - name: a\n    name: b\n", 'line 3: teams[0] has the key "name"'),
    "a team twice": ("teams:\n  - name: a\n  - name: a\n", "line 3: teams[1] stands there twice"),
    "a team without a name": ("teams:\n  - cost_center: x\n", "line 2: teams[0] has no name"),
    "a number for a name": ("teams:\n  - name: 5\n", "line 2: teams[0].name must be a text"),
    "the team of nobody": ("teams:\n  - name: unowned\n", "line 2: teams[0].name must not be"),
    "a NUL": ('teams:\n  - name: "a\\0b"\n', "line 2: teams[0].name has a control character"),
    "half a character": ('teams:\n  - name: "a\\ud800"\n', "line 2: teams[0].name has a control"),
    "a namespace in two teams": (
        "teams:\n  - name: a\n    namespaces: [web]\n  - name: b\n    namespaces: [web]\n",
        "line 4: teams[1] gives namespace web to b, but line 2 gives namespace web to a",
    ),
    "a glob in two teams": (
        "teams:\n  - {name: a, namespaces: [w-*]}\n  - {name: b, namespaces: [w-*]}\n",
        "line 3: teams[1] gives namespace w-* to b",
    ),
    "a namespace of the platform": (
        "teams:\n  - {name: a, namespaces: [x]}\nplatform: {team: p, namespaces: [x]}\n",
        "line 3: platform gives namespace x to p, but line 2",
    ),
    "a month that is none": ("teams:\n  - {name: a, valid_from: 2025-13-01}\n", "must be a date"),
    "a date before time": (
        "teams:\n  - {name: a, valid_from: '0001-01-01T00:00:00+05:00'}\n",
        "line 2: teams[0].valid_from must be a date",
    ),
    "an end before the start": (
        "teams:\n  - {name: a, valid_from: 2025-02-01, valid_to: 2025-01-01}\n",
        "line 2: teams[0].valid_to must be after valid_from",
    ),
    "a policy of another version": ("policies: {idle: nobody}\n", "is not supported in this"),
    "a negative budget": ("teams:\n  - {name: a, budget: {monthly: -3}}\n", "not negative"),
    "a budget without end": ("teams:\n  - {name: a, budget: {monthly: 1e999999}}\n", "less than"),
    "a negative weight": ("policies: {token_weights: [{prompt: -1}]}\n", "not negative"),
    "code": ("teams: !!python/object/apply:os.getcwd []\n", "line 1"),
    "an endless depth": (f"teams: {'[' * 3000}{']' * 3000}\n", "nested too deeply"),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\n", "line 1: a is not known here"),
    "Latin-1": ("teams:\n  - name: é\n".encode("latin-1"), "line 2: it is not UTF-8"),
}


@pytest.fixture(scope="module")
def unchanged(standing: CommandLine) -> Iterator[CommandLine]:
    """A ledger that holds after all refusals what it held before them."""
    before = everything(standing)
    yield standing
    assert everything(standing) == before


@pytest.mark.parametrize("case", BAD_PRICES)
def test_a_price_book_is_refused_that_has(unchanged: CommandLine, case: str) -> None:
    content, why = BAD_PRICES[case]
    unchanged.file("bad.csv", content)

    error = unchanged.run("prices", "import", "bad.csv").refused(why, "Nothing of the file")

    assert error.startswith("bad.csv, line ")


@pytest.mark.parametrize("case", BAD_CONTRACTS)
def test_a_contract_is_refused_that_has(unchanged: CommandLine, case: str) -> None:
    content, why = BAD_CONTRACTS[case]
    unchanged.file("bad.yaml", content)

    error = unchanged.run("contract", "apply", "bad.yaml").refused(why)

    assert error.startswith("bad.yaml")


@pytest.mark.parametrize("command", [("prices", "import"), ("contract", "apply")])
@pytest.mark.parametrize(("path", "why"), [("none.x", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_refused(
    unchanged: CommandLine, command: tuple[str, str], path: str, why: str
) -> None:
    unchanged.run(*command, path).refused(why, "Check the path")


def test_a_price_that_overlaps_a_stored_one_is_refused(unchanged: CommandLine) -> None:
    row = ",,,,,,,gpu_hour,4.00,USD,2025-06-01,,dearer\n"
    unchanged.file("later.csv", HEADER + row)

    error = unchanged.run("prices", "import", "later.csv").refused("Give the earlier row a valid_")

    assert "4 USD per gpu_hour for anything from 2025-06-01" in error.replace("4.00", "4")
    assert "overlaps the price 3 USD" in error


def test_a_dry_run_shows_the_money_and_stores_nothing(unchanged: CommandLine) -> None:
    unchanged.file("dearer.csv", HEADER + ",,,,,,,gpu_hour,4.00,USD,2025-01-01,,dearer\n")
    unchanged.file("one.yaml", 'teams:\n  - { name: all, namespaces: ["*"] }\n')

    dearer = unchanged.run("prices", "import", "dearer.csv", "--dry-run").done()
    one = unchanged.run("contract", "apply", "one.yaml", "--dry-run").done()

    for ended in (dearer, one):
        assert "Money that moves" in ended.out
        assert "Dry run: nothing is stored; 1 hours would be rated again." in ended.out


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\ufeff" + HEADER + GOOD, id="a byte order mark"),
        pytest.param((HEADER + GOOD).replace("\n", "\r\n"), id="CRLF"),
        pytest.param(HEADER + "\n" + GOOD + ",,,,,,,,,,,,\n\n", id="empty lines"),
        pytest.param(HEADER + a_price(valid_to="9999-12-31"), id="an end that never comes"),
    ],
)
def test_what_spreadsheets_add_is_no_part_of_a_price_book(empty: CommandLine, content: str) -> None:
    empty.file("prices.csv", content)

    empty.run("prices", "import", "prices.csv").done()

    (row,) = empty.run("prices", "list", "--format", "csv").done().rows()
    assert (row["gpu_model"], row["price"], row["valid_from"]) == (
        "H100",
        "2.5",
        "2025-01-01T00:00:00Z",
    )


def test_a_price_list_is_a_price_book(empty: CommandLine) -> None:
    empty.file("prices.csv", HEADER + GOOD + a_price(gpu_model="A100", price="1.234567890123"))
    empty.run("prices", "import", "prices.csv").done()

    empty.file("again.csv", empty.run("prices", "list", "--format", "csv").done().out)
    again = empty.run("prices", "import", "again.csv").done()

    assert again.out.startswith("0 prices added, 0 superseded, 2 unchanged; price book version 1.")
    # A price is never rounded, also not for people.
    assert "1.234567890123" in empty.run("prices", "list").done().out


def test_a_long_price_history_of_one_thing_is_no_work(empty: CommandLine) -> None:
    hours = [
        f"20{year:02}-{month:02}-{day:02}T{hour:02}:00:00Z"
        for year in range(10, 16)
        for month in range(1, 13)
        for day in range(1, 29)
        for hour in range(24)
    ]
    rows = [
        a_price(valid_from=start, valid_to=end, price=str(number % 90 + 1))
        for number, (start, end) in enumerate(pairwise(hours))
    ]
    assert len(rows) > 40_000
    late = a_price(valid_from=hours[20_000][:13] + ":30:00Z", valid_to=hours[20_001])
    empty.file("spot.csv", HEADER + "".join(rows) + late)

    # Every hour against every other would take minutes.
    empty.run("prices", "import", "spot.csv").refused(
        f"line {len(rows) + 2}, column valid_from: line 20002 prices the same"
    )
