"""Every report that ships, over a ledger of two hours: 8 GPUs at 3.00, of which search holds 2."""

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.chargeback.periods import parse_period
from app.chargeback.reports import ReportDefinition, ReportFormat, parse_report
from app.delivery.destinations import Destination
from app.delivery.files import DestinationError
from app.delivery.rendering import rendered
from app.store.findings import FindingStore
from app.store.reports import ReportStore
from app.units.window import HOUR_MS
from app.workflows.planning import latch_budgets
from app.workflows.publishing import ReportTarget, publish, read_report
from app.workflows.rating import rate_window
from app.workflows.report_sources import ReportTerms
from tests.findings.builders import a_finding, a_tracked
from tests.house import ROOT
from tests.store.builders import CLUSTER, NOON_MS
from tests.workflows.stored import UTC_ZONE, collect, contract, prices, span

TERMS = ReportTerms(zone=UTC_ZONE, currency="USD")
PERIODS = {"weekly_chargeback": "2026-W48", "waste": "2026-W48"}
CONTRACT = """\
teams:
  - { name: search, cost_center: CC-1, namespaces: ["search-*"], budget: {monthly: "20"} }
  - { name: ml, cost_center: CC-2, namespaces: ["ml-*"], budget: {monthly: "100.005"} }
platform: { team: platform, namespaces: [gpu-operator] }
"""
HEAD = "report,period,period_start,period_end,issue,status,basis,row"


def shipped(name: str) -> ReportDefinition:
    return parse_report(name, (ROOT / "reports" / f"{name}.toml").read_text(encoding="utf-8"))


@pytest.fixture
def ledger(database: Engine) -> Engine:
    collect(database, hours=2)
    prices(database)
    contract(database, CONTRACT)
    rate_window(CLUSTER, span(2), engine=database, billing_zone=UTC_ZONE)
    idle = a_finding(team="=search", pod="+pod")
    with database.begin() as connection:
        FindingStore(connection).put(
            [
                replace(a_tracked(idle), first_seen_ms=NOON_MS, last_seen_ms=NOON_MS + HOUR_MS),
                replace(
                    a_tracked(a_finding(hold_id=2, team="ml")),
                    first_seen_ms=NOON_MS - 300 * HOUR_MS,
                    last_seen_ms=NOON_MS - 200 * HOUR_MS,
                ),
            ]
        )
    return database


def lines(engine: Engine, name: str, team: str = "") -> list[str]:
    """The report's CSV without what is the same in every row."""
    with engine.connect() as connection:
        document = read_report(
            connection, shipped(name), PERIODS.get(name, "2026-11"), terms=TERMS, team=team
        )
    heading, *rows = document.csv().decode().splitlines()
    assert heading.startswith(HEAD)
    return [re.split(",posted,|,usage,", row, maxsplit=1)[1] for row in rows]


TAIL = 'USD,"whole node: GPU, CPU, memory, disk"'
NOTHING = "0.00,0.00,0.00,0.00,0.00"
# Of search: 4 hours held and idle. Of the platform: 12 hours that nobody held.
SEARCH = f"4.00,0.00,4.00,{NOTHING},0.00,12.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00,12.00"
PLATFORM = "0.00,0.00,0.00,0.00,12.00,0.00,0.00,0.00,0.00,0.00,0.00,36.00," + f"{NOTHING},36.00"
BOTH = "4.00,0.00,4.00,0.00,12.00,0.00,0.00,0.00,0.00,12.00,0.00,36.00," + f"{NOTHING},48.00"
H100 = "NVIDIA-H100-80GB-HBM3"


def test_the_weekly_chargeback_is_what_each_team_is_charged(ledger: Engine) -> None:
    assert lines(ledger, "weekly_chargeback") == [
        f"detail,,platform,{H100},{PLATFORM},{TAIL},false",
        f"detail,CC-1,search,{H100},{SEARCH},{TAIL},false",
        f"total,,,,{BOTH},{TAIL},false",
    ]


def test_the_monthly_chargeback_says_shares_and_how_much_is_measured(ledger: Engine) -> None:
    # search pays 12.00 of 48.00 for 4 hours; of 16 hours of GPUs 12 were nobody's.
    assert lines(ledger, "monthly_chargeback") == [
        f"detail,,platform,prod-eu,{H100},{PLATFORM},0.7500,,,1.0000,{TAIL},false",
        f"detail,CC-1,search,prod-eu,{H100},{SEARCH},0.2500,3.00,1.0000,0.0000,{TAIL},false",
        f"total,,,,,{BOTH},1.0000,12.00,1.0000,0.7500,{TAIL},false",
    ]


def test_cost_per_inference_has_the_volume_beside_the_unit_costs(ledger: Engine) -> None:
    # 20 requests for 12.00; no engine counted failures or cached tokens: empty, not 0. The GPUs
    # were never active, so that on the used basis it cost nothing; no objective is stated.
    reserved, used = "12.00,0.60,2000.00,8000.00,4000.00", "0.00,0.00,0.00,,,"
    costs = f"20,,2000,,1000,4.00,{reserved},{used},0.0000,,,"

    assert lines(ledger, "cost_per_inference") == [
        f"detail,llama,search,{costs},{TAIL},false",
        f"total,,,{costs},{TAIL},false",
    ]


def test_waste_is_what_stood_in_the_week_and_runs_no_formula(ledger: Engine) -> None:
    # The finding of ml was over 200 hours before, that is in the week before.
    finding = (
        f"'=search,idle_hold,open,prod-eu,{H100},ml-research,Deployment/notebook,'+pod,gpu-1,"
        "34f304748cea1c0d,2026-11-23T12:00:00Z,2026-11-23T13:00:00Z"
    )

    assert lines(ledger, "waste") == [
        f"detail,{finding},23.00,23.00,23.00,{TAIL},true",
        f"total,,,,,,,,,,,,,23.00,23.00,23.00,{TAIL},true",
    ]


def test_budgets_have_a_row_for_a_team_that_spent_nothing(ledger: Engine) -> None:
    with ledger.begin() as connection:
        latch_budgets(connection, parse_period("2026-11", UTC_ZONE), span(2).end, zone=UTC_ZONE)

    # Of 20.00 search spent 12.00, three fifths; the platform has no budget that could remain.
    assert lines(ledger, "budget") == [
        f"detail,ml,100.00,0.00,100.00,0.0000,,{TAIL},true",
        f"detail,platform,,36.00,,,,{TAIL},false",
        f"detail,search,20.00,12.00,8.00,0.6000,spent 50%,{TAIL},false",
        f"total,,120.00,48.00,108.00,0.1000,,{TAIL},false",
    ]


def test_a_team_reads_its_rows_only(ledger: Engine) -> None:
    assert [row.split(",")[2] for row in lines(ledger, "weekly_chargeback", "search")[:-1]] == [
        "search"
    ]
    assert [row.split(",")[1] for row in lines(ledger, "budget", "ml")] == ["ml", ""]
    assert lines(ledger, "waste", "nobody") == [f"total,,,,,,,,,,,,,0.00,,,{TAIL},false"]


def test_an_open_month_is_provisional_and_says_how_much_is_known(ledger: Engine) -> None:
    with ledger.connect() as connection:
        document = read_report(connection, shipped("monthly_chargeback"), "2026-11", terms=TERMS)

    about = {label: str(cell) for label, cell in document.about}
    assert about["status"] == "provisional"
    assert about["hours_collected"] == "2"
    assert about["hours_missing"] == "718"
    assert about["unallocated_ratio"] == "0.7500"
    assert about["measured_ratio"] == "1.0000"
    assert about["owned_cost_ratio"] == "1.0000"
    assert (about["price_version"], about["contract_version"]) == ("1", "1")


def test_a_read_is_no_issue_until_the_report_was_published(ledger: Engine, tmp_path: Path) -> None:
    definition = shipped("monthly_chargeback")

    def read() -> int:
        with ledger.connect() as connection:
            return read_report(connection, definition, "2026-11", terms=TERMS).issue.number

    assert read() == 0
    made = run(ledger, definition, tmp_path)
    assert made == read() == 1


def test_all_formats_are_one_issue_and_every_file_is_recorded(
    ledger: Engine, tmp_path: Path
) -> None:
    definition = shipped("monthly_chargeback")
    run(ledger, definition, tmp_path, *ReportFormat)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert run(ledger, definition, tmp_path, *ReportFormat) == 1

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert sorted(first) == [
        f"monthly_chargeback-2026-11-1.{form}" for form in sorted(ReportFormat)
    ]
    with ledger.connect() as connection:
        runs = ReportStore(connection).runs("monthly_chargeback", limit=10)
        document = read_report(connection, definition, "2026-11", terms=TERMS)
    assert [one.number for one in runs] == [1] * 6
    assert {one.definition_sha256 for one in runs} == {definition.sha256}
    for one in runs:
        content = rendered(document, ReportFormat(one.form))
        assert first[Path(one.address).name] == content
        assert (one.sha256, one.size_bytes) == (sha256(content).hexdigest(), len(content))


def test_another_definition_of_the_same_name_is_another_issue(
    ledger: Engine, tmp_path: Path
) -> None:
    definition = shipped("monthly_chargeback")
    changed = parse_report(
        definition.name,
        (ROOT / "reports" / "monthly_chargeback.toml").read_text(encoding="utf-8")
        + "# A word more.\n",
    )

    assert [run(ledger, one, tmp_path) for one in (definition, changed, changed)] == [1, 2, 2]


def test_a_format_that_cannot_be_sent_leaves_the_issue_due(ledger: Engine, tmp_path: Path) -> None:
    definition = shipped("monthly_chargeback")
    (tmp_path / "monthly_chargeback-2026-11-1.xlsx").mkdir()

    with pytest.raises(DestinationError):
        run(ledger, definition, tmp_path, ReportFormat.CSV, ReportFormat.XLSX)

    with ledger.connect() as connection:
        last = ReportStore(connection).latest("monthly_chargeback", "2026-11")
        runs = ReportStore(connection).runs(limit=10)
    assert last is not None
    assert last.sent_ms is None
    assert [one.form for one in runs] == ["csv"]


def run(engine: Engine, definition: ReportDefinition, folder: Path, *forms: ReportFormat) -> int:
    """Publish November and return the number of the issue."""
    target = ReportTarget(
        destination=Destination(url=str(folder)), formats=forms or (ReportFormat.CSV,)
    )
    published = publish(
        definition, "2026-11", engine=engine, terms=TERMS, target=target, at_ms=NOON_MS
    )
    return published.made.number
