"""The dashboard's files: nothing from elsewhere, nothing inline, nothing that is not there."""

import re
from pathlib import Path

import pytest

from app.chargeback.costs import COST_COLUMNS, SECONDS_COLUMNS
from app.findings.values import FindingKind
from app.workflows.planning_tables import BUDGET_COLUMNS
from tests.web.clients import SPAN, a_client

STATIC = Path(__file__).parents[2] / "app" / "web" / "static"
PAGE = (STATIC / "dashboard.html").read_text(encoding="utf-8")
SCRIPT = (STATIC / "dashboard.js").read_text(encoding="utf-8")
STYLE = (STATIC / "dashboard.css").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard.js", "text/javascript; charset=utf-8"),
        ("/dashboard.css", "text/css; charset=utf-8"),
    ],
)
def test_the_page_and_its_files_need_no_key_and_may_load_from_here_only(
    url: str, kind: str
) -> None:
    answer = a_client(key=None).get(url)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_no_address_of_another_host_is_in_the_files() -> None:
    foreign = re.findall(r"(?:https?:)?//[\w.-]+", PAGE + STYLE + SCRIPT)

    assert [address for address in foreign if "w3.org" not in address] == []


def test_nothing_is_written_into_the_page_that_the_policy_forbids() -> None:
    assert "<style" not in PAGE
    assert " style=" not in PAGE
    assert not re.search(r"\son\w+=", PAGE)
    assert re.findall(r"<script([^>]*)>", PAGE) == [' src="/dashboard.js" defer']
    assert "innerHTML" not in SCRIPT
    assert '"style"' not in SCRIPT


def test_every_part_of_the_page_that_the_script_fills_is_there() -> None:
    asked = set(re.findall(r'byId\("(\w+)"\)', SCRIPT)) | set(re.findall(r'fill\("(\w+)"', SCRIPT))

    assert asked
    assert asked <= set(re.findall(r'id="(\w+)"', PAGE))


def test_the_script_asks_for_addresses_that_answer() -> None:
    client = a_client()

    paths = set(re.findall(r'"(/v1/\w+)"', SCRIPT))

    assert paths == {
        *("/v1/costs", "/v1/inference", "/v1/findings", "/v1/coverage"),
        *("/v1/periods", "/v1/budgets"),
    }
    for path in paths:
        query = f"?{SPAN}&limit=10000" if path in ("/v1/costs", "/v1/inference") else ""
        assert client.get(path + query).status_code == 200


def test_the_script_reads_columns_that_the_tables_have() -> None:
    known = {*COST_COLUMNS, *SECONDS_COLUMNS, *BUDGET_COLUMNS, "total_cost", "wasted_cost"}

    read = set(re.findall(r"row\.(gpu_seconds_\w+|\w+_cost)\b", SCRIPT))

    assert read
    assert read <= known


def test_the_script_reads_columns_that_budgets_have() -> None:
    drawing = SCRIPT[SCRIPT.index("function drawBudgets") : SCRIPT.index("const SHOWN_PERIODS")]

    read = set(re.findall(r"row\.(\w+)", drawing))

    assert len(read) > 5
    assert read <= set(BUDGET_COLUMNS)


def test_every_kind_of_finding_has_a_title_and_a_reason() -> None:
    for kind in FindingKind:
        assert SCRIPT.count(f"  {kind.value}: ") == 2
