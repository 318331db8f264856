"""The benchmarks run from end to end; how fast they are is not a test's business."""

import re
import subprocess
import sys
import tempfile
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

from benchmarks.asking import Served
from benchmarks.measuring import Measured, median_seconds
from tests.house import ROOT

_SECONDS = 300


@pytest.fixture(scope="module")
def quick_page() -> str:
    """The page that a small run writes."""
    # Not pytest's own folder: the embedded server needs its parents readable.
    with tempfile.TemporaryDirectory(prefix="gpuledger-bench-") as folder:
        out = Path(folder) / "benchmarks.md"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--quick", "--out", out, "--cache", folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return out.read_text(encoding="utf-8")


def figures(page: str) -> list[str]:
    """Return what the page's first table has figures of, numbers left out."""
    lines = dropwhile(lambda line: not line.startswith("|"), page.splitlines())
    rows = [*takewhile(lambda line: line.startswith("|"), lines)][2:]
    return [re.sub(r"\d[\d,]*", "N", row.split(" | ")[0].removeprefix("| ")) for row in rows]


def test_a_quick_run_measures_everything_that_has_a_target(quick_page: str) -> None:
    assert figures(quick_page) == [
        "Collect an hour of N GPUs",
        "Its peak memory",
        "N GPUs against N",
        "Rate N hours of it",
        "Collect N GPUs, half of them shared, against whole ones",
        "Rate them, against whole ones",
        "`/vN/costs` of it by team, pN",
        "`/vN/costs` of it by namespace,gpu_model,day, pN",
        "Weekly statement of it, N teams",
        "FOCUS export of a day by the hour, rows a second",
        "Close the month: pins and statements",
        "Rate the closed month again and compare",
    ]
    assert "nan" not in quick_page


def test_the_page_names_no_path(quick_page: str) -> None:
    written = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")

    for page in (quick_page, written):
        assert str(ROOT) not in page
        assert tempfile.gettempdir() not in page


def test_the_written_page_is_that_of_a_full_run(quick_page: str) -> None:
    written = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")

    assert figures(written) == figures(quick_page)
    assert "Collect an hour of 10,000 GPUs" in written
    assert "Rate 720 hours of it" in written


def test_a_quantile_is_the_time_that_so_many_requests_kept() -> None:
    served = Served(
        seconds=tuple(number / 1000 for number in range(40, 0, -1)),
        body_bytes=1,
        rows=1,
        complete=True,
    )

    # 38 of 40 requests took 38 ms or less.
    assert served.quantile(0.95) == 0.038
    assert served.quantile(1.0) == 0.040


def test_the_middle_run_counts() -> None:
    runs = [Measured(None, seconds, 1.0, 1.0) for seconds in (9.0, 1.0, 2.0)]

    assert median_seconds(runs) == 2.0
