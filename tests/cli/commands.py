"""Runs `gpuledger` as a user does: arguments and environment in, exit code and text out."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.pool import Pool

from app.cli import main
from tests.house import ROOT

# Postgres and the libraries start slowly while other tests have the cores.
LONGEST_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, str]]:
        """Return what was printed as CSV."""
        return list(csv.DictReader(io.StringIO(self.out)))

    def json(self) -> list[dict[str, object]]:
        """Return what was printed as JSON."""
        rows: list[dict[str, object]] = json.loads(self.out)
        return rows

    def refused(self, *words: str) -> str:
        """Return the one error of a command that was used wrongly."""
        return self._error(2, words)

    def failed(self, *words: str) -> str:
        """Return the one error of a command that could not do its work."""
        return self._error(1, words)

    def done(self) -> "Ended":
        """Return itself, after a command that did its work."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self

    def _error(self, code: int, words: tuple[str, ...]) -> str:
        said = f"exit code {self.code}\n{self.out}\n{self.err}"
        assert self.code == code, said
        errors = [line for line in self.err.splitlines() if line.startswith("gpuledger: ")]
        assert len(errors) == 1, said
        assert "Traceback" not in self.err, said
        for word in words:
            assert word in self.err, f"{word!r} is not in: {said}"
        return errors[0].removeprefix("gpuledger: ")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A user's shell: a folder, variables that are set, and a database."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, **variables: str) -> Ended:
        """Run a command in this process: the same entry point, none of the seconds of a start."""
        out, err = io.StringIO(), io.StringIO()
        with (
            _environment({**self.variables, **variables}),
            chdir(self.folder),
            _closed_afterwards(),
            redirect_stdout(out),
            redirect_stderr(err),
            _arguments(arguments),
        ):
            try:
                main()
                code = 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return Ended(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, **variables: str) -> Ended:
        """Run a command as a process of its own."""
        ended = subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            cwd=self.folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def environment(self, **variables: str) -> dict[str, str]:
        """Return what a process of this shell sees."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, "PYTHONPATH": str(ROOT), **self.variables, **variables}

    def file(self, name: str, content: str | bytes) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def shell(folder: Path, database: URL | None, **variables: str) -> CommandLine:
    """Return a shell in ``folder`` on a database, or on none."""
    given = {"GPULEDGER_REPORTS_DIR": str(ROOT / "reports"), **variables}
    if database is not None:
        address = database.set(drivername="postgresql")
        given["GPULEDGER_DATABASE_URL"] = address.render_as_string(hide_password=False)
    return CommandLine(folder, given)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables, and no other of gpuledger's, until the block ends."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("GPULEDGER_"):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _arguments(arguments: tuple[str, ...]) -> Iterator[None]:
    before = sys.argv
    sys.argv = ["gpuledger", *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _closed_afterwards() -> Iterator[None]:
    """Close the database connections that a command leaves to the end of its process."""
    opened: list[object] = []

    def remember(connection: object, _record: object) -> None:
        opened.append(connection)

    event.listen(Pool, "connect", remember)
    try:
        yield
    finally:
        event.remove(Pool, "connect", remember)
        for connection in opened:
            connection.close()  # type: ignore[attr-defined]  # whatever the driver calls one
