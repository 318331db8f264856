"""`python -m benchmarks`: measures, prints and writes docs/benchmarks.md; --quick tries it out."""

import argparse
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markdown import Markdown
from sqlalchemy import text
from sqlalchemy.engine import URL

from app.simulator.spec import FleetSpec
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.store.embedded import stop_server
from app.store.engine import engine_of
from app.units.window import Window
from app.workflows.collecting import Collected
from app.workflows.rating import RateCounts
from benchmarks import asking, collecting, finance, rating
from benchmarks.database import analyze, new_database
from benchmarks.history import history_of
from benchmarks.machine import load, machine
from benchmarks.measuring import Measured, measured
from benchmarks.month import make_month
from benchmarks.page import page
from benchmarks.results import Asking, Collecting, Finance, Rating, Sharing
from benchmarks.scale import FULL, QUICK, Scale, shared_spec_of, spec_of
from benchmarks.watching import watch_fleet
from tests.real.prometheus import running_prometheus

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = _ROOT / "docs" / "benchmarks.md"
_CACHE = _ROOT / "var" / "bench-cache"
_GPUS_PER_NODE = 8
# What a dashboard asks for, and within how many milliseconds it should have it.
_QUESTIONS = (("team", 50.0), ("namespace,gpu_model,day", 150.0))

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run of the benchmarks keeps its things."""

    data_dir: Path
    rows: Path
    cache: Path

    def folder(self, name: str) -> Path:
        """Return a folder for rows that are copied again."""
        folder = self.rows / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def main() -> None:
    """Run the benchmarks that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundred GPUs, two days")
    parser.add_argument("--out", type=Path, help="the page to write; docs/benchmarks.md by default")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="where history is kept")
    arguments = parser.parse_args()
    scale = QUICK if arguments.quick else FULL
    out = arguments.out or (None if arguments.quick else _PAGE)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.cache, prefix="run-", ignore_cleanup_errors=True) as run:
        place = _Place(Path(run), Path(run) / "rows", arguments.cache)
        try:
            text_of_page = _run(scale, place)
        finally:
            stop_server(place.data_dir)
    if out is not None:
        out.write_text(text_of_page, encoding="utf-8")
    Console().print(Markdown(text_of_page))


def _run(scale: Scale, place: _Place) -> str:
    before = load()
    url = new_database(place.data_dir, "bench")
    shared_url = new_database(place.data_dir, "shared")
    collected, prometheus = _collecting(scale, place, url)
    shared_runs = _collecting_shared(scale, place, shared_url)
    rated, shared_rated = _rating(scale, place, url, shared_url)
    asked = _asking(scale, url)
    finance = _finance(scale, place, url, rated)
    with engine_of(url).connect() as connection:
        postgres = str(connection.scalar(text("SHOW server_version")))
    return page(
        command="python -m benchmarks" + (" --quick" if scale is QUICK else ""),
        loads=(before, load()),
        machine=[*machine(postgres, prometheus)],
        collecting=collected,
        rating=rated,
        sharing=Sharing(
            gpus=_gpus(scale.nodes),
            collect_runs=shared_runs,
            collect_whole=collected.runs,
            rate_runs=shared_rated,
            rate_whole=rated.runs,
        ),
        asking=asked,
        finance=finance,
        scale=scale,
    )


def _collecting(scale: Scale, place: _Place, url: URL) -> tuple[Collecting, str]:
    """Collect the hour of a tenth of the fleet, then of all of it, beside the least there is."""
    small_url = new_database(place.data_dir, "small")
    small = []
    small_spec = spec_of(scale.small_nodes)
    with running_prometheus(_prepared(place, small_url, small_spec)) as prometheus:
        for number in range(scale.collect_runs + 1):
            _say(f"Collecting an hour of {_gpus(scale.small_nodes):,} GPUs, run {number}")
            small.append(measured(collecting.collect, small_url, prometheus.url, scale.hour))
    folder = place.folder("facts")
    runs, baseline = [], []
    with running_prometheus(_prepared(place, url, spec_of(scale.nodes))) as prometheus:
        _say(f"Collecting an hour of {_gpus(scale.nodes):,} GPUs, noting the questions")
        recorded = measured(collecting.record, url, prometheus.url, scale.hour, folder).value
        for number in range(scale.collect_runs):
            _say(f"Collecting and comparing, run {number + 1}")
            baseline.append(
                measured(collecting.fetch_and_copy, url, prometheus.url, recorded.asked, folder)
            )
            runs.append(measured(collecting.collect, url, prometheus.url, scale.hour))
        source = PrometheusSource(PrometheusSettings(url=prometheus.url))
        version = source.build_info().version
    found = Collecting(
        recorded=recorded,
        body_bytes=baseline[0].value,
        runs=runs,
        baseline=baseline,
        # As with the large fleet the first run is for warming up.
        small=small[1:],
        gpus=_gpus(scale.nodes),
        small_gpus=_gpus(scale.small_nodes),
    )
    return found, version


def _collecting_shared(scale: Scale, place: _Place, url: URL) -> list[Measured[Collected]]:
    """Collect the hour of as many GPUs that are shared in every way."""
    runs = []
    spec = shared_spec_of(scale.nodes)
    with running_prometheus(_prepared(place, url, spec)) as prometheus:
        for number in range(scale.collect_runs + 1):
            _say(f"Collecting an hour of shared GPUs, run {number}")
            runs.append(measured(collecting.collect, url, prometheus.url, scale.hour))
    # The first run is for warming up.
    return runs[1:]


def _prepared(place: _Place, url: URL, spec: FleetSpec) -> Path:
    """Return the fleet's history; its inventory is in the database then."""
    _say(f"Making the history of {_gpus(spec.nodes + len(spec.modes)):,} GPUs, unless it is kept")
    history = history_of(spec, place.cache)
    _say("Watching pods and nodes")
    measured(watch_fleet, url, spec)
    analyze(url)
    return history


def _rating(
    scale: Scale, place: _Place, url: URL, shared_url: URL
) -> tuple[Rating, list[Measured[RateCounts]]]:
    """Rate the month beside the least there is, and that of shared devices in turn."""
    _say(f"Storing {scale.days} days of facts")
    month = measured(make_month, url, scale.hour, scale.month, scale.teams).value
    analyze(url)
    measured(make_month, shared_url, scale.hour, scale.month, scale.teams)
    analyze(shared_url)
    folder = place.folder("charges")
    runs, baseline, shared = [], [], []
    for number in range(scale.rate_runs):
        _say(f"Rating and comparing, run {number + 1}")
        runs.append(measured(rating.rate, url, scale.month))
        if not number:
            measured(rating.keep_charges, url, scale.month, folder)
        baseline.append(measured(rating.copy_out_and_in, url, scale.month, folder))
        shared.append(measured(rating.rate, shared_url, scale.month))
    # The baseline writes no rollup: leave a ledger that is whole.
    measured(rating.rate, url, scale.month)
    shutil.rmtree(folder)
    analyze(url)
    rated = Rating(month=month, body_bytes=baseline[0].value, runs=runs, baseline=baseline)
    return rated, shared


def _asking(scale: Scale, url: URL) -> Asking:
    secret = asking.create_key(url)
    served = []
    with asking.served_api(url) as address:
        for group_by, limit_ms in _QUESTIONS:
            _say(f"Asking for the month's costs by {group_by}")
            answer = measured(
                asking.ask, address, secret, scale.month, group_by, scale.requests
            ).value
            served.append((group_by, limit_ms, answer))
    return Asking(served=served)


def _gpus(nodes: int) -> int:
    return nodes * _GPUS_PER_NODE


def _say(what: str) -> None:
    console.print(what, style="dim")


def _finance(scale: Scale, place: _Place, url: URL, rated: Rating) -> Finance:
    """Make the week's statement, export a day, close the month and compare it."""
    weekly, exported, written = [], [], []
    out, plain = place.folder("export") / "focus.csv", place.folder("export") / "plain.csv"
    day = Window(scale.month.start, scale.month.start + timedelta(days=1))
    for number in range(scale.collect_runs):
        _say(f"A weekly statement, and an export beside a bare writer, run {number + 1}")
        weekly.append(measured(finance.weekly_statement, url, scale.week))
        exported.append(measured(finance.export, url, day, out))
        written.append(measured(finance.write_plainly, out, plain))
    _say("Closing the month, and rating it again to compare")
    closed = measured(finance.close, url)
    return Finance(
        teams=scale.teams,
        weekly=weekly,
        exported=exported,
        written=written,
        closed=closed,
        compared=measured(finance.compare, url),
        rated=rated.runs,
    )


if __name__ == "__main__":
    main()
