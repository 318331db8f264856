"""A real Prometheus on a free port, its history loaded by promtool."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.real.ports import LOOPBACK, free_port
from tests.real.processes import serving

NO_SCRAPES = "global: {}\n"
# A fleet's history may lie years before the day of the test: unless a test says otherwise, keep it.
RETENTION = "--storage.tsdb.retention"


@dataclass(frozen=True, slots=True)
class RunningPrometheus:
    """Where a server answers, and the process that does."""

    url: str
    pid: int
    log: Path


def binary(name: str) -> str:
    """Return the path of one of Debian's binaries; a machine without it fails the test."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is missing: apt-get install prometheus (make test does it for root)"
        raise AssertionError(message)
    return path


def backfill(openmetrics: Path, data: Path, *, timeout_seconds: float = 300) -> None:
    """Turn an OpenMetrics file into blocks under ``data``."""
    data.mkdir(parents=True, exist_ok=True)
    command = [binary("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    done = subprocess.run(
        [*command, "--quiet", str(openmetrics), str(data)],
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert done.returncode == 0, f"promtool refused {openmetrics}: {done.stderr or done.stdout}"


@contextmanager
def running_prometheus(
    data: Path, *, config: str = NO_SCRAPES, flags: Sequence[str] = ()
) -> Iterator[RunningPrometheus]:
    """Serve the blocks under ``data`` until the block ends."""
    data.mkdir(parents=True, exist_ok=True)
    config_file, log = data / "prometheus.yml", data / "prometheus.log"
    config_file.write_text(config, encoding="utf-8")
    port = free_port()
    command = [
        binary("prometheus"),
        f"--config.file={config_file}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--log.level=warn",
        *flags,
    ]
    if not any(flag.startswith(RETENTION) for flag in flags):
        command.append(f"{RETENTION}=100y")
    url = f"http://{LOOPBACK}:{port}"
    with serving(command, ready_url=f"{url}/-/ready", log=log, what="Prometheus") as pid:
        yield RunningPrometheus(url, pid, log)
