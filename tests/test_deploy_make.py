"""The Makefile and .ci/run: the targets people are told of, and what they do without a part."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house import ROOT

PROMISED = {"help", "setup", "demo", "test", "check", "bench", "run", "migration"}


def make(
    *arguments: str, path: str | None = None, ci: str = ""
) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program is not None
    return subprocess.run(
        [program, "--no-print-directory", *arguments],
        cwd=ROOT,
        env={"PATH": path or os.environ["PATH"], "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_make_alone_lists_every_promised_target() -> None:
    listed = make().stdout

    assert set(re.findall(r"make ([a-z]+)", listed)) >= PROMISED


def test_the_server_runs_what_a_person_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert [line for line in script.splitlines() if line.startswith("make ")] == [
        "make check",
        "make test",
    ]
    assert "set -euo pipefail" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_check_covers_every_tool() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")

    for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports", "deptry", "db check"):
        assert tool in recipe


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH of somebody who is not root and has no Prometheus."""
    for name in ("bash", "sh", "make"):
        program = shutil.which(name)
        assert program is not None
        (tmp_path / name).symlink_to(program)
    identity = tmp_path / "id"
    identity.write_text("#!/bin/sh\necho 1000\n", encoding="utf-8")
    identity.chmod(0o755)
    return str(tmp_path)


def test_a_missing_prometheus_fails_on_the_server(bare_path: str) -> None:
    done = make("test-parts", path=bare_path, ci="true")

    assert done.returncode != 0
    assert "apt-get install prometheus victoria-metrics" in done.stderr


def test_a_missing_prometheus_is_said_to_a_person_whose_other_tests_still_run(
    bare_path: str,
) -> None:
    done = make("test-parts", path=bare_path)

    assert done.returncode == 0
    assert "apt-get install prometheus" in done.stderr


def test_a_migration_without_a_name_is_refused() -> None:
    done = make("-o", ".venv/.installed", "migration")

    assert done.returncode != 0
    assert 'make migration name="' in done.stderr
