"""Runs every scenario of the folder sharing: who held what of shared devices, and what it cost.

Each file says what nodes and pods there were, and which lines are expected in GPU-milliseconds and
billionths of the currency. All lines together are the price of the hardware.
"""

import tomllib
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.scenarios.told_cluster import Ledger, ledger_of

FILES = sorted((Path(__file__).parent / "sharing").glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sharing_scenario(path: Path, database: Engine) -> None:
    document = tomllib.loads(path.read_text(encoding="utf-8"))

    ledger = ledger_of(document, database)

    assert table(ledger) == expected(document["expect"])
    assert sum(gpu_ms for gpu_ms, _ in ledger.lines.values()) == ledger.capacity_ms
    assert sum(nanos for _, nanos in ledger.lines.values()) == ledger.cost_nanos
    assert ledger.notes == sorted(document.get("notes", []))


def test_there_are_sharing_scenarios() -> None:
    assert len(FILES) >= 20


def table(ledger: Ledger) -> list[tuple[str, str, int, int]]:
    return sorted((*key, *amounts) for key, amounts in ledger.lines.items() if any(amounts))


def expected(text: str) -> list[tuple[str, str, int, int]]:
    rows = [
        tuple(cell.strip() for cell in line.split("|")) for line in text.strip().splitlines()[1:]
    ]
    return sorted(
        (holder, kind, int(gpu_ms.replace("_", "")), int(nanos.replace("_", "")))
        for holder, kind, gpu_ms, nanos in rows
    )
