"""A process that imports everything once and then forks children that a test may kill.

Run as a module it reads one JSON object a line (the name of a job and its arguments) and answers
with the child's process id. It has no threads, so what it forks starts clean.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.house import ROOT
from tests.workflows import killable

Job = Callable[..., None]


class Nursery:
    """The test's side: starts children, kills them, waits for their end."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log

    def start(self, job: Job, **arguments: object) -> int:
        """Fork a child that does a job of `killable`; return its process id."""
        return self._ask({"job": job.__name__, "arguments": arguments})

    def kill(self, pid: int) -> bool:
        """End a child at this very instant; say whether it had not ended well by itself."""
        os.kill(pid, signal.SIGKILL)
        code = self.wait(pid)
        assert code in {0, -signal.SIGKILL}, self._log.read_text(encoding="utf-8")
        return code != 0

    def wait(self, pid: int) -> int:
        """Return how a child ended: its exit code, or the signal as a negative number."""
        return self._ask({"wait": pid})

    def _ask(self, command: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text(encoding="utf-8")
        return int(answer)


@contextmanager
def running_nursery(folder: Path) -> Iterator[Nursery]:
    """Keep a nursery until the block ends; its children end with it."""
    log = folder / "nursery.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.workflows.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        yield Nursery(process, log)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(timeout=20)
        process.stdout.close()


def keep(commands: IO[str]) -> None:
    """Obey the test until it is gone."""
    children: set[int] = set()
    for line in commands:
        command = json.loads(line)
        if "wait" in command:
            _, status = os.waitpid(command["wait"], 0)
            children.discard(command["wait"])
            _answer(os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if pid == 0:
            _live(getattr(killable, command["job"]), command["arguments"])
        children.add(pid)
        _answer(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _live(job: Job, arguments: dict[str, object]) -> None:
    code = 1
    try:
        job(**arguments)
        code = 0
    except BaseException:  # noqa: BLE001 a child tells the log and its exit code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    keep(sys.stdin)
