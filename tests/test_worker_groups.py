"""Tests of one group run in one worker, so that what they share is built once."""

import subprocess
import sys
from pathlib import Path

GROUPED = """
import pytest

pytestmark = pytest.mark.xdist_group("shared")


@pytest.mark.parametrize("number", range(8))
def test_it(number, worker_id, tmp_path_factory):
    place = tmp_path_factory.getbasetemp().parent / "workers"
    with place.open("a") as out:
        out.write(worker_id + chr(10))
"""


def test_a_group_is_one_workers(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(GROUPED, encoding="utf-8")
    base = tmp_path / "base"

    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup"),
            *("-p", "no:cacheprovider", f"--basetemp={base}", "test_grouped.py"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60,
    )

    workers = (base / "workers").read_text(encoding="utf-8").split()
    assert len(workers) == 8
    assert len(set(workers)) == 1
