"""`gpuledger consumers`: who sent tokens, as CSV and JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from tests.house import ROOT
from tests.workflows.gateway_days import Days, Service, a_line, hour

SPAN = ("--start", "2026-11-23T00:00:00Z", "--end", "2026-11-24T00:00:00Z")
SERVICE = Service("eu", "llama")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(database: Engine, database_url: URL, tmp_path: Path) -> Run:
    """A command line on a ledger of one service that cost 4.00 and two consumers."""
    days = Days(database, UTC)
    days.charge(hour(1), a_line(hour(1), SERVICE, 4_000_000_000))
    days.serve(hour(1), SERVICE, prompt=0, generation=500)
    days.send(hour(1), 300, key="search-key")
    days.send(hour(1), 100)
    days.redistribute()
    address = database_url.render_as_string(hide_password=False)
    environment = {"GPULEDGER_DATABASE_URL": address, "PYTHONPATH": str(ROOT)}

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app", *words],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return command


def test_consumers_are_listed_filtered_and_sum_to_the_whole(run: Run) -> None:
    as_csv = run("consumers", *SPAN, "--format", "csv")
    as_json = run("consumers", *SPAN, "--filter", "team=unowned", "--format", "json")
    costs = run("costs", *SPAN, "--group-by", "consumer", "--format", "json")

    header, nobody, search = as_csv.stdout.splitlines()
    assert header.startswith("day,cluster,namespace,service,gateway,consumer,team,matched_by")
    assert nobody.split(",")[5:7] == ["no identity", "provider"]
    assert search.endswith("1200,400,500,0.8000,3.00,USD")
    assert [row["reassigned_cost"] for row in json.loads(as_json.stdout)] == []
    rows = {row["consumer"]: row["total_cost"] for row in json.loads(costs.stdout)}
    assert rows == {"": "0.00", "no identity": "1.00", "search-key": "3.00"}


def test_a_column_that_consumers_do_not_have_is_bad_usage(run: Run) -> None:
    refused = run("consumers", *SPAN, "--filter", "node=gpu-1")

    assert refused.returncode == 2
    assert "node" in refused.stderr


def test_a_source_that_no_gateway_is_called_is_warned_of(run: Run, tmp_path: Path) -> None:
    contract = tmp_path / "teams.yaml"
    contract.write_text("teams: [{ name: a }]\nconsumers: { source: lite_llm }\n", encoding="utf-8")

    applied = run("contract", "apply", str(contract), "--dry-run")

    assert applied.returncode == 0
    assert "no gateway is called 'lite_llm'; known are litellm" in " ".join(applied.stderr.split())
