"""What is printed: names of columns, plain figures, and sums that agree however one asks."""

import csv
import io
import json
import re
from decimal import Decimal

import pytest

from app.chargeback.costs import COST_GROUPS
from app.chargeback.inference import (
    GOODPUT_COLUMNS,
    MORE_UNIT_COST_COLUMNS,
    USED_UNIT_COST_COLUMNS,
)
from tests.cli.commands import CommandLine
from tests.cli.stage import SPAN

COSTS = [
    "gpu_seconds_held",
    "gpu_seconds_active",
    "gpu_seconds_idle",
    "gpu_seconds_unmeasured",
    "gpu_seconds_unallocated",
    "gpu_seconds_stranded",
    "gpu_seconds_unobserved",
    "gpu_seconds_unpriced",
    "used_cost",
    "idle_cost",
    "unmeasured_cost",
    "unallocated_cost",
    "stranded_cost",
    "unobserved_cost",
    "commitment_unused_cost",
    "redistributed_cost",
    "adjustment_cost",
    "total_cost",
    "currency",
    "complete",
]
INFERENCE = [
    "requests",
    "failed_requests",
    "prompt_tokens",
    "cached_prompt_tokens",
    "generation_tokens",
    "gpu_seconds",
    "total_cost",
    "cost_per_request",
    "cost_per_million_prompt_tokens",
    "cost_per_million_generation_tokens",
    "cost_per_million_tokens",
    "active_ratio",
    "ttft_p50_seconds",
    "ttft_p95_seconds",
    "e2e_p95_seconds",
    "cold_start_p50_seconds",
    "complete",
]
DETAILS = [
    "reasoning_tokens",
    "inter_token_p50_seconds",
    "inter_token_p95_seconds",
    "queue_p95_seconds",
]
PLAIN = re.compile(r"-?\d+(\.\d+)?")
# Three nodes of four GPUs for an hour at 3 USD; each segment is rounded to a nano.
WHOLE = Decimal(36)


def sums(rows: list[dict[str, str]]) -> dict[str, Decimal]:
    summed = [name for name in COSTS if name not in ("currency", "complete")]
    return {name: sum(Decimal(row[name]) for row in rows) for name in summed}


def test_costs_have_the_columns_of_the_design(standing: CommandLine) -> None:
    ended = standing.run("costs", *SPAN, "--group-by", "team,kind", "--format", "csv").done()

    assert ended.out.splitlines()[0].split(",") == ["team", "kind", *COSTS]
    for row in ended.rows():
        assert all(PLAIN.fullmatch(row[name]) for name in COSTS[:-2]), row
        assert (row["currency"], row["complete"]) == ("USD", "true")


def test_inference_has_the_columns_of_the_design_and_why_a_figure_is_missing(
    standing: CommandLine,
) -> None:
    ended = standing.run("inference", *SPAN, "--group-by", "service", "--format", "csv").done()

    header = ended.out.splitlines()[0].split(",")
    bases = ("used_cost", *MORE_UNIT_COST_COLUMNS, *USED_UNIT_COST_COLUMNS)
    further = (*DETAILS, *bases, *GOODPUT_COLUMNS)
    assert header == ["service", *INFERENCE, "unit_cost_reason", *further]
    for row in ended.rows():
        figures = [row[name] for name in INFERENCE[:-1] if row[name]]
        assert all(PLAIN.fullmatch(figure) for figure in figures), row


@pytest.mark.parametrize("group", [*COST_GROUPS, "", "team,gpu_model,day", "hour,pod,kind,charge"])
def test_costs_sum_to_the_price_of_the_fleet_however_they_are_grouped(
    standing: CommandLine, group: str
) -> None:
    rows = standing.run("costs", *SPAN, "--group-by", group, "--format", "csv").done().rows()
    reference = standing.run("costs", *SPAN, "--group-by", "", "--format", "csv").done().rows()

    total = sums(rows)
    assert total == sums(reference)
    assert abs(total["total_cost"] - WHOLE) < Decimal("0.000001")
    assert total["total_cost"] == sum(
        value for name, value in total.items() if name.endswith("_cost") and name != "total_cost"
    )
    states = ("held", "unallocated", "stranded", "unobserved")
    assert sum(total[f"gpu_seconds_{state}"] for state in states) == 12 * 3600
    parts = ("active", "idle", "unmeasured")
    assert sum(total[f"gpu_seconds_{part}"] for part in parts) == total["gpu_seconds_held"]


@pytest.mark.parametrize("column", ["team", "namespace", "kind", "gpu_model", "node", "cluster"])
def test_filters_take_the_whole_apart(standing: CommandLine, column: str) -> None:
    asked = ("costs", *SPAN, "--format", "csv", "--group-by")
    rows = standing.run(*asked, column).done().rows()

    for row in rows:
        (alone,) = standing.run(*asked, column, "--filter", f"{column}={row[column]}").done().rows()
        assert alone == row
    both = [part for row in rows for part in ("--filter", f"{column}={row[column]}")]
    assert standing.run(*asked, column, *both).done().rows() == rows
    assert standing.run(*asked, column, "--filter", f"{column}=?").done().rows() == []


@pytest.mark.parametrize(
    "command",
    [
        ("costs", *SPAN, "--group-by", "team,namespace"),
        ("inference", *SPAN),
        ("findings", "list"),
        ("prices", "list"),
        ("keys", "list"),
        ("report", "list"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_formats_say_the_same(standing: CommandLine, command: tuple[str, ...]) -> None:
    as_csv = standing.run(*command, "--format", "csv").done()
    as_json = standing.run(*command, "--format", "json").done()
    as_table = standing.run(*command).done()

    rows = as_csv.rows()
    assert rows
    texts = [{name: _text(value) for name, value in row.items()} for row in as_json.json()]
    assert texts == rows
    # No reader may turn money into a float.
    assert "." not in "".join(re.findall(r": (-?[\d.]+),?\n", as_json.out))
    assert all(row[next(iter(row))] in as_table.out for row in rows)
    assert "\x1b[" not in as_table.out


def test_the_table_for_people_separates_thousands_and_rounds_only_money(
    standing: CommandLine,
) -> None:
    (row, *_) = standing.run("inference", *SPAN, "--format", "csv").done().rows()

    shown = standing.run("inference", *SPAN).done().out

    assert f"{int(row['prompt_tokens']):,}" in shown
    assert f"{Decimal(row['total_cost']):,.2f}" in shown


def test_a_report_sums_to_the_costs_of_its_period(standing: CommandLine) -> None:
    ended = standing.run(
        "report", "run", "weekly_chargeback", "--period", "2025-W45", "--out", "week.csv"
    ).done()
    text = (standing.folder / "week.csv").read_bytes()
    again = standing.run(
        "report", "run", "weekly_chargeback", "--period", "2025-W45", "--out", "again.csv"
    ).done()

    rows = list(csv.DictReader(io.StringIO(text.decode())))
    details = [row for row in rows if row["row"] == "detail"]
    (total,) = (row for row in rows if row["row"] == "total")
    assert "provisional" in ended.err
    assert {row["status"] for row in rows} == {"provisional"}
    for name in (name for name in rows[0] if name.endswith("_cost")):
        assert sum(Decimal(row[name]) for row in details) == Decimal(total[name])
    assert Decimal(total["total_cost"]) == WHOLE
    assert (standing.folder / "again.csv").read_bytes() == text
    assert ended.out.split(", ", 1)[1] == again.out.split(", ", 1)[1]


def test_a_report_that_cannot_be_written_leaves_no_file(standing: CommandLine) -> None:
    standing.file("a-file", "")
    week = ("report", "run", "weekly_chargeback", "--period", "2025-W45", "--out")

    standing.run(*week, "a-file/week.csv").failed("could not be written")
    standing.run(*week, str(standing.folder)).failed("could not be written", "Is a directory")

    assert not list(standing.folder.glob("**/*.tmp"))
    assert (standing.folder / "a-file").read_bytes() == b""


def test_definitions_come_along_wherever_one_works(standing: CommandLine) -> None:
    elsewhere = CommandLine(
        standing.folder,
        {name: text for name, text in standing.variables.items() if "REPORTS" not in name},
    )

    assert "weekly_chargeback" in elsewhere.run("report", "list").done().out
    named = elsewhere.run("report", "list", GPULEDGER_REPORTS_DIR="nowhere")
    named.refused("There is no folder nowhere of report definitions")


def test_a_charge_is_explained_by_the_id_that_the_costs_show(standing: CommandLine) -> None:
    asked = ("costs", *SPAN, "--group-by", "charge,kind,team,pod", "--format", "csv")
    rows = standing.run(*asked).done().rows()

    for row in rows:
        said = standing.run("explain", row["charge"]).done().out
        assert row["charge"] in said
        assert row["team"] in said
        assert row["pod"] in said
        assert f"{Decimal(row['total_cost']):.9f} USD" in said
        assert "3 USD per gpu-hour for every pool" in said
        assert f"{row['team']}, since " in said


def test_prices_are_tested_by_the_columns_that_they_are_found_by(standing: CommandLine) -> None:
    at = ("prices", "test", "--at", "2025-11-03T10:00Z", "--gpu-model", "H100")

    found = standing.run(*at, "--provider", "aws", "--region", "eu-west-1").done()
    early = standing.run("prices", "test", "--at", "2024-01-01", "--gpu-model", "H100")

    assert "3 USD per gpu_hour for anything" in found.out
    assert early.code == 1
    assert early.out.splitlines() == [
        "No row prices it: such time is unpriced.",
        "  not 3 USD per gpu_hour for anything: it is not valid yet",
    ]


def test_json_is_json_also_where_there_is_nothing(empty: CommandLine) -> None:
    for command in (("findings", "list"), ("prices", "list"), ("costs", *SPAN)):
        assert json.loads(empty.run(*command, "--format", "json").done().out) == []


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
