"""The commands of docker-compose.yml, run as processes against a database of their own."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL

from tests.house import ROOT
from tests.real.ports import LOOPBACK, answers, free_port, wait_until
from tests.real.prometheus import running_prometheus
from tests.test_deploy import SERVICES

GPULEDGER = Path(sys.executable).with_name("gpuledger")
# Postgres, the application and its libraries start slowly while other tests have the cores.
START_SECONDS = 90.0

pytestmark = pytest.mark.xdist_group("processes")


def command_of(service: str, *, port: int = 8080) -> list[str]:
    """Return the service's command with the address of this test in the place of its own."""
    here = {"0.0.0.0": LOOPBACK, "8080": str(port)}
    return [str(GPULEDGER), *(here.get(word, word) for word in SERVICES[service]["command"])]


def environment_of(service: str, *, database: URL, config: Path, folder: Path) -> dict[str, str]:
    """Return the service's environment with this test's database, configuration and folder."""
    named = SERVICES[service]["environment"]
    here = {
        "GPULEDGER_CONFIG": str(config),
        "GPULEDGER_DATABASE_URL": database.set(drivername="postgresql").render_as_string(
            hide_password=False
        ),
        "GPULEDGER_SLACK_WEBHOOK_URL": "",
    }
    assert set(here) == set(named)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, **here, "GPULEDGER_REPORT_OUT": str(folder / "reports")}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """The configuration of compose, with a real and empty Prometheus in the place of its own."""
    text = (ROOT / "deploy" / "compose" / "gpuledger.toml").read_text(encoding="utf-8")
    with running_prometheus(tmp_path / "prometheus") as prometheus:
        file = tmp_path / "gpuledger.toml"
        file.write_text(text.replace("http://prometheus:9090", prometheus.url), encoding="utf-8")
        yield file


@contextmanager
def running(
    command: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a service until the block ends; it must still run then, and end by SIGTERM."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
        assert process.poll() is None, log.read_text(encoding="utf-8")
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
        # A server that has shut down in order may hand the signal on to the default handler.
        assert code in {0, -signal.SIGTERM}, f"{code}: {log.read_text(encoding='utf-8')}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=30)


def migrate(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_of("migrate"),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def test_migrate_api_and_worker_run_as_compose_runs_them(
    empty_database: URL, config: Path, tmp_path: Path
) -> None:
    def environment(service: str) -> dict[str, str]:
        return environment_of(service, database=empty_database, config=config, folder=tmp_path)

    first, second = migrate(environment("migrate")), migrate(environment("migrate"))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr

    port = free_port()
    api = running(command_of("api", port=port), environment("api"), tmp_path / "api.log")
    worker = running(command_of("worker"), environment("worker"), tmp_path / "worker.log")
    with api as api_process, worker as worker_process:
        wait_until(
            lambda: api_process.poll() is not None or answers(f"http://{LOOPBACK}:{port}/readyz"),
            timeout_seconds=START_SECONDS,
            what="the API becoming ready",
        )
        assert api_process.poll() is None, (tmp_path / "api.log").read_text(encoding="utf-8")
        assert health_check(port) == 0
        metrics = urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10)
        assert metrics.status == 200
        wait_until(
            lambda: worker_process.poll() is not None or registered_workers(empty_database) == 1,
            timeout_seconds=START_SECONDS,
            what="the worker asking for jobs",
        )


def registered_workers(database: URL) -> int:
    address = database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, connect_timeout=10) as connection:
        row = connection.execute("SELECT count(*) FROM procrastinate_workers").fetchone()
    return int(row[0]) if row else 0


def health_check(port: int) -> int:
    """Run the health check of compose and return its exit code."""
    kind, program, *arguments = SERVICES["api"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")
    here = [re.sub(r"127\.0\.0\.1:8080", f"{LOOPBACK}:{port}", word) for word in arguments]
    assert here != arguments
    return subprocess.run([sys.executable, *here], timeout=30, check=False).returncode


def test_the_health_check_fails_where_nothing_listens() -> None:
    assert health_check(free_port()) != 0


def test_the_api_is_not_ready_before_the_migration(
    empty_database: URL, config: Path, tmp_path: Path
) -> None:
    environment = environment_of("api", database=empty_database, config=config, folder=tmp_path)
    port = free_port()
    log = tmp_path / "api.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command_of("api", port=port), cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        wait_until(
            lambda: process.poll() is not None or answers(f"http://{LOOPBACK}:{port}/healthz"),
            timeout_seconds=START_SECONDS,
            what="the API answering or refusing to start",
        )
        assert not answers(f"http://{LOOPBACK}:{port}/readyz")
        if process.poll() is not None:
            assert "gpuledger db upgrade" in log.read_text(encoding="utf-8")
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_the_flags_of_the_compose_prometheus_are_known(tmp_path: Path) -> None:
    flags = SERVICES["prometheus"]["command"]
    ours = [f for f in flags if not f.startswith(("--config.file", "--storage.tsdb.path"))]

    assert ours
    with running_prometheus(tmp_path / "data", flags=ours) as server:
        assert answers(f"{server.url}/-/ready")
