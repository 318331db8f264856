"""How large a benchmark is, and how often what is measured is repeated."""

from dataclasses import dataclass

from app.simulator.spec import HOUR_MS, FleetSpec, benchmark_spec, shared_benchmark_spec
from app.units.window import Window, from_ms

CLUSTER = "bench"
SCRAPE_MS = 30_000
# 2025-11-10T12:00Z: any whole hour long past, the same at every run, so that history can be kept.
HOUR_START_MS = 1_762_776_000_000
# 2025-10-01T00:00Z, the first hour of a month of 30 days.
MONTH_START_MS = 1_759_276_800_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Nodes have 8 GPUs; ``small_nodes`` is a tenth of ``nodes``."""

    name: str
    nodes: int
    small_nodes: int
    days: int
    teams: int
    collect_runs: int
    rate_runs: int
    requests: int
    # A week with hours of the month.
    week: str

    @property
    def hour(self) -> Window:
        """The hour that is collected."""
        return Window(from_ms(HOUR_START_MS), from_ms(HOUR_START_MS + HOUR_MS))

    @property
    def month(self) -> Window:
        """The days that are rated and asked for."""
        end_ms = MONTH_START_MS + self.days * 24 * HOUR_MS
        return Window(from_ms(MONTH_START_MS), from_ms(end_ms))


FULL = Scale(
    name="full",
    nodes=1_250,
    small_nodes=125,
    days=30,
    teams=200,
    collect_runs=3,
    rate_runs=1,
    requests=40,
    week="2025-W41",
)
QUICK = Scale(
    name="quick",
    nodes=13,
    small_nodes=2,
    days=2,
    teams=20,
    collect_runs=1,
    rate_runs=1,
    requests=5,
    week="2025-W40",
)


def spec_of(nodes: int) -> FleetSpec:
    """Return the fleet whose hour is collected."""
    return benchmark_spec(start_ms=HOUR_START_MS, nodes=nodes)


def shared_spec_of(nodes: int) -> FleetSpec:
    """Return a fleet of as many nodes, of which half share their devices in every way."""
    return shared_benchmark_spec(start_ms=HOUR_START_MS, nodes=nodes)
