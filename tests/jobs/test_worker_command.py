"""`gpuledger worker` as real processes beside simulated servers that live in the present."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app.jobs import build_app
from app.settings import load_settings
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import HOUR_MS, FleetSpec
from app.store.findings import FindingStore
from app.store.holds import HoldStore
from app.store.windows import WindowStore
from app.units.window import Window, from_ms, to_ms
from app.usage.kinds import HoldSource
from app.wiring import Ledger
from app.workflows.imports import import_prices
from tests.house import ROOT
from tests.real.ports import wait_until
from tests.real.slack import SlackServer

pytestmark = pytest.mark.xdist_group("processes")

GPULEDGER = Path(sys.executable).with_name("gpuledger")
CLUSTER = "present"
# Python, Postgres and the libraries start slowly while other tests have the cores.
PATIENCE_SECONDS = 90.0
HOURS = 2
PRICE = """\
cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,valid_from,valid_to,source
,,,,,,,gpu_hour,3.00,USD,2026-01-01,,list
"""


def present_ms() -> int:
    return to_ms(datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Present:
    """A configured ledger of a fleet that lives now; ``end`` is the last whole hour."""

    config: Path
    database: URL
    engine: Engine
    end: datetime
    slack: SlackServer
    log: Path

    def window(self) -> Window:
        return Window(self.end - timedelta(hours=HOURS), self.end)

    def rated_hours(self) -> int:
        with self.engine.connect() as connection:
            states = WindowStore(connection, CLUSTER).within(self.window())
        return sum(not state.pending for state in states)

    def count(self, question: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.scalar(text(question)) or 0)

    @contextmanager
    def worker(self, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a worker until the block ends."""
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [str(GPULEDGER), "worker", *options],
                cwd=ROOT,
                env=self._environment(),
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=30)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {
            **kept,
            "GPULEDGER_CONFIG": str(self.config),
            "GPULEDGER_DATABASE_URL": self.address(),
            "GPULEDGER_SLACK_WEBHOOK_URL": self.slack.url,
        }

    def address(self) -> str:
        plain = self.database.set(drivername="postgresql")
        return plain.render_as_string(hide_password=False)

    def wait(self, done: object, what: str) -> None:
        assert callable(done)
        try:
            wait_until(done, timeout_seconds=PATIENCE_SECONDS, what=what)
        except AssertionError as error:
            raise AssertionError(self.log.read_text(encoding="utf-8")[-4000:]) from error


def zone_with_midnight_at(instant: datetime) -> str:
    hour = instant.hour
    return f"Etc/GMT+{hour}" if hour <= 12 else f"Etc/GMT-{24 - hour}"


@pytest.fixture
def present(
    database: Engine, database_url: URL, slack_server: SlackServer, tmp_path: Path
) -> Iterator[Present]:
    end = from_ms(present_ms() // HOUR_MS * HOUR_MS)
    fleet = Fleet.build(
        FleetSpec(
            start_ms=to_ms(end) - HOURS * HOUR_MS,
            hours=HOURS,
            lead_ms=2 * HOUR_MS,
            nodes=2,
            node_leaves=0,
            services=1,
            replicas=1,
            requests_per_second=0.05,
            trainings=0,
            jobs_per_gpu_hour=0.1,
            prometheus_outages=0,
            target_outages=0,
        )
    )
    with (
        SimulatedPrometheus(fleet, present_ms) as prometheus,
        SimulatedKubernetes(fleet, present_ms) as kubernetes,
    ):
        config = tmp_path / "gpuledger.toml"
        config.write_text(
            f"""
billing_zone = "{zone_with_midnight_at(end)}"
report_out = "{tmp_path / "reports"}"

[waste]
evidence_hours = {HOURS}
idle_minimum_held_hours = 1

[[clusters]]
name = "{CLUSTER}"
prometheus = {{ url = "{prometheus.url}" }}
kubernetes = {{ mode = "url", url = "{kubernetes.url}" }}
settle_minutes = 0
""",
            encoding="utf-8",
        )
        import_prices(
            PRICE,
            file_name="prices.csv",
            currency="USD",
            engine=database,
            billing_zone=UTC,
            at_ms=present_ms(),
            dry_run=False,
        )
        yield Present(config, database_url, database, end, slack_server, tmp_path / "worker.log")


def test_a_worker_does_everything_from_the_watch_to_the_report_and_ends_on_sigterm(
    present: Present, tmp_path: Path
) -> None:
    with present.worker() as process:
        present.wait(lambda: present.rated_hours() == HOURS, "the rating of all hours")
        present.wait(lambda: present.slack.messages, "a message")
        with present.engine.connect() as connection:
            held = HoldStore(connection, CLUSTER).within(
                Window(present.end, present.end + timedelta(hours=1)), source=HoldSource.WATCH
            )
            found = FindingStore(connection).within()
        assert held
        assert found
        assert all(entry.finding.wasted_nanos for entry in found)

        queue_reports_of_next_monday(present)
        present.wait(lambda: [*tmp_path.glob("reports/*.csv")], "the weekly report")

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_SECONDS) in {0, -signal.SIGTERM}
    assert present.count("SELECT count(*) FROM procrastinate_workers") == 0
    assert present.count("SELECT count(*) FROM runs WHERE outcome NOT IN ('ok')") == 0


def queue_reports_of_next_monday(present: Present) -> None:
    """Let the worker believe that it is the Monday after, ten past six, in the billing zone."""
    settings = load_settings(present.config)
    days = 7 - present.end.astimezone(settings.zone).weekday()
    monday = (present.end.astimezone(settings.zone) + timedelta(days=days)).replace(
        hour=6, minute=10
    )
    app = build_app(Ledger(settings, present.database, present.engine, lambda: monday))
    with app.open():
        app.configure_task("publish_reports").defer(timestamp=int(monday.timestamp()))


def test_a_worker_asked_once_does_what_is_due_and_ends(present: Present) -> None:
    with present.worker("--once") as process:
        assert process.wait(timeout=PATIENCE_SECONDS) == 0, present.log.read_text("utf-8")

    assert present.rated_hours() == HOURS
    assert present.slack.messages
    assert present.count("SELECT count(*) FROM watch_spans") == 0


def test_another_worker_takes_over_the_watch_of_one_that_was_killed(present: Present) -> None:
    def spans() -> int:
        return present.count("SELECT count(*) FROM watch_spans")

    with present.worker() as first:
        present.wait(lambda: spans() == 1, "the first watch")
        with present.worker() as second:
            present.wait(
                lambda: present.count("SELECT count(*) FROM procrastinate_workers") == 2,
                "the second worker",
            )
            assert spans() == 1

            first.send_signal(signal.SIGKILL)

            present.wait(lambda: spans() == 2, "the second watch")
            assert second.poll() is None


def test_a_signal_while_the_worker_starts_ends_it(present: Present) -> None:
    with present.worker() as process:
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=PATIENCE_SECONDS) in {0, -signal.SIGTERM}
