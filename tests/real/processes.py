"""A real server as a process of its own, from its start to its end."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.real.ports import answers, wait_until


@contextmanager
def serving(command: Sequence[str], *, ready_url: str, log: Path, what: str) -> Iterator[int]:
    """Run a server until the block ends; give its process id once ``ready_url`` answers 200."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={"PATH": os.environ["PATH"]}
        )
    try:
        wait_until(
            lambda: process.poll() is not None or answers(ready_url),
            timeout_seconds=60,
            what=f"{what} becoming ready",
        )
        assert process.poll() is None, f"{what} ended: {log.read_text(encoding='utf-8')}"
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)
